#pragma once

#include "support/trial.hpp"
#include <txscope/txscope.hpp>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

/// What txscope promises, each as a function that tries it on a server: `conformance` runs them all.
namespace conformance {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using txscope::AccessMode;
using txscope::IsolationLevel;
using txscope::Session;
using txscope::TransactionScope;

/// What they work on, in a schema of its own.
inline constexpr const char* tables = R"(
    CREATE TABLE entries (name text PRIMARY KEY);
    CREATE TABLE counter (value int NOT NULL);
    INSERT INTO counter VALUES (0);
    CREATE TABLE doctors (name text PRIMARY KEY, on_call boolean NOT NULL);
    INSERT INTO doctors VALUES ('Ann', true), ('Bob', true);
    CREATE TABLE lists (id int PRIMARY KEY, elements int[] NOT NULL);
    INSERT INTO lists VALUES (1, '{}'), (2, '{}');
    CREATE FUNCTION end_own_backend() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER loses_commit AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.name = 'lost') EXECUTE FUNCTION end_own_backend())";

inline constexpr const char* insert = "INSERT INTO txscope_conformance.entries VALUES ($1)";

inline asio::awaitable<void> commits(TriedServer& server) {
    const TransactionScope scope{server.sessions()};
    co_await scope([](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "committed");
    });
    expect(server.entries("committed") == "committed",
           "Others do not see it. Does the address lead to replicas, too?");
}

inline asio::awaitable<void> rolls_back(TriedServer& server) {
    struct Refusal {};
    const TransactionScope scope{server.sessions()};
    const bool refused =
        co_await fails_by<Refusal>(scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "refused");
            throw Refusal{};
        }));
    expect(refused && server.entries("refused").empty(), "Something is left of it.");
}

inline asio::awaitable<void> sets_savepoints(TriedServer& server) {
    const TransactionScope scope{server.sessions()};
    const TransactionScope nested{server.sessions(), {.propagation = txscope::Propagation::nested}};
    co_await scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "outer 1");
        const bool refused = co_await fails_by<pqxx::unique_violation>(
            nested([](Session& inner) -> asio::awaitable<void> {
                co_await inner.execute(insert, "outer 2");
                co_await inner.execute(insert, "outer 1");
            }));
        expect(refused, "A name was taken twice.");
        co_await session.execute(insert, "outer 3");
    });
    expect(server.entries("outer") == "outer 1, outer 3", "Something else was undone.");
}

/// Tried first: where names are lost the factory finds that out, and gives none any more.
inline asio::awaitable<void> keeps_prepared_statements(TriedServer& server) {
    const TransactionScope scope{server.sessions(), {.retry = {.max_attempts = 3}}};
    co_await in_parallel(4, [&](int client) -> asio::awaitable<void> {
        for (int round = 0; round < 30; ++round) {
            const auto sql = "SELECT $1::int + " + std::to_string(round);
            co_await scope([&](Session& session) -> asio::awaitable<void> {
                const auto sum = co_await session.execute(sql, client);
                const auto alone = co_await server.sessions().execute(sql, client);
                expect(sum.one().get<int>(0) == client + round &&
                           alone.one().get<int>(0) == client + round,
                       "A statement got the answer of another.");
            });
        }
    });
    if (server.names_are_lost())
        throw NotHere{
            "The pooler loses them. Set .statement_cache_size = 0, or let it keep them "
            "(PgBouncer 1.21: max_prepared_statements)."};
}

inline asio::awaitable<void> writes_behind(TriedServer& server) {
    const TransactionScope scope{server.sessions()};
    const auto before = server.sessions().statistics().round_trips;
    co_await scope([](Session& session) -> asio::awaitable<void> {
        session.enqueue(insert, "behind 1");
        session.enqueue(insert, "behind 2");
        co_return;
    });
    const auto round_trips = server.sessions().statistics().round_trips - before;
    expect(server.entries("behind") == "behind 1, behind 2", "It is not there.");
    if (!server.pipelines())
        throw NotHere{
            "The pooler hangs when a statement comes before the last one is answered. Set "
            ".pipelining = false: each is a round trip of its own, and all else is as it was."};
    expect(round_trips == 1, "It took more round trips.");
}

