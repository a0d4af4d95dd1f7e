#include "support/catch.hpp"
#include <txscope/values/hstore.hpp>

#include <map>
#include <optional>
#include <string>

using Map = std::map<std::string, std::optional<std::string>>;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("an hstore is a map whose values may be NULL", "[hstore]") {
    const Map map{{"", ""}, {"a", std::nullopt}, {"b", "NULL"}, {"k\"=>\\", "x, y"}};
    CHECK(SqlValue<Map>::to_text(map) == R"(""=>"","a"=>NULL,"b"=>"NULL","k\"=>\\"=>"x, y")");
    CHECK(SqlValue<Map>::from_text(R"(""=>"", "a"=>NULL, "b"=>"NULL", "k\"=>\\"=>"x, y")") == map);
    CHECK(SqlValue<Map>::to_text({}).empty());
    CHECK(SqlValue<Map>::from_text("").empty());
}

TEST_CASE("a text that is no hstore is refused", "[hstore]") {
    for (const char* text : {"a", "\"a\"", "\"a\"=>", "\"a\"=>b", "\"a\"=>\"b\",", "\"a\"=>\"b\", ",
                             "\"a\"=\"b\"", "\"a\"=>\"b\"x", "\"a\"=>\"b"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<Map>::from_text(text), ValueError);
    }
}
