#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/multiprecision/cpp_dec_float.hpp>

#include <ios>
#include <limits>
#include <string>
#include <string_view>

namespace txscope {

/// `numeric` as a number of Boost.Multiprecision that calculates in decimal, `cpp_dec_float_50` and the
/// like. One of more digits than the type has is refused, never rounded.
template <unsigned digits, typename Exponent, typename Allocator,
          boost::multiprecision::expression_template_option templates>
struct SqlValue<boost::multiprecision::number<
    boost::multiprecision::cpp_dec_float<digits, Exponent, Allocator>, templates>> {
    using Number = boost::multiprecision::number<
        boost::multiprecision::cpp_dec_float<digits, Exponent, Allocator>, templates>;
    using Limits = std::numeric_limits<Number>;
    static constexpr std::string_view type_names[] = {"numeric"};

    static std::string to_text(const Number& number) {
        if (isnan(number)) return "NaN";
        if (isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
        return number.str(Limits::max_digits10, std::ios_base::scientific);
    }

    static Number from_text(std::string_view text) {
        if (text == "NaN") return Limits::quiet_NaN();
        if (text == "Infinity") return Limits::infinity();
        if (text == "-Infinity") return -Limits::infinity();
        const std::string wanted = significant_digits(text);
        const Number number{std::string{text}};
        if (significant_digits(to_text(number)) != wanted)
            throw ValueError(
                "the number has more digits than its type; ask for a txscope::Decimal");
        return number;
    }

private:
    static std::string significant_digits(std::string_view text) {
        std::string digits_only;
        if (text.starts_with('-')) text.remove_prefix(1);
        for (const char c : text.substr(0, text.find('e'))) {
            if (c == '.') continue;
            if (c < '0' || c > '9') throw ValueError("the text is not a decimal number");
            if (c != '0' || !digits_only.empty()) digits_only += c;
        }
        digits_only.resize(digits_only.find_last_not_of('0') + 1);
        return digits_only;
    }
};

}  // namespace txscope
