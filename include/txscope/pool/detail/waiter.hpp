#pragma once

#include <txscope/pool/detail/holder.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>

#include <cstdint>
#include <utility>
#include <vector>

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
        not_opened  ///< No connection could be opened, and no other one was to come back.
    };

    /// @param asking who is going to hold the connection; null for somebody nobody accounts for
    /// @param within whom else `asking` keeps from giving a connection back; they outlive the wait
    explicit Waiter(Holder* asking = nullptr, std::vector<Holder*> within = {})
        : holder_{asking}, within_{std::move(within)} {}

    State state() const noexcept { return state_; }
    Failure failure() const noexcept { return failure_; }
    const Holder* holder() const noexcept { return holder_; }

private:
    friend PoolMachine;

    Holder* const holder_;
    const std::vector<Holder*> within_;
    State state_ = State::outside;
    Failure failure_{};
    ConnectionNode* connection_ = nullptr;
};

}  // namespace txscope::detail
