#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txscope::detail {

/// Takes a text apart from left to right. Anything unexpected is a `ValueError` that names what was
/// wanted; those words live as long as the reader.
///
/// The texts of arrays, composites, ranges and the like are pieces between delimiters, which stand in
/// double quotes where they hold one (manual, "Array Input and Output Syntax", "Composite Type Input and
/// Output Syntax", "Range Input/Output").
class TextReader {
public:
    struct Piece {
        std::string_view text{};  ///< Without its quotes; until the next piece is taken.
        bool quoted{};            ///< Only what is not quoted may stand for NULL.
    };

    TextReader(std::string_view text, std::string_view wanted) : rest_(text), wanted_(wanted) {}

    [[nodiscard]] bool take(std::string_view token) noexcept;
    [[nodiscard]] bool take_last(std::string_view token) noexcept;
    void expect(std::string_view token) {
        if (!take(token)) fail();
    }
    /// A number of so many digits, at most 18.
    [[nodiscard]] std::int64_t number(std::size_t min_digits, std::size_t max_digits);
    /// What stands before one of `stops`, or up to the end.
    [[nodiscard]] Piece piece(std::string_view stops);

    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
    void end() const {
        if (!at_end()) fail();
    }
    [[noreturn]] void fail() const;

private:
    std::string_view rest_;
    std::string_view wanted_;
    std::string piece_;
};

/// Appends `text` in double quotes, as every type takes it whose texts are read by pieces.
void append_quoted(std::string& out, std::string_view text);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

TXSCOPE_INLINE bool TextReader::take(std::string_view token) noexcept {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
}

TXSCOPE_INLINE bool TextReader::take_last(std::string_view token) noexcept {
    if (!rest_.ends_with(token)) return false;
    rest_.remove_suffix(token.size());
    return true;
}

TXSCOPE_INLINE std::int64_t TextReader::number(std::size_t min_digits, std::size_t max_digits) {
    std::int64_t value = 0;
    std::size_t digits = 0;
    while (digits < max_digits && digits < rest_.size() && rest_[digits] >= '0' &&
           rest_[digits] <= '9') {
        value = value * 10 + (rest_[digits++] - '0');
    }
    if (digits < min_digits) fail();
    rest_.remove_prefix(digits);
    return value;
}

TXSCOPE_INLINE TextReader::Piece TextReader::piece(std::string_view stops) {
    const bool quoted = take("\"");
    piece_.clear();
    for (; !rest_.empty() && (quoted || stops.find(rest_.front()) == stops.npos);
         rest_.remove_prefix(1)) {
        // A quote is escaped by a backslash, or in composites and ranges by another quote.
        if (rest_.front() == '"' && !(quoted && rest_.starts_with("\"\""))) break;
        if (rest_.front() == '"' || rest_.front() == '\\') rest_.remove_prefix(1);
        if (rest_.empty()) fail();
        piece_ += rest_.front();
    }
    if (take("\"") != quoted) fail();
    return {.text = piece_, .quoted = quoted};
}

TXSCOPE_INLINE void TextReader::fail() const {
    throw ValueError("the text is not " + std::string(wanted_));
}

}  // namespace txscope::detail

#endif
