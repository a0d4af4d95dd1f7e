#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <optional>

namespace txscope {

/// The session of the innermost scope of `sessions` that the awaiting coroutine runs in, if any.
///
/// It is found through the coroutine's executor, which scopes hand down to all that their body
/// awaits, and to every branch of `&&` and `||`. A task that was detached inside a scope and
/// outlives it still finds the session, which then answers `ScopeEnded`: what was meant to be part
/// of a transaction never silently runs without it.
TXSCOPE_LAZY asio::awaitable<std::optional<Session>> ambient_session(AsyncSessionFactory sessions);

/// Like `ambient_session`, for code that cannot do without a scope.
/// @throws PropagationError when no scope of `sessions` is open here
TXSCOPE_LAZY asio::awaitable<Session> current_session(AsyncSessionFactory sessions);

namespace detail {

/// The session that is ambient for a coroutine on `executor`.
std::optional<Session> session_on(const asio::any_io_executor& executor,
                                  const AsyncSessionFactory& sessions);
/// The ambient session of the code that this thread runs right now: for calls that are not awaited.
std::optional<Session> ambient_session_here(const AsyncSessionFactory& sessions);

}  // namespace detail

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/this_coro.hpp>

namespace txscope {

namespace detail {

TXSCOPE_INLINE std::optional<Session> session_in(const Ambient* ambient,
                                                 const AsyncSessionFactory& sessions) {
    detail::SessionState* const found = find_session(ambient, sessions.pool().get());
    if (found == nullptr) return std::nullopt;
    return Session{found, found->joined()};
}

TXSCOPE_INLINE std::optional<Session> session_on(const asio::any_io_executor& executor,
                                                 const AsyncSessionFactory& sessions) {
    return session_in(ambient_of(executor), sessions);
}

TXSCOPE_INLINE std::optional<Session> ambient_session_here(const AsyncSessionFactory& sessions) {
    return session_in(running_ambient(), sessions);
}

}  // namespace detail

TXSCOPE_LAZY_INLINE asio::awaitable<std::optional<Session>> ambient_session(
    AsyncSessionFactory sessions) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    co_return detail::session_on(executor, sessions);
}

TXSCOPE_LAZY_INLINE asio::awaitable<Session> current_session(AsyncSessionFactory sessions) {
    auto session = co_await ambient_session(sessions);
    if (!session) throw PropagationError{"no scope of this session factory is open here"};
    co_return *std::move(session);
}

}  // namespace txscope

#endif
