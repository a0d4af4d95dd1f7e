#pragma once

#include <txscope/postgres/detail/expected_type.hpp>
#include <txscope/postgres/sql.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// What a repository takes for granted.
struct ExpectedTable {
    std::string name;    ///< `app.projects`
    std::string quoted;  ///< `"app"."projects"`
    bool writes = false;
    std::vector<ExpectedColumn> columns{};
    std::set<std::string> left_out{};  ///< Columns that the INSERT of a model gives no value.
    std::set<std::string> statements{};
    /// Those that a program sends only if it says so of a column, whose type may have no such operation:
    /// a `json` is compared with nothing.
    std::set<std::string> statements_by_column{};
};

/// Looks at a schema, over a connection of its own, by plain blocking calls. Executes no statement that
/// it is to look at.
class CheckedSchema {
public:
    /// @throws std::runtime_error where there is no connection
    explicit CheckedSchema(const std::string& conninfo)
        : connection_{PQconnectdb(conninfo.c_str()), &PQfinish} {
        if (PQstatus(native()) != CONNECTION_OK) throw std::runtime_error{PQerrorMessage(native())};
        PQsetNoticeReceiver(native(), [](void*, const PGresult*) {}, nullptr);
    }

    /// Runs a file of statements.
    /// @throws std::runtime_error where one fails
    void load(const std::string& sql) {
        const Answer answer = own(PQexec(native(), sql.c_str()));
        const auto status = PQresultStatus(answer.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY)
            throw std::runtime_error{PQerrorMessage(native())};
    }

    /// What does not fit, a line each.
    void check(const ExpectedTable& table, std::vector<std::string>& mismatches);
    void check(const NamedSql& named, std::vector<std::string>& mismatches);

private:
    using Answer = std::unique_ptr<PGresult, decltype(&PQclear)>;
    using Texts = std::vector<std::string>;
    struct Column {
        std::string name;
        Oid type;
        std::string words;
        bool not_null;
        bool filled;  ///< By the server, where a row says nothing of it.
    };

    /// What the server makes of a statement.
    struct Prepared {
        Answer description;
        std::optional<std::string> refusal{};  ///< Why it does not know what to do with it.
        std::string sqlstate{};                ///< Of that.

        void refuse(const PGresult* error);
        /// Whether there is no such function or operator for these types, or no one of them is meant.
        bool lacks_operation() const {
            return sqlstate == "42883" || sqlstate == "42725" || sqlstate == "42704";
        }
    };

    static Answer own(PGresult* result) { return {result, &PQclear}; }
    PGconn* native() const noexcept { return connection_.get(); }

