#pragma once

#include <txscope/core/error.hpp>
#include <txscope/pool/detail/connection_node.hpp>
#include <txscope/pool/detail/pool_machine.hpp>
#include <txscope/pool/detail/waiter.hpp>
#include <txscope/pool/holder.hpp>
#include <txscope/pool/pool_observer.hpp>

#include <algorithm>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

/// What those are told who get no connection.
namespace txscope::detail {

inline std::optional<std::source_location> place_of(const Requester& requester) {
    return requester.holder != nullptr ? requester.holder->where() : std::nullopt;
}

/// Where those are who hold connections; each place once, since many come from one function.
inline std::vector<std::source_location> holders(const PoolMachine& pool) {
    std::vector<std::source_location> places;
    for (const ConnectionNode& connection : pool.lent()) {
        const auto where = connection.holder ? connection.holder->where() : std::nullopt;
        const auto is_known = [&](const std::source_location& known) {
            return location_text(known) == location_text(*where);
        };
        if (where && std::ranges::none_of(places, is_known)) places.push_back(*where);
    }
    return places;
}

inline PoolClosed pool_closed(const Requester& requester = {}) {
    return PoolClosed{"the session factory is closed", place_of(requester)};
}

/// What became of a wait in a pool that is closed by now, or not, as an observer is told.
inline PoolEvent::Wait outcome_of(const Waiter& waiter, bool cancelled, bool is_closed) noexcept {
    using Wait = PoolEvent::Wait;
    if (is_closed) return Wait::closed;
    if (waiter.state() == Waiter::State::granted) return Wait::granted;
    if (waiter.state() == Waiter::State::waiting)
        return cancelled ? Wait::cancelled : Wait::timed_out;
    switch (waiter.failure()) {
        case Waiter::Failure::closed:
            return Wait::closed;
        case Waiter::Failure::exhausted:
            return Wait::exhausted;
        case Waiter::Failure::deadlock:
            return Wait::deadlock;
        case Waiter::Failure::not_opened:
            break;
    }
    return Wait::not_opened;
}

/// Why `waiter` has failed, with `opening_error` for a reason where the last opening failed. To be
/// called before anything else happens.
inline std::exception_ptr failure_of(const Waiter& waiter, const PoolMachine& pool,
                                     const std::exception_ptr& opening_error) try {
    const auto where = place_of(waiter.requester());
    switch (waiter.failure()) {
        case Waiter::Failure::closed:
            throw pool_closed(waiter.requester());
        case Waiter::Failure::exhausted:
            return nest(opening_error,
                        PoolExhausted{std::to_string(pool.limits().waiters) +
                                          " coroutines are waiting for a connection already",
                                      where});
        case Waiter::Failure::deadlock:
            throw PoolDeadlock{
                "every connection is held by scopes that wait for another one themselves",
                holders(pool), where};
        case Waiter::Failure::not_opened:
            break;
    }
    try {
        std::rethrow_exception(opening_error);
    } catch (const ConnectionFailed& failed) {
        throw ConnectionFailed{failed.what(), failed.cause(), where};
    }
} catch (...) {
    return std::current_exception();  // one of these, or that there is no memory for it
}

/// `waiter` waited in vain; `reason` is why no connection could be opened, if that was so.
inline std::exception_ptr timeout_of(const Waiter& waiter, const PoolMachine& pool,
                                     const std::exception_ptr& reason) {
    return nest(reason,
                AcquireTimeout{with_scopes("no connection became free in time", holders(pool)),
                               place_of(waiter.requester())});
}

}  // namespace txscope::detail
