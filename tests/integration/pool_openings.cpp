#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <exception>
#include <memory>

namespace pool_openings {

namespace asio = boost::asio;
using support::Gate;
using txscope::Session;

// A pool of two connections through a proxy, one of which is on loan until the gate is opened.
struct Fixture {
    Fixture() {
        asio::co_spawn(io, hold(), rethrow);
        support::run_until(io, [&] { return gate.waiting() == 1; });
    }

    static void rethrow(const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    }
    asio::awaitable<void> hold() {
        const auto body = [this](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await gate.wait();
        };
        co_await sessions.session_scope(body);
    }
    // As one who asks, and counts when it is served.
    void ask() {
        const auto work = [this]() -> asio::awaitable<void> {
            co_await sessions.execute("SELECT 1");
            ++served;
        };
        asio::co_spawn(io, work, [this](const std::exception_ptr& error) { failure = error; });
    }
    template <typename Condition>
    void run_until(Condition condition) {
        support::run_until(io, condition);
    }
    bool an_attempt_has_failed() const {
        return sessions.pool()->connector().last_error() != nullptr;
    }

    support::FaultProxy proxy{support::server()};
    asio::io_context io{};
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(), support::observed({.max_size = 2})};
    Gate gate{io};
    int served = 0;
    std::exception_ptr failure{};
};

TEST_CASE("who waits for a connection to be opened gets one that comes back before",
          "[pool_openings]") {
    Fixture fixture;
    fixture.proxy.stall(support::Direction::to_client);
    fixture.ask();
    fixture.run_until([&] { return fixture.proxy.connections() == 2; });
    CHECK(fixture.sessions.statistics().waiting == 0);
    CHECK(fixture.sessions.statistics().acquired == 1);

    fixture.gate.open();
    fixture.run_until([&] { return fixture.sessions.statistics().acquired == 2; });
    CHECK(fixture.sessions.statistics().opened == 1);

    fixture.proxy.resume();
    fixture.run_until([&] { return fixture.served == 1; });
    fixture.run_until([&] { return fixture.sessions.statistics().idle == 2; });  // nothing is lost
    CHECK_FALSE(fixture.failure);
}

TEST_CASE("who waits is served while no connection can be opened, when one comes back",
          "[pool_openings]") {
    Fixture fixture;
    fixture.proxy.refuse_connections();
    fixture.ask();
    fixture.run_until([&] { return fixture.an_attempt_has_failed(); });
    CHECK(fixture.served == 0);
    CHECK_FALSE(fixture.failure);

    fixture.gate.open();
    fixture.run_until([&] { return fixture.served == 1; });
    CHECK_FALSE(fixture.failure);
}

TEST_CASE("who waits is served when connections can be opened again, though none comes back",
          "[pool_openings]") {
    Fixture fixture;
    fixture.proxy.refuse_connections();
    fixture.ask();
    fixture.run_until([&] { return fixture.an_attempt_has_failed(); });

    fixture.proxy.accept_connections();
    fixture.run_until([&] { return fixture.served == 1; });
    CHECK(fixture.gate.waiting() == 1);
    CHECK_FALSE(fixture.failure);
    fixture.gate.open();
    fixture.run_until([&] { return fixture.sessions.statistics().idle == 2; });
}

TEST_CASE("what is opened for somebody who is cancelled serves the next one", "[pool_openings]") {
    Fixture fixture;
    fixture.proxy.stall(support::Direction::to_client);
    asio::cancellation_signal signal;
    bool ended = false;
    asio::co_spawn(
        fixture.io, fixture.sessions.execute("SELECT 1"),
        asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr&,
                                                        const txscope::Result&) { ended = true; }));
    fixture.run_until([&] { return fixture.proxy.connections() == 2; });
    signal.emit(asio::cancellation_type::terminal);
    fixture.run_until([&] { return ended; });
    fixture.ask();
    fixture.proxy.resume();
    fixture.run_until([&] { return fixture.served == 1; });
    CHECK(fixture.sessions.statistics().opened == 2);
    CHECK(fixture.proxy.connections() == 2);
    fixture.gate.open();
    fixture.run_until([&] { return fixture.sessions.statistics().idle == 2; });
}

// Asks for a connection to a server that does not answer, and thinks better of it.
void ask_in_vain(asio::io_context& io, const txscope::AsyncSessionFactory& sessions) {
    asio::cancellation_signal signal;
    bool ended = false;
    asio::co_spawn(
        io, sessions.execute("SELECT 1"),
        asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr&,
                                                        const txscope::Result&) { ended = true; }));
    support::run_until(io, [&] { return sessions.statistics().size == 1; });
    signal.emit(asio::cancellation_type::terminal);
    support::run_until(io, [&] { return ended; });
}

TEST_CASE("neither close nor the end of a factory waits for a server that does not answer",
          "[pool_openings]") {
    const support::SilentServer silent;
    asio::io_context io;
    auto sessions = std::make_unique<txscope::AsyncSessionFactory>(
        io, silent.dsn(), support::observed({.acquire_timeout = std::chrono::hours{24}}));
    ask_in_vain(io, *sessions);
    SECTION("close") {
        support::run(io, sessions->close());
        CHECK(sessions->statistics().size == 0);
    }
    SECTION("the end") { sessions.reset(); }
    const support::Watchdog watchdog{"an io_context without anything left to do"};
    io.run();
}

}  // namespace pool_openings
