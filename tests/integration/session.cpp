#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace session {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using Catch::Matchers::ContainsSubstring;
using support::eventually;
using support::failure_of;
using support::Gate;
using support::is;
using support::RunOptions;
using support::ScopeFixture;
using support::text_of;
using txscope::Session;

using Names = std::vector<std::string>;

constexpr auto insert = "INSERT INTO entries (name) VALUES ($1)";

std::int64_t count_of(const ScopeFixture& fixture, const std::string& name) {
    return fixture.database.query("SELECT count(*) FROM entries WHERE name = '" + name + "'")
        .number();
}

TEST_CASE("a session scope gives its body a session and returns what the body returns",
          "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session& session) -> asio::awaitable<std::unique_ptr<int>> {
        const auto result = co_await session.execute("SELECT $1::int + 1", 41);
        co_return std::make_unique<int>(result.one().get<int>(0));
    };
    CHECK(*fixture.run(fixture.sessions.session_scope(body)) == 42);
}

TEST_CASE("a body's exception comes out as it is, and what it executed stays", "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "kept");
        session.enqueue(insert, "not sent");
        throw std::domain_error{"enough"};
    };
    const auto failure = fixture.run(failure_of(fixture.sessions.session_scope(body)));
    CHECK(is<std::domain_error>(failure));
    CHECK(text_of(failure) == "enough");
    CHECK(fixture.names() == Names{"kept"});
}

TEST_CASE("a session scope that executes nothing takes no connection", "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session&) -> asio::awaitable<void> { co_return; };
    fixture.run(fixture.sessions.session_scope(body));
    CHECK(fixture.sessions.statistics().acquired == 0);
    CHECK(fixture.sessions.statistics().opened == 0);
}

TEST_CASE("all statements of a session scope go over one connection", "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session& session) -> asio::awaitable<void> {
        const auto first = co_await session.execute("SELECT pg_backend_pid()");
        const auto second = co_await session.execute("SELECT pg_backend_pid()");
        CHECK(first.one().get<int>(0) == second.one().get<int>(0));
    };
    const auto both = [&]() -> asio::awaitable<void> {
        co_await (fixture.sessions.session_scope(body) && fixture.sessions.session_scope(body));
    };
    fixture.run(both());
    CHECK(fixture.sessions.statistics().acquired == 2);
    // The second one is opened also when the first comes back before: it belongs to the pool.
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened == 2; });
}

TEST_CASE("every statement commits by itself, whatever happens to the others", "[session]") {
    ScopeFixture fixture;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "first");
        CHECK(fixture.names() == Names{"first"});
        const auto failure = co_await failure_of(session.execute(insert, "first"));
        CHECK(is<pqxx::unique_violation>(failure));
        co_await session.execute(insert, "second");
    };
    fixture.run(fixture.sessions.session_scope(body));
    CHECK(fixture.names() == Names{"first", "second"});
}

TEST_CASE("what is enqueued commits together with the statement that follows", "[session]") {
    ScopeFixture fixture;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        session.enqueue(insert, "a");
        session.enqueue(insert, "b");
        CHECK(fixture.names().empty());
        const auto seen = co_await session.execute("SELECT count(*) FROM entries");
        CHECK(seen.one().get<int>(0) == 2);
        CHECK(fixture.names() == Names{"a", "b"});

        // One of three fails: none stays, and the error is that of the one.
        session.enqueue(insert, "c");
        session.enqueue(insert, "a");
        const auto failure = co_await failure_of(session.execute(insert, "d"));
        CHECK(is<pqxx::unique_violation>(failure));
        CHECK(fixture.names() == Names{"a", "b"});

        co_await session.execute(insert, "e");
    };
    fixture.run(fixture.sessions.session_scope(body));
    CHECK(fixture.names() == Names{"a", "b", "e"});
}

TEST_CASE("flush sends what is enqueued and tells how it went", "[session]") {
    ScopeFixture fixture;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.flush();  // nothing to do
        CHECK(fixture.sessions.statistics().acquired == 0);
        for (const char* name : {"a", "b", "c"}) session.enqueue(insert, name);
        co_await session.flush();
        CHECK(fixture.names() == Names{"a", "b", "c"});
        session.enqueue(insert, "d");
        session.enqueue(insert, "a");
        const auto failure = co_await failure_of(session.flush());
        CHECK(is<pqxx::unique_violation>(failure));
        co_await session.flush();  // the failed ones are not sent again
    };
    fixture.run(fixture.sessions.session_scope(body));
    CHECK(fixture.names() == Names{"a", "b", "c"});
}

