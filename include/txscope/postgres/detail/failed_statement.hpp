#pragma once

#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/exchange.hpp>

#include <libpq-fe.h>

#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace txscope::detail {

/// What an error tells about the prepared statement that met it.
enum class Staleness {
    none,      ///< It is not why.
    unlikely,  ///< It would have to have stored another value: a constraint was violated.
    possible,  ///< It may be why, or its caller may be: a value out of range, an unknown column, …
    certain,   ///< It is why: "cached plan must not change result type".
    unknown,   ///< The server does not know the statement, or another one by its name.
};

/// A prepared statement that failed, maybe because it was stale: prepared for parameters and columns
/// of other types than it has by now, or dropped by somebody.
struct FailedStatement {
    Staleness staleness;
    Statement statement;
    std::string name;  ///< Where that is to be examined: which the server still knows it by.
    std::exception_ptr error;
    std::shared_ptr<Exchange> alone;  ///< Where it was all that was asked; it may be asked again.
    bool stopped_naming = false;      ///< Found behind a pooler that does not keep statements.
};

/// What a statement that was prepared before makes of `error`.
///
/// The error may come from within a function that got a parameter of the wrong type, and what is
/// wrong with a parameter's text has a context, too.
inline Staleness staleness_told_by(const PGresult* error) {
    const auto code = error_field(error, PG_DIAG_SQLSTATE);
    if (code == sqlstate::feature_not_supported &&
        error_field(error, PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery")
        return Staleness::certain;
    if (sqlstate::is_constraint_violation(code)) return Staleness::unlikely;
    for (const std::string_view doubtful : {"22", "42", "XX"})
        if (sqlstate::class_of(code) == doubtful) return Staleness::possible;
    return Staleness::none;
}

/// Whether two descriptions of a statement differ in the types of its parameters, or in its columns.
inline bool differ(const PGresult* one, const PGresult* other) {
    if (PQnparams(one) != PQnparams(other) || PQnfields(one) != PQnfields(other)) return true;
    for (int i = 0; i < PQnparams(one); ++i)
        if (PQparamtype(one, i) != PQparamtype(other, i)) return true;
    for (int i = 0; i < PQnfields(one); ++i)
        if (PQftype(one, i) != PQftype(other, i) ||
            std::string_view{PQfname(one, i)} != PQfname(other, i))
            return true;
    return false;
}

}  // namespace txscope::detail
