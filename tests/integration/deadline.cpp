#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include "support/time_enough.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace deadline {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using support::failure_of;
using support::is;
using support::Started;
using support::with_time_enough;
using txscope::Session;
using txscope::TransactionScope;
using txscope::TransactionTimeout;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    explicit Fixture(txscope::PoolOptions options = {}, milliseconds limit = milliseconds{500})
        : ScopeFixture{options}, hurried{sessions, {.timeout = limit}} {}

    const TransactionScope hurried;

    void check_that_the_one_connection_works_on() {
        run([&]() -> asio::awaitable<void> {
            co_await scope([&]() -> asio::awaitable<void> { co_await insert("afterwards"); });
        });
        CHECK(names().back() == "afterwards");
        CHECK(sessions.statistics().opened == 1);
        CHECK(in_transaction() == 0);
    }
};

/// The same behind a proxy.
struct Proxied : support::ScopeFixture {
    explicit Proxied(milliseconds timeout, const std::string& schema = {})
        : ScopeFixture{{}, schema}, limit{timeout} {
        run(through.warm_up(1));
    }

    /// Runs until the deadline has passed of a scope whose answer is held back, and releases that;
    /// false when there was nothing to hold back before the deadline.
    bool answer_after_the_deadline(const Started& late) {
        run([this]() -> asio::awaitable<void> {
            asio::steady_timer timer{co_await asio::this_coro::executor, 2 * limit};
            co_await timer.async_wait(asio::use_awaitable);
        });
        support::run_until(io, [&] { return late.done() || proxy.counts().struck == 1; });
        const bool held_back = !late.done();
        proxy.resume();
        support::run_until(io, [&] { return late.done(); });
        return held_back;
    }
    asio::awaitable<void> insert(std::string name) {
        auto session = co_await txscope::current_session(through);
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    }

    const milliseconds limit;
    support::FaultProxy proxy{support::server()};
    txscope::AsyncSessionFactory through{io, proxy.dsn(database.name()), support::observed()};
    const TransactionScope hurried{through, {.timeout = limit}};
};

asio::awaitable<void> forever() {
    asio::steady_timer timer{co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max()};
    co_await timer.async_wait(asio::use_awaitable);
}

TEST_CASE("a body that takes longer than the timeout is rolled back", "[deadline]") {
    with_time_enough([](milliseconds limit) {
        Fixture fixture{{.max_size = 1}, limit};
        fixture.run(fixture.sessions.warm_up(1));
        bool inserted = false;
        const auto late = fixture.run(failure_of(fixture.hurried([&]() -> asio::awaitable<void> {
            co_await fixture.insert("late");
            inserted = true;
            co_await forever();
        })));
        if (!inserted) return false;
        CHECK(is<TransactionTimeout>(late));
        CHECK(fixture.names().empty());
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("a body that computes past the timeout and returns is rolled back", "[deadline]") {
    constexpr std::chrono::milliseconds short_time{50};
    const bool executes = GENERATE(false, true);
    const bool queues = GENERATE(false, true);
    const bool verified = GENERATE(false, true);
    CAPTURE(executes, queues, verified);
    Fixture fixture{{.max_size = 1}};
    fixture.run(fixture.sessions.warm_up(1));
    const TransactionScope timed{fixture.sessions,
                                 {.timeout = short_time, .verify_commit = verified}};
    std::string told;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto late = co_await failure_of(timed([&](Session& session) -> asio::awaitable<int> {
            const auto too_late = std::chrono::steady_clock::now() + 2 * short_time;
            session.after_commit([&] { told = "committed"; });
            session.after_rollback([&] { told = "rolled back"; });
            if (executes) co_await fixture.insert("late");
            if (queues) session.enqueue("INSERT INTO entries (name) VALUES ('behind')");
            while (std::chrono::steady_clock::now() < too_late) {
            }
            co_return 42;
        }));
        CHECK(is<TransactionTimeout>(late));
    });
    CHECK(told == "rolled back");
    CHECK(fixture.names().empty());
    fixture.check_that_the_one_connection_works_on();
}

TEST_CASE("the timeout covers the wait for a connection of what was written behind", "[deadline]") {
    Fixture fixture{{.max_size = 1}};
    fixture.run(fixture.sessions.warm_up(1));
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.sessions.session_scope([&](Session& holder) -> asio::awaitable<void> {
            co_await holder.execute("SELECT 1");
            const auto behind = [](Session& session) -> asio::awaitable<void> {
                session.enqueue("INSERT INTO entries (name) VALUES ('behind')");
                co_return;
            };
            const auto executor = fixture.io.get_executor();
            const auto late = co_await failure_of(
                asio::co_spawn(executor, fixture.hurried(behind), asio::use_awaitable));
            CHECK(is<TransactionTimeout>(late));
        });
    });
    CHECK(fixture.names().empty());
    fixture.check_that_the_one_connection_works_on();
}

