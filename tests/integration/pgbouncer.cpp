#include "support/pgbouncer.hpp"

#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <libpq-fe.h>
#include <pqxx/except>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

/// With a pooler between us and the server, of a version that does not keep prepared statements.

namespace pgbouncer {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::failure_of;
using support::is;
using support::PgBouncer;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::ScopeEvent;
using txscope::Session;
using txscope::TransactionScope;
using Names = std::vector<std::string>;

/// Counts how often it was told that statements get no names any more.
class Counter : public txscope::Observer {
public:
    void notice(const ScopeEvent& event) noexcept override {
        if (event.kind == ScopeEvent::statements_unnamed) ++unnamed;
    }
    std::atomic<int> unnamed = 0;
};

const char* const schema =
    "CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY, name text NOT NULL UNIQUE)";
const char* const insert = "INSERT INTO entries (name) VALUES ($1)";

/// A pooler in front of two servers' connections, and a factory with one connection to it.
struct Fixture {
    const support::Database database{schema};
    PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 2}};
    Counter counter;
    asio::io_context io;
    AsyncSessionFactory sessions{io, bouncer.dsn(), {.max_size = 1, .observer = &counter}};
    const TransactionScope scope{sessions};
    const TransactionScope retrying{sessions,
                                    {.retry = {.max_attempts = 2, .initial_backoff = 1ms}}};

    void insert_alone(const std::string& name) {
        support::run(io,
                     [&]() -> asio::awaitable<void> { co_await sessions.execute(insert, name); });
    }
    auto adding(const std::string& name) {
        return [name](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, name);
        };
    }
    /// Somebody who has the one connection to the server that there is: what was prepared on it is
    /// not on the next.
    support::Client holder() const {
        support::Client client{bouncer.dsn()};
        client.query("BEGIN");
        return client;
    }
    Names names() const { return database.query("SELECT name FROM entries ORDER BY id").column(); }
};

TEST_CASE("a lone statement whose name the pooler has lost is executed all the same",
          "[pgbouncer]") {
    Fixture fixture;
    fixture.insert_alone("one");
    {
        const auto holder = fixture.holder();
        fixture.insert_alone("two");
        fixture.insert_alone("three");
    }
    fixture.insert_alone("four");
    CHECK(fixture.names() == Names{"one", "two", "three", "four"});
    CHECK(fixture.counter.unnamed == 1);
}

TEST_CASE("a scope whose statement the pooler has lost tries again, and names none any more",
          "[pgbouncer]") {
    Fixture fixture;
    fixture.insert_alone("one");
    {
        const auto holder = fixture.holder();
        support::run(fixture.io, [&] { return fixture.retrying(fixture.adding("two")); });
    }
    for (const char* name : {"three", "four"}) {
        const auto holder = fixture.holder();
        support::run(fixture.io, [&] { return fixture.scope(fixture.adding(name)); });
    }
    CHECK(fixture.names() == Names{"one", "two", "three", "four"});
    CHECK(fixture.counter.unnamed == 1);
}

TEST_CASE("without a retry policy the error says what to set, and comes once", "[pgbouncer]") {
    Fixture fixture;
    fixture.insert_alone("one");
    const auto holder = fixture.holder();
    const auto failure =
        support::run(fixture.io, [&] { return failure_of(fixture.scope(fixture.adding("two"))); });
    CHECK(is<pqxx::invalid_sql_statement_name>(failure));
    CHECK_THAT(text_of(failure), Catch::Matchers::ContainsSubstring("statement_cache_size"));
    support::run(fixture.io, [&] { return fixture.scope(fixture.adding("three")); });
    CHECK(fixture.names() == Names{"one", "three"});
    CHECK(fixture.counter.unnamed == 1);
}

/// Clients that each do many things of many kinds, and see whether the answers are theirs.
struct Crowd {
    static constexpr int clients = 32;
    static constexpr int rounds = 60;

    explicit Crowd(const PgBouncer::Options& options) : bouncer{database, options} {}

