#pragma once

#include <txscope/core/value.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// The values of an array as PostgreSQL reads them, each quoted
/// (PostgreSQL manual, "Array Input and Output Syntax").
class ArrayLiteral {
public:
    template <typename T>
    void append(const T& value) {
        append_text(SqlValue<T>::to_text(value));
    }

    std::string text() && {
        text_ += '}';
        return std::move(text_);
    }

private:
    void append_text(std::string_view element) {
        if (text_.size() > 1) text_ += ',';
        text_ += '"';
        for (char c : element) {
            if (c == '"' || c == '\\') text_ += '\\';
            text_ += c;
        }
        text_ += '"';
    }

    std::string text_ = "{";
};

}  // namespace txscope::detail
