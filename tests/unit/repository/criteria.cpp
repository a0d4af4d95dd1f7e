#include "support/catch.hpp"
#include <txscope/core/interval.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/describe/class.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using txscope::ascending;
using txscope::Criteria;
using txscope::descending;
using txscope::field;
using txscope::Page;
using txscope::Statement;

struct Ticket {
    std::int64_t id{};
    std::string title{};
    std::optional<std::string> note{};
    std::int16_t priority{};
    double cost{};
    bool open{};
    std::optional<std::int32_t> parent{};
    std::optional<float> share{};
    std::chrono::sys_time<std::chrono::nanoseconds> seen{};
    std::chrono::year_month_day due{};
    std::chrono::sys_days closed{};
    std::chrono::local_time<std::chrono::nanoseconds> shown{};
    std::chrono::duration<std::int32_t> waited{};
    std::chrono::sys_time<std::chrono::microseconds> changed{};
    std::chrono::sys_seconds paid{};
    int undescribed{};
};
BOOST_DESCRIBE_STRUCT(Ticket, (),
                      (id, title, note, priority, cost, open, parent, share, seen, due, closed,
                       shown, waited, changed, paid))

struct Person {
    std::int64_t id{};
    std::string title{};
};
BOOST_DESCRIBE_STRUCT(Person, (), (id, title))

struct Tickets {
    static constexpr std::string_view table = "tickets";
};
using TicketEntity = txscope::Entity<Tickets, Ticket>;

using Parameters = std::vector<std::optional<std::string>>;

Parameters parameters_of(const Statement& statement) {
    Parameters parameters;
    for (std::size_t i = 0; i < statement.size(); ++i) {
        parameters.emplace_back(statement.parameter(i));
    }
    return parameters;
}

/// With `=` for `OPERATOR(pg_catalog.=)`, and so on.
std::string without_schema(std::string sql) {
    constexpr std::string_view before = "OPERATOR(pg_catalog.";
    for (auto at = sql.find(before); at != sql.npos; at = sql.find(before, at)) {
        sql.erase(at, before.size());
        sql.erase(sql.find(')', at), 1);
    }
    return sql;
}

/// A statement's text and parameters, from WHERE on, as one comparable value.
struct Asked {
    std::string sql;
    Parameters parameters;
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
    static_assert(txscope::detail::ClausesOf<Ticket, Parts...>);
    const Statement statement =
        txscope::detail::compose<TicketEntity, txscope::detail::Select<TicketEntity>>(parts...);
    constexpr std::string_view from = " FROM \"tickets\"";
    const std::string sql{statement.sql()};
    return {without_schema(sql.substr(sql.find(from) + from.size())), parameters_of(statement)};
}

TEST_CASE("a comparison is a quoted column and a placeholder, and its value a parameter",
          "[criteria]") {
    CHECK(asked(field<&Ticket::id> == 7) == Asked{R"( WHERE "id" = $1)", {"7"}});
    CHECK(asked(field<&Ticket::id> != 7) == Asked{R"( WHERE "id" <> $1)", {"7"}});
    CHECK(asked(field<&Ticket::priority> < 3) == Asked{R"( WHERE "priority" < $1)", {"3"}});
    CHECK(asked(field<&Ticket::priority> <= 3) == Asked{R"( WHERE "priority" <= $1)", {"3"}});
    CHECK(asked(field<&Ticket::cost> > 2.5) == Asked{R"( WHERE "cost" > $1)", {"2.5"}});
    CHECK(asked(field<&Ticket::cost> >= 2) == Asked{R"( WHERE "cost" >= $1)", {"2"}});
    CHECK(asked(field<&Ticket::open> == true) == Asked{R"( WHERE "open" = $1)", {"true"}});
    CHECK(asked(field<&Ticket::title>.like("a%")) == Asked{R"( WHERE "title" LIKE $1)", {"a%"}});
}

