#pragma once

#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/holder.hpp>

#include <cstdint>
#include <utility>

namespace txscope::detail {

struct ConnectionNode;

/// One request for a connection, from when it is asked until it is answered.
class Waiter : public ListHook {
public:
    enum class State : std::uint8_t {
        outside,  ///< It has not asked yet, or has taken or lost interest in what it got.
        waiting,
        granted,
        failed
    };
    /// Why it failed.
    enum class Failure : std::uint8_t {
        closed,     ///< The pool lends no more.
        exhausted,  ///< Too many were waiting already.
        deadlock,   ///< Every connection was held by those within whom somebody waited.
        not_opened  ///< None can be opened, for a reason that stays, and no other one was to come back.
    };

    explicit Waiter(Requester requester) : requester_{std::move(requester)} {}

    State state() const noexcept { return state_; }
    Failure failure() const noexcept { return failure_; }
    const Requester& requester() const noexcept { return requester_; }
    /// What it is granted.
    ConnectionNode& connection() const noexcept { return *connection_; }

private:
    friend PoolMachine;

    const Requester requester_;
    State state_ = State::outside;
    Failure failure_{};
    ConnectionNode* connection_ = nullptr;
};

}  // namespace txscope::detail
