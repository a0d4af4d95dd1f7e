#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether `sql` leaves something in the server's session that outlives its transaction: a setting,
/// a temporary object, a lock, a subscription. What a function does that it calls is not seen.
///
/// Rather yes than no: a reset costs a round trip and the prepared statements, nothing else.
constexpr bool has_session_effect(std::string_view sql) {
    const auto is = SqlWords::is;
    SqlWords words{sql};
    const std::string_view first = words.next();
    const bool creates = is(first, "CREATE");
    const bool selects = is(first, "SELECT") || is(first, "WITH");
    if (is(first, "RESET") || is(first, "LISTEN") || is(first, "LOAD")) return true;
    if (is(first, "PREPARE")) return !is(words.next(), "TRANSACTION");
    if (is(first, "SET")) {
        const auto what = words.next();
        return !is(what, "LOCAL") && !is(what, "TRANSACTION") && !is(what, "CONSTRAINTS");
    }

    bool setting = false;  // set_config(…), whose third argument may say that it is local
    std::string_view before = first;
    for (auto word = words.next(); !word.empty(); before = word, word = words.next()) {
        const bool temporary = is(word, "TEMP") || is(word, "TEMPORARY");
        const bool object = is(before, "CREATE") || is(before, "REPLACE") || is(before, "LOCAL") ||
                            is(before, "GLOBAL");
        if (temporary && ((creates && object) || (selects && is(before, "INTO")))) return true;
        if (is(word, "PG_TEMP") && (creates || selects)) return true;
        if (is(word, "HOLD") && is(first, "DECLARE")) return true;
        if (is(word, "PG_ADVISORY_LOCK") || is(word, "PG_ADVISORY_LOCK_SHARED") ||
            is(word, "PG_TRY_ADVISORY_LOCK") || is(word, "PG_TRY_ADVISORY_LOCK_SHARED"))
            return true;
        if (setting && is(word, "TRUE")) setting = false;
        if (is(word, "SET_CONFIG")) setting = true;
    }
    return setting;
}

}  // namespace txscope::detail
