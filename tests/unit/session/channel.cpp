#include "support/catch.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/detail/channel.hpp>

#include <pqxx/except>

#include <string>

using txscope::detail::listen_sql;
using txscope::detail::notify_statement;

TEST_CASE("the name of a channel stays one name, whatever it holds", "[channel]") {
    CHECK(listen_sql("jobs") == "LISTEN \"jobs\"");
    CHECK(listen_sql("Mixed Case") == "LISTEN \"Mixed Case\"");
    CHECK(listen_sql("a\"; DROP TABLE b; --") == "LISTEN \"a\"\"; DROP TABLE b; --\"");
}

TEST_CASE("channel and payload of a notification are parameters", "[channel]") {
    const auto statement = notify_statement("Jobs", "it's one");
    CHECK(statement.sql() == "SELECT pg_catalog.pg_notify($1, $2)");
    CHECK(statement.parameter(0) == "Jobs");
    CHECK(statement.parameter(1) == "it's one");
}

TEST_CASE("what the server would cut or refuse is refused", "[channel]") {
    CHECK_NOTHROW(listen_sql(std::string(63, 'x')));
    CHECK_NOTHROW(notify_statement(std::string(63, 'x'), std::string(7999, 'x')));
    for (const std::string& name : {std::string{}, std::string(64, 'x'), std::string{"a\0b", 3}}) {
        CHECK_THROWS_AS(listen_sql(name), pqxx::argument_error);
        CHECK_THROWS_AS(notify_statement(name, ""), pqxx::argument_error);
    }
    CHECK_THROWS_AS(notify_statement("jobs", std::string(8000, 'x')), pqxx::argument_error);
    CHECK_THROWS_AS(notify_statement("jobs", std::string{"a\0b", 3}), txscope::ValueError);
}