TEST_CASE("a comparison whose value stands first is the same", "[criteria]") {
    CHECK(asked(7 == field<&Ticket::id>) == asked(field<&Ticket::id> == 7));
    CHECK(asked("a" != field<&Ticket::title>) == asked(field<&Ticket::title> != "a"));
    CHECK(asked(3 < field<&Ticket::priority>) == asked(field<&Ticket::priority> > 3));
    CHECK(asked(3 <= field<&Ticket::priority>) == asked(field<&Ticket::priority> >= 3));
    CHECK(asked(2.5 > field<&Ticket::cost>) == asked(field<&Ticket::cost> < 2.5));
    CHECK(asked(2.5 >= field<&Ticket::cost>) == asked(field<&Ticket::cost> <= 2.5));
    CHECK(asked(std::nullopt == field<&Ticket::note>) == asked(field<&Ticket::note>.is_null()));
    CHECK(asked(std::nullopt != field<&Ticket::note>) == asked(field<&Ticket::note>.is_not_null()));
    CHECK(asked(std::optional{4} == field<&Ticket::parent>) == asked(field<&Ticket::parent> == 4));
    CHECK(asked(1 + field<&Ticket::priority> == 3) == asked(field<&Ticket::priority> + 1 == 3));
    CHECK(asked(2 * field<&Ticket::priority> == 4) == asked(field<&Ticket::priority> * 2 == 4));
}

TEST_CASE("patterns, bounds and what NULL is distinct from", "[criteria]") {
    CHECK(asked(field<&Ticket::title>.ilike("A%")) == Asked{R"( WHERE "title" ILIKE $1)", {"A%"}});
    CHECK(asked(field<&Ticket::title>.starts_with("100%_\\")) ==
          Asked{R"( WHERE "title" LIKE $1)", {R"(100\%\_\\%)"}});
    CHECK(asked(field<&Ticket::priority>.between(2, 5)) ==
          Asked{R"( WHERE "priority" >= $1 AND "priority" <= $2)", {"2", "5"}});
    CHECK(asked(!field<&Ticket::priority>.between(2, 5) || field<&Ticket::id> == 1) ==
          Asked{R"( WHERE NOT ("priority" >= $1 AND "priority" <= $2) OR "id" = $3)",
                {"2", "5", "1"}});
    CHECK(asked(field<&Ticket::note>.is_distinct_from("x")) ==
          Asked{R"( WHERE "note" IS DISTINCT FROM $1)", {"x"}});
    CHECK(asked(field<&Ticket::id>.is_distinct_from(7)) ==
          Asked{R"( WHERE "id" IS DISTINCT FROM $1)", {"7"}});
    CHECK(asked(field<&Ticket::note>.is_distinct_from(std::optional{"x"s})) ==
          Asked{R"( WHERE "note" IS DISTINCT FROM $1)", {"x"}});
    CHECK(asked(field<&Ticket::note>.is_distinct_from(std::optional<std::string>{})) ==
          Asked{R"( WHERE "note" IS NOT NULL)", {}});
    CHECK(asked(field<&Ticket::note>.is_distinct_from(std::nullopt)) ==
          Asked{R"( WHERE "note" IS NOT NULL)", {}});
}

TEST_CASE("columns are compared with each other", "[criteria]") {
    constexpr auto id = field<&Ticket::id>;
    constexpr auto parent = field<&Ticket::parent>;
    CHECK(asked(parent == id) == Asked{R"( WHERE "parent" = "id")", {}});
    CHECK(asked(parent != id) == Asked{R"( WHERE "parent" <> "id")", {}});
    CHECK(asked(parent < id) == Asked{R"( WHERE "parent" < "id")", {}});
    CHECK(asked(parent <= id) == Asked{R"( WHERE "parent" <= "id")", {}});
    CHECK(asked(parent > id) == Asked{R"( WHERE "parent" > "id")", {}});
    CHECK(asked(parent >= id && id == 1) ==
          Asked{R"( WHERE "parent" >= "id" AND "id" = $1)", {"1"}});
    CHECK(asked(field<&Ticket::note> == field<&Ticket::title>) ==
          Asked{R"( WHERE "note" = "title")", {}});
}

