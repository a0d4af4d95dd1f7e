#pragma once

#include <txscope/core/config.hpp>
#include <txscope/pool/detail/connection_node.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/detail/waiter.hpp>
#include <txscope/pool/holder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace txscope::detail {

/// Decides who gets which connection of a pool, and when one is opened or closed. It waits for
/// nothing, and knows no mutex, no clock and no socket.
///
/// Each event is told by a call, after which its consequences are fetched: `next_action` until there
/// is none, before the next event.
///
/// - Waiters are served in the order of asking, whether a connection comes back or is opened. One is
///   being opened for each waiter, as far as there is room; when it is there, the first who waits
///   gets it.
/// - An opening that fails fails the first waiter, unless it was begun before that one asked, or a
///   connection is out that can come back: then the waiter goes on waiting, and another attempt is
///   made.
/// - When each of all connections is held by somebody within whom another one is waited for, the
///   newest such waiter fails: nobody would be served again.
class PoolMachine {
public:
    struct Limits {
        std::size_t connections;
        std::size_t waiters;  ///< Those for whom a connection is being opened not counted.
    };
    struct Action {
        enum class Kind : std::uint8_t {
            none,
            answer,  ///< Tell `waiter` that it is granted or failed.
            open,    ///< Open a connection: `opened`, `opening_failed` or `not_opening` follows.
            clean,   ///< Bring `connection` back to where it can be lent: `cleaned` follows.
            close,   ///< Close `connection`, of which the machine knows nothing any more.
            drained  ///< The pool was closed, and all connections are back.
        };
        Kind kind = Kind::none;
        Waiter* waiter = nullptr;
        ConnectionNode* connection = nullptr;
        /// Of an opening: to be told when it ends.
        std::uint64_t number = 0;
        /// Openings that have failed in a row and failed nobody: wait the longer before this one.
        unsigned failed_attempts = 0;
    };
    /// How a connection comes back.
    enum class Condition : std::uint8_t {
        clean,
        dirty,  ///< Not as it was lent: something runs, or was changed.
        broken
    };

    explicit PoolMachine(const Limits& limits) noexcept : limits_{limits} {}
    PoolMachine(const PoolMachine&) = delete;

    // Events.

    /// What `asked` comes down to when a connection is idle, without a waiter; null when none is.
    ConnectionNode* lend_idle(Holder* holder) noexcept;
    void asked(Waiter& waiter) noexcept;
    /// It takes what it was granted.
    ConnectionNode& taken(Waiter& waiter) noexcept {
        waiter.state_ = Waiter::State::outside;
        return *waiter.connection_;
    }
    /// It was cancelled, or its time is over: what it was granted meanwhile comes back.
    void withdrawn(Waiter& waiter) noexcept;
    void returned(ConnectionNode& connection, Condition condition) noexcept;
    void cleaned(ConnectionNode& connection, Condition condition) noexcept {
        --cleaning_;
        settle(connection, condition);
    }
    /// One that is idle turned out to be broken.
    void lost(ConnectionNode& idle) noexcept {
        idle_.remove(idle);
        dismiss(idle);
        serve();
    }
    void opened(ConnectionNode& connection) noexcept {
        --openings_;
        failed_attempts_ = 0;
        settle(connection, Condition::clean);
    }
    void opening_failed(std::uint64_t number) noexcept { end_opening(number, true); }
    /// It could not even be begun: without memory, to try again at once would not end.
    void not_opening() noexcept { end_opening(asked_, false); }
    /// Somebody is about to open one that nobody has asked for, so that there are `count`: true when
    /// there is room. Then `opened` or `opening_given_up` follows.
    bool opening(std::size_t count) noexcept;
    /// One that nobody had asked for is not opened after all. Nobody fails.
    void opening_given_up() noexcept {
        --openings_;
        vacate();
        serve();
    }
    void closed() noexcept;

    // Consequences.

    bool has_actions() const noexcept {
        return !handed_out_.empty() || !answered_.empty() || to_open_ > 0 || drained_;
    }
    Action next_action() noexcept;

    // What there is.

