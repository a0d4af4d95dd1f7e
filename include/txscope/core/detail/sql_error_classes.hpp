#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/location_text.hpp>
#include <txscope/core/detail/pqxx_compat.hpp>
#include <txscope/core/detail/redaction.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace txscope {
namespace detail {

[[nodiscard]] inline bool ended_the_session(const SqlDiagnostics& diagnostics) noexcept {
    return diagnostics.sqlstate.empty() || diagnostics.severity == "FATAL" ||
           diagnostics.severity == "PANIC";
}

/// The server's primary message without the parameters' values.
///
/// What the server or a pooler says as it ends a session is not about a value, and is shown as it is.
/// Only what a function says may be about anything: that has a context.
///
/// Messages of class 22 quote the input (`invalid input syntax for type integer: "abc"`), maybe in
/// another form than it was sent in, so there everything quoted goes, known or not.
[[nodiscard]] inline std::string redacted_message(const SqlDiagnostics& diagnostics,
                                                  std::span<const std::string_view> parameters) {
    if (diagnostics.message.empty()) return "the server gave no reason";
    if (ended_the_session(diagnostics) && diagnostics.context.empty()) return diagnostics.message;
    Redaction redaction(diagnostics.message);
    const std::array<std::string_view, 6> shown{diagnostics.statement,  diagnostics.schema,
                                                diagnostics.table,      diagnostics.column,
                                                diagnostics.constraint, diagnostics.datatype};
    for (std::string_view parameter : parameters) {
        redaction.hide_value(parameter);
        if (parameter.find('"') != parameter.npos) redaction.hide_value(unquoted(parameter));
    }
    redaction.hide_quoted_parts_of(parameters, shown);
    if (sqlstate::class_of(diagnostics.sqlstate) == "22") redaction.hide_quotes_and_numbers();
    return redaction.text();
}

/// At most `limit` bytes of a text, not cut within a UTF-8 character.
[[nodiscard]] inline std::string abridged(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return std::string(text);
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
    return std::string(text.substr(0, limit)) + "…";
}

/// What an SQL error says of itself, on one line unless the statement has several:
/// `message (SQLSTATE 23505, constraint projects_name_key, table projects, …) in: INSERT …`.
[[nodiscard]] inline std::string sql_error_text(std::string text, const SqlDiagnostics& diagnostics,
                                                std::span<const std::string_view> parameters) {
    constexpr std::size_t statement_limit = 1000;  // a bulk INSERT would fill the log with `$n`
    std::string facts;
    const auto add = [&](std::string_view what, std::string_view value) {
        if (value.empty()) return;
        if (!facts.empty()) facts += ", ";
        facts.append(what).append(value);
    };
    // A function may RAISE an error USING any name it likes, a parameter's value too.
    const auto add_name = [&](std::string_view what, std::string_view name) {
        if (std::find(parameters.begin(), parameters.end(), name) == parameters.end())
            add(what, name);
    };
    add("SQLSTATE ", diagnostics.sqlstate);
    add_name("constraint ", diagnostics.constraint);
    add_name("column ", diagnostics.column);
    add_name("table ", diagnostics.table);
    add_name("schema ", diagnostics.schema);
    add_name("type ", diagnostics.datatype);
    if (diagnostics.position > 0) add("at character ", std::to_string(diagnostics.position));
    if (!facts.empty()) text += " (" + facts + ')';
    if (!diagnostics.statement.empty()) {
        text += " in: " + abridged(diagnostics.statement, statement_limit);
    }
    return with_scope(std::move(text), diagnostics.scope);
}

/// An SQL error as it is thrown: libpqxx's class on one side, everything the server said on the
/// other. Both have the same `what()`.
template <class PqxxError>
class Typed : public PqxxError, public SqlError {
public:
    using Said = std::shared_ptr<const ServerError>;

    explicit Typed(const Said& said)
        requires PqxxTakesPosition<PqxxError>
        : PqxxError(said->what, said->diagnostics.statement, said->diagnostics.sqlstate.c_str(),
                    said->diagnostics.position),
          SqlError(said) {}

    explicit Typed(const Said& said)
        requires(PqxxTakesStatement<PqxxError> && !PqxxTakesPosition<PqxxError>)
        : PqxxError(said->what, said->diagnostics.statement, said->diagnostics.sqlstate.c_str()),
          SqlError(said) {}

    explicit Typed(const Said& said) : PqxxError(said->what), SqlError(said) {}
};

/// What ended the session: a loss of the connection of which the server said why.
class ToldLoss : public ConnectionLost, public SqlError {
public:
    explicit ToldLoss(const std::shared_ptr<const ServerError>& said)
        : ConnectionLost(*said), SqlError(said) {}

