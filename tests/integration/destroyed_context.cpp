#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

// What is destroyed in the middle leaks nothing: AddressSanitizer and LeakSanitizer say so.

namespace destroyed_context {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::block_until;
using support::Client;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

/// A program within the test: its execution context ends when `end` is called.
struct Fixture : support::ScopeFixture {
    struct Program {
        explicit Program(const std::string& dsn, txscope::PoolOptions options)
            : sessions{io, dsn, options} {}

        asio::io_context io;
        txscope::AsyncSessionFactory sessions;
        const TransactionScope scope{sessions};
        const TransactionScope nested{sessions, {.propagation = Propagation::nested}};
    };

    explicit Fixture(txscope::PoolOptions options = {}) { begin(database.dsn(), options); }

    void begin(const std::string& dsn, txscope::PoolOptions options = {}) {
        program = std::make_unique<Program>(dsn, support::observed(options));
    }
    void begin() { begin(database.dsn()); }

    asio::awaitable<void> insert(std::string name) {
        auto session = co_await txscope::current_session(program->sessions);
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    }

    template <typename Body>
    void start(Body body) {
        bodies.push_back([this, body]() -> asio::awaitable<void> {
            co_await program->scope([&] { return body(); });
        });
        asio::co_spawn(program->io, bodies.back()(), asio::detached);
    }
    template <typename Condition>
    void run_until(Condition condition) {
        support::run_until(program->io, condition);
    }
    void run_until_waiting_for_a_lock() {
        run_until([&] { return waiting_for_locks() == 1; });
    }
    void end() { program.reset(); }

    /// What the program had begun is gone, as soon as the server has noticed its end.
    void check_that_nothing_is_left() {
        block_until([&] { return connected() == 0; });
        CHECK(names().empty());
    }

    std::unique_ptr<Program> program;
    std::list<std::function<asio::awaitable<void>()>> bodies;
};

/// Of scopes that add a name with ".1" and one with ".2", those that have added only one.
std::int64_t halves(const support::Database& database) {
    return database
        .query(
            "SELECT count(*) FROM (SELECT FROM entries GROUP BY "
            "regexp_replace(name, '.[12]$', '') HAVING count(*) <> 2) h")
        .number();
}

asio::awaitable<void> forever() {
    asio::steady_timer never{co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max()};
    co_await never.async_wait(asio::use_awaitable);
}

TEST_CASE("destroyed before it ran at all, a scope does nothing", "[destruction]") {
    Fixture fixture;
    fixture.start([&] { return fixture.insert("one"); });
    fixture.end();
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed between its statements, a body is not committed", "[destruction]") {
    Fixture fixture;
    bool waiting = false;
    fixture.start([&]() -> asio::awaitable<void> {
        co_await fixture.insert("one");
        auto session = co_await txscope::current_session(fixture.program->sessions);
        session.enqueue("INSERT INTO entries (name) VALUES ('enqueued')");
        waiting = true;
        co_await forever();
    });
    fixture.run_until([&] { return waiting; });
    fixture.end();
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed in a statement, a body is not committed", "[destruction]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.start([&]() -> asio::awaitable<void> {
        co_await fixture.insert("one");
        co_await fixture.insert("held");
    });
    fixture.run_until_waiting_for_a_lock();
    fixture.end();
    holder->query("ROLLBACK");
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed in parallel statements, a body is not committed", "[destruction]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.start([&]() -> asio::awaitable<void> {
        co_await (fixture.insert("held") && fixture.insert("two") && forever());
    });
    fixture.run_until_waiting_for_a_lock();
    fixture.end();
    holder->query("ROLLBACK");
    fixture.check_that_nothing_is_left();
}

TEST_CASE(
    "destroyed in nested scopes, one at work and one waiting its turn, a body is not "
    "committed",
    "[destruction]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.start([&]() -> asio::awaitable<void> {
        co_await fixture.insert("one");
        const auto at_work = [&]() -> asio::awaitable<void> {
            co_await fixture.insert("two");
            co_await fixture.program->nested([&] { return fixture.insert("held"); });
        };
        const auto waiting = [&] { return fixture.insert("three"); };
        co_await (fixture.program->nested(at_work) && fixture.program->nested(waiting) &&
                  fixture.insert("four"));
    });
    fixture.run_until_waiting_for_a_lock();
    fixture.end();
    holder->query("ROLLBACK");
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed while it waits for a connection, a scope does nothing", "[destruction]") {
    Fixture fixture{{.max_size = 1}};
    const auto holder = fixture.hold("held");
    fixture.start([&] { return fixture.insert("held"); });
    fixture.run_until_waiting_for_a_lock();
    fixture.start([&] { return fixture.insert("two"); });
    fixture.start([&]() -> asio::awaitable<void> {
        co_await (fixture.insert("three") && fixture.insert("four"));
    });
    fixture.run_until([&] { return fixture.program->sessions.statistics().waiting == 2; });
    fixture.end();
    holder->query("ROLLBACK");
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed while its connection is being opened, a scope does nothing", "[destruction]") {
    support::FaultProxy proxy{support::server()};
    Fixture fixture;
    fixture.begin(proxy.dsn(fixture.database.name()));
    proxy.stall(support::Direction::to_client);
    fixture.start([&] { return fixture.insert("one"); });
    fixture.run_until([&] { return proxy.connections() == 1; });
    fixture.end();
    proxy.resume();
    fixture.check_that_nothing_is_left();
}

