#pragma once

#include <txscope/pool/pool.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <utility>

/// What a pool does by itself: it opens connections, cleans them, and watches those that are idle.
namespace txscope::detail {

inline bool Pool::begin_opening(std::uint64_t number, unsigned failed_attempts) noexcept try {
    asio::co_spawn(connector_.executor(), open(shared_from_this(), number, failed_attempts),
                   asio::detached);
    return true;
} catch (...) {
    const Lock lock{mutex_};
    opening_error_ = std::current_exception();
    return false;
}

inline asio::awaitable<void> Pool::open(Shared self, std::uint64_t number,
                                        unsigned failed_attempts) {
    const auto& executor = self->connector_.executor();
    const auto deadline = deadline_in(self->limits_.acquire_timeout);
    std::exception_ptr error;
    std::shared_ptr<PooledConnection> opened;
    try {
        if (failed_attempts > 0) {
            constexpr std::chrono::milliseconds shortest{50};
            asio::steady_timer pause{executor, shortest * (1 << std::min(failed_attempts - 1, 4u))};
            co_await pause.async_wait(asio::as_tuple(asio::deferred));
        }
        opened = co_await self->connector_.open(executor, deadline);
    } catch (...) {
        error = std::current_exception();
    }
    if (opened) co_return self->put(std::move(opened));
    Lock lock{self->mutex_};
    self->opening_error_ = error;
    self->machine_.opening_failed(number);
    self->carry_out(lock);
}

/// Puts one that was opened where it belongs.
inline void Pool::put(std::shared_ptr<PooledConnection> opened) noexcept {
    Lock lock{mutex_};
    ++statistics_.opened;
    PooledConnection& connection = *opened;
    connection.kept = std::move(opened);
    machine_.opened(connection);
    carry_out(lock);
    if (!machine_.idle().empty()) watch_soon();
}

inline bool Pool::begin_cleaning(PooledConnection& connection) noexcept {
    auto owner = std::move(connection.kept);
    try {
        // Not on a strand of its own: one that is made while the context is destroyed leaks.
        asio::co_spawn(connector_.executor(), clean(shared_from_this(), owner), asio::detached);
        return true;
    } catch (...) {
        connection.connection->close(std::current_exception());
        connection.kept = std::move(owner);
        return false;
    }
}

inline asio::awaitable<void> Pool::clean(Shared self,
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
inline void Pool::watch_soon() noexcept try {
    if (watching_soon_) return;
    asio::defer(connector_.executor(), [pool = weak_from_this()] {
        if (const auto self = pool.lock()) self->watch_idle();
    });
    watching_soon_ = true;
} catch (const std::bad_alloc&) {  // nobody watches then; whoever is lent one has a look at it
}

/// Arms the reads that notice when a server ends an idle connection.
inline void Pool::watch_idle() {
    const Lock lock{mutex_};
    watching_soon_ = false;
    for (ConnectionNode& node : machine_.idle()) {
        PooledConnection& connection = pooled(node);
        if (std::exchange(connection.watched, true)) continue;
        connection.connection->descriptor().async_wait(
            BorrowedSocket::Base::wait_read,
            [pool = weak_from_this(),
             watched = std::weak_ptr{connection.kept}](boost::system::error_code error) {
                const auto still = watched.lock();
                const auto self = pool.lock();
                if (still && self) self->examine(still, error);
            });
    }
}

inline void Pool::examine(const std::shared_ptr<PooledConnection>& watched,
                          boost::system::error_code error) {
    Lock lock{mutex_};
    watched->watched = false;
    if (watched->state != ConnectionNode::State::idle) return;  // lent, and this was an answer
    Connection& connection = *watched->connection;
    if (error && error != asio::error::operation_aborted)
        connection.close(
            std::make_exception_ptr(ConnectionLost{"the socket failed: " + error.message()}));
    connection.poll();
    if (!connection.broken()) return watch_soon();
    ++statistics_.discarded;
    machine_.lost(*watched);
    carry_out(lock);
}

}  // namespace txscope::detail
