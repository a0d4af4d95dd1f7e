#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/range.hpp>
#include <txscope/core/value.hpp>

#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace txscope::detail {

/// A type as the server knows it; of a domain, the one below it.
struct ServerType {
    std::string name;       ///< `pg_type.typname`: `int4`
    char kind = 'b';        ///< `pg_type.typtype`: 'b' base, 'e' enumeration, 'c' composite, …
    std::string words;      ///< `integer`, `character varying(20)`
    bool is_array = false;  ///< Then the others, but for the words, are its elements'.
    std::vector<std::string> labels{};  ///< Of an enumeration.
    std::vector<ServerType>
        bounds{};  ///< Of a range or a multirange, 'r' and 'm': one, that of its bounds.
    std::vector<ServerType> fields{};  ///< Of a composite.
    std::vector<std::string> field_names{};
};

using Fits = bool(const ServerType&);

/// What a C++ type takes, to be compared with what the server has.
struct ExpectedType {
    std::string words;      ///< `a 64-bit integer`
    Fits* fits = nullptr;   ///< Null: anything does.
    bool is_array = false;  ///< Then what fits, and the labels, are its elements'.
    bool nullable = false;
    std::vector<std::string_view> labels{};  ///< Of an enumeration: what can be read.
    char range = '\0';  ///< 'r', 'm': of a range or a multirange. Then what fits is its bounds'.
    std::vector<ExpectedType> fields{};  ///< Of a composite, in their order.
};

/// Whether what the server has is what a C++ type takes.
inline bool may_be_for(const ServerType& has, const ExpectedType& wants) {
    if (wants.range == '\0')
        return wants.fits == nullptr || (has.is_array == wants.is_array && wants.fits(has));
    return has.is_array == wants.is_array && has.kind == wants.range &&
           (wants.fits == nullptr || wants.fits(has.bounds.front()));
}

template <typename T>
struct RangeBounds {
    static constexpr char kind = '\0';
};
template <typename T>
struct RangeBounds<Range<T>> {
    static constexpr char kind = 'r';
    using Type = T;
};
template <typename T>
struct RangeBounds<Multirange<T>> {
    static constexpr char kind = 'm';
    using Type = T;
};

template <typename T>
inline constexpr bool is_time_point = false;
template <typename Clock, typename Duration>
inline constexpr bool is_time_point<std::chrono::time_point<Clock, Duration>> = true;
template <typename T>
inline constexpr bool is_calendar_date = std::is_same_v<T, std::chrono::year_month_day>;
template <typename Clock>
inline constexpr bool is_calendar_date<std::chrono::time_point<Clock, std::chrono::days>> = true;
template <typename T>
inline constexpr bool is_local_time = false;
template <typename Duration>
inline constexpr bool is_local_time<std::chrono::local_time<Duration>> = true;
template <typename T>
inline constexpr bool is_length_of_time = false;
template <typename Count, typename Period>
inline constexpr bool is_length_of_time<std::chrono::duration<Count, Period>> = true;

template <typename T>
concept SqlText = std::same_as<T, std::string> || std::same_as<T, std::string_view> ||
                  std::same_as<T, const char*> || std::same_as<T, char*>;
template <typename T>
inline constexpr bool is_bytes = std::same_as<T, std::vector<std::byte>>;
template <typename Byte, std::size_t size>
inline constexpr bool is_bytes<std::span<Byte, size>> = true;

/// How many bytes a column's integers have; 0 for what is none.
inline std::size_t integer_size(const std::string& type) {
    return type == "int2" ? 2 : type == "int4" ? 4 : type == "int8" ? 8 : 0;
}
inline bool is_float(const std::string& type) { return type == "float4" || type == "float8"; }

/// What a value is for: the types that can take each `T`, but for integers beyond their range, which are
/// refused; or those whose every value a `T` can take.
enum class Use {
    sent,
    read
};

