#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/pool/detail/acquire_errors.hpp>
#include <txscope/pool/detail/request.hpp>
#include <txscope/pool/pool.hpp>

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

TXSCOPE_INLINE Pool::Request::~Request() {
    Lock lock{pool_.mutex_};
    pool_.machine_.withdrawn(*this);
    pool_.carry_out(lock);
    lock.unlock();
    if (pool_.observer_ != nullptr && asked_ != Clock::time_point{})
        pool_.observer_->notice_pool({.kind = PoolEvent::waited,
                                      .duration = Clock::now() - asked_,
                                      .outcome = outcome_,
                                      .where = place_of(requester()).value_or(no_place)});
}

TXSCOPE_LAZY_INLINE Lease Pool::Request::ask() {
    Lock lock{pool_.mutex_};
    Lease idle = pool_.lend_idle(lock, requester().holder);
    if (idle) return idle;
    asked_ = Clock::now();
    timer_.expires_at(
        std::min(timer_.expiry(), deadline_in(pool_.limits_.acquire_timeout, asked_)));
    pool_.machine_.asked(*this, asked_);
    pool_.carry_out(lock);
    pool_.schedule();
    return {};
}

TXSCOPE_INLINE Lease Pool::Request::take() {
    const Lock lock{pool_.mutex_};
    PoolMachine& machine = pool_.machine_;
    outcome_ = outcome_of(*this, interrupted_, machine.is_closed());
    if (machine.is_closed()) throw pool_closed(requester());
    if (state() == State::waiting) {
        auto in_vain = timeout_of(*this, machine, pool_.why_none_is_open(), pool_.list_holders());
        if (interrupted_) in_vain = nest(std::move(in_vain), cancellation_error());
        std::rethrow_exception(in_vain);
    }
    if (error_) std::rethrow_exception(error_);
    return pool_.lease(pooled(machine.taken(*this)));
}

TXSCOPE_LAZY_INLINE asio::awaitable<Lease> Pool::acquire(Requester&& requester,
                                                         Clock::time_point deadline) {
    const auto self = shared_from_this();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    Request request{*this, std::move(requester), executor, deadline};
    Lease idle = request.ask();
    if (idle) co_return std::move(idle);
    co_await request.wait();
    co_return request.take();
}

TXSCOPE_LAZY_INLINE asio::awaitable<Lease> Pool::acquire_soon(Holder& holder) {
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
            carry_out(lock);
            return lease(connection);
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
    std::exception_ptr error;
    if (request.state() == Waiter::State::granted) {
        ++statistics_.acquired;
        request.connection().lent_at = Clock::now();
    } else {
        error = failure_of(request, machine_, opening_error_, [this] { return list_holders(); });
    }
    request.answered(std::move(error));
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
