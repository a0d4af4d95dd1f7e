#pragma once

#include "support/run.hpp"

#include <chrono>
#include <concepts>

namespace support {

/// For a test whose time limit is to strike at a certain point, and not before: how long it takes to
/// get there is the machine's affair. `test(limit)` returns whether it was there in time, before it
/// checks anything else; where it was not, it is repeated with a longer limit.
///
///     with_time_enough([](std::chrono::milliseconds limit) {
///         ScopeFixture fixture{{.max_size = 1, .acquire_timeout = limit}};
///         if (!fixture.warmed_up()) return false;
///         ...
///         return true;
///     });
template <std::predicate<std::chrono::milliseconds> Test>
void with_time_enough(Test test) {
    for (std::chrono::milliseconds limit{250}; !test(limit); limit *= 2)
        if (limit > patience) throw NotFinished{"no time limit is long enough for this test"};
}

}  // namespace support
