#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/detail/value_traits.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace txscope {

/// How a C++ value is written as SQL text and read back.
///
/// Ready-made:
///
/// | C++ | PostgreSQL |
/// |---|---|
/// | `bool` | `boolean` |
/// | every integer type, `std::int8_t` to `std::uint64_t` | `smallint` to `bigint`, `numeric` |
/// | `float`, `double` | `real`, `double precision`, `numeric` |
/// | `long double` | `numeric`: others round it |
/// | `std::string`; as parameters also `std::string_view`, `const char*` | `text` and all others |
/// | `std::chrono::system_clock::time_point`, any `sys_time` | `timestamptz` |
/// | any `std::chrono::local_time` | `timestamp` |
/// | `std::chrono::sys_days`, `local_days`, `year_month_day` | `date` |
/// | `Interval`, and `std::chrono`'s durations (`core/interval.hpp`) | `interval` |
/// | `std::vector<std::byte>`; as parameters also `std::span<const std::byte>` | `bytea` |
/// | `Decimal` (`core/decimal.hpp`) | `numeric`, digit for digit |
/// | `Range<T>`, `Multirange<T>` (`core/range.hpp`) | range and multirange types |
/// | an enumeration with `BOOST_DESCRIBE_ENUM` | its enumerators' names |
/// | a struct with `BOOST_DESCRIBE_STRUCT` | a composite type of its members |
/// | `std::vector<T>`, `std::vector<std::vector<T>>`, … | an array of so many dimensions |
///
/// Of other libraries, by a header of `txscope/values/` each:
///
/// | C++ | PostgreSQL | header |
/// |---|---|---|
/// | `boost::uuids::uuid` | `uuid` | `uuid.hpp` |
/// | `boost::json::value` | `json`, `jsonb` | `json.hpp` |
/// | Boost.Multiprecision's `cpp_dec_float` | `numeric` | `decimal_float.hpp` |
/// | Asio's `ip::address`, `network_v4` and the like | `inet`, `cidr` | `inet.hpp` |
/// | `std::map<std::string, std::optional<std::string>>` | `hstore` | `hstore.hpp` |
///
/// `std::optional<T>` of any of them may be SQL's NULL; so is a parameter that is `nullptr`,
/// `std::nullopt` or a null `const char*`.
///
/// A type that wraps one of them is a `WrappedValue`. For another type of your own, either teach libpqxx
/// (`pqxx::string_traits`), which is then used here too, or specialise `SqlValue`:
///
/// ```cpp
/// template <>
/// struct txscope::SqlValue<Colour> {
///     static std::string to_text(const Colour& colour) { return colour.name(); }
///     static Colour from_text(std::string_view text) { return Colour::named(text); }
/// };
/// ```
///
/// Where PostgreSQL writes something else than a comma between the elements of such a type's arrays
/// (`typdelim`: `;` for `box`, `:` for PostGIS's `geometry`), `static constexpr char delimiter = ';';`
/// in there says so; `create_all` has to know it, too. For a type of an extension or your own that
/// nothing says it of, an array that could be taken apart in two ways is a `ValueError`.
///
/// An integer that the column's type cannot hold (a `std::uint64_t` past 2^63 in a `bigint`) is
/// sent as it is, and refused by the server. A plain `char` is refused at compile time: it might be
/// a number or a text; say `std::string` or an integer type.
template <typename T>
struct SqlValue;

namespace detail {

/// Appends a parameter's text to `out` and says whether there was one; false, and nothing
/// appended, is SQL's NULL.
template <typename Text, typename T>
[[nodiscard]] bool append_parameter(Text& out, const T& value);

/// A number in PostgreSQL's binary format, which is all of `bytes`.
template <std::unsigned_integral Number>
[[nodiscard]] constexpr Number read_big_endian(std::string_view bytes);

/// A value inside of another; nothing is NULL.
/// @throws ValueError for a NULL that `T` has no place for, or a text that is no `T`
template <typename T>
[[nodiscard]] T read_inner(std::optional<std::string_view> text, std::string_view whose);

}  // namespace detail

/// A type that holds one value, as a strong id does, is in SQL what it holds:
///
/// ```cpp
/// struct ProjectId { std::int64_t value{}; auto operator<=>(const ProjectId&) const = default; };
///
/// template <>
/// struct txscope::SqlValue<ProjectId> : txscope::WrappedValue<&ProjectId::value> {};
/// ```
///
/// `member` may be a function instead, where a constructor takes what it returns.
template <auto member>
struct WrappedValue;

template <typename Class, typename T, T Class::* member>
struct WrappedValue<member> {
    using Value = std::remove_cvref_t<std::invoke_result_t<T Class::*, const Class&>>;
    static constexpr bool is_json = detail::is_json<Value>;
    static constexpr bool is_composite = detail::is_composite<Value>;

    static void append_text(auto& out, const Class& object) {
        static_assert(!detail::IsOptional<Value>::value,
                      "a strong type wraps a value; what may be NULL is an optional of it");
        (void)detail::append_parameter(out, std::invoke(member, object));
    }
    static std::string to_text(const Class& object) {
        std::string text;
        append_text(text, object);
        return text;
    }
    static Class from_text(std::string_view text) {
        return Class{SqlValue<Value>::from_text(text)};
    }

    static constexpr std::uint32_t binary_type = detail::binary_type<Value>;
    static Class from_binary(std::string_view bytes)
        requires(binary_type != 0)
    {
        return Class{SqlValue<Value>::from_binary(bytes)};
    }
};

/// An enumeration as its number: `struct txscope::SqlValue<Level> : txscope::UnderlyingValue<Level> {};`
template <typename Enum>
    requires std::is_enum_v<Enum>
struct UnderlyingValue {
    using Value = std::underlying_type_t<Enum>;

    static void append_text(auto& out, Enum value) {
        (void)detail::append_parameter(out, static_cast<Value>(value));
    }
    static std::string to_text(Enum value) {
        return SqlValue<Value>::to_text(static_cast<Value>(value));
    }
    static Enum from_text(std::string_view text) {
        return static_cast<Enum>(SqlValue<Value>::from_text(text));
    }
};

}  // namespace txscope

#include <txscope/core/detail/builtin_values.hpp>
#include <txscope/core/detail/calendar_values.hpp>
#include <txscope/core/detail/container_values.hpp>
#include <txscope/core/detail/described_values.hpp>
