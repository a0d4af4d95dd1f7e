#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <string_view>

namespace txscope::detail {

/// The longest name that PostgreSQL keeps whole, in bytes: its NAMEDATALEN less one. It cuts a longer
/// one with no more than a notice, and then answers under the shorter. A server may have been built
/// with another NAMEDATALEN; the names in our SQL are short enough for all that have at least this.
inline constexpr std::size_t max_name_length = 63;

/// Gives `put` the characters of `name` in quotes: whatever it holds, it stays one name.
template <typename Put>
constexpr void write_quoted(std::string_view name, Put put) {
    put('"');
    for (const char c : name) {
        if (c == '"') put(c);
        put(c);
    }
    put('"');
}

/// Calls `put` with the characters of a string constant, whatever `standard_conforming_strings` is.
template <typename Put>
constexpr void write_string_constant(std::string_view text, Put put) {
    put('E');
    put('\'');
    for (const char c : text) {
        if (c == '\'' || c == '\\') put(c);
        put(c);
    }
    put('\'');
}

/// The words of an SQL text, one after another, outside of literals and comments. A quoted name is
/// a word too.
///
/// Source: PostgreSQL manual, "Lexical Structure", with `standard_conforming_strings` on.
class SqlWords {
public:
    constexpr explicit SqlWords(std::string_view sql) : rest_{sql} {}

    /// The next word, a quoted name without its quotes; empty at the end.
    constexpr std::string_view next() {
        for (auto token = next_token(); !token.empty(); token = next_token()) {
            if (token.front() == '"') token = token.substr(1, token.size() - 2);
            if (!token.empty() && is_part_of_word(token.front())) return token;
        }
        return {};
    }

    /// The next word, a quoted name with its quotes, or sign; empty at the end.
    constexpr std::string_view next_token() {
        while (skip_one()) continue;
        if (rest_.empty()) return {};
        if (rest_.front() == '"') return take_past("\"", 1);
        if (!is_part_of_word(rest_.front())) return take(1);
        std::size_t size = 1;
        while (size < rest_.size() && (is_part_of_word(rest_[size]) || rest_[size] == '$')) ++size;
        const auto word = take(size);
        if (rest_.starts_with('\'') && is(word, "E")) skip_escape_string();
        return word;
    }

    /// The plain literal ('…') that comes next, with its quotes, a doubled one ending it; empty where
    /// something else does.
    constexpr std::string_view next_literal() {
        skip_blanks();
        return rest_.starts_with('\'') ? take_past("'", 1) : std::string_view{};
    }

    /// Whether `word` is `keyword`, which is of capitals and `_`.
    static constexpr bool is(std::string_view word, std::string_view keyword) {
        constexpr int capital = ~0x20;  // of the letters, and of no other part of a word
        return std::equal(word.begin(), word.end(), keyword.begin(), keyword.end(),
                          [](char a, char b) { return (a & capital) == b; });
    }
    static constexpr bool is_one_of(std::string_view word,
                                    std::initializer_list<std::string_view> keywords) {
        return std::any_of(keywords.begin(), keywords.end(),
                           [&](std::string_view keyword) { return is(word, keyword); });
    }

private:
    static constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static constexpr bool is_part_of_word(char c) { return class_of(c) == part_of_word; }

    // In a table, since it is asked of every character.
    enum Class : unsigned char {
        sign,
        blank,
        part_of_word
    };
    static constexpr auto classes = [] {
        std::array<Class, 256> found{};
        const auto put = [&](std::string_view characters, Class kind) {
            for (const char c : characters) found[static_cast<unsigned char>(c)] = kind;
        };
        put(" \t\n\r\f\v", blank);
        put("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", part_of_word);
        for (std::size_t c = 0x80; c < found.size(); ++c) found[c] = part_of_word;
        return found;
    }();
    static constexpr Class class_of(char c) { return classes[static_cast<unsigned char>(c)]; }

    constexpr std::string_view take(std::size_t size) {
        const auto taken = rest_.substr(0, size);
        rest_.remove_prefix(taken.size());
        return taken;
    }
    constexpr std::string_view take_past(std::string_view end, std::size_t from) {
        const auto found = rest_.find(end, from);
        return take(found == rest_.npos ? rest_.size() : found + end.size());
    }

    // A blank, a comment or a literal; false when none is next.
    constexpr bool skip_one() {
        if (rest_.empty() || is_part_of_word(rest_.front())) return false;
        if (class_of(rest_.front()) == blank) return skip_blanks(), true;
        if (rest_.starts_with("--")) {
            take(std::min(rest_.find_first_of("\n\r"), rest_.size()));  // either ends a comment
        } else if (rest_.starts_with("/*")) {
            skip_comment();
        } else if (rest_.front() == '\'') {
            take_past("'", 1);
        } else if (const auto quote = dollar_quote(); !quote.empty()) {
            take_past(quote, quote.size());
        } else {
            return false;
        }
        return true;
    }
    constexpr void skip_blanks() {
        while (!rest_.empty() && class_of(rest_.front()) == blank) rest_.remove_prefix(1);
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
    constexpr void skip_escape_string() {
        take(1);
        while (!rest_.empty()) {
            const auto c = take(1).front();
            if (c == '\'') return;
            if (c == '\\') take(1);
        }
    }

    // The `$tag$` that comes next, if one does; `$1` is a parameter.
    constexpr std::string_view dollar_quote() const {
        if (rest_.front() != '$') return {};
        const auto end = std::find_if_not(rest_.begin() + 1, rest_.end(), is_part_of_word);
        if (end == rest_.end() || *end != '$' || is_digit(rest_[1])) return {};
        return {rest_.begin(), end + 1};
    }

    std::string_view rest_;
};

}  // namespace txscope::detail
