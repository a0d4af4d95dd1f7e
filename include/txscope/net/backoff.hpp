#pragma once

#include <txscope/core/config.hpp>

#include <chrono>

namespace txscope::detail {

/// The pause after the `attempt`th attempt (counted from 1) has failed: a random time between 0 and
/// min(`longest`, `initial` · 2ⁿ⁻¹) ("full jitter"), so that those who have collided do not collide
/// again. It ends at a time that the clock can tell, however long it may be.
std::chrono::microseconds backoff(std::chrono::milliseconds initial,
                                  std::chrono::milliseconds longest, int attempt);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/random.hpp>

#include <algorithm>

namespace txscope::detail {

TXSCOPE_INLINE std::chrono::microseconds backoff(std::chrono::milliseconds initial,
                                                 std::chrono::milliseconds longest, int attempt) {
    using std::chrono::milliseconds;
    constexpr auto limit =
        std::chrono::floor<milliseconds>(std::chrono::steady_clock::duration::max() / 2);
    const auto most = std::clamp(longest, milliseconds{0}, limit);
    auto bound = std::clamp(initial, milliseconds{0}, most);
    for (int doubled = 1; doubled < attempt && bound < most; ++doubled)
        bound = std::min(2 * bound, most);
    const std::chrono::microseconds range{bound};
    return std::chrono::microseconds{random_up_to(range.count())};
}

}  // namespace txscope::detail

#endif