TEST_CASE("what a body has thrown in time comes out, however long the rollback takes",
          "[deadline]") {
    with_time_enough([](milliseconds limit) {
        Proxied fixture{limit};
        fixture.proxy.stall(support::before_answer("ROLLBACK"));
        bool in_time = false;
        Started late{fixture.io, fixture.hurried([&]() -> asio::awaitable<void> {
                         co_await fixture.insert("one");
                         in_time = true;
                         throw support::Refusal{"the body's own"};
                     })};
        CHECK(fixture.answer_after_the_deadline(late));
        if (!in_time) return false;
        CHECK(is<support::Refusal>(late.failure()));
        CHECK(fixture.names().empty());
        return true;
    });
}

TEST_CASE("what the server has to say against COMMIT comes out, however late", "[deadline]") {
    with_time_enough([](milliseconds limit) {
        Proxied fixture{
            limit, "CREATE TABLE late (name text REFERENCES entries (name) INITIALLY DEFERRED)"};
        fixture.proxy.stall(support::before_answer("COMMIT"));
        Started late{fixture.io, fixture.hurried([&](Session& session) -> asio::awaitable<void> {
                         co_await session.execute("INSERT INTO late VALUES ('of nobody')");
                     })};
        if (!fixture.answer_after_the_deadline(late)) return false;
        CHECK(is<pqxx::foreign_key_violation>(late.failure()));
        return true;
    });
}

TEST_CASE("a statement that waits beyond the timeout is cancelled on the server", "[deadline]") {
    const bool in_a_nested_scope = GENERATE(false, true);
    with_time_enough([&](milliseconds limit) {
        Fixture fixture{{.max_size = 1}, limit};
        fixture.run(fixture.sessions.warm_up(1));
        support::Client blocker{fixture.database.dsn()};
        blocker.query("BEGIN; LOCK TABLE entries");
        const auto insert = [&] { return fixture.insert("late"); };
        Started late{fixture.io, fixture.hurried([&](Session& session) -> asio::awaitable<void> {
                         co_await session.execute("SELECT 1");
                         if (in_a_nested_scope)
                             co_await fixture.nested(insert);
                         else
                             co_await insert();
                     })};
        bool waited = false;
        support::run_until(fixture.io, [&] {
            waited = waited || fixture.waiting_for_locks() == 1;
            return waited || late.done();
        });
        if (!waited) return false;
        support::run_until(fixture.io, [&] { return late.done(); });
        CHECK(is<TransactionTimeout>(late.failure()));
        CHECK(fixture.waiting_for_locks() == 0);
        blocker.query("ROLLBACK");
        CHECK(fixture.names().empty());
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("the timeout covers the wait for a connection", "[deadline]") {
    Fixture fixture{{.max_size = 1}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            const auto executor = fixture.io.get_executor();
            const auto late = co_await failure_of(
                asio::co_spawn(executor, fixture.hurried([&]() -> asio::awaitable<void> {
                    co_await fixture.insert("late");
                }),
                               asio::use_awaitable));
            CHECK(is<TransactionTimeout>(late));
            CHECK(fixture.sessions.statistics().waiting == 0);
        });
    });
    CHECK(fixture.names().empty());
    fixture.check_that_the_one_connection_works_on();
}

