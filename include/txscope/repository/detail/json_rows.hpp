#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// Any number of rows as one parameter, `[{"name":"Apollo","stars":"3"},…]`: every value as the
/// text that it would be as a parameter of its own, for PostgreSQL to read as the column's type. What is
/// JSON itself stands there as it is, for PostgreSQL would take its text for a JSON string.
class JsonRows {
public:
    /// A row of what `give_values` passes to its argument, each with its column's name.
    /// @throws ValueError for a text with a NUL character, and JSON's `null`
    template <typename GiveValues>
    void add(GiveValues&& give_values) {
        text_ += text_.empty() ? "[{" : ",{";
        bool first = true;
        give_values([&](std::string_view column, const auto& value) {
            if (!std::exchange(first, false)) text_ += ',';
            append_string(column);
            text_ += ':';
            value_.clear();
            if (!append_parameter(value_, value))
                text_ += "null";
            else if constexpr (is_json<without_optional<std::remove_cvref_t<decltype(value)>>>)
                append_json();
            else
                append_string(value_);
        });
        text_ += '}';
    }

    bool empty() const noexcept { return text_.empty(); }
    std::string take() && { return std::move(text_) + ']'; }

private:
    void append_string(std::string_view text);
    void append_json() {
        // It would become SQL's, which an optional says.
        if (value_ == "null") throw ValueError("JSON's null cannot be one of several rows' values");
        text_ += value_;
    }

    std::string text_;
    std::string value_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE void JsonRows::append_string(std::string_view text) {
    text_ += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            text_ += '\\';
            text_ += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            constexpr std::string_view digits = "0123456789abcdef";
            text_ += "\\u00";
            text_ += digits[static_cast<unsigned char>(c) / 16];
            text_ += digits[static_cast<unsigned char>(c) % 16];
        } else {
            text_ += c;
        }
    }
    text_ += '"';
}

}  // namespace txscope::detail

#endif
