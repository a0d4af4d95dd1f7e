#include "support/catch.hpp"
#include <txscope/net/backoff.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <set>
#include <vector>

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using txscope::detail::backoff;

namespace {

/// So many that the chance of missing a tenth of the range is nil.
std::vector<microseconds> pauses(milliseconds initial, milliseconds longest, int attempt) {
    std::vector<microseconds> drawn;
    for (int i = 0; i < 2000; ++i) drawn.push_back(backoff(initial, longest, attempt));
    return drawn;
}

}  // namespace

TEST_CASE("a pause is anything from nothing to its bound", "[backoff]") {
    const auto drawn = pauses(10ms, 1s, 1);
    const auto [shortest, longest] = std::minmax_element(drawn.begin(), drawn.end());
    CHECK(*shortest >= 0us);
    CHECK(*shortest < 1ms);
    CHECK(*longest > 9ms);
    CHECK(*longest <= 10ms);
    CHECK(std::set(drawn.begin(), drawn.end()).size() > 1000);
    const auto low =
        std::count_if(drawn.begin(), drawn.end(), [](auto each) { return each < 5ms; });
    CHECK(low > 800);
    CHECK(low < 1200);
}

TEST_CASE("the bound doubles with every attempt, up to the longest", "[backoff]") {
    const std::vector<milliseconds> bounds{10ms, 20ms, 40ms, 80ms, 100ms, 100ms, 100ms};
    for (std::size_t failed = 0; failed < bounds.size(); ++failed) {
        CAPTURE(failed);
        const auto drawn = pauses(10ms, 100ms, static_cast<int>(failed) + 1);
        const auto longest = *std::max_element(drawn.begin(), drawn.end());
        CHECK(longest <= bounds[failed]);
        CHECK(longest > bounds[failed] * 9 / 10);
    }
}

TEST_CASE("the longest bounds the first pause too", "[backoff]") {
    for (const auto pause : pauses(1s, 10ms, 1)) CHECK(pause <= 10ms);
}

TEST_CASE("without a backoff, or with one that makes no sense, there is no pause", "[backoff]") {
    for (const int attempt : {1, 2, 100}) {
        CHECK(backoff(0ms, 1s, attempt) == 0us);
        CHECK(backoff(10ms, 0ms, attempt) == 0us);
        CHECK(backoff(-10ms, 1s, attempt) == 0us);
        CHECK(backoff(10ms, -1s, attempt) == 0us);
    }
}

TEST_CASE("however long a backoff is, its end is a time that the clock can tell", "[backoff]") {
    using Clock = std::chrono::steady_clock;
    for (const auto initial : {1ms, milliseconds{1h}, milliseconds::max()}) {
        for (const int attempt : {1, 2, 40, 63, 64, 65, 1000}) {
            CAPTURE(initial.count(), attempt);
            const auto drawn = pauses(initial, milliseconds::max(), attempt);
            const auto [shortest, longest] = std::minmax_element(drawn.begin(), drawn.end());
            CHECK(*shortest >= 0us);
            CHECK(*longest > 0us);
            CHECK(*longest < Clock::time_point::max() - Clock::now());
        }
    }
}
