#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

/// What PostgreSQL calls the type that `T` is read from; empty for a text.
template <typename T>
consteval std::string_view sql_type_of() {
    if constexpr (std::same_as<T, std::string>)
        return "";
    else if constexpr (std::same_as<T, bool>)
        return "bool";
    else if constexpr (Integer<T>) {
        // PostgreSQL's are signed: an unsigned one has room in the next larger.
        constexpr std::size_t bytes = std::unsigned_integral<T> ? 2 * sizeof(T) : sizeof(T);
        return bytes <= 2 ? "int2" : bytes <= 4 ? "int4" : bytes <= 8 ? "int8" : "numeric";
    } else if constexpr (std::floating_point<T>)
        return sizeof(T) <= 4 ? "float4" : "float8";
    else if constexpr (std::same_as<T, std::chrono::sys_days> ||
                       std::same_as<T, std::chrono::local_days> ||
                       std::same_as<T, std::chrono::year_month_day>)
        return "date";
    else if constexpr (is_time<T>)
        return std::same_as<typename T::clock, std::chrono::local_t> ? "timestamp" : "timestamptz";
    else
        static_assert(
            never<T>,
            "txscope: what a document holds is read as a std::string, a bool, a number, a "
            "time or a date");
    return "";
}

/// `("document" ->> $1)`, or along a path `("document" #>> $1)`, as a `T`.
template <typename T, typename Document, typename Path>
class JsonText : public Expression<JsonText<T, Document, Path>> {
public:
    using Value = std::optional<T>;
    static constexpr bool fixed = Document::fixed;
    template <typename Model>
    static constexpr bool applies_to = Document::template applies_to<Model>;

    JsonText(Document document, Path path)
        : document_{std::move(document)}, path_{std::move(path)} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const JsonText* self) {
        constexpr std::string_view type = sql_type_of<T>();
        constexpr bool one_key = std::same_as<Path, std::string>;
        out << "(";
        Document::template write<Model>(out, part_of(self, &JsonText::document_));
        out << " OPERATOR(pg_catalog." << (one_key ? "->>" : "#>>") << ") ";
        out.placeholder() << ")";
        if constexpr (!type.empty()) out << "::pg_catalog." << type;
    }
    void bind(Statement& statement) const {
        document_.bind(statement);
        statement.bind(path_);
    }

private:
    [[no_unique_address]] Document document_;
    Path path_;
};

/// A step of a path into a document, as its text.
template <typename Step>
std::string path_step(const Step& step) {
    if constexpr (Integer<Step>)
        return std::to_string(step);
    else
        return keep_value<std::string>(step);
}

/// A column that may hold a document: none whose member is of another kind.
template <typename T>
inline constexpr bool may_hold_json =
    !Number<T> && !std::same_as<T, bool> && !is_time<T> && dimensions<T> == 0 &&
    !std::same_as<T, std::chrono::year_month_day>;

}  // namespace detail

/// What stands in a JSON document under a key, or along a path of keys and positions from 0, as a
/// text, a `std::string`, or cast to a `T`; NULL where nothing does.
///
/// ```cpp
/// json_text(field<&Event::data>, "kind") == "click"
/// json_text<std::int64_t>(field<&Event::data>, "position", "x") > 100
/// descending(json_text<double>(field<&Event::data>, "scores", 0)).nulls_last()
/// ```
///
/// Keys are values, and so parameters. A text that is no `T` is an error of the server's.
template <typename T = std::string, detail::AnyExpression Document, typename... Path>
auto json_text(const Document& document, const Path&... path) {
    static_assert(
        detail::may_hold_json<detail::without_optional<typename Document::Value>>,
        "txscope: this column holds no JSON: its member is a number, a bool, a time or an "
        "array");
    constexpr bool steps =
        sizeof...(Path) > 0 &&
        ((detail::Integer<Path> || std::convertible_to<const Path&, std::string_view>) && ...);
    static_assert(steps,
                  "txscope: what is in a document stands under a key, or along a path of keys and "
                  "positions: texts and integers");
    if constexpr (!steps) {
        return detail::JsonText<T, Document, std::string>{document, {}};
    } else if constexpr (sizeof...(Path) == 1 && !(detail::Integer<Path> || ...)) {
        return detail::JsonText<T, Document, std::string>{document, detail::path_step(path...)};
    } else {
        using Steps = std::vector<std::string>;
        return detail::JsonText<T, Document, Steps>{document, Steps{detail::path_step(path)...}};
    }
}

}  // namespace txscope
