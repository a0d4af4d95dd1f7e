#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace retry {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::IsolationLevel;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

/// Fails the way a lost serialization conflict does, with these words.
std::string conflict_that_says(const std::string& words) {
    return "DO $$ BEGIN RAISE EXCEPTION '" + words + "' USING ERRCODE = '40001'; END $$";
}
const std::string conflict = conflict_that_says("could not serialize");

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;
    const TransactionScope retrying{sessions,
                                    {.isolation = IsolationLevel::serializable,
                                     .retry = {.max_attempts = 5,
                                               .initial_backoff = std::chrono::milliseconds{1},
                                               .max_backoff = std::chrono::milliseconds{4}}}};
};

TEST_CASE("of two scopes with a write skew one tries again, and the invariant holds", "[retry]") {
    Fixture fixture{{},
                    "CREATE TABLE doctors (name text PRIMARY KEY, on_call boolean);"
                    "INSERT INTO doctors VALUES ('ann', true), ('bob', true)"};
    int attempts = 0;
    int reading = 0;
    const auto go_off_call = [&](const std::string& name) {
        return fixture.retrying([&, name](Session& session) -> asio::awaitable<void> {
            ++attempts;
            const auto others =
                co_await session.execute("SELECT count(*) FROM doctors WHERE on_call");
            ++reading;
            // Both have read before either writes.
            co_await support::eventually([&] { return reading >= 2; });
            if (others.one().get<int>(0) < 2) co_return;
            co_await session.execute("UPDATE doctors SET on_call = false WHERE name = $1", name);
        });
    };
    fixture.run([&]() -> asio::awaitable<void> {
        auto ann = go_off_call("ann");
        auto bob = go_off_call("bob");
        co_await (std::move(ann) && std::move(bob));
    });
    CHECK(fixture.database.query("SELECT count(*) FROM doctors WHERE on_call").number() == 1);
    CHECK(attempts == 3);
}

TEST_CASE("a conflict in what was written behind is tried again, also when a nested scope sends it",
          "[retry]") {
    Fixture fixture;
    const auto behind = [](Session& session) -> asio::awaitable<void> {
        session.enqueue("INSERT INTO entries (name) VALUES ('nested')");
        co_return;
    };
    const int attempts = fixture.run([&] {
        return fixture.retrying([&](Session& session) -> asio::awaitable<int> {
            if (session.attempt() == 1) session.enqueue(conflict);
            co_await fixture.nested(behind);
            co_return session.attempt();
        });
    });
    CHECK(attempts == 2);
    CHECK(fixture.names() == Names{"nested"});
}

TEST_CASE("of two scopes in a deadlock one tries again, and both commit", "[retry]") {
    Fixture fixture{{},
                    "CREATE TABLE accounts (id int PRIMARY KEY, balance int);"
                    "INSERT INTO accounts VALUES (1, 0), (2, 0)"};
    const TransactionScope scope{
        fixture.sessions,
        {.retry = {.max_attempts = 5, .initial_backoff = std::chrono::milliseconds{1}}}};
    int attempts = 0;
    int holding = 0;
    bool committed = false;
    const auto add_to = [&](int first, int second) {
        return scope([&, first, second](Session& session) -> asio::awaitable<void> {
            ++attempts;
            // Not to be in another deadlock, before the one that goes on has its second lock.
            if (session.attempt() > 1) co_await support::eventually([&] { return committed; });
            session.after_commit([&] { committed = true; });
            co_await session.execute("SET LOCAL deadlock_timeout = '10ms'");
            co_await session.execute("UPDATE accounts SET balance = balance + 1 WHERE id = $1",
                                     first);
            ++holding;
            co_await support::eventually([&] { return holding >= 2; });
            co_await session.execute("UPDATE accounts SET balance = balance + 1 WHERE id = $1",
                                     second);
        });
    };
    fixture.run([&]() -> asio::awaitable<void> {
        auto forth = add_to(1, 2);
        auto back = add_to(2, 1);
        co_await (std::move(forth) && std::move(back));
    });
    CHECK(fixture.database.query("SELECT sum(balance) FROM accounts").number() == 4);
    CHECK(attempts == 3);
}

