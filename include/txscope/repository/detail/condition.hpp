#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <concepts>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// How tightly a condition's text holds together: a looser one inside a tighter one is put in
/// parentheses.
enum class Binding {
    either,
    both,
    single
};

/// Base of everything that can stand after WHERE. A condition has
///
/// - `binding`;
/// - `fixed`: its text is known by its type alone, so `write` accepts a null pointer;
/// - `applies_to<Model>`: it speaks of columns of that model;
/// - `write<Model>(out, self)` and `bind(statement)`, which agree on the order of parameters.
struct Condition {};

template <Binding Outer, typename Model, typename C>
constexpr void write_within(SqlWriter& out, const C* condition) {
    constexpr bool parentheses = C::binding < Outer;
    if constexpr (parentheses) out << "(";
    C::template write<Model>(out, condition);
    if constexpr (parentheses) out << ")";
}

/// `"column" = $1`, and the like. An optional operand decides between a value and NULL.
template <auto Member, typename Operator, typename Operand>
class Comparison : public Condition {
public:
    static constexpr Binding binding = Binding::single;
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
        out << Operator::before;
        out.placeholder() << Operator::after;
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

struct Operator {
    static constexpr std::string_view after{};
};
struct Equal : Operator {
    static constexpr std::string_view before = " = ", with_null = " IS NULL";
};
struct NotEqual : Operator {
    static constexpr std::string_view before = " <> ", with_null = " IS NOT NULL";
};
struct Less : Operator {
    static constexpr std::string_view before = " < ";
};
struct LessEqual : Operator {
    static constexpr std::string_view before = " <= ";
};
struct Greater : Operator {
    static constexpr std::string_view before = " > ";
};
struct GreaterEqual : Operator {
    static constexpr std::string_view before = " >= ";
};
struct Like : Operator {
    static constexpr std::string_view before = " LIKE ";
};
/// An array parameter instead of a list of placeholders: one text, and so one prepared statement,
/// whatever the number of values; and none at all is no syntax error.
struct AnyOf {
    static constexpr std::string_view before = " = ANY(", after = ")";
};

/// `"column" IS NULL`, `"column" IS NOT NULL`.
template <auto Member, bool Null>
struct NullTest : Condition {
    static constexpr Binding binding = Binding::single;
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
template <Binding Join, typename Left, typename Right>
class Joined : public Condition {
public:
    static constexpr Binding binding = Join;
    static constexpr bool fixed = Left::fixed && Right::fixed;
    template <typename Model>
    static constexpr bool applies_to =
        Left::template applies_to<Model> && Right::template applies_to<Model>;

    constexpr Joined(Left left, Right right) : left_{std::move(left)}, right_{std::move(right)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Joined* self) {
        write_within<Join, Model>(out, self != nullptr ? &self->left_ : nullptr);
        out << (Join == Binding::both ? " AND " : " OR ");
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
    static constexpr Binding binding = Binding::single;
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
    return Joined<Binding::both, Left, Right>{std::move(left), std::move(right)};
}

template <AnyCondition Left, AnyCondition Right>
constexpr auto operator||(Left left, Right right) {
    return Joined<Binding::either, Left, Right>{std::move(left), std::move(right)};
}

template <AnyCondition Inner>
constexpr auto operator!(Inner inner) {
    return Negation<Inner>{std::move(inner)};
}

}  // namespace txscope::detail
