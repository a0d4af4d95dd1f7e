#pragma once

#include <txscope/core/value.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/repository/detail/hidden_names.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <boost/describe/members.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace txscope {

/// A set of columns, named by the members that hold them: `columns<&Project::id, &Project::name>`.
template <auto... Members>
    requires(std::is_member_object_pointer_v<decltype(Members)> && ...)
struct Columns {
    static constexpr std::size_t size = sizeof...(Members);
};

template <auto... Members>
inline constexpr Columns<Members...> columns{};

template <auto... Left, auto... Right>
constexpr Columns<Left..., Right...> operator+(Columns<Left...>, Columns<Right...>) {
    return {};
}

/// A constraint of a table, by its name.
struct Constraint {
    std::string_view name;
};

/// A table's name, part by part, where a dot belongs to the name itself.
///
/// A plain `std::string_view` is enough nearly always: it is split at its dot, so
/// `"app.projects"` is the table `projects` of the schema `app`.
struct TableName {
    std::string_view schema{};  ///< Empty: found through the connection's `search_path`.
    std::string_view name{};
};

namespace detail {

/// What counts a row's changes: an integer, or a strong type of one.
template <typename T>
inline constexpr bool is_counter = Integer<T>;
template <typename T>
    requires requires { typename SqlValue<T>::Value; }
inline constexpr bool is_counter<T> = Integer<typename SqlValue<T>::Value>;

/// Says a `table` that is a constant.
template <typename T>
concept NamesTable = requires {
    typename std::bool_constant<(std::string_view{T::table}, true)>;
} || requires { typename std::bool_constant<(TableName{T::table}, true)>; };

}  // namespace detail

/// How a described struct maps to a table: what a repository class says about itself.
///
/// - `table`: the table, as `"projects"`, `"app.projects"` or a `TableName`. One that is called like a type
///   of PostgreSQL's, as `point`, needs its schema for `create_all` and the like (SQLSTATE 42809).
/// - `generated`: the `columns<…>` that the database fills, never inserted from a model. By
///   default, none.
/// - `key`: the `columns<…>` of the primary key, in the order in which `get` and `find` take its
///   values. By default, the member `id`; where there is neither, the calls that need one do not compile.
/// - `version`: the one of the `columns<…>` that counts a row's changes, an integer. By default, none.
///   Every update counts it up, but for one that assigns it; one by a model, and a removal, is refused
///   with `StaleEntity` where the row has another version by now than the model.
/// - `created_at`, `updated_at`: the one of the `columns<…>` each that has the server's time since which
///   there is the row, and at which it was last written; always that of the transaction's begin
///   (`now()`), whatever is in the model. An assignment to that very field is written as it is. Their
///   columns, and that of `deleted_at`, are `timestamptz`: a `timestamp` gets the time of the session's
///   time zone.
/// - `deleted_at`: the one of the `columns<…>`, a `std::optional`, that has the time since which the row
///   counts as deleted. `remove` sets it instead of deleting, and everything else passes over rows that
///   have it; `with_deleted()` does not, and `restore` makes an end of it. A deleted row keeps its place
///   in unique constraints: `save` brings back the one that it meets, `create_unless_exists` takes it for
///   one that exists. An index `UNIQUE … WHERE deleted_at IS NULL` leaves the place to another row.
/// - `column(member)`: what the column of a member is called. By default, like the member.
///
/// All are `static constexpr` and public:
///
/// ```cpp
/// static constexpr std::string_view table = "app.projects";
/// static constexpr auto generated = txscope::columns<&Project::id, &Project::created_at>;
/// static constexpr auto key = txscope::columns<&Project::tenant, &Project::number>;
/// static constexpr std::string_view column(std::string_view member) {
///     return member == "kind" ? "class" : member;
/// }
/// ```
///
/// Columns are the members that Boost.Describe knows, inherited ones included. Every name is sent
/// quoted, so it is case sensitive and may be any text of up to 63 bytes: PostgreSQL would cut it
/// there, so a longer one does not compile.
template <typename Repository, typename ModelType>
struct Entity {
    using Model = ModelType;

