#pragma once

#include <txscope/postgres/connection.hpp>
#include <txscope/session/detail/borrower.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

namespace txscope::detail {

class Pool;

/// A pool's connection, with what the pool knows about it.
struct PooledConnection {
    explicit PooledConnection(std::unique_ptr<Connection> opened) : connection{std::move(opened)} {}

    /// Those since the last call.
    std::uint64_t new_round_trips() noexcept {
        const auto before = std::exchange(round_trips_counted, connection->round_trips());
        return round_trips_counted - before;
    }

    /// Whether its server is still there, as far as one can see.
    bool usable() {
        // The read that is armed while it is idle may not have run yet, or not be armed yet.
        connection->poll_unless_heard_within(std::chrono::milliseconds{1});
        return !connection->broken();
    }

    std::unique_ptr<Connection> connection;
    Connection::Exchange about_server{};  // the answer about it, once that was asked for
    std::uint64_t round_trips_counted = 0;
    // Guarded by the pool:
    Borrower* borrower = nullptr;  // null also for loans that nobody accounts for
    bool idle = false;
    bool watched = false;  // whether a read is armed that notices the end of an idle connection
};

/// A connection on loan; goes back when destroyed, in whatever state it is.
class Lease {
public:
    Lease() = default;
    Lease(std::shared_ptr<Pool> pool, std::shared_ptr<PooledConnection> member)
        : pool_{std::move(pool)}, member_{std::move(member)} {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&& other) noexcept {
        Lease{std::move(other)}.swap(*this);
        return *this;
    }
    ~Lease();

    explicit operator bool() const noexcept { return member_ != nullptr; }
    Connection& operator*() const noexcept { return *member_->connection; }
    Connection* operator->() const noexcept { return member_->connection.get(); }
    /// Keeps the connection's object alive, not the loan: for those who may still wait on it.
    const std::shared_ptr<PooledConnection>& member() const noexcept { return member_; }

private:
    void swap(Lease& other) noexcept {
        pool_.swap(other.pool_);
        member_.swap(other.member_);
    }
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<PooledConnection> member_;
};

}  // namespace txscope::detail
