#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include "support/silent_server.hpp"
#include "support/tls_access.hpp"
#include <txscope/core/error.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/postgres/connection.hpp>

#include <boost/asio/io_context.hpp>

#include <string>
#include <vector>

// Why a connection could not be opened, and whether that may pass.
namespace connection_failures {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using txscope::ConnectionFailed;

ConnectionFailed failure_of(const std::string& dsn) {
    asio::io_context io;
    const auto deadline = txscope::detail::deadline_in(support::patience);
    try {
        support::run(io, txscope::Connection::open(io.get_executor(), dsn, 16, deadline));
    } catch (const ConnectionFailed& failure) {
        CHECK_THAT(failure.what(), !ContainsSubstring("LOCATION") && !ContainsSubstring("\n") &&
                                       ContainsSubstring(failure.sqlstate()));
        return failure;
    }
    FAIL("a connection was opened");
    throw;
}

struct Expected {
    std::string dsn;
    bool is_transient;
    std::string sqlstate;
};

void check(const std::vector<Expected>& failures) {
    for (const auto& [dsn, is_transient, sqlstate] : failures) {
        const ConnectionFailed failure = failure_of(dsn);
        CAPTURE(dsn, failure.what());
        CHECK(failure.is_transient() == is_transient);
        CHECK(failure.sqlstate() == sqlstate);
    }
}

TEST_CASE("a server that is not to be reached may come back", "[connection_failures]") {
    const support::DeadPort nobody;
    const support::SilentServer silent;
    check({{nobody.dsn(), true, ""},
           {"host=/no/such/folder user=postgres", true, ""},
           {silent.dsn() + " connect_timeout=1", true, ""}});
}

TEST_CASE("what is wrong with the connection string stays", "[connection_failures]") {
    check({{"nonsense", false, ""},
           {"host=127.0.0.1,127.0.0.1 port=1,2,3", false, ""},
           {"host=127.0.0.1 port=99999", false, ""},
           {"host=127.0.0.1 target_session_attrs=sometimes", false, ""},
           {"host=127.0.0.1 sslmode=perhaps", false, ""},
           {"hostaddr=nowhere port=1", false, ""},
           {"service=no_such_service", false, ""}});
}

TEST_CASE("a login that is refused stays so, and the server's code is told",
          "[connection_failures]") {
    txscope::TemporaryPostgresOptions options;
    options.password = "right";
    const txscope::TemporaryPostgres server{options};
    check({{server.dsn() + " password=wrong", false, "28P01"},
           {server.dsn() + " password=''", false, ""},
           {server.dsn("no_such_database"), false, "3D000"},
           {server.tcp_dsn() + " options='-c no.such=1 -c work_mem=much'", false, "22023"}});
}

TEST_CASE("what TLS refuses stays so", "[connection_failures]") {
    txscope::TemporaryPostgres server;
    const std::string plain = server.tcp_dsn() + " sslmode=require";
    check({{plain, false, ""}});

    const support::TlsAccess access{server};
    access.write("stranger.crt", support::Authority{"stranger"}.pem());
    const support::Certificate stranger = support::Authority{"stranger"}.issue("postgres");
    access.write("strange.crt", stranger.certificate);
    access.write("strange.key", stranger.key);
    const auto dsn = [&](const support::TlsAccess::Parameters& parameters) {
        return access.dsn("postgres", parameters);
    };
    check({{dsn({{"sslrootcert", access.path("stranger.crt")}}), false, ""},
           {dsn({{"sslrootcert", access.path("none.crt")}}), false, ""},
           {dsn({{"host", "127.0.0.1"}}), false, ""},
           {dsn({{"sslcert", access.path("none.crt")}}), false, "28000"},
           {dsn({{"sslcert", access.path("strange.crt")}, {"sslkey", access.path("strange.key")}}),
            false, ""},
           {dsn({{"password", "another"}}), false, "28P01"}});
}

TEST_CASE("a server that has no room, or is not ready, is worth another attempt",
          "[connection_failures]") {
    txscope::TemporaryPostgresOptions options;
    options.max_connections = 5;
    options.settings = {"superuser_reserved_connections = 0", "max_wal_senders = 0",
                        "hot_standby = off"};
    txscope::TemporaryPostgres server{options};
    {
        std::vector<support::Client> others;
        for (int i = 0; i < 5; ++i) others.emplace_back(server.dsn());
        check({{server.dsn(), true, "53300"}, {server.tcp_dsn(), true, "53300"}});
    }
    CHECK_THAT(failure_of(server.tcp_dsn() + " host=localhost dbname=none").what(),
               ContainsSubstring("\"localhost\" (127.0.0.1), port ") &&
                   ContainsSubstring("(SQLSTATE 3D000)"));
}

TEST_CASE("a connection that ends before the server has said anything may be opened later",
          "[connection_failures]") {
    support::FaultProxy proxy{support::server()};
    const auto direction = support::Direction::to_client;
    SECTION("in its start-up") { proxy.cut(support::before_message(direction, 1)); }
    SECTION("in the middle of it") { proxy.cut(support::before_message(direction, 4)); }
    SECTION("with a reset") { proxy.reset(support::before_message(direction, 1)); }
    check({{proxy.dsn(), true, ""}});
}

}  // namespace connection_failures