    std::vector<Texts> ask(const char* sql, const Texts& values);
    std::vector<Column> columns_of(const std::string& table);
    ServerType type_of(Oid type, std::string words = {});
    Answer next_answer();
    template <typename Send, typename Read>
    void in_one_round_trip(std::size_t count, Send send, Read read);
    std::vector<Prepared> prepare(const Texts& statements);
    std::optional<std::string> difference(const ServerType& has, const ExpectedType& wants) const;
    bool may_be_null(const PGresult* description, int column);

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

/// The rows, whose NULLs are empty.
inline std::vector<CheckedSchema::Texts> CheckedSchema::ask(const char* sql, const Texts& values) {
    std::vector<const char*> given;
    for (const std::string& value : values) given.push_back(value.c_str());
    const Answer answer = own(PQexecParams(native(), sql, static_cast<int>(given.size()), nullptr,
                                           given.data(), nullptr, nullptr, 0));
    if (PQresultStatus(answer.get()) != PGRES_TUPLES_OK)
        throw std::runtime_error{PQerrorMessage(native())};
    std::vector<Texts> rows;
    for (int row = 0; row < PQntuples(answer.get()); ++row) {
        rows.emplace_back();
        for (int column = 0; column < PQnfields(answer.get()); ++column)
            rows.back().emplace_back(PQgetvalue(answer.get(), row, column));
    }
    return rows;
}

inline std::vector<CheckedSchema::Column> CheckedSchema::columns_of(const std::string& table) {
    std::vector<Column> columns;
    // What a view or a foreign table does not say of NULL may be so, and a trigger may fill whatever is
    // empty: bits 1, 2 and 4 of its type are ROW, BEFORE and INSERT.
    for (const Texts& row :
         ask("SELECT attname, atttypid, pg_catalog.format_type(atttypid, atttypmod), "
             "attnotnull OR relkind NOT IN ('r', 'p'), "
             "NOT attnotnull OR atthasdef OR attidentity <> '' OR relkind NOT IN ('r', 'p') OR "
             "EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND tgtype & 7 = 7) "
             "FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class c ON attrelid = c.oid "
             "WHERE c.oid = pg_catalog.to_regclass($1) AND attnum > 0 AND NOT attisdropped "
             "ORDER BY attnum",
             {table}))
        columns.push_back(
            {row[0], static_cast<Oid>(std::stoul(row[1])), row[2], row[3] == "t", row[4] == "t"});
    return columns;
}

inline ServerType CheckedSchema::type_of(Oid type, std::string words) {
    const Texts row =
        ask("SELECT typname, typtype, typbasetype, typelem, typcategory, "
            "pg_catalog.format_type(oid, NULL) FROM pg_catalog.pg_type WHERE oid = $1",
            {std::to_string(type)})
            .at(0);
    if (words.empty()) words = row[5];
    const auto inner = [&](const std::string& oid) {
        return type_of(static_cast<Oid>(std::stoul(oid)), std::move(words));
    };
    if (row[1] == "d") return inner(row[2]);
    if (row[4] == "A" && row[3] != "0") {
        ServerType array = inner(row[3]);
        array.is_array = true;
        return array;
    }
    ServerType found{.name = row[0], .kind = row[1][0], .words = std::move(words)};
    if (found.kind == 'r' || found.kind == 'm')
        found.bounds.push_back(
            type_of(static_cast<Oid>(std::stoul(ask("SELECT rngsubtype FROM pg_catalog.pg_range "
                                                    "WHERE $1 IN (rngtypid, rngmultitypid)",
                                                    {std::to_string(type)})
                                                    .at(0)[0]))));
    if (found.kind == 'e')
        for (Texts& label : ask("SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = $1 "
                                "ORDER BY enumsortorder",
                                {std::to_string(type)}))
            found.labels.push_back(std::move(label[0]));
    if (found.kind == 'c')
        for (Texts& field :
             ask("SELECT attname, atttypid, pg_catalog.format_type(atttypid, atttypmod) "
                 "FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type t "
                 "ON attrelid = typrelid WHERE t.oid = $1 AND attnum > 0 "
                 "AND NOT attisdropped ORDER BY attnum",
                 {std::to_string(type)})) {
            found.field_names.push_back(std::move(field[0]));
            found.fields.push_back(
                type_of(static_cast<Oid>(std::stoul(field[1])), std::move(field[2])));
        }
    return found;
}

inline std::optional<std::string> CheckedSchema::difference(const ServerType& has,
                                                            const ExpectedType& wants) const {
    if (!may_be_for(has, wants))
        return "is " + has.words + ", where the program has " + wants.words;
    if (!wants.labels.empty())
        for (const std::string& label : has.labels)
            if (std::ranges::find(wants.labels, label) == wants.labels.end())
                return "may be '" + label + "', which is no enumerator of " + wants.words;
    if (wants.fields.empty()) return std::nullopt;
    if (has.fields.size() != wants.fields.size())
        return "is " + has.words + " with " + std::to_string(has.fields.size()) +
               " fields, where the program has " + wants.words + " with " +
               std::to_string(wants.fields.size());
    for (std::size_t i = 0; i < has.fields.size(); ++i)
        if (const auto what = difference(has.fields[i], wants.fields[i]))
            return "has a field \"" + has.field_names[i] + "\" that " + *what;
    return std::nullopt;
}

inline void CheckedSchema::Prepared::refuse(const PGresult* error) {
    const auto field = [&](int code) {
        const char* text = PQresultErrorField(error, code);
        return std::string{text != nullptr ? text : ""};
    };
    refusal = field(PG_DIAG_MESSAGE_PRIMARY);
    if (refusal->empty()) throw std::runtime_error{PQresultErrorMessage(error)};
    if (const std::string hint = field(PG_DIAG_MESSAGE_HINT); !hint.empty())
        *refusal += " (" + hint + ")";
    sqlstate = field(PG_DIAG_SQLSTATE);
}

/// The next answer of a pipeline, where null stands behind those of each request.
inline CheckedSchema::Answer CheckedSchema::next_answer() {
    for (int i = 0; i < 2; ++i)
        if (PGresult* const answer = PQgetResult(native())) return own(answer);
    throw std::runtime_error{PQerrorMessage(native())};
}

/// Has `send(i)` send so many requests, and `read(i)` read their answers: none is held up by another that
/// fails.
template <typename Send, typename Read>
void CheckedSchema::in_one_round_trip(std::size_t count, Send send, Read read) {
    PQenterPipelineMode(native());
    for (std::size_t i = 0; i < count; ++i) {
        send(i);
        PQpipelineSync(native());
    }
    for (std::size_t i = 0; i < count; ++i) {
        read(i);
        next_answer();  // that of the Sync
    }
    PQexitPipelineMode(native());
}

inline std::vector<CheckedSchema::Prepared> CheckedSchema::prepare(const Texts& statements) {
    own(PQexec(native(), "DEALLOCATE ALL"));
    std::vector<Prepared> all;
    const auto name = [](std::size_t i) { return "checked" + std::to_string(i); };
    in_one_round_trip(
        statements.size(),
        [&](std::size_t i) {
            PQsendPrepare(native(), name(i).c_str(), statements[i].c_str(), 0, nullptr);
            PQsendDescribePrepared(native(), name(i).c_str());
        },
        [&](std::size_t) {
            const Answer prepared = next_answer();
            all.push_back({.description = next_answer()});
            if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK)
                all.back().refuse(prepared.get());
        });
    // Whether there is a unique index for ON CONFLICT, only its plan tells.
    in_one_round_trip(
        statements.size(),
        [&](std::size_t i) {
            std::string nulls;
            for (int k = 0; k < PQnparams(all[i].description.get()); ++k)
                nulls += k == 0 ? " (NULL" : ", NULL";
            if (!nulls.empty()) nulls += ")";
            PQsendQueryParams(native(), ("EXPLAIN EXECUTE " + name(i) + nulls).c_str(), 0, nullptr,
                              nullptr, nullptr, nullptr, 0);
        },
        [&](std::size_t i) {
            const Answer plan = next_answer();
            const char* sqlstate = PQresultErrorField(plan.get(), PG_DIAG_SQLSTATE);
            if (sqlstate != nullptr && std::string_view{sqlstate} == "42P10")
                all[i].refuse(plan.get());
        });
    return all;
}

