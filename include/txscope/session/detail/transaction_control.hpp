#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <string_view>

namespace txscope::detail {

/// Whether `sql` begins, ends or divides a transaction, which is for scopes to do.
constexpr bool is_transaction_control(std::string_view sql) {
    SqlWords words{sql};
    const auto first = words.next();
    for (const std::string_view keyword :
         {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
        if (SqlWords::is(first, keyword)) return true;
    return SqlWords::is(first, "PREPARE") && SqlWords::is(words.next(), "TRANSACTION");
}

}  // namespace txscope::detail
