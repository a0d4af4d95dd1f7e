#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/struct_members.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/detail/sql_builders.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// Any number of rows as one parameter, `[{"name":"Apollo","stars":"3"},…]`: every value as the
/// text that it would be as a parameter of its own, for PostgreSQL to read as the column's type. What is
/// JSON itself stands there as it is, for PostgreSQL would take its text for a JSON string.
class JsonRows {
public:
    /// A row of what `give_values` passes to its argument, each with its column's name.
    /// @throws ValueError for a text with a NUL character, and JSON's `null`
    template <typename GiveValues>
    void add(GiveValues&& give_values) {
        text_ += text_.empty() ? "[{" : ",{";
        bool first = true;
        give_values([&](std::string_view column, const auto& value) {
            if (!std::exchange(first, false)) text_ += ',';
            append_string(column);
            text_ += ':';
            value_.clear();
            if (!append_parameter(value_, value))
                text_ += "null";
            else if constexpr (is_json<without_optional<std::remove_cvref_t<decltype(value)>>>)
                append_json();
            else
                append_string(value_);
        });
        text_ += '}';
    }

    bool empty() const noexcept { return text_.empty(); }
    std::string take() && { return std::move(text_) + ']'; }

private:
    void append_string(std::string_view text);
    void append_json() {
        // It would become SQL's, which an optional says.
        if (value_ == "null") throw ValueError("JSON's null cannot be one of several rows' values");
        text_ += value_;
    }

    std::string text_;
    std::string value_;
};

/// The rows of a `JsonRows` that is the next parameter, as rows of the table.
template <typename E>
constexpr void write_json_rows(SqlWriter& out) {
    E::write_table(out << "pg_catalog.json_populate_recordset(NULL::");
    (out << ", ").placeholder() << ")";
}

/// INSERT of any number of models, which are one parameter: see `JsonRows`.
template <typename E, bool Returning>
struct InsertAll {
    static constexpr void write(SqlWriter& out) {
        constexpr auto times = E::created_at() + E::updated_at();
        E::write_table(out << "INSERT INTO ");
        Separator column_comma{out << " (", ", "};
        write_inserted(column_comma);
        for_each_name<E>(times, [&](std::string_view name) { column_comma.next().column(name); });
        Separator value_comma{out << ") SELECT ", ", "};
        write_inserted(value_comma);
        for_each_name<E>(times, [&](std::string_view) { value_comma.next() << server_time; });
        write_json_rows<E>(out << " FROM ");
        write_text_checks(out);
        if constexpr (Returning) write_returning<E>(out);
    }

private:
    /// A text would come into a JSON column as a JSON string, whatever it says: refused, by a look at
    /// the columns' types that is taken once.
    static constexpr void write_text_checks(SqlWriter& out) {
        Separator conjunction{out, " AND "};
        for_each_inserted<E>([&](auto column) {
            using Column = decltype(column);
            using Value = without_optional<struct_member_type<typename E::Model, Column>>;
            if constexpr (std::is_same_v<Value, std::string>) {
                if (conjunction.first()) out << " WHERE ";
                write_type_of(conjunction.next() << "CASE WHEN ", Column::name);
                out << " OPERATOR(pg_catalog.=) ANY('{114,3802}'::pg_catalog.oid[])"
                       " THEN pg_catalog.concat(";
                write_type_of(out, Column::name);
                out << ", ' takes no text here: see values/json.hpp')::pg_catalog.bool"
                       " ELSE TRUE END";
            }
        });
    }
    static constexpr void write_type_of(SqlWriter& out, std::string_view member) {
        E::write_table(out << "pg_catalog.pg_typeof((NULL::");
        (out << ").").column(member) << ")";
    }
    static constexpr void write_inserted(Separator& comma) {
        for_each_inserted<E>([&](auto column) { comma.next().column(decltype(column)::name); });
    }
};

/// The same, or UPDATE of the rows that are there already.
template <typename E>
using SaveAll = Save<E, InsertAll<E, false>>;

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE void JsonRows::append_string(std::string_view text) {
    text_ += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            text_ += '\\';
            text_ += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            constexpr std::string_view digits = "0123456789abcdef";
            text_ += "\\u00";
            text_ += digits[static_cast<unsigned char>(c) / 16];
            text_ += digits[static_cast<unsigned char>(c) % 16];
        } else {
            text_ += c;
        }
    }
    text_ += '"';
}

}  // namespace txscope::detail

#endif
