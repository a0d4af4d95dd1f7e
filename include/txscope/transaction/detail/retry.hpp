#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>

namespace txscope::detail {

/// What `error`, met over that connection, promises to another attempt.
inline TransactionMachine::Cause cause_of(const std::exception_ptr& error,
                                          const SharedConnection& shared) {
    using Cause = TransactionMachine::Cause;
    try {
        std::rethrow_exception(error);
    } catch (const ConnectionLost&) {
        return Cause::connection_lost;
    } catch (const ConnectionFailed& failure) {
        return failure.is_transient() ? Cause::passing : Cause::lasting;
    } catch (
        const AcquireTimeout& timeout) {  // with the reason why none was opened, if there is one
        const auto* const nested = dynamic_cast<const std::nested_exception*>(&timeout);
        return nested != nullptr ? cause_of(nested->nested_ptr(), shared) : Cause::lasting;
    } catch (const std::exception& failure) {
        const SqlDiagnostics* said = find_diagnostics(failure);
        const bool passes = said != nullptr &&
                            (sqlstate::is_retryable(said->sqlstate) ||
                             (!said->statement.empty() && said->statement == shared.stale) ||
                             (!said->sqlstate.empty() && said->sqlstate == shared.write_refusal));
        return passes ? Cause::passing : Cause::lasting;
    } catch (...) {
        return Cause::lasting;
    }
}

/// Whether the transaction failed in a way that another attempt may not meet.
inline bool is_worth_another_attempt(const SessionState& session, const std::exception_ptr& error) {
    const auto& failure = session.machine().cause();
    // The statement that failed says it, whatever the body made of its error.
    return session.machine().may_try_again(cause_of(failure ? failure : error, session.shared()));
}

/// The pause before the next attempt.
/// @throws boost::system::system_error (`operation_aborted`) when the caller is cancelled
TXSCOPE_LAZY inline asio::awaitable<void> pause_until(Clock::time_point next) {
    asio::steady_timer timer{co_await asio::this_coro::executor, next};
    co_await timer.async_wait(asio::as_tuple(asio::deferred));
    check_not_cancelled(co_await asio::this_coro::cancellation_state);
}

}  // namespace txscope::detail
