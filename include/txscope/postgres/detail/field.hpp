#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>
#include <txscope/protocol/result_block.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

/// One field of a result, as a C++ value.
namespace txscope::detail {

using protocol::ResultBlock;

[[nodiscard]] inline std::size_t column_count(const ResultBlock& result) noexcept {
    const auto* columns = result.columns();
    return columns == nullptr ? 0 : columns->size();
}
/// Of a column that exists.
[[nodiscard]] inline std::string_view column_name(const ResultBlock& result, std::size_t column) {
    return (*result.columns())[column].name;
}

/// `column "name" (index 1)`
[[nodiscard]] inline std::string column_words(const ResultBlock& result, std::size_t column) {
    return std::string("column \"") + std::string(column_name(result, column)) + "\" (index " +
           std::to_string(column) + ')';
}

/// The index of the column of that name, matched exactly; of two `id` columns of a join neither.
[[nodiscard]] std::size_t find_column(const ResultBlock& result, std::string_view name);

/// @throws ColumnError when there is no such column.
void check_column(const ResultBlock& result, std::size_t column);

/// @throws ColumnError unless there are exactly that many columns.
void check_column_count(const ResultBlock& result, std::size_t wanted);

/// What the column's type says about what stands between the elements of an array. Of PostgreSQL's own
/// types all have the comma but for `box` (pg_type's `typdelim`).
[[nodiscard]] inline Delimiter array_delimiter(const ResultBlock& result,
                                               std::size_t column) noexcept {
    constexpr std::uint32_t array_of_box = 1020;
    constexpr std::uint32_t first_of_others = 16384;  // the server's FirstNormalObjectId
    const std::uint32_t type = (*result.columns())[column].type;
    if (type >= first_of_others) return Delimiter::unknown;
    return type == array_of_box ? Delimiter::semicolon : Delimiter::comma;
}

[[noreturn]] void throw_unexpected_null(const ResultBlock& result, std::size_t column,
                                        const std::string& wanted);
[[noreturn]] void throw_wrong_type(const ResultBlock& result, std::size_t column,
                                   const std::string& why);

/// Does not compile where nothing is read as a `T`.
template <typename T>
constexpr void check_readable() {
    using Plain = without_optional<T>;
    constexpr bool points = std::is_same_v<Plain, std::string_view> || std::is_pointer_v<Plain>;
    constexpr bool readable = is_readable<Plain>;
    static_assert(
        !points,
        "txscope: the value would point into a result that may be gone: ask for a std::string, or "
        "use Row::text() while you hold the row");
    static_assert(
        !CharacterType<Plain>,
        "txscope: a character type may be a number or a text: use an integer type or std::string");
    static_assert(readable || points || CharacterType<Plain>,
                  "txscope: no way to read this type: specialise txscope::SqlValue or "
                  "pqxx::string_traits for it");
}

/// The field `text` of that column, as a `T`; NULL as an empty optional.
/// @throws ColumnError for a NULL that is not wanted or a text that is no `T`.
template <typename T>
[[nodiscard]] T read_field(const ResultBlock& result, std::size_t column,
                           std::optional<std::string_view> text) {
    check_readable<T>();
    if constexpr (!is_readable<T>) {
        throw_unexpected_null(result, column, {});
    } else if constexpr (IsOptional<T>::value) {
        if (!text) return std::nullopt;
        return read_field<typename T::value_type>(result, column, text);
    } else {
        if (!text) throw_unexpected_null(result, column, type_words<T>());
        try {
            if constexpr (binary_type<T> != 0)
                if ((*result.columns())[column].format == protocol::Format::binary)
                    return SqlValue<T>::from_binary(*text);
            if constexpr (requires { SqlValue<T>::from_text(*text, Delimiter::comma); })
                return SqlValue<T>::from_text(*text, array_delimiter(result, column));
            else
                return SqlValue<T>::from_text(*text);
        } catch (const ValueError& error) {
            throw_wrong_type(result, column, error.what());
        }
    }
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE std::size_t find_column(const ResultBlock& result, std::string_view name) {
    std::size_t found = ColumnError::none;
    std::string all;
    for (std::size_t i = 0; i < column_count(result); ++i) {
        if (name != column_name(result, i)) continue;
        if (found != ColumnError::none) {
            throw ColumnError(ColumnError::Reason::ambiguous_name, std::string(name), i,
                              "the column name \"" + std::string(name) +
                                  "\" is ambiguous: columns " + std::to_string(found) + " and " +
                                  std::to_string(i) +
                                  " both have it; give one of them another with AS");
        }
        found = i;
    }
    if (found != ColumnError::none) return found;
    for (std::size_t i = 0; i < column_count(result); ++i) {
        if (i > 0) all += ", ";
        all += column_name(result, i);
    }
    throw ColumnError(ColumnError::Reason::no_such_column, std::string(name), ColumnError::none,
                      "no column \"" + std::string(name) + "\"; the result has " +
                          (all.empty() ? std::string("none") : all));
}

TXSCOPE_INLINE void check_column(const ResultBlock& result, std::size_t column) {
    if (column < column_count(result)) return;
    throw ColumnError(ColumnError::Reason::no_such_column, {}, column,
                      "no column with index " + std::to_string(column) + "; the result has " +
                          std::to_string(column_count(result)) + " columns");
}

TXSCOPE_INLINE void check_column_count(const ResultBlock& result, std::size_t wanted) {
    if (wanted == column_count(result)) return;
    throw ColumnError(ColumnError::Reason::wrong_count, {}, ColumnError::none,
                      "the result has " + std::to_string(column_count(result)) + " columns, and " +
                          std::to_string(wanted) + " were asked for");
}

TXSCOPE_INLINE void throw_unexpected_null(const ResultBlock& result, std::size_t column,
                                          const std::string& wanted) {
    throw ColumnError(ColumnError::Reason::unexpected_null,
                      std::string(column_name(result, column)), column,
                      column_words(result, column) + " is NULL, and " + wanted +
                          " was asked for; ask for a std::optional to allow it");
}

TXSCOPE_INLINE void throw_wrong_type(const ResultBlock& result, std::size_t column,
                                     const std::string& why) {
    throw ColumnError(ColumnError::Reason::wrong_type, std::string(column_name(result, column)),
                      column, column_words(result, column) + ": " + why);
}

}  // namespace txscope::detail

#endif
