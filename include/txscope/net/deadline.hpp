#pragma once

#include <txscope/core/config.hpp>

#include <chrono>

namespace txscope::detail {

using Clock = std::chrono::steady_clock;

/// The end of a time that begins now, however long it is: "for ever" is a time, too.
Clock::time_point deadline_in(std::chrono::milliseconds time, Clock::time_point now = Clock::now());
/// The same of an option that says 0 for no limit.
Clock::time_point deadline_of(std::chrono::milliseconds limit);

bool is_over(Clock::time_point deadline);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE Clock::time_point deadline_in(std::chrono::milliseconds time,
                                             Clock::time_point now) {
    const auto longest =
        std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - now);
    return time < longest ? now + time : Clock::time_point::max();
}

TXSCOPE_INLINE Clock::time_point deadline_of(std::chrono::milliseconds limit) {
    return limit.count() > 0 ? deadline_in(limit) : Clock::time_point::max();
}

TXSCOPE_INLINE bool is_over(Clock::time_point deadline) {
    return deadline != Clock::time_point::max() && Clock::now() >= deadline;
}

}  // namespace txscope::detail

#endif
