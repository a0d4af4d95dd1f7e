#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace txscope::detail {

/// The words of an SQL text, one after another, outside of quotes and comments.
class SqlWords {
public:
    constexpr explicit SqlWords(std::string_view sql) : rest_{sql} {}

    /// Empty at the end.
    constexpr std::string_view next() {
        while (!rest_.empty() && !is_part_of_word(rest_.front())) skip_one();
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_part_of_word);
        return take(static_cast<std::size_t>(end - rest_.begin()));
    }

    /// Whether `word` is `keyword`, which is in capitals.
    static constexpr bool is(std::string_view word, std::string_view keyword) {
        return std::equal(word.begin(), word.end(), keyword.begin(), keyword.end(),
                          [](char a, char b) { return (is_lower(a) ? a - 'a' + 'A' : a) == b; });
    }

private:
    static constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
    static constexpr bool is_part_of_word(char c) {
        return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               static_cast<unsigned char>(c) >= 0x80;
    }

    constexpr std::string_view take(std::size_t size) {
        const auto taken = rest_.substr(0, size);
        rest_.remove_prefix(taken.size());
        return taken;
    }
    constexpr void skip_past(std::string_view end) {
        const auto found = rest_.find(end);
        take(found == rest_.npos ? rest_.size() : found + end.size());
    }
    constexpr void skip_one() {
        if (rest_.starts_with("--")) {
            take(std::min(rest_.find_first_of("\n\r"), rest_.size()));  // either ends a comment
            return;
        }
        if (rest_.starts_with("/*")) return skip_comment();
        const auto first = take(1);
        if (first == "'" || first == "\"") skip_past(first);
    }
    constexpr void skip_comment() {
        int depth = 0;  // comments nest in PostgreSQL
        do {
            const bool opens = rest_.starts_with("/*");
            const bool closes = rest_.starts_with("*/");
            depth += opens ? 1 : closes ? -1 : 0;
            take(opens || closes ? 2 : 1);
        } while (depth > 0 && !rest_.empty());
    }

    std::string_view rest_;
};

}  // namespace txscope::detail
