#include "support/catch.hpp"
#include <txscope/core/interval.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <string>
#include <string_view>

using txscope::Interval;
using txscope::SqlValue;
using txscope::ValueError;

namespace {

Interval read(std::string_view text) { return SqlValue<Interval>::from_text(text); }
std::string text_of(const Interval& interval) { return SqlValue<Interval>::to_text(interval); }

template <typename Duration>
Duration read_duration(std::string_view text) {
    return SqlValue<Duration>::from_text(text);
}

}  // namespace

TEST_CASE("an interval is written part by part, each with its sign", "[interval]") {
    CHECK(text_of({}) == "+0 mons +0 days +0 hours +0.000000 secs");
    CHECK(text_of({.months = -14, .days = 3, .microseconds = -1}) ==
          "-14 mons +3 days +0 hours -0.000001 secs");
    CHECK(text_of({.microseconds = 3'661'000'020}) == "+0 mons +0 days +1 hours +61.000020 secs");
    CHECK(text_of({.microseconds = std::numeric_limits<std::int64_t>::min()}) ==
          "+0 mons +0 days -2562047788 hours -54.775808 secs");
}

TEST_CASE("an interval is read as PostgreSQL writes it", "[interval]") {
    CHECK(read("00:00:00") == Interval{});
    CHECK(read("1 mon") == Interval{.months = 1});
    CHECK(read("1 year 2 mons -3 days +04:05:06.789") ==
          Interval{.months = 14, .days = -3, .microseconds = 14'706'789'000});
    CHECK(read("-1 years -2 mons +3 days -00:00:00.000001") ==
          Interval{.months = -14, .days = 3, .microseconds = -1});
    CHECK(read("-1 days") == Interval{.days = -1});
    CHECK(read("-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808") ==
          Interval::minus_infinity());
    CHECK(read("2562047788:00:54.775807").microseconds == Interval::infinity().microseconds);
}

TEST_CASE("a text that is no interval, or has no room in one, is refused", "[interval]") {
    for (const char* text : {"",
                             "1",
                             "1 ",
                             "1 day ",
                             " 1 day",
                             "day",
                             "P1D",
                             "1 week",
                             "1 day 2",
                             "00:00",
                             "1:2:3",
                             "00:00:00.",
                             "00:00:00.1234567",
                             "00:00:00 1 day",
                             "@ 1 day",
                             "2147483648 days",
                             "178956970 years 8 mons",
                             "2562047788:00:54.775808",
                             "-2562047788:00:54.775809",
                             "9999999999:00:00"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(read(text), ValueError);
    }
}

TEST_CASE("an infinite interval is its outermost parts", "[interval]") {
    CHECK(text_of(Interval::infinity()) == "infinity");
    CHECK(text_of(Interval::minus_infinity()) == "-infinity");
    CHECK(read("infinity") == Interval::infinity());
    CHECK(read("-infinity") == Interval::minus_infinity());
}

TEST_CASE("a duration is an interval of fixed length", "[interval]") {
    using namespace std::chrono;
    const auto text_of = []<typename D>(D duration) { return SqlValue<D>::to_text(duration); };
    CHECK(text_of(90min) == "+0 mons +0 days +1 hours +1800.000000 secs");
    CHECK(text_of(-1ms) == "+0 mons +0 days +0 hours -0.001000 secs");
    CHECK(text_of(days{1}) == "+0 mons +0 days +24 hours +0.000000 secs");
    CHECK(text_of(1999ns) == "+0 mons +0 days +0 hours +0.000001 secs");
    CHECK(read_duration<milliseconds>("-1 days +00:00:00.0015") == milliseconds{-86'399'999} + 0ms);
    CHECK(read_duration<hours>("2 days 01:59:59") == 49h);
}

TEST_CASE("a duration that has no room, or none of fixed length, is refused", "[interval]") {
    using namespace std::chrono;
    CHECK_THROWS_AS(SqlValue<hours>::to_text(hours::max()), ValueError);
    CHECK_THROWS_AS(SqlValue<seconds>::to_text(seconds::min()), ValueError);
    CHECK_THROWS_AS(read_duration<nanoseconds>("2562048:00:00"), ValueError);
    CHECK_THROWS_AS((read_duration<duration<std::int8_t>>("00:02:08")), ValueError);
    for (const char* text : {"2147483647 days", "1 day 2562047788:00:00", "infinity", "-infinity"})
        CHECK_THROWS_AS(read_duration<microseconds>(text), ValueError);
    CHECK_THROWS_WITH(read_duration<seconds>("1 mon"),
                      "a month has no fixed length; ask for a txscope::Interval");
}
