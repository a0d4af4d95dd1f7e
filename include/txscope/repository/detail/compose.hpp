#pragma once

#include <txscope/postgres/sql.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/column_array.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_builders.hpp>
#include <txscope/repository/detail/sql_writer.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>
#include <pqxx/except>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope::detail {

template <typename Part>
inline constexpr bool is_fixed = true;
template <typename Part>
    requires AnyCondition<Part> || is_ordering<Part> || is_assignment<Part>
inline constexpr bool is_fixed<Part> = Part::fixed;
template <typename Model>
inline constexpr bool is_fixed<Changes<Model>> = false;
template <>
inline constexpr bool is_fixed<Constraint> = false;

/// What a builder writes: a `std::string_view` of one fixed at compile time, but a `std::string` where a
/// part's shape depends on its value.
template <typename E, typename Builder, typename... Parts>
auto sql_text(const Parts&... parts) {
    if constexpr (!E::is_complete())
        return std::string_view{};
    else if constexpr ((is_fixed<Parts> && ...))
        return fixed_sql<E, Builder, Parts...>;
    else
        return composed_sql<E, Builder>(parts...);
}

/// A statement with that text.
template <typename E, typename Builder, typename... Parts>
Statement begin_statement(const Parts&... parts) {
    if constexpr (!E::is_complete() || (is_fixed<Parts> && ...)) {
        return Statement{sql_text<E, Builder>(parts...)};
    } else {
        SqlWriter measure{&E::column_name};
        Builder::write(measure, &parts...);
        return Statement{measure.size(), [&](char* out) {
                             SqlWriter writer{&E::column_name, out};
                             Builder::write(writer, &parts...);
                         }};
    }
}

template <typename E>
std::string table_text() {
    return std::string{sql_text<E, TableOnly<E>>()};
}

inline void bind_page(Statement& statement, const Page& page) {
    if (page.limit.value_or(0) < 0 || page.offset < 0)
        throw pqxx::argument_error{"a page has neither a negative limit nor a negative offset"};
    statement.bind(page.limit).bind(page.offset);
}

/// Binds the parts' values in the order in which every builder writes them: assignments,
/// conditions, orderings, page.
template <typename... Parts>
void bind_parts(Statement& statement, const Parts&... parts) {
    [[maybe_unused]] const auto bind_if = [&]<bool wanted, typename Part>(
                                              std::bool_constant<wanted>, const Part& part) {
        if constexpr (wanted && std::same_as<Part, Page>)
            bind_page(statement, part);
        else if constexpr (wanted)
            part.bind(statement);
    };
    (bind_if(std::bool_constant<Assigning<Parts>>{}, parts), ...);
    (bind_if(std::bool_constant<AnyCondition<Parts>>{}, parts), ...);
    (bind_if(std::bool_constant<is_ordering<Parts>>{}, parts), ...);
    (bind_if(std::bool_constant<std::same_as<Parts, Page>>{}, parts), ...);
}

/// A statement: what a builder writes, with the values of its parts.
template <typename E, typename Builder, typename... Parts>
Statement compose(const Parts&... parts) {
    Statement statement = begin_statement<E, Builder>(parts...);
    bind_parts(statement, parts...);
    return statement;
}

/// The SELECT of some columns, for who checks SQL before it runs.
template <typename E, typename Row>
inline const NamedSql named_projection{sql_text<E, Select<E, Row>>(),
                                       [] { return std::vector<ExpectedType>{}; },
                                       &ExpectedRow<Row>::columns, false};

/// SELECT of the rows that clauses mean.
template <typename E, typename Builder, typename... Clauses>
Statement compose_select(const Clauses&... clauses) {
    constexpr bool goes_on = (is_after<Clauses> || ...);
    constexpr bool known = !goes_on || !(sorts_null<Clauses> || ...);
    static_assert(known,
                  "txscope: what comes behind NULL is not known: pages go by members that are no "
                  "std::optional");
    static_assert(!goes_on || !(sorts_cut_time<Clauses> || ...),
                  "txscope: a time that is cut off tells no rows apart: pages go by times of "
                  "microseconds, as PostgreSQL has them");
    if constexpr (known)
        return compose<E, Builder>(as_condition<typename E::Model, Clauses...>(clauses)...);
    else
        return Statement{""};
}

