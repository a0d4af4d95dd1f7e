#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include "support/standby.hpp"
#include "support/started.hpp"
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

// Servers that stop writing, or begin to, while connections to them are open.
namespace server_roles {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::failure_of;
using support::query;
using support::run;
using support::run_until;
using txscope::Session;
using txscope::TemporaryPostgres;

const txscope::RetryPolicy patient_retry{
    .max_attempts = 100'000, .initial_backoff = 1ms, .max_backoff = 20ms};

std::string sqlstate_of(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {
        const auto* const said = txscope::find_diagnostics(error);
        return said != nullptr ? said->sqlstate : "";
    }
}

std::string dsn_of(const TemporaryPostgres& first, const TemporaryPostgres& second) {
    return "host=127.0.0.1,127.0.0.1 port=" + std::to_string(first.port()) + "," +
           std::to_string(second.port()) +
           " dbname=postgres user=postgres sslmode=disable gssencmode=disable "
           "target_session_attrs=read-write";
}

void take_writes(const TemporaryPostgres& server, bool takes) {
    support::Client client{server.dsn()};
    client.query("ALTER SYSTEM SET default_transaction_read_only = " +
                 std::string{takes ? "off" : "on"});
    client.query("SELECT pg_reload_conf()");
}

/// One that only writes while somebody says so, and has a table `entries`.
const TemporaryPostgres& demotable() {
    static TemporaryPostgres server;
    take_writes(server, true);
    support::block_until(
        [] { return query(server.dsn(), "SHOW default_transaction_read_only").value() == "off"; });
    query(server.dsn(),
          "SET client_min_messages = warning; DROP TABLE IF EXISTS entries; CREATE "
          "TABLE entries (name text)");
    return server;
}

/// One that is in recovery for good.
const TemporaryPostgres& in_recovery() {
    static TemporaryPostgres server;
    static const bool made = [] {
        query(server.dsn(), "CREATE TABLE entries (name text)");
        server.stop();
        std::ofstream{server.data_directory() / "standby.signal"};
        server.start();
        return true;
    }();
    return made ? server : server;
}

struct Pool {
    explicit Pool(const std::string& dsn, std::size_t size = 2)
        : sessions{io, dsn,
                   support::observed({.max_size = size, .acquire_timeout = support::patience})} {
        run(io, sessions.warm_up(size));
    }
    asio::io_context io{};
    txscope::AsyncSessionFactory sessions;
};

TEST_CASE("a server that takes no more writes is left, and used again when it does",
          "[server_roles]") {
    const TemporaryPostgres& server = demotable();
    Pool pool{server.tcp_dsn() + " target_session_attrs=read-write"};
    take_writes(server, false);
    std::string statement = "INSERT INTO entries VALUES ('alone')";
    SECTION("who writes meets it first") {}
    SECTION("who reads meets it first") { statement = "SELECT 1"; }
    const auto meet_it = [&]() -> asio::awaitable<void> {  // the reload takes its time
        while (pool.sessions.statistics().retired == 0)
            co_await failure_of(pool.sessions.execute(statement));
    };
    run(pool.io, meet_it());
    CHECK(pool.sessions.statistics().retired == 2);

    const txscope::TransactionScope scope{pool.sessions, {.retry = patient_retry}};
    int attempts = 0;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        ++attempts;
        co_await session.execute("INSERT INTO entries VALUES ('in a scope')");
    };
    support::Started work{pool.io, scope(body)};
    run_until(pool.io, [&] { return pool.sessions.statistics().failed_openings > 0; });
    CHECK_FALSE(work.done());
    take_writes(server, true);
    run_until(pool.io, [&] { return work.done(); });
    CHECK(work.failure() == nullptr);
    CHECK(attempts == 1);
    CHECK(query(server.dsn(), "SELECT count(*) FROM entries WHERE name = 'in a scope'").number() ==
          1);
}

TEST_CASE("a scope that cannot write although it wants to is tried again on another connection",
          "[server_roles]") {
    const bool standby = GENERATE(true, false);
    Pool pool{standby ? in_recovery().tcp_dsn()
                      : demotable().tcp_dsn() + " options='-c default_transaction_read_only=on'",
              1};
    txscope::TransactionOptions options;
    std::string refusal{txscope::sqlstate::read_only_sql_transaction};
    const auto only_standbys_refuse = [&] {
        if (standby) refusal = txscope::sqlstate::feature_not_supported;
    };
    bool written_behind = false;
    SECTION("a statement is refused") {}
    SECTION("what was enqueued is refused with COMMIT") { written_behind = true; }
    SECTION("BEGIN is refused: read-write") {
        if (!standby) return;  // there it may write
        options.access = txscope::AccessMode::read_write;
        only_standbys_refuse();
    }
    SECTION("BEGIN is refused: serializable") {
        options.isolation = txscope::IsolationLevel::serializable;
        only_standbys_refuse();
    }
    options.retry = {.max_attempts = 3, .initial_backoff = 1ms, .max_backoff = 1ms};
    const txscope::TransactionScope scope{pool.sessions, options};
    int attempts = 0;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        ++attempts;
        if (written_behind)
            session.enqueue("INSERT INTO entries VALUES ('no')");
        else
            co_await session.execute("INSERT INTO entries VALUES ('no')");
    };
    const auto failure = run(pool.io, failure_of(scope(body)));
    CHECK(sqlstate_of(failure) == refusal);
    CHECK(attempts == 3);
    CHECK(pool.sessions.statistics().retired >= 1);
}

