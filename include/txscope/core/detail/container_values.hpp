#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/text_reader.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace txscope {

namespace detail {

/// `bytea`, in hexadecimal: PostgreSQL's form unless `bytea_output` was changed (manual, "Binary
/// Data Types").
[[nodiscard]] std::string bytea_text(std::span<const std::byte> bytes);
[[nodiscard]] std::vector<std::byte> read_bytea(std::string_view text);

}  // namespace detail

template <>
struct SqlValue<std::vector<std::byte>> {
    static std::string to_text(std::span<const std::byte> bytes) {
        return detail::bytea_text(bytes);
    }
    static constexpr std::uint32_t binary_type = 17;  // bytea
    static std::vector<std::byte> from_binary(std::string_view bytes) {
        const auto* const first = reinterpret_cast<const std::byte*>(bytes.data());
        return {first, first + bytes.size()};
    }
    static std::vector<std::byte> from_text(std::string_view text) {
        return detail::read_bytea(text);
    }
};

/// A parameter only: as a result it would point into a result that may be gone.
template <typename Byte, std::size_t size>
    requires std::same_as<std::remove_const_t<Byte>, std::byte>
struct SqlValue<std::span<Byte, size>> {
    static std::string to_text(std::span<const std::byte> bytes) {
        return detail::bytea_text(bytes);
    }
};

namespace detail {

/// How many dimensions an array has; 0 for what is none, and `bytea` is none.
template <typename T>
inline constexpr std::size_t dimensions = 0;
template <typename T>
inline constexpr std::size_t dimensions<std::vector<T>> = 1 + dimensions<T>;
template <>
inline constexpr std::size_t dimensions<std::vector<std::byte>> = 0;

/// What is in an array, whatever its dimensions.
template <typename T>
struct ArrayElement {
    using type = T;
};
template <typename T>
    requires(dimensions<T> > 0)
struct ArrayElement<T> : ArrayElement<typename T::value_type> {};

template <typename T>
    requires(dimensions<T> > 0)
inline constexpr bool is_writable<T> = is_writable<typename ArrayElement<T>::type>;
template <typename T>
    requires(dimensions<T> > 0)
inline constexpr bool is_readable<T> = is_readable<typename ArrayElement<T>::type>;

template <typename T>
concept DeclaresDelimiter = requires { SqlValue<T>::delimiter; };

template <typename T>
concept Wraps = requires { typename SqlValue<T>::Value; };

/// What stands between the elements of an array of `T`.
template <typename T>
inline constexpr char delimiter_of = [] {
    if constexpr (DeclaresDelimiter<T>)
        return SqlValue<T>::delimiter;
    else if constexpr (Wraps<T>)
        return delimiter_of<typename SqlValue<T>::Value>;
    else
        return ',';
}();

/// Whether `T` is an array in SQL.
template <typename T>
inline constexpr bool is_sql_array = dimensions<T> > 0;
template <Wraps T>
inline constexpr bool is_sql_array<T> = is_sql_array<typename SqlValue<T>::Value>;

/// Appends a value as one between the delimiters of an array's text.
/// @param scratch anything; it is there to be used again
template <typename T>
void append_element(std::string& out, const T& value, std::string& scratch) {
    scratch.clear();
    if (append_parameter(scratch, value))
        append_quoted(out, scratch);
    else
        out += "NULL";
}

/// What the type of a result's column says about what stands between an array's elements.
enum class Delimiter {
    of_element,  ///< Nothing: it is what the C++ type of the elements says.
    comma,
    semicolon,
    /// Nothing, and it may be any: the type is the program's or an extension's.
    unknown
};

}  // namespace detail

/// An array, for one as `WHERE id = ANY($1)`; vectors of vectors are one of several dimensions.
/// Elements that may be NULL are `std::optional`s. The text is taken apart at `SqlValue<T>::delimiter`,
/// by default a comma; in a result's column of one of PostgreSQL's own types, at the one of that type.
///
/// PostgreSQL's arrays are rectangular: rows of different lengths, or of none, are refused.
template <typename T>
struct SqlValue<std::vector<T>> {
    static std::string to_text(const std::vector<T>& elements) {
        Lengths lengths{};
        measure(elements, lengths.data());
        std::string text;
        std::string scratch;
        append(text, elements, lengths.data(), scratch);
        return text;
    }

