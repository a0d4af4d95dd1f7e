#include "support/catch.hpp"
#include <txscope/values/json.hpp>

#include <boost/json/value.hpp>

#include <string>

using boost::json::value;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("a JSON value is written and read as JSON", "[json]") {
    for (const char* text : {"null", "true", "-7", "\"a\\\"\\\\b\"", "[]", "{}",
                             R"({"a":[1,2,{"b":null}],"c":"d"})"}) {
        CHECK(SqlValue<value>::to_text(SqlValue<value>::from_text(text)) == text);
    }
    CHECK(SqlValue<value>::from_text("1.5").as_double() == 1.5);
    const std::string deep = std::string(1000, '[') + std::string(1000, ']');
    CHECK(SqlValue<value>::to_text(SqlValue<value>::from_text(deep)) == deep);
}

TEST_CASE("a text that is no JSON is refused, and not shown", "[json]") {
    for (const char* text : {"", "{", "secret", "1 2", "{a:1}"}) {
        INFO("text: " << text);
        CHECK_THROWS_WITH(SqlValue<value>::from_text(text), "the text is not JSON");
    }
}

TEST_CASE("a NUL in a JSON text is escaped, not sent", "[json]") {
    std::string text;
    CHECK(txscope::detail::append_parameter(text, value(std::string_view{"a\0b", 3})));
    CHECK(text == R"("a\u0000b")");
}
