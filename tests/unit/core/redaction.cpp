#include "support/catch.hpp"
#include <txscope/core/detail/redaction.hpp>

#include <array>
#include <string>
#include <string_view>

using txscope::detail::contains_word;
using txscope::detail::Redaction;
using txscope::detail::unquoted;

// What the errors of PostgreSQL become is in error.cpp.

namespace {

std::string without(std::string_view value, std::string_view message) {
    Redaction redaction{message};
    redaction.hide_value(value);
    return redaction.text();
}

}  // namespace

TEST_CASE("a value is hidden wherever it stands, in capitals or not", "[redaction]") {
    CHECK(without("secret", "SECRET, secrets and more") == "…, …s and more");
    CHECK(without("aaaa", "aaaaaa") == "…");
    CHECK(without("größe", "die größe 3") == "die … 3");
}

TEST_CASE("a value of fewer than four bytes is hidden as a word of its own only", "[redaction]") {
    CHECK(without("bob", "bob, bobby and (bob)") == "…, bobby and (…)");
    CHECK(without("1", "$1, x1, 11 and 1") == "$1, x1, 11 and …");
}

TEST_CASE("a value without a letter or a digit says nothing", "[redaction]") {
    CHECK(without("", "it failed") == "it failed");
    CHECK(without("--", "a -- b") == "a -- b");
}

TEST_CASE("what is hidden twice is one gap", "[redaction]") {
    Redaction redaction{"secret bob@example.com is taken"};
    redaction.hide_value("bob@example");
    redaction.hide_value("example.com");
    CHECK(redaction.text() == "secret … is taken");
}

TEST_CASE("a quoted part of a value is hidden, unless it is shown anyway", "[redaction]") {
    constexpr std::array<std::string_view, 1> values{"projects of bob"};
    constexpr std::array<std::string_view, 1> shown{"SELECT FROM projects"};
    Redaction redaction{R"("projects" or "bob" or "others")"};
    redaction.hide_quoted_parts_of(values, shown);
    CHECK(redaction.text() == R"("projects" or "…" or "others")");
}

TEST_CASE("where a value has quotation marks all between the first and the last is hidden",
          "[redaction]") {
    constexpr std::array<std::string_view, 1> values{R"(a "quoted" b)"};
    Redaction redaction{R"(near "quoted" and "b")"};
    redaction.hide_quoted_parts_of(values, {});
    CHECK(redaction.text() == R"(near "…")");
}

TEST_CASE("quotes and numbers are hidden, but not the size of a type", "[redaction]") {
    for (const auto& [message, shown] : {std::array{"value \"a\"b\" at 12:30", "value \"…\" at …"},
                                         std::array{"Wert »a« und 1.5e-3.", "Wert »…« und …."},
                                         std::array{"varying(5), $1, x2", "varying(5), $1, x2"},
                                         std::array{"cut off: \"secre", "cut off: \"…"}}) {
        Redaction redaction{message};
        redaction.hide_quotes_and_numbers();
        CHECK(redaction.text() == shown);
    }
}

TEST_CASE("quoted names are told by what they name", "[redaction]") {
    CHECK(unquoted(R"("a"."b""c")") == R"(a.b"c)");
    CHECK(unquoted("plain") == "plain");
    CHECK(unquoted(R"("open)") == "open");
}

TEST_CASE("a word is found as a whole only", "[redaction]") {
    CHECK(contains_word("SELECT name FROM projects", "projects"));
    CHECK_FALSE(contains_word("SELECT FROM projects_2, my_projects", "projects"));
    CHECK(contains_word("projects_2 projects", "projects"));
}
