#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace txscope {

/// A `numeric` as its text, digit for digit, for those who store amounts and leave calculating to SQL or
/// to a library. `txscope/values/decimal_float.hpp` has a type that calculates.
///
/// ```cpp
/// struct Invoice { std::int64_t id{}; Decimal total; };  // Decimal{"19.90"}
/// ```
///
/// Equal are equal texts, as PostgreSQL keeps the digits behind the point: `1.0` is not `1.00`, and `NaN`
/// is `NaN`. Whether two amounts are the same, SQL tells.
class Decimal {
public:
    Decimal() = default;  ///< 0

    /// @param text as PostgreSQL takes it: `-12.50`, `1e-7`, `NaN`, `Infinity`, `-Infinity`.
    /// @throws ValueError for any other
    explicit Decimal(std::string text) : text_(std::move(text)) {
        if (!is_number(text_)) throw ValueError("the text is not a decimal number");
    }
    template <detail::Integer Number>
    Decimal(Number number) : text_(SqlValue<Number>::to_text(number)) {}

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

    bool operator==(const Decimal&) const = default;

private:
    static bool is_number(std::string_view text) noexcept;

    std::string text_ = "0";
};

template <>
struct SqlValue<Decimal> {
    static constexpr std::string_view type_names[] = {"numeric"};

    static void append_text(auto& out, const Decimal& value) { out += value.text(); }
    static std::string to_text(const Decimal& value) { return value.text(); }
    static Decimal from_text(std::string_view text) { return Decimal{std::string{text}}; }
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

namespace txscope {

TXSCOPE_INLINE bool Decimal::is_number(std::string_view text) noexcept {
    const auto take_sign = [&text] {
        if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    };
    const auto take_digits = [&text] {
        const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
        text.remove_prefix(count);
        return count;
    };
    if (text == "NaN") return true;
    take_sign();
    if (text == "Infinity") return true;
    std::size_t digits = take_digits();
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        digits += take_digits();
    }
    if (digits == 0) return false;
    if (text.starts_with('e') || text.starts_with('E')) {
        text.remove_prefix(1);
        take_sign();
        if (take_digits() == 0) return false;
    }
    return text.empty();
}

}  // namespace txscope

#endif
