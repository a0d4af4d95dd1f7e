#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// A column and the value it gets.
template <auto Member, typename Value>
class Assignment {
public:
    template <typename Model>
    static constexpr bool applies_to = ColumnOf<Model, Member>;

    constexpr explicit Assignment(Value value) : value_{std::move(value)} {}

    template <typename Model>
    static constexpr std::string_view name() {
        return member_name<Model, Member>;
    }

    void bind(Statement& statement) const { statement.bind(value_); }

private:
    Value value_;
};

template <typename T>
inline constexpr bool is_assignment = false;
template <auto Member, typename Value>
inline constexpr bool is_assignment<Assignment<Member, Value>> = true;

enum class Nulls {
    by_direction,
    first,
    last
};

/// A column to sort by.
template <auto Member, bool Descending, Nulls Where = Nulls::by_direction>
struct Ordering {
    template <typename Model>
    static constexpr bool applies_to = ColumnOf<Model, Member>;

    /// NULL sorts before every value.
    constexpr Ordering<Member, Descending, Nulls::first> nulls_first() const { return {}; }
    /// NULL sorts after every value.
    constexpr Ordering<Member, Descending, Nulls::last> nulls_last() const { return {}; }

    /// By the member's name: every row is selected under those, and PostgreSQL takes a bare name in
    /// ORDER BY for an output column's first, were it another column's too.
    template <typename Model>
    static constexpr void write(SqlWriter& out) {
        out.identifier(member_name<Model, Member>) << (Descending ? " DESC" : "");
        if constexpr (Where != Nulls::by_direction)
            out << (Where == Nulls::first ? " NULLS FIRST" : " NULLS LAST");
    }
};

template <typename T>
inline constexpr bool is_ordering = false;
template <auto Member, bool Descending, Nulls Where>
inline constexpr bool is_ordering<Ordering<Member, Descending, Where>> = true;

}  // namespace txscope::detail