/// How many rows the page among the clauses has.
/// @throws pqxx::argument_error where it does not say so, or there would be no counting one more
template <typename... Clauses>
std::int64_t limit_of(const Clauses&... clauses) {
    std::optional<std::int64_t> limit;
    const auto look = [&]<typename Clause>(const Clause& clause) {
        if constexpr (std::same_as<Clause, Page>) limit = clause.limit;
    };
    (look(clauses), ...);
    if (!limit || *limit < 0 || *limit == std::numeric_limits<std::int64_t>::max())
        throw pqxx::argument_error{"a page says by its limit how many rows it has"};
    return *limit;
}

/// `clause`; if it is the page, with another limit.
template <typename Clause>
decltype(auto) with_limit(std::int64_t limit, const Clause& clause) {
    if constexpr (std::same_as<Clause, Page>)
        return Page{.limit = limit, .offset = clause.offset};
    else
        return (clause);
}

/// A statement that inserts a whole model; `parts` are for its builder.
template <typename E, typename Builder, typename... Parts>
Statement compose_of_model(const typename E::Model& model, const Parts&... parts) {
    Statement statement = begin_statement<E, Builder>(parts...);
    for_each_inserted<E>(
        [&](auto column) { statement.bind(std::invoke(decltype(column)::pointer, model)); });
    return statement;
}

/// INSERT of a whole model.
template <typename E, bool Returning>
Statement compose_insert(const typename E::Model& model) {
    return compose_of_model<E, Insert<E, Returning>>(model);
}

/// A statement that inserts all models of a range, as many as there are; none for an empty one. `parts`
/// are for its builder.
template <typename E, typename Builder, typename Models, typename... Parts>
std::optional<Statement> compose_of_models(Models&& models, const Parts&... parts) {
    static_assert(inserted_columns<E> > 0 || !E::is_complete(),
                  "txscope: the database generates all of this model");
    std::array<ColumnArray, inserted_columns<E>> columns;
    for (const typename E::Model& model : models) {
        auto array = columns.begin();
        for_each_inserted<E>(
            [&](auto column) { (array++)->add(std::invoke(decltype(column)::pointer, model)); });
    }
    if (columns.front().empty()) return std::nullopt;
    Statement statement = begin_statement<E, Builder>(parts...);
    for (const ColumnArray& column : columns) statement.bind(column.text());
    return statement;
}

/// INSERT of all models of a range.
template <typename E, bool Returning, typename Models>
std::optional<Statement> compose_insert_all(Models&& models) {
    return compose_of_models<E, InsertAll<E, Returning>>(models);
}

/// Whether an INSERT of a whole model says by itself which row is there already.
template <typename E, typename Target>
inline constexpr bool inserts_all_of = true;
template <typename E, auto... Members>
inline constexpr bool inserts_all_of<E, Columns<Members...>> =
    !(contains<decltype(E::generated()), Members> || ...);

/// INSERT of a whole model, or of all models of a range, with a way out of a conflict with what `target`
/// means.
template <typename E, typename Builder, typename Models, typename Target>
auto compose_upsert(Models&& models, const Target& target) {
    static_assert(inserts_all_of<E, Target>,
                  "txscope: the database generates this key, so no row that is there has it yet: "
                  "name the columns of another unique constraint, columns<&Model::member>");
    constexpr bool says_which =
        std::same_as<Builder, CreateUnlessExists<E>> || !std::same_as<Target, Columns<>>;
    static_assert(
        says_which,
        "txscope: which row is there already says its key, or a unique constraint: without a "
        "member `id`, the repository says `static constexpr auto key = columns<…>`");
    if constexpr (!says_which)
        return compose_upsert<E, CreateUnlessExists<E>>(models, target);
    else if constexpr (std::convertible_to<Models, const typename E::Model&>)
        return compose_of_model<E, Builder>(models, target);
    else
        return compose_of_models<E, Builder>(models, target);
}

