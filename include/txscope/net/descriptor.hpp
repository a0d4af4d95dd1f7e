#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/deadline.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/descriptor_base.hpp>

namespace txscope::detail {

namespace asio = boost::asio;

/// Another descriptor for the same socket: one of Asio's own, where somebody else owns the socket, and
/// may close it at any time. Its number would then be that of whatever is opened next, on any thread,
/// and letting go of it would end the waits of that.
/// @throws boost::system::system_error when there are no more
int duplicate_descriptor(int descriptor);

/// Waits, once, until `descriptor` is ready for `what`, or until `deadline`: true when it is ready.
TXSCOPE_LAZY asio::awaitable<bool> wait_until_ready(asio::any_io_executor executor, int descriptor,
                                                    asio::posix::descriptor_base::wait_type what,
                                                    Clock::time_point deadline);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>

#include <cerrno>
#include <memory>

namespace txscope::detail {

TXSCOPE_INLINE int duplicate_descriptor(int descriptor) {
    const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        throw boost::system::system_error{errno, boost::system::system_category(),
                                          "no descriptor for a connection"};
    return copy;
}

TXSCOPE_LAZY_INLINE asio::awaitable<bool> wait_until_ready(
    asio::any_io_executor executor, int descriptor, asio::posix::descriptor_base::wait_type what,
    Clock::time_point deadline) {
    struct Waiting {
        Waiting(const asio::any_io_executor& on, int owned, Clock::time_point until)
            : descriptor{on, owned}, timer{on, until} {}
        asio::posix::stream_descriptor descriptor;
        asio::steady_timer timer;
    };
    const auto waiting =
        std::make_shared<Waiting>(executor, duplicate_descriptor(descriptor), deadline);
    // The time begins behind the wait, which it could not end before. By then this coroutine may go on
    // already, on another thread.
    const auto begin = [&waiting, what](auto handler) {
        const auto kept = waiting;
        kept->descriptor.async_wait(what, std::move(handler));
        kept->timer.async_wait([waited = std::weak_ptr{kept}](boost::system::error_code cancelled) {
            const auto still = waited.lock();
            if (still && !cancelled) still->descriptor.cancel();
        });
    };
    const auto token = asio::as_tuple(asio::deferred);
    const auto [error] =
        co_await asio::async_initiate<decltype(token), void(boost::system::error_code)>(begin,
                                                                                        token);
    co_return !error;
}

}  // namespace txscope::detail

#endif
