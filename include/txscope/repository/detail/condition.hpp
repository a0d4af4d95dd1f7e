#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <optional>
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

/// Whether a column whose member is a `Value` is compared by PostgreSQL's own operators, whatever else
/// of that name is in the `search_path`: numbers, truth values, times and bytes. A text may stand for
/// any type, such as an extension's `citext`, whose operators are found by the `search_path`.
template <typename Value>
inline constexpr bool compared_by_own =
    Number<Value> || std::same_as<Value, bool> || is_time<Value> ||
    std::same_as<Value, std::chrono::year_month_day> || std::same_as<Value, std::vector<std::byte>>;

/// An operator between a column, whose member is a `Value`, and a parameter.
template <typename Value, typename Operator>
constexpr void write_operator(SqlWriter& out) {
    constexpr std::string_view name = Operator::name;
    if constexpr (requires { Operator::by_words; })
        out << " " << name << " ";
    else if constexpr (compared_by_own<Value>)
        out << " OPERATOR(pg_catalog." << name << ") ";
    else
        out << " " << name << " ";
}

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
    static constexpr std::string_view name = "IS DISTINCT FROM", with_null = " IS NOT NULL";
    static constexpr bool by_words = true;
};
/// An array parameter instead of a list of placeholders: one text, and so one prepared statement,
/// whatever the number of values; and none at all is no syntax error.
struct AnyOf {
    static constexpr std::string_view name = "=", function = "ANY";
};
struct Contains {
    static constexpr std::string_view name = "OPERATOR(pg_catalog.@>)";
    static constexpr bool by_words = true;
};
struct Overlaps {
    static constexpr std::string_view name = "OPERATOR(pg_catalog.&&)";
    static constexpr bool by_words = true;
};

/// A member of a condition's part, or null where there is only the part's type.
template <typename Whole, typename Part>
constexpr const Part* part_of(const Whole* whole, Part Whole::* part) {
    return whole != nullptr ? &(whole->*part) : nullptr;
}

/// A value, as an operand. What may be an operand has
///
/// - `Value`: the type that a member for it would have, an optional where it may be NULL;
/// - `fixed`, `applies_to`, `write` and `bind`, as a condition does.
template <typename T>
class Parameter {
public:
    using Value = T;
    static constexpr bool fixed = true;
    template <typename>
    static constexpr bool applies_to = true;

    // In parentheses, for braces make an array of one of a boost::json::value.
    constexpr explicit Parameter(T value) : value_(std::move(value)) {}

    constexpr const T& value() const { return value_; }

    template <typename>
    static constexpr void write(SqlWriter& out, const Parameter*) {
        out.placeholder();
    }
    void bind(Statement& statement) const { statement.bind(value_); }

private:
    T value_;
};

template <typename Operand>
inline constexpr bool is_parameter = false;
template <typename T>
inline constexpr bool is_parameter<Parameter<T>> = true;

template <typename Operand>
inline constexpr bool is_array = dimensions<without_optional<typename Operand::Value>> > 0;

/// Writes what is compared with `Other`. To a parameter that is a composite PostgreSQL does not give the
/// type of the column that it is compared with. A CASE it gives one type, and plans this one as `$1`.
template <typename Model, typename Other, typename Operand>
constexpr void write_operand(SqlWriter& out, const Operand* operand) {
    using Element = typename ArrayElement<without_optional<typename Operand::Value>>::type;
    constexpr bool beside_column = requires { Other::template name<Model>(); };
    if constexpr (is_parameter<Operand> && beside_column &&
                  is_composite<without_optional<Element>>) {
        Operand::template write<Model>(out << "CASE WHEN TRUE THEN ", operand);
        out << (is_array<Operand> && !is_array<Other> ? " ELSE ARRAY[" : " ELSE ");
        Other::template write<Model>(out, nullptr);
        out << (is_array<Operand> == is_array<Other> ? " END"
                : is_array<Other>                    ? "[1] END"
                                                     : "] END");
    } else {
        Operand::template write<Model>(out, operand);
    }
}

