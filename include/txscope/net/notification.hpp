#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/context_life.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <mutex>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// What one coroutine awaits and any thread may send, once.
///
/// The coroutine waits in Asio's timer queue, so that the wait belongs to the execution context:
/// destroying the context destroys the coroutine. A sender may outlive both, and may send while
/// another thread destroys them.
class Notification {
    struct State : boost::intrusive_ref_counter<State> {
        State(ContextLife::Shared of, asio::steady_timer& receiver)
            : context{std::move(of)}, timer{&receiver} {}

        const ContextLife::Shared context;
        asio::steady_timer* timer;  // null once the receiver is gone
        bool sent = false;

        auto lock() const { return std::lock_guard{context->mutex}; }
    };

public:
    using TimePoint = std::chrono::steady_clock::time_point;

    class Sender {
    public:
        void operator()() const;

    private:
        friend Notification;
        explicit Sender(const boost::intrusive_ptr<State>& state) : state_{state} {}
        boost::intrusive_ptr<State> state_;
    };

    explicit Notification(const asio::any_io_executor& executor);
    Notification(const Notification&) = delete;
    Notification& operator=(const Notification&) = delete;
    ~Notification();

    Sender sender() const { return Sender{state_}; }

    /// Until it is sent, `deadline` passes, or the waiting coroutine is cancelled: look which.
    auto wait(TimePoint deadline = TimePoint::max()) {
        const auto token = asio::as_tuple(asio::deferred);
        // Begun under the lock: a sender comes before the wait, or finds it; none falls between.
        return asio::async_initiate<decltype(token), void(boost::system::error_code)>(
            [this, deadline](auto handler) {
                const auto lock = state_->lock();
                timer_.expires_at(state_->sent ? TimePoint::min() : deadline);
                timer_.async_wait(std::move(handler));
            },
            token);
    }

    bool sent() const {
        const auto lock = state_->lock();
        return state_->sent;
    }

private:
    asio::steady_timer timer_;
    const boost::intrusive_ptr<State> state_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

namespace txscope::detail {

TXSCOPE_INLINE void Notification::Sender::operator()() const {
    const auto lock = state_->lock();
    state_->sent = true;
    if (state_->timer != nullptr && !state_->context->over) state_->timer->cancel();
}

TXSCOPE_INLINE Notification::Notification(const asio::any_io_executor& executor)
    : timer_{executor},
      state_{new State{ContextLife::of(asio::query(executor, asio::execution::context)), timer_}} {}

TXSCOPE_INLINE Notification::~Notification() {
    const auto lock = state_->lock();
    state_->timer = nullptr;
}

}  // namespace txscope::detail

#endif
