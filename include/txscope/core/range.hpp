#pragma once

#include <txscope/core/detail/text_reader.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txscope {

/// A range type: `int8range`, `numrange`, `daterange`, `tstzrange` or one of your own. By default it has
/// its first value and not its last.
///
/// ```cpp
/// const Range<std::chrono::sys_days> may{.lower = 2026y / May / 1d, .upper = 2026y / June / 1d};
/// co_await session.execute("SELECT * FROM bookings WHERE $1::daterange @> day", may);
/// ```
///
/// PostgreSQL gives ranges back in one form, so equal is what has the same members once it was there: of
/// integers and dates all become `[lower, upper)`, what holds nothing becomes `empty`, and a bound that
/// is not there is never inclusive.
template <typename T>
struct Range {
    std::optional<T> lower{};     ///< None: there is no smallest value.
    std::optional<T> upper{};     ///< None: there is no largest value.
    bool includes_lower = true;   ///< Of no meaning without a lower bound.
    bool includes_upper = false;  ///< Of no meaning without an upper bound.
    bool empty = false;           ///< Holds nothing, whatever the bounds.

    friend bool operator==(const Range& left, const Range& right) {
        if (left.empty || right.empty) return left.empty == right.empty;
        return left.lower == right.lower && left.upper == right.upper &&
               (!left.lower || left.includes_lower == right.includes_lower) &&
               (!left.upper || left.includes_upper == right.includes_upper);
    }
};

/// A multirange type (PostgreSQL 14): `int8multirange` and the like. PostgreSQL gives the ranges back in
/// order, joined where they touch.
template <typename T>
struct Multirange {
    std::vector<Range<T>> ranges;

    bool operator==(const Multirange&) const = default;
};

namespace detail {

template <typename T>
void append_range(std::string& out, const Range<T>& range) {
    if (range.empty) {
        out += "empty";
        return;
    }
    const auto append_bound = [&out](const std::optional<T>& bound) {
        std::string text;
        if (append_parameter(text, bound)) append_quoted(out, text);
    };
    out += range.lower && range.includes_lower ? '[' : '(';
    append_bound(range.lower);
    out += ',';
    append_bound(range.upper);
    out += range.upper && range.includes_upper ? ']' : ')';
}

template <typename T>
[[nodiscard]] Range<T> read_range(TextReader& reader) {
    Range<T> range;
    if (reader.take("empty")) {
        range.empty = true;
        return range;
    }
    const auto read_bound = [&reader](std::string_view stops) -> std::optional<T> {
        const auto [text, quoted] = reader.piece(stops);
        if (text.empty() && !quoted) return std::nullopt;
        return SqlValue<T>::from_text(text);
    };
    range.includes_lower = reader.take("[");
    if (!range.includes_lower) reader.expect("(");
    range.lower = read_bound(",");
    reader.expect(",");
    range.upper = read_bound(")]");
    range.includes_upper = reader.take("]");
    if (!range.includes_upper) reader.expect(")");
    return range;
}

}  // namespace detail

template <typename T>
struct SqlValue<Range<T>> {
    static_assert(!detail::IsOptional<T>::value, "the bounds of a range are optional already");

    static std::string to_text(const Range<T>& range) {
        std::string text;
        detail::append_range(text, range);
        return text;
    }
    static Range<T> from_text(std::string_view text) {
        detail::TextReader reader(text, "a range");
        Range<T> range = detail::read_range<T>(reader);
        reader.end();
        return range;
    }
};

template <typename T>
struct SqlValue<Multirange<T>> {
    static std::string to_text(const Multirange<T>& multirange) {
        std::string text = "{";
        for (const Range<T>& range : multirange.ranges) {
            if (text.size() > 1) text += ',';
            detail::append_range(text, range);
        }
        return text += '}';
    }
    static Multirange<T> from_text(std::string_view text) {
        detail::TextReader reader(text, "a multirange");
        Multirange<T> multirange;
        reader.expect("{");
        if (!reader.take("}")) {
            do multirange.ranges.push_back(detail::read_range<T>(reader));
            while (reader.take(","));
            reader.expect("}");
        }
        reader.end();
        return multirange;
    }
};

}  // namespace txscope
