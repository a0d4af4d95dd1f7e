#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether `sql` begins, ends or divides a transaction, which is for scopes to do.
constexpr bool is_transaction_control(std::string_view sql) {
    // INSERT, UPDATE, DELETE, MERGE, WITH: most that write are told by their first letter.
    constexpr std::string_view harmless = "IUDMWiudmw";
    if (!sql.empty() && harmless.find(sql.front()) != harmless.npos) return false;
    SqlWords words{sql};
    auto first = words.next_token();  // a keyword is never in quotes
    while (first == ";") first = words.next_token();
    for (const std::string_view keyword :
         {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
        if (SqlWords::is(first, keyword)) return true;
    return SqlWords::is(first, "PREPARE") && SqlWords::is(words.next_token(), "TRANSACTION");
}

/// Whether the server is to keep `sql` as a prepared statement. It reads transaction control and
/// settings in no time, and their texts are many: a label or a number makes each another one.
constexpr bool is_worth_preparing(std::string_view sql) {
    return !is_transaction_control(sql) && !SqlWords::is(SqlWords{sql}.next(), "SET");
}

/// Whether `sql` makes a transaction read-write that was begun read-only, which PostgreSQL allows
/// ahead of its first query.
constexpr bool makes_read_write(std::string_view sql) {
    SqlWords words{sql};
    const auto first = words.next();
    if (!SqlWords::is(first, "SET") && !SqlWords::is(first, "RESET")) return false;
    for (auto word = words.next(); !word.empty(); word = words.next())
        if (SqlWords::is(word, "WRITE") || SqlWords::is(word, "TRANSACTION_READ_ONLY")) return true;
    return false;
}

}  // namespace txscope::detail
