#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/pool/detail/connection_node.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/detail/loan_time.hpp>
#include <txscope/pool/detail/machine_limits.hpp>
#include <txscope/pool/detail/opening_pace.hpp>
#include <txscope/pool/detail/pool_action.hpp>
#include <txscope/pool/detail/waiter.hpp>
#include <txscope/pool/holder.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace txscope::detail {

/// Decides who gets which connection of a pool, and when one is opened or closed. It waits for
/// nothing, and knows no mutex, no clock and no socket: what time it is it is told.
///
/// Each event is told by a call, after which its consequences are fetched: `next_action` until there
/// is none, before the next event. When nothing else happens, `time_passed` is due at `wake_at`.
///
/// - Waiters are served in the order of asking, whether a connection comes back or is opened. One is
///   being opened for each waiter, as far as there is room, a few at a time; when it is there, the
///   first who waits gets it.
/// - After an opening that has failed there is a pause, the longer the more have failed in a row, and
///   then one attempt at a time. What may pass fails nobody: who waits goes on waiting. What stays
///   fails all who wait, unless a connection is out that can come back.
/// - One that has expired, or is to be replaced like all, is closed when nobody has it; so is one that
///   has been idle for long, unless it is to be kept.
/// - One that has been idle for a while is lent only after its server has answered a ping, unless its
///   socket would tell. If it does not answer, those that have been idle longer are closed with it.
/// - One whose server has another role than was wanted is replaced, and all others with it, as nobody
///   knows whose server theirs is: at most once a second, for the new ones may be no better.
/// - Who would wait for longer than the queue may take, going by those ahead and by how long
///   loans last, is refused at once.
/// - When each of all connections is held by somebody within whom another one is waited for, the
///   newest such waiter fails: nobody would be served again.
class PoolMachine {
public:
    using Retirement = PoolEvent::Retirement;
    using Limits = MachineLimits;
    using Action = PoolAction;
    /// How a connection comes back.
    enum class Condition : std::uint8_t {
        clean,
        dirty,       ///< Not as it was lent: something runs, or was changed.
        wrong_role,  ///< Of its server, which does not write, say.
        refused,     ///< Who has looked at it does not want it lent again.
        broken
    };
    /// Why an opening has failed.
    enum class Reason : std::uint8_t {
        transient,  ///< The next one may not.
        lasting
    };

    explicit PoolMachine(const Limits& limits) noexcept : limits_{limits} {}
    PoolMachine(const PoolMachine&) = delete;

    // Events.
    /// What `asked` comes down to, without a waiter, when one is idle that can be lent; else null.
    ConnectionNode* lend_idle(Holder* holder, Clock::time_point now) noexcept;
    void asked(Waiter& waiter, Clock::time_point now) noexcept;
    /// It takes what it was granted.
    ConnectionNode& taken(Waiter& waiter) noexcept {
        waiter.state_ = Waiter::State::outside;
        return *waiter.connection_;
    }
    /// A loan that is about to be returned has lasted this long: so will others.
    void loan_ended(Clock::duration lasted) noexcept { loan_time_.ended(lasted); }
    /// It was cancelled, or its time is over: what it was granted meanwhile comes back.
    void withdrawn(Waiter& waiter) noexcept;
    void returned(ConnectionNode& connection, Condition condition) noexcept;
    void cleaned(ConnectionNode& connection, Condition condition) noexcept {
        --cleaning_;
        settle(connection, condition, Retirement::not_cleaned);
    }
    void pinged(ConnectionNode& connection, Condition condition) noexcept;
    /// One that is idle turned out to be broken.
    void lost(ConnectionNode& idle) noexcept {
        idle_.remove(idle);
        dismiss(idle, Retirement::lost);
        serve();
    }
    void opened(ConnectionNode& connection) noexcept {
        --openings_;
        pace_.succeeded();
        settle(connection, Condition::clean);
    }
    /// @param chance from 0 to 1, for the pause: see `OpeningPace`
    void opening_failed(Reason reason, Clock::time_point now, double chance) noexcept;
    /// Somebody wants `count` connections: they are opened as far as that may be now. To be told again
    /// when one has been, or `may_open_at` has come.
    void wanted(std::size_t count, Clock::time_point now) noexcept;
    void time_passed(Clock::time_point now) noexcept;
    /// All connections are to be replaced: those on loan and in use otherwise as they come back.
    void recycled() noexcept;
    /// Connections that are too many by now are closed when nobody has them.
    void reconfigured(const Limits& limits) noexcept;
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
        return waiters_.size() - std::min(waiters_.size(), openings_ + pings_);
    }
    /// Those that are being opened.
    std::size_t openings() const noexcept { return openings_; }
    /// The end of the pause after a failed opening; for ever where there is none.
    Clock::time_point may_open_at() const noexcept { return pace_.resumes_at(); }
    /// When `time_passed` has something to do.
    Clock::time_point wake_at() const noexcept;