    asio::awaitable<void> be_client(const AsyncSessionFactory& sessions, int client) {
        const TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};
        for (int round = 0; round < rounds; ++round) {
            const auto name = std::to_string(client) + "/" + std::to_string(round);
            const int number = (client * 7 + round * 5) % 40;
            // Any other statement that has as many parameters would have another answer.
            const auto sql = "SELECT '" + std::to_string(number) + " of ' || $1::text";
            const auto expected = std::to_string(number) + " of " + name;
            const TransactionScope scope{
                sessions, {.retry = {.max_attempts = 2, .initial_backoff = 1ms}, .label = name}};
            co_await scope([&](Session& session) -> asio::awaitable<void> {
                const auto answer = co_await session.execute(sql, name);
                if (answer.one().get<std::string>(0) != expected) ++wrong;
                co_await nested([&](Session& inner) -> asio::awaitable<void> {
                    co_await inner.execute(insert, name);
                });
                session.enqueue("UPDATE entries SET name = name || '!' WHERE name = $1", name);
            });
            const auto answer = co_await sessions.execute(sql, name);
            if (answer.one().get<std::string>(0) != expected) ++wrong;
        }
    }

    void work() {
        std::vector<std::exception_ptr> failures;
        int done = 0;
        for (int client = 0; client < clients; ++client)
            asio::co_spawn(io, be_client(client % 2 ? one : other, client),
                           [&](std::exception_ptr failure) {
                               if (failure) failures.push_back(failure);
                               ++done;
                           });
        support::run(io, support::eventually([&] { return done == clients; }),
                     {.limit = 4 * support::patience});
        for (const auto& failure : failures) FAIL_CHECK(text_of(failure));
        CHECK(wrong == 0);
        CHECK(database.query("SELECT count(*) FROM entries WHERE name LIKE '%!'").number() ==
              clients * rounds);
    }
    /// How many statements of that text are prepared, on any of the connections: all are asked at once.
    std::int64_t prepared(const std::string& text) {
        std::int64_t most = 0;
        int answered = 0;
        const auto ask = [&]() -> asio::awaitable<void> {
            const auto found = co_await one.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1", text);
            most = std::max(most, found.one().get<std::int64_t>(0));
            ++answered;
        };
        for (int i = 0; i < 40; ++i) asio::co_spawn(io, ask(), asio::detached);
        support::run_until(io, [&] { return answered == 40; });
        return most;
    }

    const support::Database database{schema};
    PgBouncer bouncer;
    Counter counter;
    asio::io_context io;
    // As of two programs.
    const AsyncSessionFactory one{io, bouncer.dsn(), {.max_size = 16, .observer = &counter}};
    const AsyncSessionFactory other{io, bouncer.dsn(), {.max_size = 16, .observer = &counter}};
    int wrong = 0;
};

TEST_CASE("behind transaction pooling nobody gets another statement's answer, and names end",
          "[pgbouncer]") {
    Crowd crowd{{.pool_mode = "transaction", .pool_size = 8}};
    crowd.work();
    CHECK(crowd.counter.unnamed == 2);  // once for each factory
    support::run(crowd.io, [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 40; ++i) co_await crowd.one.execute("SELECT 'after all that'");
    });
    CHECK(crowd.prepared("SELECT 'after all that'") == 0);
}

TEST_CASE("behind session pooling statements keep their names", "[pgbouncer]") {
    Crowd crowd{{.pool_mode = "session", .pool_size = 40}};
    crowd.work();
    CHECK(crowd.counter.unnamed == 0);
    CHECK(crowd.prepared(insert) == 1);
}

TEST_CASE("whatever happens to the pooler under load, nothing is lost or done twice",
          "[pgbouncer]") {
    const support::Database database{schema};
    PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 4}};
    asio::io_context io;
    const AsyncSessionFactory sessions{io, bouncer.dsn(), support::observed({.max_size = 8})};
    const TransactionScope scope{sessions,
                                 {.retry = {.max_attempts = 5, .initial_backoff = 1ms},
                                  .verify_commit = true,
                                  .verify_timeout = support::patience}};
    std::set<std::string> committed;
    std::set<std::string> failed;
    std::set<std::string> in_doubt;
    bool over = false;
    int working = 0;
    const auto work = [&](int worker) -> asio::awaitable<void> {
        for (int i = 0;; ++i) {
            if (over) break;
            const auto name = std::to_string(worker) + "/" + std::to_string(i);
            const auto failure =
                co_await failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute("SELECT count(*) FROM entries WHERE name = $1", name);
                    session.enqueue("INSERT INTO entries (name) VALUES ($1 || '')", name);
                }));
            if (is<txscope::CommitInDoubt>(failure))
                in_doubt.insert(name);
            else
                (failure ? failed : committed).insert(name);
            // While nobody is there to connect to, others have to get on.
            asio::steady_timer pause{io, failure ? 1ms : 0ms};
            co_await pause.async_wait(asio::use_awaitable);
        }
        --working;
    };
    for (; working < 16; ++working)
        asio::co_spawn(io, work(working), [](std::exception_ptr error) { CHECK_FALSE(error); });

    const auto more = [&]() -> asio::awaitable<void> {
        const auto enough = committed.size() + 50;
        co_await support::eventually([&] { return committed.size() >= enough; });
    };
    const auto command = [&](const char* what) -> asio::awaitable<void> {
        const auto console = bouncer.console();
        console->send(what);
        co_await support::eventually([&] {
            PQconsumeInput(console->handle());
            return PQisBusy(console->handle()) == 0;
        });
        console->receive();
    };
    support::run(io,
                 [&]() -> asio::awaitable<void> {
                     for (int i = 0; i < 3; ++i) {
                         co_await more();
                         co_await command("PAUSE");
                         co_await command("RESUME");
                         co_await more();
                         co_await command("RECONNECT");
                         co_await more();
                         co_await command("KILL pooled");
                         co_await command("RESUME pooled");
                         co_await more();
                         bouncer.kill();
                         bouncer.start();
                         co_await more();
                         database.query(
                             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                             "datname = current_database() AND pid <> pg_backend_pid()");
                     }
                     co_await more();
                     over = true;
                     co_await support::eventually([&] { return working == 0; });
                 },
                 {.limit = 4 * support::patience});

    std::set<std::string> found;
    for (const std::string& name : database.query("SELECT name FROM entries").column())
        found.insert(name);
    for (const std::string& name : committed) CHECK(found.erase(name) == 1);
    for (const std::string& name : failed) CHECK(found.count(name) == 0);
    for (const std::string& name : found) CHECK(in_doubt.count(name) == 1);
}

}  // namespace pgbouncer