/// Whether a row is known by a key; of what is not complete, that has been refused already.
template <typename E>
inline constexpr bool has_key = E::key().size > 0 || !E::is_complete();

template <typename Columns, typename... Parts>
inline constexpr bool is_key_of = false;
template <auto... Members, typename... Parts>
    requires(sizeof...(Members) == sizeof...(Parts))
inline constexpr bool is_key_of<Columns<Members...>, Parts...> =
    (OperandFor<Parts, Members> && ...);

/// Whether those among `Arguments` that may be a key's values are those of the key's columns.
template <typename Columns, typename Values>
inline constexpr bool are_key_of = false;
template <typename Columns, typename... Values>
inline constexpr bool are_key_of<Columns, boost::mp11::mp_list<Values...>> =
    is_key_of<Columns, Values...>;
template <typename E, typename... Arguments>
inline constexpr bool give_key =
    are_key_of<decltype(E::key()),
               boost::mp11::mp_append<
                   std::conditional_t<KeyValueFor<Arguments, typename E::Model>,
                                      boost::mp11::mp_list<Arguments>, boost::mp11::mp_list<>>...>>;

/// Calls `use(conditions...)` with one `column = part` for each part of a primary key.
template <auto... Members, typename Use, typename... Parts>
auto with_key(Columns<Members...>, Use&& use, const Parts&... parts) {
    return use((field<Members> == parts)...);
}

/// The same with the key of a model.
template <auto... Members, typename Model, typename Use>
auto with_key_of(Columns<Members...> key, const Model& model, Use&& use) {
    return with_key(key, use, model.*Members...);
}

/// The same for the row that a model was read from: where the entity has a version, in that one.
template <typename E, typename Use>
auto with_row_of(const typename E::Model& model, Use&& use) {
    return with_key_of(E::key(), model, [&](const auto&... key) {
        return with_key_of(E::version(), model,
                           [&](const auto&... version) { return use(key..., version...); });
    });
}

/// What there is to change for one model to be as another: no key, and no generated column.
template <typename E>
Changes<typename E::Model> changes_between(const typename E::Model& before,
                                           const typename E::Model& after) {
    Changes<typename E::Model> changes;
    for_each_updated<E>([&](auto column) {
        const auto& value = std::invoke(decltype(column)::pointer, after);
        if (!(std::invoke(decltype(column)::pointer, before) == value))
            changes.put(decltype(column)::name, Parameter<std::decay_t<decltype(value)>>(value));
    });
    return changes;
}

/// UPDATE by a whole model of its row.
template <typename E>
Statement compose_update(const typename E::Model& model) {
    static_assert(has_updated_columns<E> || !E::is_complete(),
                  "txscope: this model is all key or generated: nothing to update");
    static_assert(has_key<E>,
                  "txscope: a row is known by its key: without a member `id`, the repository says "
                  "`static constexpr auto key = columns<…>`");
    return with_row_of<E>(model, [&](const auto&... equal) {
        Statement statement = begin_statement<E, Update<E, true>>(equal...);
        for_each_updated<E>(
            [&](auto column) { statement.bind(std::invoke(decltype(column)::pointer, model)); });
        bind_parts(statement, equal...);
        return statement;
    });
}

/// @throws pqxx::argument_error unless two models have the same key
template <typename E>
void check_same_row(const typename E::Model& before, const typename E::Model& after) {
    for_each_column<typename E::Model>([&](auto column) {
        constexpr auto member = decltype(column)::pointer;
        if constexpr (contains<decltype(E::key()), member>) {
            std::string texts[2];
            const bool same = append_parameter(texts[0], std::invoke(member, before)) ==
                                  append_parameter(texts[1], std::invoke(member, after)) &&
                              texts[0] == texts[1];
            if (!same)
                throw pqxx::argument_error{
                    "update(before, after) is told of two rows: their keys differ"};
        }
    });
}

