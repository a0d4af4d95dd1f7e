#pragma once

#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/request.hpp>
#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/error_response.hpp>
#include <txscope/protocol/prepared_statements.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace txscope::detail {

/// What an error tells about the prepared statement that met it.
enum class Staleness {
    none,      ///< It is not why.
    unlikely,  ///< It would have to have stored another value: a constraint was violated.
    possible,  ///< It may be why, or its caller may be: a value out of range, an unknown column, …
    certain,   ///< It is why: "cached plan must not change result type".
    unknown,   ///< The server does not know the statement, or another one by its name.
};

/// What the server has said of a statement that it prepared.
struct Description {
    explicit Description(const protocol::PreparedStatement& prepared)
        : parameter_types{prepared.parameter_types}, columns{prepared.columns} {}

    std::vector<std::uint32_t> parameter_types;
    std::shared_ptr<const protocol::Columns> columns;  ///< Null when it gives no rows.

    friend bool operator==(const Description& a, const Description& b) {
        const auto alike = [](const protocol::Column& one, const protocol::Column& other) {
            return one.type == other.type && one.name == other.name;
        };
        if (a.parameter_types != b.parameter_types) return false;
        if (!a.columns || !b.columns) return a.columns == b.columns;
        return std::equal(a.columns->begin(), a.columns->end(), b.columns->begin(),
                          b.columns->end(), alike);
    }
};

/// A prepared statement that failed, maybe because it was stale: prepared for parameters and columns
/// of other types than it has by now, or dropped by somebody.
struct FailedStatement {
    Staleness staleness;
    Statement statement;
    std::optional<Description> description;  ///< As it was prepared, where that is known.
    std::exception_ptr error;
    std::shared_ptr<Response> alone;  ///< Where it was all that was asked; it may be asked again.
    bool stopped_naming = false;      ///< Found behind a pooler that does not keep statements.
};

/// What a statement that was prepared before makes of `error`.
///
/// The error may come from within a function that got a parameter of the wrong type, and what is
/// wrong with a parameter's text has a context, too.
inline Staleness staleness_told_by(const protocol::ErrorResponse& error) {
    const auto code = error.sqlstate();
    if (code == sqlstate::feature_not_supported &&
        error[protocol::ErrorField::routine] == "RevalidateCachedQuery")
        return Staleness::certain;
    if (sqlstate::is_constraint_violation(code)) return Staleness::unlikely;
    for (const std::string_view doubtful : {"22", "42", "XX"})
        if (sqlstate::class_of(code) == doubtful) return Staleness::possible;
    return Staleness::none;
}

}  // namespace txscope::detail
