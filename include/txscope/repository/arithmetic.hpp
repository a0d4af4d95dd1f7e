#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/interval.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <chrono>
#include <concepts>
#include <optional>
#include <string>
#include <utility>

/// Calculating with columns, in conditions, orderings and assignments:
///
/// ```cpp
/// co_await projects.update(id, field<&Project::stars> = field<&Project::stars> + 1);
/// co_await goods.find_all(field<&Good::stock> - field<&Good::reserved> < 5);
/// ```
///
/// A value is turned into one of the column's type first, as everywhere. What has no room in that type is
/// an error of the server's (22003).
namespace txscope::detail {

struct Plus {
    static constexpr std::string_view name = "+";
};
struct Minus {
    static constexpr std::string_view name = "-";
};
struct Times {
    static constexpr std::string_view name = "*";
};

/// A column that is calculated with: none whose member is of another kind.
template <typename T>
inline constexpr bool may_hold_numbers =
    !std::same_as<T, bool> && !std::same_as<T, std::string> && !is_time<T> &&
    !std::same_as<T, std::chrono::year_month_day> && !is_json<T> && dimensions<T> == 0;

/// A column whose mean is a number: not one of intervals.
template <typename T>
inline constexpr bool has_mean =
    may_hold_numbers<T> && !is_duration<T> && !std::same_as<T, Interval>;

/// `("column" + $1)`.
template <typename Left, typename Operator, typename Right>
class Arithmetic : public Expression<Arithmetic<Left, Operator, Right>> {
public:
    using Value = std::optional<without_optional<typename Left::Value>>;
    static constexpr bool fixed = Left::fixed && Right::fixed;
    template <typename Model>
    static constexpr bool applies_to =
        Left::template applies_to<Model> && Right::template applies_to<Model>;

    constexpr Arithmetic(Left left, Right right)
        : left_{std::move(left)}, right_{std::move(right)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Arithmetic* self) {
        out << "(";
        Left::template write<Model>(out, part_of(self, &Arithmetic::left_));
        write_operator<without_optional<typename Left::Value>, Operator>(out);
        Right::template write<Model>(out, part_of(self, &Arithmetic::right_));
        out << ")";
    }
    void bind(Statement& statement) const {
        left_.bind(statement);
        right_.bind(statement);
    }

private:
    [[no_unique_address]] Left left_;
    [[no_unique_address]] Right right_;
};

/// `left` with a value or another expression.
template <typename Operator, AnyExpression Left, typename Right>
constexpr auto calculate(const Left& left, const Right& right) {
    using Number = without_optional<typename Left::Value>;
    constexpr bool fits =
        may_hold_numbers<Number> && (ExpressionFor<Right, Number> || ComparableWith<Right, Number>);
    static_assert(
        fits,
        "txscope: a number is calculated with, and with one of its kind: an integer with an "
        "integer; anything else is said by sql<T>(…)");
    if constexpr (!fits)
        return left;
    else if constexpr (AnyExpression<Right>)
        return Arithmetic<Left, Operator, Right>{left, right};
    else
        return Arithmetic<Left, Operator, Parameter<Number>>{
            left, Parameter<Number>(keep_value<Number>(right))};
}

template <AnyExpression Left, typename Right>
constexpr auto operator+(const Left& left, const Right& right) {
    return calculate<Plus>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator-(const Left& left, const Right& right) {
    return calculate<Minus>(left, right);
}
template <AnyExpression Left, typename Right>
constexpr auto operator*(const Left& left, const Right& right) {
    return calculate<Times>(left, right);
}

// The value first.
template <NoExpression Left, AnyExpression Right>
constexpr auto operator+(const Left& left, const Right& right) {
    return calculate<Plus>(right, left);
}
template <NoExpression Left, AnyExpression Right>
constexpr auto operator*(const Left& left, const Right& right) {
    return calculate<Times>(right, left);
}

// Whatever else does not compile, and says why.
template <typename... Operands>
constexpr void refuse_operator() {
    static_assert(never<Operands...>,
                  "txscope: columns are calculated with by +, - and *, and a value is taken from a "
                  "column, not the other way round; anything else is said by sql<T>(…)");
}
template <AnyExpression Right>
constexpr Right operator-(const Right& right) {
    refuse_operator<Right>();
    return right;
}
template <NoExpression Left, AnyExpression Right>
constexpr Right operator-(const Left&, const Right& right) {
    refuse_operator<Left, Right>();
    return right;
}
template <AnyExpression Left, typename Right>
constexpr Left operator/(const Left& left, const Right&) {
    refuse_operator<Left, Right>();
    return left;
}
template <AnyExpression Left, typename Right>
constexpr Left operator%(const Left& left, const Right&) {
    refuse_operator<Left, Right>();
    return left;
}

}  // namespace txscope::detail
