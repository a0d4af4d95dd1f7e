#pragma once

#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/row_lock.hpp>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>
#include <boost/mp11/set.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <ranges>
#include <type_traits>

/// What the calls of a repository accept. `Model` comes first, then the arguments' types.
namespace txscope::detail {

template <typename T, typename Model>
concept AssignmentOn = is_assignment<T> && T::template applies_to<Model>;

template <typename T, typename Model>
concept OrderingOn = is_ordering<T> && T::template applies_to<Model>;

/// A value that may be a part of a key: nothing that has a meaning of its own here.
template <typename T, typename Model>
concept KeyValueFor = !AnyCondition<T> && !Assigning<T> && !is_after<T> && !is_ordering<T> &&
                      !is_row_lock<T> && !std::same_as<T, Page> && !std::same_as<T, Model>;

/// A member as a type.
template <auto Member>
struct MemberConstant {};

/// The list of the members that the assignments among the arguments set.
template <typename... Ts>
struct Assigned {
    using type = boost::mp11::mp_list<>;
};
template <auto Member, typename Operand, typename... Rest>
struct Assigned<Assignment<Member, Operand>, Rest...> {
    using type =
        boost::mp11::mp_push_front<typename Assigned<Rest...>::type, MemberConstant<Member>>;
};
template <typename Other, typename... Rest>
struct Assigned<Other, Rest...> : Assigned<Rest...> {};

/// A range of models.
template <typename T, typename Model>
concept ModelsOf = std::ranges::input_range<T> &&
                   std::convertible_to<std::ranges::range_reference_t<T>, const Model&>;

/// What says which row is there already: columns of a unique constraint, or its name.
template <typename T, typename Model>
inline constexpr bool is_conflict_target = std::same_as<T, Constraint>;
template <auto... Members, typename Model>
inline constexpr bool is_conflict_target<Columns<Members...>, Model> =
    (ColumnOf<Model, Members> && ...);
template <typename T, typename Model>
concept ConflictTargetOn = is_conflict_target<T, Model>;

/// At least one assignment among the arguments, and no column twice.
template <typename... Ts>
concept AssignsColumnsOnce =
    (is_assignment<Ts> || ...) && boost::mp11::mp_is_set<typename Assigned<Ts...>::type>::value;

/// What a row that is inserted gets.
template <typename Model, typename... Ts>
concept AssignmentsOf =
    (AssignmentOn<Ts, Model> && ...) && AssignsColumnsOnce<Ts...> && !(reads_row<Ts> || ...);

template <typename Model, typename... Ts>
concept ChangesAlone = sizeof...(Ts) == 1 && (std::same_as<Ts, Changes<Model>> && ...);

template <typename Model, typename... Ts>
concept KeyOf = sizeof...(Ts) > 0 && (KeyValueFor<Ts, Model> && ...);

template <typename Model, typename... Ts>
concept ConditionsOf = sizeof...(Ts) > 0 && (ConditionOn<Ts, Model> && ...);

/// What selects rows: the values of the primary key, or conditions.
template <typename Model, typename... Ts>
concept SelectorOf = KeyOf<Model, Ts...> || ConditionsOf<Model, Ts...>;

template <typename T, typename Model>
concept ClauseOn = ConditionOn<T, Model> || OrderingOn<T, Model> || std::same_as<T, Page> ||
                   std::same_as<T, After<Model>>;

/// How many of the arguments are pages.
template <typename... Ts>
inline constexpr std::size_t pages_among =
    (std::size_t{0} + ... + std::size_t{std::same_as<Ts, Page>});

/// At most one page, and at most one row that it comes behind, in an order.
template <typename... Ts>
concept SayOnePage =
    pages_among<Ts...> <= 1 && (std::size_t{0} + ... + std::size_t{is_after<Ts>}) <= 1 &&
    (!(is_after<Ts> || ...) || ((is_ordering<Ts> || ...) && (orders_pages<Ts> && ...)));

/// Conditions, orderings and what says which page.
template <typename Model, typename... Ts>
concept ClausesOf = (ClauseOn<Ts, Model> && ...) && SayOnePage<Ts...>;

/// Conditions and orderings.
template <typename Model, typename... Ts>
concept UnpagedClausesOf = ((ConditionOn<Ts, Model> || OrderingOn<Ts, Model>) && ...);

/// One of them is set, the last.
template <bool... Flags>
concept LastAlone = (std::size_t{0} + ... + std::size_t{Flags}) == 1 && std::array{Flags...}.back();

/// What selects rows, and a lock.
template <typename Model, typename... Ts>
concept LockedSelectorOf = LastAlone<is_row_lock<Ts>...> && sizeof...(Ts) > 1 &&
                           (((KeyValueFor<Ts, Model> || is_row_lock<Ts>) && ...) ||
                            ((ConditionOn<Ts, Model> || is_row_lock<Ts>) && ...));

/// Clauses, and a lock.
template <typename Model, typename... Ts>
concept LockedClausesOf = LastAlone<is_row_lock<Ts>...> &&
                          ((ClauseOn<Ts, Model> || is_row_lock<Ts>) && ...) && SayOnePage<Ts...>;

/// The arguments of a stream: clauses, with a lock or without, and behind them what is called with each
/// row.
template <typename Model, typename Ahead>
inline constexpr bool are_clauses = false;
template <typename Model, typename... Ts>
inline constexpr bool are_clauses<Model, boost::mp11::mp_list<Ts...>> = ClausesOf<Model, Ts...>;
template <typename Model, typename Ahead>
inline constexpr bool are_locked_clauses = false;
template <typename Model, typename... Ts>
inline constexpr bool are_locked_clauses<Model, boost::mp11::mp_list<Ts...>> =
    LockedClausesOf<Model, Ts...>;
template <typename... Args>
using AheadOfLast = boost::mp11::mp_pop_back<boost::mp11::mp_list<std::remove_cvref_t<Args>...>>;

template <typename Model, typename... Args>
concept StreamedOf = sizeof...(Args) > 0 && are_clauses<Model, AheadOfLast<Args...>>;
template <typename Model, typename... Args>
concept LockedStreamOf = sizeof...(Args) > 0 && are_locked_clauses<Model, AheadOfLast<Args...>>;

/// The values of the primary key, and behind them nothing but assignments.
template <typename Model, typename... Ts>
concept KeyAndAssignmentsOf = AssignsColumnsOnce<Ts...> && (KeyValueFor<Ts, Model> || ...) &&
                              ((KeyValueFor<Ts, Model> || AssignmentOn<Ts, Model>) && ...) &&
                              std::ranges::is_sorted(std::array{is_assignment<Ts>...});

/// The same with changes in the place of the assignments.
template <typename Model, typename... Ts>
concept KeyAndChangesOf = (KeyValueFor<Ts, Model> || ...) &&
                          ((KeyValueFor<Ts, Model> || std::same_as<Ts, Changes<Model>>) && ...) &&
                          LastAlone<is_changes<Ts>...>;

template <typename Model, typename... Ts>
concept ConditionsAndChangesOf =
    (ConditionOn<Ts, Model> || ...) &&
    ((ConditionOn<Ts, Model> || std::same_as<Ts, Changes<Model>>) && ...) &&
    LastAlone<is_changes<Ts>...>;

template <typename Model, typename... Ts>
concept ConditionsAndAssignmentsOf = AssignsColumnsOnce<Ts...> && (ConditionOn<Ts, Model> || ...) &&
                                     ((ConditionOn<Ts, Model> || AssignmentOn<Ts, Model>) && ...);

}  // namespace txscope::detail
