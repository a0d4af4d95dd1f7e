#pragma once

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <exception>

namespace txscope::detail {

/// What a coroutine throws that was cancelled.
inline boost::system::system_error cancellation_error() {
    return boost::system::system_error{boost::asio::error::operation_aborted};
}

/// @throws `cancellation_error()` when `caller` was cancelled
inline void check_not_cancelled(const boost::asio::cancellation_state& caller) {
    if (caller.cancelled() != boost::asio::cancellation_type::none) throw cancellation_error();
}

inline bool is_cancellation(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& failure) {
        return failure.code() == boost::asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

}  // namespace txscope::detail