TEST_CASE("a scope that ends in time is not disturbed by its timeout", "[deadline]") {
    Fixture fixture;
    const TransactionScope patient{fixture.sessions, {.timeout = std::chrono::minutes{1}}};
    fixture.run([&]() -> asio::awaitable<void> {
        const auto value = co_await patient([&]() -> asio::awaitable<int> {
            co_await fixture.insert("one");
            co_return 42;
        });
        CHECK(value == 42);
    });
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("the server ends a timed transaction whose client is gone", "[deadline]") {
    Fixture fixture{{.max_size = 1, .cleanup_timeout = std::chrono::milliseconds{200}}};
    const std::string setting = fixture.database.query("SHOW server_version_num").number() < 170000
                                    ? "idle_in_transaction_session_timeout"
                                    : "transaction_timeout";
    const auto limit = [&](Session& session) -> asio::awaitable<std::int64_t> {
        const auto result =
            co_await session.execute("SELECT setting FROM pg_settings WHERE name = $1", setting);
        co_return result.one().get<std::int64_t>(0);
    };
    const TransactionScope patient{fixture.sessions, {.timeout = std::chrono::minutes{1}}};
    fixture.run([&]() -> asio::awaitable<void> {
        std::int64_t timed = 0;
        std::int64_t untimed = 0;
        co_await patient(
            [&](Session& session) -> asio::awaitable<void> { timed = co_await limit(session); });
        CHECK(fixture.sessions.statistics().round_trips == 2);
        co_await fixture.scope(
            [&](Session& session) -> asio::awaitable<void> { untimed = co_await limit(session); });
        // The client's own end of it comes first: at the deadline, and with its time to clean up.
        CHECK(30'000 < timed);
        CHECK(timed <= 60'200);
        CHECK(untimed == 0);
    });

    Started held{fixture.io, fixture.hurried([&]() -> asio::awaitable<void> {
                     co_await fixture.insert("held");
                     co_await forever();
                 })};
    support::run_until(fixture.io, [&] { return fixture.in_transaction() == 1 || held.done(); });
    // From here on nobody runs the client.
    support::block_until([&] { return fixture.in_transaction() == 0; });
    support::run_until(fixture.io, [&] { return held.done(); });
    CHECK(is<TransactionTimeout>(held.failure()));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().size == 0);
}

TEST_CASE("a nested scope whose time is over rolls back to its savepoint, and the outer goes on",
          "[deadline]") {
    const bool computes = GENERATE(false, true);
    with_time_enough([&](milliseconds limit) {
        Fixture fixture{{.max_size = 1}};
        fixture.run(fixture.sessions.warm_up(1));
        const TransactionScope inner{
            fixture.sessions, {.propagation = txscope::Propagation::nested, .timeout = limit}};
        bool inserted = false;
        std::exception_ptr late;
        fixture.run(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("kept");
            late = co_await failure_of(inner([&](Session& session) -> asio::awaitable<void> {
                const auto too_late = std::chrono::steady_clock::now() + 2 * limit;
                co_await fixture.insert("late");
                inserted = true;
                session.enqueue("INSERT INTO entries (name) VALUES ('behind')");
                if (!computes) co_await forever();
                while (std::chrono::steady_clock::now() < too_late) {
                }
            }));
            co_await fixture.insert("also kept");
        }));
        if (!inserted) return false;
        CHECK(is<TransactionTimeout>(late));
        CHECK(fixture.names() == Names{"kept", "also kept"});
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("a joined scope whose time is over loses the transaction that it has joined",
          "[deadline]") {
    enum class Body {
        waits,
        swallows,
        computes
    };
    const auto body = GENERATE(Body::waits, Body::swallows, Body::computes);
    with_time_enough([&](milliseconds limit) {
        Fixture fixture{{.max_size = 1}};
        fixture.run(fixture.sessions.warm_up(1));
        const TransactionScope inner{fixture.sessions, {.timeout = limit}};
        bool inserted = false;
        std::exception_ptr late;
        std::exception_ptr refused;
        const auto lost = fixture.run(failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("first");
            late = co_await failure_of(inner([&]() -> asio::awaitable<int> {
                const auto too_late = std::chrono::steady_clock::now() + 2 * limit;
                co_await fixture.insert("late");
                inserted = true;
                if (body == Body::waits) co_await forever();
                if (body == Body::swallows) co_await failure_of(forever());
                if (body == Body::computes)
                    while (std::chrono::steady_clock::now() < too_late) {
                    }
                co_return 42;
            }));
            refused = co_await failure_of(fixture.insert("afterwards"));
        })));
        if (!inserted) return false;
        CHECK(is<TransactionTimeout>(late));
        CHECK(is<txscope::TransactionAborted>(refused));
        CHECK(is<txscope::UnexpectedRollback>(lost));
        CHECK(fixture.names().empty());
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("a joined or nested scope with more time than the transaction does not lengthen that",
          "[deadline]") {
    const auto propagation = GENERATE(txscope::Propagation::required, txscope::Propagation::nested);
    with_time_enough([&](milliseconds limit) {
        Fixture fixture{{.max_size = 1}, limit};
        fixture.run(fixture.sessions.warm_up(1));
        const TransactionScope inner{
            fixture.sessions, {.propagation = propagation, .timeout = std::chrono::minutes{1}}};
        bool inserted = false;
        std::exception_ptr cut;
        const auto late = fixture.run(failure_of(fixture.hurried([&]() -> asio::awaitable<void> {
            cut = co_await failure_of(inner([&]() -> asio::awaitable<void> {
                co_await fixture.insert("late");
                inserted = true;
                co_await forever();
            }));
        })));
        if (!inserted) return false;
        CHECK(support::is_abort(cut));
        CHECK(is<TransactionTimeout>(late));
        CHECK(fixture.names().empty());
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("a joined or nested scope that ends in time is not disturbed by its timeout",
          "[deadline]") {
    const auto propagation = GENERATE(txscope::Propagation::required, txscope::Propagation::nested);
    Fixture fixture;
    const TransactionScope inner{fixture.sessions,
                                 {.propagation = propagation, .timeout = std::chrono::minutes{1}}};
    fixture.run(fixture.scope([&]() -> asio::awaitable<void> {
        const int value = co_await inner([&]() -> asio::awaitable<int> {
            co_await fixture.insert("one");
            co_return 42;
        });
        CHECK(value == 42);
        CHECK(is<support::Refusal>(
            co_await failure_of(fixture.nested([&] { return fixture.insert_and_throw("two"); }))));
    }));
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a scope without a transaction has its time, too", "[deadline]") {
    with_time_enough([](milliseconds limit) {
        Fixture fixture{{.max_size = 1}};
        fixture.run(fixture.sessions.warm_up(1));
        const TransactionScope plain{
            fixture.sessions, {.propagation = txscope::Propagation::never, .timeout = limit}};
        bool inserted = false;
        const auto late = fixture.run(failure_of(plain([&]() -> asio::awaitable<void> {
            co_await fixture.insert("stays");
            inserted = true;
            co_await forever();
        })));
        if (!inserted) return false;
        CHECK(is<TransactionTimeout>(late));
        CHECK(fixture.names() == Names{"stays"});
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("default_timeout is the time of scopes that name none, and of lone statements",
          "[deadline]") {
    enum class Call {
        scope,
        lone_statement
    };
    const auto call = GENERATE(Call::scope, Call::lone_statement);
    with_time_enough([&](milliseconds limit) {
        Fixture fixture{{.max_size = 1, .default_timeout = limit}};
        fixture.run(fixture.sessions.execute(txscope::within(support::patience), "SELECT 1"));
        support::Client blocker{fixture.database.dsn()};
        blocker.query("BEGIN; LOCK TABLE entries");
        Started late{fixture.io,
                     call == Call::scope
                         ? fixture.insert_alone("late")
                         : [](txscope::AsyncSessionFactory sessions) -> asio::awaitable<void> {
                         co_await sessions.execute("INSERT INTO entries (name) VALUES ('late')");
                     }(fixture.sessions)};
        bool waited = false;
        support::run_until(fixture.io, [&] {
            waited = waited || fixture.waiting_for_locks() == 1;
            return waited || late.done();
        });
        if (!waited) return false;
        support::run_until(fixture.io, [&] { return late.done(); });
        CHECK(is<TransactionTimeout>(late.failure()));
        CHECK(is<txscope::StatementTimeout>(late.failure()) == (call == Call::lone_statement));
        CHECK(fixture.waiting_for_locks() == 0);
        blocker.query("ROLLBACK");
        CHECK(fixture.names().empty());
        return true;
    });
}

TEST_CASE("a scope's own timeout comes before default_timeout", "[deadline]") {
    Fixture fixture{{.default_timeout = milliseconds{1}}};
    const TransactionScope patient{fixture.sessions, {.timeout = milliseconds::max()}};
    fixture.run(patient([&]() -> asio::awaitable<void> {
        const auto later = std::chrono::steady_clock::now() + milliseconds{20};
        while (std::chrono::steady_clock::now() < later) {
        }
        co_await fixture.insert("one");
    }));
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a statement that takes longer than its time is cancelled, and fails its transaction",
          "[deadline]") {
    with_time_enough([](milliseconds limit) {
        Fixture fixture{{.max_size = 1}};
        fixture.run(fixture.sessions.warm_up(1));
        support::Client blocker{fixture.database.dsn()};
        blocker.query("BEGIN; LOCK TABLE entries");
        std::exception_ptr late;
        std::exception_ptr refused;
        Started swallows{fixture.io, fixture.scope([&](Session& session) -> asio::awaitable<void> {
                             co_await session.execute("SELECT 1");
                             late = co_await failure_of(session.execute(
                                 txscope::within(limit), "INSERT INTO entries (name) VALUES ($1)",
                                 "a value of its own"));
                             refused = co_await failure_of(session.execute("SELECT 2"));
                         })};
        bool waited = false;
        support::run_until(fixture.io, [&] {
            waited = waited || fixture.waiting_for_locks() == 1;
            return waited || swallows.done();
        });
        if (!waited) return false;
        support::run_until(fixture.io, [&] { return swallows.done(); });
        CHECK(is<txscope::StatementTimeout>(late));
        CHECK(support::text_of(late).find("INSERT INTO entries") != std::string::npos);
        CHECK(support::text_of(late).find("a value of its own") == std::string::npos);
        CHECK(is<txscope::TransactionAborted>(refused));
        CHECK(support::text_of(support::cause_of(refused)).find("57014") != std::string::npos);
        CHECK(is<txscope::UnexpectedRollback>(swallows.failure()));
        CHECK(fixture.waiting_for_locks() == 0);
        blocker.query("ROLLBACK");
        CHECK(fixture.names().empty());
        fixture.check_that_the_one_connection_works_on();
        return true;
    });
}

TEST_CASE("a statement in a nested scope may run out of time, and the outer goes on",
          "[deadline]") {
    Fixture fixture{{.max_size = 1}};
    fixture.run(fixture.scope([&]() -> asio::awaitable<void> {
        co_await fixture.insert("kept");
        const auto late =
            co_await failure_of(fixture.nested([](Session& session) -> asio::awaitable<void> {
                co_await session.execute(txscope::within(milliseconds{20}),
                                         "SELECT pg_sleep(3600)");
            }));
        CHECK(is<txscope::StatementTimeout>(late));
        co_await fixture.insert("also kept");
    }));
    CHECK(fixture.names() == Names{"kept", "also kept"});
}

TEST_CASE("statements with times of their own share the round trip of their branches",
          "[deadline]") {
    using namespace asio::experimental::awaitable_operators;
    Fixture fixture{{.max_size = 1}};
    const auto minute = txscope::within(std::chrono::minutes{1});
    const TransactionScope patient{fixture.sessions, {.timeout = std::chrono::minutes{1}}};
    fixture.run(patient([&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(minute, "SELECT 1");
        const auto [two, three] =
            co_await (session.execute(minute, "SELECT 2") && session.execute("SELECT 3"));
        CHECK(two.one().get<int>(0) == 2);
        CHECK(three.one().get<int>(0) == 3);
    }));
    CHECK(fixture.sessions.statistics().round_trips == 3);  // with BEGIN and COMMIT
}

TEST_CASE("a caller's cancellation is no timeout", "[deadline]") {
    Fixture fixture{{.max_size = 1, .default_timeout = std::chrono::minutes{1}}};
    const auto minute = txscope::within(std::chrono::minutes{1});
    const auto sleep = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(minute, "SELECT pg_sleep(3600)");
    };
    const auto work = [&]() -> asio::awaitable<void> {
        co_await fixture.sessions.execute(minute, "SELECT pg_sleep(3600)");
    };
    const bool lone = GENERATE(false, true);
    Started cancelled{fixture.io, lone ? work() : fixture.scope(sleep)};
    const auto sleeping = [&] {
        return fixture.database
                   .query(
                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
                       "AND datname = current_database()")
                   .number() == 1;
    };
    support::run_until(fixture.io, sleeping);
    cancelled.cancel();
    support::run_until(fixture.io, [&] { return cancelled.done(); });
    CHECK(cancelled.aborted());
}

TEST_CASE("a time below zero is refused", "[deadline]") {
    CHECK_THROWS_AS(txscope::within(milliseconds{-1}), pqxx::argument_error);
    asio::io_context io;
    CHECK_THROWS_AS((txscope::AsyncSessionFactory{io, "", {.default_timeout = milliseconds{-1}}}),
                    pqxx::argument_error);
}

}  // namespace deadline
