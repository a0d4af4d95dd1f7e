#include "support/catch.hpp"
#include <txscope/pool/detail/opening_pace.hpp>

#include <chrono>

using txscope::detail::Clock;
using txscope::detail::OpeningPace;
using namespace std::chrono_literals;

namespace {

const Clock::time_point begin{1h};

}  // namespace

TEST_CASE("a few may be opened at a time", "[opening_pace]") {
    const OpeningPace pace;
    CHECK(pace.allows(0, 1));
    CHECK_FALSE(pace.allows(1, 1));
    CHECK(pace.allows(1, 2));
    CHECK(pace.resumes_at() == Clock::time_point::max());
}

TEST_CASE("after a failure there is a pause, and then one at a time until one succeeds",
          "[opening_pace]") {
    OpeningPace pace;
    pace.failed(begin, 1);
    CHECK_FALSE(pace.allows(0, 4));
    pace.time_passed(begin + 99ms);
    CHECK_FALSE(pace.allows(0, 4));
    pace.time_passed(begin + 100ms);
    CHECK(pace.resumes_at() == Clock::time_point::max());
    CHECK(pace.allows(0, 4));
    CHECK_FALSE(pace.allows(1, 4));
    pace.succeeded();
    CHECK(pace.allows(3, 4));
}

TEST_CASE(
    "the pause is twice as long after each failure in a row, up to a second, and never less "
    "than half of that",
    "[opening_pace]") {
    for (const double chance : {0.0, 0.5, 1.0}) {
        OpeningPace pace;
        auto now = begin;
        for (const auto pause : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms, 1000ms}) {
            pace.failed(now, chance);
            pace.failed(now + 1ms, chance);  // for the same reason
            CHECK(pace.resumes_at() ==
                  now + std::chrono::duration_cast<Clock::duration>(pause * (1 + chance) / 2));
            now = pace.resumes_at();
            pace.time_passed(now);
        }
        pace.succeeded();
        pace.failed(now, 1);
        CHECK(pace.resumes_at() == now + 100ms);
    }
}