inline asio::awaitable<void> runs_branches(TriedServer& server) {
    const TransactionScope scope{server.sessions(), {.timeout = 10s}};
    co_await scope([](Session& session) -> asio::awaitable<void> {
        const auto [one, two] = co_await (session.execute("SELECT pg_current_xact_id()::text") &&
                                          session.execute("SELECT pg_current_xact_id()::text"));
        expect(one.one().get<std::string>(0) == two.one().get<std::string>(0),
               "They ran in two transactions.");
    });
}

/// No setting of a server, a database or a role may change a value.
inline asio::awaitable<void> keeps_values(TriedServer& server) {
    const double number = 1.0 / 3;
    const std::string text = R"(naïve \ 'quoted' "names")";
    const std::vector<std::byte> bytes{std::byte{0}, std::byte{'\\'}, std::byte{255}};
    const std::chrono::sys_time<std::chrono::microseconds> time{1'234'567'890'123'456us};
    const auto sent = co_await server.sessions().execute(
        "SELECT $1::float8, $2::text, $3::bytea, $4::timestamptz", number, text, bytes, time);
    const txscope::Row row = sent.one();
    expect(row.get<double>(0) == number && row.get<std::string>(1) == text, "A value differs.");
    expect(row.get<std::vector<std::byte>>(2) == bytes, "Bytes differ.");
    expect(row.get<std::chrono::sys_time<std::chrono::microseconds>>(3) == time, "A time differs.");
}

inline asio::awaitable<void> refuses_to_write_when_read_only(TriedServer& server) {
    const TransactionScope scope{server.sessions(), {.access = AccessMode::read_only}};
    const bool refused =
        co_await fails_by<txscope::SqlError>(scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "read-only");
        }));
    expect(refused && server.entries("read-only").empty(), "It was written.");
}

inline asio::awaitable<void> cancels(TriedServer& server) {
    const TransactionScope scope{server.sessions()};
    asio::steady_timer timer{co_await asio::this_coro::executor, 1s};
    const auto first = co_await (timer.async_wait(asio::use_awaitable) ||
                                 scope([](Session& session) -> asio::awaitable<void> {
                                     co_await session.execute(
                                         "UPDATE txscope_conformance.counter SET value = value");
                                     co_await session.execute("SELECT pg_sleep(20)");
                                 }));
    expect(first.index() == 0, "A statement ended before it could be cancelled.");
    try {
        server.see("SELECT value FROM txscope_conformance.counter FOR UPDATE NOWAIT");
    } catch (const pqxx::sql_error&) {
        throw NotHere{
            "A request to cancel does not arrive, so that the statement runs on by itself. "
            "Set .statement_timeout, which the server sees to."};
    }
}

inline asio::awaitable<void> keeps_deadlines(TriedServer& server) {
    const TransactionScope scope{server.sessions(), {.timeout = 1s}};
    const bool over = co_await fails_by<txscope::TransactionTimeout>(
        scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "late");
            co_await session.execute("SELECT pg_sleep(20)");
        }));
    expect(over && server.entries("late").empty(), "It took as long as it liked.");
}

inline asio::awaitable<void> survives_lost_connections(TriedServer& server) {
    const TransactionScope scope{server.sessions(), {.retry = {.max_attempts = 3}}};
    try {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "after a loss");
            if (session.attempt() == 1)
                co_await session.execute("SELECT pg_terminate_backend(pg_backend_pid())");
        });
    } catch (const pqxx::insufficient_privilege&) {
        throw NotHere{"Not tried: the role may not end its own backend."};
    }
    expect(server.entries("after a loss") == "after a loss", "It is not there.");
}

