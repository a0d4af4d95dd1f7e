#pragma once

#include "support/run.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// What a `FaultProxy` saw since the last `reset_counts`. The start-up of connections is left out.
struct ProxyCounts {
    std::int64_t connections = 0;         ///< Sessions begun; cancel requests are none.
    std::int64_t cancel_requests = 0;     ///< Each came over a connection of its own.
    std::int64_t round_trips = 0;         ///< As `wire::Conversation` defines them.
    std::map<char, std::int64_t> sent;    ///< The clients' messages by type: 'P' Parse, 'B' Bind, …
    std::vector<std::string> statements;  ///< Those asked to run (Query, Bind), in order.

    // These are not reset.
    std::int64_t most_unanswered = 0;  ///< Statements of one connection, at a time.
    std::int64_t open = 0;             ///< Sessions connected now.
    std::int64_t armed = 0;            ///< Faults armed so far.
    std::int64_t struck = 0;           ///< Faults that have struck.
};

/// Counts that one thread keeps and others wait on.
class Tally {
public:
    template <class Change>
    void update(Change change) {
        {
            const std::lock_guard lock{mutex_};
            change(counts_);
        }
        changed_.notify_all();
    }

    ProxyCounts get() const {
        const std::lock_guard lock{mutex_};
        return counts_;
    }

    /// @throws std::runtime_error when `condition(counts)` does not come true.
    template <class Condition>
    void await(const std::string& what, Condition condition,
               std::chrono::milliseconds limit = patience) const {
        std::unique_lock lock{mutex_};
        if (changed_.wait_for(lock, limit, [&] { return condition(counts_); })) return;
        std::string seen = "waited in vain for " + what + "; statements seen:";
        for (const std::string& statement : counts_.statements) seen += "\n  " + statement;
        throw std::runtime_error{seen};
    }

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    ProxyCounts counts_;
};

}  // namespace support