private:
    template <typename Change>
    void change(Holder& holder, Change change) noexcept {
        if (holder.blocked()) --blocked_;
        change();
        if (holder.blocked()) ++blocked_;
    }
    void lend(ConnectionNode& connection, Holder* holder) noexcept;
    void take_back(ConnectionNode& connection) noexcept;
    void settle(ConnectionNode& connection, Condition condition,
                Retirement where_broken = Retirement::lost) noexcept;
    void dismiss(ConnectionNode& connection, Retirement why) noexcept;
    void vacate() noexcept;
    void leave_queue(Waiter& waiter) noexcept;
    void grant_first(ConnectionNode& connection) noexcept;
    void fail(Waiter& waiter, Waiter::Failure failure) noexcept;
    void refuse(Waiter& waiter, Waiter::Failure failure) noexcept {
        leave_queue(waiter);
        fail(waiter, failure);
    }
    void fail_all(Waiter::Failure failure) noexcept;
    bool may_open() const noexcept;
    void open_one() noexcept;
    std::size_t openings_needed() const noexcept;
    template <typename Predicate>
    void dismiss_idle(Retirement why, Predicate is_over) noexcept;
    void serve() noexcept;
    void break_deadlock() noexcept;
    void fail_newest_within(Waiter::Failure failure) noexcept;
    bool one_can_come_back() const noexcept { return cleaning_ + pings_ + lent_.size() > blocked_; }

    Limits limits_;
    bool closed_ = false;
    std::size_t size_ = 0;  // those in the lists, `cleaning_`, `pings_` and `openings_`
    IntrusiveList<ConnectionNode> idle_{};  // the last one back is the first lent
    IntrusiveList<ConnectionNode> lent_{};
    LoanTime loan_time_{};
    std::size_t cleaning_ = 0;
    std::size_t pings_ = 0;
    std::uint64_t generation_ = 0;
    std::size_t openings_ = 0;
    OpeningPace pace_{};
    IntrusiveList<Waiter> waiters_{};
    std::size_t blocked_ = 0;  // holders that are

    // Consequences that were not fetched yet:
    IntrusiveList<ConnectionNode> handed_out_{};  // to be cleaned, pinged or closed
    IntrusiveList<Waiter> answered_{};
    std::size_t to_open_ = 0;
    bool drained_ = false;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_INLINE ConnectionNode* PoolMachine::lend_idle(Holder* holder,
                                                      Clock::time_point now) noexcept {
    if (idle_.empty() || !waiters_.empty() || !limits_.is_fresh(idle_.back(), now)) return nullptr;
    ConnectionNode& connection = idle_.pop_back();
    lend(connection, holder);
    if (idle_.size() < limits_.idle) serve();
    return &connection;
}