/// A trigger ends the backend while it is committing the entry 'lost'.
inline asio::awaitable<void> finds_out_about_lost_commits(TriedServer& server) {
    const TransactionScope scope{server.sessions(),
                                 {.retry = {.max_attempts = 3}, .verify_commit = true}};
    try {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, session.attempt() == 1 ? "lost" : "lost, then found");
        });
    } catch (const pqxx::insufficient_privilege&) {
        throw NotHere{"Not tried: the role may not end its own backend."};
    } catch (const txscope::CommitInDoubt&) {
        throw NotHere{
            "It stays in doubt: grant the role pg_control_system() and "
            "pg_control_checkpoint(), or handle CommitInDoubt."};
    }
    expect(server.entries("lost") == "lost, then found", "A wrong answer was given.");
}

/// A transaction that reads and then writes, with another one in between the first time.
template <typename Read, typename Write>
asio::awaitable<void> collide(TriedServer& server, IsolationLevel isolation, Read read,
                              Write write) {
    const txscope::RetryPolicy retry{.max_attempts = 3};
    const TransactionScope scope{server.sessions(), {.isolation = isolation, .retry = retry}};
    const TransactionScope other{
        server.sessions(),
        {.propagation = txscope::Propagation::requires_new, .isolation = isolation}};
    co_await scope([&](Session& session) -> asio::awaitable<void> {
        const int seen = co_await read(session);
        if (session.attempt() == 1)
            co_await other([&](Session& second) -> asio::awaitable<void> {
                const int also_seen = co_await read(second);
                co_await write(second, also_seen, "Bob");
            });
        co_await write(session, seen, "Ann");
    });
}

inline asio::awaitable<void> loses_no_update(TriedServer& server) {
    const auto read = [](Session& session) -> asio::awaitable<int> {
        const auto found =
            co_await session.execute("SELECT value FROM txscope_conformance.counter");
        co_return found.one().get<int>(0);
    };
    const auto write = [](Session& session, int seen, const char*) -> asio::awaitable<void> {
        co_await session.execute("UPDATE txscope_conformance.counter SET value = $1", seen + 1);
    };
    co_await collide(server, IsolationLevel::repeatable_read, read, write);
    expect(server.see("SELECT value FROM txscope_conformance.counter") == "2",
           "One of two updates is gone.");
}

/// Of two doctors on call each may go as long as the other stays.
inline asio::awaitable<void> refuses_write_skew(TriedServer& server) {
    const auto read = [](Session& session) -> asio::awaitable<int> {
        const auto found = co_await session.execute(
            "SELECT count(*) FROM txscope_conformance.doctors WHERE on_call");
        co_return found.one().get<int>(0);
    };
    const auto write = [](Session& session, int on_call, const char* who) -> asio::awaitable<void> {
        if (on_call < 2) co_return;
        co_await session.execute(
            "UPDATE txscope_conformance.doctors SET on_call = false WHERE name = $1", who);
    };
    co_await collide(server, IsolationLevel::serializable, read, write);
    expect(server.see("SELECT count(*) FROM txscope_conformance.doctors WHERE on_call") == "1",
           "Nobody is on call.");
}

/// Each transaction reads all lists, and puts a number at the end of one. In the one order that
/// serializable transactions fit into, the n-th of them has seen n - 1 numbers.
inline asio::awaitable<void> fits_into_one_order(TriedServer& server) {
    constexpr txscope::TransactionOptions options{
        .isolation = IsolationLevel::serializable,
        .retry = {.max_attempts = 1000, .initial_backoff = 2ms, .max_backoff = 100ms}};
    const TransactionScope scope{server.sessions(), options};
    std::vector<std::size_t> seen;
    co_await in_parallel(8, [&](int client) -> asio::awaitable<void> {
        for (int round = 0; round < 5; ++round) {
            std::size_t numbers = 0;
            co_await scope([&](Session& session) -> asio::awaitable<void> {
                numbers = 0;
                const auto lists =
                    co_await session.execute("SELECT elements FROM txscope_conformance.lists");
                for (const auto& [elements] : lists.rows<std::vector<int>>())
                    numbers += elements.size();
                co_await session.execute(
                    "UPDATE txscope_conformance.lists SET elements = elements || $1::int "
                    "WHERE id = $2",
                    client * 100 + round, 1 + (client + round) % 2);
            });
            seen.push_back(numbers);
        }
    });
    std::ranges::sort(seen);
    for (std::size_t place = 0; place < seen.size(); ++place)
        expect(seen[place] == place,
               "Two transactions have seen the same, and both are committed.");
    expect(server.see("SELECT sum(cardinality(elements)) FROM txscope_conformance.lists") == "40",
           "A number is lost, or there twice.");
}

