#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/detail/field.hpp>
#include <txscope/postgres/detail/result_iterator.hpp>
#include <txscope/postgres/row_mapping.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace txscope {

class Row;
template <typename... Ts>
class TypedRows;

/// What a statement gave back: rows, and what the server says it did.
///
/// A handle: copies are cheap and share the rows, which live until the last copy, row or iterator
/// is gone. So a temporary may be looped over:
///
/// ```cpp
/// for (auto [id, name] : (co_await session.execute("SELECT id, name FROM projects"))
///                            .rows<std::int64_t, std::string>()) { ... }
///
/// std::vector<Project> projects =
///     (co_await session.execute("SELECT * FROM projects")).as<Project>();
///
/// auto count = (co_await session.execute("SELECT count(*) FROM projects")).one().get<int>(0);
/// ```
///
/// **Threads**: results are never changed, so different copies may be read on different threads.
class Result {
public:
    using Iterator = detail::ResultIterator<Result>;

    /// No rows, no columns.
    Result() = default;

    /// For the layers below.
    explicit Result(protocol::ResultBlock block) noexcept : block_(std::move(block)) {}

    [[nodiscard]] std::size_t size() const noexcept { return block_.size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] std::size_t columns() const noexcept { return detail::column_count(block_); }

    /// @throws ColumnError when there is no such column.
    [[nodiscard]] std::string_view column_name(std::size_t index) const;

    /// Rows that were inserted, updated, deleted or selected.
    [[nodiscard]] std::uint64_t affected_rows() const noexcept;

    /// The server's command tag, which says what was done: `INSERT 0 1`, `COMMIT`.
    [[nodiscard]] std::string_view command_tag() const noexcept { return block_.tag(); }

    [[nodiscard]] Iterator begin() const noexcept;
    [[nodiscard]] Iterator end() const noexcept;

    /// @throws pqxx::range_error when there is no such row.
    [[nodiscard]] Row operator[](std::size_t index) const;
    [[nodiscard]] Row front() const;

    /// The only row.
    /// @throws pqxx::unexpected_rows when there are none or several.
    [[nodiscard]] Row one() const;

    /// The only row, if there is one.
    /// @throws pqxx::unexpected_rows when there are several.
    [[nodiscard]] std::optional<Row> one_or_none() const;

    /// Every row as a tuple, column by column, for structured bindings.
    /// @throws ColumnError here when the number of columns differs, and on access to a row one of
    /// whose values does not fit its type.
    template <typename... Ts>
    [[nodiscard]] TypedRows<Ts...> rows() const;

    /// Every row as a described struct; see `RowMapping`.
    /// @throws ColumnError when a column is missing or a value does not fit its member.
    template <typename T>
    [[nodiscard]] std::vector<T> as() const;

    /// For the layers below.
    [[nodiscard]] const protocol::ResultBlock& block() const noexcept { return block_; }

private:
    protocol::ResultBlock block_;
};

/// One row of a result, which it keeps alive.
class Row {
public:
    Row(Result result, std::size_t index) noexcept : result_(std::move(result)), index_(index) {}

    /// How many columns there are.
    [[nodiscard]] std::size_t size() const noexcept { return result_.columns(); }

    /// A column as a `T`, by name or by index from 0.
    /// @throws ColumnError for a column that does not exist, a NULL that `T` has no place for (ask
    /// for a `std::optional`), or a value that is no `T`.
    template <typename T>
    [[nodiscard]] T get(std::string_view column) const {
        detail::check_readable<T>();
        return read<T>(detail::find_column(block(), column));
    }
    template <typename T>
    [[nodiscard]] T get(std::size_t column) const {
        detail::check_readable<T>();
        detail::check_column(block(), column);
        return read<T>(column);
    }

    /// The row as a described struct; see `RowMapping`. For many rows, `Result::as` is faster.
    template <typename T>
    [[nodiscard]] T as() const {
        constexpr bool described = Described<T>;
        static_assert(described,
                      "txscope: a row is read into a struct that is described, by "
                      "BOOST_DESCRIBE_STRUCT(Model, (), (its, members))");
        if constexpr (described)
            return RowMapping<T>(block())(index_);
        else
            return T{};
    }

    [[nodiscard]] bool is_null(std::string_view column) const {
        return !text(detail::find_column(block(), column));
    }
    [[nodiscard]] bool is_null(std::size_t column) const { return !text(column); }

