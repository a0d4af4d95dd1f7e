#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/session_pool.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <pqxx/except>

#include <chrono>

// How long a connection of a pool lives, and what is looked at before it is lent.
namespace connection_life {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::ScopeFixture;
using txscope::Session;

// Holds one connection until the gate is opened.
struct Held {
    explicit Held(ScopeFixture& fixture)
        : gate{fixture.io}, work{fixture.io, hold(fixture.sessions, gate)} {
        support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    }
    static asio::awaitable<void> hold(txscope::AsyncSessionFactory sessions, support::Gate& gate) {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await gate.wait();
        };
        co_await sessions.session_scope(body);
    }
    support::Gate gate;
    support::Started work;
};

TEST_CASE("a connection is closed when its life is over, on loan when it comes back",
          "[connection_life]") {
    ScopeFixture fixture{{.max_size = 2, .max_lifetime = 20ms}};
    Held held{fixture};
    fixture.run(fixture.sessions.warm_up(2));
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().retired >= 1; });
    CHECK(held.gate.waiting() == 1);
    support::run_until(fixture.io, [begun = std::chrono::steady_clock::now()] {
        return std::chrono::steady_clock::now() - begun > 30ms;
    });
    fixture.run([&]() -> asio::awaitable<void> {
        held.gate.open();
        co_await support::eventually([&] { return fixture.sessions.statistics().size == 0; });
    });
    CHECK(fixture.sessions.statistics().discarded == 0);
    CHECK(fixture.sessions.statistics().retired == fixture.sessions.statistics().opened);
    fixture.run(fixture.sessions.execute("SELECT 1"));
}

TEST_CASE("what nobody uses is closed, but for min_idle", "[connection_life]") {
    ScopeFixture fixture{{.max_size = 4, .idle_timeout = 200ms, .min_idle = 1}};
    fixture.run(fixture.sessions.warm_up(4));
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().size == 1; });
    CHECK(fixture.sessions.statistics().idle == 1);
    CHECK(fixture.sessions.statistics().retired >= 3);
}

TEST_CASE("min_idle connections are there before somebody asks", "[connection_life]") {
    ScopeFixture fixture{{.max_size = 4, .min_idle = 2}};
    const auto idle = [&] { return fixture.sessions.statistics().idle; };
    support::run_until(fixture.io, [&] { return idle() == 2; });
    Held held{fixture};
    support::run_until(fixture.io, [&] { return idle() == 2; });
    CHECK(fixture.sessions.statistics().size == 3);
    fixture.terminate_backends();
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened >= 5; });
    support::run_until(fixture.io, [&] { return idle() == 2; });
    held.gate.open();
    support::run_until(fixture.io, [&] { return held.work.done(); });
}

TEST_CASE("min_idle connections come when the server does", "[connection_life]") {
    support::FaultProxy proxy{support::server()};
    proxy.refuse_connections();
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, proxy.dsn(),
                                                support::observed({.max_size = 2, .min_idle = 1})};
    support::run_until(io, [&] { return sessions.statistics().failed_openings > 0; });
    proxy.accept_connections();
    support::run_until(io, [&] { return sessions.statistics().idle == 1; });
}

TEST_CASE("recycle replaces all connections, those on loan when they come back",
          "[connection_life]") {
    ScopeFixture fixture{{.max_size = 3}};
    fixture.run(fixture.sessions.warm_up(3));
    Held held{fixture};
    fixture.sessions.recycle();
    CHECK(fixture.sessions.statistics().size == 1);
    CHECK(fixture.sessions.statistics().retired == 2);
    fixture.run(fixture.sessions.execute("SELECT 1"));
    held.gate.open();
    support::run_until(fixture.io, [&] { return held.work.done(); });
    CHECK(fixture.sessions.statistics().retired == 3);
    CHECK(fixture.sessions.statistics().idle == 1);
    CHECK(fixture.sessions.statistics().opened == 4);
}