    /// The column that holds `member`.
    static constexpr std::string_view column_name(std::string_view member) {
        if constexpr (requires { Repository::column(member); })
            return Repository::column(member);
        else
            return member;
    }

    /// Whether no name is one that PostgreSQL would cut: of the table, of a column, of a member, under
    /// which its column is read.
    static constexpr bool names_fit() {
        constexpr TableName name = table();
        bool fit = name.name.size() <= detail::max_name_length &&
                   name.schema.size() <= detail::max_name_length;
        detail::for_each_column<Model>([&](auto column) {
            constexpr std::string_view member = decltype(column)::name;
            fit = fit && member.size() <= detail::max_name_length &&
                  column_name(member).size() <= detail::max_name_length;
        });
        return fit;
    }

    static constexpr auto key() {
        if constexpr (requires { Repository::key; })
            return Repository::key;
        else if constexpr (requires { &Model::id; })
            return columns<&Model::id>;
        else
            return columns<>;  // who only inserts needs none
    }

    static constexpr auto generated() {
        if constexpr (requires { Repository::generated; })
            return Repository::generated;
        else
            return columns<>;
    }

    static constexpr auto version() {
        if constexpr (requires { Repository::version; })
            return Repository::version;
        else
            return columns<>;
    }

    static constexpr auto created_at() {
        if constexpr (requires { Repository::created_at; })
            return Repository::created_at;
        else
            return columns<>;
    }

    static constexpr auto updated_at() {
        if constexpr (requires { Repository::updated_at; })
            return Repository::updated_at;
        else
            return columns<>;
    }

    static constexpr auto deleted_at() {
        if constexpr (requires { Repository::deleted_at; })
            return Repository::deleted_at;
        else
            return columns<>;
    }

    /// Whether the types of all members are values of SQL.
    static constexpr bool has_values() {
        bool all = true;
        detail::for_each_column<Model>([&](auto column) {
            using Member = detail::struct_member_type<Model, decltype(column)>;
            all = all && (detail::is_readable<Member> || detail::is_writable<Member>);
        });
        return all;
    }

    /// Whether a model can be made, and then be filled with what is read.
    static constexpr bool is_assigned() {
        bool all = std::is_default_constructible_v<Model>;
        detail::for_each_column<Model>([&](auto column) {
            using Member =
                std::remove_reference_t<std::invoke_result_t<decltype(column.pointer), Model&>>;
            all = all && !std::is_const_v<Member>;
        });
        return all;
    }

    /// Whether what is said of columns names members of the model.
    static constexpr bool has_columns() {
        return has(key()) && has(generated()) && has_one(version()) && has_one(created_at()) &&
               has_one(updated_at()) && has_one(deleted_at());
    }

    /// Whether a version is counted, and the time of a deletion may be none.
    static constexpr bool has_policies() {
        if constexpr (has_columns())
            return counts(version()) && may_be_none(deleted_at());
        else
            return false;
    }

    /// Whether there is a table, and what is said of columns names members of the model, which are
    /// values.
    static constexpr bool is_complete() {
        if constexpr (detail::is_described<Model> && has_values() && is_assigned() &&
                      detail::NamesTable<Repository>)
            return has_table() && names_fit() && has_policies();
        else
            return false;
    }

    static constexpr TableName table() { return parse(Repository::table); }

    /// Whether that is a name.
    static constexpr bool has_table() {
        constexpr TableName name = table();
        return !name.name.empty() && name.name.find('\0') == std::string_view::npos &&
               name.schema.find('\0') == std::string_view::npos;
    }

