#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

namespace commit_in_doubt {

namespace asio = boost::asio;
using support::before_answer;
using support::before_statement;
using support::failure_of;
using support::FaultProxy;
using support::is;
using txscope::Session;
using txscope::TransactionScope;

/// A service behind a network that breaks while COMMIT is under way.
struct Fixture {
    support::Database database{"CREATE TABLE entries (name text PRIMARY KEY)"};
    FaultProxy proxy{support::server()};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()), support::observed()};
    std::string ran{};

    /// What the scope ends by, which inserts one entry.
    std::exception_ptr insert(txscope::TransactionOptions options) {
        return support::run(io, failure_of(insert_in(options)));
    }
    std::int64_t entries() const { return database.count("entries"); }

private:
    asio::awaitable<void> insert_in(txscope::TransactionOptions options) {
        const TransactionScope scope{sessions, options};
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&] { ran += "after commit"; });
            session.after_rollback([&] { ran += "after rollback"; });
            co_await session.execute("INSERT INTO entries VALUES ($1)", session.attempt());
        });
    }
};

TEST_CASE("a connection lost while COMMIT is under way leaves the outcome in doubt",
          "[commit_in_doubt]") {
    Fixture fixture;
    SECTION("whether the server never saw the COMMIT") {
        fixture.proxy.cut(before_statement("COMMIT"));
        CHECK(is<txscope::CommitInDoubt>(fixture.insert({.retry = {.max_attempts = 3}})));
        support::block_until([&] {
            return support::query(fixture.database.dsn(),
                                  "SELECT count(*) FROM pg_stat_activity WHERE datname = "
                                  "current_database() AND xact_start IS NOT NULL")
                       .number() == 1;  // the question itself
        });
        CHECK(fixture.entries() == 0);
    }
    SECTION("or executed it, and its answer was lost") {
        fixture.proxy.cut(before_answer("COMMIT"));
        CHECK(is<pqxx::in_doubt_error>(fixture.insert({.retry = {.max_attempts = 3}})));
        CHECK(fixture.entries() == 1);
    }
    fixture.proxy.await_fault();
    CHECK(fixture.ran.empty());
}

TEST_CASE("a statement by itself whose answer is lost may have taken effect", "[commit_in_doubt]") {
    Fixture fixture;
    fixture.proxy.cut(before_answer("INSERT"));
    const auto failure = support::run(
        fixture.io, failure_of(fixture.sessions.execute("INSERT INTO entries VALUES ('there')")));
    CHECK(is<txscope::ConnectionLost>(failure));
    CHECK(fixture.entries() == 1);
    fixture.proxy.await_fault();
}

TEST_CASE(
    "a COMMIT that was answered with an error is not in doubt, whatever comes of the connection",
    "[commit_in_doubt]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE TABLE parts (entry text REFERENCES entries DEFERRABLE INITIALLY DEFERRED)");
    const TransactionScope scope{fixture.sessions};
    const auto failure = support::run(
        fixture.io, failure_of(scope([&](Session& session) -> asio::awaitable<void> {
            session.after_rollback([&] { fixture.ran += "after rollback"; });
            co_await session.execute("INSERT INTO parts VALUES ('of nothing')");
            // COMMIT is parsed, bound and refused: then the server is ready again.
            fixture.proxy.cut(support::before_message(support::Direction::to_client, 4));
        })));
    fixture.proxy.await_fault();
    CHECK(is<pqxx::foreign_key_violation>(failure));
    CHECK(fixture.ran == "after rollback");
    CHECK(fixture.sessions.statistics().discarded == 1);
}

TEST_CASE("a verified commit whose answer was lost is found committed", "[commit_in_doubt]") {
    Fixture fixture;
    fixture.proxy.cut(before_answer("COMMIT"));
    CHECK(fixture.insert({.verify_commit = true, .verify_timeout = support::patience}) == nullptr);
    fixture.proxy.await_fault();
    CHECK(fixture.entries() == 1);
    CHECK(fixture.ran == "after commit");
}

TEST_CASE("a verified commit that never reached the server is a lost connection, and retryable",
          "[commit_in_doubt]") {
    Fixture fixture;
    fixture.proxy.cut(before_statement("COMMIT"));
    SECTION("an ordinary error without a retry policy") {
        const auto failure =
            fixture.insert({.verify_commit = true, .verify_timeout = support::patience});
        CHECK(is<txscope::ConnectionLost>(failure));
        CHECK_FALSE(is<txscope::CommitInDoubt>(failure));
        CHECK(fixture.entries() == 0);
        CHECK(fixture.ran == "after rollback");
    }
    SECTION("tried again with one") {
        CHECK(fixture.insert({.retry = {.max_attempts = 2},
                              .verify_commit = true,
                              .verify_timeout = support::patience}) == nullptr);
        CHECK(fixture.database.query("SELECT name FROM entries").column() ==
              std::vector<std::string>{"2"});
        CHECK(fixture.ran == "after commit");
    }
    fixture.proxy.await_fault();
}

