#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether `sql` is a `LISTEN`: what is heard would come on a connection that is lent to others, and
/// nobody would be told.
constexpr bool is_subscription(std::string_view sql) {
    constexpr std::string_view harmless = "ISUDMWisudmw";  // as most statements begin
    if (!sql.empty() && harmless.find(sql.front()) != harmless.npos) return false;
    return SqlWords::is(SqlWords{sql}.next(), "LISTEN");
}

}  // namespace txscope::detail
