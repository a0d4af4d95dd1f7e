#pragma once

#include <txscope/pool/detail/connection_node.hpp>
#include <txscope/postgres/connection.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// A pool's connection, with what the pool knows about it.
struct PooledConnection : ConnectionNode {
    explicit PooledConnection(std::unique_ptr<Connection> opened) : connection{std::move(opened)} {}

    /// Those since the last call.
    std::uint64_t new_round_trips() noexcept {
        const auto before = std::exchange(round_trips_counted, connection->round_trips());
        return round_trips_counted - before;
    }

    /// Whether its server is still there, as far as one can see.
    bool usable(Clock::time_point now) noexcept {
        try {
            // The read that is armed while it is idle may not have run yet, or not be armed yet.
            connection->poll_unless_heard_within(std::chrono::milliseconds{1}, now);
        } catch (...) {  // no memory for what the server said
            connection->close(std::current_exception());
        }
        return !connection->broken();
    }

    std::unique_ptr<Connection> connection;
    Connection::SharedResponse about_server{};  // the answer about it, once that was asked for
    std::uint64_t round_trips_counted = 0;
    std::int64_t system = 0;  // the identifier of its server's database cluster; 0: not known
    bool wrong_role = false;  // its server's: it did not write what its holder wanted written
    // Guarded by the pool:
    std::shared_ptr<PooledConnection> kept{};  // itself, while nobody has it on loan
    bool watched = false;  // whether a read is armed that notices the end of an idle connection
};

}  // namespace txscope::detail
