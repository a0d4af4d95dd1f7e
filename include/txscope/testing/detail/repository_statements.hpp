#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/detail/keys.hpp>
#include <txscope/repository/with_deleted.hpp>

#include <array>
#include <concepts>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

/// The statements that a repository sends. Each function here calls `visit(sql)` with them; a value that
/// stands in one is only there for its type, and is never sent.
namespace txscope::detail {

/// A column as `field` names it, but by what describes the model: a plain struct's members have no pointers
/// there.
template <typename Model, typename Column>
class AnyField : public Expression<AnyField<Model, Column>> {
public:
    using Value = struct_member_type<Model, Column>;
    static constexpr bool fixed = true;
    template <typename M>
    static constexpr bool applies_to = std::same_as<M, Model>;
    template <typename>
    static constexpr std::string_view name() {
        return Column::name;
    }
    template <typename>
    static constexpr void write(SqlWriter& out, const AnyField*) {
        out.column(Column::name);
    }
    static void bind(Statement&) {}
};

/// The condition that `find_all` has for a range of keys.
template <typename E, auto... Members>
auto one_of_one_key(Columns<Members...> key) {
    if constexpr (sizeof...(Members) == 1)
        return one_of_keys<E>(key, std::array{column_type<Members>{}...});
    else
        return one_of_keys<E>(key, std::array{std::tuple{column_type<Members>{}...}});
}

/// Those of a `ReadRepository`: of calls that take conditions and fields, without these.
template <typename E, typename Visit>
void for_each_statement_that_reads(Visit visit) {
    visit(sql_text<E, Select<E>>());
    visit(sql_text<E, Select<E>>(Page{}));
    visit(sql_text<E, Count<E>>());
    if constexpr (has_key<E>) {
        with_key_of(E::key(), typename E::Model{}, [&](const auto&... key) {
            visit(sql_text<E, Select<E>>(key...));
            visit(sql_text<E, Exists<E>>(key...));
        });
        visit(sql_text<E, Select<E>>(*one_of_one_key<E>(E::key())));
    }
}

/// What a `BaseRepository` has besides, for a row that is known by its key.
template <typename E, typename Visit>
void for_each_statement_that_writes_by_key(Visit visit) {
    const typename E::Model model{};
    if constexpr (inserts_all_of<E, std::remove_const_t<decltype(E::key())>>) {
        visit(sql_text<E, CreateUnlessExists<E>>(E::key()));
        visit(sql_text<E, Save<E>>(E::key()));
        visit(sql_text<E, SaveAll<E>>(E::key()));
    }
    with_row_of<E>(model, [&](const auto&... equal) {
        if constexpr (has_updated_columns<E>) visit(sql_text<E, Update<E, true>>(equal...));
        visit(sql_text<E, Delete<E>>(equal...));
    });
    with_key_of(E::key(), model, [&](const auto&... key) {
        visit(sql_text<E, Delete<E>>(key...));
        const auto visit_locked = [&](auto... locks) {
            (visit(sql_text<E, Select<E>>(key..., locks)), ...);
        };
        visit_locked(for_update, for_update.skip_locked(), for_update.no_wait(), for_no_key_update,
                     for_share, for_key_share);
    });
}

/// All of it, likewise.
template <typename E, typename Visit>
void for_each_statement_that_writes(Visit visit) {
    visit(sql_text<E, Insert<E, true>>());
    visit(sql_text<E, Insert<E, false>>());
    visit(sql_text<E, CreateUnlessExists<E>>(columns<>));
    if constexpr (inserted_columns<E> > 0) {
        visit(sql_text<E, InsertAll<E, true>>());
        visit(sql_text<E, InsertAll<E, false>>());
    }
    if constexpr (has_key<E>) for_each_statement_that_writes_by_key<E>(visit);
}

/// Of a repository that deletes softly; `All` is its entity with the deleted rows.
template <typename E, typename All, typename Visit>
void for_each_statement_that_restores(Visit visit) {
    with_key_of(E::key(), typename E::Model{}, [&](const auto&... key) {
        with_restoring(E::deleted_at(), [&](const auto&... parts) {
            visit(sql_text<All, Update<All, true>>(key..., parts...));
            visit(sql_text<All, Update<All, false>>(parts...));
        });
    });
}

/// The conditions that a column can have with a value of its member.
template <typename Field, typename Visit>
void for_each_condition(Field column, Visit visit) {
    using Value = without_optional<typename Field::Value>;
    const Value value{};
    visit(column == value);
    visit(column != value);
    visit(column < value);
    visit(column <= value);
    visit(column > value);
    visit(column >= value);
    visit(column.is_distinct_from(value));
    if constexpr (!is_array<Field>) visit(column.in(value));
    visit(column.is_null());
    if constexpr (Number<Value>) {
        visit(column + value == value);
        visit(column - value == value);
        visit(column * value == value);
    }
    if constexpr (std::same_as<Value, std::string>) {
        visit(column.like(value));
        visit(column.ilike(value));
    }
    if constexpr (is_array<Field>) {
        const without_optional<element_of<Field>> element{};
        visit(column.any(element));
        visit(column.contains(element));
        visit(column.overlaps(element));
    }
}

/// Those that have a field or a condition of the caller's, with each column of the model.
template <typename E, bool writes, typename Visit>
void for_each_statement_by_column(Visit visit) {
    using Model = typename E::Model;
    // There are many, so that it is not for the compiler to write them.
    const auto write = [&]<typename Builder>(std::type_identity<Builder>, const auto&... parts) {
        visit(composed_sql<E, Builder>(parts...));
    };
    for_each_column<Model>([&](auto described) {
        using Column = decltype(described);
        constexpr auto member = Column::pointer;
        const AnyField<Model, Column> column{};
        const without_optional<struct_member_type<Model, Column>> value{};

        for_each_condition(column, [&](const auto& condition) {
            write(std::type_identity<Select<E>>{}, condition);
        });
        write(std::type_identity<Count<E>>{}, column == value);
        write(std::type_identity<Exists<E>>{}, column == value);
        if constexpr (writes) write(std::type_identity<Delete<E>>{}, column == value);
        write(std::type_identity<Select<E>>{}, column > value, ascending(column),
              Page{});  // `after`
        write(std::type_identity<Aggregate<E, Sum, member>>{});
        write(std::type_identity<Aggregate<E, Average, member>>{});
        write(std::type_identity<Aggregate<E, Minimum, member>>{});
        write(std::type_identity<Aggregate<E, Maximum, member>>{});
        write(std::type_identity<CountBy<E, member>>{});
    });
    if constexpr (writes)
        for_each_updated<E>([&](auto described) {
            using Column = decltype(described);
            const AnyField<Model, Column> column{};
            const without_optional<struct_member_type<Model, Column>> value{};
            Changes<Model> change;
            change.put(described.name, Parameter{value});
            write(std::type_identity<Insert<E, true>>{}, change);
            write(std::type_identity<Update<E, false>>{}, change, column == value);
            with_key_of(E::key(), Model{}, [&](const auto&... key) {
                write(std::type_identity<Update<E, true>>{}, change, key...);
            });
        });
}

}  // namespace txscope::detail
