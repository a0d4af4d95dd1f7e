#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/keyset.hpp>
#include <txscope/repository/detail/members.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

template <typename Model>
struct PageOf;

}  // namespace txscope

/// Why a call of a repository does not take its arguments. Each call has an overload for whatever the
/// others do not take, which gives the first reason that applies as the only error. Compilers print
/// every function that leads to it, so few do.
namespace txscope::detail {

/// Whether what has columns has those of `Model`.
template <typename T, typename Model>
inline constexpr bool is_of_model = true;
template <typename T, typename Model>
    requires AnyCondition<T> || AnyExpression<T> || is_assignment<T> || is_ordering<T>
inline constexpr bool is_of_model<T, Model> = T::template applies_to<Model>;
template <typename Other, typename Model>
inline constexpr bool is_of_model<Changes<Other>, Model> = std::same_as<Other, Model>;
template <typename Other, typename Model>
inline constexpr bool is_of_model<After<Other>, Model> = std::same_as<Other, Model>;

/// What was to be done with the arguments.
enum class Purpose {
    select_row,
    select_rows,
    select_some_columns,
    select_by_column,
    compute_of_column,
    narrow,
    insert,
    insert_all,
    save,
    update,
    change,
    order
};

/// Does not compile, for the reason why `Ts` do not serve the purpose; but for a model that is not
/// described, of which `check_repository` says so.
template <Purpose purpose, typename Model, typename... Ts>
constexpr void refuse() {
    constexpr bool writes =
        purpose == Purpose::insert || purpose == Purpose::update || purpose == Purpose::change;
    constexpr bool by_column =
        purpose == Purpose::select_by_column || purpose == Purpose::compute_of_column;
    constexpr bool of_model = (is_of_model<Ts, Model> && ...);
    constexpr bool assigns = !writes && (Assigning<Ts> || ...);
    constexpr bool compares = purpose == Purpose::change && (AnyCondition<Ts> || ...);
    constexpr bool computes = purpose == Purpose::insert && (reads_row<Ts> || ...);
    constexpr bool column = !by_column && ((AnyExpression<Ts> && !AnyCondition<Ts>) || ...);
    constexpr bool behind = !(is_after<Ts> || ...) || (orders_pages<Ts> && ...);
    constexpr bool usual =
        is_described<Model> && of_model && !assigns && !compares && !computes && !column && behind;
    static_assert(
        of_model || !is_described<Model>,
        "txscope: this column is another model's, or one that its model does not describe");
    static_assert(!assigns || !of_model,
                  "txscope: = assigns, and here is nothing to assign: compare with ==");
    static_assert(!compares || !of_model,
                  "txscope: == compares: what a column gets is said with =");
    static_assert(!computes || !of_model,
                  "txscope: what is inserted is no row yet that a value could be computed of");
    static_assert(!column || !of_model || assigns,
                  "txscope: a column alone says nothing: compare it, or give it a value");
    static_assert(behind || !of_model,
                  "txscope: what comes behind NULL is not known, nor in an order that is put "
                  "together at run time: pages go by members that are no std::optional");
    static_assert(
        !usual || purpose != Purpose::select_row,
        "txscope: a row is selected by the values of its key or by conditions, and locked "
        "by the last argument, in a repository that may write");
    static_assert(
        !usual || purpose != Purpose::select_rows,
        "txscope: these are no conditions, orderings, or at most one Page and, in an order, "
        "after(row); a row by its key is for find and get");
    static_assert(!usual || purpose != Purpose::select_some_columns,
                  "txscope: select<Row>(…) says which struct its rows are, a described one whose "
                  "members are called like some of the model, and takes what find_all takes");
    static_assert(!usual || purpose != Purpose::select_by_column,
                  "txscope: find_by takes a field<&Model::member>, a range of values of its kind, "
                  "conditions and orderings");
    static_assert(!usual || purpose != Purpose::compute_of_column,
                  "txscope: of which column is said by the first argument, field<&Model::member>, "
                  "and what follows it are conditions");
    static_assert(!usual || purpose != Purpose::narrow, "txscope: here are only conditions");
    static_assert(!usual || purpose != Purpose::order,
                  "txscope: an ordering is ascending(field<…>) or descending(field<…>)");
    static_assert(!usual || purpose != Purpose::insert,
                  "txscope: a row is inserted by a model, or by assignments, each column once");
    static_assert(!usual || purpose != Purpose::insert_all,
                  "txscope: rows are inserted by one range of models");
    static_assert(
        !usual || purpose != Purpose::save,
        "txscope: a row is saved by a model, or rows by a range of them, and by what says "
        "which row is there already: columns<&Model::member> of a unique constraint, or a "
        "Constraint");
    static_assert(
        !usual || purpose != Purpose::update,
        "txscope: an update says which rows, by the values of the key or by conditions, and "
        "behind them what they get: assignments, each column once, or Changes");
    static_assert(!usual || purpose != Purpose::change,
                  "txscope: a change is an assignment: field<&Model::member> = value");
}

/// What an update would give: the row with a key, or how many. Its type is deduced there, as that of
/// `restore` is, so that compilers say why ahead of what is wrong with its result.
template <typename Model, bool by_key>
using RefusedUpdate =
    boost::asio::awaitable<std::conditional_t<by_key, std::optional<Model>, std::int64_t>>;

/// Whether they are models, or derive from them: one, or up to `most`.
template <typename Model, std::size_t most, typename... Ts>
inline constexpr bool are_models = sizeof...(Ts) >= 1 && sizeof...(Ts) <= most &&
                                   (std::convertible_to<const Ts&, const Model&> && ...);

/// Braces around keys: g++ 12 has no arrays in a `co_await` expression, and says so of the end of its
/// function. So they are refused by each compiler, and before that.
template <typename Value, typename Answer>
auto refuse_braces(Answer answer) {
    static_assert(never<Value>,
                  "txscope: many values are a range: std::vector{1, 2} in the place of {1, 2}");
    return answer;
}

/// The type of the column that the first argument names, so that nothing is wrong with what is done with
/// its values.
template <typename...>
struct NamedColumn {
    using Value = std::int64_t;
};
template <AnyExpression Column, typename... Rest>
struct NamedColumn<Column, Rest...> {
    using Value = typename Column::Value;
};
template <typename... Arguments>
using NamedValue = typename NamedColumn<Arguments...>::Value;

/// What is called of a repository with what it does not take does not compile, and this says why.
template <typename Model>
struct RefusedReads {
    template <typename... Selector>
    boost::asio::awaitable<Model> get(const Selector&...) const {
        refuse<Purpose::select_row, Model, Selector...>();
        return {};
    }
    template <typename... Selector>
    boost::asio::awaitable<std::optional<Model>> find(const Selector&...) const {
        refuse<Purpose::select_row, Model, Selector...>();
        return {};
    }
    template <typename... Selector>
    boost::asio::awaitable<bool> exists(const Selector&...) const {
        refuse<Purpose::select_row, Model, Selector...>();
        return {};
    }
    template <typename... Clauses>
    boost::asio::awaitable<std::vector<Model>> find_all(const Clauses&...) const {
        refuse<Purpose::select_rows, Model, Clauses...>();
        return {};
    }
    template <typename Key, typename... Clauses>
    auto find_all(std::initializer_list<Key>, const Clauses&...) const {
        return refuse_braces<Key>(boost::asio::awaitable<std::vector<Model>>{});
    }
    template <typename... Clauses>
    boost::asio::awaitable<PageOf<Model>> find_page(const Clauses&...) const {
        refuse<Purpose::select_rows, Model, Clauses...>();
        return {};
    }
    template <typename Row = Model, typename... Clauses>
    boost::asio::awaitable<std::vector<Row>> select(const Clauses&...) const {
        refuse<Purpose::select_some_columns, Model, Clauses...>();
        return {};
    }
    template <typename... Conditions>
    boost::asio::awaitable<std::int64_t> count(const Conditions&...) const {
        refuse<Purpose::narrow, Model, Conditions...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::optional<without_optional<NamedValue<Arguments...>>>> sum(
        const Arguments&...) const {
        refuse<Purpose::compute_of_column, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::optional<double>> average(const Arguments&...) const {
        refuse<Purpose::compute_of_column, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::optional<without_optional<NamedValue<Arguments...>>>> min(
        const Arguments&...) const {
        refuse<Purpose::compute_of_column, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::optional<without_optional<NamedValue<Arguments...>>>> max(
        const Arguments&...) const {
        refuse<Purpose::compute_of_column, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::vector<std::pair<NamedValue<Arguments...>, std::int64_t>>> count_by(
        const Arguments&...) const {
        refuse<Purpose::compute_of_column, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    boost::asio::awaitable<std::map<without_optional<NamedValue<Arguments...>>, std::vector<Model>>>
    find_by(const Arguments&...) const {
        refuse<Purpose::select_by_column, Model, Arguments...>();
        return {};
    }
    template <typename Column, typename Value, typename... Clauses>
    auto find_by(Column, std::initializer_list<Value>, const Clauses&...) const {
        return refuse_braces<Value>(
            boost::asio::awaitable<std::map<std::int64_t, std::vector<Model>>>{});
    }
};

}  // namespace txscope::detail