TEST_CASE("destroyed in COMMIT, a scope is committed as a whole or not at all", "[destruction]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE TABLE parts (entry bigint REFERENCES entries DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO entries (name) VALUES ('the only one')");
    Client holder{fixture.database.dsn()};
    holder.query("BEGIN; SELECT FROM entries FOR UPDATE");
    fixture.start([&]() -> asio::awaitable<void> {
        co_await fixture.insert("one");
        auto session = co_await txscope::current_session(fixture.program->sessions);
        co_await session.execute("INSERT INTO parts (entry) SELECT min(id) FROM entries");
    });
    fixture.run_until_waiting_for_a_lock();
    fixture.end();
    holder.query("ROLLBACK");
    block_until([&] { return fixture.connected() == 0; });
    CHECK(fixture.names().size() == 1u + static_cast<std::size_t>(fixture.database.count("parts")));
}

TEST_CASE("destroyed while a cancelled statement is being cleaned up, a scope is not committed",
          "[destruction]") {
    Fixture fixture;
    for (int turns = 0; turns < 60; turns += 1 + turns / 4) {
        CAPTURE(turns);
        fixture.begin();
        const auto holder = fixture.hold("held");
        bool cancelled = false;
        fixture.start([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto waits = [&] { return cancelled = fixture.waiting_for_locks() == 1; };
            co_await (fixture.insert("held") || support::eventually(waits));
            co_await forever();
        });
        fixture.run_until([&] { return cancelled; });
        support::run(fixture.program->io, [&]() -> asio::awaitable<void> {
            for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
        });
        fixture.end();
        holder->query("ROLLBACK");
        fixture.check_that_nothing_is_left();
    }
}

TEST_CASE("a request to cancel whose sender is destroyed does not strike the next borrower",
          "[destruction]") {
    support::FaultProxy proxy{support::server()};
    Fixture fixture;
    fixture.begin(proxy.dsn(fixture.database.name()), {.max_size = 1});
    const TransactionScope& scope = fixture.program->scope;
    auto kept_running = asio::make_work_guard(fixture.program->io);
    std::thread pool{[&] { fixture.program->io.run(); }};
    const auto holder = fixture.hold("held");
    {
        asio::io_context io;
        support::Started work{io, scope([&] { return fixture.insert("held"); })};
        support::run_until(io, [&] { return fixture.waiting_for_locks() == 1; });
        proxy.stall(support::before_message(support::Direction::to_server, 1));
        work.cancel();
        support::run_until(io, [&] { return proxy.counts().struck == 1; });
    }
    const auto& sessions = fixture.program->sessions;
    block_until([&] { return sessions.statistics().idle + sessions.statistics().discarded == 1; });
    CHECK(sessions.statistics().discarded == 1);

    holder->query("ROLLBACK");
    proxy.resume();
    asio::io_context io;
    support::run(io, scope([&] { return fixture.insert("next"); }));
    CHECK(fixture.names() == Names{"next"});
    kept_running.reset();
    fixture.program->io.stop();
    pool.join();
}

TEST_CASE("a detached task that a scope left behind is destroyed with all it holds",
          "[destruction]") {
    Fixture fixture;
    std::optional<Session> kept;
    bool done = false;
    fixture.start([&]() -> asio::awaitable<void> {
        auto session = co_await txscope::current_session(fixture.program->sessions);
        kept = session;
        asio::co_spawn(co_await asio::this_coro::executor, forever(), asio::detached);
        co_await session.execute("SELECT 1");
        done = true;
    });
    fixture.run_until([&] { return done; });
    kept.reset();
    fixture.end();
    fixture.check_that_nothing_is_left();
}