TEST_CASE("while a commit is verified, its broken connection keeps no place in the pool",
          "[commit_in_doubt]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions,
                                 {.verify_commit = true, .verify_timeout = support::patience}};
    fixture.proxy.cut(before_answer("COMMIT"));
    support::Started work{fixture.io, scope([&](Session& session) -> asio::awaitable<void> {
                              co_await session.execute("INSERT INTO entries VALUES ('one')");
                              fixture.proxy.refuse_connections();
                          })};
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().discarded == 1; });
    CHECK(fixture.sessions.statistics().size == 0);
    CHECK_FALSE(work.done());
    fixture.proxy.accept_connections();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.failure() == nullptr);
}

TEST_CASE("verifying costs no round trip as long as nothing goes wrong", "[commit_in_doubt]") {
    Fixture fixture;
    // The first one asks about the server, too, ahead of BEGIN; that may be answered before the rest
    // has gone out, and then looks like a round trip.
    CHECK(fixture.insert({.verify_commit = true, .verify_timeout = support::patience}) == nullptr);
    fixture.database.query("DELETE FROM entries");
    fixture.proxy.reset_counts();
    CHECK(fixture.insert({.verify_commit = true, .verify_timeout = support::patience}) == nullptr);
    CHECK(fixture.proxy.round_trips() == 2);
}

TEST_CASE(
    "a commit still under way is waited for, whoever has reset the server's counters meanwhile",
    "[commit_in_doubt]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$; "
        "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION wait()");
    support::Client holder{fixture.database.dsn()};
    holder.query("SELECT pg_advisory_lock(1)");
    const TransactionScope scope{fixture.sessions,
                                 {.verify_commit = true, .verify_timeout = support::patience}};
    support::Started work{fixture.io, scope([](Session& session) -> asio::awaitable<void> {
                              co_await session.execute("INSERT INTO entries VALUES ('slow')");
                          })};
    support::run_until(fixture.io, [&] {
        return holder.query("SELECT count(*) FROM pg_locks WHERE NOT granted").number() == 1;
    });
    const auto started_at = [&] {
        return holder.query("SELECT stats_reset FROM pg_stat_bgwriter").value();
    };
    const std::string at_first = started_at();
    holder.query("SELECT pg_stat_reset_shared('bgwriter')");
    support::run_until(fixture.io, [&] { return started_at() != at_first; });  // late before 15
    fixture.proxy.cut();  // the server notices it after the COMMIT
    const auto questions = [&] {
        return std::ranges::count_if(fixture.proxy.counts().statements, [](const auto& statement) {
            return statement.find("pg_xact_status") != std::string::npos;
        });
    };
    support::run_until(fixture.io, [&] { return work.done() || questions() > 1; });
    CHECK_FALSE(work.done());
    holder.query("SELECT pg_advisory_unlock(1)");
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.failure() == nullptr);
    CHECK(fixture.entries() == 1);
}

TEST_CASE("a read-only transaction whose COMMIT is not answered is lost, not in doubt, and retried",
          "[commit_in_doubt]") {
    Fixture fixture;
    txscope::TransactionOptions options;
    options.verify_commit = GENERATE(false, true);
    std::string on_server = "off";
    SECTION("when the scope is read-only") { options.access = txscope::AccessMode::read_only; }
    SECTION("or the server makes it so, and is asked which transaction it is") {
        on_server = "on";
        options.verify_commit = true;
    }
    fixture.database.query("ALTER DATABASE " + fixture.database.name() +
                           " SET default_transaction_read_only = " + on_server);
    int attempts = 0;
    const auto look = [&](Session& session) -> asio::awaitable<void> {
        session.after_commit([&] { fixture.ran += "after commit"; });
        session.after_rollback([&] { fixture.ran += "after rollback"; });
        ++attempts;
        co_await session.execute("SELECT * FROM entries");
    };
    fixture.proxy.cut(GENERATE(before_statement("COMMIT"), before_answer("COMMIT")));
    const TransactionScope once{fixture.sessions, options};
    const auto failure = support::run(fixture.io, failure_of(once(look)));
    fixture.proxy.await_fault();
    CHECK(is<txscope::ConnectionLost>(failure));
    CHECK_FALSE(is<txscope::CommitInDoubt>(failure));
    CHECK(fixture.ran == "after rollback");

    fixture.proxy.cut(before_answer("COMMIT"));
    options.retry.max_attempts = 2;
    const TransactionScope twice{fixture.sessions, options};
    support::run(fixture.io, twice(look));
    fixture.proxy.await_fault();
    CHECK(attempts == 3);
    CHECK(fixture.ran == "after rollbackafter commit");
}