TEST_CASE("what is still enqueued at the end is sent, and fails the scope if it fails",
          "[session]") {
    ScopeFixture fixture;
    const auto adding = [](Session& session) -> asio::awaitable<int> {
        session.enqueue(insert, "a");
        session.enqueue(insert, "b");
        co_return 7;
    };
    CHECK(fixture.run(fixture.sessions.session_scope(adding)) == 7);
    CHECK(fixture.names() == Names{"a", "b"});
    const auto again = fixture.run(failure_of(fixture.sessions.session_scope(adding)));
    CHECK(is<pqxx::unique_violation>(again));
    CHECK(fixture.names() == Names{"a", "b"});
}

TEST_CASE("parallel statements are all sent before any is answered, and share nothing else",
          "[session]") {
    ScopeFixture fixture;
    support::FaultProxy proxy{support::server()};
    const txscope::AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()),
                                                support::observed()};
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "taken");
        proxy.reset_counts();
        proxy.stall(support::Direction::to_client);
        // It has a value: Boost 1.81 cannot join a coroutine without one to a tuple.
        const auto look = [&]() -> asio::awaitable<bool> {
            co_await eventually([&] { return proxy.counts().statements.size() == 3; });
            proxy.resume();
            co_return true;
        };
        const auto [bad, good, other, seen] =
            co_await (failure_of(session.execute(insert, "taken")) &&
                      failure_of(session.execute(insert, "free")) &&
                      failure_of(session.execute("SELECT 1 / 0")) && look());
        CHECK(is<pqxx::unique_violation>(bad));
        CHECK_FALSE(good);
        CHECK(is<txscope::SqlError>(other));
        CHECK(seen);
    };
    fixture.run(sessions.session_scope(body));
    CHECK(fixture.names() == Names{"taken", "free"});
}

TEST_CASE("parallel statements are executed in the order they were started", "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await (session.execute(insert, "a") && session.execute(insert, "b") &&
                  session.execute(insert, "c") && session.execute(insert, "d"));
    };
    fixture.run(fixture.sessions.session_scope(body));
    CHECK(fixture.names() == Names{"a", "b", "c", "d"});
}

TEST_CASE("a transaction of one's own in a session scope is a matter of its statements",
          "[session]") {
    txscope::PoolOptions options;
    options.max_size = 1;
    ScopeFixture fixture{options};
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("BEGIN");
        co_await session.execute(insert, "kept");
        co_await session.execute("COMMIT");
        co_await session.execute("BEGIN");
        co_await session.execute(insert, "undone");
        co_await session.execute("ROLLBACK");
        co_await session.execute("BEGIN");
        co_await session.execute(insert, "forgotten");
    };
    const auto failure = fixture.run(failure_of(fixture.sessions.session_scope(body)));
    CHECK(is<txscope::UnfinishedWork>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("left open") &&
                                     ContainsSubstring("TransactionScope") &&
                                     ContainsSubstring("session.cpp"));
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.names() == Names{"kept"});
    CHECK(fixture.in_transaction() == 0);
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a transaction that a session scope leaves open is an error, unless there is one already",
          "[session]") {
    ScopeFixture fixture;
    const auto failure_with = [&](auto body) {
        return fixture.run(failure_of(fixture.sessions.session_scope(body)));
    };
    const auto enqueued = [](Session& session) -> asio::awaitable<void> {
        session.enqueue("BEGIN");
        session.enqueue(insert, "forgotten");
        co_return;
    };
    CHECK(is<txscope::UnfinishedWork>(failure_with(enqueued)));
    const auto swallowed = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("BEGIN");
        co_await failure_of(session.execute("SELECT 1 / 0"));
    };
    CHECK(is<txscope::UnfinishedWork>(failure_with(swallowed)));
    const auto throwing = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("BEGIN");
        throw std::domain_error{"enough"};
    };
    CHECK(is<std::domain_error>(failure_with(throwing)));
    CHECK(fixture.names().empty());
}