TEST_CASE("other options hold from now on", "[connection_life]") {
    ScopeFixture fixture{{.max_size = 3}};
    fixture.run(fixture.sessions.warm_up(3));
    Held held{fixture};
    fixture.sessions.reconfigure({.max_size = 1, .max_waiters = 0, .acquire_timeout = 20ms});
    CHECK(fixture.sessions.statistics().size == 1);
    CHECK(support::is<txscope::PoolExhausted>(
        fixture.run(support::failure_of(fixture.sessions.execute("SELECT 1")))));
    fixture.sessions.reconfigure({.max_size = 1, .acquire_timeout = 20ms});
    CHECK(support::is<txscope::AcquireTimeout>(
        fixture.run(support::failure_of(fixture.sessions.execute("SELECT 1")))));
    fixture.sessions.reconfigure({.max_size = 4, .min_idle = 2});
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().idle == 2; });
    CHECK_THROWS_AS(fixture.sessions.reconfigure({.max_size = 0}), pqxx::argument_error);
    CHECK_THROWS_AS(fixture.sessions.reconfigure({.max_size = 2, .min_idle = 3}),
                    pqxx::argument_error);
    held.gate.open();
    support::run_until(fixture.io, [&] { return held.work.done(); });
}

struct Proxied {
    explicit Proxied(const txscope::PoolOptions& options)
        : sessions{io, proxy.dsn(), support::observed(options)} {
        support::run(io, sessions.warm_up(options.max_size));
        const auto begun = std::chrono::steady_clock::now();
        support::run_until(
            io, [&] { return std::chrono::steady_clock::now() - begun > options.ping_after_idle; });
        proxy.reset_counts();
    }
    support::FaultProxy proxy{support::server()};
    asio::io_context io{};
    txscope::AsyncSessionFactory sessions;
};

TEST_CASE("a connection that has been idle for a while is lent after a ping", "[connection_life]") {
    Proxied fixture{{.max_size = 1, .ping_after_idle = 10ms}};
    support::run(fixture.io, fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.proxy.round_trips() == 2);
    CHECK(fixture.sessions.statistics().round_trips == 1);  // of the loan
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a connection that is half-open holds nobody longer than ping_timeout",
          "[connection_life]") {
    Proxied fixture{{.max_size = 3, .ping_after_idle = 10ms, .ping_timeout = 50ms}};
    fixture.proxy.swallow(support::before_message(support::Direction::to_server, 1));
    support::run(fixture.io, fixture.sessions.execute("SELECT 1"));
    const auto now = fixture.sessions.statistics();
    CHECK(now.opened == 4);
    CHECK(now.size == 1);  // the others had been idle as long
    CHECK(now.discarded == 1);
    CHECK(now.retired == 2);
}

TEST_CASE("a connection whose server hung up meanwhile costs no ping", "[connection_life]") {
    Proxied fixture{{.max_size = 1, .ping_after_idle = 10ms}};
    fixture.proxy.cut();
    support::block_until([&] { return fixture.proxy.counts().open == 0; });
    support::run(fixture.io, fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.proxy.round_trips() <= 2);  // the new one's settings, and the statement
    CHECK(fixture.sessions.statistics().discarded == 1);
}

TEST_CASE("a Unix socket tells everything, and costs no ping", "[connection_life]") {
    ScopeFixture fixture{{.max_size = 1, .ping_after_idle = 1ms}};
    fixture.run(fixture.sessions.warm_up(1));
    const auto lease = fixture.run(fixture.sessions.pool()->acquire());
    CHECK(lease->is_local());
    CHECK_FALSE(lease.member()->may_be_half_open);
}

TEST_CASE("the pool's own times keep no context running", "[connection_life]") {
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(2));
    SECTION("when it is closed") { fixture.run(fixture.sessions.close()); }
    SECTION("when no connection is left") { fixture.terminate_backends(); }
    const support::Watchdog watchdog{"an io_context without anything left to do"};
    fixture.io.restart();
    fixture.io.run();
    CHECK(fixture.sessions.statistics().size == 0);
}

}  // namespace connection_life
