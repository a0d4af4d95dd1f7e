#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>

#include <string>
#include <string_view>

/// The texts of arrays, composites, ranges and the like: pieces between delimiters, which stand in
/// double quotes where they hold one (manual, "Array Input and Output Syntax", "Composite Type Input and
/// Output Syntax", "Range Input/Output").
namespace txscope::detail {

/// Appends `text` in double quotes, as every of these types takes it.
void append_quoted(std::string& out, std::string_view text);

/// Takes such a text apart from left to right; anything unexpected is a `ValueError` naming what was
/// wanted, which lives as long as the reader.
class PieceReader {
public:
    struct Piece {
        std::string_view text{};  ///< Without its quotes; until the next piece is taken.
        bool quoted{};            ///< Only what is not quoted may stand for NULL.
    };

    PieceReader(std::string_view text, std::string_view wanted) : rest_(text), wanted_(wanted) {}

    [[nodiscard]] bool take(std::string_view token) noexcept;
    void expect(std::string_view token) {
        if (!take(token)) fail();
    }
    /// What stands before one of `stops`, or up to the end.
    [[nodiscard]] Piece piece(std::string_view stops);
    void end() const {
        if (!rest_.empty()) fail();
    }
    [[noreturn]] void fail() const;

private:
    std::string_view rest_;
    std::string_view wanted_;
    std::string piece_;
};

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

TXSCOPE_INLINE bool PieceReader::take(std::string_view token) noexcept {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
}

TXSCOPE_INLINE PieceReader::Piece PieceReader::piece(std::string_view stops) {
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

TXSCOPE_INLINE void PieceReader::fail() const {
    throw ValueError("the text is not " + std::string(wanted_));
}

}  // namespace txscope::detail

#endif
