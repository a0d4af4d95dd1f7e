#include "support/catch.hpp"
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/describe/class.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using txscope::ascending;
using txscope::Criteria;
using txscope::descending;
using txscope::field;
using txscope::json_text;
using txscope::Page;
using txscope::row;
using txscope::sql;
using txscope::Statement;

struct Event {
    std::int64_t id{};
    std::string kind{};
    std::optional<std::string> data{};
    std::vector<std::string> tags{};
    std::optional<std::vector<std::optional<std::int32_t>>> scores{};
    std::int32_t day{};
};
BOOST_DESCRIBE_STRUCT(Event, (), (id, kind, data, tags, scores, day))

struct Person {
    std::int64_t id{};
};
BOOST_DESCRIBE_STRUCT(Person, (), (id))

struct Events {
    static constexpr std::string_view table = "events";
    static constexpr std::string_view column(std::string_view member) {
        return member == "kind" ? "what\"ever" : member;
    }
};
using EventEntity = txscope::Entity<Events, Event>;

/// A statement from behind its table on, and its parameters, as one comparable value.
struct Asked {
    std::string sql;
    std::vector<std::optional<std::string>> parameters;
    bool operator==(const Asked&) const = default;
    friend std::ostream& operator<<(std::ostream& out, const Asked& asked) {
        out << asked.sql;
        for (const auto& parameter : asked.parameters)
            out << " [" << parameter.value_or("NULL") << ']';
        return out;
    }
};

template <typename... Parts>
Asked asked(const Parts&... parts) {
    static_assert(txscope::detail::ClausesOf<Event, Parts...>);
    const Statement statement =
        txscope::detail::compose<EventEntity, txscope::detail::Select<EventEntity>>(parts...);
    constexpr std::string_view from = " FROM \"events\" ";
    const std::string text{statement.sql()};
    Asked asked{text.substr(text.find(from) + from.size()), {}};
    for (std::size_t i = 0; i < statement.size(); ++i)
        asked.parameters.emplace_back(statement.parameter(i));
    return asked;
}

constexpr auto tags = field<&Event::tags>;
constexpr auto scores = field<&Event::scores>;
constexpr auto data = field<&Event::data>;

TEST_CASE("an array is asked for its elements", "[expression]") {
    CHECK(asked(tags.any("new")) == Asked{R"(WHERE $1 = ANY("tags"))", {"new"}});
    CHECK(asked(scores.any(7)) == Asked{R"(WHERE $1 OPERATOR(pg_catalog.=) ANY("scores"))", {"7"}});
    CHECK(asked(tags.contains("new", std::string{"a,\"b"})) ==
          Asked{R"(WHERE "tags" OPERATOR(pg_catalog.@>) $1)", {R"({"new","a,\"b"})"}});
    CHECK(asked(tags.overlaps(std::vector<std::string_view>{"x", "y"})) ==
          Asked{R"(WHERE "tags" OPERATOR(pg_catalog.&&) $1)", {R"({"x","y"})"}});
    CHECK(asked(scores.contains(std::vector<int>{}), scores.overlaps(1, 2)) ==
          Asked{R"(WHERE "scores" OPERATOR(pg_catalog.@>) $1 AND )"
                R"("scores" OPERATOR(pg_catalog.&&) $2)",
                {"{}", R"({"1","2"})"}});
    CHECK(asked(!tags.any("new") || scores.is_null()) ==
          Asked{R"(WHERE NOT ($1 = ANY("tags")) OR "scores" IS NULL)", {"new"}});
    CHECK_THROWS_AS(scores.any(std::int64_t{5'000'000'000}), txscope::ValueError);
}

TEST_CASE("a document is read by a key, or along a path, as a type", "[expression]") {
    CHECK(asked(json_text(data, "kind") == "click") ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1) = $2)", {"kind", "click"}});
    CHECK(asked(json_text(data, "kind").like("c%") && field<&Event::id> == 1) ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1) LIKE $2 AND )"
                R"("id" OPERATOR(pg_catalog.=) $3)",
                {"kind", "c%", "1"}});
    CHECK(asked(json_text<std::int64_t>(data, "at", "x") > 100) ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.#>>) $1)::pg_catalog.int8 )"
                R"(OPERATOR(pg_catalog.>) $2)",
                {R"({"at","x"})", "100"}});
    CHECK(asked(json_text<bool>(data, "list", 0) == true) ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.#>>) $1)::pg_catalog.bool )"
                R"(OPERATOR(pg_catalog.=) $2)",
                {R"({"list","0"})", "true"}});
    CHECK(asked(json_text(data, "gone") == std::nullopt) ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1) IS NULL)", {"gone"}});
    CHECK(asked(json_text<std::int32_t>(data, "day") == field<&Event::day>) ==
          Asked{R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1)::pg_catalog.int4 )"
                R"(OPERATOR(pg_catalog.=) "day")",
                {"day"}});
    CHECK(asked(json_text<float>(data, "n").in(1, 2)).sql ==
          R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1)::pg_catalog.float4 )"
          R"(OPERATOR(pg_catalog.=) ANY($2))");
    CHECK(asked(json_text<std::chrono::sys_days>(data, "on").is_not_null()).sql ==
          R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1)::pg_catalog.date IS NOT NULL)");
    CHECK(asked(json_text<std::chrono::sys_seconds>(data, "on").is_null()).sql ==
          R"(WHERE ("data" OPERATOR(pg_catalog.->>) $1)::pg_catalog.timestamptz IS NULL)");
}