template <typename Condition>
std::string text_of(const Condition& condition) {
    const auto compose = [&] {
        return txscope::detail::compose<TicketEntity, txscope::detail::Delete<TicketEntity>>(
            condition);
    };
    return std::string{compose().sql()};
}

TEST_CASE("the operator is PostgreSQL's own for all but texts, whose column may be of any type",
          "[criteria]") {
    const std::string where = R"(DELETE FROM "tickets" WHERE )";
    CHECK(text_of(field<&Ticket::id> != 1) == where + R"("id" OPERATOR(pg_catalog.<>) $1)");
    CHECK(text_of(field<&Ticket::cost> >= 1) == where + R"("cost" OPERATOR(pg_catalog.>=) $1)");
    CHECK(text_of(field<&Ticket::open> == true) == where + R"("open" OPERATOR(pg_catalog.=) $1)");
    CHECK(text_of(field<&Ticket::parent> == std::optional{1}) ==
          where + R"("parent" OPERATOR(pg_catalog.=) $1)");
    CHECK(text_of(field<&Ticket::seen> < std::chrono::sys_days{}) ==
          where + R"("seen" OPERATOR(pg_catalog.<) $1)");
    CHECK(text_of(field<&Ticket::shown> < std::chrono::local_days{}) ==
          where + R"("shown" OPERATOR(pg_catalog.<) $1)");
    CHECK(text_of(field<&Ticket::id>.in(1)) == where + R"("id" OPERATOR(pg_catalog.=) ANY($1))");
    CHECK(text_of(field<&Ticket::title> == "x") == where + R"("title" = $1)");
    CHECK(text_of(field<&Ticket::title>.in("x")) == where + R"("title" = ANY($1))");
}

TEST_CASE("text is given as any string type, and copied", "[criteria]") {
    const Asked expected{R"( WHERE "title" = $1)", {"deploy"}};
    CHECK(asked(field<&Ticket::title> == "deploy") == expected);
    CHECK(asked(field<&Ticket::title> == "deploy"s) == expected);
    const auto condition = [] {
        std::string gone = "deploy";
        const std::string_view view = gone;
        auto kept = field<&Ticket::title> == view;
        gone = "******";
        return kept;
    }();
    CHECK(asked(condition) == expected);
}

TEST_CASE("a null pointer is refused as a text", "[criteria]") {
    const char* const nothing = nullptr;
    CHECK_THROWS_AS(field<&Ticket::title> == nothing, txscope::ValueError);
    CHECK_THROWS_AS((field<&Ticket::note> = nothing), txscope::ValueError);
}

TEST_CASE("a text with a NUL character is refused, not cut short", "[criteria]") {
    const std::string text = "dep\0loy"s;
    CHECK_THROWS_AS(asked(field<&Ticket::title> == text), txscope::ValueError);
    CHECK_THROWS_AS(asked(field<&Ticket::title>.in(text, "x")), txscope::ValueError);
}

TEST_CASE("a number is one of the member's type first, as if it had been assigned to the member",
          "[criteria]") {
    CHECK(asked(field<&Ticket::priority> == -1L).parameters == Parameters{"-1"});
    CHECK(asked(field<&Ticket::priority> == std::uint64_t{32767}).parameters ==
          Parameters{"32767"});
    const Asked tenth{R"( WHERE "cost" = $1)", {"0.10000000149011612"}};
    CHECK(asked(field<&Ticket::cost> == 0.1f) == tenth);
    CHECK(asked(field<&Ticket::cost>.in(0.1f)).parameters ==
          Parameters{R"({"0.10000000149011612"})"});
    CHECK(asked(field<&Ticket::cost>.in(std::vector{0.1f})).parameters ==
          Parameters{R"({"0.10000000149011612"})"});
    CHECK(asked(field<&Ticket::share> == 0.1).parameters == Parameters{"0.1"});
    CHECK(asked(field<&Ticket::share> > 1.0 / 3).parameters == Parameters{"0.33333334"});
    CHECK(asked(field<&Ticket::share> == std::optional{0.1}).parameters == Parameters{"0.1"});
    CHECK(asked(field<&Ticket::share> == std::numeric_limits<double>::infinity()).parameters ==
          Parameters{"Infinity"});
}

