#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <memory>

namespace txscope::detail {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

/// A socket that libpq owns and Asio waits on, through a descriptor of its own.
///
/// libpq closes its descriptor by itself when the connection is lost. Asio's would then be the
/// number of whatever is opened next, on any thread, and letting go of it would end the waits of
/// that.
///
/// A wait may end for many reasons (readiness, `wake`, the time, a cancellation): the waiter looks
/// again at what it waits for.
class BorrowedSocket {
public:
    using Base = asio::posix::descriptor_base;

    BorrowedSocket(const asio::any_io_executor& executor, int socket)
        : descriptor_{
              std::make_shared<asio::posix::stream_descriptor>(executor, duplicate(socket))} {}

    /// Until ready for `what` or until `deadline`; true when it is ready. The caller is on a strand, or
    /// alone.
    asio::awaitable<bool> ready(Base::wait_type what, Clock::time_point deadline) {
        asio::steady_timer timer{descriptor_->get_executor(), deadline};
        const auto executor = co_await asio::this_coro::executor;
        timer.async_wait(asio::bind_executor(
            executor, [waited = std::weak_ptr{descriptor_}](boost::system::error_code error) {
                const auto still = waited.lock();
                if (still && !error) still->cancel();
            }));
        const auto [error] = co_await descriptor_->async_wait(what, asio::as_tuple(asio::deferred));
        co_return !error;
    }

private:
    static int duplicate(int socket) {
        const int copy = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            throw boost::system::system_error{errno, boost::system::system_category(),
                                              "no descriptor for a connection"};
        return copy;
    }

    std::shared_ptr<asio::posix::stream_descriptor> descriptor_;
};

}  // namespace txscope::detail