inline void CheckedSchema::check(const ExpectedTable& table, std::vector<std::string>& mismatches) {
    const std::vector<Column> columns = columns_of(table.quoted);
    if (columns.empty()) {
        mismatches.push_back(table.name + ": there is no such table");
        return;
    }
    bool all_there = true;
    bool of_these_types = true;
    const auto tell = [&](const std::string& column, const std::string& what) {
        mismatches.push_back(table.name + "." + column + " " + what);
    };
    for (const ExpectedColumn& wanted : table.columns) {
        const auto found = std::ranges::find(columns, wanted.name, &Column::name);
        if (found == columns.end()) {
            all_there = false;
            tell(wanted.name, "is not there, where the program has " + wanted.type.words);
            continue;
        }
        if (const auto what = difference(type_of(found->type, found->words), wanted.type)) {
            of_these_types = false;
            tell(wanted.name, *what);
        }
        if (!found->not_null && !wanted.type.nullable)
            tell(wanted.name,
                 "may be NULL, where the program has " + wanted.type.words + ", no std::optional");
    }
    if (table.writes)
        for (const Column& column : columns) {
            if (column.filled) continue;
            if (std::ranges::find(table.columns, column.name, &ExpectedColumn::name) ==
                table.columns.end())
                tell(column.name,
                     "is NOT NULL without a default, and the program does not have it");
            else if (table.left_out.contains(column.name))
                tell(column.name,
                     "is NOT NULL without a default, and the program leaves it to the database");
        }
    if (!all_there) return;  // which every statement would say again
    Texts statements{table.statements.begin(), table.statements.end()};
    if (of_these_types)
        std::ranges::set_difference(table.statements_by_column, table.statements,
                                    std::back_inserter(statements));
    std::set<std::string> reasons;  // what many statements fail for is said once
    for (std::size_t i = 0; const Prepared& prepared : prepare(statements)) {
        const bool by_column = i >= table.statements.size();
        const std::string& sql = statements[i++];
        if (!prepared.refusal || (by_column && prepared.lacks_operation())) continue;
        if (reasons.insert(*prepared.refusal).second)
            mismatches.push_back(table.name + ": " + *prepared.refusal + ": " + sql);
    }
}