/// Says whether the server's type is one of these; null where nobody has said which are. A text is for all
/// that has no C++ type of its own.
template <typename T, Use use>
constexpr Fits* fits() {
    if constexpr (requires { SqlValue<T>::type_names; }) {
        return [](const ServerType& type) {
            return std::ranges::find(SqlValue<T>::type_names, type.name) !=
                   std::ranges::end(SqlValue<T>::type_names);
        };
    } else if constexpr (std::same_as<T, bool>) {
        return [](const ServerType& type) { return type.name == "bool"; };
    } else if constexpr (Integer<T>) {
        return [](const ServerType& type) {
            const std::size_t size = integer_size(type.name);
            if (size > 0) return use == Use::sent || size <= std::max(sizeof(T), std::size_t{2});
            return type.name == "numeric" || type.name == "oid" ||
                   (use == Use::sent && is_float(type.name));
        };
    } else if constexpr (std::floating_point<T>) {
        return [](const ServerType& type) {
            return type.name == "float4" || type.name == "numeric" ||
                   (type.name == "float8" && (use == Use::sent || sizeof(T) >= 8));
        };
    } else if constexpr (SqlText<T>) {
        return [](const ServerType& type) {
            return integer_size(type.name) == 0 && !is_float(type.name) && type.name != "bool" &&
                   type.name != "bytea";
        };
    } else if constexpr (is_bytes<T>) {
        return [](const ServerType& type) { return type.name == "bytea"; };
    } else if constexpr (is_calendar_date<T>) {
        return [](const ServerType& type) { return type.name == "date"; };
    } else if constexpr (is_time_point<T>) {
        return [](const ServerType& type) {
            return type.name == (is_local_time<T> ? "timestamp" : "timestamptz");
        };
    } else if constexpr (is_length_of_time<T>) {
        return [](const ServerType& type) { return type.name == "interval"; };
    } else if constexpr (boost::describe::has_describe_enumerators<T>::value) {
        return [](const ServerType& type) {
            return type.kind == 'e' || type.name == "text" || type.name == "varchar" ||
                   type.name == "bpchar";
        };
    } else if constexpr (is_composite<T>) {
        return [](const ServerType& type) { return type.kind == 'c'; };
    } else {
        return nullptr;
    }
}

template <typename T, Use use>
ExpectedType expected_type() {
    if constexpr (std::same_as<T, std::nullptr_t> || std::same_as<T, std::nullopt_t>) {
        return {.words = "NULL", .nullable = true};
    } else if constexpr (IsOptional<T>::value) {
        ExpectedType type = expected_type<typename T::value_type, use>();
        type.nullable = true;
        return type;
    } else if constexpr (dimensions<T> > 0) {
        ExpectedType type = expected_type<typename ArrayElement<T>::type, use>();
        type.words = "an array, each " + type.words;
        type.is_array = true;
        type.nullable = false;
        return type;
    } else if constexpr (RangeBounds<T>::kind != '\0') {
        ExpectedType type = expected_type<typename RangeBounds<T>::Type, use>();
        type.range = RangeBounds<T>::kind;
        type.words =
            (type.range == 'm' ? "a multirange, each bound " : "a range, each bound ") + type.words;
        type.labels.clear();
        type.fields.clear();
        return type;
    } else if constexpr (requires { typename SqlValue<T>::Value; }) {  // a strong type
        ExpectedType type = expected_type<typename SqlValue<T>::Value, use>();
        type.words = type_words<T>() + ", " + type.words;
        return type;
    } else {
        ExpectedType type{.words = SqlText<T> ? "a text" : type_words<T>(), .fits = fits<T, use>()};
        if constexpr (boost::describe::has_describe_enumerators<T>::value)
            boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>(
                [&](auto enumerator) { type.labels.push_back(enumerator.name); });
        if constexpr (is_composite<T>)
            for_each_member<T>([&](auto member) {
                type.fields.push_back(
                    expected_type<struct_member_type<T, decltype(member)>, use>());
            });
        return type;
    }
}

}  // namespace txscope::detail
