#pragma once

#include <txscope/postgres/detail/notification.hpp>
#include <txscope/session/detail/borrower.hpp>
#include <txscope/session/detail/cancellation.hpp>
#include <txscope/session/detail/lease.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace txscope::detail {

/// A place in a pool's queue, and what was granted there: a connection, or the right to open one.
///
/// Guarded by the pool's mutex. A grant that is not taken goes back when the ticket is destroyed.
class Ticket {
public:
    enum State {
        waiting,
        granted,
        may_open,
        refused
    };

    explicit Ticket(Pool& pool, Demand demand = {}) : pool_{pool}, demand_{std::move(demand)} {}
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket();

    void answer(State state, std::shared_ptr<PooledConnection> member = nullptr) {
        state_ = state;
        member_ = std::move(member);
        if (notify_) (*notify_)();
    }
    void refuse(std::exception_ptr why) {
        refusal_ = std::move(why);
        answer(refused);
    }
    State state() const noexcept { return state_; }
    /// Why it was refused; null when that is because the pool is closed.
    const std::exception_ptr& refusal() const noexcept { return refusal_; }
    const Demand& demand() const noexcept { return demand_; }

    /// What was granted; the pool expects it back from now on.
    std::shared_ptr<PooledConnection> take() noexcept {
        state_ = waiting;
        return std::move(member_);
    }

    /// Until it is answered, or `deadline` passes: then it yields false. An answer that races the
    /// end of the time, or the caller's cancellation, counts.
    asio::awaitable<bool> wait(std::mutex& mutex, Clock::time_point deadline);

    std::optional<std::list<Ticket*>::iterator> place{};  // in the queue

private:
    Pool& pool_;
    const Demand demand_;
    State state_ = waiting;
    std::exception_ptr refusal_;
    std::shared_ptr<PooledConnection> member_;
    std::optional<Notification::Sender> notify_;
};

inline asio::awaitable<bool> Ticket::wait(std::mutex& mutex, Clock::time_point deadline) {
    Notification answered{co_await asio::this_coro::executor};
    {
        const std::lock_guard lock{mutex};
        if (state_ != waiting) co_return true;
        notify_ = answered.sender();
    }
    for (;;) {
        co_await answered.wait(deadline);
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        const std::lock_guard lock{mutex};
        const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
        const bool over = state_ != waiting || cancelled || Clock::now() >= deadline;
        if (!over) continue;
        notify_.reset();
        if (state_ != waiting) co_return true;
        if (cancelled) throw cancellation_error();
        co_return false;
    }
}

}  // namespace txscope::detail
