#include "support/catch.hpp"
#include "support/made_result.hpp"
#include <txscope/postgres/result.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using txscope::ColumnError;
using txscope::Result;
using txscope::Row;

static_assert(std::forward_iterator<Result::Iterator>);
static_assert(std::ranges::forward_range<Result>);
static_assert(std::ranges::forward_range<txscope::TypedRows<int, std::string>>);

namespace {

Result projects() {
    return made_result({"id", "name", "note"},
                       {{"1", "first", "n"}, {"2", "second", std::nullopt}, {"3", "third", ""}});
}

}  // namespace

TEST_CASE("a result that was never given is empty", "[result]") {
    const Result result;
    CHECK(result.empty());
    CHECK(result.size() == 0);
    CHECK(result.columns() == 0);
    CHECK(result.affected_rows() == 0);
    CHECK(result.command_tag().empty());
    CHECK(result.begin() == result.end());
    CHECK_FALSE(result.one_or_none());
}

TEST_CASE("a result says how many rows and which columns it has", "[result]") {
    const Result result = projects();
    CHECK(result.size() == 3);
    CHECK_FALSE(result.empty());
    CHECK(result.columns() == 3);
    CHECK(result.column_name(1) == "name");
    CHECK(column_error_of([&] { (void)result.column_name(3); }).reason() ==
          ColumnError::Reason::no_such_column);
}

TEST_CASE("a column is had by name or by index", "[result]") {
    const Row row = projects()[1];
    CHECK(row.size() == 3);
    CHECK(row.get<std::int64_t>("id") == 2);
    CHECK(row.get<std::string>("name") == "second");
    CHECK(row.get<int>(0) == 2);
    CHECK(row.get<std::string>(1) == "second");
}

TEST_CASE("NULL is an empty optional, and an empty text is not", "[result]") {
    const Result result = projects();
    CHECK(result[0].get<std::optional<std::string>>("note") == "n");
    CHECK(result[1].get<std::optional<std::string>>("note") == std::nullopt);
    CHECK(result[2].get<std::optional<std::string>>("note") == "");
    CHECK(result[1].is_null("note"));
    CHECK(result[1].is_null(2));
    CHECK_FALSE(result[2].is_null("note"));
}

TEST_CASE("NULL for a type without a place for it is an error that names the column", "[result]") {
    const ColumnError error = column_error_of([] { (void)projects()[1].get<std::string>("note"); });
    CHECK(error.reason() == ColumnError::Reason::unexpected_null);
    CHECK(error.column() == "note");
    CHECK(error.index() == 2);
    CHECK_THAT(error.what(), ContainsSubstring("column \"note\" (index 2) is NULL") &&
                                 ContainsSubstring("std::optional"));
}

TEST_CASE("a value of another type is an error that names the column and hides the value",
          "[result]") {
    const ColumnError error = column_error_of([] { (void)projects()[1].get<int>("name"); });
    CHECK(error.reason() == ColumnError::Reason::wrong_type);
    CHECK(error.column() == "name");
    CHECK(error.index() == 1);
    CHECK_THAT(error.what(), ContainsSubstring("column \"name\" (index 1)") &&
                                 ContainsSubstring("32-bit integer") &&
                                 !ContainsSubstring("second"));
}

TEST_CASE("a column that is not there is an error that says which are", "[result]") {
    const Row row = projects().front();
    const ColumnError by_name = column_error_of([&] { (void)row.get<int>("nmae"); });
    CHECK(by_name.reason() == ColumnError::Reason::no_such_column);
    CHECK(by_name.column() == "nmae");
    CHECK(by_name.index() == ColumnError::none);
    CHECK_THAT(by_name.what(),
               ContainsSubstring("\"nmae\"") && ContainsSubstring("id, name, note"));

    const ColumnError by_index = column_error_of([&] { (void)row.get<int>(3); });
    CHECK(by_index.reason() == ColumnError::Reason::no_such_column);
    CHECK(by_index.index() == 3);
    CHECK_THAT(by_index.what(), ContainsSubstring("3 columns"));

    CHECK_THROWS_AS(row.is_null("nmae"), ColumnError);
    CHECK_THROWS_AS(row.is_null(3), ColumnError);
    CHECK_THROWS_AS(row.text(3), ColumnError);
}

TEST_CASE("names are matched exactly, capitals and all", "[result]") {
    const Row row = made_result({"Id", "odd name"}, {{"1", "2"}}).front();
    CHECK(row.get<int>("Id") == 1);
    CHECK(row.get<int>("odd name") == 2);
    CHECK_THROWS_AS(row.get<int>("id"), ColumnError);
}