    [[nodiscard]] const char* what() const noexcept override { return SqlError::what(); }
    [[nodiscard]] const std::string& message() const noexcept override {
        return SqlError::message();
    }
    [[nodiscard]] const std::optional<std::source_location>& scope_location()
        const noexcept override {
        return SqlError::scope_location();
    }
};

template <class PqxxError>
[[noreturn]] void throw_typed(const std::shared_ptr<const ServerError>& said) {
    throw Typed<PqxxError>(said);
}

struct SqlErrorClass {
    std::string_view code;  ///< A whole SQLSTATE, or the two characters of a class.
    void (*raise)(const std::shared_ptr<const ServerError>& said);
};

/// Which of libpqxx's classes a SQLSTATE is: libpqxx's own mapping, except that all of class 40 is
/// a `pqxx::transaction_rollback`.
inline constexpr std::array sql_error_classes{
    SqlErrorClass{"08P01", throw_typed<PqxxProtocolViolation>},
    SqlErrorClass{"08", throw_typed<pqxx::broken_connection>},
    SqlErrorClass{"0A", throw_typed<pqxx::feature_not_supported>},
    SqlErrorClass{"0L", throw_typed<pqxx::insufficient_privilege>},
    SqlErrorClass{"0P", throw_typed<pqxx::insufficient_privilege>},
    SqlErrorClass{"22", throw_typed<pqxx::data_exception>},
    SqlErrorClass{"23001", throw_typed<pqxx::restrict_violation>},
    SqlErrorClass{"23502", throw_typed<pqxx::not_null_violation>},
    SqlErrorClass{"23503", throw_typed<pqxx::foreign_key_violation>},
    SqlErrorClass{"23505", throw_typed<pqxx::unique_violation>},
    SqlErrorClass{"23514", throw_typed<pqxx::check_violation>},
    SqlErrorClass{"23", throw_typed<pqxx::integrity_constraint_violation>},
    SqlErrorClass{"24", throw_typed<pqxx::invalid_cursor_state>},
    SqlErrorClass{"26", throw_typed<pqxx::invalid_sql_statement_name>},
    SqlErrorClass{"34", throw_typed<pqxx::invalid_cursor_name>},
    SqlErrorClass{"40001", throw_typed<pqxx::serialization_failure>},
    SqlErrorClass{"40003", throw_typed<pqxx::statement_completion_unknown>},
    SqlErrorClass{"40P01", throw_typed<pqxx::deadlock_detected>},
    SqlErrorClass{"40", throw_typed<pqxx::transaction_rollback>},
    SqlErrorClass{"42501", throw_typed<pqxx::insufficient_privilege>},
    SqlErrorClass{"42601", throw_typed<pqxx::syntax_error>},
    SqlErrorClass{"42703", throw_typed<pqxx::undefined_column>},
    SqlErrorClass{"42883", throw_typed<pqxx::undefined_function>},
    SqlErrorClass{"42P01", throw_typed<pqxx::undefined_table>},
    SqlErrorClass{"53100", throw_typed<pqxx::disk_full>},
    SqlErrorClass{"53200", throw_typed<PqxxOutOfMemory>},
    SqlErrorClass{"53300", throw_typed<pqxx::too_many_connections>},
    SqlErrorClass{"53", throw_typed<pqxx::insufficient_resources>},
    SqlErrorClass{"P0001", throw_typed<pqxx::plpgsql_raise>},
    SqlErrorClass{"P0002", throw_typed<pqxx::plpgsql_no_data_found>},
    SqlErrorClass{"P0003", throw_typed<pqxx::plpgsql_too_many_rows>},
    SqlErrorClass{"P0", throw_typed<pqxx::plpgsql_error>},
};

/// The row of the table for a code: by the whole code, else by its class, else none.
[[nodiscard]] constexpr const SqlErrorClass* find_sql_error_class(std::string_view code) noexcept {
    for (std::string_view key : {code, sqlstate::class_of(code)}) {
        for (const SqlErrorClass& known : sql_error_classes)
            if (known.code == key) return &known;
    }
    return nullptr;
}

/// What ends the session is a loss of the connection, unless it has a class that says more. That of
/// connections does not: poolers say 08P01 of whatever ends one.
///
/// Thrown and caught, which takes less to compile for each class than `std::make_exception_ptr`.
[[nodiscard]] inline std::exception_ptr make_typed_error(
    const std::shared_ptr<const ServerError>& said) try {
    const auto& diagnostics = said->diagnostics;
    const auto* known = find_sql_error_class(diagnostics.sqlstate);
    if (ended_the_session(diagnostics) &&
        (known == nullptr || sqlstate::class_of(diagnostics.sqlstate) == "08"))
        throw ToldLoss(said);
    if (known != nullptr) known->raise(said);
    throw Typed<pqxx::sql_error>(said);
} catch (const SqlError&) {  // not for want of memory
    return std::current_exception();
}

TXSCOPE_INLINE std::exception_ptr met_in_scope(std::exception_ptr loss,
                                               const std::source_location& scope) try {
    if (scope.line() == 0) return loss;
    try {
        std::rethrow_exception(loss);
    } catch (const SqlError& error) {
        if (error.scope_location()) return loss;
        auto said = std::make_shared<ServerError>();
        said->message = error.message();
        said->what = with_scope(error.what(), scope);
        said->diagnostics = error.diagnostics();
        said->diagnostics.scope = scope;
        return make_typed_error(said);
    } catch (const ConnectionLost& error) {
        if (error.scope_location()) return loss;
        return std::make_exception_ptr(ConnectionLost{error.message(), scope});
    } catch (...) {
        return loss;
    }
} catch (const std::bad_alloc&) {  // then it names none
    return loss;
}

}  // namespace detail

TXSCOPE_INLINE std::exception_ptr make_sql_error(SqlDiagnostics diagnostics,
                                                 std::span<const std::string_view> parameters) {
    auto error = std::make_shared<detail::ServerError>();
    error->message = detail::redacted_message(diagnostics, parameters);
    error->what = detail::sql_error_text(error->message, diagnostics, parameters);
    error->diagnostics = std::move(diagnostics);
    return detail::make_typed_error(error);
}

TXSCOPE_INLINE const SqlDiagnostics* find_diagnostics(const std::exception& error) noexcept {
    if (const auto* sql = dynamic_cast<const SqlError*>(&error)) return &sql->diagnostics();
    const auto* outer = dynamic_cast<const std::nested_exception*>(&error);
    if (outer == nullptr || outer->nested_ptr() == nullptr) return nullptr;
    try {
        outer->rethrow_nested();
    } catch (const std::exception& inner) {
        return find_diagnostics(inner);
    } catch (...) {
        return nullptr;
    }
}

}  // namespace txscope