template <typename Operand>
inline constexpr bool may_be_nothing = false;
template <typename T>
inline constexpr bool may_be_nothing<Parameter<std::optional<T>>> = true;

/// `"column" = $1`, and the like. An optional parameter decides between a value and NULL.
template <typename Left, typename Operator, typename Right>
class Comparison : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = Left::fixed && Right::fixed && !may_be_nothing<Right>;
    template <typename Model>
    static constexpr bool applies_to =
        Left::template applies_to<Model> && Right::template applies_to<Model>;

    constexpr Comparison(Left left, Right right)
        : left_{std::move(left)}, right_{std::move(right)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Comparison* self) {
        write_operand<Model, Right>(out, part_of(self, &Comparison::left_));
        if constexpr (may_be_nothing<Right>)
            if (!self->right_.value()) {
                out << Operator::with_null;
                return;
            }
        write_operator<without_optional<typename Left::Value>, Operator>(out);
        constexpr bool call = requires { Operator::function; };
        if constexpr (call) out << Operator::function << "(";
        write_operand<Model, Left>(out, part_of(self, &Comparison::right_));
        if constexpr (call) out << ")";
    }

    void bind(Statement& statement) const {
        left_.bind(statement);
        if constexpr (may_be_nothing<Right>)
            if (!right_.value()) return;
        right_.bind(statement);
    }

private:
    [[no_unique_address]] Left left_;
    [[no_unique_address]] Right right_;
};

/// `"column" IS NULL`, `"column" IS NOT NULL`.
template <typename Operand, bool Null>
class NullTest : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = Operand::fixed;
    template <typename Model>
    static constexpr bool applies_to = Operand::template applies_to<Model>;

    constexpr explicit NullTest(Operand operand) : operand_{std::move(operand)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const NullTest* self) {
        Operand::template write<Model>(out, part_of(self, &NullTest::operand_));
        out << (Null ? " IS NULL" : " IS NOT NULL");
    }

    void bind(Statement& statement) const { operand_.bind(statement); }

private:
    [[no_unique_address]] Operand operand_;
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
        write_within<Join, Model>(out, part_of(self, &Joined::left_));
        out << (Join == Precedence::conjunction ? " AND " : " OR ");
        write_within<Join, Model>(out, part_of(self, &Joined::right_));
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
        Inner::template write<Model>(out, part_of(self, &Negation::inner_));
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

/// What is given for a condition that does not compile: whatever is done with it does, so that
/// compilers tell nothing but the reason.
struct RefusedCondition : Condition {
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = true;
    template <typename>
    static constexpr bool applies_to = true;

    template <typename>
    static constexpr void write(SqlWriter&, const RefusedCondition*) {}
    void bind(Statement&) const {}

    template <typename T>
    constexpr RefusedCondition operator=(const T&) const {
        return *this;
    }
    template <typename T>
    constexpr RefusedCondition operator==(const T&) const {
        return *this;
    }
    template <typename T>
    constexpr RefusedCondition operator!=(const T&) const {
        return *this;
    }
};

/// Whatever else is joined with a condition does not compile.
template <typename Left, typename Right>
constexpr RefusedCondition refuse_to_join() {
    constexpr bool conditions = AnyCondition<Left> && AnyCondition<Right>;
    static_assert(conditions,
                  "txscope: a condition is joined with conditions: a column alone is none, compare "
                  "it, and a bool decides what goes into a Criteria");
    return {};
}
template <typename Left, typename Right>
    requires AnyCondition<Left> || AnyCondition<Right>
constexpr auto operator&&(Left, Right) {
    return refuse_to_join<Left, Right>();
}
template <typename Left, typename Right>
    requires AnyCondition<Left> || AnyCondition<Right>
constexpr auto operator||(Left, Right) {
    return refuse_to_join<Left, Right>();
}

template <AnyCondition Inner>
constexpr auto operator!(Inner inner) {
    return Negation<Inner>{std::move(inner)};
}

}  // namespace txscope::detail
