#pragma once

#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/row_lock.hpp>

#include <boost/mp11/list.hpp>
#include <boost/mp11/set.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>

/// What the calls of a repository accept. `Model` comes first, then the arguments' types.
namespace txscope::detail {

template <typename T, typename Model>
concept AssignmentOn = is_assignment<T> && T::template applies_to<Model>;

template <typename T, typename Model>
concept OrderingOn = is_ordering<T> && T::template applies_to<Model>;

/// A value that may be a part of a key: nothing that has a meaning of its own here.
template <typename T, typename Model>
concept KeyValueFor = !AnyCondition<T> && !is_assignment<T> && !is_ordering<T> && !is_row_lock<T> &&
                      !std::same_as<T, Page> && !std::same_as<T, Model>;

/// A member as a type.
template <auto Member>
struct MemberConstant {};

/// The list of the members that the assignments among the arguments set.
template <typename... Ts>
struct Assigned {
    using type = boost::mp11::mp_list<>;
};
template <auto Member, typename Value, typename... Rest>
struct Assigned<Assignment<Member, Value>, Rest...> {
    using type =
        boost::mp11::mp_push_front<typename Assigned<Rest...>::type, MemberConstant<Member>>;
};
template <typename Other, typename... Rest>
struct Assigned<Other, Rest...> : Assigned<Rest...> {};

/// At least one assignment among the arguments, and no column twice.
template <typename... Ts>
concept AssignsColumnsOnce =
    (is_assignment<Ts> || ...) && boost::mp11::mp_is_set<typename Assigned<Ts...>::type>::value;

template <typename Model, typename... Ts>
concept AssignmentsOf = (AssignmentOn<Ts, Model> && ...) && AssignsColumnsOnce<Ts...>;

template <typename Model, typename... Ts>
concept KeyOf = sizeof...(Ts) > 0 && (KeyValueFor<Ts, Model> && ...);

template <typename Model, typename... Ts>
concept ConditionsOf = sizeof...(Ts) > 0 && (ConditionOn<Ts, Model> && ...);

/// What selects rows: the values of the primary key, or conditions.
template <typename Model, typename... Ts>
concept SelectorOf = KeyOf<Model, Ts...> || ConditionsOf<Model, Ts...>;

/// Conditions, orderings and at most one page.
template <typename Model, typename... Ts>
concept ClausesOf =
    ((ConditionOn<Ts, Model> || OrderingOn<Ts, Model> || std::same_as<Ts, Page>) && ...) &&
    (std::size_t{0} + ... + std::size_t{std::same_as<Ts, Page>}) <= 1;

/// A lock at the end, and nowhere else.
template <typename... Ts>
concept LockedAtEnd = (std::size_t{0} + ... + std::size_t{is_row_lock<Ts>}) == 1 &&
                      std::ranges::is_sorted(std::array{is_row_lock<Ts>...});

/// What selects rows, and a lock.
template <typename Model, typename... Ts>
concept LockedSelectorOf = LockedAtEnd<Ts...> && sizeof...(Ts) > 1 &&
                           (((KeyValueFor<Ts, Model> || is_row_lock<Ts>) && ...) ||
                            ((ConditionOn<Ts, Model> || is_row_lock<Ts>) && ...));

/// Clauses, and a lock.
template <typename Model, typename... Ts>
concept LockedClausesOf = LockedAtEnd<Ts...> &&
                          ((ConditionOn<Ts, Model> || OrderingOn<Ts, Model> ||
                            std::same_as<Ts, Page> || is_row_lock<Ts>) &&
                           ...) &&
                          (std::size_t{0} + ... + std::size_t{std::same_as<Ts, Page>}) <= 1;

/// The values of the primary key, and behind them nothing but assignments.
template <typename Model, typename... Ts>
concept KeyAndAssignmentsOf = AssignsColumnsOnce<Ts...> && (KeyValueFor<Ts, Model> || ...) &&
                              ((KeyValueFor<Ts, Model> || AssignmentOn<Ts, Model>) && ...) &&
                              std::ranges::is_sorted(std::array{is_assignment<Ts>...});

template <typename Model, typename... Ts>
concept ConditionsAndAssignmentsOf = AssignsColumnsOnce<Ts...> && (ConditionOn<Ts, Model> || ...) &&
                                     ((ConditionOn<Ts, Model> || AssignmentOn<Ts, Model>) && ...);

}  // namespace txscope::detail
