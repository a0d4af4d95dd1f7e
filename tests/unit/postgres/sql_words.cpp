#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/postgres/detail/sql_words.hpp>

#include <string>
#include <string_view>
#include <vector>

using txscope::detail::SqlWords;

namespace {

using Words = std::vector<std::string_view>;

Words words_of(std::string_view sql) {
    SqlWords words{sql};
    Words found;
    for (auto word = words.next(); !word.empty(); word = words.next()) found.push_back(word);
    return found;
}

}  // namespace

TEST_CASE("the words of an SQL text are those outside of quotes and comments", "[sql_words]") {
    CHECK(words_of("").empty());
    CHECK(words_of("SELECT a1, b_2 FROM t") == Words{"SELECT", "a1", "b_2", "FROM", "t"});
    CHECK(words_of(" \t\n(;,*select(1)") == Words{"select", "1"});
    CHECK(words_of("a 'it''s b' c") == Words{"a", "c"});
    CHECK(words_of("a 'b\\' c 'd' e") == Words{"a", "c", "e"});
    CHECK(words_of("a E'b\\' c' d e'\\\\' f") == Words{"a", "E", "d", "e", "f"});
    CHECK(words_of("a $$it's$$ b $x$ $$ c' $x$ d $1 e") == Words{"a", "b", "d", "1", "e"});
    CHECK(words_of("a$b$ c$b$ 'd' $1 + $2") == Words{"a$b$", "c$b$", "1", "2"});
    CHECK(words_of("a -- b ' c\nd") == Words{"a", "d"});
    CHECK(words_of("a /* b /* c */ d ' */ e") == Words{"a", "e"});
    CHECK(words_of("a 'open b") == Words{"a"});
    CHECK(words_of("a /* open b") == Words{"a"});
    CHECK(words_of("a -- open b") == Words{"a"});
    CHECK(words_of("größe + 1-2") == Words{"größe", "1", "2"});
    CHECK(words_of("DO $$ BEGIN x; END $$") == Words{"DO"});
    CHECK(words_of("a $$open b") == Words{"a"});
    CHECK(words_of("a E'open\\") == Words{"a", "E"});
}

TEST_CASE("a quoted name is a word, whatever stands in it", "[sql_words]") {
    CHECK(words_of("a \"b\".c") == Words{"a", "b", "c"});
    CHECK(words_of("a \"it's\" b") == Words{"a", "it's", "b"});
    CHECK(words_of("a \"\"\"\" b") == Words{"a", "b"});
    CHECK(words_of("a \",\" b") == Words{"a", "b"});
}

TEST_CASE("the time to read an SQL text grows with its length, not faster", "[sql_words]") {
    const auto read = [](std::size_t length) {
        std::string sql = "SELECT $1";
        while (sql.size() < length) sql += ", value";
        CHECK(words_of(sql).size() > length / 8);
    };
    CHECK(support::growth(1'000'000, read) < 24);
}

TEST_CASE("keywords are compared whatever their case", "[sql_words]") {
    CHECK(SqlWords::is("select", "SELECT"));
    CHECK(SqlWords::is("SeLeCt", "SELECT"));
    CHECK_FALSE(SqlWords::is("selec", "SELECT"));
    CHECK_FALSE(SqlWords::is("selects", "SELECT"));
    CHECK_FALSE(SqlWords::is("", "SELECT"));
    CHECK(SqlWords::is_one_of("set", {"SELECT", "SET"}));
    CHECK_FALSE(SqlWords::is_one_of("sets", {"SELECT", "SET"}));
}
