#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/pool/detail/connection_node.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>

#include <algorithm>
#include <cstddef>

namespace txscope::detail {

/// How long a pool's loans last on average, and so when those end that are under way.
///
/// Not how often one ends: many that end at one moment say nothing of when the next ones do.
class LoanTime {
public:
    void ended(Clock::duration lasted) noexcept {
        average_ += known_ ? (lasted - average_) / 8 : lasted;
        known_ = true;
    }

    /// How long somebody behind `ahead` others waits for one of `connections`, of which these are
    /// `lent`, the longest lent first, and the others there soon; nothing before a loan has ended.
    Clock::duration wait(std::size_t ahead, std::size_t connections,
                         const IntrusiveList<ConnectionNode>& lent,
                         Clock::time_point now) const noexcept {
        const std::size_t soon = connections - std::min(connections, lent.size());
        std::size_t before = ahead % connections;  // of the connections, that come back sooner
        const Clock::duration rounds = average_ * static_cast<Clock::rep>(ahead / connections);
        if (before < soon) return rounds;
        auto next = lent.begin();
        for (before -= soon; before > 0; --before) ++next;
        const ConnectionNode& loan = *next;
        return rounds + std::max(loan.lent_at + average_ - now, Clock::duration{});
    }

private:
    Clock::duration average_{};  // the last eight or so decide
    bool known_ = false;
};

}  // namespace txscope::detail
