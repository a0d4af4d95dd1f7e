#pragma once

#include <txscope/net/deadline.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace txscope::detail {

/// How fast a pool opens connections: a few at a time, but while a server refuses one after another,
/// each after a pause that grows with the failures in a row. And how fast it replaces them all.
class OpeningPace {
public:
    /// Whether one more may be begun beside those that are `under_way`.
    bool allows(std::size_t under_way, std::size_t most) const noexcept {
        return !pausing_ && under_way < (failures_ > 0 ? 1 : most);
    }
    /// The end of the pause; for ever where there is none.
    Clock::time_point resumes_at() const noexcept {
        return pausing_ ? resumes_at_ : Clock::time_point::max();
    }

    void succeeded() noexcept {
        failures_ = 0;
        pausing_ = false;
    }
    /// @param chance from 0 to 1: how much of the pause is waited, beyond its half
    void failed(Clock::time_point now, double chance) noexcept {
        if (pausing_) return;  // what was under way beside another one fails for the same reason
        constexpr std::chrono::milliseconds first{100};
        constexpr std::chrono::milliseconds longest{1000};
        const auto pause = std::min(first * (1 << std::min(failures_++, 4u)), longest);
        resumes_at_ = now + std::chrono::duration_cast<Clock::duration>(pause * (1 + chance) / 2);
        pausing_ = true;
    }
    void time_passed(Clock::time_point now) noexcept { pausing_ = pausing_ && now < resumes_at_; }

    /// Whether all may be replaced because of a server's role. If so, they are; and again a second
    /// later at the earliest.
    bool may_replace_all(Clock::time_point now) noexcept {
        if (now < replaceable_at_) return false;
        replaceable_at_ = now + std::chrono::seconds{1};
        return true;
    }

private:
    unsigned failures_ = 0;  // in a row
    bool pausing_ = false;
    Clock::time_point resumes_at_{};
    Clock::time_point replaceable_at_ = Clock::time_point::min();
};

}  // namespace txscope::detail