    /// The quoted name of the table.
    static constexpr void write_table(detail::SqlWriter& out) {
        constexpr TableName name = table();
        if (!name.schema.empty()) out.identifier(name.schema) << ".";
        out.identifier(name.name);
    }

private:
    template <auto... Members>
    static constexpr bool has(Columns<Members...>) {
        return (detail::ColumnOf<Model, Members> && ...);
    }
    template <typename Other>
    static constexpr bool has(const Other&) {
        return false;
    }
    template <typename Set>
    static constexpr bool has_one(Set set) {
        if constexpr (requires { Set::size; })
            return Set::size <= 1 && has(set);
        else
            return false;
    }

    template <auto... Members>
    static constexpr bool counts(Columns<Members...>) {
        return (detail::is_counter<detail::member_type<Members>> && ...);
    }
    template <auto... Members>
    static constexpr bool may_be_none(Columns<Members...>) {
        return (detail::IsOptional<detail::member_type<Members>>::value && ...);
    }

    static constexpr TableName parse(TableName name) { return name; }
    static constexpr TableName parse(std::string_view name) {
        const std::size_t dot = name.find('.');
        if (dot == std::string_view::npos) return {.schema = {}, .name = name};
        const TableName parts{.schema = name.substr(0, dot), .name = name.substr(dot + 1)};
        const bool refused = parts.schema.empty() || parts.name.find('.') != std::string_view::npos;
        return refused ? TableName{} : parts;
    }
};

namespace detail {

/// Does not compile where a repository does not say what it has to, or derives from another's base. To
/// be called where a repository is made, as each is somewhere; what its calls miss they leave out, so
/// that this is the only error.
template <typename Base, typename T, typename Model>
constexpr void check_repository() {
    constexpr bool derives = std::is_base_of_v<Base, T>;
    constexpr bool described = is_described<Model>;
    constexpr bool has_table = NamesTable<T>;
    static_assert(derives,
                  "txscope: a repository derives from BaseRepository<itself, its model>, or from "
                  "ReadRepository<itself, its model>");
    static_assert(
        !derives || described,
        "txscope: a model is a struct that is described, by BOOST_DESCRIBE_STRUCT(Model, (), "
        "(its, members))");
    static_assert(!derives || !described || has_table,
                  "txscope: a repository says which table is its own: `static constexpr "
                  "std::string_view table = \"projects\";`");
    if constexpr (derives && described && has_table) {
        constexpr bool values = Entity<T, Model>::has_values();
        static_assert(values,
                      "txscope: the type of a member is no SQL value: specialise txscope::SqlValue "
                      "or pqxx::string_traits for it, and say std::string for a character");
        constexpr bool assigned = Entity<T, Model>::is_assigned();
        static_assert(!values || assigned,
                      "txscope: a model is made without arguments, and its members are assigned "
                      "then: none of them is const");
        constexpr bool named = Entity<T, Model>::has_table();
        static_assert(
            !values || !assigned || named,
            "txscope: table is \"name\" or \"schema.name\"; use TableName for a name with dots");
        constexpr bool fit = Entity<T, Model>::names_fit();
        static_assert(
            !values || !assigned || !named || fit,
            "txscope: PostgreSQL cuts names at 63 bytes, and one is longer: of the table, "
            "of its schema, of a member, or what `column(member)` calls its column");
        constexpr bool columns = Entity<T, Model>::has_columns();
        static_assert(
            !values || !assigned || !named || !fit || columns,
            "txscope: `key`, `generated`, `version` and the like name members that the model "
            "describes, by columns<…>; `version` and times are one column each");
        constexpr bool policies = Entity<T, Model>::has_policies();
        static_assert(!values || !assigned || !named || !fit || !columns || policies,
                      "txscope: `version` is an integer, and `deleted_at` a std::optional");
        constexpr bool hidden = hides_what_it_says<T>();
        static_assert(!hidden,
                      "txscope: what a repository says is public: `key`, `generated`, `version`, "
                      "`created_at`, `updated_at`, `deleted_at` and `column`");
    }
}

}  // namespace detail

}  // namespace txscope
