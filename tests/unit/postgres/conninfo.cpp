#include "support/catch.hpp"
#include "support/environment_variable.hpp"
#include "support/failure.hpp"
#include <txscope/core/error.hpp>
#include <txscope/postgres/conninfo.hpp>
#include <txscope/postgres/detail/connect.hpp>
#include <txscope/postgres/detail/conninfo.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using support::EnvironmentVariable;
using txscope::ConnectionFailed;
using txscope::with_parameter;
using txscope::detail::connect_timeout;
using txscope::detail::ConnInfo;
using txscope::detail::parse_conninfo;
using txscope::detail::split_list;

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
        const EnvironmentVariable silent{"PGGSSENCMODE", std::nullopt};
        CHECK(parse_conninfo("host=db").find("gssencmode") == "disable");
        CHECK(parse_conninfo("gssencmode=prefer").find("gssencmode") == "prefer");
    }
    const EnvironmentVariable demand{"PGGSSENCMODE", "require"};
    CHECK_FALSE(parse_conninfo("host=db").find("gssencmode"));  // libpq asks the environment
}

TEST_CASE("a peer that is gone is noticed within a minute, unless the string says otherwise",
          "[conninfo]") {
    const ConnInfo silent = parse_conninfo("host=db");
    CHECK(silent.find("keepalives_idle") == "30");
    CHECK(silent.find("keepalives_interval") == "10");
    CHECK(silent.find("keepalives_count") == "3");
    CHECK(silent.find("tcp_user_timeout") == "30000");
    const ConnInfo given = parse_conninfo("host=db keepalives_idle=5 tcp_user_timeout=0");
    CHECK(given.find("keepalives_idle") == "5");
    CHECK(given.find("tcp_user_timeout") == "0");
    CHECK_FALSE(parse_conninfo("service=app").find("tcp_user_timeout"));
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

TEST_CASE("a NUL character in a connection string is an error, where libpq would cut it there",
          "[conninfo]") {
    const std::string text{"host=a\0port=1", 13};
    CHECK_THROWS_AS(parse_conninfo(text), ConnectionFailed);
}

TEST_CASE("where the string is silent about host, port and patience, the environment speaks",
          "[conninfo]") {
    const EnvironmentVariable host{"PGHOST", "from.environment"};
    const EnvironmentVariable port{"PGPORT", "6543"};
    const EnvironmentVariable patience{"PGCONNECT_TIMEOUT", "7"};
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

TEST_CASE("connect_timeout is in seconds, and none where it says nothing of use", "[conninfo]") {
    const EnvironmentVariable none{"PGCONNECT_TIMEOUT", std::nullopt};
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

TEST_CASE("a password may be any text, whatever the connection string is written as",
          "[conninfo]") {
    for (const char* text :
         {"postgresql://me:old@one:1,two:2/"
          "app?target_session_attrs=read-write&options=-cgeqo%3Doff",
          "host=one,two port=1,2 user=me password=old dbname=app target_session_attrs=read-write "
          "options='-cgeqo=off'"})
        for (const char* password :
             {"new", "", "'", "\"", "\\", "\\'", "it's", "x' options='-csearch_path=evil",
              "x' dbname='other", "a b", " a ", "a=b", "100%", "%27", "p@ss/w:rd?#&",
              "p\u00e4ss\u6f22", "line\nbreak", "postgresql://other"}) {
            CAPTURE(text, password);
            const ConnInfo before = parse_conninfo(text);
            ConnInfo after = parse_conninfo(with_parameter(text, "password", password));
            CHECK(after.find("password") == password);
            after.parameters["password"] = "old";
            CHECK(after.parameters == before.parameters);
        }
}

TEST_CASE("a parameter that the connection string does not have is added", "[conninfo]") {
    CHECK(parse_conninfo(with_parameter("", "password", "x")).find("password") == "x");
    CHECK(parse_conninfo(with_parameter("postgresql:///app", "user", "me")).find("user") == "me");
    CHECK(parse_conninfo(with_parameter("user='o\\'brien'", "port", "1")).find("user") ==
          "o'brien");
}

TEST_CASE("what is wrong with a connection string is told without a password in it", "[conninfo]") {
    const auto text_of = [](const std::string& conninfo, std::string_view keyword,
                            std::string_view value) {
        const auto failure = support::failure_of([&] { with_parameter(conninfo, keyword, value); });
        CHECK(support::is<ConnectionFailed>(failure));
        return support::text_of(failure);
    };
    CHECK_THAT(text_of("password=secret host='open", "password", "secret"),
               ContainsSubstring("unterminated") && !ContainsSubstring("secret"));
    CHECK_THAT(text_of("postgresql://me:x@secret@db/app", "password", "secret"),
               ContainsSubstring("a host with an @") && !ContainsSubstring("secret"));
    CHECK_THAT(text_of("postgresql://me:x/secret@db/app", "password", "secret"),
               !ContainsSubstring("secret"));
    CHECK_THAT(
        text_of("host=db", "secret", "password"),
        ContainsSubstring("a keyword that libpq does not know") && !ContainsSubstring("secret"));
    CHECK_THAT(text_of("host=db", "password", std::string_view{"secret\0", 7}),
               ContainsSubstring("NUL") && !ContainsSubstring("secret"));
}
