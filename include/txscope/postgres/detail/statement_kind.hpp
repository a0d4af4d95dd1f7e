#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <cstdint>
#include <string_view>

namespace txscope::detail {

/// What a statement is and does beside answering, as far as its text tells.
///
/// Of what it does to the session rather too much than too little is said: a reset costs a round
/// trip and the prepared statements, nothing else. What a function does that a query calls is not
/// seen; a block and a procedure may do anything. What stands in literals does not count, so no row
/// of plain data costs a reset.
struct StatementKind {
    bool transaction_control = false;  ///< It begins, ends or divides a transaction.
    /// It makes a transaction read-write that was begun read-only, which PostgreSQL allows ahead of
    /// its first query.
    bool makes_read_write = false;
    bool client_copy = false;  ///< A `COPY` from or to the client.
    bool listen = false;       ///< A `LISTEN`.
    /// The server is to keep it as a prepared statement.
    bool worth_preparing = true;
    /// It leaves in the server's session what outlives its transaction: a setting, a temporary
    /// object, a lock, a subscription.
    bool changes_session = false;
    /// Later statements may mean other tables and types by the same names, at least until the
    /// transaction ends: it changes the search path or the role, or makes a temporary object.
    bool moves_names = false;

    friend constexpr bool operator==(const StatementKind&, const StatementKind&) = default;
};

/// Takes the first word off, a quoted name with its quotes: it is no keyword.
constexpr std::string_view take_first_word(SqlWords& words) {
    auto first = words.next_token();
    while (first == ";" || first == "(") first = words.next_token();
    return first;
}

constexpr bool begins_query(std::string_view first_word) {
    return SqlWords::is_one_of(
        first_word, {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "VALUES", "TABLE"});
}

/// Whether `sql` is a query, as PostgreSQL calls all that is planned. None controls a transaction,
/// copies or listens: for most statements that is all there is to ask, and soon answered.
constexpr bool is_query(std::string_view sql) {
    if (sql.size() > 6 && sql[6] == ' ') {
        constexpr auto number_of = [](const char* word) {  // of six letters, in capitals
            std::uint64_t number = 0;
            for (int i = 0; i < 6; ++i)
                number = number << 8 | (static_cast<unsigned char>(word[i]) & 0xdfu);
            return number;
        };
        const auto first = number_of(sql.data());
        if (first == number_of("INSERT") || first == number_of("SELECT") ||
            first == number_of("UPDATE") || first == number_of("DELETE"))
            return true;
    }
    SqlWords words{sql};
    return begins_query(take_first_word(words));
}

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
    return SqlWords::is_one_of(
        setting, {"SEARCH_PATH", "SCHEMA", "ROLE", "AUTHORIZATION", "SESSION_AUTHORIZATION"});
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

/// What a `SET` does, of whose words all but the first come next.
constexpr StatementKind set_kind(SqlWords words) {
    auto name = words.next();
    const bool local = SqlWords::is(name, "LOCAL");
    const bool lasts = !local && !SqlWords::is_one_of(name, {"TRANSACTION", "CONSTRAINTS"});
    if (local) name = words.next();
    if (SqlWords::is(name, "SESSION")) name = words.next();
    return {.worth_preparing = false,
            .changes_session = lasts,
            .moves_names = setting_moves_names(name)};
}

/// What the first word says of a utility command, as PostgreSQL calls all that is not planned; the
/// others come next.
constexpr StatementKind utility_kind(std::string_view first, SqlWords words) {
    const auto is = SqlWords::is;
    // The server reads it in no time, and the texts are many: a label or a number makes each another
    // one. So with settings.
    constexpr StatementKind control{.transaction_control = true, .worth_preparing = false};
    if (SqlWords::is_one_of(first, {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT",
                                    "SAVEPOINT", "RELEASE"}))
        return control;
    if (is(first, "PREPARE")) {
        if (is(words.next_token(), "TRANSACTION")) return control;
        return {.changes_session = true};
    }
    if (is(first, "SET")) return set_kind(words);
    if (SqlWords::is_one_of(first, {"RESET", "DO", "CALL"}))
        return {.worth_preparing = false, .changes_session = true, .moves_names = true};
    if (is(first, "DISCARD") && is(words.next_token(), "ALL"))
        return {.worth_preparing = false, .changes_session = true};
    if (is(first, "LISTEN")) return {.listen = true, .changes_session = true};
    // Their columns are those of a cursor or statement whose name may come to mean another one.
    if (SqlWords::is_one_of(first, {"FETCH", "EXECUTE"})) return {.worth_preparing = false};
    return {.changes_session = is(first, "LOAD")};
}

/// What `sql` is, told in one pass over its words.
constexpr StatementKind statement_kind(std::string_view sql) {
    const auto is = SqlWords::is;
    SqlWords words{sql};
    const std::string_view first = take_first_word(words);
    StatementKind kind = begins_query(first) ? StatementKind{} : utility_kind(first, words);
    if (kind.transaction_control) return kind;

    const bool sets = is(first, "SET") || is(first, "RESET");
    const bool copies = is(first, "COPY");
    const bool fills_table = is(first, "INSERT") || is(first, "MERGE");  // which may be named temp
    std::string_view before = first;
    const auto makes_temporary = [&](std::string_view word) {
        if (is(word, "PG_TEMP")) return true;
        if (!SqlWords::is_one_of(word, {"TEMP", "TEMPORARY"})) return false;
        return SqlWords::is_one_of(before, {"CREATE", "REPLACE", "LOCAL", "GLOBAL"}) ||
               (is(before, "INTO") && !fills_table);
    };
    for (auto word = words.next(); !word.empty(); before = word, word = words.next()) {
        const bool sets_in_view = is(word, "PG_SETTINGS") && !is(first, "SELECT");  // by an UPDATE
        if (makes_temporary(word) || sets_in_view) {
            kind.worth_preparing = false;  // whatever is prepared is retired then, it included
            kind.changes_session = kind.moves_names = true;
        }
        if (SqlWords::is_one_of(word, {"PG_ADVISORY_LOCK", "PG_ADVISORY_LOCK_SHARED",
                                       "PG_TRY_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK_SHARED"}) ||
            (is(word, "HOLD") && is(first, "DECLARE")))
            kind.changes_session = true;
        if (is(word, "SET_CONFIG")) {
            kind.changes_session |= !sets_locally(words);
            kind.moves_names |= config_moves_names(words);
        }
        if (sets)
            kind.makes_read_write |= SqlWords::is_one_of(word, {"WRITE", "TRANSACTION_READ_ONLY"});
        if (copies) kind.client_copy |= SqlWords::is_one_of(word, {"STDIN", "STDOUT"});
    }
    return kind;
}

}  // namespace txscope::detail
