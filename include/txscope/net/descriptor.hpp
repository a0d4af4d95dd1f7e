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

#include <txscope/net/notification.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>

#include <cerrno>

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
    asio::posix::stream_descriptor waiting{executor, duplicate_descriptor(descriptor)};
    Notification ready{executor};
    waiting.async_wait(what, [tell = ready.sender()](boost::system::error_code error) {
        if (!error) tell();
    });
    co_await ready.wait(deadline);
    co_return ready.sent();
}

}  // namespace txscope::detail

#endif