TXSCOPE_INLINE void PoolMachine::asked(Waiter& waiter, Clock::time_point now) noexcept {
    if (closed_) return fail(waiter, Waiter::Failure::closed);
    pace_.time_passed(now);
    const bool is_first = waiters_.empty();
    const auto at_least = limits_.limit_waits()
                              ? loan_time_.wait(waiters_.size(), limits_.connections, lent_, now)
                              : Clock::duration{};
    waiter.begin(is_first ? nullptr : &waiters_.front(), waiters_.size(), limits_.connections, now,
                 at_least);
    waiters_.push_back(waiter);
    for (Holder* outer : waiter.requester_.within) change(*outer, [&] { ++outer->waits_within_; });
    if (is_first && !idle_.empty() && limits_.is_fresh(idle_.back(), now))
        grant_first(idle_.pop_back());
    serve();
    if (waiter.state_ != Waiter::State::waiting) return;
    if (waiting() > limits_.waiters) return refuse(waiter, Waiter::Failure::exhausted);
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(waiter.expected_wait_);
    if (waiting() > 0 && wait > limits_.queue_target) refuse(waiter, Waiter::Failure::overloaded);
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

TXSCOPE_INLINE void PoolMachine::opening_failed(Reason reason, Clock::time_point now,
                                                double chance) noexcept {
    --openings_;
    vacate();
    pace_.failed(now, chance);
    if (reason == Reason::transient) return;
    while (blocked_ > 0 && !one_can_come_back()) fail_newest_within(Waiter::Failure::not_opened);
    if (!one_can_come_back()) fail_all(Waiter::Failure::not_opened);
}

TXSCOPE_INLINE void PoolMachine::pinged(ConnectionNode& connection, Condition condition) noexcept {
    --pings_;
    if (condition == Condition::broken)
        dismiss_idle(Retirement::no_answer, [&](const ConnectionNode& idle) {
            return idle.may_be_half_open && idle.heard <= connection.heard;
        });
    settle(connection, condition, Retirement::no_answer);
}

TXSCOPE_INLINE void PoolMachine::time_passed(Clock::time_point now) noexcept {
    pace_.time_passed(now);
    dismiss_idle(Retirement::lifetime, [&](const auto& idle) { return now >= idle.expires; });
    dismiss_idle(Retirement::idle,
                 [&](const auto& idle) { return now >= limits_.end_of(idle, idle_.size()); });
    serve();
}

TXSCOPE_INLINE void PoolMachine::recycled() noexcept {
    ++generation_;
    dismiss_idle(Retirement::replaced, [](const auto&) { return true; });
    serve();
}

TXSCOPE_INLINE void PoolMachine::reconfigured(const Limits& limits) noexcept {
    limits_ = limits;
    const auto are_too_many = [&](const auto&) { return size_ > limits_.connections; };
    dismiss_idle(Retirement::too_many, are_too_many);
    serve();
}

TXSCOPE_INLINE Clock::time_point PoolMachine::wake_at() const noexcept {
    auto at = Clock::time_point::max();
    if (closed_) return at;
    if (openings_ < openings_needed()) at = may_open() ? Clock::time_point::min() : may_open_at();
    for (const ConnectionNode& idle : idle_) at = std::min(at, limits_.end_of(idle, idle_.size()));
    return at;
}

TXSCOPE_INLINE void PoolMachine::wanted(std::size_t count, Clock::time_point now) noexcept {
    pace_.time_passed(now);
    while (size_ < count && may_open()) open_one();
}

TXSCOPE_INLINE void PoolMachine::closed() noexcept {
    closed_ = true;
    fail_all(Waiter::Failure::closed);
    dismiss_idle(Retirement::closed, [](const auto&) { return true; });
    drained_ = size_ == 0;
}

TXSCOPE_INLINE PoolMachine::Action PoolMachine::next_action() noexcept {
    using Kind = Action::Kind;
    if (!handed_out_.empty()) {
        ConnectionNode& connection = handed_out_.pop_front();
        const auto kind = connection.state == ConnectionNode::State::cleaning  ? Kind::clean
                          : connection.state == ConnectionNode::State::pinging ? Kind::ping
                                                                               : Kind::close;
        return {.kind = kind, .connection = &connection};
    }
    if (!answered_.empty()) return {.kind = Kind::answer, .waiter = &answered_.pop_front()};
    if (to_open_ > 0) {
        --to_open_;
        return {.kind = Kind::open, .generation = generation_};
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
TXSCOPE_INLINE void PoolMachine::settle(ConnectionNode& connection, Condition condition,
                                        Retirement where_broken) noexcept {
    const bool wrong_role = condition == Condition::wrong_role;
    if (wrong_role && connection.generation == generation_ &&
        pace_.may_replace_all(connection.heard))
        recycled();
    auto why = Retirement::none;
    if (size_ > limits_.connections) why = Retirement::too_many;
    if (connection.heard >= connection.expires) why = Retirement::lifetime;
    if (connection.generation != generation_)
        why = wrong_role ? Retirement::wrong_role : Retirement::replaced;
    if (condition == Condition::refused) why = Retirement::refused;
    if (condition == Condition::broken) why = where_broken;
    if (closed_) why = Retirement::closed;
    if (why != Retirement::none) {
        dismiss(connection, why);
        return serve();
    }
    if (!waiters_.empty()) {
        grant_first(connection);
        return serve();
    }
    connection.state = ConnectionNode::State::idle;
    idle_.push_back(connection);
}

template <typename Predicate>
void PoolMachine::dismiss_idle(Retirement why, Predicate is_over) noexcept {
    for (auto next = idle_.begin(); next != idle_.end();) {
        ConnectionNode& idle = *next;
        ++next;
        if (!is_over(idle)) continue;
        idle_.remove(idle);
        dismiss(idle, why);
    }
}

TXSCOPE_INLINE void PoolMachine::dismiss(ConnectionNode& connection, Retirement why) noexcept {
    connection.state = ConnectionNode::State::dismissed;
    connection.retirement = why;
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

TXSCOPE_INLINE void PoolMachine::fail_all(Waiter::Failure failure) noexcept {
    while (!waiters_.empty()) refuse(waiters_.front(), failure);
}

TXSCOPE_INLINE bool PoolMachine::may_open() const noexcept {
    return !closed_ && size_ < limits_.connections && pace_.allows(openings_, limits_.openings);
}

TXSCOPE_INLINE void PoolMachine::open_one() noexcept {
    ++size_;
    ++openings_;
    ++to_open_;
}

TXSCOPE_INLINE std::size_t PoolMachine::openings_needed() const noexcept {
    const auto served = std::min(waiters_.size(), pings_);
    return waiters_.size() - served + limits_.idle - std::min(limits_.idle, idle_.size());
}

/// Pings and opens what those who wait need, as far as that may be. What is idle while somebody waits is
/// not fresh.
TXSCOPE_INLINE void PoolMachine::serve() noexcept {
    for (; pings_ < waiters_.size() && !idle_.empty(); ++pings_) {
        ConnectionNode& connection = idle_.pop_back();
        connection.state = ConnectionNode::State::pinging;
        handed_out_.push_back(connection);
    }
    while (openings_ < openings_needed() && may_open()) open_one();
    break_deadlock();
}

TXSCOPE_INLINE void PoolMachine::break_deadlock() noexcept {
    while (blocked_ > 0 && blocked_ == size_ && size_ >= limits_.connections)
        fail_newest_within(Waiter::Failure::deadlock);
}

/// Of those whose waits keep somebody from giving a connection back.
TXSCOPE_INLINE void PoolMachine::fail_newest_within(Waiter::Failure failure) noexcept {
    Waiter* newest = nullptr;
    for (Waiter& waiter : waiters_)
        for (const Holder* const outer : waiter.requester_.within)
            if (outer->holds_) newest = &waiter;
    refuse(*newest, failure);
}

}  // namespace txscope::detail

#endif
