#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/notification.hpp>
#include <txscope/pool/detail/acquire_errors.hpp>
#include <txscope/pool/pool.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

/// How a pool lends its connections, and takes them back.
namespace txscope::detail {

TXSCOPE_INLINE void Lease::give_back() { pool_->give_back(std::move(member_)); }

TXSCOPE_INLINE Lease Pool::acquire_idle(Holder* holder) {
    Lock lock{mutex_};
    return lend_idle(lock, holder);
}

/// A waiter whose coroutine is suspended until it is answered. Withdrawn when that is destroyed.
class Pool::Request : public Waiter {
public:
    /// @param executor that of its coroutine
    Request(Pool& pool, Requester requester, const asio::any_io_executor& executor)
        : Waiter{std::move(requester)}, pool_{pool}, answer_{executor} {}
    ~Request() {
        Lock lock{pool_.mutex_};
        pool_.machine_.withdrawn(*this);
        pool_.carry_out(lock);
        lock.unlock();
        if (pool_.observer_ != nullptr && asked != Clock::time_point{})
            pool_.observer_->notice_pool({.kind = PoolEvent::waited,
                                          .duration = Clock::now() - asked,
                                          .outcome = outcome,
                                          .where = place_of(requester()).value_or(no_place)});
    }

    /// It has been granted or has failed: its coroutine goes on.
    void wake() const { answer_.sender()(); }
    /// Until then, `deadline` passes, or the coroutine is cancelled: look which.
    auto wait(Clock::time_point deadline) { return answer_.wait(deadline); }

    std::exception_ptr error{};  ///< Why it has failed.
    Clock::time_point asked{};   ///< If it had to.
    PoolEvent::Wait outcome = PoolEvent::Wait::cancelled;

private:
    static constexpr std::source_location no_place{};