template <auto Member, typename Value>
void check_refused(Value value) {
    CAPTURE(value);
    CHECK_THROWS_AS(field<Member> == value, txscope::ValueError);
    CHECK_THROWS_AS(field<Member> < value, txscope::ValueError);
    CHECK_THROWS_AS((field<Member> = value), txscope::ValueError);
    CHECK_THROWS_AS(field<Member>.in(value), txscope::ValueError);
    CHECK_THROWS_AS(field<Member>.in(std::vector{value}), txscope::ValueError);
}

TEST_CASE("a number that the member's type cannot hold is refused, not another number",
          "[criteria]") {
    check_refused<&Ticket::priority>(32768);
    check_refused<&Ticket::priority>(-32769L);
    check_refused<&Ticket::priority>(std::numeric_limits<std::uint64_t>::max());
    check_refused<&Ticket::parent>(std::int64_t{5'000'000'000});
    check_refused<&Ticket::id>(std::numeric_limits<std::uint64_t>::max());
    check_refused<&Ticket::share>(1e300);
    check_refused<&Ticket::share>(-1e300);
    check_refused<&Ticket::share>(16'777'217);
    check_refused<&Ticket::cost>(std::int64_t{-9'007'199'254'740'993});
    CHECK_THROWS_WITH(field<&Ticket::priority> == 98765,
                      "a value is out of the range of its member, a 16-bit integer");

    CHECK(asked(field<&Ticket::share> == 16'777'216).parameters == Parameters{"16777216"});
    CHECK(asked(field<&Ticket::cost> == std::numeric_limits<std::int64_t>::min()).parameters ==
          Parameters{"-9223372036854775808"});
    CHECK(asked(field<&Ticket::cost> == 0).parameters == Parameters{"0"});
}

TEST_CASE("a time that the member's type cannot hold is refused, not another time", "[criteria]") {
    using namespace std::chrono;
    const sys_days far{year{2300} / 1 / 1};
    check_refused<&Ticket::seen>(far);  // 64 bits of nanoseconds end in 2262
    check_refused<&Ticket::seen>(sys_seconds{far});
    check_refused<&Ticket::due>(sys_days{days{20'000'000}});
    check_refused<&Ticket::shown>(local_days{far.time_since_epoch()});
    check_refused<&Ticket::waited>(hours{600'000});
    check_refused<&Ticket::waited>(hours{-600'000});
    CHECK_THROWS_AS(field<&Ticket::closed> == 2023y / February / 29d, txscope::ValueError);
    CHECK(asked(field<&Ticket::shown> == local_days{2024y / February / 29d}).parameters ==
          Parameters{"2024-02-29 00:00:00.000000"});
    CHECK(asked(field<&Ticket::waited> == 1h).parameters ==
          Parameters{"+0 mons +0 days +1 hours +0.000000 secs"});
    CHECK(asked(field<&Ticket::seen> == sys_days{2024y / February / 29d}).parameters ==
          Parameters{"2024-02-29 00:00:00.000000+00"});
    CHECK(asked(field<&Ticket::due> == sys_days{2024y / February / 29d}).parameters ==
          Parameters{"2024-02-29"});
    CHECK(asked(field<&Ticket::closed> == 2024y / February / 29d).parameters ==
          Parameters{"2024-02-29"});
}

TEST_CASE("a time is cut off behind the microseconds, and nowhere else", "[criteria]") {
    using namespace std::chrono;
    using Fine = sys_time<nanoseconds>;
    const auto changed = field<&Ticket::changed>;
    CHECK(asked(changed <= Fine{1'999ns}).parameters ==
          Parameters{"1970-01-01 00:00:00.000001+00"});
    CHECK(asked(changed.in(Fine{-1ns})).parameters ==
          Parameters{R"({"1969-12-31 23:59:59.999999+00"})"});
    CHECK(asked(changed.between(Fine::min(), Fine::max())).parameters ==
          Parameters{"-infinity", "infinity"});
}

TEST_CASE("equality with nothing asks for NULL", "[criteria]") {
    CHECK(asked(field<&Ticket::note> == std::nullopt) == Asked{R"( WHERE "note" IS NULL)", {}});
    CHECK(asked(field<&Ticket::note> != std::nullopt) == Asked{R"( WHERE "note" IS NOT NULL)", {}});
    CHECK(asked(field<&Ticket::note>.is_null()) == Asked{R"( WHERE "note" IS NULL)", {}});
    CHECK(asked(field<&Ticket::title>.is_not_null()) == Asked{R"( WHERE "title" IS NOT NULL)", {}});
}

TEST_CASE("equality with an optional asks for its value, or for NULL when it has none",
          "[criteria]") {
    std::optional<std::string> note = "late";
    CHECK(asked(field<&Ticket::note> == note) == Asked{R"( WHERE "note" = $1)", {"late"}});
    CHECK(asked(field<&Ticket::note> != note) == Asked{R"( WHERE "note" <> $1)", {"late"}});
    note.reset();
    CHECK(asked(field<&Ticket::note> == note) == Asked{R"( WHERE "note" IS NULL)", {}});
    CHECK(asked(field<&Ticket::note> != note) == Asked{R"( WHERE "note" IS NOT NULL)", {}});
    CHECK(asked(field<&Ticket::note> == note, field<&Ticket::id> == 1) ==
          Asked{R"( WHERE "note" IS NULL AND "id" = $1)", {"1"}});
    const std::optional<std::string_view> view = "late"sv;
    CHECK(asked(field<&Ticket::note> == view) == Asked{R"( WHERE "note" = $1)", {"late"}});
}

TEST_CASE("one of many values is one array parameter, whatever their number", "[criteria]") {
    const std::string sql = R"( WHERE "id" = ANY($1))";
    CHECK(asked(field<&Ticket::id>.in(std::vector{1, 2, 3})) == Asked{sql, {R"({"1","2","3"})"}});
    CHECK(asked(field<&Ticket::id>.in(std::vector<int>{})) == Asked{sql, {"{}"}});
    CHECK(asked(field<&Ticket::id>.in(4, 5L)) == Asked{sql, {R"({"4","5"})"}});
    CHECK(asked(field<&Ticket::id>.in(std::views::iota(1, 4) | std::views::reverse)) ==
          Asked{sql, {R"({"3","2","1"})"}});
    CHECK(asked(field<&Ticket::title>.in(std::set<std::string>{"b", "a"})).parameters ==
          Parameters{R"({"a","b"})"});
    CHECK(asked(field<&Ticket::title>.in("draft"s)).parameters == Parameters{R"({"draft"})"});
    CHECK(asked(field<&Ticket::note>.in("a", "b"sv)).parameters == Parameters{R"({"a","b"})"});
}

TEST_CASE("whatever is in an array's elements, they stay elements", "[criteria]") {
    CHECK(asked(field<&Ticket::title>.in(R"(","})", R"(\)", "NULL", "", "a\nb")).parameters ==
          Parameters{"{\"\\\",\\\"}\",\"\\\\\",\"NULL\",\"\",\"a\nb\"}"});
}

TEST_CASE("conditions combine with the parentheses that C++'s precedence means", "[criteria]") {
    const auto a = field<&Ticket::id> == 1;
    const auto b = field<&Ticket::open> == true;
    const auto c = field<&Ticket::title> == "x";
    CHECK(asked(a && b && c).sql == R"( WHERE "id" = $1 AND "open" = $2 AND "title" = $3)");
    CHECK(asked(a || (b && c)).sql == R"( WHERE "id" = $1 OR "open" = $2 AND "title" = $3)");
    CHECK(asked((a || b) && c).sql == R"( WHERE ("id" = $1 OR "open" = $2) AND "title" = $3)");
    CHECK(asked(a && (b || c)).sql == R"( WHERE "id" = $1 AND ("open" = $2 OR "title" = $3))");
    CHECK(asked(!a && b).sql == R"( WHERE NOT ("id" = $1) AND "open" = $2)");
    CHECK(asked(!(a && b) || c).sql == R"( WHERE NOT ("id" = $1 AND "open" = $2) OR "title" = $3)");
    CHECK(asked(!!a).sql == R"( WHERE NOT (NOT ("id" = $1)))");
    CHECK(asked((a || b) && c).parameters == Parameters{"1", "true", "x"});
}

TEST_CASE("several conditions all have to hold", "[criteria]") {
    const auto a = field<&Ticket::id> == 1;
    const auto b = field<&Ticket::open> == true;
    CHECK(asked(a, b) == asked(a && b));
    CHECK(asked(a || b).sql == R"( WHERE "id" = $1 OR "open" = $2)");
    CHECK(asked(a || b, a).sql == R"( WHERE ("id" = $1 OR "open" = $2) AND "id" = $3)");
}

TEST_CASE("placeholders are numbered on through ten and more", "[criteria]") {
    const auto a = field<&Ticket::id> == 1;
    CHECK(asked(a, a, a, a, a, a, a, a, a, a, a)
              .sql.ends_with(R"("id" = $9 AND "id" = $10 AND "id" = $11)"));
}

TEST_CASE("orderings and a page follow the conditions, wherever they are given", "[criteria]") {
    const auto open = field<&Ticket::open> == true;
    const Asked expected{
        R"( WHERE "open" = $1 ORDER BY "tickets"."priority" DESC, "tickets"."title" LIMIT $2 OFFSET $3)",
        {"true", "20", "40"}};
    const Page page{.limit = 20, .offset = 40};
    const auto by_priority = descending(field<&Ticket::priority>);
    const auto by_title = ascending(field<&Ticket::title>);
    CHECK(asked(open, by_priority, by_title, page) == expected);
    CHECK(asked(page, by_priority, open, by_title) == expected);
    CHECK(asked() == Asked{"", {}});
    CHECK(asked(Page{.offset = 5}) == Asked{" LIMIT $1 OFFSET $2", {std::nullopt, "5"}});
}

TEST_CASE("an ordering says where NULL stands", "[criteria]") {
    CHECK(asked(ascending(field<&Ticket::note>).nulls_first()).sql ==
          R"( ORDER BY "tickets"."note" NULLS FIRST)");
    CHECK(asked(descending(field<&Ticket::note>).nulls_last()).sql ==
          R"( ORDER BY "tickets"."note" DESC NULLS LAST)");
}

TEST_CASE("a page out of range is refused before anything is sent", "[criteria]") {
    CHECK_THROWS_AS(asked(Page{.limit = -1}), pqxx::argument_error);
    CHECK_THROWS_AS(asked(Page{.limit = 1, .offset = -1}), pqxx::argument_error);
    CHECK_NOTHROW(asked(Page{.limit = 0}));
    CHECK_NOTHROW(asked(Page{.limit = std::numeric_limits<std::int64_t>::max()}));
}

TEST_CASE("criteria grow while the program runs", "[criteria]") {
    Criteria<Ticket> criteria;
    CHECK(asked(criteria) == Asked{" WHERE TRUE", {}});
    criteria &= field<&Ticket::open> == true;
    CHECK(asked(criteria) == Asked{R"( WHERE "open" = $1)", {"true"}});
    criteria &= field<&Ticket::id> == 1 || field<&Ticket::id> == 2;
    CHECK(asked(criteria) ==
          Asked{R"( WHERE "open" = $1 AND ("id" = $2 OR "id" = $3))", {"true", "1", "2"}});
}

TEST_CASE("criteria combine like the conditions they hold", "[criteria]") {
    const Criteria<Ticket> one = field<&Ticket::id> == 1;
    const Criteria<Ticket> two = field<&Ticket::id> == 2 || field<&Ticket::open> == true;
    CHECK(asked(one || two).sql == R"( WHERE "id" = $1 OR ("id" = $2 OR "open" = $3))");
    CHECK(asked(!two && one).sql == R"( WHERE NOT (("id" = $1 OR "open" = $2)) AND "id" = $3)");
    CHECK(asked(one, field<&Ticket::title> == "x").sql == R"( WHERE "id" = $1 AND "title" = $2)");
    CHECK(asked(one && !Criteria<Ticket>{}).sql == R"( WHERE "id" = $1 AND NOT (TRUE))");
}

TEST_CASE("criteria are values: a copy goes its own way", "[criteria]") {
    Criteria<Ticket> criteria = field<&Ticket::id> == 1;
    const Criteria<Ticket> before = criteria;
    criteria &= criteria;
    CHECK(asked(before).sql == R"( WHERE "id" = $1)");
    CHECK(asked(criteria).sql == R"( WHERE "id" = $1 AND "id" = $2)");
}

TEST_CASE("an assignment keeps its value, NULL where it has none", "[criteria]") {
    const auto value_of = [](const auto& assignment) {
        Statement statement{""};
        assignment.bind(statement);
        return parameters_of(statement).at(0);
    };
    CHECK(value_of(field<&Ticket::title> = "x"sv) == "x");
    CHECK(value_of(field<&Ticket::note> = "x") == "x");
    CHECK(value_of(field<&Ticket::note> = std::nullopt) == std::nullopt);
    CHECK(value_of(field<&Ticket::parent> = std::optional<int>{}) == std::nullopt);
    CHECK(value_of(field<&Ticket::parent> = std::optional<int>{3}) == "3");
    CHECK(value_of(field<&Ticket::cost> = 2) == "2");
}

// What must not compile, asked through the same concepts that the calls ask; what is said then is a
// test of its own (compile_errors).

template <auto Member, typename Value>
concept Assignable = txscope::detail::AssignableTo<Value, txscope::detail::member_type<Member>>;
template <auto Member, typename Value>
concept EqualityComparable = Assignable<Member, Value>;
template <auto Member, typename Value>
concept OrderComparable = txscope::detail::OperandFor<Value, Member>;
template <auto Member, typename Pattern>
concept Likeable = txscope::detail::PatternFor<Pattern, txscope::detail::member_type<Member>>;
template <auto Member, typename... Values>
concept Listable = sizeof...(Values) > 0 && ((txscope::detail::OperandFor<Values, Member> && ...) ||
                                             (txscope::detail::OperandsFor<Values, Member> && ...));

static_assert(Assignable<&Ticket::title, std::string_view>);
static_assert(!Assignable<&Ticket::title, int>, "a number is no text");
static_assert(!Assignable<&Ticket::title, std::nullptr_t>);
static_assert(!Assignable<&Ticket::title, std::nullopt_t>, "title may not be NULL");
static_assert(!Assignable<&Ticket::title, std::optional<std::string>>, "title may not be NULL");
static_assert(!Assignable<&Ticket::note, std::optional<int>>);
static_assert(!Assignable<&Ticket::id, std::string>, "a text is no number");
static_assert(!Assignable<&Ticket::id, double>, "a fraction would be cut off");
static_assert(!Assignable<&Ticket::id, bool>);
static_assert(!Assignable<&Ticket::id, char>, "a character is no number");
static_assert(Assignable<&Ticket::changed, std::chrono::sys_time<std::chrono::nanoseconds>>);
static_assert(!Assignable<&Ticket::paid, std::chrono::sys_time<std::chrono::nanoseconds>>,
              "PostgreSQL would keep the fraction");
static_assert(!Assignable<&Ticket::closed, std::chrono::sys_seconds>, "a time is no day");
static_assert(!Assignable<&Ticket::changed, std::chrono::local_time<std::chrono::nanoseconds>>);
static_assert(!Assignable<&Ticket::open, int>, "only a bool is a bool");
static_assert(!Assignable<&Ticket::open, const char*>);
static_assert(!EqualityComparable<&Ticket::title, int>);
static_assert(!EqualityComparable<&Ticket::title, std::nullopt_t>);
static_assert(!EqualityComparable<&Ticket::title, std::optional<std::string>>);
static_assert(EqualityComparable<&Ticket::note, std::optional<std::string>>);
static_assert(!OrderComparable<&Ticket::parent, std::optional<int>>,
              "NULL is neither more nor less");
static_assert(!OrderComparable<&Ticket::parent, std::nullopt_t>);
static_assert(OrderComparable<&Ticket::parent, int>);
static_assert(!Likeable<&Ticket::id, int>, "patterns are for text");
static_assert(Likeable<&Ticket::note, std::string>);
template <auto Left, auto Right>
concept Comparable = txscope::detail::may_stand_for<txscope::detail::column_type<Left>,
                                                    txscope::detail::column_type<Right>>();
static_assert(Comparable<&Ticket::id, &Ticket::parent>);
static_assert(!Comparable<&Ticket::id, &Ticket::title>, "a text is no number");
static_assert(!Comparable<&Ticket::open, &Ticket::id>, "only a bool is a bool");
static_assert(!Listable<&Ticket::id>, "no values at all are an empty range");
static_assert(!Listable<&Ticket::id, std::vector<std::string>>);
static_assert(!Listable<&Ticket::id, int, std::string>);
static_assert(!Listable<&Ticket::parent, std::vector<std::optional<int>>>, "NULL equals nothing");

template <typename T>
using Set = decltype(field<&Ticket::title> = std::declval<T>());
using SetTitle = Set<std::string>;
using SetId = decltype(field<&Ticket::id> = 1);
using IdIs = decltype(field<&Ticket::id> == 1);
using ForeignIs = decltype(field<&Person::id> == 1);

using namespace txscope::detail;
static_assert(AssignmentsOf<Ticket, SetTitle, SetId>);
static_assert(!AssignmentsOf<Ticket>, "nothing to write");
static_assert(!AssignmentsOf<Ticket, SetTitle, Set<const char*>>, "a column twice");
static_assert(!AssignmentsOf<Ticket, decltype(field<&Person::title> = "x")>, "another model's");
static_assert(!AssignmentsOf<Ticket, decltype(field<&Ticket::undescribed> = 1)>, "no column");
static_assert(!AssignmentsOf<Ticket, IdIs>, "a comparison writes nothing");
static_assert(!ConditionsOf<Ticket, SetTitle>, "= is not ==");
static_assert(!ConditionsOf<Ticket>);
static_assert(!ConditionsOf<Ticket, ForeignIs>);
static_assert(!ConditionsOf<Ticket, decltype(std::declval<IdIs>() && std::declval<ForeignIs>())>);
static_assert(!ConditionsOf<Ticket, decltype(!std::declval<ForeignIs>())>);
static_assert(!ConditionsOf<Ticket, Criteria<Person>>);
static_assert(!ClausesOf<Ticket, Page, Page>, "two pages");
static_assert(!ClausesOf<Ticket, int>, "a key selects one row: find, get");
static_assert(!ClausesOf<Ticket, decltype(ascending(field<&Person::id>))>);
static_assert(KeyOf<Ticket, int> && !KeyOf<Ticket> && !KeyOf<Ticket, int, IdIs>);
static_assert(!KeyOf<Ticket, Ticket> && !KeyOf<Ticket, Page>);
static_assert(KeyAndAssignmentsOf<Ticket, int, SetTitle>);
static_assert(!KeyAndAssignmentsOf<Ticket, int>, "nothing to change");
static_assert(!KeyAndAssignmentsOf<Ticket, SetTitle>, "no row to change");
static_assert(!KeyAndAssignmentsOf<Ticket, int, IdIs, SetTitle>);
static_assert(!KeyAndAssignmentsOf<Ticket, int, SetTitle, int>,
              "a value that nothing is done with");
static_assert(!KeyAndAssignmentsOf<Ticket, SetTitle, int>, "the key comes first");
static_assert(ConditionsAndAssignmentsOf<Ticket, IdIs, SetTitle>);
static_assert(!ConditionsAndAssignmentsOf<Ticket, IdIs>);

static_assert(std::is_empty_v<txscope::Field<&Ticket::id>>);

}  // namespace
