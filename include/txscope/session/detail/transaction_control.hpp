#pragma once

#include <algorithm>
#include <cctype>
#include <string_view>

namespace txscope::detail {

/// `sql` without the white space and comments before its first word.
constexpr std::string_view skip_to_word(std::string_view sql) {
    for (;;) {
        const auto start = sql.find_first_not_of(" \t\r\n\f;(");
        sql.remove_prefix(start == sql.npos ? sql.size() : start);
        if (sql.starts_with("--")) {
            const auto end = sql.find('\n');
            sql.remove_prefix(end == sql.npos ? sql.size() : end);
        } else if (sql.starts_with("/*")) {
            // Comments nest in PostgreSQL.
            int depth = 0;
            do {
                const bool opens = sql.starts_with("/*");
                const bool closes = sql.starts_with("*/");
                depth += opens ? 1 : closes ? -1 : 0;
                sql.remove_prefix(opens || closes ? 2 : 1);
            } while (depth > 0 && !sql.empty());
        } else {
            return sql;
        }
    }
}

/// Whether `sql` begins, ends or divides a transaction, which is for scopes to do.
inline bool is_transaction_control(std::string_view sql) {
    const auto next_word = [&] {
        sql = skip_to_word(sql);
        std::size_t length = 0;
        while (length < sql.size() && std::isalpha(static_cast<unsigned char>(sql[length])) != 0)
            ++length;
        const auto word = sql.substr(0, length);
        sql.remove_prefix(length);
        return word;
    };
    const auto is = [](std::string_view word, std::string_view keyword) {
        return std::equal(
            word.begin(), word.end(), keyword.begin(), keyword.end(),
            [](char a, char b) { return std::toupper(static_cast<unsigned char>(a)) == b; });
    };
    const auto word = next_word();
    for (const std::string_view keyword :
         {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
        if (is(word, keyword)) return true;
    return is(word, "PREPARE") && is(next_word(), "TRANSACTION");
}

}  // namespace txscope::detail
