#pragma once

#include <txscope/core/connection_holder.hpp>
#include <txscope/core/error.hpp>
#include <txscope/pool/detail/pool_machine.hpp>
#include <txscope/pool/detail/waiter.hpp>
#include <txscope/pool/holder.hpp>
#include <txscope/pool/pool_observer.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

/// What those are told who get no connection.
namespace txscope::detail {

using Holders = std::vector<ConnectionHolder>;

inline std::optional<std::source_location> place_of(const Requester& requester) {
    return requester.holder != nullptr ? requester.holder->where() : std::nullopt;
}

/// Where the scopes are that hold connections; each place once, since many come from one function.
inline std::vector<std::source_location> scopes_of(const Holders& holders) {
    std::vector<std::source_location> scopes;
    for (const PlaceOfHolders& place : places_of(holders))
        if (place.first->where.line() != 0) scopes.push_back(place.first->where);
    return scopes;
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
        case Waiter::Failure::overloaded:
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
/// @param holders gives those who have connections, where it is called
template <typename GetHolders>
std::exception_ptr failure_of(const Waiter& waiter, const PoolMachine& pool,
                              const std::exception_ptr& opening_error, GetHolders holders) try {
    const auto where = place_of(waiter.requester());
    switch (waiter.failure()) {
        case Waiter::Failure::closed:
            throw pool_closed(waiter.requester());
        case Waiter::Failure::exhausted:
            return nest(opening_error,
                        PoolExhausted{std::to_string(pool.limits().waiters) +
                                          " coroutines are waiting for a connection already",
                                      where, holders()});
        case Waiter::Failure::overloaded: {
            const auto wait =
                std::chrono::ceil<std::chrono::milliseconds>(waiter.expected_wait()).count();
            throw PoolExhausted{"the wait for a connection would be about " + std::to_string(wait) +
                                    " ms, and PoolOptions::queue_target is " +
                                    std::to_string(pool.limits().queue_target.count()) + " ms",
                                where, holders()};
        }
        case Waiter::Failure::deadlock: {
            const Holders all = holders();
            throw PoolDeadlock{
                "every connection is held by scopes that wait for another one themselves",
                scopes_of(all), where, all};
        }
        case Waiter::Failure::not_opened:
            break;
    }
    try {
        std::rethrow_exception(opening_error);
    } catch (const ConnectionFailed& failed) {
        const auto* const nested = dynamic_cast<const std::nested_exception*>(&failed);
        return nest(nested != nullptr ? nested->nested_ptr() : nullptr,
                    ConnectionFailed{failed.what(), failed.cause(), where});
    }
} catch (...) {
    return std::current_exception();  // one of these, or that there is no memory for it
}

/// `waiter` waited in vain; `reason` is why no connection could be opened, if that was so.
inline std::exception_ptr timeout_of(const Waiter& waiter, const PoolMachine& pool,
                                     const std::exception_ptr& reason, Holders holders) {
    std::string message = "no connection became free in time";
    const auto tell = [&](std::size_t count, const char* what) {
        if (count > 0) message += "; " + std::to_string(count) + what;
    };
    tell(pool.openings(), " being opened");
    tell(pool.size() - pool.openings() - pool.idle().size() - pool.lent().size(),
         " being reset or asked whether it is still there");
    return nest(reason, AcquireTimeout{message, place_of(waiter.requester()), std::move(holders)});
}

}  // namespace txscope::detail