    static std::vector<T> from_text(std::string_view text,
                                    detail::Delimiter known = detail::Delimiter::of_element) {
        // An array whose first index is not 1 shows its bounds: [0:2]={a,b,c}
        if (text.starts_with('['))
            text.remove_prefix(std::min(text.find('='), text.size() - 1) + 1);
        const std::string wanted = depth == 1
                                       ? std::string{"a one-dimensional array"}
                                       : "an array of " + std::to_string(depth) + " dimensions";
        detail::TextReader reader{text, wanted};
        using enum detail::Delimiter;
        const char delimiter = known == comma       ? ','
                               : known == semicolon ? ';'
                                                    : detail::delimiter_of<Element>;
        const bool guessed = known == unknown && !detail::DeclaresDelimiter<Element>;
        auto elements = read<std::vector<T>>(reader, delimiter, guessed);
        reader.end();
        return elements;
    }

private:
    static constexpr std::size_t depth = detail::dimensions<std::vector<T>>;
    using Item = typename detail::ArrayElement<T>::type;
    using Element = detail::without_optional<Item>;
    using Lengths = std::array<std::size_t, depth>;
    static_assert(detail::dimensions<Element> == 0,
                  "PostgreSQL knows no NULL for a row of an array, only for its elements");

    /// The lengths of the first array of each dimension.
    template <typename Array>
    static void measure(const Array& elements, std::size_t* length) {
        *length = elements.size();
        if constexpr (detail::dimensions<typename Array::value_type> > 0)
            if (!elements.empty()) measure(elements.front(), length + 1);
    }

    template <typename Array>
    static void append(std::string& out, const Array& elements, const std::size_t* length,
                       std::string& scratch) {
        if (elements.size() != *length) fail_shape();
        out += '{';
        for (std::size_t i = 0; i < elements.size(); ++i) {
            if (i > 0) out += detail::delimiter_of<Element>;
            if constexpr (detail::dimensions<typename Array::value_type> > 0) {
                if (length[1] == 0) fail_shape();
                append(out, elements[i], length + 1, scratch);
            } else {
                const Item& item = elements[i];
                detail::append_element(out, item, scratch);
            }
        }
        out += '}';
    }

    template <typename Array>
    static Array read(detail::TextReader& reader, char delimiter, bool guessed) {
        using Value = typename Array::value_type;
        Array elements;
        reader.expect("{");
        if (reader.take("}")) return elements;
        do {
            if constexpr (detail::dimensions<Value> > 0)
                elements.push_back(read<Value>(reader, delimiter, guessed));
            else
                elements.push_back(read_item(reader, delimiter, guessed));
        } while (reader.take({&delimiter, 1}));
        reader.expect("}");
        return elements;
    }

    /// PostgreSQL quotes an element that holds the delimiter, and those that are in use beside the
    /// comma tell where that may not be it.
    static Item read_item(detail::TextReader& reader, char delimiter, bool guessed) {
        const char stops[] = {delimiter, '}', ':', ';'};
        const auto [text, quoted] = reader.piece({stops, guessed ? 4u : 2u});
        if (guessed && (reader.take(":") || reader.take(";")))
            throw ValueError(
                "it is not known what divides the elements of this type's arrays, a comma or "
                "what stands in them; declare SqlValue<T>::delimiter, or select it as text[]");
        if (!quoted && text.find('{') != text.npos) reader.fail();
        return detail::read_inner<Item>(
            text == "NULL" && !quoted ? std::nullopt : std::optional{text},
            "an element of the array");
    }

    [[noreturn]] static void fail_shape() {
        throw ValueError("the rows of an array differ in length, or have none");
    }
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE std::string bytea_text(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "\\x";
    text.reserve(2 + 2 * bytes.size());
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<std::size_t>(byte) >> 4];
        text += digits[std::to_integer<std::size_t>(byte) & 15];
    }
    return text;
}

TXSCOPE_INLINE std::vector<std::byte> read_bytea(std::string_view text) {
    const auto fail = [] { throw ValueError("the text is not a bytea in hexadecimal"); };
    const auto digit = [&](char c) {
        const std::size_t value = std::string_view{"0123456789abcdef"}.find(c);
        if (value > 15) fail();
        return value;
    };
    if (!text.starts_with("\\x") || text.size() % 2 != 0) fail();
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 2 - 1);
    for (std::size_t i = 2; i < text.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(digit(text[i]) << 4 | digit(text[i + 1])));
    return bytes;
}

}  // namespace txscope::detail

#endif