TEST_CASE("when the attempts are used up the last error comes out", "[retry]") {
    Fixture fixture;
    std::vector<int> attempts;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto failed =
            co_await failure_of(fixture.retrying([&](Session& session) -> asio::awaitable<void> {
                attempts.push_back(session.attempt());
                const auto attempt = "attempt " + std::to_string(session.attempt());
                co_await fixture.insert(attempt);
                co_await session.execute(conflict_that_says("lost in " + attempt));
            }));
        CHECK(is<pqxx::transaction_rollback>(failed));
        CHECK_THAT(text_of(failed), ContainsSubstring("lost in attempt 5"));
    });
    CHECK(attempts == std::vector{1, 2, 3, 4, 5});
    CHECK(fixture.names().empty());
}

TEST_CASE("inside an open scope only the outermost one tries again", "[retry]") {
    Fixture fixture;
    int outer_runs = 0;
    int inner_runs = 0;
    const TransactionScope nested{
        fixture.sessions, {.propagation = Propagation::nested, .retry = {.max_attempts = 9}}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.retrying([&]() -> asio::awaitable<void> {
            ++outer_runs;
            co_await nested([&](Session& session) -> asio::awaitable<void> {
                ++inner_runs;
                co_await fixture.insert("one");
                if (outer_runs < 3) co_await session.execute(conflict);
            });
        });
    });
    CHECK(outer_runs == 3);
    CHECK(inner_runs == 3);
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a failed attempt leaves neither rows nor hooks behind", "[retry]") {
    Fixture fixture;
    Names ran;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
            const auto attempt = "attempt " + std::to_string(session.attempt());
            session.after_commit([&ran, attempt] { ran.push_back(attempt); });
            session.after_rollback([&ran, attempt] { ran.push_back("rolled back: " + attempt); });
            co_await fixture.insert(attempt);
            if (session.attempt() < 3) co_await session.execute(conflict);
        });
    });
    CHECK(fixture.names() == Names{"attempt 3"});
    CHECK(ran == Names{"attempt 3"});
}

TEST_CASE(
    "cancelled in the pause after an attempt, a scope has been rolled back, and its hooks run",
    "[retry]") {
    Fixture fixture;
    const TransactionScope patient{fixture.sessions,
                                   {.retry = {.max_attempts = 2,
                                              .initial_backoff = std::chrono::hours{24},
                                              .max_backoff = std::chrono::hours{24}}}};
    Names ran;
    support::Started work{fixture.io, patient([&](Session& session) -> asio::awaitable<void> {
                              session.after_rollback([&] { ran.push_back("rolled back"); });
                              co_await fixture.insert("undone");
                              co_await session.execute(conflict);
                          })};
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().idle == 1; });
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(ran == Names{"rolled back"});
    CHECK(fixture.names().empty());
}

TEST_CASE("cancelled before the pause after an attempt, a scope runs its hooks, too", "[retry]") {
    Fixture fixture;
    Names ran;
    support::Started* caller = nullptr;
    support::Started work{fixture.io,
                          fixture.retrying([&](Session& session) -> asio::awaitable<void> {
                              session.after_rollback([&] { ran.push_back("rolled back"); });
                              const auto failed = co_await failure_of(session.execute(conflict));
                              caller->cancel();
                              std::rethrow_exception(failed);
                          })};
    caller = &work;
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(ran == Names{"rolled back"});
}

TEST_CASE("a body that hides the conflict behind an error of its own is tried again", "[retry]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
            const int attempt = session.attempt();
            if (attempt > 1) co_return co_await fixture.insert("second");
            const auto hidden = co_await failure_of(session.execute(conflict));
            CHECK(is<txscope::SqlError>(hidden));
            throw std::runtime_error{"something went wrong"};
        });
    });
    CHECK(fixture.names() == Names{"second"});
}

