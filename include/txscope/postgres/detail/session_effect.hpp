#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether the arguments of `set_config`, which come next, say that the setting is local: the last
/// is a plain `true`.
constexpr bool sets_locally(SqlWords arguments) {
    std::string_view before;
    std::string_view last;
    int depth = 0;
    do {
        const auto token = arguments.next_token();
        if (token.empty()) return false;
        depth += token == "(" ? 1 : token == ")" ? -1 : 0;
        if (depth > 0) {
            before = last;
            last = token;
        }
    } while (depth > 0);
    return before == "," && SqlWords::is(last, "TRUE");
}

/// Whether `sql` leaves something in the server's session that outlives its transaction: a setting,
/// a temporary object, a lock, a subscription. What a function does that a query calls is not seen;
/// a block and a procedure may do anything.
///
/// Rather yes than no: a reset costs a round trip and the prepared statements, nothing else. What
/// stands in literals does not count, so no row of plain data costs one.
constexpr bool has_session_effect(std::string_view sql) {
    const auto is = SqlWords::is;
    SqlWords words{sql};
    const std::string_view first = words.next();
    for (const std::string_view keyword : {"RESET", "LISTEN", "LOAD", "DO", "CALL"})
        if (is(first, keyword)) return true;
    if (is(first, "PREPARE")) return !is(words.next(), "TRANSACTION");
    std::string_view before = first;
    if (is(first, "SET")) {
        before = words.next();
        if (!is(before, "LOCAL") && !is(before, "TRANSACTION") && !is(before, "CONSTRAINTS"))
            return true;
    }
    const bool fills_table = is(first, "INSERT") || is(first, "MERGE");  // which may be named temp

    for (auto word = words.next(); !word.empty(); before = word, word = words.next()) {
        if (is(word, "TEMP") || is(word, "TEMPORARY")) {
            for (const std::string_view keyword : {"CREATE", "REPLACE", "LOCAL", "GLOBAL"})
                if (is(before, keyword)) return true;
            if (is(before, "INTO") && !fills_table) return true;
        }
        for (const std::string_view name :
             {"PG_TEMP", "PG_ADVISORY_LOCK", "PG_ADVISORY_LOCK_SHARED", "PG_TRY_ADVISORY_LOCK",
              "PG_TRY_ADVISORY_LOCK_SHARED"})
            if (is(word, name)) return true;
        if (is(word, "HOLD") && is(first, "DECLARE")) return true;
        if (is(word, "PG_SETTINGS") && !is(first, "SELECT")) return true;  // an UPDATE of it sets
        if (is(word, "SET_CONFIG") && !sets_locally(words)) return true;
    }
    return false;
}

}  // namespace txscope::detail