TEST_CASE("a lone statement that leaves a transaction open is an error", "[session]") {
    ScopeFixture fixture;
    const auto& sessions = fixture.sessions;
    const auto failure = fixture.run(failure_of(sessions.execute("BEGIN")));
    CHECK(is<txscope::UnfinishedWork>(failure));
    CHECK(text_of(failure).find("scope opened at") == std::string::npos);
    CHECK(is<txscope::UnfinishedWork>(fixture.run(
        failure_of(sessions.execute(txscope::within(std::chrono::hours{1}), "BEGIN")))));
    fixture.run(sessions.execute("ROLLBACK"));  // there is none: a warning
    CHECK(fixture.names().empty());
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("there is nothing to roll back in a session scope", "[session]") {
    ScopeFixture fixture;
    const auto body = [](Session& session) -> asio::awaitable<void> {
        session.set_rollback_only();
        co_return;
    };
    CHECK(is<pqxx::usage_error>(fixture.run(failure_of(fixture.sessions.session_scope(body)))));
}

TEST_CASE("a session that outlives its scope is refused, and sends nothing", "[session]") {
    ScopeFixture fixture;
    std::optional<Session> kept;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(insert, "within");
        kept = session;
    };
    fixture.run(fixture.sessions.session_scope(body));
    const auto late = [&]() -> asio::awaitable<void> {
        const auto executed = co_await failure_of(kept->execute(insert, "late"));
        CHECK(is<txscope::ScopeEnded>(executed));
        const auto flushed = co_await failure_of(kept->flush());
        CHECK(is<txscope::ScopeEnded>(flushed));
    };
    fixture.run(late());
    CHECK(is<txscope::ScopeEnded>(failure_of([&] { kept->enqueue(insert, "late"); })));
    CHECK(fixture.names() == Names{"within"});
    CHECK(fixture.sessions.statistics().acquired == 1);
}

TEST_CASE("a session scope that ends while its statements are under way breaks them off",
          "[session]") {
    ScopeFixture fixture;
    support::Client blocker{fixture.database.dsn()};
    blocker.query("SELECT pg_advisory_lock(1)");
    std::exception_ptr left_behind;
    bool ended = false;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const auto executor = co_await asio::this_coro::executor;
        asio::co_spawn(executor, session.execute("SELECT pg_advisory_xact_lock(1)"),
                       [&](std::exception_ptr error, const txscope::Result&) {
                           left_behind = std::move(error);
                           ended = true;
                       });
        co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
    };
    SECTION("when it returns") {
        const auto failure = fixture.run(failure_of(fixture.sessions.session_scope(body)));
        CHECK(is<txscope::UnfinishedWork>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring("broken off"));
    }
    SECTION("when it throws") {
        const auto throwing = [&](Session& session) -> asio::awaitable<void> {
            co_await body(session);
            throw std::domain_error{"enough"};
        };
        const auto failure = fixture.run(failure_of(fixture.sessions.session_scope(throwing)));
        CHECK(is<std::domain_error>(failure));
    }
    // Nobody else has to see to the connection, while the statement still uses it.
    CHECK(fixture.sessions.statistics().idle == 1);
    support::run_until(fixture.io, [&] { return ended; });
    CHECK(left_behind);
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.waiting_for_locks() == 0);
}

TEST_CASE("a session may be used from another strand", "[session]") {
    ScopeFixture fixture;
    std::exception_ptr failure;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const auto elsewhere = [&]() -> asio::awaitable<void> {
            co_await session.execute(insert, "from elsewhere");
            co_await session.flush();
            failure = co_await failure_of(session.execute(insert, "from elsewhere"));
        };
        session.enqueue(insert, "from here");
        co_await asio::co_spawn(asio::make_strand(fixture.io), elsewhere(), asio::use_awaitable);
    };
    fixture.run(fixture.sessions.session_scope(body), RunOptions{.threads = 3});
    CHECK(is<pqxx::unique_violation>(failure));
    CHECK(fixture.names() == Names{"from here", "from elsewhere"});
}

