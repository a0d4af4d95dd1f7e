#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/postgres/statement.hpp>

#include <libpq-fe.h>

#include <cstddef>
#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// From libpq's results to our errors.
namespace txscope::detail {

/// A text of libpq's own, which it breaks into indented lines, as one line.
[[nodiscard]] inline std::string one_line(std::string_view text) {
    std::string line;
    for (char c : text) {
        const bool blank = c == '\n' || c == '\t' || c == ' ';
        if (!blank) {
            line += c;
        } else if (!line.empty() && !line.ends_with(' ')) {
            line += ' ';
        }
    }
    if (line.ends_with(' ')) line.pop_back();
    return line;
}

/// The loss of a connection, for libpq's reason.
[[nodiscard]] inline std::exception_ptr make_connection_lost(const PGconn* connection) {
    const std::string reason = one_line(PQerrorMessage(connection));
    return std::make_exception_ptr(
        ConnectionLost{reason.empty() ? "the connection to the server was lost" : reason});
}

/// A field of a failed result; empty when it has none.
[[nodiscard]] inline std::string_view error_field(const PGresult* result, int code) {
    const char* text = PQresultErrorField(result, code);
    return text == nullptr ? std::string_view() : std::string_view(text);
}

/// The SQLSTATE of an error; empty where that came from within, of a function that was called.
[[nodiscard]] inline std::string_view own_sqlstate(const PGresult* error) {
    const bool own = error_field(error, PG_DIAG_CONTEXT).empty();
    return own ? error_field(error, PG_DIAG_SQLSTATE) : std::string_view();
}

/// `ERROR`, `FATAL`, …: poolers do not send it apart from the one that the server translates.
[[nodiscard]] inline std::string_view severity_of(const PGresult* error) {
    const auto severity = error_field(error, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity.empty() ? error_field(error, PG_DIAG_SEVERITY) : severity;
}

/// Whether it is the server's last word before it closes the connection.
[[nodiscard]] inline bool ends_session(const PGresult* error) {
    const auto severity = severity_of(error);
    return severity == "FATAL" || severity == "PANIC";
}

/// Everything a failed result says. `statement` is the SQL text that was sent.
[[nodiscard]] inline SqlDiagnostics read_diagnostics(const PGresult* result,
                                                     std::string statement) {
    const auto field = [&](int code) { return std::string(error_field(result, code)); };
    SqlDiagnostics diagnostics;
    diagnostics.severity = severity_of(result);
    diagnostics.sqlstate = field(PG_DIAG_SQLSTATE);
    diagnostics.message = field(PG_DIAG_MESSAGE_PRIMARY);
    diagnostics.detail = field(PG_DIAG_MESSAGE_DETAIL);
    diagnostics.hint = field(PG_DIAG_MESSAGE_HINT);
    diagnostics.context = field(PG_DIAG_CONTEXT);
    diagnostics.schema = field(PG_DIAG_SCHEMA_NAME);
    diagnostics.table = field(PG_DIAG_TABLE_NAME);
    diagnostics.column = field(PG_DIAG_COLUMN_NAME);
    diagnostics.datatype = field(PG_DIAG_DATATYPE_NAME);
    diagnostics.constraint = field(PG_DIAG_CONSTRAINT_NAME);
    diagnostics.routine = field(PG_DIAG_SOURCE_FUNCTION);
    diagnostics.statement = std::move(statement);
    if (const std::string position = field(PG_DIAG_STATEMENT_POSITION); !position.empty()) {
        diagnostics.position = SqlValue<int>::from_text(position);
    }
    if (diagnostics.message.empty()) {
        // libpq makes errors of its own, of a lost connection for one, without any field.
        diagnostics.message = one_line(PQresultErrorMessage(result));
    }
    return diagnostics;
}

/// The exception for a failed result of `statement`, which had no parameters.
[[nodiscard]] inline std::exception_ptr make_statement_error(const PGresult* result,
                                                             const std::string& statement) {
    return make_sql_error(read_diagnostics(result, statement));
}

/// Whether `sql` makes the triggers run that statements before it have deferred, as a Sync may do,
/// which is no statement: its text is empty.
[[nodiscard]] constexpr bool runs_deferred_triggers(std::string_view sql) {
    const auto first = SqlWords{sql}.next();
    const auto is = [&](std::string_view keyword) { return SqlWords::is(first, keyword); };
    return first.empty() || is("COMMIT") || is("END") || is("PREPARE") || is("SET");
}

/// The exception for a failed result of `statement`; its parameters are kept out of the text.
/// `scope` is where the scope was opened that sent it; line 0 for none. `advice` follows the server's
/// message.
[[nodiscard]] inline std::exception_ptr make_statement_error(const PGresult* result,
                                                             const Statement& statement,
                                                             const std::source_location& scope = {},
                                                             std::string_view advice = {}) {
    std::vector<std::string_view> parameters;
    parameters.reserve(statement.size());
    statement.for_each_parameter([&](const char* text, std::size_t length) {
        if (text != nullptr) parameters.emplace_back(text, length);
    });
    // A deferred trigger's own words may be anything that other statements have bound; what the
    // server says of its own accord has no context, or ends the session.
    if (runs_deferred_triggers(statement.sql()) && !ends_session(result) &&
        !error_field(result, PG_DIAG_CONTEXT).empty())
        parameters.push_back(error_field(result, PG_DIAG_MESSAGE_PRIMARY));
    auto diagnostics = read_diagnostics(result, std::string{statement.sql()});
    diagnostics.message += advice;
    if (scope.line() != 0) diagnostics.scope = scope;
    return make_sql_error(std::move(diagnostics), parameters);
}

}  // namespace txscope::detail
