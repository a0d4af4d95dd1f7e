#pragma once

#include <txscope/core/detail/pqxx_compat.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace txscope {

/// Everything not named below: what libpqxx does with it.
template <typename T>
struct SqlValue {
    using ThroughLibpqxx = void;  ///< Tells this template from a specialisation.

    static_assert(
        !detail::CharacterType<T>,
        "txscope: a character type may be a number or a text: use an integer type or std::string");
    static_assert(!detail::IsOptional<T>::value,
                  "txscope: an optional of an optional has two kinds of NULL");

    static std::string to_text(const T& value) {
        static_assert(detail::pqxx_writes<T>(),
                      "txscope: no SQL text for this type: specialise txscope::SqlValue or "
                      "pqxx::string_traits for it");
        return detail::pqxx_to_text(value);
    }

    static T from_text(std::string_view text) {
        static_assert(detail::pqxx_reads<T>(),
                      "txscope: no way to read this type: specialise txscope::SqlValue or "
                      "pqxx::string_traits for it");
        try {
            return detail::pqxx_from_text<T>(text);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const std::exception&) {
            // libpqxx's message quotes the text, and an error of ours never shows a value.
            throw ValueError("the text is not " + detail::type_words<T>());
        }
    }
};

namespace detail {

/// Texts of numbers go through the standard library, whatever libpqxx's version: libpqxx 6 reads
/// "12x" as the double 12. Written in the shortest form that reads back as the same number.
template <typename Number>
void append_number(auto& out, Number value) {
    std::array<char, 64> buffer;
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
    out += std::string_view{buffer.data(), end};
}

template <typename Number>
[[nodiscard]] Number read_number(std::string_view text) {
    Number value{};
    const char* const stop = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), stop, value);
    if (error == std::errc::result_out_of_range) {
        throw ValueError("the number is out of the range of " + type_words<Number>());
    }
    if (error != std::errc{} || end != stop) {
        throw ValueError("the text is not " + type_words<Number>());
    }
    return value;
}

template <std::unsigned_integral Number>
constexpr Number read_big_endian(std::string_view bytes) {
    if (bytes.size() != sizeof(Number)) throw ValueError("the value is of another size");
    Number number = 0;
    for (const char byte : bytes)
        number = static_cast<Number>(number << 8 | static_cast<unsigned char>(byte));
    return number;
}

}  // namespace detail

template <detail::Integer T>
struct SqlValue<T> {
    static void append_text(auto& out, T value) { detail::append_number(out, value); }
    static std::string to_text(T value) {
        std::string text;
        append_text(text, value);
        return text;
    }
    static T from_text(std::string_view text) { return detail::read_number<T>(text); }
};

/// NaN and the infinities are spelt as PostgreSQL spells them (manual, "Floating-Point Types").
template <std::floating_point T>
struct SqlValue<T> {
    static void append_text(auto& out, T value) {
        if (std::isnan(value)) {
            out += "NaN";
        } else if (std::isinf(value)) {
            out += value < 0 ? "-Infinity" : "Infinity";
        } else {
            detail::append_number(out, value);
        }
    }
    static std::string to_text(T value) {
        std::string text;
        append_text(text, value);
        return text;
    }
    static T from_text(std::string_view text) {
        if (text == "NaN") return std::numeric_limits<T>::quiet_NaN();
        if (text == "Infinity") return std::numeric_limits<T>::infinity();
        if (text == "-Infinity") return -std::numeric_limits<T>::infinity();
        return detail::read_number<T>(text);
    }

    // `real` and `double precision`. Between the two a text is another number.
    static constexpr std::uint32_t binary_type = std::same_as<T, float>    ? 700
                                                 : std::same_as<T, double> ? 701
                                                                           : 0;
    static T from_binary(std::string_view bytes)
        requires(binary_type != 0)
    {
        using Bits = std::conditional_t<std::same_as<T, float>, std::uint32_t, std::uint64_t>;
        return std::bit_cast<T>(detail::read_big_endian<Bits>(bytes));
    }
};

template <>
struct SqlValue<bool> {
    static void append_text(auto& out, bool value) { out += value ? "true" : "false"; }
    static std::string to_text(bool value) { return value ? "true" : "false"; }
    static bool from_text(std::string_view text) {
        if (text == "t" || text == "true") return true;
        if (text == "f" || text == "false") return false;
        throw ValueError("the text is not " + detail::type_words<bool>());
    }
};

template <>
struct SqlValue<std::string> {
    static void append_text(auto& out, const std::string& value) { out += value; }
    static std::string to_text(const std::string& value) { return value; }
    static std::string from_text(std::string_view text) { return std::string(text); }
};

/// A parameter only: as a result it would point into a result that may be gone.
template <>
struct SqlValue<std::string_view> {
    static void append_text(auto& out, std::string_view value) { out += value; }
    static std::string to_text(std::string_view value) { return std::string(value); }
};

/// A parameter only, up to its terminating NUL.
template <>
struct SqlValue<const char*> {
    static void append_text(auto& out, const char* value) { out += value; }
    static std::string to_text(const char* value) { return value; }
};

template <>
struct SqlValue<char*> : SqlValue<const char*> {};

namespace detail {

template <typename T>
struct IsCharArray : std::false_type {};
template <std::size_t n>
struct IsCharArray<char[n]> : std::true_type {};

template <typename Text, typename T>
bool append_parameter(Text& out, const T& value) {
    if constexpr (std::is_same_v<T, std::nullopt_t> || std::is_same_v<T, std::nullptr_t>) {
        return false;
    } else if constexpr (IsOptional<T>::value) {
        return value.has_value() && append_parameter(out, *value);
    } else if constexpr (IsCharArray<T>::value) {
        out += std::string_view(value, std::find(std::begin(value), std::end(value), '\0'));
        return true;
    } else {
        if constexpr (std::is_pointer_v<T>) {
            if (value == nullptr) return false;
        } else if constexpr (requires { typename SqlValue<T>::ThroughLibpqxx; }) {
            if (pqxx_is_null(value)) return false;
        }
        const std::size_t start = out.size();
        if constexpr (requires { SqlValue<T>::append_text(out, value); }) {
            SqlValue<T>::append_text(out, value);
        } else {
            out += SqlValue<T>::to_text(value);
        }
        // PostgreSQL's texts have none: what it would refuse without naming it is refused here.
        if constexpr (!std::is_arithmetic_v<T> && !std::is_pointer_v<T>) {
            if (std::string_view{out}.find('\0', start) != std::string_view::npos) {
                throw ValueError("a text with a NUL character cannot be sent to PostgreSQL");
            }
        }
        return true;
    }
}

template <typename T>
T read_inner(std::optional<std::string_view> text, std::string_view whose) {
    if constexpr (IsOptional<T>::value) {
        if (!text) return std::nullopt;
        return SqlValue<typename T::value_type>::from_text(*text);
    } else {
        if (!text)
            throw ValueError(std::string(whose) + " is NULL; ask for a std::optional to allow it");
        return SqlValue<T>::from_text(*text);
    }
}

}  // namespace detail
}  // namespace txscope
