#pragma once

#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/ambient.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// What tests of scopes stand on: a database with the table `entries`, a factory for it, and an
/// `io_context`.
class ScopeFixture {
public:
    using Names = std::vector<std::string>;

    /// A schema with a function that drops prepared statements behind the library's back.
    static constexpr const char* forget_statements =
        "CREATE FUNCTION forget_statements() RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN EXECUTE 'DEALLOCATE ALL'; END$$";

    explicit ScopeFixture(txscope::PoolOptions options = {}, const std::string& schema = {})
        : database{"CREATE TABLE entries ("
                   "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                   "name text NOT NULL CONSTRAINT names_are_unique UNIQUE);" +
                   schema},
          sessions{io, database.dsn(), observed(patient(options))} {}

    template <typename Work>
    auto run(Work work, RunOptions options = {}) {
        return support::run(io, std::move(work), options);
    }

    /// Opens a connection; false when `acquire_timeout` was too short for that.
    bool warmed_up() {
        try {
            run(sessions.warm_up(1));
        } catch (const txscope::AcquireTimeout&) {
            return false;
        }
        return true;
    }

    /// Adds an entry the way repositories do: over the ambient session.
    asio::awaitable<void> insert(std::string name) {
        auto session = co_await txscope::current_session(sessions);
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    }

    asio::awaitable<void> insert_and_throw(std::string name) {
        co_await insert(name);
        throw Refusal{name};
    }

    /// Adds an entry in a scope of its own.
    asio::awaitable<void> insert_alone(std::string name) {
        co_await scope([&]() -> asio::awaitable<void> { co_await insert(name); });
    }

    /// The names that are committed, in the order they were added.
    Names names() const { return database.query("SELECT name FROM entries ORDER BY id").column(); }

    /// A connection in a transaction that has inserted this name: until that ends, whoever inserts
    /// the name too waits for a lock.
    std::unique_ptr<Client> hold(const std::string& name) const {
        auto holder = std::make_unique<Client>(database.dsn());
        holder->query("BEGIN; INSERT INTO entries (name) VALUES ('" + name + "')");
        return holder;
    }

    /// Ends the server processes of the library's connections, and waits until they are gone.
    void terminate_backends() const {
        database.query(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'txscope'");
    }

    /// How many of the library's connections are in a transaction, or wait for a lock.
    std::int64_t in_transaction() const { return backends("xact_start IS NOT NULL"); }
    std::int64_t waiting_for_locks() const { return backends("wait_event_type = 'Lock'"); }
    std::int64_t connected() const { return backends("true"); }

    const Database database;
    asio::io_context io;
    txscope::AsyncSessionFactory sessions;
    const txscope::TransactionScope scope{sessions};
    const txscope::TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};

private:
    /// In a test a thousand may wait for four connections, on a machine that has other things to do.
    static txscope::PoolOptions patient(txscope::PoolOptions options) {
        if (options.acquire_timeout == txscope::PoolOptions{}.acquire_timeout)
            options.acquire_timeout = patience;
        return options;
    }

    std::int64_t backends(const std::string& condition) const {
        return database
            .query(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'txscope' AND " +
                condition)
            .number();
    }
};

}  // namespace support
