#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace support {

/// Where coroutines wait until a test lets them through. For one thread.
class Gate {
public:
    explicit Gate(boost::asio::io_context& io)
        : timer_{io, boost::asio::steady_timer::time_point::max()} {}

    boost::asio::awaitable<void> wait() {
        ++waiting_;
        if (!open_) co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
        --waiting_;
    }
    void open() {
        open_ = true;
        timer_.cancel();
    }
    int waiting() const { return waiting_; }

private:
    boost::asio::steady_timer timer_;
    bool open_ = false;
    int waiting_ = 0;
};

}  // namespace support
