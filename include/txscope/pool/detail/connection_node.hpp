#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/pool_observer.hpp>

#include <cstdint>

namespace txscope::detail {

class Holder;

/// A connection as a `PoolMachine` knows it.
struct ConnectionNode : ListHook {
    enum class State : std::uint8_t {
        idle,
        lent,
        cleaning,
        pinging,
        dismissed  ///< To be closed; also one that the machine was not told of yet.
    };
    Holder* holder = nullptr;  ///< Null also for loans that nobody accounts for.
    State state = State::dismissed;
    PoolEvent::Retirement retirement{};  ///< Why it was dismissed.
    // What the machine is told along with it:
    std::uint64_t generation = 0;   ///< That of the action to open it.
    Clock::time_point lent_at{};    ///< When, if it is on loan.
    bool may_be_half_open = false;  ///< Whether its socket may not tell that the server is gone.
    Clock::time_point heard{};      ///< When its server has said something.
    Clock::time_point expires = Clock::time_point::max();
};

}  // namespace txscope::detail
