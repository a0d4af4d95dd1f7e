#pragma once

#include <txscope/core/config.hpp>
#include <txscope/pool/pool.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <new>
#include <utility>

/// What a pool does by itself: it opens connections, cleans them, and watches those that are idle.
namespace txscope::detail {

TXSCOPE_INLINE bool Pool::begin_opening(const PoolMachine::Action& opening) noexcept try {
    const auto stop = std::make_shared<asio::cancellation_signal>();
    {
        const Lock lock{mutex_};
        if (machine_.is_closed()) return false;  // since it was decided
        std::erase_if(openings_, [](const auto& each) { return each.expired(); });
        openings_.push_back(stop);
    }
    const auto deadline = deadline_in(limits_.acquire_timeout);
    asio::co_spawn(
        opener_, open(weak_from_this(), connector_, deadline, opening),
        asio::bind_cancellation_slot(stop->slot(), [stop](const std::exception_ptr&) {}));
    return true;
} catch (...) {
    const Lock lock{mutex_};
    opening_error_ = std::current_exception();
    return false;
}

/// Keeps neither the pool, which may end meanwhile, nor the execution context longer than needed.
TXSCOPE_INLINE asio::awaitable<void> Pool::open(std::weak_ptr<Pool> pool,
                                                std::shared_ptr<Connector> connector,
                                                Clock::time_point deadline,
                                                PoolMachine::Action opening) {
    std::exception_ptr error;
    std::shared_ptr<PooledConnection> opened;
    try {
        if (opening.failed_attempts > 0) {
            constexpr std::chrono::milliseconds shortest{50};
            const auto doublings = std::min(opening.failed_attempts - 1, 4u);
            asio::steady_timer pause{connector->executor(), shortest * (1 << doublings)};
            co_await pause.async_wait(asio::deferred);
        }
        opened = co_await connector->open(connector->executor(), deadline);
    } catch (...) {
        error = std::current_exception();
    }
    const Shared self = pool.lock();
    if (!self) co_return;
    if (opened) co_return self->put(std::move(opened));
    Lock lock{self->mutex_};
    self->opening_error_ = error;
    self->machine_.opening_failed(opening.number);
    self->carry_out(lock);
}

/// Nobody will be lent what is being opened.
TXSCOPE_INLINE void Pool::stop_openings() noexcept try {
    for (const auto& opening : openings_)
        if (auto stop = opening.lock())
            asio::post(opener_, [stop] { stop->emit(asio::cancellation_type::terminal); });
} catch (const std::bad_alloc&) {  // then they end by themselves, at their deadline
}

/// Puts one that was opened where it belongs.
TXSCOPE_INLINE void Pool::put(std::shared_ptr<PooledConnection> opened) noexcept {
    Lock lock{mutex_};
    ++statistics_.opened;
    PooledConnection& connection = *opened;
    connection.kept = std::move(opened);
    machine_.opened(connection);
    carry_out(lock);
    if (!machine_.idle().empty()) watch_soon();
}

TXSCOPE_INLINE bool Pool::begin_cleaning(PooledConnection& connection) noexcept {
    auto owner = std::move(connection.kept);
    try {
        // Not on a strand of its own: one that is made while the context is destroyed leaks.
        asio::co_spawn(connector_->executor(), clean(shared_from_this(), owner), asio::detached);
        return true;
    } catch (...) {
        connection.connection->close(std::current_exception());
        connection.kept = std::move(owner);
        return false;
    }
}

TXSCOPE_INLINE asio::awaitable<void> Pool::clean(Shared self,
                                                 std::shared_ptr<PooledConnection> connection) {
    try {
        co_await connection->connection->recover(self->cleanup_deadline());
    } catch (...) {
        connection->connection->close(std::current_exception());
    }
    Lock lock{self->mutex_};
    PooledConnection& cleaned = *connection;
    cleaned.kept = std::move(connection);
    self->machine_.cleaned(cleaned, self->look_at(cleaned));
    self->carry_out(lock);
    if (!self->machine_.idle().empty()) self->watch_soon();
}

/// Watches what is idle when this turn is over: under load, most of it is lent again by then.
TXSCOPE_INLINE void Pool::watch_soon() noexcept try {
    if (watching_soon_) return;
    asio::defer(connector_->executor(), [pool = weak_from_this()] {
        if (const auto self = pool.lock()) self->watch_idle();
    });
    watching_soon_ = true;
} catch (const std::bad_alloc&) {  // nobody watches then; whoever is lent one has a look at it
}

/// Arms the reads that notice when a server ends an idle connection.
TXSCOPE_INLINE void Pool::watch_idle() {
    const Lock lock{mutex_};
    watching_soon_ = false;
    for (ConnectionNode& node : machine_.idle()) {
        PooledConnection& connection = pooled(node);
        if (std::exchange(connection.watched, true)) continue;
        connection.connection->when_readable(
            [pool = weak_from_this(), watched = std::weak_ptr{connection.kept}] {
                const auto still = watched.lock();
                const auto self = pool.lock();
                if (still && self) self->examine(still);
            });
        // The end may have come with the last answer: it is not announced once more.
        connection.connection->poll();
    }
}

TXSCOPE_INLINE void Pool::examine(const std::shared_ptr<PooledConnection>& watched) {
    Lock lock{mutex_};
    watched->watched = false;
    if (watched->state != ConnectionNode::State::idle) return;  // lent, and this was an answer
    Connection& connection = *watched->connection;
    connection.poll();
    if (!connection.broken()) return watch_soon();
    ++statistics_.discarded;
    machine_.lost(*watched);
    carry_out(lock);
}

}  // namespace txscope::detail
