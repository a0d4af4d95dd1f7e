#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include "support/silent_server.hpp"
#include "support/time_enough.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace several_servers {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::DeadPort;
using support::failure_of;
using support::is;
using support::server;
using support::SilentServer;
using support::text_of;

using Ports = std::vector<std::uint16_t>;

/// A connection string of several servers, at these ports of 127.0.0.1, in the order to try them.
std::string dsn_of(const Ports& ports, const std::string& more = {}) {
    std::string hosts;
    std::string numbers;
    for (const std::uint16_t port : ports) {
        const std::string separator = hosts.empty() ? "" : ",";
        hosts += separator + "127.0.0.1";
        numbers += separator + std::to_string(port);
    }
    return "host=" + hosts + " port=" + numbers +
           " dbname=postgres user=postgres sslmode=disable gssencmode=disable " + more;
}

/// The port of the server that a factory for `dsn` has got to.
std::uint16_t reached(const std::string& dsn) {
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, dsn, support::observed()};
    support::run(io, sessions.ready());
    const auto result = support::run(io, sessions.execute("SHOW port"));
    return result.one().get<std::uint16_t>(0);
}

/// The same past silent servers, whose time is also the time of the one that answers.
std::uint16_t reached_past_silence(const Ports& ports, const std::string& more = {}) {
    std::uint16_t port = 0;
    support::with_time_enough([&](std::chrono::milliseconds limit) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(limit).count();
        const auto too_late = failure_of([&] {
            port = reached(dsn_of(ports, more + " connect_timeout=" + std::to_string(seconds)));
        });
        return !is<txscope::ConnectionFailed>(too_late);
    });
    return port;
}

std::exception_ptr failure_to_reach(const std::string& dsn) {
    return failure_of([&] { reached(dsn); });
}

/// A server that takes nothing that is written; started when the first test asks for it.
const txscope::TemporaryPostgres& replica() {
    static const txscope::TemporaryPostgres shared{[] {
        txscope::TemporaryPostgresOptions options;
        options.settings = {"default_transaction_read_only = on"};
        return options;
    }()};
    return shared;
}

TEST_CASE("where nobody listens at the first address, the next server is taken",
          "[several_servers]") {
    const DeadPort nobody;
    CHECK(reached(dsn_of({nobody.port(), server().port()})) == server().port());
}

TEST_CASE("a host may be a name, and any of its addresses the server's", "[several_servers]") {
    const auto dsn = server().tcp_dsn() + " host=localhost";
    CHECK(reached(dsn) == server().port());
}

TEST_CASE("a server that keeps silent is passed over after connect_timeout", "[several_servers]") {
    const SilentServer silent;
    CHECK(reached_past_silence({silent.port(), server().port()}) == server().port());
}

TEST_CASE("silent servers leave time for the others, also without connect_timeout",
          "[several_servers]") {
    const SilentServer first;
    const DeadPort nobody;
    const SilentServer second;
    const auto dsn = dsn_of({first.port(), nobody.port(), second.port(), server().port()});
    support::with_time_enough([&](std::chrono::milliseconds limit) {
        asio::io_context io;
        const txscope::AsyncSessionFactory sessions{
            io, dsn, support::observed({.acquire_timeout = 2 * limit, .opening_timeout = limit})};
        const auto too_late = support::run(io, failure_of(sessions.ready()));
        return !is<txscope::ConnectionFailed>(too_late);
    });
}

TEST_CASE("each of several silent servers gets its connect_timeout, wherever in the list it is",
          "[several_servers]") {
    const DeadPort nobody;
    const SilentServer first;
    const SilentServer second;
    const Ports ports{nobody.port(), first.port(), second.port(), server().port()};
    CHECK(reached_past_silence(ports) == server().port());
}

TEST_CASE("when no server answers, the last one that was tried is named", "[several_servers]") {
    const SilentServer first;
    const SilentServer second;
    const auto failure =
        failure_to_reach(dsn_of({first.port(), second.port()}, "connect_timeout=1"));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure),
               ContainsSubstring("no answer") && ContainsSubstring(std::to_string(second.port())));
}

TEST_CASE("target_session_attrs chooses among the servers, in whatever order they are listed",
          "[several_servers]") {
    const std::uint16_t writable = server().port();
    const std::uint16_t read_only = replica().port();
    for (const Ports& ports : {Ports{writable, read_only}, Ports{read_only, writable}}) {
        CAPTURE(ports);
        CHECK(reached(dsn_of(ports, "target_session_attrs=read-write")) == writable);
        CHECK(reached(dsn_of(ports, "target_session_attrs=read-only")) == read_only);
        CHECK(reached(dsn_of(ports, "target_session_attrs=any")) == ports.front());
    }
    const auto failure = failure_to_reach(dsn_of({read_only}, "target_session_attrs=read-write"));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("read-only"));
}

TEST_CASE("target_session_attrs tells a standby from a primary, in whatever order they are listed",
          "[several_servers]") {
    txscope::TemporaryPostgres standby;
    standby.stop();
    std::ofstream{standby.data_directory() / "standby.signal"};  // it stays in recovery
    standby.start();
    const std::uint16_t primary = server().port();
    const std::uint16_t in_recovery = standby.port();
    const auto chosen = [](const Ports& ports, const std::string& attributes) {
        return reached(dsn_of(ports, "target_session_attrs=" + attributes));
    };
    for (const Ports& ports : {Ports{primary, in_recovery}, Ports{in_recovery, primary}}) {
        CAPTURE(ports);
        CHECK(chosen(ports, "any") == ports.front());
        CHECK(chosen(ports, "read-write") == primary);
        CHECK(chosen(ports, "read-only") == in_recovery);
        CHECK(chosen(ports, "primary") == primary);
        CHECK(chosen(ports, "standby") == in_recovery);
        CHECK(chosen(ports, "prefer-standby") == in_recovery);
    }
    CHECK(chosen({primary, primary}, "prefer-standby") == primary);
    for (const auto& [port, attributes] : {std::pair{in_recovery, "primary"}, {primary, "standby"}})
        CHECK(is<txscope::ConnectionFailed>(
            failure_to_reach(dsn_of({port}, "target_session_attrs=" + std::string{attributes}))));
}

TEST_CASE("target_session_attrs holds among the servers that are left when one is passed over",
          "[several_servers]") {
    const SilentServer silent;
    const Ports ports{replica().port(), silent.port(), server().port()};
    CHECK(reached_past_silence(ports, "target_session_attrs=read-write") == server().port());
}

TEST_CASE("no server but the silent one is passed over: one that was second choice is still there",
          "[several_servers]") {
    const SilentServer silent;
    CHECK(reached_past_silence({server().port(), silent.port()},
                               "target_session_attrs=prefer-standby") == server().port());
}

}  // namespace several_servers
