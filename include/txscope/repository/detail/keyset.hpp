#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>

#include <type_traits>
#include <utility>

namespace txscope {

template <auto Member>
    requires std::is_member_object_pointer_v<decltype(Member)>
class Field;

}  // namespace txscope

namespace txscope::detail {

/// The row behind which a page begins.
template <typename Model>
struct After {
    Model last;
};

template <typename T>
inline constexpr bool is_after = false;
template <typename Model>
inline constexpr bool is_after<After<Model>> = true;

/// Whether it is known of each row what comes behind it: for orderings by members that are not NULL.
template <typename T>
inline constexpr bool orders_pages = !is_ordering<T>;
template <auto Member, bool Descending, Nulls Where>
inline constexpr bool orders_pages<Ordering<Field<Member>, Descending, Where>> = !Nullable<Member>;

/// The rows that come behind one, in an order:
/// `"a" >= $1 AND ("a" > $2 OR "b" < $3)` for `ascending(a), descending(b)`. The first part says
/// nothing new, but an index on `"a"` answers it.
template <typename Model, typename... Orderings>
class Behind : public Condition {
public:
    static constexpr Precedence precedence = Precedence::conjunction;
    static constexpr bool fixed = true;
    template <typename M>
    static constexpr bool applies_to = std::is_same_v<M, Model>;

    explicit Behind(const Model& last) : last_{last} {}

    template <typename>
    static constexpr void write(SqlWriter& out, const Behind*) {
        write_behind(out, std::type_identity<Orderings>{}...);
    }
    void bind(Statement& statement) const {
        bind_behind(statement, std::type_identity<Orderings>{}...);
    }

private:
    template <auto Member, bool Descending, Nulls Where, typename... Rest>
    static constexpr void write_behind(
        SqlWriter& out, std::type_identity<Ordering<Field<Member>, Descending, Where>>,
        Rest... rest) {
        using Strictly = std::conditional_t<Descending, Less, Greater>;
        if constexpr (sizeof...(Rest) == 0) {
            write_comparison<Member, Strictly>(out);
        } else {
            write_comparison<Member, std::conditional_t<Descending, LessEqual, GreaterEqual>>(out);
            write_comparison<Member, Strictly>(out << " AND (");
            out << " OR ";
            write_behind(out, rest...);
            out << ")";
        }
    }
    template <auto Member, typename Operator>
    static constexpr void write_comparison(SqlWriter& out) {
        Comparison<Field<Member>, Operator, Parameter<column_type<Member>>>::template write<Model>(
            out, nullptr);
    }

    template <auto Member, bool Descending, Nulls Where, typename... Rest>
    void bind_behind(Statement& statement,
                     std::type_identity<Ordering<Field<Member>, Descending, Where>>,
                     Rest... rest) const {
        statement.bind(last_.*Member);
        if constexpr (sizeof...(Rest) > 0) {
            statement.bind(last_.*Member);
            bind_behind(statement, rest...);
        }
    }

    Model last_;
};

template <typename T>
using IsOrdering = std::bool_constant<is_ordering<T>>;

/// Whether it is an ordering by what may be NULL, as every expression but a column may.
template <typename T>
inline constexpr bool sorts_null = false;
template <typename Operand, bool Descending, Nulls Where>
inline constexpr bool sorts_null<Ordering<Operand, Descending, Where>> =
    IsOptional<typename Operand::Value>::value;
/// Whether it is one by a time that is cut off where it is read.
template <typename T>
inline constexpr bool sorts_cut_time = false;
template <typename Operand, bool Descending, Nulls Where>
inline constexpr bool sorts_cut_time<Ordering<Operand, Descending, Where>> =
    cuts_time<typename Operand::Value>;

/// Hands `clause` on, an `After` as the condition that it means together with the orderings among
/// `Clauses`.
template <typename Model, typename... Clauses, typename Clause>
decltype(auto) as_condition(const Clause& clause) {
    using Orderings = boost::mp11::mp_copy_if<boost::mp11::mp_list<Clauses...>, IsOrdering>;
    if constexpr (is_after<Clause>)
        return boost::mp11::mp_apply<Behind, boost::mp11::mp_push_front<Orderings, Model>>{
            clause.last};
    else
        return (clause);
}

}  // namespace txscope::detail
