#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include "support/started.hpp"
#include "support/time_enough.hpp"
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <vector>

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
    bool an_attempt_has_failed() const { return sessions.statistics().failed_openings > 0; }

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

TEST_CASE("what is opened is the pool's: it outlasts the time of who asked for it",
          "[pool_openings]") {
    support::FaultProxy proxy{support::server()};
    proxy.stall(support::Direction::to_client);
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(),
        support::observed({.max_size = 2, .acquire_timeout = std::chrono::milliseconds{4}})};
    for (int i = 0; i < 10; ++i) {
        const auto failure = support::run(io, support::failure_of(sessions.warm_up(2)));
        CHECK(support::is<txscope::AcquireTimeout>(failure));
        CHECK(support::is<txscope::ConnectionFailed>(support::cause_of(failure)));
    }
    proxy.resume();
    support::run_until(io, [&] { return sessions.statistics().idle == 2; });
    CHECK(proxy.connections() == 2);
    support::run(io, sessions.warm_up(2));
}

TEST_CASE("no more than max_opening are opened at a time, until all are there", "[pool_openings]") {
    support::FaultProxy proxy{support::server()};
    proxy.stall(support::Direction::to_client);
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(), support::observed({.max_size = 5, .max_opening = 2})};
    support::Started warm_up{io, sessions.warm_up(5)};
    support::run_until(io, [&] { return proxy.connections() == 2; });
    CHECK(sessions.statistics().size == 2);
    proxy.resume();
    support::run_until(io, [&] { return warm_up.done(); });
    CHECK_FALSE(warm_up.failure());
    CHECK(sessions.statistics().idle == 5);
}

TEST_CASE("what stays wrong fails all who wait at once", "[pool_openings]") {
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, support::server().dsn("no_such_database"),
                                                support::observed({.max_size = 2})};
    int failed = 0;
    const auto ask_in_vain = [&]() -> asio::awaitable<void> {
        const auto failure = co_await support::failure_of(sessions.execute("SELECT 1"));
        CHECK(support::is<txscope::ConnectionFailed>(failure));
        ++failed;
    };
    for (int i = 0; i < 20; ++i) asio::co_spawn(io, ask_in_vain(), Fixture::rethrow);
    support::run_until(io, [&] { return failed == 20; });
    support::run_until(io, [&] { return sessions.statistics().size == 0; });
    CHECK(support::is<txscope::ConnectionFailed>(
        support::run(io, support::failure_of(sessions.warm_up(1)))));
}

// Hangs up on everybody, and counts them.
class RefusingServer {
public:
    explicit RefusingServer(asio::io_context& io)
        : acceptor_{io, {asio::ip::address_v4::loopback(), 0}} {
        accept();
    }
    std::string dsn() const {
        return "host=127.0.0.1 port=" + std::to_string(acceptor_.local_endpoint().port()) +
               " user=postgres sslmode=disable gssencmode=disable";
    }
    int attempts() const { return attempts_; }

private:
    void accept() {
        acceptor_.async_accept(
            [this](boost::system::error_code over, const asio::ip::tcp::socket&) {
                if (over) return;
                ++attempts_;
                accept();
            });
    }
    asio::ip::tcp::acceptor acceptor_;
    int attempts_ = 0;
};

TEST_CASE("a hundred who wait for a server that is down make a few attempts a second",
          "[pool_openings]") {
    using namespace std::chrono_literals;
    asio::io_context io;
    const RefusingServer server{io};
    const auto begun = std::chrono::steady_clock::now();
    const txscope::AsyncSessionFactory sessions{io, server.dsn(),
                                                support::observed({.max_size = 100})};
    std::vector<std::unique_ptr<support::Started>> waiting;
    const auto ask = [&]() -> asio::awaitable<void> { co_await sessions.execute("SELECT 1"); };
    for (int i = 0; i < 100; ++i) waiting.push_back(std::make_unique<support::Started>(io, ask()));
    support::run_until(io, [&] { return server.attempts() >= 8; });
    // Four at first; after that one by one, with pauses of at least 50, 100, 200, 400, 500, 500, … ms.
    const auto time = std::chrono::steady_clock::now() - begun;
    CHECK(server.attempts() <= 4 + 4 + time / 500ms + 1);
    CHECK(time >= 750ms);
    CHECK(sessions.statistics().waiting >= 99);
    for (const auto& each : waiting) CHECK_FALSE(each->done());
    for (const auto& each : waiting) each->cancel();
    support::run_until(io, [&] { return waiting.back()->done(); });
}

TEST_CASE("who waits for a server that is stopped is served when it is started again",
          "[pool_openings]") {
    txscope::TemporaryPostgres server;
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, server.dsn(),
                                                support::observed({.max_size = 2})};
    support::run(io, sessions.warm_up(2));
    server.stop();
    int served = 0;
    const auto ask = [&]() -> asio::awaitable<void> {
        co_await sessions.execute("SELECT 1");
        ++served;
    };
    for (int i = 0; i < 20; ++i) asio::co_spawn(io, ask(), Fixture::rethrow);
    support::run_until(io, [&] { return sessions.statistics().failed_openings > 0; });
    server.start();
    support::run_until(io, [&] { return served == 20; });
    support::run_until(io, [&] { return sessions.statistics().idle == 2; });
}

TEST_CASE("a scope whose time is over while it waits for a connection is told why there was none",
          "[pool_openings]") {
    const support::DeadPort nobody;
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, nobody.dsn(), support::observed()};
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
    };
    support::with_time_enough([&](std::chrono::milliseconds limit) {
        const txscope::TransactionScope scope{sessions, {.timeout = limit}};
        const auto failure = support::run(io, support::failure_of(scope(body)));
        CHECK(support::is<txscope::TransactionTimeout>(failure));
        const auto cancelled = support::cause_of(failure);
        CHECK(support::is_abort(cancelled));
        const auto in_vain = support::cause_of(cancelled);
        return support::is<txscope::AcquireTimeout>(in_vain) &&
               support::is<txscope::ConnectionFailed>(support::cause_of(in_vain));
    });
}

TEST_CASE("a pause between attempts keeps neither the factory nor the context", "[pool_openings]") {
    const support::DeadPort nobody;
    asio::io_context io;
    auto sessions =
        std::make_unique<txscope::AsyncSessionFactory>(io, nobody.dsn(), support::observed());
    auto waiting = std::make_unique<support::Started>(
        io, [](txscope::AsyncSessionFactory asked) -> asio::awaitable<void> {
            co_await asked.execute("SELECT 1");
        }(*sessions));
    support::run_until(io, [&] { return sessions->statistics().failed_openings > 0; });
    SECTION("when it is closed") {
        support::run(io, sessions->close());
        support::run_until(io, [&] { return waiting->done(); });
        CHECK(support::is<txscope::PoolClosed>(waiting->failure()));
    }
    SECTION("when nobody waits any more") {
        waiting->cancel();
        support::run_until(io, [&] { return waiting->done(); });
        sessions.reset();
    }
    const support::Watchdog watchdog{"an io_context without anything left to do"};
    io.restart();
    io.run();
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
    io.restart();
    io.run();
}

}  // namespace pool_openings
