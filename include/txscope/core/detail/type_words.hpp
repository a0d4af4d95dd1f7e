#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace txscope::detail {

/// For what does not compile once it is instantiated.
template <typename... Ts>
inline constexpr bool never = false;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
struct WithoutOptional {
    using type = T;
};
template <typename T>
struct WithoutOptional<std::optional<T>> {
    using type = T;
};
template <typename T>
using without_optional = typename WithoutOptional<T>::type;

/// Types that may be meant as a number or as a text. `signed char` and `unsigned char` are not
/// among them: they are what `std::int8_t` and `std::uint8_t` are called.
template <typename T>
concept CharacterType =
    std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
    std::same_as<T, char16_t> || std::same_as<T, char32_t>;

template <typename T>
concept Integer = std::integral<T> && !std::same_as<T, bool> && !CharacterType<T>;

template <typename T>
concept Number = Integer<T> || std::floating_point<T>;

/// A type in words, for an error's text: "a 64-bit integer", "a bool", "Colour".
template <typename T>
[[nodiscard]] std::string type_words() {
    if constexpr (IsOptional<T>::value) {
        return type_words<typename T::value_type>();
    } else if constexpr (Integer<T>) {
        return std::string(std::unsigned_integral<T> ? "an unsigned "
                           : sizeof(T) == 1          ? "an "
                                                     : "a ") +
               std::to_string(sizeof(T) * 8) + "-bit integer";
    } else if constexpr (std::same_as<T, bool>) {
        return "a bool";
    } else if constexpr (std::floating_point<T>) {
        return "a floating-point number";
    } else if constexpr (std::same_as<T, std::string>) {
        return "a text";
    } else {
#if defined(__GNUC__)
        // "... [with T = Colour; ...]" says g++, "... [T = Colour]" says clang++, and both put the
        // name of an unnamed namespace before it.
        constexpr std::string_view function = __PRETTY_FUNCTION__;
        constexpr std::size_t start = function.find("T = ") + 4;
        constexpr std::size_t end = function.find_first_of(";]", start);
        std::string name(function.substr(start, end - start));
        for (std::string_view unnamed : {"{anonymous}::", "(anonymous namespace)::"}) {
            if (name.starts_with(unnamed)) name.erase(0, unnamed.size());
        }
        return name;
#else
        return "the wanted type";
#endif
    }
}

}  // namespace txscope::detail
