#pragma once

#include <pqxx/except>
#include <pqxx/strconv>
#include <pqxx/version>

#include <string>
#include <string_view>
#include <type_traits>

/// The one header that knows libpqxx's versions: 6.4, 7.x and 8.x.
namespace txscope::detail {

static_assert(PQXX_VERSION_MAJOR > 6 || (PQXX_VERSION_MAJOR == 6 && PQXX_VERSION_MINOR >= 4),
              "txscope needs libpqxx 6.4 or later");

/// 08P01: a class of its own since libpqxx 7.8, where before it was a broken connection.
#if PQXX_VERSION_MAJOR > 7 || (PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR >= 8)
using PqxxProtocolViolation = pqxx::protocol_violation;
#else
using PqxxProtocolViolation = pqxx::broken_connection;
#endif

/// 53200: libpqxx 8 renamed it.
#if PQXX_VERSION_MAJOR >= 8
using PqxxOutOfMemory = pqxx::server_out_of_memory;
#else
using PqxxOutOfMemory = pqxx::out_of_memory;
#endif

/// What the constructors of libpqxx's exceptions take beside a message differs by class and by
/// version. A syntax error takes statement, SQLSTATE and position,
template <class Error>
concept PqxxTakesPosition =
    std::is_constructible_v<Error, const std::string&, const std::string&, const char*, int>;

/// most take statement and SQLSTATE; broken connections, and in libpqxx 6 the class 40 errors,
/// neither.
template <class Error>
concept PqxxTakesStatement =
    std::is_constructible_v<Error, const std::string&, const std::string&, const char*>;

/// Whether libpqxx has been taught to write `T`, as far as this version lets one ask.
template <typename T>
[[nodiscard]] consteval bool pqxx_writes() {
#if PQXX_VERSION_MAJOR == 6
    return requires(const T& value) { pqxx::string_traits<T>::to_string(value); };
#else
    if constexpr (requires { pqxx::string_traits<T>::converts_to_string; }) {
        return pqxx::string_traits<T>::converts_to_string;
    } else {
        return true;
    }
#endif
}

/// Whether libpqxx has been taught to read `T`, as far as this version lets one ask.
template <typename T>
[[nodiscard]] consteval bool pqxx_reads() {
#if PQXX_VERSION_MAJOR == 6
    return requires(T& value) { pqxx::string_traits<T>::from_string("", value); };
#else
    if constexpr (requires { pqxx::string_traits<T>::converts_from_string; }) {
        return pqxx::string_traits<T>::converts_from_string;
    } else {
        return true;
    }
#endif
}

/// Whether a program has taught libpqxx to write or read `T`. Every type has a `nullness` where a type
/// that was not taught looks like one that was, but it is no constant then.
template <typename T>
[[nodiscard]] consteval bool pqxx_knows() {
#if PQXX_VERSION_MAJOR > 6
    if constexpr (!requires { pqxx::string_traits<T>::converts_to_string; }) {
        return requires { typename std::bool_constant<pqxx::nullness<T>::has_null>; };
    }
#endif
    return pqxx_writes<T>() || pqxx_reads<T>();
}

/// Whether libpqxx takes this value for SQL's NULL.
template <typename T>
[[nodiscard]] bool pqxx_is_null(const T& value) {
#if PQXX_VERSION_MAJOR == 6
    if constexpr (requires { pqxx::string_traits<T>::is_null(value); }) {
        return pqxx::string_traits<T>::is_null(value);
    } else {
        return false;
    }
#else
    return pqxx::is_null(value);
#endif
}

template <typename T>
[[nodiscard]] std::string pqxx_to_text(const T& value) {
    return pqxx::to_string(value);
}

template <typename T>
[[nodiscard]] T pqxx_from_text(std::string_view text) {
#if PQXX_VERSION_MAJOR == 6
    T value{};
    pqxx::from_string(std::string(text), value);  // libpqxx 6 reads up to a terminating zero
    return value;
#else
    return pqxx::from_string<T>(text);
#endif
}

}  // namespace txscope::detail
