#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

/// Statements that no session executes, since their answers would reach nobody.
namespace txscope::detail {

/// Whether `sql` is told by its first letter to be neither COPY nor LISTEN, as most statements are.
constexpr bool is_harmless(std::string_view sql) {
    constexpr std::string_view letters = "ISUDMWisudmw";
    return !sql.empty() && letters.find(sql.front()) != letters.npos;
}

/// Whether `sql` is a `COPY` from or to the client, which libpq's pipeline mode has no place for.
///
/// Source: PostgreSQL manual, "Pipeline Mode" and `COPY`.
constexpr bool is_client_copy(std::string_view sql) {
    if (is_harmless(sql)) return false;
    SqlWords words{sql};
    auto word = words.next();
    if (!SqlWords::is(word, "COPY")) return false;
    while (!word.empty() && !SqlWords::is(word, "STDIN") && !SqlWords::is(word, "STDOUT"))
        word = words.next();
    return !word.empty();
}

/// Whether `sql` is a `LISTEN`: what is heard would come on a connection that is lent to others, and
/// nobody would be told.
constexpr bool is_subscription(std::string_view sql) {
    return !is_harmless(sql) && SqlWords::is(SqlWords{sql}.next(), "LISTEN");
}

}  // namespace txscope::detail
