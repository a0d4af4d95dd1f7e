#pragma once

#include <string_view>

/// PostgreSQL's error codes by name, and the questions one asks of them.
///
/// The codes are those of the PostgreSQL manual, appendix A, "PostgreSQL Error Codes": the ones a
/// program tells apart, under the manual's own condition names. Five characters, of which the
/// first two are the class.
///
/// ```cpp
/// catch (const txscope::SqlError& error) {
///     if (error.sqlstate() == txscope::sqlstate::lock_not_available) { ... }
/// }
/// ```
namespace txscope::sqlstate {

inline constexpr std::string_view successful_completion = "00000";

inline constexpr std::string_view connection_exception = "08000";
inline constexpr std::string_view connection_does_not_exist = "08003";
inline constexpr std::string_view connection_failure = "08006";
inline constexpr std::string_view protocol_violation = "08P01";

inline constexpr std::string_view feature_not_supported = "0A000";

inline constexpr std::string_view string_data_right_truncation = "22001";
inline constexpr std::string_view numeric_value_out_of_range = "22003";
inline constexpr std::string_view invalid_datetime_format = "22007";
inline constexpr std::string_view datetime_field_overflow = "22008";
inline constexpr std::string_view division_by_zero = "22012";
inline constexpr std::string_view character_not_in_repertoire = "22021";
inline constexpr std::string_view invalid_parameter_value = "22023";
inline constexpr std::string_view invalid_text_representation = "22P02";

inline constexpr std::string_view integrity_constraint_violation = "23000";
inline constexpr std::string_view restrict_violation = "23001";
inline constexpr std::string_view not_null_violation = "23502";
inline constexpr std::string_view foreign_key_violation = "23503";
inline constexpr std::string_view unique_violation = "23505";
inline constexpr std::string_view check_violation = "23514";
inline constexpr std::string_view exclusion_violation = "23P01";

inline constexpr std::string_view active_sql_transaction = "25001";
inline constexpr std::string_view read_only_sql_transaction = "25006";
inline constexpr std::string_view no_active_sql_transaction = "25P01";
inline constexpr std::string_view in_failed_sql_transaction = "25P02";
inline constexpr std::string_view idle_in_transaction_session_timeout = "25P03";

inline constexpr std::string_view invalid_sql_statement_name = "26000";
inline constexpr std::string_view invalid_authorization_specification = "28000";
inline constexpr std::string_view invalid_password = "28P01";
inline constexpr std::string_view invalid_catalog_name = "3D000";

inline constexpr std::string_view transaction_rollback = "40000";
inline constexpr std::string_view serialization_failure = "40001";
inline constexpr std::string_view statement_completion_unknown = "40003";
inline constexpr std::string_view deadlock_detected = "40P01";

inline constexpr std::string_view insufficient_privilege = "42501";
inline constexpr std::string_view syntax_error = "42601";
inline constexpr std::string_view undefined_column = "42703";
inline constexpr std::string_view undefined_function = "42883";
inline constexpr std::string_view undefined_table = "42P01";
inline constexpr std::string_view duplicate_prepared_statement = "42P05";

inline constexpr std::string_view disk_full = "53100";
inline constexpr std::string_view out_of_memory = "53200";
inline constexpr std::string_view too_many_connections = "53300";

inline constexpr std::string_view lock_not_available = "55P03";
inline constexpr std::string_view query_canceled = "57014";
inline constexpr std::string_view admin_shutdown = "57P01";
inline constexpr std::string_view crash_shutdown = "57P02";
inline constexpr std::string_view cannot_connect_now = "57P03";
inline constexpr std::string_view database_dropped = "57P04";
inline constexpr std::string_view idle_session_timeout = "57P05";

inline constexpr std::string_view raise_exception = "P0001";
inline constexpr std::string_view no_data_found = "P0002";
inline constexpr std::string_view too_many_rows = "P0003";

/// The class of a code, its first two characters; empty for anything that is not a code.
[[nodiscard]] constexpr std::string_view class_of(std::string_view code) noexcept {
    return code.size() == 5 ? code.substr(0, 2) : std::string_view{};
}

/// Whether the server says that the same transaction, run again, may well succeed:
/// it lost a serialization conflict (40001) or was chosen to break a deadlock (40P01).
[[nodiscard]] constexpr bool is_retryable(std::string_view code) noexcept {
    return code == serialization_failure || code == deadlock_detected;
}

/// Whether a server, or a pooler in front of it, that refuses a connection with this code may take
/// one a little later: it starts up, stops or recovers (57P01 to 57P03), has no room (class 53), or is
/// not to be reached (class 08, so PgBouncer).
[[nodiscard]] constexpr bool is_transient_refusal(std::string_view code) noexcept {
    const auto kind = class_of(code);
    return kind == "08" || kind == "53" || kind == "58" ||
           (kind == "57" && code != database_dropped);
}

/// Whether a statement broke an integrity constraint (class 23).
[[nodiscard]] constexpr bool is_constraint_violation(std::string_view code) noexcept {
    return class_of(code) == "23";
}

}  // namespace txscope::sqlstate
