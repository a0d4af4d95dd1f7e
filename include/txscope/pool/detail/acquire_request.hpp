#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/net/notification.hpp>
#include <txscope/pool/detail/waiter.hpp>

#include <boost/asio/awaitable.hpp>

#include <exception>
#include <mutex>
#include <optional>

namespace txscope::detail {

/// A waiter whose coroutine is suspended until it is answered. Guarded by the pool's mutex.
class AcquireRequest : public Waiter {
public:
    using Waiter::Waiter;

    /// It has been granted or has failed: its coroutine goes on.
    void wake() const {
        if (notify_) (*notify_)();
    }

    /// Until it is answered, `deadline` passes, or the caller is cancelled: whether that was so. An
    /// answer that races it counts.
    asio::awaitable<bool> wait(std::mutex& mutex, Clock::time_point deadline);

    std::exception_ptr error{};  ///< Why it failed.

private:
    std::optional<Notification::Sender> notify_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

namespace txscope::detail {

TXSCOPE_INLINE asio::awaitable<bool> AcquireRequest::wait(std::mutex& mutex,
                                                          Clock::time_point deadline) {
    Notification answer{co_await asio::this_coro::executor};
    {
        const std::lock_guard lock{mutex};
        if (state() != State::waiting) co_return false;
        notify_ = answer.sender();
    }
    for (;;) {
        co_await answer.wait(deadline);
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        const std::lock_guard lock{mutex};
        const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
        if (state() == State::waiting && !cancelled && Clock::now() < deadline) continue;
        notify_.reset();
        co_return cancelled;
    }
}

}  // namespace txscope::detail

#endif
