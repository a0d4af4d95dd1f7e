#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace expressions {

namespace asio = boost::asio;
using txscope::ascending;
using txscope::descending;
using txscope::field;
using txscope::json_text;
using txscope::Page;
using txscope::row;
using txscope::sql;

struct Event {
    std::int64_t id{};
    std::string kind{};
    std::string data{};
    std::vector<std::string> tags{};
    std::optional<std::vector<std::int32_t>> scores{};
    int day{};
};
BOOST_DESCRIBE_STRUCT(Event, (), (id, kind, data, tags, scores, day))

class Events : public txscope::BaseRepository<Events, Event> {
public:
    static constexpr std::string_view table = "events";
    static constexpr std::string_view column(std::string_view member) {
        return member == "kind" ? "the \"kind\"; --" : member;
    }
    using BaseRepository::BaseRepository;
};

const std::string schema = R"(
    CREATE TABLE events (id bigint PRIMARY KEY, "the ""kind""; --" text NOT NULL, data jsonb NOT NULL,
                         tags text[] NOT NULL, scores integer[], day integer NOT NULL);
    INSERT INTO events VALUES
        (1, 'Click', '{"x": 1, "at": {"y": [5, 6]}, "name": "a"}', '{new}',      '{1,2}', 1),
        (2, 'click', '{"x": 20, "on": true}',                      '{new,"a b"}', NULL,   1),
        (3, 'key',   '{"x": 3, "name": null}',                     '{}',          '{}',   2),
        (4, 'wheel', '{}',                                         '{old}',       '{3}',  2))";

struct Fixture {
    template <typename... Clauses>
    std::string ids(const Clauses&... clauses) {
        std::string ids;
        for (const Event& event : support::run(io, events.find_all(clauses...)))
            ids += std::to_string(event.id);
        return ids;
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn()};
    Events events{sessions};
};

constexpr auto by_id = ascending(field<&Event::id>);
constexpr auto tags = field<&Event::tags>;
constexpr auto scores = field<&Event::scores>;
constexpr auto data = field<&Event::data>;
constexpr auto kind = field<&Event::kind>;

TEST_CASE("rows are found by what is in an array", "[criteria]") {
    Fixture f;
    CHECK(f.ids(tags.any("new"), by_id) == "12");
    CHECK(f.ids(tags.contains("a b", "new")) == "2");
    CHECK(f.ids(tags.contains(std::vector<std::string>{}), by_id) == "1234");
    CHECK(f.ids(tags.overlaps("old", "a b"), by_id) == "24");
    CHECK(f.ids(scores.any(2) || scores.contains(3), by_id) == "14");
    CHECK(f.ids(!scores.overlaps(1, 3)) == "3");
    CHECK(f.ids(tags.overlaps(std::vector<std::string>{"old", "a b"}), by_id) == "24");
    CHECK(f.ids(tags.overlaps(std::vector<std::string>{})).empty());
    CHECK(f.ids(tags == std::vector<std::string>{"new", "a b"}) == "2");
    using Tags = std::vector<std::string>;
    CHECK(f.ids(tags == Tags{"new"} || tags == Tags{"old"}, by_id) == "14");
    CHECK(f.ids(scores == std::nullopt) == "2");
    CHECK(f.ids(!scores.any(2), by_id) == "34");  // NULL is not known to have none

    const std::string nul{"a\0b", 3};
    CHECK_THROWS_AS(f.ids(tags.any(nul)), txscope::ValueError);
    CHECK_THROWS_AS(f.ids(tags.contains("a", nul)), txscope::ValueError);
    CHECK_THROWS_AS(f.ids(tags.overlaps(std::vector{nul})), txscope::ValueError);
    CHECK_THROWS_AS(f.ids(tags == std::vector{nul}), txscope::ValueError);
}

TEST_CASE("rows are found and sorted by what is in a document", "[criteria]") {
    Fixture f;
    CHECK(f.ids(json_text(data, "name") == "a") == "1");
    CHECK(f.ids(json_text(data, "name") == std::nullopt, by_id) == "234");
    CHECK(f.ids(json_text<int>(data, "x") > 2, by_id) == "23");
    CHECK(f.ids(json_text<std::int64_t>(data, "at", "y", 1) == 6) == "1");
    CHECK(f.ids(json_text<bool>(data, "on") == true) == "2");
    CHECK(f.ids(descending(json_text<double>(data, "x")).nulls_last()) == "2314");
    CHECK(f.ids(descending(json_text<double>(data, "x")), Page{.limit = 2}) == "42");
    CHECK_THROWS_AS(f.ids(json_text<int>(data, "name") == 1), txscope::SqlError);
}