inline asio::awaitable<void> notifies(TriedServer& server) {
    struct Told {};
    const TransactionScope scope{server.sessions()};
    asio::steady_timer patience{co_await asio::this_coro::executor, 5s};
    const auto handler = [&](const txscope::Notification& told) -> asio::awaitable<void> {
        if (told.kind == txscope::Notification::received) throw Told{};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            session.notify("txscope_conformance");
            co_return;
        });
    };
    const auto first =
        co_await (fails_by<Told>(server.sessions().listen("txscope_conformance", handler)) ||
                  patience.async_wait(asio::use_awaitable));
    if (first.index() != 0)
        throw NotHere{
            "Nothing arrives, as through a pooler that lends by transactions. Listen past "
            "it: with a factory of its own for the server's address."};
}

inline asio::awaitable<void> keeps_sessions_apart(TriedServer& server) {
    const auto look = [&](int) -> asio::awaitable<void> {
        const auto found = co_await server.sessions().execute(
            "SELECT to_regclass('pg_temp.txscope_conformance') IS NULL AND "
            "coalesce(current_setting('txscope.conformance', true), '') = ''");
        if (!found.one().get<bool>(0))
            throw NotHere{
                "They leak to other clients, as behind a pooler that lends by "
                "transactions. Say SET LOCAL and ON COMMIT DROP, in a scope."};
    };
    std::exception_ptr leaked;
    co_await server.sessions().session_scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SET txscope.conformance = 'set'");
        co_await session.execute("CREATE TEMPORARY TABLE txscope_conformance (id int)");
        try {
            co_await in_parallel(4, look);  // of others, for as long as it is there
        } catch (const NotHere&) {
            leaked = std::current_exception();
        }
        if (!leaked) co_return;  // else nobody but us takes it away
        co_await session.execute("RESET txscope.conformance");
        co_await session.execute("DROP TABLE IF EXISTS pg_temp.txscope_conformance");
    });
    if (leaked) std::rethrow_exception(leaked);
    co_await in_parallel(8, look);  // of who borrows the connection next
}

inline constexpr Promise promises[] = {
    {"prepared statements keep their names", keeps_prepared_statements},
    {"what a scope does is committed when its body returns", commits},
    {"what a scope does is rolled back when its body throws", rolls_back},
    {"a nested scope that fails undoes its own work only", sets_savepoints},
    {"what is written behind goes with COMMIT, in one round trip", writes_behind},
    {"parallel branches share a transaction", runs_branches},
    {"no setting of the server changes a value", keeps_values},
    {"a read-only scope writes nothing", refuses_to_write_when_read_only},
    {"a statement that is cancelled ends on the server", cancels},
    {"a scope whose time is over is rolled back", keeps_deadlines},
    {"a scope that loses its connection is tried again", survives_lost_connections},
    {"the outcome of a COMMIT whose answer is lost is found out", finds_out_about_lost_commits},
    {"no update is lost at repeatable_read", loses_no_update},
    {"a write skew is refused at serializable", refuses_write_skew},
    {"serializable transactions fit into one order", fits_into_one_order},
    {"what a scope notifies arrives", notifies},
    {"settings and temporary tables of a session stay its own", keeps_sessions_apart},
};

}  // namespace conformance