TEST_CASE("a connection that is lost before COMMIT is worth another attempt", "[retry]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("attempt " + std::to_string(session.attempt()));
            if (session.attempt() == 1)
                co_await session.execute("SELECT pg_terminate_backend(pg_backend_pid())");
        });
    });
    CHECK(fixture.names() == Names{"attempt 2"});
}

TEST_CASE("a table that was changed under a prepared statement is worth another attempt",
          "[retry]") {
    txscope::PoolOptions options;
    options.max_size = 1;
    Fixture fixture{options};
    std::size_t columns = 0;
    int runs = 0;
    const auto look = [&](Session& session) -> asio::awaitable<void> {
        ++runs;
        const auto found = co_await session.execute("SELECT * FROM entries");
        columns = found.columns();
    };
    fixture.run([&] { return fixture.retrying(look); });
    fixture.database.query("ALTER TABLE entries ADD note text");
    fixture.run([&] { return fixture.retrying(look); });
    CHECK(columns == 3);
    CHECK(runs == 3);
}

TEST_CASE("an unsupported feature is not taken for a stale plan", "[retry]") {
    Fixture fixture;
    int runs = 0;
    const auto failed = fixture.run([&] {
        return failure_of(fixture.retrying([&](Session& session) -> asio::awaitable<void> {
            ++runs;
            co_await session.execute(
                "DO $$ BEGIN RAISE 'cached plan must not change result type' "
                "USING ERRCODE = '0A000'; END $$");
        }));
    });
    CHECK(is<pqxx::feature_not_supported>(failed));
    CHECK(runs == 1);
}

TEST_CASE(
    "the loss of a connection without a transaction is not tried again: it may have committed",
    "[retry]") {
    Fixture fixture;
    const TransactionScope aside{fixture.sessions, {.propagation = Propagation::not_supported}};
    const auto failed = fixture.run([&] {
        return failure_of(fixture.retrying([&]() -> asio::awaitable<void> {
            co_await fixture.insert("of the transaction");
            co_await aside([&](Session& alone) -> asio::awaitable<void> {
                co_await alone.execute("INSERT INTO entries (name) SELECT 'once'");
                co_await alone.execute("SELECT pg_terminate_backend(pg_backend_pid())");
            });
        }));
    });
    CHECK(is<txscope::ConnectionLost>(failed));
    CHECK(fixture.names() == Names{"once"});
}

TEST_CASE("a connection that cannot be opened for now is worth another attempt", "[retry]") {
    support::FaultProxy proxy{support::server()};
    proxy.refuse_connections();
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(),
        support::observed({.max_size = 1, .acquire_timeout = std::chrono::milliseconds{20}})};
    const TransactionScope scope{
        sessions,
        {.retry = {.max_attempts = 100'000, .max_backoff = std::chrono::milliseconds{20}}}};
    int attempts = 0;
    const auto body = [&](Session& session) -> asio::awaitable<int> {
        if (++attempts == 3) proxy.accept_connections();
        const auto one = co_await session.execute("SELECT 1");
        co_return one.one().get<int>(0);
    };
    CHECK(support::run(io, scope(body)) == 1);
    CHECK(attempts >= 3);
}

TEST_CASE("a connection that is refused for good is not worth another attempt", "[retry]") {
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, support::server().dsn("no_such_database"),
                                                support::observed()};
    const TransactionScope scope{sessions, {.retry = {.max_attempts = 5}}};
    int attempts = 0;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        ++attempts;
        co_await session.execute("SELECT 1");
    };
    CHECK(is<txscope::ConnectionFailed>(support::run(io, failure_of(scope(body)))));
    CHECK(attempts == 1);
}

TEST_CASE("other errors are not tried again", "[retry]") {
    Fixture fixture;
    int runs = 0;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto failed = co_await failure_of(fixture.retrying([&]() -> asio::awaitable<void> {
            ++runs;
            co_await fixture.insert("one");
            co_await fixture.insert("one");
        }));
        CHECK(is<pqxx::unique_violation>(failed));
    });
    CHECK(runs == 1);
}

}  // namespace retry
