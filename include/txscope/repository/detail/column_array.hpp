#pragma once

#include <txscope/core/detail/struct_members.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/detail/sql_builders.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <string>
#include <string_view>

namespace txscope::detail {

/// What any number of rows have in one column, as one parameter: `{"Apollo","Gemini"}`.
class ColumnArray {
public:
    /// @throws ValueError for a text with a NUL character
    template <typename T>
    void add(const T& value) {
        if (text_.empty())
            text_ = '{';
        else
            text_.back() = delimiter<without_optional<T>>;
        append_element(text_, value, scratch_);
        text_ += '}';
    }

    bool empty() const noexcept { return text_.empty(); }
    const std::string& text() const noexcept { return text_; }

private:
    // Arrays are sent as texts.
    template <typename T>
    static constexpr char delimiter = is_sql_array<T> ? ',' : delimiter_of<T>;

    std::string text_;
    std::string scratch_;
};

/// The values of the next parameter, a `ColumnArray`, a row each. The array's type is not named: beside
/// one of the column's values PostgreSQL takes it for an array of such, so that it reads each value as
/// the column's type, whatever that is.
template <typename E, typename Value>
constexpr void write_values_of(SqlWriter& out, std::string_view member) {
    if constexpr (is_sql_array<without_optional<Value>>) {
        // Of an array of arrays `unnest` would give the inmost elements, and there is no other way from
        // a text to a type that is not named. Of a row that is NULL itself the other columns are read, too,
        // and a domain may refuse NULL; of one of NULLs they are taken as they are.
        E::write_table(out << "(pg_catalog.json_populate_record(ROW((NULL::");
        E::write_table(out << ").*)::");
        (out << ", pg_catalog.json_build_object(").literal(E::column_name(member));
        (out << ", pg_catalog.unnest(").placeholder();
        (out << "::pg_catalog.text[])))).").column(member);
    } else {
        (out << "pg_catalog.unnest(COALESCE(").placeholder();
        E::write_table(out << ", ARRAY[(NULL::");
        (out << ").").column(member) << "]))";
    }
}

/// INSERT of any number of models, which are a parameter for each column: see `ColumnArray`.
template <typename E, bool Returning>
struct InsertAll {
    static constexpr void write(SqlWriter& out) {
        constexpr auto times = E::created_at() + E::updated_at();
        E::write_table(out << "INSERT INTO ");
        Separator column_comma{out << " (", ", "};
        for_each_inserted<E>(
            [&](auto column) { column_comma.next().column(decltype(column)::name); });
        for_each_name<E>(times, [&](std::string_view name) { column_comma.next().column(name); });
        Separator value_comma{out << ") SELECT ", ", "};
        for_each_inserted<E>([&](auto column) {
            using Value = struct_member_type<typename E::Model, decltype(column)>;
            write_values_of<E, Value>(value_comma.next(), decltype(column)::name);
        });
        for_each_name<E>(times, [&](std::string_view) { value_comma.next() << server_time; });
        if constexpr (Returning) write_returning<E>(out);
    }
};

/// The same, or UPDATE of the rows that are there already.
template <typename E>
using SaveAll = Save<E, InsertAll<E, false>>;

}  // namespace txscope::detail
