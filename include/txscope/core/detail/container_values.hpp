#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace txscope {

/// `bytea`, in hexadecimal: PostgreSQL's form unless `bytea_output` was changed (manual, "Binary
/// Data Types").
template <>
struct SqlValue<std::vector<std::byte>> {
    static std::string to_text(const std::vector<std::byte>& bytes) {
        std::string text = "\\x";
        text.reserve(2 + 2 * bytes.size());
        for (std::byte byte : bytes) {
            text += digits[std::to_integer<std::size_t>(byte) >> 4];
            text += digits[std::to_integer<std::size_t>(byte) & 15];
        }
        return text;
    }
    static std::vector<std::byte> from_text(std::string_view text) {
        if (!text.starts_with("\\x") || text.size() % 2 != 0) fail();
        std::vector<std::byte> bytes;
        bytes.reserve(text.size() / 2 - 1);
        for (std::size_t i = 2; i < text.size(); i += 2) {
            bytes.push_back(static_cast<std::byte>(digit(text[i]) << 4 | digit(text[i + 1])));
        }
        return bytes;
    }

private:
    static constexpr std::string_view digits = "0123456789abcdef";

    static std::size_t digit(char c) {
        const std::size_t value = digits.find(c);
        if (value == std::string_view::npos) fail();
        return value;
    }
    [[noreturn]] static void fail() { throw ValueError("the text is not a bytea in hexadecimal"); }
};

/// A one-dimensional array, for one as `WHERE id = ANY($1)`. Elements that may be NULL are
/// `std::optional`s.
template <typename T>
struct SqlValue<std::vector<T>> {
    static std::string to_text(const std::vector<T>& elements) {
        std::string text = "{";
        for (std::size_t i = 0; i < elements.size(); ++i) {
            if (i > 0) text += ',';
            append_element(text, elements[i]);
        }
        return text += '}';
    }

    static std::vector<T> from_text(std::string_view text) {
        // An array whose first index is not 1 shows its bounds: [0:2]={a,b,c}
        if (text.starts_with('['))
            text.remove_prefix(std::min(text.find('='), text.size() - 1) + 1);
        if (text.size() < 2 || !text.starts_with('{') || !text.ends_with('}')) fail();
        text = text.substr(1, text.size() - 2);
        std::vector<T> elements;
        if (text.empty()) return elements;
        for (;;) {
            elements.push_back(read_element(text));
            if (text.empty()) return elements;
            if (!text.starts_with(',')) fail();
            text.remove_prefix(1);
        }
    }

private:
    static void append_element(std::string& out, const T& element) {
        std::string text;
        if (!detail::append_parameter(text, element)) {
            out += "NULL";
            return;
        }
        out += '"';
        for (char c : text) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        out += '"';
    }

    /// Takes an element off the front.
    static T read_element(std::string_view& text) {
        std::string element;
        const bool quoted = text.starts_with('"');
        std::size_t at = quoted ? 1 : 0;
        for (; at < text.size() && text[at] != (quoted ? '"' : ','); ++at) {
            if (!quoted && (text[at] == '{' || text[at] == '"')) fail();
            if (text[at] == '\\' && ++at == text.size()) fail();
            element += text[at];
        }
        if (quoted && at++ == text.size()) fail();
        text.remove_prefix(at);
        const bool null = !quoted && element == "NULL";
        if constexpr (detail::IsOptional<T>::value) {
            if (null) return std::nullopt;
            return SqlValue<typename T::value_type>::from_text(element);
        } else {
            if (null) {
                throw ValueError("an element of the array is NULL; ask for std::optional elements");
            }
            return SqlValue<T>::from_text(element);
        }
    }

    [[noreturn]] static void fail() { throw ValueError("the text is not a one-dimensional array"); }
};

/// An enumeration described with `BOOST_DESCRIBE_ENUM`: its enumerators' names are the labels of
/// the PostgreSQL enum type, or the texts.
template <typename E>
    requires(std::is_enum_v<E> && boost::describe::has_describe_enumerators<E>::value)
struct SqlValue<E> {
    static std::string to_text(E value) {
        std::string text;
        for_each_enumerator([&](auto enumerator) {
            if (enumerator.value == value) text = enumerator.name;
        });
        if (text.empty()) {
            throw ValueError("a parameter is no enumerator of " + detail::type_words<E>());
        }
        return text;
    }
    static E from_text(std::string_view text) {
        const E* found = nullptr;
        for_each_enumerator([&](auto enumerator) {
            static constexpr E value = decltype(enumerator)::value;
            if (text == enumerator.name) found = &value;
        });
        if (found == nullptr) {
            throw ValueError("the text is no enumerator of " + detail::type_words<E>());
        }
        return *found;
    }

private:
    template <typename Visitor>
    static void for_each_enumerator(Visitor visit) {
        boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>(visit);
    }
};

}  // namespace txscope
