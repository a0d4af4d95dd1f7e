#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/operand.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

/// `text` as a pattern of `like` and `ilike` that only it fits: `like('%' + escape_like(part) + '%')`.
std::string escape_like(std::string_view text);

}  // namespace txscope

namespace txscope::detail {

/// The values as they are kept until they become an array: each, or those of a range.
template <typename T, typename... Values>
auto keep_values(Values&&... values) {
    constexpr bool range = sizeof...(Values) == 1 && (AllComparableWith<Values, T> && ...);
    constexpr bool each = (ComparableWith<Values, T> && ...);
    static_assert(
        range || each,
        "txscope: not all of these are values of the column's kind, nor one range of such");
    std::vector<without_optional<T>> kept;
    if constexpr (!range)
        kept.reserve(sizeof...(Values));
    else if constexpr ((std::ranges::sized_range<Values> && ...))
        kept.reserve((std::ranges::size(values), ...));
    if constexpr (range)
        for (auto&& value : (values, ...)) kept.push_back(keep_value<T>(value));
    else if constexpr (each)
        (kept.push_back(keep_value<T>(values)), ...);
    return kept;
}

/// The type of the elements of an operand that is an array, whatever its depth; else its own.
template <typename Operand>
using element_of = typename ArrayElement<without_optional<typename Operand::Value>>::type;

struct AnyExpressionBase {};

/// What has a value in every row and can be compared: a column (`Field`), or what is computed of
/// some (`json_text.hpp`, `raw_sql.hpp`).
template <typename T>
concept AnyExpression = std::derived_from<T, AnyExpressionBase>;
template <typename T>
concept NoExpression = !AnyExpression<T>;

/// An expression whose values are of the kind of `T`.
template <typename E, typename T>
inline constexpr bool is_expression_for = false;
template <AnyExpression E, typename T>
inline constexpr bool is_expression_for<E, T> =
    may_stand_for<without_optional<T>, without_optional<typename E::Value>>();
template <typename E, typename T>
concept ExpressionFor = is_expression_for<E, T>;

template <bool Descending, typename Operand>
constexpr auto order_by(Operand operand) {
    if constexpr (AnyExpression<Operand>) {
        return Ordering<Operand, Descending>{std::move(operand)};
    } else {
        static_assert(never<Operand>,
                      "txscope: rows are sorted by a field<&Model::member>, or by what is computed "
                      "of some");
        return Ordering<Parameter<bool>, Descending>{Parameter<bool>{true}};
    }
}

template <typename Operator, typename Left, typename Right>
constexpr auto comparison(Left left, Right right) {
    return Comparison<Left, Operator, Right>{std::move(left), std::move(right)};
}
template <typename Operator, typename Left, typename Value>
constexpr auto comparison_with(Left left, Value kept) {
    return comparison<Operator>(std::move(left), Parameter<Value>{std::move(kept)});
}

/// `left` compared with a value or another expression. Only equality knows NULL.
template <typename Operator, AnyExpression Left, typename Right>
constexpr auto compare(const Left& left, const Right& right) {
    using Value = typename Left::Value;
    constexpr bool equality = std::same_as<Operator, Equal> || std::same_as<Operator, NotEqual>;
    if constexpr (equality && NullFor<Right, Value>) {
        return NullTest<Left, std::same_as<Operator, Equal>>{left};
    } else if constexpr (AnyExpression<Right>) {
        constexpr bool of_one_kind = ExpressionFor<Right, Value>;
        static_assert(of_one_kind,
                      "txscope: these two are not of one kind: a text is compared with a text, an "
                      "integer with an integer");
        return comparison<Operator>(left, right);
    } else {
        constexpr bool fits = ComparableWith<Right, Value> ||
                              (AssignableTo<Right, Value> && requires { Operator::with_null; });
        static_assert(
            fits,
            "txscope: this value is not of the column's kind: a text goes with a text, an "
            "integer with an integer, a time with one that is no finer; NULL, where it may be, "
            "only with ==, != and is_distinct_from");
        if constexpr (fits)
            return comparison_with<Operator>(left, keep_value<Value>(right));
        else
            return comparison_with<Operator>(left, without_optional<Value>{});
    }
}

/// Base of an expression, for what can be asked of it. `Self` is an operand, as `Parameter` says.
template <typename Self>
class Expression : public AnyExpressionBase {
public:
    constexpr auto is_null() const { return NullTest<Self, true>{self()}; }
    constexpr auto is_not_null() const { return NullTest<Self, false>{self()}; }

    /// Matches a pattern in which `%` and `_` are wildcards and `\` takes their meaning away.
    template <typename Pattern>
    constexpr auto like(const Pattern& pattern) const {
        return match<Like>(pattern);
    }
    /// The same, with capital letters and small ones alike.
    template <typename Pattern>
    constexpr auto ilike(const Pattern& pattern) const {
        return match<LikeInAnyCase>(pattern);
    }
    /// Begins with this text, whatever characters are in it.
    template <typename Text>
    auto starts_with(const Text& text) const {
        if constexpr (PatternFor<Text, typename Self::Value>)
            return match<Like>(escape_like(keep_value<std::string>(text)) + '%');
        else
            return match<Like>(text);
    }

