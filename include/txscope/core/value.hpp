#pragma once

#include <string>
#include <string_view>

namespace txscope {

/// How a C++ value is written as SQL text and read back.
///
/// Ready-made: `bool`, every integer type, `float`, `double`, `long double`, `std::string`, and as
/// parameters also `std::string_view`, `const char*` and string literals. `std::optional<T>` of any
/// of them may be SQL's NULL, nothing else may (but a null `const char*` is NULL as well).
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
/// An integer that the column's type cannot hold (a `std::uint64_t` past 2^63 in a `bigint`) is
/// sent as it is, and refused by the server. A plain `char` is refused at compile time: it might be
/// a number or a text; say `std::string` or an integer type.
template <typename T>
struct SqlValue;

}  // namespace txscope

#include <txscope/core/detail/builtin_values.hpp>
