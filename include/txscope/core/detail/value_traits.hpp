#pragma once

#include <txscope/core/detail/pqxx_compat.hpp>
#include <txscope/core/detail/type_words.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace txscope {

template <typename T>
struct SqlValue;

}  // namespace txscope

/// What is known of a C++ type without a value of it.
namespace txscope::detail {

/// Whether there is SQL text for a parameter of this type, as far as that is known without writing it.
template <typename T>
inline constexpr bool is_writable = [] {
    if constexpr (CharacterType<T>)
        return false;
    else if constexpr (requires { typename SqlValue<T>::ThroughLibpqxx; })
        return pqxx_writes<T>();
    else
        return true;
}();
template <>
inline constexpr bool is_writable<std::nullptr_t> = true;
template <>
inline constexpr bool is_writable<std::nullopt_t> = true;
template <std::size_t n>
inline constexpr bool is_writable<char[n]> = true;
template <typename T>
inline constexpr bool is_writable<std::optional<T>> = is_writable<T>;

/// Whether a field is read as this type, likewise.
template <typename T>
inline constexpr bool is_readable = [] {
    if constexpr (CharacterType<T> || std::is_pointer_v<T> || std::is_reference_v<T> ||
                  std::is_same_v<T, std::string_view>)
        return false;
    else if constexpr (requires { typename SqlValue<T>::ThroughLibpqxx; })
        return pqxx_reads<T>();
    else
        return true;
}();
template <typename T>
inline constexpr bool is_readable<std::optional<T>> = is_readable<T>;

/// Whether the texts of `T` are JSON, and nothing else.
template <typename T>
inline constexpr bool is_json = false;
template <typename T>
    requires requires { SqlValue<T>::is_json; }
inline constexpr bool is_json<T> = SqlValue<T>::is_json;

/// The OID of the type whose binary format `T` may be read in, by `SqlValue<T>::from_binary`; 0 for none.
/// Those have one where that is as exact as the text, and costs the server less: integers and texts cost
/// it more.
template <typename T>
inline constexpr std::uint32_t binary_type = 0;
template <typename T>
    requires requires { SqlValue<T>::binary_type; }
inline constexpr std::uint32_t binary_type<T> = SqlValue<T>::binary_type;

/// Whether `T` is for a composite type.
template <typename T>
inline constexpr bool is_composite = false;
template <typename T>
    requires requires { SqlValue<T>::is_composite; }
inline constexpr bool is_composite<T> = SqlValue<T>::is_composite;

}  // namespace txscope::detail
