#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope {

template <typename Model>
class Changes;

template <typename Model>
class Orderings;

}  // namespace txscope

namespace txscope::detail {

/// A column and what it gets: an operand.
template <auto Member, typename Operand>
class Assignment {
public:
    static constexpr bool fixed = Operand::fixed;
    template <typename Model>
    static constexpr bool applies_to =
        ColumnOf<Model, Member> && Operand::template applies_to<Model>;

    constexpr explicit Assignment(Operand operand) : operand_{std::move(operand)} {}

    template <typename Model>
    static constexpr std::string_view name() {
        return member_name<Model, Member>;
    }
    constexpr Operand operand() && { return std::move(operand_); }

    /// What the column gets.
    template <typename Model>
    static constexpr void write(SqlWriter& out, const Assignment* self) {
        Operand::template write<Model>(out, part_of(self, &Assignment::operand_));
    }
    void bind(Statement& statement) const { operand_.bind(statement); }

private:
    [[no_unique_address]] Operand operand_;
};

template <typename T>
inline constexpr bool is_assignment = false;
template <auto Member, typename Operand>
inline constexpr bool is_assignment<Assignment<Member, Operand>> = true;

struct NoColumns {};

/// Whether it is an assignment of what is computed of the row that is there.
template <typename T>
inline constexpr bool reads_row = false;
template <auto Member, typename Operand>
inline constexpr bool reads_row<Assignment<Member, Operand>> =
    !Operand::template applies_to<NoColumns>;

template <typename T>
inline constexpr bool is_changes = false;
template <typename Model>
inline constexpr bool is_changes<Changes<Model>> = true;

/// What says which columns get which values.
template <typename T>
concept Assigning = is_assignment<T> || is_changes<T>;

enum class Nulls {
    by_direction,
    first,
    last
};

/// What to sort by: an operand.
template <typename Operand, bool Descending, Nulls Where = Nulls::by_direction>
class Ordering {
public:
    static constexpr bool fixed = Operand::fixed;
    template <typename Model>
    static constexpr bool applies_to = Operand::template applies_to<Model>;

    constexpr explicit Ordering(Operand operand) : operand_{std::move(operand)} {}

    /// NULL sorts before every value.
    constexpr auto nulls_first() const {
        return Ordering<Operand, Descending, Nulls::first>{operand_};
    }
    /// NULL sorts after every value.
    constexpr auto nulls_last() const {
        return Ordering<Operand, Descending, Nulls::last>{operand_};
    }

    template <typename Model>
    static constexpr void write(SqlWriter& out, const Ordering* self) {
        Operand::template write<Model>(out, part_of(self, &Ordering::operand_));
        if constexpr (Descending) out << " DESC";
        if constexpr (Where != Nulls::by_direction)
            out << (Where == Nulls::first ? " NULLS FIRST" : " NULLS LAST");
    }

    void bind(Statement& statement) const { operand_.bind(statement); }

private:
    [[no_unique_address]] Operand operand_;
};

template <typename T>
inline constexpr bool is_ordering = false;
template <typename Operand, bool Descending, Nulls Where>
inline constexpr bool is_ordering<Ordering<Operand, Descending, Where>> = true;
template <typename Model>
inline constexpr bool is_ordering<Orderings<Model>> = true;

}  // namespace txscope::detail
