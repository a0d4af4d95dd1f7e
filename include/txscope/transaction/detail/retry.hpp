#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>

namespace txscope::detail {

/// Whether the transaction failed in a way that another attempt may not meet.
inline bool is_worth_another_attempt(const SessionState& session, const std::exception_ptr& error) {
    const Conversation& conversation = session.conversation();
    if (conversation.in_doubt) return false;
    try {
        // The statement that failed says it, whatever the body made of its error.
        std::rethrow_exception(conversation.failure ? conversation.failure : error);
    } catch (const ConnectionLost&) {
        // Not another one, whose statement may have been executed, and committed by itself.
        return conversation.failure != nullptr;
    } catch (const std::exception& failure) {
        const SqlDiagnostics* said = find_diagnostics(failure);
        return said != nullptr &&
               (sqlstate::is_retryable(said->sqlstate) ||
                (!said->statement.empty() && said->statement == conversation.stale));
    } catch (...) {
        return false;
    }
}

/// The pause before the next attempt.
/// @throws boost::system::system_error (`operation_aborted`) when the caller is cancelled
inline asio::awaitable<void> pause_until(Clock::time_point next) {
    asio::steady_timer timer{co_await asio::this_coro::executor, next};
    co_await timer.async_wait(asio::deferred);
    check_not_cancelled(co_await asio::this_coro::cancellation_state);
}

}  // namespace txscope::detail