TEST_CASE(
    "a signal that could have cancelled a scope, and outlives its context, keeps nothing of it",
    "[destruction]") {
    Fixture fixture;
    const auto work = [&]() -> asio::awaitable<void> {
        auto& program = *fixture.program;
        co_await program.sessions.warm_up(2);
        co_await program.sessions.execute("SELECT 1");
        co_await program.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await program.nested([&] { return fixture.insert("two"); });
            co_await program.sessions.execute("DELETE FROM entries");
            throw 42;
        });
    };
    bool ended = false;
    for (int handlers = 0; !ended; ++handlers) {
        asio::cancellation_signal signal;
        fixture.begin();
        asio::co_spawn(
            fixture.program->io, work(),
            asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr) { ended = true; }));
        for (int ran = 0; ran < handlers && !ended; ++ran) fixture.program->io.run_one();
        fixture.end();
        fixture.check_that_nothing_is_left();
    }
}

TEST_CASE("destroyed at any moment of its life, a scope is committed as a whole or not at all",
          "[destruction]") {
    int committed = 0;
    Fixture fixture;
    for (int turns = 0; committed < 3; turns += 1 + turns / 10) {
        CAPTURE(turns);
        const auto name = std::to_string(turns);
        fixture.program =
            std::make_unique<Fixture::Program>(fixture.database.dsn(), support::observed());
        bool done = false;
        fixture.start([&]() -> asio::awaitable<void> {
            co_await fixture.insert(name + ".outer");
            co_await fixture.program->nested([&] { return fixture.insert(name + ".nested"); });
            done = true;
        });
        support::run(fixture.program->io, [&]() -> asio::awaitable<void> {
            for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
        });
        fixture.end();
        block_until([&] { return fixture.connected() == 0; });
        const auto rows =
            fixture.database.query("SELECT name FROM entries WHERE name LIKE '" + name + ".%'")
                .size();
        CHECK((rows == 0u || (rows == 2u && done)));
        committed += rows == 2u;
    }
}

TEST_CASE("contexts that are destroyed in the middle of their scopes leave a shared pool whole",
          "[destruction]") {
    Fixture fixture{{.max_size = 3}};
    const TransactionScope& scope = fixture.program->scope;
    const auto work = [&](std::string name) -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            for (const char* part : {".1", ".2"})
                co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name + part);
        });
    };
    auto kept_running = asio::make_work_guard(fixture.program->io);
    std::thread pool{[&] { fixture.program->io.run(); }};
    std::vector<std::thread> borrowers;
    for (int thread = 0; thread < 4; ++thread)
        borrowers.emplace_back([&, thread] {
            for (std::size_t handlers = 1; handlers < 60; ++handlers) {
                asio::io_context io;
                const auto name = std::to_string(thread) + "." + std::to_string(handlers);
                for (const char* twin : {".a", ".b"})
                    asio::co_spawn(io, work(name + twin), asio::detached);
                for (std::size_t ran = 0; ran < handlers && io.run_one() != 0; ++ran) continue;
            }
        });
    for (std::thread& borrower : borrowers) borrower.join();
    block_until([&] {
        const auto statistics = fixture.program->sessions.statistics();
        return statistics.idle == statistics.size && statistics.waiting == 0;
    });
    CHECK(fixture.in_transaction() == 0);
    CHECK(fixture.program->sessions.statistics().discarded == 0);
    CHECK(halves(fixture.database) == 0);
    CHECK_FALSE(fixture.names().empty());
    kept_running.reset();
    fixture.program->io.stop();
    pool.join();
}

TEST_CASE(
    "a thread pool that is stopped in the middle of many scopes commits each as a whole or "
    "not at all",
    "[destruction]") {
    Fixture fixture;
    for (int round = 0; round < 5; ++round) {
        std::atomic<int> finished = 0;
        {
            asio::thread_pool pool{4};
            const txscope::AsyncSessionFactory sessions{pool.get_executor(), fixture.database.dsn(),
                                                        support::observed({.max_size = 4})};
            const TransactionScope scope{sessions};
            std::list<std::string> names;
            const auto work = [&](const std::string& name) -> asio::awaitable<void> {
                co_await scope([&](Session& session) -> asio::awaitable<void> {
                    for (const char* part : {".1", ".2"})
                        co_await session.execute("INSERT INTO entries (name) VALUES ($1)",
                                                 name + part);
                });
                ++finished;
            };
            for (int i = 0; i < 100; ++i) {
                names.push_back(std::to_string(round) + "." + std::to_string(i));
                asio::co_spawn(pool, work(names.back()), asio::detached);
            }
            block_until([&] { return finished >= 5; });
            pool.stop();
            pool.join();
        }
        block_until([&] { return fixture.connected() == 0; });
        CHECK(halves(fixture.database) == 0);
    }
    CHECK(fixture.names().size() >= 5u * 5u * 2u);
}

}  // namespace destroyed_context
