#pragma once

#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/run.hpp"
#include <txscope/postgres/connection.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace support {

inline std::chrono::steady_clock::time_point before_long() {
    return std::chrono::steady_clock::now() + patience;
}

/// A `txscope::Connection` to a database of its own, driven from outside of coroutines.
class WireConnection {
public:
    using SharedResponse = std::shared_ptr<txscope::detail::Response>;

    explicit WireConnection(const std::string& schema = {}, std::size_t statement_cache_size = 16)
        : database{schema},
          connection{run(io, txscope::Connection::open(io.get_executor(), database.dsn(),
                                                       statement_cache_size, before_long()))} {}

    /// Sends one batch, each statement for a response of its own.
    std::vector<SharedResponse> send(std::vector<txscope::Statement> statements) {
        std::vector<SharedResponse> responses;
        txscope::Connection::Batch batch;
        for (txscope::Statement& statement : statements) {
            responses.push_back(std::make_shared<txscope::detail::Response>());
            batch.push_back({std::move(statement), responses.back()});
        }
        connection->submit(std::move(batch));
        connection->flush();
        return responses;
    }
    SharedResponse send(const std::string& sql) { return send({txscope::Statement{sql}}).front(); }

    void await(const SharedResponse& response) { run(io, connection->answered(response)); }
    void await(const std::vector<SharedResponse>& responses) {
        for (const SharedResponse& response : responses) await(response);
    }

    /// The result of one statement, a batch by itself.
    template <typename... Args>
    txscope::Result ask(const std::string& sql, const Args&... args) {
        const SharedResponse response = send({txscope::Statement{sql, args...}}).front();
        await(response);
        if (response->error) std::rethrow_exception(response->error);
        return response->result;
    }

    /// Brings it back to a clean state, or closes it.
    void recover(std::chrono::milliseconds within = patience) {
        run(io, connection->recover(std::chrono::steady_clock::now() + within));
    }

    int backend_pid() const { return PQbackendPID(connection->native()); }

    /// Until the server's side of it is waiting for a lock.
    void await_lock_wait() {
        run_until(io, [&] {
            return database
                       .query("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = " +
                              std::to_string(backend_pid()))
                       .number() == 1;
        });
    }

    /// Until the server has no such backend any more.
    void await_backend_gone() {
        const auto pid = std::to_string(backend_pid());
        run_until(io, [&] {
            return database.query("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid)
                       .number() == 0;
        });
    }

    const Database database;
    asio::io_context io;
    std::unique_ptr<txscope::Connection> connection;
};

}  // namespace support
