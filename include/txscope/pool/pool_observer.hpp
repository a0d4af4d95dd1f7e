#pragma once

#include <txscope/postgres/server_name.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string_view>

namespace txscope {

/// What happened in a pool of connections, as an observer is told. Valid during the call only.
struct PoolEvent {
    enum Kind : std::uint8_t {
        opened,          ///< A connection was opened. `duration`: how long that took.
        opening_failed,  ///< None could be, because of `error`. `duration`: likewise.
        retired,         ///< A connection is closed, because of `retirement`.
        waited,    ///< Somebody has waited for a connection, with `outcome`. `duration`: how long.
        returned,  ///< A connection came back. `duration`: how long it was on loan.
    };
    /// Why a connection is closed.
    enum class Retirement : std::uint8_t {
        none,
        lifetime,     ///< It has lived for `PoolOptions::max_lifetime`.
        idle,         ///< It was idle for `idle_timeout`.
        lost,         ///< Its server or the network has ended it, or it could not be gone on with.
        not_cleaned,  ///< It came back in use, and could not be rolled back and reset in time.
        no_answer,    ///< Its server did not answer a ping, or another one's did not.
        wrong_role,   ///< Its server does not write any more, or was promoted.
        replaced,  ///< With all others: `recycle()`, or one of them met a server in another role.
        too_many,  ///< `reconfigure()` has lowered `max_size`.
        refused,   ///< By a hook (`LoanHooks`), or one has failed or left it changed.
        closed,    ///< The pool was closed.
    };
    enum class Wait : std::uint8_t {
        granted,
        timed_out,   ///< `AcquireTimeout`
        exhausted,   ///< `PoolExhausted`
        deadlock,    ///< `PoolDeadlock`
        not_opened,  ///< `ConnectionFailed`
        closed,      ///< `PoolClosed`
        cancelled,  ///< Whoever waited was cancelled, which its own time may have done, or destroyed.
    };
    Kind kind;
    std::chrono::nanoseconds duration{};
    Retirement retirement{};
    Wait outcome{};
    bool is_transient = false;     ///< Whether what kept it from being opened may pass.
    ServerName server{};           ///< Of `opened` and `retired`.
    std::source_location where{};  ///< Of `waited`: for whom; line 0 for nobody who has a place.
    std::exception_ptr error{};
};

constexpr std::string_view to_string(PoolEvent::Retirement why) {
    using enum PoolEvent::Retirement;
    switch (why) {
        case none:
            break;
        case lifetime:
            return "lifetime";
        case idle:
            return "idle";
        case lost:
            return "lost";
        case not_cleaned:
            return "not_cleaned";
        case no_answer:
            return "no_answer";
        case wrong_role:
            return "wrong_role";
        case replaced:
            return "replaced";
        case too_many:
            return "too_many";
        case refused:
            return "refused";
        case closed:
            return "closed";
    }
    return "none";
}

constexpr std::string_view to_string(PoolEvent::Wait outcome) {
    using enum PoolEvent::Wait;
    switch (outcome) {
        case granted:
            break;
        case timed_out:
            return "timed_out";
        case exhausted:
            return "exhausted";
        case deadlock:
            return "deadlock";
        case not_opened:
            return "not_opened";
        case closed:
            return "closed";
        case cancelled:
            return "cancelled";
    }
    return "granted";
}

/// Is told what happens in a pool.
///
/// **Threads**: called from every thread that uses the pool, by several at once, with nothing locked:
/// it may ask the pool for its statistics.
class PoolObserver {
public:
    virtual ~PoolObserver() = default;
    virtual void notice_pool(const PoolEvent&) noexcept {}

protected:
    PoolObserver() = default;
    PoolObserver(const PoolObserver&) = default;
    PoolObserver& operator=(const PoolObserver&) = default;
};

}  // namespace txscope
