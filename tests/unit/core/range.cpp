#include "support/catch.hpp"
#include <txscope/core/range.hpp>

#include <string>
#include <vector>

using txscope::Multirange;
using txscope::Range;
using txscope::SqlValue;
using txscope::ValueError;

namespace {

using Numbers = Range<int>;
using Texts = Range<std::string>;

template <typename T>
void check_round_trip(const T& value, const std::string& text) {
    CHECK(SqlValue<T>::to_text(value) == text);
    CHECK(SqlValue<T>::from_text(text) == value);
}

}  // namespace

TEST_CASE("a range is written with its bounds and what they include", "[range]") {
    check_round_trip(Numbers{.lower = 1, .upper = 5}, R"(["1","5"))");
    check_round_trip(
        Numbers{.lower = -1, .upper = 5, .includes_lower = false, .includes_upper = true},
        R"(("-1","5"])");
    check_round_trip(Numbers{}, "(,)");
    check_round_trip(Numbers{.lower = 1}, R"(["1",))");
    check_round_trip(Numbers{.empty = true}, "empty");
    check_round_trip(Texts{.lower = "", .upper = "a,b\"\\)"}, R"x(["","a,b\"\\)"))x");
}

TEST_CASE("a range is read as PostgreSQL writes it", "[range]") {
    CHECK(SqlValue<Numbers>::from_text("[1,5)") == Numbers{.lower = 1, .upper = 5});
    CHECK(SqlValue<Texts>::from_text(R"x(("a ""b"" \\",])x").lower == "a \"b\" \\");
    for (const char* text :
         {"", "1,5", "[1,5", "[1)", "[1,2,3)", "[a,5)", "[1,5) ", "emptyx", "{}", "[1,\"5)"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<Numbers>::from_text(text), ValueError);
    }
}

TEST_CASE("ranges are equal that differ in what has no meaning", "[range]") {
    CHECK(Numbers{.includes_lower = true} == Numbers{.includes_lower = false});
    CHECK(Numbers{.lower = 1, .empty = true} == Numbers{.empty = true});
    CHECK_FALSE(Numbers{.empty = true} == Numbers{});
    CHECK_FALSE(Numbers{.lower = 1} == Numbers{.lower = 1, .includes_lower = false});
}

TEST_CASE("a multirange is several ranges", "[range]") {
    check_round_trip(Multirange<int>{}, "{}");
    check_round_trip(Multirange<int>{{{.upper = 0}, {.lower = 2, .upper = 3}}},
                     R"x({(,"0"),["2","3")})x");
    CHECK(SqlValue<Multirange<int>>::from_text("{[1,2),[3,4)}").ranges.size() == 2);
    for (const char* text : {"", "[1,2)", "{[1,2)", "{[1,2),}", "{[1,2)[3,4)}", "{}x"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<Multirange<int>>::from_text(text), ValueError);
    }
}
