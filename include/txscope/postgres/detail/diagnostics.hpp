#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/protocol/error_response.hpp>

#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// From the server's words to our errors.
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

/// Everything that an error says. `statement` is the SQL text that was sent.
[[nodiscard]] inline SqlDiagnostics read_diagnostics(const protocol::ErrorResponse& error,
                                                     std::string statement) {
    using Field = protocol::ErrorField;
    const auto field = [&](Field code) { return std::string{error[code]}; };
    SqlDiagnostics diagnostics;
    diagnostics.severity = error.severity();
    diagnostics.sqlstate = error.sqlstate();
    diagnostics.message = error.message();
    diagnostics.detail = field(Field::detail);
    diagnostics.hint = field(Field::hint);
    diagnostics.context = field(Field::context);
    diagnostics.schema = field(Field::schema);
    diagnostics.table = field(Field::table);
    diagnostics.column = field(Field::column);
    diagnostics.datatype = field(Field::datatype);
    diagnostics.constraint = field(Field::constraint);
    diagnostics.routine = field(Field::routine);
    diagnostics.statement = std::move(statement);
    if (const int position = error.position(); position >= 0) diagnostics.position = position;
    return diagnostics;
}

/// Whether `sql` makes the triggers run that statements before it have deferred, as a Sync may do,
/// which is no statement: its text is empty.
[[nodiscard]] constexpr bool runs_deferred_triggers(std::string_view sql) {
    const auto first = SqlWords{sql}.next();
    const auto is = [&](std::string_view keyword) { return SqlWords::is(first, keyword); };
    return first.empty() || is("COMMIT") || is("END") || is("PREPARE") || is("SET");
}

/// The exception for an error that `statement` met; its parameters are kept out of the text.
/// `scope` is where the scope was opened that sent it; line 0 for none. `advice` follows the server's
/// message.
[[nodiscard]] inline std::exception_ptr make_statement_error(const protocol::ErrorResponse& error,
                                                             const Statement& statement,
                                                             const std::source_location& scope = {},
                                                             std::string_view advice = {}) {
    std::vector<std::string_view> parameters;
    parameters.reserve(statement.size());
    statement.for_each_parameter([&](std::optional<std::string_view> text) {
        if (text) parameters.push_back(*text);
    });
    // A deferred trigger's own words may be anything that other statements have bound; what the
    // server says of its own accord has no context, or ends the session.
    if (runs_deferred_triggers(statement.sql()) && !error.ends_session() &&
        !error[protocol::ErrorField::context].empty())
        parameters.push_back(error.message());
    auto diagnostics = read_diagnostics(error, std::string{statement.sql()});
    diagnostics.message += advice;
    if (scope.line() != 0) diagnostics.scope = scope;
    return make_sql_error(std::move(diagnostics), parameters);
}

}  // namespace txscope::detail