TEST_CASE("a read-only scope stays read-only, whatever a statement says", "[commit_in_doubt]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions, {.access = txscope::AccessMode::read_only}};
    for (const char* sql :
         {"SET TRANSACTION READ WRITE", "SET transaction_read_only = off",
          "set local \"transaction_read_only\" to off", "RESET transaction_read_only"}) {
        CAPTURE(sql);
        const auto body = [sql](Session& session) -> asio::awaitable<void> {
            co_await session.execute(sql);
        };
        CHECK(is<pqxx::usage_error>(support::run(fixture.io, failure_of(scope(body)))));
    }
    const TransactionScope other{fixture.sessions};
    support::run(fixture.io, other([](Session& session) -> asio::awaitable<void> {
                     co_await session.execute("SET TRANSACTION READ ONLY");
                     co_await session.execute("SELECT 1");
                 }));
}

TEST_CASE("the outcome is looked up also where the scope's time is over", "[commit_in_doubt]") {
    Fixture fixture;
    const bool arrives = GENERATE(true, false);
    CAPTURE(arrives);
    fixture.proxy.stall(arrives ? before_answer("COMMIT") : before_statement("COMMIT"));
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        fixture.proxy.accept_connections();
        co_await session.execute("INSERT INTO entries VALUES ('one')");
        fixture.proxy.refuse_connections();
    };
    const auto struck = [&] { return fixture.proxy.counts().struck == 1; };
    std::optional<support::Started> work;
    // On a busy machine COMMIT may not be reached in time: then there is more of it.
    for (std::chrono::milliseconds timeout{200}; !struck(); timeout *= 2) {
        const TransactionScope scope{
            fixture.sessions,
            {.timeout = timeout, .verify_commit = true, .verify_timeout = std::chrono::hours{1}}};
        const auto over = std::chrono::steady_clock::now() + timeout;
        work.emplace(fixture.io, scope(body));
        support::run_until(fixture.io, [&] { return struck() || work->done(); });
        support::run_until(fixture.io, [&] { return std::chrono::steady_clock::now() > over; });
    }
    fixture.proxy.cut();
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().size == 0; });
    CHECK_FALSE(work->done());
    fixture.proxy.accept_connections();
    support::run_until(fixture.io, [&] { return work->done(); });
    CHECK((work->failure() == nullptr) == arrives);
    CHECK(is<txscope::ConnectionLost>(work->failure()) == !arrives);
    CHECK(fixture.entries() == (arrives ? 1 : 0));
}

TEST_CASE("a server that stays away keeps a verified commit no longer than verify_timeout",
          "[commit_in_doubt]") {
    constexpr std::chrono::seconds timeout{2};
    txscope::TemporaryPostgres server;
    const support::Database database{"CREATE TABLE entries (name text PRIMARY KEY)", server};
    FaultProxy proxy{server};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()), support::observed()};
    const TransactionScope scope{sessions, {.verify_commit = true, .verify_timeout = timeout}};

    proxy.stall(before_answer("COMMIT"));
    const auto begun = std::chrono::steady_clock::now();
    support::Started work{io, scope([](Session& session) -> asio::awaitable<void> {
                              co_await session.execute("INSERT INTO entries VALUES ('kept')");
                          })};
    support::run_until(io, [&] { return proxy.counts().struck == 1; });
    const bool refuses = GENERATE(true, false);
    CAPTURE(refuses);
    if (refuses)
        server.stop();
    else
        server.pause();
    proxy.cut();
    support::run_until(io, [&] { return work.done(); });
    CHECK(is<txscope::CommitInDoubt>(work.failure()));
    CHECK(std::chrono::steady_clock::now() >= begun + timeout);  // it was asked until then

    if (refuses)
        server.start();
    else
        server.resume();
    support::run(io, sessions.execute("SELECT 1"));
    const auto pool = sessions.statistics();
    CHECK(pool.size == 1);
    CHECK(pool.idle == 1);
    CHECK(pool.waiting == 0);
    CHECK(database.count("entries") == 1);
}

}  // namespace commit_in_doubt
