#include "support/catch.hpp"
#include <txscope/core/detail/type_words.hpp>

#include <cstdint>
#include <optional>
#include <string>

using txscope::detail::type_words;

namespace type_words_test {
struct Colour {};
}  // namespace type_words_test

namespace {
enum class Mood {
    sad
};
}  // namespace

TEST_CASE("a type is named as its reader would call it", "[type_words]") {
    CHECK(type_words<std::int16_t>() == "a 16-bit integer");
    CHECK(type_words<std::uint64_t>() == "an unsigned 64-bit integer");
    CHECK(type_words<bool>() == "a bool");
    CHECK(type_words<float>() == "a floating-point number");
    CHECK(type_words<std::string>() == "a text");
    CHECK(type_words<type_words_test::Colour>() == "type_words_test::Colour");
    CHECK(type_words<Mood>() == "Mood");
}

TEST_CASE("an optional is named as what it may hold", "[type_words]") {
    CHECK(type_words<std::optional<int>>() == "a 32-bit integer");
}

TEST_CASE("a character is neither a number nor an integer", "[type_words]") {
    using namespace txscope::detail;
    STATIC_REQUIRE(Integer<std::int8_t> && Integer<std::uint8_t> && Integer<long long>);
    STATIC_REQUIRE_FALSE(Integer<char> || Integer<char16_t> || Integer<wchar_t> || Integer<bool>);
    STATIC_REQUIRE(Number<double>);
    STATIC_REQUIRE_FALSE(Number<char> || Number<bool> || Number<std::string>);
}
