#pragma once

#include <txscope/pool/detail/intrusive_list.hpp>

#include <cstdint>

namespace txscope::detail {

class Holder;

/// A connection as a `PoolMachine` knows it.
struct ConnectionNode : ListHook {
    enum class State : std::uint8_t {
        idle,
        lent,
        cleaning,
        dismissed  ///< To be closed; also one that the machine was not told of yet.
    };
    Holder* holder = nullptr;  ///< Null also for loans that nobody accounts for.
    State state = State::dismissed;
};

}  // namespace txscope::detail
