#include "support/catch.hpp"
#include <txscope/postgres/detail/statement_text.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

using txscope::detail::StatementText;

namespace {

// Short ones lie in the object, long ones outside.
std::string text_of(std::size_t size) { return std::string(size, 'x') + "end"; }

std::string_view view(const StatementText& text) { return text; }

}  // namespace

TEST_CASE("a text grows beyond its own room, and keeps what it has", "[statement_text]") {
    StatementText text;
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        text += std::to_string(i);
        expected += std::to_string(i);
        REQUIRE(view(text) == expected);
    }
    text.truncate(5);
    CHECK(view(text) == expected.substr(0, 5));
    text += "";
    text += std::string(5000, 'y');
    CHECK(view(text) == expected.substr(0, 5) + std::string(5000, 'y'));
}

TEST_CASE("a text that was moved from is empty, and may be used again", "[statement_text]") {
    const std::string expected = text_of(GENERATE(std::size_t{10}, std::size_t{1000}));
    StatementText from;
    from += expected;
    StatementText to{std::move(from)};
    CHECK(view(to) == expected);
    CHECK(view(from).empty());
    from += "again";
    CHECK(view(from) == "again");
    to = std::move(from);
    CHECK(view(to) == "again");
}

TEST_CASE("a copy of a text is one of its own", "[statement_text]") {
    const std::string expected = text_of(GENERATE(std::size_t{10}, std::size_t{1000}));
    StatementText original;
    original += expected;
    StatementText copy{original};
    original += "more";
    CHECK(view(copy) == expected);
    copy = original;
    CHECK(view(copy) == expected + "more");
}
