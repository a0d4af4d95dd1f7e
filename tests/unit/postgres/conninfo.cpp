#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/connect.hpp>
#include <txscope/postgres/detail/conninfo.hpp>
#include <txscope/postgres/detail/resolve.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <netdb.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using txscope::ConnectionFailed;
using txscope::detail::connect_timeout;
using txscope::detail::ConnInfo;
using txscope::detail::parse_conninfo;
using txscope::detail::resolve_hosts;
using txscope::detail::ServerAddress;
using txscope::detail::split_list;

namespace {

// An environment variable that is set, or absent, for as long as this lives.
class Environment {
public:
    Environment(std::string name, const std::optional<std::string>& value)
        : name_{std::move(name)} {
        if (const char* before = std::getenv(name_.c_str())) before_ = before;
        put(value);
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;
    ~Environment() { put(before_); }

private:
    void put(const std::optional<std::string>& value) const {
        if (value)
            ::setenv(name_.c_str(), value->c_str(), 1);
        else
            ::unsetenv(name_.c_str());
    }
    std::string name_;
    std::optional<std::string> before_;
};

std::vector<ServerAddress> resolve(const std::string& text) {
    ConnInfo info = parse_conninfo(text);
    asio::io_context io;
    const auto deadline = std::chrono::steady_clock::now() + support::patience;
    support::run(io, resolve_hosts(io.get_executor(), info, deadline));
    return info.servers;
}

using Servers = std::vector<ServerAddress>;

}  // namespace

TEST_CASE("a connection string is read as libpq reads it", "[conninfo]") {
    SECTION("keywords") {
        const ConnInfo info = parse_conninfo("host=db port=5433 user='o\\'brien' dbname = 'a b'");
        CHECK(info.find("host") == "db");
        CHECK(info.find("port") == "5433");
        CHECK(info.find("dbname") == "a b");
    }
    SECTION("a URI") {
        const ConnInfo info = parse_conninfo(
            "postgresql://me:s%20ecret@one:1,two:2/app?target_session_attrs=read-write");
        CHECK(info.find("host") == "one,two");
        CHECK(info.find("port") == "1,2");
        CHECK(info.find("user") == "me");
        CHECK(info.find("password") == "s ecret");
        CHECK(info.find("dbname") == "app");
        CHECK(info.find("target_session_attrs") == "read-write");
        CHECK_FALSE(info.find("sslmode"));
    }
    SECTION("an IPv6 address in a URI") {
        CHECK(parse_conninfo("postgresql://[2001:db8::1]:5433/app").find("host") == "2001:db8::1");
    }
}

TEST_CASE("encryption by GSS is switched off unless it is asked for", "[conninfo]") {
    {
        const Environment silent{"PGGSSENCMODE", std::nullopt};
        CHECK(parse_conninfo("host=db").find("gssencmode") == "disable");
        CHECK(parse_conninfo("gssencmode=prefer").find("gssencmode") == "prefer");
    }
    const Environment demand{"PGGSSENCMODE", "require"};
    CHECK_FALSE(parse_conninfo("host=db").find("gssencmode"));  // libpq asks the environment
}

TEST_CASE("a malformed connection string is a typed error with libpq's reason", "[conninfo]") {
    for (const char* text :
         {"nonsense", "host", "no_such_keyword=1", "host='open", "postgresql://[::1",
          "postgresql:///app?no_such_parameter=1", "postgresql://host/app?sslmode=%zz"}) {
        CAPTURE(text);
        const auto failure = support::failure_of([&] { parse_conninfo(text); });
        CHECK(support::is<ConnectionFailed>(failure));
        CHECK_THAT(support::text_of(failure), ContainsSubstring("malformed connection string: "));
        CHECK(support::text_of(failure).find('\n') == std::string::npos);
    }
}

TEST_CASE("the error about a malformed URI does not show the password in it", "[conninfo]") {
    const auto failure = support::failure_of([] { parse_conninfo("postgresql://me:secret@[::1"); });
    CHECK_THAT(support::text_of(failure), ContainsSubstring("end of string"));
    CHECK(support::text_of(failure).find("secret") == std::string::npos);
}

TEST_CASE("no error about a connection string shows a password in it", "[conninfo]") {
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

TEST_CASE("a NUL character in a connection string is an error, where libpq would cut it there",
          "[conninfo]") {
    const std::string text{"host=a\0port=1", 13};
    CHECK_THROWS_AS(parse_conninfo(text), ConnectionFailed);
}

TEST_CASE("where the string is silent about host, port and patience, the environment speaks",
          "[conninfo]") {
    const Environment host{"PGHOST", "from.environment"};
    const Environment port{"PGPORT", "6543"};
    const Environment patience{"PGCONNECT_TIMEOUT", "7"};
    SECTION("silent") {
        const ConnInfo info = parse_conninfo("dbname=app");
        CHECK(info.find("host") == "from.environment");
        CHECK(info.find("port") == "6543");
        CHECK(connect_timeout(info) == std::chrono::seconds{7});
    }
    SECTION("not silent") {
        const ConnInfo info = parse_conninfo("host=given port=1 connect_timeout=2");
        CHECK(info.find("host") == "given");
        CHECK(info.find("port") == "1");
        CHECK(connect_timeout(info) == std::chrono::seconds{2});
    }
    SECTION("a service is left to libpq") {
        CHECK_FALSE(parse_conninfo("service=app").find("host"));
    }
}

TEST_CASE("lists are split at commas, and may have empty items", "[conninfo]") {
    using Items = std::vector<std::string>;
    CHECK(split_list("") == Items{""});
    CHECK(split_list("a") == Items{"a"});
    CHECK(split_list("a,b") == Items{"a", "b"});
    CHECK(split_list(",a,") == Items{"", "a", ""});
}

TEST_CASE("numeric addresses and sockets are taken as they are, in the order given", "[conninfo]") {
    CHECK(resolve("host=127.0.0.1,/run/postgresql,::1 port=1,2,3") ==
          Servers{
              {"127.0.0.1", "127.0.0.1", "1"}, {"/run/postgresql", "", "2"}, {"::1", "::1", "3"}});
    CHECK(resolve("host=@abstract port=5") == Servers{{"@abstract", "", "5"}});
}

TEST_CASE("one port goes for all hosts", "[conninfo]") {
    CHECK(resolve("host=127.0.0.1,127.0.0.2 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}, {"127.0.0.2", "127.0.0.2", "7"}});
}

TEST_CASE("a port that is not given is PostgreSQL's own", "[conninfo]") {
    const Environment none{"PGPORT", std::nullopt};
    CHECK(resolve("host=127.0.0.1,127.0.0.2 port=,7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "5432"}, {"127.0.0.2", "127.0.0.2", "7"}});
    CHECK(resolve("host=127.0.0.1") == Servers{{"127.0.0.1", "127.0.0.1", "5432"}});
}

TEST_CASE("an address that is given is not looked up", "[conninfo]") {
    CHECK(resolve("host=no.such.host.invalid hostaddr=127.0.0.1 port=7") ==
          Servers{{"no.such.host.invalid", "127.0.0.1", "7"}});
    CHECK(resolve("hostaddr=127.0.0.1,127.0.0.2 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}, {"127.0.0.2", "127.0.0.2", "7"}});
}

TEST_CASE("addresses are written as libpq writes them", "[conninfo]") {
    CHECK(resolve("hostaddr=0:0:0:0:0:0:0:1 port=7") == Servers{{"0:0:0:0:0:0:0:1", "::1", "7"}});
}

TEST_CASE("a name gives an entry for every address it has", "[conninfo]") {
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

TEST_CASE("a name without an address is passed over while another host has one", "[conninfo]") {
    CHECK(resolve("host=no.such.host.invalid,127.0.0.1 port=7") ==
          Servers{{"127.0.0.1", "127.0.0.1", "7"}});
}

TEST_CASE("when no name has an address the error names them all", "[conninfo]") {
    const auto failure =
        support::failure_of([] { resolve("host=one.invalid,two.invalid port=7"); });
    CHECK(support::is<ConnectionFailed>(failure));
    CHECK_THAT(support::text_of(failure), ContainsSubstring("\"one.invalid\""));
    CHECK_THAT(support::text_of(failure), ContainsSubstring("\"two.invalid\""));
}

TEST_CASE("lists of unequal length are left to libpq, which says what is wrong", "[conninfo]") {
    CHECK(resolve("host=127.0.0.1,127.0.0.2,127.0.0.3 port=1,2").empty());
    CHECK(resolve("host=127.0.0.1 hostaddr=127.0.0.1,127.0.0.2").empty());
}

TEST_CASE("connect_timeout is in seconds, and none where it says nothing of use", "[conninfo]") {
    const Environment none{"PGCONNECT_TIMEOUT", std::nullopt};
    using std::chrono::seconds;
    CHECK(connect_timeout(parse_conninfo("connect_timeout=3")) == seconds{3});
    CHECK(connect_timeout(parse_conninfo("connect_timeout=' 5 '")) == seconds{5});
    for (const char* text :
         {"connect_timeout=5x", "connect_timeout=soon", "connect_timeout=99999999999"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(connect_timeout(parse_conninfo(text)), ConnectionFailed);
    }
    for (const char* text :
         {"host=a", "connect_timeout=0", "connect_timeout=-1", "connect_timeout=''"}) {
        CAPTURE(text);
        CHECK(connect_timeout(parse_conninfo(text)) == std::nullopt);
    }
}