    const Limits& limits() const noexcept { return limits_; }
    bool is_closed() const noexcept { return closed_; }
    /// Connections open, being opened or being cleaned.
    std::size_t size() const noexcept { return size_; }
    const IntrusiveList<ConnectionNode>& idle() const noexcept { return idle_; }
    /// Those on loan, the longest lent first.
    const IntrusiveList<ConnectionNode>& lent() const noexcept { return lent_; }
    bool anybody_waits() const noexcept { return !waiters_.empty(); }
    /// Those who wait, but for whom one is being opened.
    std::size_t waiting() const noexcept {
        return waiters_.size() - std::min(waiters_.size(), openings_);
    }
    /// Those that are being opened.
    std::size_t openings() const noexcept { return openings_; }

private:
    template <typename Change>
    void change(Holder& holder, Change change) noexcept {
        if (holder.blocked()) --blocked_;
        change();
        if (holder.blocked()) ++blocked_;
    }
    void lend(ConnectionNode& connection, Holder* holder) noexcept;
    void take_back(ConnectionNode& connection) noexcept;
    void settle(ConnectionNode& connection, Condition condition) noexcept;
    void dismiss(ConnectionNode& connection) noexcept;
    void vacate() noexcept;
    void leave_queue(Waiter& waiter) noexcept;
    void grant_first(ConnectionNode& connection) noexcept;
    void fail(Waiter& waiter, Waiter::Failure failure) noexcept;
    void end_opening(std::uint64_t number, bool try_again) noexcept;
    void serve() noexcept;
    void break_deadlock() noexcept;
    bool one_can_come_back() const noexcept { return cleaning_ + lent_.size() > blocked_; }

    const Limits limits_;
    bool closed_ = false;
    std::size_t size_ = 0;                  // those in the lists, `cleaning_` and `openings_`
    IntrusiveList<ConnectionNode> idle_{};  // the last one back is the first lent
    IntrusiveList<ConnectionNode> lent_{};
    std::size_t cleaning_ = 0;
    std::size_t openings_ = 0;
    unsigned failed_attempts_ = 0;
    IntrusiveList<Waiter> waiters_{};
    std::uint64_t asked_ = 0;  // how many have asked so far
    std::size_t blocked_ = 0;  // holders that are

