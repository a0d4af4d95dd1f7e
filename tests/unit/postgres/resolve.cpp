#include "support/catch.hpp"
#include "support/environment_variable.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/conninfo.hpp>
#include <txscope/postgres/detail/resolve.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <netdb.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using txscope::ConnectionFailed;
using txscope::detail::ConnInfo;
using txscope::detail::parse_conninfo;
using txscope::detail::resolve_hosts;
using txscope::detail::ServerAddress;

namespace {

std::vector<ServerAddress> resolve(const std::string& text) {
    ConnInfo info = parse_conninfo(text);
    asio::io_context io;
    const auto deadline = std::chrono::steady_clock::now() + support::patience;
    support::run(io, resolve_hosts(io.get_executor(), info, deadline));
    return info.servers;
}

using Servers = std::vector<ServerAddress>;

}  // namespace

TEST_CASE("numeric addresses and sockets are taken as they are, in the order given", "[resolve]") {
    CHECK(resolve("host=127.0.0.1,/run/postgresql,::1 port=1,2,3") ==
          Servers{
              {"127.0.0.1", "127.0.0.1", "1"}, {"/run/postgresql", "", "2"}, {"::1", "::1", "3"}});
    CHECK(resolve("host=@abstract port=5") == Servers{{"@abstract", "", "5"}});
}

TEST_CASE("one port goes for all hosts", "[resolve]") {
    CHECK(resolve("host=127.0.0.1,127.0.0.2 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}, {"127.0.0.2", "127.0.0.2", "7"}});
}

TEST_CASE("a port that is not given is PostgreSQL's own", "[resolve]") {
    const support::EnvironmentVariable none{"PGPORT", std::nullopt};
    CHECK(resolve("host=127.0.0.1,127.0.0.2 port=,7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "5432"}, {"127.0.0.2", "127.0.0.2", "7"}});
    CHECK(resolve("host=127.0.0.1") == Servers{{"127.0.0.1", "127.0.0.1", "5432"}});
}

TEST_CASE("an address that is given is not looked up", "[resolve]") {
    CHECK(resolve("host=no.such.host.invalid hostaddr=127.0.0.1 port=7") ==
          Servers{{"no.such.host.invalid", "127.0.0.1", "7"}});
    CHECK(resolve("hostaddr=127.0.0.1,127.0.0.2 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}, {"127.0.0.2", "127.0.0.2", "7"}});
}

TEST_CASE("addresses are written as libpq writes them", "[resolve]") {
    CHECK(resolve("hostaddr=0:0:0:0:0:0:0:1 port=7") == Servers{{"0:0:0:0:0:0:0:1", "::1", "7"}});
}

TEST_CASE("a name gives an entry for every address it has", "[resolve]") {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* addresses = nullptr;
    REQUIRE(::getaddrinfo("localhost", nullptr, &hints, &addresses) == 0);
    Servers expected;  // two, where it has an IPv6 address as well
    for (const addrinfo* each = addresses; each != nullptr; each = each->ai_next) {
        char text[NI_MAXHOST];
        REQUIRE(::getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0,
                              NI_NUMERICHOST) == 0);
        expected.push_back({"localhost", text, "7"});
    }
    ::freeaddrinfo(addresses);
    CHECK(resolve("host=localhost port=7") == expected);
}

TEST_CASE("a name without an address is passed over while another host has one", "[resolve]") {
    CHECK(resolve("host=no.such.host.invalid,127.0.0.1 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}});
}

TEST_CASE("when no name has an address the error names them all", "[resolve]") {
    const auto failure =
        support::failure_of([] { resolve("host=one.invalid,two.invalid port=7"); });
    CHECK(support::is<ConnectionFailed>(failure));
    CHECK_THAT(support::text_of(failure), ContainsSubstring("\"one.invalid\""));
    CHECK_THAT(support::text_of(failure), ContainsSubstring("\"two.invalid\""));
}

TEST_CASE("lists of unequal length are left to libpq, which says what is wrong", "[resolve]") {
    CHECK(resolve("host=127.0.0.1,127.0.0.2,127.0.0.3 port=1,2").empty());
    CHECK(resolve("host=127.0.0.1 hostaddr=127.0.0.1,127.0.0.2").empty());
}

TEST_CASE("no error about a connection string shows a password in it", "[resolve]") {
    for (const char* text :
         {"postgresql://me:100%secret@host/db", "postgresql://me:secret@[::1/db\n",
          "postgresql://me:more  secret@[::1/db", "postgresql://me:a\"secret@[::1",
          "postgresql://host/db?secret", "postgresql://host/db?password=a&secret=b",
          "postgresql://host/db?password=a=secret", "postgresql://me:a@secret@host/db",
          "postgresql://me:secret/b@host/db", "host=a password=my secret",
          "host=a password=my secret=b"}) {
        CAPTURE(text);
        const auto failure = support::failure_of([&] { resolve(text); });
        CHECK(support::is<ConnectionFailed>(failure));
        CHECK(support::text_of(failure).find("secret") == std::string::npos);
    }
}
