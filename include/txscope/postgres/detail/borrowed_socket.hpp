#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>

#include <cerrno>
#include <chrono>

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
        : descriptor_{executor, duplicate(socket)} {}

    asio::posix::stream_descriptor& descriptor() noexcept { return descriptor_; }

    /// From now on waits belong to the execution context of `executor`. Ends those under way.
    void move_to(const asio::any_io_executor& executor) {
        if (executor != descriptor_.get_executor())
            descriptor_ = {executor, duplicate(descriptor_.native_handle())};
    }

    /// Ends every wait on this socket.
    void wake() {
        boost::system::error_code ignored;
        descriptor_.cancel(ignored);
    }

    /// Until readable. Costs no timer: this is what every statement waits in.
    auto readable() {
        return descriptor_.async_wait(Base::wait_read, asio::as_tuple(asio::deferred));
    }

    /// Until ready for `what` or until `deadline`; true when it is ready.
    asio::awaitable<bool> ready(Base::wait_type what, Clock::time_point deadline) {
        asio::steady_timer timer{descriptor_.get_executor(), deadline};
        const auto [order, socket_error, timer_error] =
            co_await asio::experimental::make_parallel_group(
                descriptor_.async_wait(what, asio::deferred), timer.async_wait(asio::deferred))
                .async_wait(asio::experimental::wait_for_one(), asio::deferred);
        co_return order[0] == 0 && !socket_error;
    }

    /// Until readable or writable or until `deadline`.
    asio::awaitable<void> ready_for_any(Clock::time_point deadline) {
        asio::steady_timer timer{descriptor_.get_executor(), deadline};
        co_await asio::experimental::make_parallel_group(
            descriptor_.async_wait(Base::wait_read, asio::deferred),
            descriptor_.async_wait(Base::wait_write, asio::deferred),
            timer.async_wait(asio::deferred))
            .async_wait(asio::experimental::wait_for_one(), asio::deferred);
    }

private:
    static int duplicate(int socket) {
        const int copy = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            throw boost::system::system_error{errno, boost::system::system_category(),
                                              "no descriptor for a connection"};
        return copy;
    }

    asio::posix::stream_descriptor descriptor_;
};

}  // namespace txscope::detail