    /// Lies between the two, or is one of them.
    template <typename Low, typename High>
    constexpr auto between(const Low& low, const High& high) const {
        const auto from = compare<GreaterEqual>(self(), low);
        if constexpr (AnyExpression<Low> || ComparableWith<Low, typename Self::Value>)
            return from && compare<LessEqual>(self(), high);
        else
            return from;
    }

    /// Has another value than this one, or none: true also of NULL, where `!=` is not. The value may be
    /// an optional, or `std::nullopt`, where NULL may be.
    template <typename Value>
    constexpr auto is_distinct_from(const Value& value) const {
        return compare<DistinctFrom>(self(), value);
    }

    /// Equals one of the values, `in("draft", "active")`, or of a range; with an empty range, nothing
    /// does.
    template <typename... Values>
    auto in(Values&&... values) const {
        static_assert(sizeof...(Values) > 0, "txscope: in() takes values, or a range of them");
        static_assert(!is_array<Self>,
                      "txscope: PostgreSQL has no arrays of arrays: say a == x || a == y");
        using Value = typename Self::Value;
        return comparison_with<AnyOf>(self(), keep_values<Value>(std::forward<Values>(values)...));
    }

    /// Does not compile, and says why.
    template <typename Value>
    auto in(std::initializer_list<Value>) const {
        static_assert(
            never<Value>,
            "txscope: in(x, y) takes values, or a range of them, and both without braces");
        return is_null();
    }

    /// Of an array: one of its elements equals the value.
    template <typename Value>
    auto any(const Value& value) const {
        static_assert(is_array<Self>, "txscope: this column is no array");
        using Element = element_of<Self>;
        constexpr bool fits = ComparableWith<Value, Element>;
        static_assert(fits || !is_array<Self>,
                      "txscope: this value is not of the kind of the array's elements");
        without_optional<Element> kept{};
        if constexpr (fits) kept = keep_value<Element>(value);
        return comparison<AnyOf>(Parameter<without_optional<Element>>{std::move(kept)}, self());
    }
    /// Of an array: it has all these elements, or those of a range.
    template <typename... Values>
    auto contains(Values&&... values) const {
        static_assert(is_array<Self>, "txscope: this column is no array");
        return comparison_with<Contains>(
            self(), keep_values<element_of<Self>>(std::forward<Values>(values)...));
    }
    /// Of an array: it has one of these elements, or of those of a range.
    template <typename... Values>
    auto overlaps(Values&&... values) const {
        static_assert(is_array<Self>, "txscope: this column is no array");
        return comparison_with<Overlaps>(
            self(), keep_values<element_of<Self>>(std::forward<Values>(values)...));
    }

private:
    constexpr const Self& self() const { return static_cast<const Self&>(*this); }

    template <typename Operator, typename Pattern>
    constexpr auto match(const Pattern& pattern) const {
        if constexpr (PatternFor<Pattern, typename Self::Value>) {
            return compare<Operator>(self(), pattern);
        } else {
            static_assert(never<Pattern>, "txscope: a text is matched, and with a text");
            return comparison_with<Operator>(self(), std::string{});
        }
    }
};

template <AnyExpression Left, typename Right>
constexpr auto operator==(const Left& left, const Right& right) {
    return compare<Equal>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator!=(const Left& left, const Right& right) {
    return compare<NotEqual>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator<(const Left& left, const Right& right) {
    return compare<Less>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator<=(const Left& left, const Right& right) {
    return compare<LessEqual>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator>(const Left& left, const Right& right) {
    return compare<Greater>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator>=(const Left& left, const Right& right) {
    return compare<GreaterEqual>(left, right);
}

// The value first.
template <NoExpression Left, AnyExpression Right>
constexpr auto operator==(const Left& left, const Right& right) {
    return compare<Equal>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator!=(const Left& left, const Right& right) {
    return compare<NotEqual>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator<(const Left& left, const Right& right) {
    return compare<Greater>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator<=(const Left& left, const Right& right) {
    return compare<GreaterEqual>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator>(const Left& left, const Right& right) {
    return compare<Less>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator>=(const Left& left, const Right& right) {
    return compare<LessEqual>(right, left);
}

/// Does not compile, and says why.
template <AnyExpression Column>
    requires(!AnyCondition<Column>)
constexpr RefusedCondition operator!(const Column&) {
    static_assert(never<Column>, "txscope: a column alone says nothing: compare it");
    return {};
}

}  // namespace txscope::detail

namespace txscope {

inline std::string escape_like(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern;
}

}  // namespace txscope