/// UPDATE of what is to change for the row of one model to be as another; SELECT where nothing is.
template <typename E>
Statement compose_update(const typename E::Model& before, const typename E::Model& after) {
    static_assert(has_key<E>,
                  "txscope: a row is known by its key: without a member `id`, the repository says "
                  "`static constexpr auto key = columns<…>`");
    check_same_row<E>(before, after);
    return with_row_of<E>(before, [&](const auto&... equal) {
        return compose<E, Update<E, true>>(changes_between<E>(before, after), equal...);
    });
}

/// DELETE of the row of a model.
template <typename E>
Statement compose_remove(const typename E::Model& model) {
    static_assert(has_key<E>,
                  "txscope: a row is known by its key: without a member `id`, the repository says "
                  "`static constexpr auto key = columns<…>`");
    return with_row_of<E>(model,
                          [](const auto&... equal) { return compose<E, Delete<E>>(equal...); });
}

/// A statement for the rows that its first arguments mean, the values of a key or else conditions,
/// with the parts behind them.
template <typename E, typename Builder, typename... Arguments>
Statement compose_for(const Arguments&... arguments) {
    constexpr std::size_t values =
        (std::size_t{0} + ... + std::size_t{KeyValueFor<Arguments, typename E::Model>});
    constexpr bool fits = values == 0 || give_key<E, Arguments...>;
    static_assert(fits,
                  "txscope: a key is one value for each of its columns, in their order and of "
                  "their types; without a member `id`, the repository says `static constexpr auto "
                  "key = columns<…>`");
    if constexpr (!fits) {
        return Statement{""};
    } else if constexpr (values == 0) {
        return compose<E, Builder>(arguments...);
    } else {
        const auto all = std::tie(arguments...);
        return [&]<std::size_t... k, std::size_t... p>(std::index_sequence<k...>,
                                                       std::index_sequence<p...>) {
            return with_key(
                E::key(),
                [&](const auto&... equal) {
                    return compose<E, Builder>(equal..., std::get<values + p>(all)...);
                },
                std::get<k>(all)...);
        }(std::make_index_sequence<values>{},
               std::make_index_sequence<sizeof...(Arguments) - values>{});
    }
}

/// Calls `use(condition, assignment)` with what makes rows that were deleted softly be so no more.
template <auto... DeletedAt, typename Use>
auto with_restoring(Columns<DeletedAt...>, Use&& use) {
    return use(field<DeletedAt>.is_not_null()..., (field<DeletedAt> = std::nullopt)...);
}

/// UPDATE of such rows. `All` is the entity with them.
template <typename All, bool Returning, auto... DeletedAt, typename... Selector>
Statement compose_restore(Columns<DeletedAt...> deleted_at, const Selector&... selector) {
    constexpr bool softly = (Nullable<DeletedAt> || ...);
    static_assert(softly,
                  "txscope: nothing is deleted softly here: the repository says no `deleted_at`, "
                  "a member that is a std::optional");
    if constexpr (softly)
        return with_restoring(deleted_at, [&](const auto&... parts) {
            return compose_for<All, Update<All, Returning>>(selector..., parts...);
        });
    else
        return Statement{""};
}

/// SELECT of one row. Of the rows that conditions mean, two are enough to know that it is not one.
template <typename E, typename... Selector>
Statement compose_select_one(const Selector&... selector) {
    constexpr bool conditions = (AnyCondition<Selector> || ...);
    constexpr bool fits = conditions || give_key<E, Selector...>;
    static_assert(fits,
                  "txscope: a key is one value for each of its columns, in their order and of "
                  "their types; without a member `id`, the repository says `static constexpr auto "
                  "key = columns<…>`");
    if constexpr (conditions)
        return compose<E, Select<E>>(selector..., Page{.limit = 2});
    else if constexpr (fits)
        return compose_for<E, Select<E>>(selector...);
    else
        return Statement{""};
}

}  // namespace txscope::detail