TEST_CASE("rows are compared as a whole", "[expression]") {
    CHECK(asked(row(field<&Event::day>, field<&Event::id>) > row(7, 8L)) ==
          Asked{R"(WHERE ("day", "id") OPERATOR(pg_catalog.>) ($1, $2))", {"7", "8"}});
    CHECK(
        asked(row(field<&Event::day>, field<&Event::kind>) <= row(7, "x") && tags.any("y")) ==
        Asked{R"(WHERE ("day", "what""ever") <= ($1, $2) AND $3 = ANY("tags"))", {"7", "x", "y"}});
    CHECK(asked(row(field<&Event::day>, json_text(data, "k")) ==
                row(field<&Event::id>, field<&Event::kind>)) ==
          Asked{R"(WHERE ("day", ("data" OPERATOR(pg_catalog.->>) $1)) = ("id", "what""ever"))",
                {"k"}});
    CHECK(asked(row(field<&Event::id>) != row(1)).sql ==
          R"(WHERE ("id") OPERATOR(pg_catalog.<>) ($1))");
    CHECK(asked(row(field<&Event::id>) < row(1) && row(field<&Event::id>) >= row(0)).sql ==
          R"(WHERE ("id") OPERATOR(pg_catalog.<) ($1) AND ("id") OPERATOR(pg_catalog.>=) ($2))");
    CHECK_THROWS_AS(row(field<&Event::day>) > row(std::int64_t{5'000'000'000}),
                    txscope::ValueError);
}

TEST_CASE("SQL of the program's own takes its places among the others", "[expression]") {
    CHECK(
        asked(field<&Event::id> == 1, sql("lower(kind) = $", "x"), tags.any("y")) ==
        Asked{R"(WHERE "id" OPERATOR(pg_catalog.=) $1 AND (lower(kind) = $2) AND $3 = ANY("tags"))",
              {"1", "x", "y"}});
    CHECK(asked(sql("lower($) = $", field<&Event::kind>, std::string{"x"})) ==
          Asked{R"(WHERE (lower("what""ever") = $1))", {"x"}});
    CHECK(asked(sql("a = '$' OR \"$\" = $::integer OR b = 'it''s $'", 7)) ==
          Asked{R"(WHERE (a = '$' OR "$" = $1::integer OR b = 'it''s $'))", {"7"}});
    CHECK(asked(sql("a") || !sql("b = $", std::optional<int>{})) ==
          Asked{"WHERE (a) OR NOT ((b = $1))", {std::nullopt}});
    CHECK(asked(sql<double>("a <-> $", 3) < 5, sql<std::string>("b") == std::nullopt) ==
          Asked{"WHERE (a <-> $1) OPERATOR(pg_catalog.<) $2 AND (b) IS NULL", {"3", "5"}});
    Criteria<Event> criteria = sql("a = $", 1);
    criteria &= sql("b = $", 2) || field<&Event::id> == 3;
    CHECK(asked(criteria) ==
          Asked{R"(WHERE (a = $1) AND ((b = $2) OR "id" OPERATOR(pg_catalog.=) $3))",
                {"1", "2", "3"}});
}

TEST_CASE("numbers are calculated with, in a condition and in an ordering", "[expression]") {
    const auto day = field<&Event::day>;
    CHECK(asked(day + 1 < field<&Event::id>) ==
          Asked{R"(WHERE ("day" OPERATOR(pg_catalog.+) $1) OPERATOR(pg_catalog.<) "id")", {"1"}});
    CHECK(asked((field<&Event::id> - day) * 2 == 7, descending(day * day)) ==
          Asked{R"(WHERE (("id" OPERATOR(pg_catalog.-) "day") OPERATOR(pg_catalog.*) $1) )"
                R"(OPERATOR(pg_catalog.=) $2 )"
                R"(ORDER BY ("events"."day" OPERATOR(pg_catalog.*) "events"."day") DESC)",
                {"2", "7"}});
    CHECK(asked((sql<int>("length(kind)") + 1).is_null()) ==
          Asked{R"(WHERE ((length(kind)) OPERATOR(pg_catalog.+) $1) IS NULL)", {"1"}});
    CHECK_THROWS_AS(day + std::int64_t{5'000'000'000}, txscope::ValueError);
}

TEST_CASE("rows are sorted by what is computed, whose parameters come behind the conditions'",
          "[expression]") {
    CHECK(
        asked(Page{.limit = 5}, descending(json_text<double>(data, "score")).nulls_last(),
              ascending(sql<std::string>("lower($)", field<&Event::kind>)), tags.any("x")) ==
        Asked{
            R"(WHERE $1 = ANY("tags") ORDER BY )"
            R"(("events"."data" OPERATOR(pg_catalog.->>) $2)::pg_catalog.float8 DESC NULLS LAST, )"
            R"((lower("events"."what""ever")) LIMIT $3 OFFSET $4)",
            {"x", "score", "5", "0"}});
    CHECK(asked(ascending(sql("a <> $", 1)).nulls_first()) ==
          Asked{"ORDER BY (a <> $1) NULLS FIRST", {"1"}});
    CHECK(asked(ascending(field<&Event::kind>)) == Asked{R"(ORDER BY "events"."what""ever")", {}});
}

TEST_CASE("whatever is in a key or a value, it stays out of the text", "[expression]") {
    for (const std::string hostile : {"'; DROP TABLE events; --", "\"", "\\", "$1", "$", "{\"a\"}",
                                      "',')", "{,}", "NULL", ""}) {
        CAPTURE(hostile);
        const auto text = [&](const std::string& value) {
            return asked(tags.any(value), tags.contains(value, value), tags.overlaps(value),
                         json_text(data, value) == value, json_text(data, value, value) == value,
                         row(field<&Event::kind>, field<&Event::data>) > row(value, value),
                         sql("$ = $", value, value), sql<std::string>("$", value).in(value),
                         ascending(json_text(data, value)), descending(sql("$", value)));
        };
        const Asked wanted = text("harmless");
        const Asked got = text(hostile);
        CHECK(got.sql == wanted.sql);
        CHECK(got.parameters.size() == wanted.parameters.size());
        CHECK(got.parameters.front() == hostile);
        CHECK(got.parameters.back() == hostile);
        using namespace std::string_literals;
        CHECK_THROWS_AS(text("a\0b"s), txscope::ValueError);
    }
}

using txscope::detail::ConditionOn;
static_assert(ConditionOn<decltype(tags.any("x")), Event>);
static_assert(!ConditionOn<decltype(tags.any("x")), Person>, "another model's");
static_assert(!ConditionOn<decltype(json_text(data, "x") == "y"), Person>);
static_assert(!ConditionOn<decltype(sql("$ = 1", field<&Event::id>)), Person>);
static_assert(!ConditionOn<decltype(row(field<&Event::id>) == row(1)), Person>);
static_assert(!ConditionOn<decltype(sql<int>("1")), Event>, "a number is no condition");
static_assert(!txscope::detail::OrderingOn<decltype(ascending(json_text(data, "x"))), Person>);

}  // namespace
