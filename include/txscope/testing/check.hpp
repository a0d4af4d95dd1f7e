#pragma once

#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/repository/with_deleted.hpp>
#include <txscope/testing/detail/checked_schema.hpp>
#include <txscope/testing/detail/repository_statements.hpp>
#include <txscope/testing/temporary_postgres.hpp>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

template <typename T, typename Model>
std::type_identity<Model> model_of(const ReadRepository<T, Model>&);
template <typename T>
concept AnyRepository = requires(const T& repository) { model_of(repository); };

template <typename E, bool writes>
void add_statements(ExpectedTable& table) {
    const auto keep = [&](std::string_view sql) { table.statements.emplace(sql); };
    for_each_statement_that_reads<E>(keep);
    if constexpr (writes) for_each_statement_that_writes<E>(keep);
    for_each_statement_by_column<E, writes>(
        [&](std::string_view sql) { table.statements_by_column.emplace(sql); });
}

template <typename Repository>
ExpectedTable expected_table() {
    using Model = typename decltype(model_of(std::declval<const Repository&>()))::type;
    using E = Entity<Repository, Model>;
    constexpr bool writes = std::is_base_of_v<BaseRepository<Repository, Model>, Repository>;
    ExpectedTable table{
        .name = std::string{E::table().name}, .quoted = table_text<E>(), .writes = writes};
    if (!E::table().schema.empty()) table.name.insert(0, std::string{E::table().schema} + ".");
    for_each_column<Model>([&](auto column) {
        constexpr std::string_view member = decltype(column)::name;
        using Member = struct_member_type<Model, decltype(column)>;
        table.columns.push_back(
            {std::string{E::column_name(member)}, expected_type<Member, Use::read>()});
        table.left_out.insert(table.columns.back().name);
    });
    const auto give = [&](auto column) {
        table.left_out.erase(std::string{E::column_name(decltype(column)::name)});
    };
    for_each_inserted<E>(give);
    for_each_column<Model>([&](auto column) {
        if constexpr (contains<decltype(E::created_at() + E::updated_at()),
                               decltype(column)::pointer>)
            give(column);
    });
    add_statements<E, writes>(table);
    if constexpr (E::deleted_at().size > 0) {
        using All = Entity<WithDeleted<BaseRepository, Repository, Model>, Model>;
        add_statements<All, writes>(table);
        if constexpr (writes)
            for_each_statement_that_restores<E, All>(
                [&](std::string_view sql) { table.statements.emplace(sql); });
    }
    return table;
}

}  // namespace detail

namespace testing {

/// A file of SQL that makes a schema, such as `pg_dump --schema-only` writes; `psql`'s own commands in it
/// are passed over.
struct SchemaFile {
    std::filesystem::path path;
};

/// Makes the schema of a file, for the tests of a program on a `TemporaryPostgres`: all that is in it, or
/// nothing.
/// @throws std::runtime_error where it cannot be read, or the server refuses it
inline void load(const SchemaFile& file, const std::string& dsn) {
    std::ifstream in{file.path};
    if (!in) throw std::runtime_error{"cannot read " + file.path.string()};
    std::string sql;
    for (std::string line; std::getline(in, line);)
        if (!line.starts_with('\\')) sql += line + '\n';
    detail::CheckedSchema{dsn}.load(sql);
}

/// What does not fit, a line each: the table, the column, what is there, and what the program has in its
/// place.
using Mismatches = std::vector<std::string>;

/// Whether a schema is what the program takes it for: has the server prepare every statement that these
/// repositories can send, and every `sql<"…">` and `select<Row>` that the program names, and compares types
/// and NULLs. Executes none of them.
///
/// ```cpp
/// TEST_CASE("the program and its schema fit together") {
///     CHECK(check<ProjectRepository, WorkflowRepository>(SchemaFile{"schema.sql"}) == Mismatches{});
/// }
/// // projects.stars is bigint, where the program has a 32-bit integer
/// // projects.note may be NULL, where the program has a text, no std::optional
/// // sql<"SELECT nam FROM projects">: column "nam" does not exist
/// ```
///
/// What has fields and conditions of the caller's is prepared with each column of the model. That its type
/// has no such operation, as nothing is compared with a `json`, is no mismatch: the program need not ask for
/// it. What only a call knows is not prepared: `sql("…")` in a condition, a `Constraint`. A `sql<"…">` of that
/// text, with its types, has it checked.
///
/// A text may be of any type that has no C++ type of its own. Of a type of the program's own, its
/// `SqlValue` may say which types it is for: `static constexpr std::string_view type_names[] = {"citext"};`.
/// That a column cannot be NULL where its member can be is no mismatch. A composite's fields are compared
/// with the members at their places. What is not seen: that an outer join makes NULL of a column which is
/// NOT NULL in its table.
/// @param dsn a connection string: the schema that is there
/// @throws std::runtime_error where nothing can be checked
template <typename... Repositories>
Mismatches check(const std::string& dsn) {
    constexpr bool fit = (detail::AnyRepository<Repositories> && ...);
    static_assert(fit, "txscope: what is checked are repositories, check<ProjectRepository>(…)");
    detail::CheckedSchema schema{dsn};
    Mismatches mismatches;
    if constexpr (fit) (schema.check(detail::expected_table<Repositories>(), mismatches), ...);
    detail::NamedSql::for_each(
        [&](const detail::NamedSql& named) { schema.check(named, mismatches); });
    return mismatches;
}

/// The same with the schema of a file, on a `TemporaryPostgres`.
template <typename... Repositories>
Mismatches check(const SchemaFile& file) {
    const TemporaryPostgres server;
    load(file, server.dsn());
    return check<Repositories...>(server.dsn());
}

}  // namespace testing
}  // namespace txscope
