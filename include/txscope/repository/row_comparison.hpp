#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace txscope {

namespace detail {

/// Expressions, or values, to be compared with as many. No aggregate: g++ 12 destroys those twice that
/// are made within a `co_await` expression.
template <typename... Parts>
struct RowOf {
    constexpr explicit RowOf(const Parts&... all) : parts{all...} {}
    std::tuple<Parts...> parts;
};

/// `("a", "b") < ($1, $2)`.
template <typename Operator, typename Left, typename Right>
class RowComparison;
template <typename Operator, typename... Left, typename... Right>
class RowComparison<Operator, std::tuple<Left...>, std::tuple<Right...>> : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = (Left::fixed && ...) && (Right::fixed && ...);
    template <typename Model>
    static constexpr bool applies_to =
        (Left::template applies_to<Model> && ...) && (Right::template applies_to<Model> && ...);

    constexpr RowComparison(std::tuple<Left...> left, std::tuple<Right...> right)
        : left_{std::move(left)}, right_{std::move(right)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const RowComparison* self) {
        // Each pair is compared by an operator of this name: PostgreSQL's own if that is so for each.
        using Value =
            std::conditional_t<(compared_by_own<without_optional<typename Left::Value>> && ...),
                               bool, std::string>;
        write_row<Model>(out, part_of(self, &RowComparison::left_));
        write_operator<Value, Operator>(out);
        write_row<Model>(out, part_of(self, &RowComparison::right_));
    }
    void bind(Statement& statement) const {
        std::apply([&](const auto&... each) { (each.bind(statement), ...); }, left_);
        std::apply([&](const auto&... each) { (each.bind(statement), ...); }, right_);
    }

private:
    template <typename Model, typename... Operands>
    static constexpr void write_row(SqlWriter& out, const std::tuple<Operands...>* row) {
        [&]<std::size_t... i>(std::index_sequence<i...>) {
            ((out << (i == 0 ? "(" : ", "),
              write_operand<Model, Left>(out, row != nullptr ? &std::get<i>(*row) : nullptr)),
             ...);
        }(std::index_sequence_for<Operands...>{});
        out << ")";
    }

    std::tuple<Left...> left_;
    std::tuple<Right...> right_;
};

/// Whether an expression can be compared with another, or with a value.
template <typename Left, typename Right>
inline constexpr bool are_comparable = false;
template <AnyExpression Left, typename Right>
inline constexpr bool are_comparable<Left, Right> = ComparableWith<Right, typename Left::Value>;
template <AnyExpression Left, AnyExpression Right>
inline constexpr bool are_comparable<Left, Right> = ExpressionFor<Right, typename Left::Value>;

/// What `left` is compared with.
template <typename Left, typename Right>
constexpr auto row_operand(const Left&, const Right& right) {
    if constexpr (AnyExpression<Right>) {
        return right;
    } else {
        using Kept = without_optional<typename Left::Value>;
        return Parameter<Kept>{keep_value<Kept>(right)};
    }
}

template <typename Operator, typename... Left, typename... Right>
constexpr auto compare_rows(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    constexpr bool as_many = sizeof...(Left) == sizeof...(Right);
    static_assert(as_many, "txscope: a row of columns is compared with a row of as many values");
    if constexpr (as_many) {
        constexpr bool fit = (are_comparable<Left, Right> && ...);
        static_assert(fit, "txscope: a value of this row is not of the kind of its column");
        if constexpr (fit)
            return [&]<std::size_t... i>(std::index_sequence<i...>) {
                std::tuple kept{row_operand(std::get<i>(left.parts), std::get<i>(right.parts))...};
                return RowComparison<Operator, std::tuple<Left...>, decltype(kept)>{
                    left.parts, std::move(kept)};
            }(std::index_sequence_for<Left...>{});
    }
}

template <typename... Left, typename... Right>
constexpr auto operator==(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<Equal>(left, right);
}
template <typename... Left, typename... Right>
constexpr auto operator!=(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<NotEqual>(left, right);
}
template <typename... Left, typename... Right>
constexpr auto operator<(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<Less>(left, right);
}
template <typename... Left, typename... Right>
constexpr auto operator<=(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<LessEqual>(left, right);
}
template <typename... Left, typename... Right>
constexpr auto operator>(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<Greater>(left, right);
}
template <typename... Left, typename... Right>
constexpr auto operator>=(const RowOf<Left...>& left, const RowOf<Right...>& right) {
    return compare_rows<GreaterEqual>(left, right);
}

}  // namespace detail

/// Several columns or other expressions, compared with as many values as a whole: the first two that
/// differ decide.
///
/// ```cpp
/// row(field<&Event::day>, field<&Event::number>) > row(day, number)
/// ```
template <typename... Parts>
    requires(sizeof...(Parts) > 0)
constexpr auto row(const Parts&... parts) {
    return detail::RowOf<std::decay_t<const Parts&>...>{parts...};
}

}  // namespace txscope