inline bool CheckedSchema::may_be_null(const PGresult* description, int column) {
    if (PQftable(description, column) == 0) return false;  // nobody knows
    return !ask("SELECT 1 FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class c ON attrelid = "
                "c.oid WHERE attrelid = $1 AND attnum = $2 AND NOT attnotnull AND relkind IN "
                "('r', 'p')",
                {std::to_string(PQftable(description, column)),
                 std::to_string(PQftablecol(description, column))})
                .empty();
}

inline void CheckedSchema::check(const NamedSql& named, std::vector<std::string>& mismatches) {
    const std::string text{named.text};
    const auto tell = [&](const std::string& what) {
        mismatches.push_back((named.literal ? "sql<\"" + text + "\">: " : text + ": ") + what);
    };
    const Prepared prepared = std::move(prepare({text}).front());
    if (prepared.refusal) return tell(*prepared.refusal);
    const PGresult* const description = prepared.description.get();

    const std::vector<ExpectedType> parameters = named.parameters();
    const int count = PQnparams(description);
    if (std::cmp_not_equal(count, parameters.size()))
        return tell("it has " + std::to_string(count) + " parameters, and the program gives " +
                    std::to_string(parameters.size()));
    for (int i = 0; i < count; ++i)
        if (const auto what = difference(type_of(PQparamtype(description, i)),
                                         parameters[static_cast<std::size_t>(i)]))
            tell("$" + std::to_string(i + 1) + " " + *what);

    int place = 0;
    for (const ExpectedColumn& wanted : named.columns()) {
        const std::string name = wanted.name.empty() ? "column " + std::to_string(place + 1)
                                                     : "column \"" + wanted.name + "\"";
        int found = -1;
        for (int i = 0; i < PQnfields(description); ++i)
            if (wanted.name.empty() ? i == place : PQfname(description, i) == wanted.name)
                found = i;
        ++place;
        if (found < 0) {
            tell(name + " is not there, where the program has " + wanted.type.words);
            continue;
        }
        if (const auto what = difference(type_of(PQftype(description, found)), wanted.type))
            tell(name + " " + *what);
        if (!wanted.type.nullable && may_be_null(description, found))
            tell(name + " may be NULL, where the program has " + wanted.type.words +
                 ", no std::optional");
    }
}

}  // namespace txscope::detail
