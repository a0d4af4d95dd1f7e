#pragma once

#include <txscope/core/detail/struct_members.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/detail/expected_type.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/postgres/row_mapping.hpp>
#include <txscope/postgres/statement.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

/// SQL as the argument of a template.
template <std::size_t size>
struct SqlLiteral {
    constexpr SqlLiteral(const char (&literal)[size]) { std::copy_n(literal, size, text); }
    constexpr std::string_view view() const { return {text, size - 1}; }

    char text[size]{};
};

/// How many parameters a statement has: the highest of its `$1`, `$2`, ….
constexpr std::size_t count_parameters(std::string_view sql) {
    std::size_t most = 0;
    SqlWords words{sql};
    for (auto token = words.next_token(); !token.empty();) {
        const bool is_place = token == "$";
        token = words.next_token();
        std::size_t number = 0;
        for (const char c : is_place ? token : std::string_view{}) {
            if (c < '0' || c > '9') break;
            number = 10 * number + static_cast<std::size_t>(c - '0');
        }
        most = std::max(most, number);
    }
    return most;
}

/// A column that is read.
struct ExpectedColumn {
    std::string name;  ///< Empty for one that is read by its place.
    ExpectedType type;
};

template <typename Row>
struct ExpectedRow {
    static std::vector<ExpectedColumn> columns() {
        std::vector<ExpectedColumn> all;
        for_each_member<Row>([&](auto member) {
            using Member = struct_member_type<Row, decltype(member)>;
            all.push_back({std::string{member.name}, expected_type<Member, Use::read>()});
        });
        return all;
    }
};
template <typename... Values>
struct ExpectedRow<std::tuple<Values...>> {
    static std::vector<ExpectedColumn> columns() {
        return {{"", expected_type<Values, Use::read>()}...};
    }
};
template <>
struct ExpectedRow<void> {
    static std::vector<ExpectedColumn> columns() { return {}; }
};

/// What `ExpectedRow` knows.
template <typename Row>
inline constexpr bool is_row = Described<Row> || std::is_void_v<Row>;
template <typename... Values>
inline constexpr bool is_row<std::tuple<Values...>> = true;

/// Every `sql<…>` that the program names, and whatever else is to be checked as that is: linked to a list
/// before `main`.
class NamedSql {
public:
    using Parameters = std::vector<ExpectedType> (*)();
    using Columns = std::vector<ExpectedColumn> (*)();

    NamedSql(std::string_view said, Parameters given, Columns wanted, bool written = true) noexcept
        : text{said},
          parameters{given},
          columns{wanted},
          literal{written},
          next_{std::exchange(first_, this)} {}
    NamedSql(const NamedSql&) = delete;

    template <typename Visit>
    static void for_each(Visit visit) {
        for (const NamedSql* named = first_; named != nullptr; named = named->next_) visit(*named);
    }

    const std::string_view text;
    const Parameters parameters;  ///< What is bound.
    const Columns columns;        ///< What is read; none where that is not said.
    const bool literal;  ///< Whether the program says `sql<"text">`, or another call makes it.

private:
    static constinit inline const NamedSql* first_ = nullptr;
    const NamedSql* const next_;
};

template <SqlLiteral text, typename Row, typename... Values>
inline const NamedSql named_sql{
    text.view(), [] { return std::vector<ExpectedType>{expected_type<Values, Use::sent>()...}; },
    &ExpectedRow<Row>::columns};

}  // namespace detail

/// A statement whose text is known when the program is compiled, with its values, to be given wherever a
/// statement is:
///
/// ```cpp
/// co_await session.execute(sql<"UPDATE projects SET status = $1 WHERE id = $2">(status, id));
///
/// struct Summary { std::string name; std::int64_t stars{}; };
/// BOOST_DESCRIBE_STRUCT(Summary, (), (name, stars))
///
/// const auto found = co_await session.execute(
///     sql<"SELECT name, stars FROM projects WHERE status = $1", Summary>(status));
/// show(found.as<Summary>());
/// ```
///
/// It is what a `Statement` of that text is. The program can be asked for all of them, whether they are
/// executed or not: `testing::check` has a server look whether it knows their tables and columns, and
/// whether the types of the values fit; and those of the rows, where `Row` says what they are read as, a
/// described struct or a tuple. One in a template counts where that is instantiated.
template <detail::SqlLiteral text, typename Row = void, typename... Values>
Statement sql(const Values&... values) {
    constexpr bool has_values = detail::count_parameters(text.view()) == sizeof...(Values);
    constexpr bool has_rows = detail::is_row<Row>;
    static_assert(has_values, "txscope: sql<…>(…) takes a value for each $1, $2, … of its text");
    static_assert(has_rows, "txscope: the rows of sql<…> are a described struct or a tuple");
    if constexpr (has_rows)
        static_cast<void>(&detail::named_sql<text, Row, std::decay_t<const Values&>...>);
    return Statement{text.view(), values...};
}

}  // namespace txscope
