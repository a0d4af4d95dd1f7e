#pragma once

#include <txscope/postgres/detail/sql_words.hpp>

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace txscope::detail {

/// Writes the text of a statement, at compile time or later. Without a buffer it only measures.
///
/// Placeholders are numbered in the order they are written, so parts of a statement need not
/// know of each other.
class SqlWriter {
public:
    /// What a table calls the column that holds a member.
    using ColumnName = std::string_view (*)(std::string_view member);

    constexpr explicit SqlWriter(ColumnName column_name, char* out = nullptr)
        : column_name_{column_name}, out_{out} {}

    constexpr SqlWriter& operator<<(std::string_view text) {
        for (char c : text) put(c);
        return *this;
    }

    /// A quoted name.
    constexpr SqlWriter& identifier(std::string_view name) {
        if (name.empty() || name.find('\0') != std::string_view::npos)
            throw std::invalid_argument{"PostgreSQL has no such name: empty, or with a NUL"};
        write_quoted(name, [this](char c) { put(c); });
        return *this;
    }

    constexpr SqlWriter& column(std::string_view member) {
        if (write_table_ != nullptr) {
            write_table_(*this);
            put('.');
        }
        return identifier(column_name_(member));
    }

    /// From here on the name of a column stands behind that of its table, which the function writes.
    constexpr void qualify_columns(void (*write_table)(SqlWriter&)) { write_table_ = write_table; }

    /// A text of the statement's own.
    constexpr SqlWriter& literal(std::string_view text) {
        write_string_constant(text, [this](char c) { put(c); });
        return *this;
    }

    /// The next of `$1`, `$2`, …
    constexpr SqlWriter& placeholder() {
        const std::size_t number = ++placeholders_;
        std::size_t power = 1;
        while (number / power >= 10) power *= 10;
        put('$');
        for (; power != 0; power /= 10) put(static_cast<char>('0' + number / power % 10));
        return *this;
    }

    constexpr std::size_t size() const { return size_; }

private:
    constexpr void put(char c) {
        if (out_ != nullptr) out_[size_] = c;
        ++size_;
    }

    ColumnName column_name_;
    void (*write_table_)(SqlWriter&) = nullptr;
    char* out_;
    std::size_t size_ = 0;
    std::size_t placeholders_ = 0;
};

/// The text of a statement whose parts are known by their types alone, fixed at compile time.
///
/// `Builder::write(SqlWriter&, const Parts*...)` writes it; such parts never look at their values,
/// so null pointers stand in for them.
template <typename Table, typename Builder, typename... Parts>
inline constexpr auto fixed_sql_storage = [] {
    constexpr std::size_t size = [] {
        SqlWriter measure{&Table::column_name};
        Builder::write(measure, static_cast<const Parts*>(nullptr)...);
        return measure.size();
    }();
    std::array<char, size> text{};
    SqlWriter writer{&Table::column_name, text.data()};
    Builder::write(writer, static_cast<const Parts*>(nullptr)...);
    return text;
}();

template <typename Table, typename Builder, typename... Parts>
inline constexpr std::string_view fixed_sql{fixed_sql_storage<Table, Builder, Parts...>.data(),
                                            fixed_sql_storage<Table, Builder, Parts...>.size()};

/// The text of a statement whose shape depends on values (an optional, a `Criteria`).
template <typename Table, typename Builder, typename... Parts>
std::string composed_sql(const Parts&... parts) {
    SqlWriter measure{&Table::column_name};
    Builder::write(measure, &parts...);
    std::string text(measure.size(), '\0');
    SqlWriter writer{&Table::column_name, text.data()};
    Builder::write(writer, &parts...);
    return text;
}

}  // namespace txscope::detail
