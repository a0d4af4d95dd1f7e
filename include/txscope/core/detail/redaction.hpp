#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

/// How a server's message becomes a text that may be logged: without a value in it.
namespace txscope::detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Letters, digits, `_`, `$` and every byte of a multi-byte character.
[[nodiscard]] constexpr bool is_word(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

/// Where `part` begins in `text`, ASCII capitals being no different.
[[nodiscard]] inline std::size_t find(std::string_view text, std::string_view part,
                                      std::size_t from = 0) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    const auto found =
        std::search(text.begin() + static_cast<std::ptrdiff_t>(from), text.end(), part.begin(),
                    part.end(), [&](char a, char b) { return lower(a) == lower(b); });
    return found == text.end() ? std::string_view::npos
                               : static_cast<std::size_t>(found - text.begin());
}

[[nodiscard]] constexpr bool is_whole_word(std::string_view text, std::size_t at,
                                           std::size_t length) noexcept {
    return (at == 0 || !is_word(text[at - 1])) &&
           (at + length == text.size() || !is_word(text[at + length]));
}

[[nodiscard]] inline bool contains_word(std::string_view text, std::string_view word) noexcept {
    for (std::size_t at = text.find(word); at != std::string_view::npos;
         at = text.find(word, at + 1)) {
        if (is_whole_word(text, at, word.size())) return true;
    }
    return false;
}

/// What quoted names such as `"a"."b""c"` name: `a.b"c`.
[[nodiscard]] inline std::string unquoted(std::string_view names) {
    std::string text;
    for (std::size_t at = 0; at < names.size(); ++at) {
        const bool quote = names[at] == '"';
        if (quote && names.substr(at + 1, 1) != "\"") continue;
        if (quote) ++at;  // a doubled one
        text += names[at];
    }
    return text;
}

/// A message and which of its bytes must not be shown.
class Redaction {
public:
    explicit Redaction(std::string_view message) : message_(message), shown_(message) {}

    /// Hides every occurrence of a value, in capitals or not. One of fewer than four bytes counts
    /// only as a word of its own, else a parameter "1" would riddle the message; one without a
    /// letter or digit says nothing.
    void hide_value(std::string_view value) {
        if (std::none_of(value.begin(), value.end(), is_word)) return;
        for (std::size_t at = find(message_, value); at != std::string_view::npos;
             at = find(message_, value, at + 1)) {
            if (value.size() >= 4 || is_whole_word(message_, at, value.size()))
                hide(at, value.size());
        }
    }

    /// Hides quoted text that is part of one of the values: the server cuts and folds what it takes
    /// for a name, so a value may be quoted otherwise than it was sent. Where a value has quotation
    /// marks itself, they do not say what is quoted: all goes from the first to the last. `shown` are
    /// texts that stand in the error anyway.
    void hide_quoted_parts_of(std::span<const std::string_view> values,
                              std::span<const std::string_view> shown) {
        const bool marked = std::any_of(values.begin(), values.end(), [](std::string_view value) {
            return value.find('"') != value.npos;
        });
        const std::size_t first = message_.find('"');
        for (std::size_t open = first; open != std::string_view::npos;) {
            const std::size_t close = message_.find('"', open + 1);
            if (close == std::string_view::npos) return;
            const std::string_view quoted = message_.substr(open + 1, close - open - 1);
            const bool is_shown =
                std::any_of(shown.begin(), shown.end(),
                            [&](std::string_view text) { return contains_word(text, quoted); });
            const auto is_part_of = [&](std::string_view value) {
                return find(value, quoted) != std::string_view::npos;
            };
            if (!is_shown && marked) return hide(first + 1, message_.rfind('"') - first - 1);
            if (!quoted.empty() && !is_shown &&
                std::any_of(values.begin(), values.end(), is_part_of)) {
                hide(open + 1, quoted.size());
            }
            open = message_.find('"', close + 1);
        }
    }

    /// Hides everything from the first quotation mark to the last, in whichever language the
    /// server quotes, and every number outside parentheses.
    void hide_quotes_and_numbers() {
        constexpr std::array<std::string_view, 6> marks{"\"", "«", "»", "“", "”", "„"};
        std::size_t first = message_.size();
        std::size_t last = 0;
        std::size_t seen = 0;
        for (std::size_t at = 0; at < message_.size(); ++at) {
            for (std::string_view mark : marks) {
                if (!message_.substr(at).starts_with(mark)) continue;
                if (seen++ == 0) first = at + mark.size();
                last = at;
            }
        }
        if (seen == 1) last = message_.size();  // an opening mark whose closing one was cut off
        if (seen > 0) hide(first, last - first);

        int depth = 0;
        for (std::size_t at = 0; at < message_.size(); ++at) {
            depth += message_[at] == '(' ? 1 : message_[at] == ')' ? -1 : 0;
            if (depth > 0 || !is_digit(message_[at]) || (at > 0 && is_word(message_[at - 1]))) {
                continue;
            }
            std::size_t end = at;
            while (end < message_.size() && (is_word(message_[end]) || is_number_mark(end))) ++end;
            hide(at, end - at);
            at = end - 1;
        }
    }

    /// The message with `…` for each hidden stretch.
    [[nodiscard]] std::string text() const {
        std::string result;
        for (std::size_t at = 0; at < shown_.size(); ++at) {
            if (shown_[at] != hidden) {
                result += shown_[at];
            } else if (at == 0 || shown_[at - 1] != hidden) {
                result += "…";
            }
        }
        return result;
    }

private:
    static constexpr char hidden = '\0';  // which no message has

    void hide(std::size_t at, std::size_t length) { shown_.replace(at, length, length, hidden); }

    /// Signs that belong to a number or a date when a digit follows: `12:30`, `1.5e-3`.
    [[nodiscard]] bool is_number_mark(std::size_t at) const noexcept {
        return std::string_view(".:+-/").find(message_[at]) != std::string_view::npos &&
               at + 1 < message_.size() && is_digit(message_[at + 1]);
    }

    std::string_view message_;
    std::string shown_;  // the message, with what is hidden blotted out
};

}  // namespace txscope::detail
