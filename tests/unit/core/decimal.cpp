#include "support/catch.hpp"
#include <txscope/core/decimal.hpp>

#include <cstdint>
#include <limits>
#include <string>

using txscope::Decimal;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("a decimal keeps its text digit for digit", "[decimal]") {
    for (const char* text :
         {"0", "-0", "+1", "1.0", "1.00", "-12.50", ".5", "5.", "1e-7", "1E+400", "NaN", "Infinity",
          "-Infinity", "123456789012345678901234567890.123456789012345678901234567890"}) {
        INFO("text: " << text);
        CHECK(Decimal{text}.text() == text);
        CHECK(SqlValue<Decimal>::to_text(SqlValue<Decimal>::from_text(text)) == text);
    }
}

TEST_CASE("a text that is no decimal number is refused", "[decimal]") {
    for (const char* text : {"", " 1", "1 ", "-", ".", "e5", "1e", "1e+", "1.2.3", "--1", "1,5",
                             "0x1", "nan", "inf", "-NaN", "1\n"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(Decimal{text}, ValueError);
    }
    CHECK_THROWS_AS((Decimal{std::string{"1\0", 2}}), ValueError);
}

TEST_CASE("a decimal is made of any integer, and equal where the text is", "[decimal]") {
    CHECK(Decimal{} == Decimal{0});
    CHECK(Decimal{std::numeric_limits<std::int64_t>::min()}.text() == "-9223372036854775808");
    CHECK(Decimal{std::numeric_limits<std::uint64_t>::max()}.text() == "18446744073709551615");
    CHECK(Decimal{"NaN"} == Decimal{"NaN"});
    CHECK_FALSE(Decimal{"1.0"} == Decimal{"1.00"});
}
