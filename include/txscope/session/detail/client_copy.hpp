#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether `sql` is a `COPY` from or to the client, which libpq's pipeline mode has no place for.
///
/// Source: PostgreSQL manual, "Pipeline Mode" and `COPY`.
constexpr bool is_client_copy(std::string_view sql) {
    constexpr std::string_view harmless = "ISUDMWisudmw";  // as most statements begin
    if (!sql.empty() && harmless.find(sql.front()) != harmless.npos) return false;
    SqlWords words{sql};
    auto word = words.next();
    if (!SqlWords::is(word, "COPY")) return false;
    while (!word.empty() && !SqlWords::is(word, "STDIN") && !SqlWords::is(word, "STDOUT"))
        word = words.next();
    return !word.empty();
}

}  // namespace txscope::detail