    Pool& pool_;
    Notification answer_;
};

TXSCOPE_INLINE asio::awaitable<Lease> Pool::acquire(Requester&& requester,
                                                    Clock::time_point deadline) {
    const auto self = shared_from_this();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    Request request{*this, std::move(requester), executor};
    Lease idle = ask(request, deadline);
    if (idle) co_return std::move(idle);
    bool cancelled = false;
    for (bool over = is_answered(request); !over;) {
        co_await request.wait(deadline);
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        cancelled = caller.cancelled() != asio::cancellation_type::none;
        over = cancelled || Clock::now() >= deadline || is_answered(request);
    }
    co_return take(request, cancelled);
}

/// An idle connection; or else the request has been made, until `deadline` at most.
TXSCOPE_INLINE Lease Pool::ask(Request& request, Clock::time_point& deadline) {
    Lock lock{mutex_};
    Lease idle = lend_idle(lock, request.requester().holder);
    if (idle) return idle;
    const auto now = Clock::now();
    deadline = std::min(deadline, deadline_in(limits_.acquire_timeout, now));
    request.asked = now;
    machine_.asked(request, now);
    carry_out(lock);
    schedule();
    return {};
}

TXSCOPE_INLINE bool Pool::is_answered(const Request& request) const {
    const Lock lock{mutex_};
    return request.state() != Waiter::State::waiting;
}

/// What the request was granted. An answer that has raced its end counts.
/// @throws why there is nothing
TXSCOPE_INLINE Lease Pool::take(Request& request, bool cancelled) {
    const Lock lock{mutex_};
    request.outcome = outcome_of(request, cancelled, machine_.is_closed());
    if (machine_.is_closed()) throw pool_closed(request.requester());
    if (request.state() == Waiter::State::waiting) {
        auto in_vain = timeout_of(request, machine_, why_none_is_open(), list_holders());
        if (cancelled) in_vain = nest(std::move(in_vain), cancellation_error());
        std::rethrow_exception(in_vain);
    }
    if (request.error) std::rethrow_exception(request.error);
    return lease(pooled(machine_.taken(request)));
}

TXSCOPE_INLINE asio::awaitable<Lease> Pool::acquire_soon(Holder& holder) {
    Lock lock{mutex_};
    const auto now = Clock::now();
    const auto deadline = deadline_in(limits_.ping_timeout, now);
    const bool idle = !machine_.idle().empty();
    if (!idle) machine_.wanted(machine_.size() + 1, now);
    carry_out(lock);
    lock.unlock();
    if (!idle) co_return Lease{};
    co_return co_await acquire(Requester{holder}, deadline);
}

TXSCOPE_INLINE std::exception_ptr Pool::why_none_is_open() const noexcept {
    return opening_error_ || machine_.openings() == 0 ? opening_error_
                                                      : connector_->no_answer_yet();
}

TXSCOPE_INLINE Lease Pool::lease(PooledConnection& connection) {
    return Lease{shared_from_this(), std::move(connection.kept)};
}

TXSCOPE_INLINE Lease Pool::lend_idle(Lock& lock, Holder* holder) {
    const auto now = Clock::now();
    while (ConnectionNode* node = machine_.lend_idle(holder, now)) {
        PooledConnection& connection = pooled(*node);
        if (connection.usable(now)) {
            ++statistics_.acquired;
            connection.lent_at = now;
            Lease lent = lease(connection);
            carry_out(lock);
            return lent;
        }
        ++statistics_.discarded;
        machine_.returned(connection, Condition::broken);
        carry_out(lock);
    }
    return {};
}

TXSCOPE_INLINE void Pool::give_back(std::shared_ptr<PooledConnection> connection) noexcept {
    try {
        connection->connection->move_to(connector_->executor());
    } catch (...) {  // no memory, or no descriptor, to go on with
        connection->connection->close(std::current_exception());
    }
    const auto lasted = Clock::now() - connection->lent_at;
    if (observer_ != nullptr)
        observer_->notice_pool({.kind = PoolEvent::returned, .duration = lasted});
    Lock lock{mutex_};
    machine_.loan_ended(lasted);
    PooledConnection& returned = *connection;
    returned.kept = std::move(connection);
    auto condition = look_at(returned);
    if (hooks_ && condition == Condition::clean && has_to_call_hooks(returned))
        condition = Condition::dirty;
    machine_.returned(returned, condition);
    carry_out(lock);
    if (!machine_.idle().empty()) watch_soon();
}

TXSCOPE_INLINE Pool::Condition Pool::look_at(PooledConnection& connection) noexcept {
    if (connection.connection->dirty()) return Condition::dirty;
    connection.heard = connection.connection->heard();
    connection.connection->last_sql().set({});
    statistics_.round_trips += connection.new_round_trips();
    const bool broken = connection.connection->broken() ||
                        (machine_.anybody_waits() && !connection.usable(Clock::now()));
    const bool wrong_role =
        std::exchange(connection.wrong_role, false) || connection.connection->server_changed_role();
    if (!broken) return wrong_role ? Condition::wrong_role : Condition::clean;
    ++statistics_.discarded;
    return Condition::broken;
}

TXSCOPE_INLINE void Pool::answer(Waiter& waiter) noexcept {
    auto& request = static_cast<Request&>(waiter);
    if (request.state() == Waiter::State::granted) {
        ++statistics_.acquired;
        request.connection().lent_at = Clock::now();
    } else {
        request.error =
            failure_of(request, machine_, opening_error_, [this] { return list_holders(); });
    }
    request.wake();
}

TXSCOPE_INLINE std::vector<ConnectionHolder> Pool::list_holders() const {
    std::vector<ConnectionHolder> holders;
    for (const ConnectionNode& node : machine_.lent()) {
        ConnectionHolder holder{
            .held = std::chrono::floor<std::chrono::milliseconds>(Clock::now() - node.lent_at),
            .sql = static_cast<const PooledConnection&>(node).connection->last_sql().get()};
        if (node.holder != nullptr) {
            holder.where = node.holder->where().value_or(holder.where);
            holder.label = node.holder->label();
        }
        holders.push_back(std::move(holder));
    }
    return holders;
}

TXSCOPE_INLINE std::vector<ConnectionHolder> Pool::holders() const {
    const Lock lock{mutex_};
    return list_holders();
}

}  // namespace txscope::detail
