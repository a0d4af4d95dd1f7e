#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/request.hpp>
#include <txscope/postgres/result.hpp>

#include <exception>
#include <string>
#include <utility>

/// The settings of a session that change how values and SQL are written and read, and that a server,
/// a database, a role or a connection string may set otherwise than this library has them.
namespace txscope::detail {

/// SQL that sets those that differ, and tells of each its name, what it was, what is wanted, and what
/// it is now: NULL where it was left alone.
///
/// `TimeZone` is the program's: a timestamp is read with the offset that it has. Behind a pooler,
/// which makes up the number `backend_pid` of the server's process, the next transaction may be in
/// another session. Poolers keep for a client the settings that PostgreSQL reports and PgBouncer has
/// always kept; another one would be set for other clients, and not for us. What is looked at is the
/// one session that the pooler lends at that moment.
inline std::string fix_session_settings(int backend_pid) {
    return R"(SELECT name, was, accepted[1], CASE
    WHEN kept OR pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) )" +
           std::to_string(backend_pid) + R"(
    THEN pg_catalog.set_config(name, accepted[1], false) END
FROM (SELECT name, accepted, kept, pg_catalog.current_setting(name, true) FROM (VALUES
    ('client_encoding', '{UTF8}'::pg_catalog.text[], true),
    ('standard_conforming_strings', '{on}', true),
    ('DateStyle', '{"ISO, MDY"}', true),
    ('IntervalStyle', '{postgres}', false),
    ('extra_float_digits', '{1,2,3}', false),
    ('bytea_output', '{hex}', false),
    ('array_nulls', '{on}', false),
    ('backslash_quote', '{safe_encoding,on}', false),
    ('transform_null_equals', '{off}', false),
    ('xmlbinary', '{base64}', false),
    ('xmloption', '{content}', false)
) AS wanted (name, accepted, kept)) AS settings (name, accepted, kept, was)
WHERE was OPERATOR(pg_catalog.<>) ALL (accepted))";
}

/// Why the session is not as it is to be, after the answer to that; null if it is.
inline std::exception_ptr settings_failure(const Response& answer) {
    const auto failure = [](const std::string& why, ConnectionFailed::Cause cause = {}) {
        return std::make_exception_ptr(ConnectionFailed{why, std::move(cause)});
    };
    try {
        if (answer.error) std::rethrow_exception(answer.error);
        for (const Row& setting : answer.result)
            if (setting.is_null(3))
                return failure(
                    "the setting " + setting.get<std::string>(0) + " is \"" +
                    setting.get<std::string>(1) +
                    "\", and behind a pooler it cannot be changed for us alone: set it to \"" +
                    setting.get<std::string>(2) + "\" for the role, the database or the server");
        return nullptr;
    } catch (const Error& error) {
        const auto* const said = dynamic_cast<const SqlError*>(&error);
        const std::string sqlstate = said != nullptr ? said->sqlstate() : "";
        const bool lost = dynamic_cast<const ConnectionLost*>(&error) != nullptr;
        return failure(error.message(),
                       {.is_transient = lost || sqlstate::is_transient_refusal(sqlstate),
                        .sqlstate = sqlstate});
    }
}

}  // namespace txscope::detail
