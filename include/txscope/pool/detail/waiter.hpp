#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/holder.hpp>

#include <algorithm>
#include <cstddef>
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
        closed,      ///< The pool lends no more.
        exhausted,   ///< Too many were waiting already.
        overloaded,  ///< Those who were would have taken too long.
        deadlock,    ///< Every connection was held by those within whom somebody waited.
        not_opened  ///< None can be opened, for a reason that stays, and no other one was to come back.
    };

    explicit Waiter(Requester requester) : requester_{std::move(requester)} {}

    State state() const noexcept { return state_; }
    Failure failure() const noexcept { return failure_; }
    const Requester& requester() const noexcept { return requester_; }
    /// What it is granted.
    ConnectionNode& connection() const noexcept { return *connection_; }
    /// How long it could expect to wait when it asked.
    Clock::duration expected_wait() const noexcept { return expected_wait_; }

private:
    friend PoolMachine;

    /// Waits from now on, behind `ahead` others. They will take as long as those did who came before the
    /// first of them: that one has waited while these were served. As many as there may be connections
    /// may come back at any moment, so it may be less, and is not more; but for `at_least`.
    void begin(const Waiter* first, std::size_t ahead, std::size_t connections,
               Clock::time_point now, Clock::duration at_least) noexcept {
        const auto count = [](std::size_t size) { return static_cast<Clock::rep>(size); };
        state_ = State::waiting;
        asked_ = now;
        ahead_ = ahead;
        expected_wait_ = at_least;
        if (first != nullptr)
            expected_wait_ =
                std::max(at_least,
                         (now - first->asked_) / count(first->ahead_ + connections) * count(ahead));
    }

    const Requester requester_;
    ConnectionNode* connection_ = nullptr;
    Clock::time_point asked_{};
    std::size_t ahead_ = 0;  // how many waited then
    Clock::duration expected_wait_{};
    State state_ = State::outside;
    Failure failure_{};
};

}  // namespace txscope::detail