    // Consequences that were not fetched yet:
    IntrusiveList<ConnectionNode> handed_out_{};  // to be cleaned or closed
    IntrusiveList<Waiter> answered_{};
    std::size_t to_open_ = 0;
    bool drained_ = false;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE ConnectionNode* PoolMachine::lend_idle(Holder* holder) noexcept {
    if (idle_.empty()) return nullptr;
    ConnectionNode& connection = idle_.pop_back();
    lend(connection, holder);
    return &connection;
}

TXSCOPE_INLINE void PoolMachine::asked(Waiter& waiter) noexcept {
    if (closed_) return fail(waiter, Waiter::Failure::closed);
    waiter.state_ = Waiter::State::waiting;
    waiter.number_ = ++asked_;
    waiters_.push_back(waiter);
    for (Holder* outer : waiter.requester_.within) change(*outer, [&] { ++outer->waits_within_; });
    if (!idle_.empty()) return grant_first(idle_.pop_back());
    serve();
    if (waiter.state_ != Waiter::State::waiting || waiting() <= limits_.waiters) return;
    leave_queue(waiter);
    fail(waiter, Waiter::Failure::exhausted);
}

TXSCOPE_INLINE void PoolMachine::withdrawn(Waiter& waiter) noexcept {
    const auto state = std::exchange(waiter.state_, Waiter::State::outside);
    if (state == Waiter::State::waiting) leave_queue(waiter);
    if (state == Waiter::State::granted) returned(*waiter.connection_, Condition::clean);
}

TXSCOPE_INLINE void PoolMachine::returned(ConnectionNode& connection,
                                          Condition condition) noexcept {
    take_back(connection);
    if (condition != Condition::dirty) return settle(connection, condition);
    connection.state = ConnectionNode::State::cleaning;
    ++cleaning_;
    handed_out_.push_back(connection);
}

TXSCOPE_INLINE bool PoolMachine::opening(std::size_t count) noexcept {
    if (closed_ || size_ >= std::min(count, limits_.connections)) return false;
    ++size_;
    ++openings_;
    return true;
}

TXSCOPE_INLINE void PoolMachine::closed() noexcept {
    closed_ = true;
    while (!waiters_.empty()) {
        Waiter& first = waiters_.front();
        leave_queue(first);
        fail(first, Waiter::Failure::closed);
    }
    while (!idle_.empty()) dismiss(idle_.pop_back());
    drained_ = size_ == 0;
}

TXSCOPE_INLINE PoolMachine::Action PoolMachine::next_action() noexcept {
    using Kind = Action::Kind;
    if (!handed_out_.empty()) {
        ConnectionNode& connection = handed_out_.pop_front();
        const bool dirty = connection.state == ConnectionNode::State::cleaning;
        return {.kind = dirty ? Kind::clean : Kind::close, .connection = &connection};
    }
    if (!answered_.empty()) return {.kind = Kind::answer, .waiter = &answered_.pop_front()};
    if (to_open_ > 0) {
        --to_open_;
        return {.kind = Kind::open, .number = asked_, .failed_attempts = failed_attempts_};
    }
    if (std::exchange(drained_, false)) return {.kind = Kind::drained};
    return {};
}

TXSCOPE_INLINE void PoolMachine::lend(ConnectionNode& connection, Holder* holder) noexcept {
    connection.state = ConnectionNode::State::lent;
    connection.holder = holder;
    lent_.push_back(connection);
    if (holder != nullptr) change(*holder, [&] { holder->holds_ = true; });
}

TXSCOPE_INLINE void PoolMachine::take_back(ConnectionNode& connection) noexcept {
    lent_.remove(connection);
    Holder* holder = std::exchange(connection.holder, nullptr);
    if (holder != nullptr) change(*holder, [&] { holder->holds_ = false; });
}

/// Puts one that nobody has where it belongs.
TXSCOPE_INLINE void PoolMachine::settle(ConnectionNode& connection, Condition condition) noexcept {
    if (closed_ || condition != Condition::clean) {
        dismiss(connection);
        return serve();
    }
    if (!waiters_.empty()) {
        grant_first(connection);
        return serve();
    }
    connection.state = ConnectionNode::State::idle;
    idle_.push_back(connection);
}

TXSCOPE_INLINE void PoolMachine::dismiss(ConnectionNode& connection) noexcept {
    connection.state = ConnectionNode::State::dismissed;
    handed_out_.push_back(connection);
    vacate();
}

TXSCOPE_INLINE void PoolMachine::vacate() noexcept {
    --size_;
    drained_ = closed_ && size_ == 0;
}

TXSCOPE_INLINE void PoolMachine::leave_queue(Waiter& waiter) noexcept {
    waiters_.remove(waiter);
    for (Holder* outer : waiter.requester_.within) change(*outer, [&] { --outer->waits_within_; });
}

TXSCOPE_INLINE void PoolMachine::grant_first(ConnectionNode& connection) noexcept {
    Waiter& first = waiters_.front();
    leave_queue(first);
    lend(connection, first.requester_.holder);
    first.connection_ = &connection;
    first.state_ = Waiter::State::granted;
    answered_.push_back(first);
}

TXSCOPE_INLINE void PoolMachine::fail(Waiter& waiter, Waiter::Failure failure) noexcept {
    waiter.state_ = Waiter::State::failed;
    waiter.failure_ = failure;
    answered_.push_back(waiter);
}

TXSCOPE_INLINE void PoolMachine::end_opening(std::uint64_t number, bool try_again) noexcept {
    --openings_;
    vacate();
    const bool in_vain = !waiters_.empty() && !one_can_come_back();
    const bool fails_first = in_vain && waiters_.front().number_ <= number;
    if (fails_first) {
        Waiter& first = waiters_.front();
        leave_queue(first);
        fail(first, Waiter::Failure::not_opened);
    }
    failed_attempts_ = in_vain || waiters_.empty() ? 0 : failed_attempts_ + 1;
    if (fails_first || try_again) serve();
}

/// Opens what those who wait need, as far as there is room.
TXSCOPE_INLINE void PoolMachine::serve() noexcept {
    for (; openings_ < waiters_.size() && size_ < limits_.connections; ++to_open_) {
        ++size_;
        ++openings_;
    }
    break_deadlock();
}

TXSCOPE_INLINE void PoolMachine::break_deadlock() noexcept {
    while (blocked_ > 0 && blocked_ == size_) {
        Waiter* newest = nullptr;
        for (Waiter& waiter : waiters_)
            if (std::ranges::any_of(waiter.requester_.within, &Holder::holds_)) newest = &waiter;
        leave_queue(*newest);
        fail(*newest, Waiter::Failure::deadlock);
    }
}

}  // namespace txscope::detail

#endif
