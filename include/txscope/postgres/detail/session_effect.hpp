#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// What a statement does to the server's session beside answering, as far as its text tells.
struct SessionEffect {
    /// It leaves what outlives its transaction: a setting, a temporary object, a lock, a
    /// subscription.
    bool lasts = false;
    /// Later statements may mean other tables and types by the same names, at least until the
    /// transaction ends: it changes the search path or the role, or makes a temporary object.
    bool moves_names = false;

    friend constexpr bool operator==(const SessionEffect&, const SessionEffect&) = default;
};

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

/// Whether another search path or role comes of the setting of that name.
constexpr bool setting_moves_names(std::string_view setting) {
    for (const std::string_view name :
         {"SEARCH_PATH", "SCHEMA", "ROLE", "AUTHORIZATION", "SESSION_AUTHORIZATION"})
        if (SqlWords::is(setting, name)) return true;
    return false;
}

/// Whether `set_config`, whose arguments come next, may set one of these: its first is no plain
/// literal, or names one.
constexpr bool config_moves_names(SqlWords arguments) {
    arguments.next_token();  // the bracket
    const auto name = arguments.next_literal();
    const bool plain =
        !name.empty() && arguments.next_literal().empty() && arguments.next_token() == ",";
    return !plain || setting_moves_names(name.substr(1, name.size() - 2));
}

/// What a function does that a query calls is not seen; a block and a procedure may do anything.
///
/// Rather too much than too little: a reset costs a round trip and the prepared statements, nothing
/// else. What stands in literals does not count, so no row of plain data costs one.
constexpr SessionEffect session_effect(std::string_view sql) {
    const auto is = SqlWords::is;
    SqlWords words{sql};
    const std::string_view first = words.next();
    for (const std::string_view keyword : {"RESET", "DO", "CALL"})
        if (is(first, keyword)) return {.lasts = true, .moves_names = true};
    SessionEffect effect;
    effect.lasts = is(first, "LISTEN") || is(first, "LOAD");
    if (is(first, "PREPARE")) return {.lasts = !is(words.next(), "TRANSACTION")};
    std::string_view before = first;
    if (is(first, "SET")) {
        before = words.next();
        const bool local = is(before, "LOCAL");
        effect.lasts = !local && !is(before, "TRANSACTION") && !is(before, "CONSTRAINTS");
        if (local) before = words.next();
        if (is(before, "SESSION")) before = words.next();
        effect.moves_names = setting_moves_names(before);
    }
    const bool fills_table = is(first, "INSERT") || is(first, "MERGE");  // which may be named temp
    const auto makes_temporary = [&](std::string_view word) {
        if (is(word, "PG_TEMP")) return true;
        if (!is(word, "TEMP") && !is(word, "TEMPORARY")) return false;
        for (const std::string_view keyword : {"CREATE", "REPLACE", "LOCAL", "GLOBAL"})
            if (is(before, keyword)) return true;
        return is(before, "INTO") && !fills_table;
    };
    const auto keeps_lock = [&](std::string_view word) {
        for (const std::string_view name : {"PG_ADVISORY_LOCK", "PG_ADVISORY_LOCK_SHARED",
                                            "PG_TRY_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK_SHARED"})
            if (is(word, name)) return true;
        return false;
    };

    for (auto word = words.next(); !word.empty(); before = word, word = words.next()) {
        if (makes_temporary(word) ||
            (is(word, "PG_SETTINGS") && !is(first, "SELECT")))  // an UPDATE of it sets
            return {.lasts = true, .moves_names = true};
        if (keeps_lock(word) || (is(word, "HOLD") && is(first, "DECLARE"))) effect.lasts = true;
        if (is(word, "SET_CONFIG")) {
            effect.lasts |= !sets_locally(words);
            effect.moves_names |= config_moves_names(words);
        }
    }
    return effect;
}

}  // namespace txscope::detail
