#pragma once

#include <cstddef>
#include <cstdint>

namespace txscope {

/// What a pool holds at the moment, and what it has done since it was made.
struct PoolStatistics {
    std::size_t size = 0;     ///< Connections open, being opened or being cleaned up.
    std::size_t idle = 0;     ///< Of these, ready to be lent.
    std::size_t waiting = 0;  ///< Coroutines that wait for a connection, but for whom none is being
                              ///< opened.

    std::uint64_t opened = 0;           ///< Connections opened.
    std::uint64_t failed_openings = 0;  ///< Attempts to open one that have failed.
    std::uint64_t discarded = 0;        ///< Connections closed because they were lost or unfit.
    std::uint64_t retired = 0;          ///< Those closed for their age, while idle for long, as too
                                        ///< many, to be replaced, or with one that did not answer
                                        ///< a ping.
    std::uint64_t acquired = 0;         ///< Loans.
    std::uint64_t round_trips = 0;      ///< Batches sent and awaited, of the loans that have ended.
};

}  // namespace txscope