TEST_CASE("a name that two columns have is refused rather than guessed", "[result]") {
    const Row row = made_result({"id", "name", "id"}, {{"1", "a", "2"}}).front();
    const ColumnError error = column_error_of([&] { (void)row.get<int>("id"); });
    CHECK(error.reason() == ColumnError::Reason::ambiguous_name);
    CHECK_THAT(error.what(), ContainsSubstring("columns 0 and 2"));
    CHECK(row.get<int>(2) == 2);
}

TEST_CASE("a column error is a conversion error of libpqxx", "[result]") {
    CHECK_THROWS_AS(projects()[0].get<int>("name"), pqxx::conversion_error);
}

TEST_CASE("the server's own text can be had without a copy", "[result]") {
    const Result result = projects();
    const Row first = result[0];
    const Row second = result[1];
    CHECK(first.text("name") == std::string_view("first"));
    CHECK(second.text(2) == std::nullopt);
}

TEST_CASE("a result is a range of rows", "[result]") {
    std::vector<std::string> names;
    for (const Row& row : projects()) names.push_back(row.get<std::string>("name"));
    CHECK(names == std::vector<std::string>{"first", "second", "third"});

    const Result result = projects();
    CHECK(std::ranges::distance(result) == 3);
    CHECK(std::ranges::count_if(result, [](const Row& row) { return row.is_null("note"); }) == 1);
}

TEST_CASE("a row outlives the result it came from", "[result]") {
    std::optional<Result> result = projects();
    const Row row = (*result)[2];
    const Result copy = *result;
    result.reset();
    CHECK(row.get<std::string>("name") == "third");
    CHECK(copy.size() == 3);
}

TEST_CASE("a row that is not there is out of range", "[result]") {
    CHECK_THROWS_AS(projects()[3], pqxx::range_error);
    CHECK_THROWS_AS(Result{}.front(), pqxx::range_error);
    CHECK_THROWS_WITH(projects()[3], ContainsSubstring("index 3") && ContainsSubstring("3 rows"));
}

TEST_CASE("the only row is had only if it is the only one", "[result]") {
    const Result none = made_result({"id"}, {});
    const Result one = made_result({"id"}, {{"1"}});
    const Result two = made_result({"id"}, {{"1"}, {"2"}});
    CHECK(one.one().get<int>("id") == 1);
    CHECK_THROWS_AS(none.one(), pqxx::unexpected_rows);
    CHECK_THROWS_AS(two.one(), pqxx::unexpected_rows);
    CHECK_THROWS_WITH(two.one(), ContainsSubstring("2"));

    CHECK(one.one_or_none().value().get<int>("id") == 1);
    CHECK_FALSE(none.one_or_none());
    CHECK_THROWS_AS(two.one_or_none(), pqxx::unexpected_rows);
}

TEST_CASE("rows are had as tuples, even of a result that is a temporary", "[result]") {
    std::vector<std::tuple<int, std::string, bool>> seen;
    for (auto [id, name, note] : projects().rows<int, std::string, std::optional<std::string>>()) {
        seen.emplace_back(id, name, note.has_value());
    }
    CHECK(seen == std::vector<std::tuple<int, std::string, bool>>{
                      {1, "first", true}, {2, "second", false}, {3, "third", true}});

    const auto rows = projects().rows<int, std::string, std::optional<std::string>>();
    CHECK(rows.size() == 3);
    CHECK_FALSE(rows.empty());
    CHECK(std::get<1>(rows[2]) == "third");
}

TEST_CASE("tuples of another width than the result are refused at once", "[result]") {
    const Result result = made_result({"id", "name"}, {});
    const ColumnError error = column_error_of([&] { (void)result.rows<int>(); });
    CHECK(error.reason() == ColumnError::Reason::wrong_count);
    CHECK_THAT(error.what(), ContainsSubstring("has 2 columns, and 1"));
    CHECK_THROWS_AS((result.rows<int, std::string, int>()), ColumnError);
}

TEST_CASE("a tuple's value of another type names its column", "[result]") {
    const auto rows = made_result({"id", "name"}, {{"1", "secret"}}).rows<int, int>();
    const ColumnError error = column_error_of([&] { (void)rows[0]; });
    CHECK(error.column() == "name");
    CHECK_THAT(error.what(), !ContainsSubstring("secret"));
}