TEST_CASE("a document is of either type, and times and dates are in it, too", "[criteria]") {
    using namespace std::chrono;
    const auto at = sys_seconds{sys_days{2024y / February / 29d} + 12h};
    for (const std::string type : {"json", "jsonb"}) {
        CAPTURE(type);
        Fixture f;
        f.database.query("ALTER TABLE events ALTER data TYPE " + type);
        f.database.query(
            "UPDATE events SET data = '{\"when\": \"2024-02-29T12:00:00Z\", \"day\": "
            "\"2024-02-29\","
            " \"x\": [[1, {\"y\": 2.5}]]}' WHERE id = 3");
        CHECK(f.ids(json_text<sys_seconds>(data, "when") == at) == "3");
        CHECK(f.ids(json_text<year_month_day>(data, "day") >= 2024y / February / 29d) == "3");
        CHECK(f.ids(json_text<sys_days>(data, "day").in(sys_days{2024y / February / 29d})) == "3");
        CHECK(f.ids(json_text<double>(data, "x", 0, 1, "y") == 2.5) == "3");
        CHECK(f.ids(json_text(data, "x", 0, 1) == R"({"y": 2.5})") == "3");
        CHECK(f.ids(json_text<float>(data, "x", 0, 0).between(0.5f, 1.5f)) == "3");
        CHECK(f.ids(json_text(data, "day").starts_with("2024"),
                    json_text(data, "day").like("%29")) == "3");
    }
}

