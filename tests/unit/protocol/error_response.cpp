#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/error_response.hpp>

#include <string>

using namespace txscope::protocol;
using namespace std::string_literals;
namespace server = support::server_message;

TEST_CASE("an error's fields are found, and those that were not sent are empty", "[protocol]") {
    const std::string fields =
        "SFEHLER\0VERROR\0C23505\0Mduplicate\0DKey (id)=(1)\0P42\0spublic\0"
        "tthings\0nthings_pkey\0Rcheck\0"s;
    const auto error = ErrorResponse::parse(fields + '\0');
    REQUIRE(error);
    CHECK(error->severity() == "ERROR");
    CHECK((*error)[ErrorField::localized_severity] == "FEHLER");
    CHECK(error->sqlstate() == "23505");
    CHECK(error->message() == "duplicate");
    CHECK((*error)[ErrorField::detail] == "Key (id)=(1)");
    CHECK((*error)[ErrorField::schema] == "public");
    CHECK((*error)[ErrorField::table] == "things");
    CHECK((*error)[ErrorField::constraint] == "things_pkey");
    CHECK((*error)[ErrorField::routine] == "check");
    CHECK((*error)[ErrorField::hint].empty());
    CHECK(error->position() == 42);
    CHECK(error->own_sqlstate() == "23505");
    CHECK_FALSE(error->ends_session());
}

TEST_CASE("FATAL and PANIC end the session", "[protocol]") {
    const auto ends = [](std::string_view severity) {
        return ErrorResponse::parse(server::error_body("57P01", "", severity))->ends_session();
    };
    CHECK(ends("FATAL"));
    CHECK(ends("PANIC"));
    CHECK_FALSE(ends("ERROR"));
    CHECK_FALSE(ends(""));
}

TEST_CASE("FATAL ends the session where only what a server translates is sent", "[protocol]") {
    CHECK(ErrorResponse::parse("SFATAL\0C08P01\0Mserver conn crashed?\0\0"s)->ends_session());
}

TEST_CASE("an error with a context came from within a function", "[protocol]") {
    CHECK(ErrorResponse::parse("C26000\0WPL/pgSQL function f()\0\0"s)->own_sqlstate().empty());
    CHECK(ErrorResponse::parse("\0"s)->position() == -1);
    CHECK(ErrorResponse::parse("Pfar away\0\0"s)->position() == -1);
}

TEST_CASE("what is not terminated is no error", "[protocol]") {
    CHECK(ErrorResponse::parse("\0"s));
    for (const std::string& body : {""s, "M"s, "Mtext"s, "Mtext\0"s, "\0\0"s, "Mtext\0\0C"s})
        CHECK_FALSE(ErrorResponse::parse(body));
}