TEST_CASE("a session's queue is not to be used from outside of its body", "[session]") {
    ScopeFixture fixture;
    Gate gate{fixture.io};
    std::optional<Session> shared;
    bool ended = false;
    const auto work = [&]() -> asio::awaitable<void> {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            shared = session;
            co_await gate.wait();
        };
        co_await fixture.sessions.session_scope(body);
        ended = true;
    };
    asio::co_spawn(fixture.io, work(), asio::detached);
    support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    CHECK(is<pqxx::usage_error>(failure_of([&] { shared->enqueue(insert, "lost"); })));
    gate.open();
    support::run_until(fixture.io, [&] { return ended; });
    CHECK(fixture.names().empty());
}

TEST_CASE("a session's queue is not to be used by another's body, on whichever context they run",
          "[session]") {
    ScopeFixture fixture;
    asio::io_context io{GENERATE(1, 2)};  // for one thread, and for several
    const txscope::AsyncSessionFactory sessions{io, fixture.database.dsn()};
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const auto others = [&](Session&) -> asio::awaitable<void> {
            CHECK(is<pqxx::usage_error>(failure_of([&] { session.enqueue(insert, "lost"); })));
            co_return;
        };
        co_await asio::co_spawn(io, sessions.session_scope(others), asio::use_awaitable);
        session.enqueue(insert, "kept");
    };
    support::run(io, sessions.session_scope(body));
    CHECK(fixture.names() == Names{"kept"});
}

// A coroutine starts within the one that spawns it, and goes on wherever it belongs.
TEST_CASE("many threads may share a session", "[session]") {
    ScopeFixture fixture;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        std::atomic<int> done = 0;
        const auto add = [&](int number) -> asio::awaitable<void> {
            co_await session.execute(insert, std::to_string(number));
            ++done;
        };
        for (int number = 0; number < 200; ++number)
            asio::co_spawn(asio::make_strand(fixture.io), add(number), asio::detached);
        co_await eventually([&] { return done == 200; });
    };
    fixture.run(fixture.sessions.session_scope(body), RunOptions{.threads = 4});
    CHECK(fixture.database.count("entries") == 200);
    CHECK(fixture.sessions.statistics().acquired == 1);
}

TEST_CASE("a statement that is reported as cancelled leaves nothing behind", "[session]") {
    ScopeFixture fixture;
    constexpr int moments = 40;
    int cancelled = 0;
    // Between its first step and its answer: the statement is cancelled after so many turns.
    const auto race = [&](Session& session, const std::string& name,
                          int turns) -> asio::awaitable<bool> {
        bool thrown = false;
        const auto attempt = [&]() -> asio::awaitable<void> {
            try {
                co_await session.execute(insert, name);
            } catch (const boost::system::system_error&) {
                thrown = true;
            }
        };
        const auto lapse = [&]() -> asio::awaitable<void> {
            for (int turn = 0; turn < turns; ++turn) co_await asio::post(asio::use_awaitable);
        };
        co_await (attempt() || lapse());
        co_return thrown;
    };

    SECTION("by itself") {
        for (int turns = 0; turns < moments; ++turns) {
            const std::string name = std::to_string(turns);
            bool thrown = false;
            const auto body = [&](Session& session) -> asio::awaitable<void> {
                thrown = co_await race(session, name, turns);
                co_await session.execute("SELECT 1");
            };
            fixture.run(fixture.sessions.session_scope(body));
            CHECK(count_of(fixture, name) == (thrown ? 0 : 1));
            cancelled += thrown ? 1 : 0;
        }
    }
    SECTION("in a transaction, which is lost with it") {
        for (int turns = 0; turns < moments; ++turns) {
            const std::string name = std::to_string(turns);
            bool thrown = false;
            const auto body = [&](Session& session) -> asio::awaitable<void> {
                session.enqueue(insert, "before " + name);
                thrown = co_await race(session, name, turns);
                co_await failure_of(session.execute(insert, "after " + name));
            };
            const auto failure = fixture.run(failure_of(fixture.scope(body)));
            // Cancelled before its first step it was never part of the transaction.
            const int rest = failure ? 0 : 1;
            CHECK((thrown || !failure));
            CHECK(count_of(fixture, name) == (thrown ? 0 : 1));
            CHECK(count_of(fixture, "before " + name) == rest);
            CHECK(count_of(fixture, "after " + name) == rest);
            cancelled += thrown ? 1 : 0;
        }
    }
    CHECK(cancelled > 0);
    CHECK(fixture.sessions.statistics().size == fixture.sessions.statistics().idle);
    CHECK(fixture.in_transaction() == 0);
}

}  // namespace session