TEST_CASE("an unsigned number in a document has the room of its type", "[criteria]") {
    Fixture f;
    support::run(f.io, f.events.update(1, data = R"({"x": 60000, "y": 4000000000})"));
    CHECK(f.ids(json_text<std::uint16_t>(data, "x") == 60000) == "1");
    CHECK(f.ids(json_text<std::uint32_t>(data, "y") > 3'000'000'000U) == "1");
}

TEST_CASE("rows are found by several columns as a whole", "[criteria]") {
    Fixture f;
    CHECK(f.ids(row(field<&Event::day>, field<&Event::id>) > row(1, 1), by_id) == "234");
    CHECK(f.ids(row(field<&Event::day>, kind) == row(2, "key")) == "3");
    CHECK(f.ids(row(field<&Event::day>, field<&Event::id>) <=
                    row(field<&Event::id>, field<&Event::id>),
                by_id) == "1234");
    const auto place = row(field<&Event::day>, field<&Event::id>);
    CHECK(f.ids(place == row(1, 2), by_id) == "2");
    CHECK(f.ids(place != row(1, 2), by_id) == "134");
    CHECK(f.ids(place < row(2, 3), by_id) == "12");
    CHECK(f.ids(place <= row(2, 3), by_id) == "123");
    CHECK(f.ids(place > row(1, 2), by_id) == "34");
    CHECK(f.ids(place >= row(1, 2), by_id) == "234");
    CHECK(f.ids(!(place >= row(1, 2)) || kind == "wheel", by_id) == "14");
}

TEST_CASE("a value may stand first, and columns are compared by every operator", "[criteria]") {
    Fixture f;
    const auto id = field<&Event::id>;
    const auto day = field<&Event::day>;
    CHECK(f.ids(2 == id) == "2");
    CHECK(f.ids(2 != id, by_id) == "134");
    CHECK(f.ids(2 < id, by_id) == "34");
    CHECK(f.ids(2 <= id, by_id) == "234");
    CHECK(f.ids(2 > id, by_id) == "1");
    CHECK(f.ids(2 >= id, by_id) == "12");
    CHECK(f.ids("key" == kind) == "3");
    CHECK(f.ids(10 + id * 2 == 14) == "2");
    CHECK(f.ids(2 * id == 6) == "3");
    CHECK(f.ids(id == day, by_id) == "1");
    CHECK(f.ids(id != day, by_id) == "234");
    CHECK(f.ids(day < id, by_id) == "234");
    CHECK(f.ids(id <= day, by_id) == "1");
    CHECK(f.ids(id > day, by_id) == "234");
    CHECK(f.ids(day >= id, by_id) == "1");
    CHECK(f.ids(id.is_distinct_from(day), by_id) == "234");
    CHECK(f.ids(id.between(day, day + 1), by_id) == "123");
    CHECK(f.ids(kind.ilike("CL" + txscope::escape_like("ick")), by_id) == "12");
    CHECK(f.ids(kind.like("%\\_%")).empty());
}

TEST_CASE("rows are found and sorted by SQL of the program's own", "[criteria]") {
    Fixture f;
    CHECK(f.ids(sql("lower($) = $", kind, "click"), by_id) == "12");
    CHECK(f.ids(sql("day = $ OR day = $", 1, 7), tags.any("new"), by_id) == "12");
    CHECK(f.ids(sql<std::string>("lower($)", kind).in("key", "wheel"), by_id) == "34");
    CHECK(f.ids(descending(sql<int>("day % $", 2)), by_id) == "1234");
    CHECK(f.ids(ascending(sql<int>("abs($ - $::integer)", field<&Event::id>, 3)), by_id) == "3241");
    CHECK(support::run(f.io, f.events.update(sql("day > $", 1), field<&Event::day> = 9)) == 2);
    CHECK(support::run(f.io, f.events.count(sql("day = $", 9))) == 2);
    CHECK(support::run(f.io, f.events.remove(json_text<int>(data, "x") < 5)) == 2);
}

TEST_CASE("a criterion has copies of the values in its SQL", "[criteria]") {
    Fixture f;
    txscope::Criteria<Event> criteria;
    {
        const std::vector<std::byte> bytes(100, std::byte{'a'});
        criteria &= sql("$::bytea = convert_to(repeat('a', 100), 'UTF8')", std::span{bytes});
    }
    CHECK(f.ids(criteria, by_id) == "1234");
}

TEST_CASE("a null pointer is no text in any condition", "[criteria]") {
    const char* const null = nullptr;
    CHECK_THROWS_AS(sql("$ = $", kind, null), txscope::ValueError);
    CHECK_THROWS_AS(json_text(data, null), txscope::ValueError);
    CHECK_THROWS_AS(json_text(data, "a", null), txscope::ValueError);
    CHECK_THROWS_AS(kind.starts_with(null), txscope::ValueError);
}

TEST_CASE("numbers are calculated with, and columns get what is computed of the row",
          "[criteria]") {
    Fixture f;
    const auto day = field<&Event::day>;
    CHECK(f.ids(day * 2 - field<&Event::id> >= 0, by_id) == "1234");
    CHECK(f.ids(field<&Event::id> - day > 1, descending(field<&Event::id> * -1)) == "4");
    const auto changed =
        support::run(f.io, f.events.update(1, day = day + 41, kind = sql<std::string>("$", kind)));
    REQUIRE(changed);
    CHECK(changed->day == 42);
    CHECK(changed->kind == "Click");

    txscope::Changes<Event> changes;
    changes.set(kind = sql<std::string>("upper($) || $", kind, "!")).set(day = day - 40);
    CHECK(support::run(f.io, f.events.update(field<&Event::id> == 1, changes)) == 1);
    CHECK(f.ids(kind == "CLICK!", day == 2) == "1");
    CHECK_THROWS_AS(support::run(f.io, f.events.update(1, day = day * 2'000'000'000)),
                    txscope::SqlError);
}

TEST_CASE("hostile texts are found by every condition as what they are", "[criteria]") {
    Fixture f;
    for (const std::string hostile : {"'; DROP TABLE events; --", "\"", "\\", "$1", "{\"a\"}",
                                      "{,}", "NULL", "", "\xe2\x98\x83"}) {
        CAPTURE(hostile);
        std::string in_json;
        for (const char c : hostile) (c == '"' || c == '\\' ? in_json += '\\' : in_json) += c;
        const std::string document =
            "{\"" + in_json + "\": {\"" + in_json + "\": 1}, \"v\": \"" + in_json + "\"}";
        support::run(f.io, f.events.remove(field<&Event::id> == 9));
        support::run(f.io, f.events.create(field<&Event::id> = 9, kind = hostile, data = document,
                                           tags = std::vector{hostile}, field<&Event::day> = 1));
        CHECK(f.ids(tags.any(hostile)) == "9");
        CHECK(f.ids(tags.contains(hostile), tags.overlaps(hostile)) == "9");
        CHECK(f.ids(json_text(data, "v") == hostile) == "9");
        CHECK(f.ids(json_text<int>(data, hostile, hostile) == 1) == "9");
        CHECK(f.ids(json_text(data, hostile).is_not_null()) == "9");
        CHECK(f.ids(row(kind, field<&Event::id>) == row(hostile, 9)) == "9");
        CHECK(f.ids(sql("$ = $", kind, hostile)) == "9");
        CHECK(f.ids(kind.starts_with(hostile), kind.like(txscope::escape_like(hostile))) == "9");
        CHECK(f.ids(field<&Event::id> == 9, ascending(json_text(data, hostile)),
                    descending(sql<std::string>("$::text", hostile))) == "9");
    }
    CHECK(f.database.count("events") == 5);
}

}  // namespace expressions
