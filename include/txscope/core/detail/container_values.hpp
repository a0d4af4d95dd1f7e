#pragma once

#include <txscope/core/config.hpp>
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
    static std::string to_text(const std::vector<std::byte>& bytes);
    static std::vector<std::byte> from_text(std::string_view text);

private:
    static constexpr std::string_view digits = "0123456789abcdef";

    static std::size_t digit(char c) {
        const std::size_t value = digits.find(c);
        if (value == std::string_view::npos) fail();
        return value;
    }
    [[noreturn]] static void fail() { throw ValueError("the text is not a bytea in hexadecimal"); }
};

namespace detail {

template <typename T>
inline constexpr bool is_vector = false;
template <typename T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <typename T>
concept DeclaresDelimiter = requires { SqlValue<T>::delimiter; };

/// What stands between the elements of an array of `T`.
template <typename T>
inline constexpr char delimiter_of = ',';
template <DeclaresDelimiter T>
inline constexpr char delimiter_of<T> = SqlValue<T>::delimiter;

/// What the type of a result's column says about what stands between an array's elements.
enum class Delimiter {
    of_element,  ///< Nothing: it is what the C++ type of the elements says.
    comma,
    semicolon,
    /// Nothing, and it may be any: the type is the program's or an extension's.
    unknown
};

}  // namespace detail

/// An array of one dimension, for one as `WHERE id = ANY($1)`. Elements that may be NULL are
/// `std::optional`s. The text is taken apart at `SqlValue<T>::delimiter`, by default a comma; in a
/// result's column of one of PostgreSQL's own types, at the one of that type.
template <typename T>
struct SqlValue<std::vector<T>> {
    static std::string to_text(const std::vector<T>& elements) {
        static_assert(!detail::is_vector<T> || std::is_same_v<T, std::vector<std::byte>>,
                      "an array of several dimensions: the elements would become one text each");
        std::string text = "{";
        for (std::size_t i = 0; i < elements.size(); ++i) {
            if (i > 0) text += detail::delimiter_of<Element>;
            append_element(text, elements[i]);
        }
        return text += '}';
    }

    static std::vector<T> from_text(std::string_view text,
                                    detail::Delimiter known = detail::Delimiter::of_element) {
        // An array whose first index is not 1 shows its bounds: [0:2]={a,b,c}
        if (text.starts_with('['))
            text.remove_prefix(std::min(text.find('='), text.size() - 1) + 1);
        if (text.size() < 2 || !text.starts_with('{') || !text.ends_with('}')) fail();
        text = text.substr(1, text.size() - 2);
        std::vector<T> elements;
        if (text.empty()) return elements;
        const char delimiter = known == detail::Delimiter::comma ? ','
                               : known == detail::Delimiter::semicolon
                                   ? ';'
                                   : detail::delimiter_of<Element>;
        const bool guessed =
            known == detail::Delimiter::unknown && !detail::DeclaresDelimiter<Element>;
        for (;;) {
            elements.push_back(read_element(text, delimiter, guessed));
            if (text.empty()) return elements;
            if (!text.starts_with(delimiter)) fail();
            text.remove_prefix(1);
        }
    }

private:
    using Element = detail::without_optional<T>;

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

    /// Takes an element off the front. PostgreSQL quotes one that holds the delimiter, and those that
    /// are in use beside the comma tell where that may not be it.
    static T read_element(std::string_view& text, char delimiter, bool guessed) {
        std::string element;
        const bool quoted = text.starts_with('"');
        std::size_t at = quoted ? 1 : 0;
        for (; at < text.size() && text[at] != (quoted ? '"' : delimiter); ++at) {
            if (!quoted && (text[at] == '{' || text[at] == '"')) fail();
            if (!quoted && guessed && (text[at] == ':' || text[at] == ';'))
                throw ValueError(
                    "it is not known what divides the elements of this type's arrays, a comma or "
                    "what stands in them; declare SqlValue<T>::delimiter, or select it as text[]");
            if (text[at] == '\\' && ++at == text.size()) fail();
            element += text[at];
        }
        if (quoted && at++ == text.size()) fail();
        text.remove_prefix(at);
        if (!quoted && element == "NULL") {
            if constexpr (detail::IsOptional<T>::value) return std::nullopt;
            throw ValueError("an element of the array is NULL; ask for std::optional elements");
        }
        return SqlValue<Element>::from_text(element);
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

#if TXSCOPE_DEFINITIONS

namespace txscope {

TXSCOPE_INLINE std::string SqlValue<std::vector<std::byte>>::to_text(
    const std::vector<std::byte>& bytes) {
    std::string text = "\\x";
    text.reserve(2 + 2 * bytes.size());
    for (std::byte byte : bytes) {
        text += digits[std::to_integer<std::size_t>(byte) >> 4];
        text += digits[std::to_integer<std::size_t>(byte) & 15];
    }
    return text;
}

TXSCOPE_INLINE std::vector<std::byte> SqlValue<std::vector<std::byte>>::from_text(
    std::string_view text) {
    if (!text.starts_with("\\x") || text.size() % 2 != 0) fail();
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 2 - 1);
    for (std::size_t i = 2; i < text.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(digit(text[i]) << 4 | digit(text[i + 1])));
    }
    return bytes;
}

}  // namespace txscope

#endif