TEST_CASE("where every connection is as read-only as the last, they are replaced once a second",
          "[server_roles]") {
    Pool pool{demotable().tcp_dsn() + " options='-c default_transaction_read_only=on'", 1};
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 50; ++i) {
        const auto failure = run(pool.io, failure_of(pool.sessions.execute("DELETE FROM entries")));
        CHECK(sqlstate_of(failure) == txscope::sqlstate::read_only_sql_transaction);
    }
    const auto seconds =
        std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
    const auto opened = pool.sessions.statistics().opened;
    CHECK(opened >= 2);
    CHECK(opened <= 1 + static_cast<std::uint64_t>(seconds.count()));
}

TEST_CASE("a scope that is read-only by its own word is not tried again, and costs no connection",
          "[server_roles]") {
    Pool pool{GENERATE(true, false) ? in_recovery().tcp_dsn() : demotable().tcp_dsn(), 1};
    const txscope::TransactionScope scope{
        pool.sessions, {.access = txscope::AccessMode::read_only, .retry = {.max_attempts = 3}}};
    int attempts = 0;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        ++attempts;
        co_await session.execute("INSERT INTO entries VALUES ('no')");
    };
    const auto failure = run(pool.io, failure_of(scope(body)));
    CHECK(sqlstate_of(failure) == txscope::sqlstate::read_only_sql_transaction);
    CHECK(attempts == 1);
    CHECK(pool.sessions.statistics().retired == 0);
    CHECK(pool.sessions.statistics().opened == 1);
}

/// Scopes that write one entry after another, several at a time.
struct Writers {
    explicit Writers(Pool& with) : pool{with} {
        for (std::size_t i = 0; i < acknowledged.size(); ++i)
            work.push_back(std::make_unique<support::Started>(pool.io, write(i)));
    }
    asio::awaitable<void> write(std::size_t which) {
        const txscope::TransactionScope scope{pool.sessions, {.retry = patient_retry}};
        while (!over) {
            const auto body = [&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("INSERT INTO entries VALUES ($1)", next_of(which));
            };
            co_await scope(body);
            ++acknowledged[which];
        }
    }
    std::string next_of(std::size_t which) const {
        return std::to_string(which) + "." + std::to_string(acknowledged[which]);
    }
    /// Each once more, but for what is under way now.
    void go_on() {
        const auto before = acknowledged;
        run_until(pool.io, [&] {
            return std::ranges::equal(before, acknowledged,
                                      [](int then, int now) { return now >= then + 2; });
        });
    }
    void stop() {
        over = true;
        run_until(pool.io, [&] {
            return std::ranges::all_of(work, [](const auto& each) { return each->done(); });
        });
    }

    Pool& pool;
    bool over = false;
    std::array<int, 4> acknowledged{};
    std::vector<std::unique_ptr<support::Started>> work{};
};

TEST_CASE("scopes go on at a standby that is promoted, with nothing lost and nothing doubled",
          "[server_roles]") {
    TemporaryPostgres primary;
    query(primary.dsn(), "CREATE TABLE entries (name text)");
    support::Standby standby{primary};
    Pool pool{dsn_of(primary, standby.server()), 4};
    Writers writers{pool};
    writers.go_on();

    take_writes(primary, false);
    run_until(pool.io, [&] {  // those who may still write there end, and then nobody is there
        return query(primary.dsn(),
                     "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid "
                     "<> pg_backend_pid()")
            .empty();
    });
    standby.catch_up();
    standby.promote();
    writers.go_on();

    // The old primary comes back as the standby of the new one.
    primary.stop();
    std::ofstream{primary.data_directory() / "standby.signal"};
    txscope::detail::append_lines(
        primary.data_directory() / "postgresql.conf",
        {"primary_conninfo = " + txscope::detail::quote_setting(standby.server().tcp_dsn())});
    primary.start();
    pool.sessions.recycle();
    writers.go_on();
    writers.stop();

    std::vector<std::string> told;
    for (std::size_t which = 0; which < writers.acknowledged.size(); ++which) {
        CHECK(writers.work[which]->failure() == nullptr);
        for (int i = 0; i < writers.acknowledged[which]; ++i)
            told.push_back(std::to_string(which) + "." + std::to_string(i));
    }
    std::ranges::sort(told);
    CHECK(query(standby.server().dsn(), "SELECT name FROM entries ORDER BY name").column() == told);
}

TEST_CASE("who asked for a standby leaves it when it is promoted", "[server_roles]") {
    support::Standby standby{demotable()};
    Pool pool{standby.server().tcp_dsn() + " target_session_attrs=standby", 1};
    standby.promote();
    run(pool.io, pool.sessions.execute("SELECT 1"));
    run_until(pool.io, [&] { return pool.sessions.statistics().retired == 1; });
}

}  // namespace server_roles
