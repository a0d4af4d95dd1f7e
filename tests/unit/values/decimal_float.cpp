#include "support/catch.hpp"
#include <txscope/values/decimal_float.hpp>

#include <boost/multiprecision/cpp_dec_float.hpp>

#include <limits>
#include <string>

using boost::multiprecision::cpp_dec_float_50;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("a decimal number comes back with every digit", "[decimal_float]") {
    using Limits = std::numeric_limits<cpp_dec_float_50>;
    const cpp_dec_float_50 third = cpp_dec_float_50{1} / 3;
    for (const cpp_dec_float_50& number :
         {cpp_dec_float_50{0}, cpp_dec_float_50{-1}, cpp_dec_float_50{"19.90"}, third,
          cpp_dec_float_50{third * 1000}, cpp_dec_float_50{cpp_dec_float_50{"1e30"} + third},
          Limits::infinity(), -Limits::infinity()}) {
        const std::string text = SqlValue<cpp_dec_float_50>::to_text(number);
        INFO("text: " << text);
        CHECK(SqlValue<cpp_dec_float_50>::from_text(text) == number);
    }
    CHECK(SqlValue<cpp_dec_float_50>::to_text(Limits::quiet_NaN()) == "NaN");
    CHECK(isnan(SqlValue<cpp_dec_float_50>::from_text("NaN")));
}

TEST_CASE("a number with more digits than its type is refused, not rounded", "[decimal_float]") {
    const std::string many(120, '7');
    CHECK_THROWS_AS(SqlValue<cpp_dec_float_50>::from_text(many), ValueError);
    CHECK_THROWS_AS(SqlValue<cpp_dec_float_50>::from_text("-0." + many), ValueError);
    CHECK(SqlValue<cpp_dec_float_50>::from_text("1" + std::string(120, '0')) ==
          cpp_dec_float_50{"1e120"});
    CHECK(SqlValue<cpp_dec_float_50>::from_text("1." + std::string(120, '0')) == 1);
    for (const char* text : {"x", "1,5", " 1", "--1"})
        CHECK_THROWS_AS(SqlValue<cpp_dec_float_50>::from_text(text), ValueError);
}