    /// The server's text, uncopied; none for NULL. It lives as long as the result.
    [[nodiscard]] std::optional<std::string_view> text(std::string_view column) const& {
        return text(detail::find_column(block(), column));
    }
    [[nodiscard]] std::optional<std::string_view> text(std::size_t column) const& {
        detail::check_column(block(), column);
        return block()[index_][column];
    }
    std::optional<std::string_view> text(std::string_view column) const&& = delete;
    std::optional<std::string_view> text(std::size_t column) const&& = delete;

private:
    [[nodiscard]] const protocol::ResultBlock& block() const noexcept { return result_.block(); }
    template <typename T>
    [[nodiscard]] T read(std::size_t column) const {
        return detail::read_field<T>(block(), column, block()[index_][column]);
    }

    Result result_;
    std::size_t index_;
};

/// The rows of a result as tuples. Keeps the result alive.
template <typename... Ts>
class TypedRows {
public:
    using Iterator = detail::ResultIterator<TypedRows>;

    TypedRows() = default;
    explicit TypedRows(Result result) : result_(std::move(result)) {
        detail::check_column_count(result_.block(), sizeof...(Ts));
    }

    [[nodiscard]] std::size_t size() const noexcept { return result_.size(); }
    [[nodiscard]] bool empty() const noexcept { return result_.empty(); }
    [[nodiscard]] Iterator begin() const noexcept { return {*this, 0}; }
    [[nodiscard]] Iterator end() const noexcept { return {*this, size()}; }

    /// @throws ColumnError for a value that does not fit its type.
    [[nodiscard]] std::tuple<Ts...> operator[](std::size_t index) const {
        protocol::FieldCursor fields{result_.block()[index]};
        return [&]<std::size_t... column>(std::index_sequence<column...>) {
            return std::tuple<Ts...>{
                detail::read_field<Ts>(result_.block(), column, fields[column])...};
        }(std::index_sequence_for<Ts...>{});
    }

private:
    Result result_;
};

template <typename... Ts>
TypedRows<Ts...> Result::rows() const {
    (detail::check_readable<Ts>(), ...);
    return TypedRows<Ts...>(*this);
}

template <typename T>
std::vector<T> Result::as() const {
    constexpr bool described = Described<T>;
    static_assert(described,
                  "txscope: rows are read into a struct that is described, by "
                  "BOOST_DESCRIBE_STRUCT(Model, (), (its, members))");
    std::vector<T> objects;
    if constexpr (described) {
        const RowMapping<T> mapping(block_);
        objects.reserve(size());
        for (std::size_t row = 0; row < size(); ++row) mapping.read(row, objects.emplace_back());
    }
    return objects;
}

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <pqxx/except>

#include <charconv>

namespace txscope {

TXSCOPE_INLINE std::string_view Result::column_name(std::size_t index) const {
    detail::check_column(block_, index);
    return detail::column_name(block_, index);
}

TXSCOPE_INLINE std::uint64_t Result::affected_rows() const noexcept {
    const std::string_view text = command_tag().substr(command_tag().rfind(' ') + 1);
    std::uint64_t rows = 0;  // of CREATE TABLE and the like
    std::from_chars(text.data(), text.data() + text.size(), rows);
    return rows;
}

TXSCOPE_INLINE Result::Iterator Result::begin() const noexcept { return {*this, 0}; }
TXSCOPE_INLINE Result::Iterator Result::end() const noexcept { return {*this, size()}; }

TXSCOPE_INLINE Row Result::operator[](std::size_t index) const {
    if (index >= size()) {
        throw pqxx::range_error("no row with index " + std::to_string(index) + "; the result has " +
                                std::to_string(size()) + " rows");
    }
    return Row(*this, index);
}

TXSCOPE_INLINE Row Result::front() const { return (*this)[0]; }

TXSCOPE_INLINE Row Result::one() const {
    if (size() != 1) {
        throw pqxx::unexpected_rows("exactly one row was asked for, and there are " +
                                    std::to_string(size()));
    }
    return Row(*this, 0);
}

TXSCOPE_INLINE std::optional<Row> Result::one_or_none() const {
    if (size() > 1) {
        throw pqxx::unexpected_rows("at most one row was asked for, and there are " +
                                    std::to_string(size()));
    }
    return empty() ? std::nullopt : std::optional<Row>(Row(*this, 0));
}

}  // namespace txscope

#endif
