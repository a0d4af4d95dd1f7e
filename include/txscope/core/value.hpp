#pragma once

#include <string>
#include <string_view>

namespace txscope {

/// How a C++ value is written as SQL text and read back.
///
/// Ready-made:
///
/// | C++ | PostgreSQL |
/// |---|---|
/// | `bool` | `boolean` |
/// | every integer type, `std::int8_t` to `std::uint64_t` | `smallint` to `bigint`, `numeric` |
/// | `float`, `double`, `long double` | `real`, `double precision`, `numeric` |
/// | `std::string`; as parameters also `std::string_view`, `const char*` | `text` and all others |
/// | `std::chrono::system_clock::time_point`, any `sys_time` | `timestamptz` |
/// | `std::chrono::sys_days`, `std::chrono::year_month_day` | `date` |
/// | `std::vector<std::byte>` | `bytea` |
/// | an enumeration with `BOOST_DESCRIBE_ENUM` | its enumerators' names |
/// | `std::vector<T>` | an array of one dimension |
///
/// `std::optional<T>` of any of them may be SQL's NULL; so is a parameter that is `nullptr`,
/// `std::nullopt` or a null `const char*`.
///
/// For a type of your own, either teach libpqxx (`pqxx::string_traits`), which is then used here
/// too, or specialise `SqlValue`:
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
/// in there says so. For a type of an extension or your own that nothing says it of, an array that
/// could be taken apart in two ways is a `ValueError`.
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

}  // namespace detail
}  // namespace txscope

#include <txscope/core/detail/builtin_values.hpp>
#include <txscope/core/detail/calendar_values.hpp>
#include <txscope/core/detail/container_values.hpp>
