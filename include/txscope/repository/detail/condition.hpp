#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Of the operator that holds a condition's text together: one of a lower precedence inside of one
/// of a higher is put in parentheses.
enum class Precedence {
    disjunction,
    conjunction,
    primary
};

/// Base of everything that can stand after WHERE. A condition has
///
/// - `precedence`;
/// - `fixed`: its text is known by its type alone, so `write` accepts a null pointer;
/// - `applies_to<Model>`: it speaks of columns of that model;
/// - `write<Model>(out, self)` and `bind(statement)`, which agree on the order of parameters.
struct Condition {};

template <Precedence Outer, typename Model, typename C>
constexpr void write_within(SqlWriter& out, const C* condition) {
    constexpr bool parentheses = C::precedence < Outer;
    if constexpr (parentheses) out << "(";
    C::template write<Model>(out, condition);
    if constexpr (parentheses) out << ")";
}

/// An operator between a column, whose member is a `Value`, and a parameter.
///
/// Numbers, truth values, times and bytes are compared by PostgreSQL's own operators, whatever else
/// of that name is in the `search_path`. A text may stand for any type, such as an extension's
/// `citext`, whose operators are found by the `search_path`.
template <typename Value, typename Operator>
constexpr void write_operator(SqlWriter& out) {
    constexpr std::string_view name = Operator::name;
    if constexpr (requires { Operator::by_words; })
        out << " " << name << " ";
    else if constexpr (Number<Value> || std::same_as<Value, bool> || is_time<Value> ||
                       std::same_as<Value, std::chrono::year_month_day> ||
                       std::same_as<Value, std::vector<std::byte>>)
        out << " OPERATOR(pg_catalog." << name << ") ";
    else
        out << " " << name << " ";
}

/// `"column" = $1`, and the like. An optional operand decides between a value and NULL.
template <auto Member, typename Operator, typename Operand>
class Comparison : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = !IsOptional<Operand>::value;
    template <typename Model>
    static constexpr bool applies_to = ColumnOf<Model, Member>;

    constexpr explicit Comparison(Operand operand) : operand_{std::move(operand)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Comparison* self) {
        out.column(member_name<Model, Member>);
        if constexpr (!fixed)
            if (!self->operand_) {
                out << Operator::with_null;
                return;
            }
        write_operator<column_type<Member>, Operator>(out);
        if constexpr (requires { Operator::function; })
            (out << Operator::function << "(").placeholder() << ")";
        else
            out.placeholder();
    }

    void bind(Statement& statement) const {
        if constexpr (fixed)
            statement.bind(operand_);
        else if (operand_)
            statement.bind(*operand_);
    }

private:
    Operand operand_;
};

struct Equal {
    static constexpr std::string_view name = "=", with_null = " IS NULL";
};
struct NotEqual {
    static constexpr std::string_view name = "<>", with_null = " IS NOT NULL";
};
struct Less {
    static constexpr std::string_view name = "<";
};
struct LessEqual {
    static constexpr std::string_view name = "<=";
};
struct Greater {
    static constexpr std::string_view name = ">";
};
struct GreaterEqual {
    static constexpr std::string_view name = ">=";
};
struct Like {
    static constexpr std::string_view name = "LIKE";
};
struct LikeInAnyCase {
    static constexpr std::string_view name = "ILIKE";
};
/// It stands between types by their own equality; it cannot be written with a schema.
struct DistinctFrom {
    static constexpr std::string_view name = "IS DISTINCT FROM";
    static constexpr bool by_words = true;
};
/// An array parameter instead of a list of placeholders: one text, and so one prepared statement,
/// whatever the number of values; and none at all is no syntax error.
struct AnyOf {
    static constexpr std::string_view name = "=", function = "ANY";
};

/// An operator between two columns.
template <auto Left, typename Operator, auto Right>
struct ColumnComparison : Condition {
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = true;
    template <typename Model>
    static constexpr bool applies_to = ColumnOf<Model, Left> && ColumnOf<Model, Right>;

    template <typename Model>
    static constexpr void write(SqlWriter& out, const ColumnComparison*) {
        out.column(member_name<Model, Left>);
        write_operator<column_type<Left>, Operator>(out);
        out.column(member_name<Model, Right>);
    }

    void bind(Statement&) const {}
};

/// `"column" IS NULL`, `"column" IS NOT NULL`.
template <auto Member, bool Null>
struct NullTest : Condition {
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = true;
    template <typename Model>
    static constexpr bool applies_to = ColumnOf<Model, Member>;

    template <typename Model>
    static constexpr void write(SqlWriter& out, const NullTest*) {
        out.column(member_name<Model, Member>) << (Null ? " IS NULL" : " IS NOT NULL");
    }

    void bind(Statement&) const {}
};

/// Two conditions joined by AND or OR.
template <Precedence Join, typename Left, typename Right>
class Joined : public Condition {
public:
    static constexpr Precedence precedence = Join;
    static constexpr bool fixed = Left::fixed && Right::fixed;
    template <typename Model>
    static constexpr bool applies_to =
        Left::template applies_to<Model> && Right::template applies_to<Model>;

    constexpr Joined(Left left, Right right) : left_{std::move(left)}, right_{std::move(right)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Joined* self) {
        write_within<Join, Model>(out, self != nullptr ? &self->left_ : nullptr);
        out << (Join == Precedence::conjunction ? " AND " : " OR ");
        write_within<Join, Model>(out, self != nullptr ? &self->right_ : nullptr);
    }

    void bind(Statement& statement) const {
        left_.bind(statement);
        right_.bind(statement);
    }

private:
    Left left_;
    Right right_;
};

/// NOT a condition.
template <typename Inner>
class Negation : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = Inner::fixed;
    template <typename Model>
    static constexpr bool applies_to = Inner::template applies_to<Model>;

    constexpr explicit Negation(Inner inner) : inner_{std::move(inner)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Negation* self) {
        out << "NOT (";
        Inner::template write<Model>(out, self != nullptr ? &self->inner_ : nullptr);
        out << ")";
    }

    void bind(Statement& statement) const { inner_.bind(statement); }

private:
    Inner inner_;
};

template <typename T>
concept AnyCondition = std::derived_from<T, Condition>;

template <typename T, typename Model>
concept ConditionOn = AnyCondition<T> && T::template applies_to<Model>;

template <AnyCondition Left, AnyCondition Right>
constexpr auto operator&&(Left left, Right right) {
    return Joined<Precedence::conjunction, Left, Right>{std::move(left), std::move(right)};
}

template <AnyCondition Left, AnyCondition Right>
constexpr auto operator||(Left left, Right right) {
    return Joined<Precedence::disjunction, Left, Right>{std::move(left), std::move(right)};
}

template <AnyCondition Inner>
constexpr auto operator!(Inner inner) {
    return Negation<Inner>{std::move(inner)};
}

}  // namespace txscope::detail
