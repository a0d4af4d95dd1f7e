#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace txscope::detail {

template <typename T>
inline constexpr bool is_awaitable = false;
template <typename T>
inline constexpr bool is_awaitable<asio::awaitable<T>> = true;

/// Calls `body()` or `body(Session&)`.
template <typename Body>
decltype(auto) invoke_body(Body& body, [[maybe_unused]] Session& session) {
    if constexpr (std::invocable<Body&, Session&>)
        return std::invoke(body, session);
    else
        return std::invoke(body);
}

/// What a scope's body may be: a callable that returns `asio::awaitable<T>`, and takes either
/// nothing or a `Session&`.
template <typename Body>
concept ScopeBody =
    (std::invocable<Body&> || std::invocable<Body&, Session&>) &&
    is_awaitable<decltype(invoke_body(std::declval<Body&>(), std::declval<Session&>()))>;

/// The `T` of the `asio::awaitable<T>` that a body returns.
template <ScopeBody Body>
using BodyResult =
    typename decltype(invoke_body(std::declval<Body&>(), std::declval<Session&>()))::value_type;

/// Where a body's result waits while its scope ends.
template <typename T>
using ResultSlot = std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>>;

template <typename Body, typename End>
asio::awaitable<void> run_on_strand(std::shared_ptr<SessionState> state, Body& body, End end,
                                    ResultSlot<BodyResult<Body>>& result) {
    // What cancels the caller may cancel the body.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    std::exception_ptr error;
    try {
        Session session{state, false};
        if constexpr (std::is_void_v<BodyResult<Body>>) {
            co_await invoke_body(body, session);
            result.emplace();
        } else {
            result.emplace(co_await invoke_body(body, session));
        }
    } catch (...) {
        error = std::current_exception();
    }
    // From here on nothing interrupts.
    co_await asio::this_coro::throw_if_cancelled(false);
    const asio::cancellation_state cancellation = co_await asio::this_coro::cancellation_state;
    if (!error && cancellation.cancelled() != asio::cancellation_type::none)
        error =
            std::make_exception_ptr(boost::system::system_error{asio::error::operation_aborted});
    state->end();
    if (!error && state->busy())
        error = std::make_exception_ptr(
            UnfinishedWork{"the body returned while statements or scopes that it had started were "
                           "under way; nothing was committed",
                           state->where()});
    try {
        error = co_await end(*state, error);
    } catch (...) {
        if (!error) error = std::current_exception();  // the first error wins
    }
    if (!state->parent()) state->conversation().lease = {};
    if (error) std::rethrow_exception(error);
}

/// Runs `body` with `state` as its ambient session, then `end(state, error)`, which gets the body's
/// error or null, and says how it all went likewise. Nothing interrupts `end`.
template <typename Body, typename End>
asio::awaitable<BodyResult<Body>> run_session(std::shared_ptr<SessionState> state, Body body,
                                              End end) {
    Conversation& conversation = state->conversation();
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    auto ambient =
        std::make_shared<const Ambient>(conversation.pool.get(), state, ambient_of(callers));
    AmbientExecutor executor{std::move(ambient), conversation.strand};
    ResultSlot<BodyResult<Body>> result;
    const auto [error] = co_await asio::co_spawn(
        std::move(executor), run_on_strand(state, body, std::move(end), result),
        asio::as_tuple(asio::deferred));
    AmbientExecutor::goes_on(callers);
    if (error) std::rethrow_exception(error);
    if constexpr (!std::is_void_v<BodyResult<Body>>) co_return std::move(*result);
}

/// A session without a transaction, for a coroutine that runs on `executor`.
inline std::shared_ptr<SessionState> open_session(
    std::shared_ptr<Pool> pool, const asio::any_io_executor& executor,
    std::source_location where = std::source_location::current()) {
    auto conversation = std::make_shared<Conversation>(std::move(pool), strand_on(executor), false);
    return std::make_shared<SessionState>(std::move(conversation), std::vector<Statement>{}, where);
}

/// Sends what was enqueued, unless the body failed.
inline asio::awaitable<std::exception_ptr> end_plain_session(SessionState& session,
                                                             std::exception_ptr error) {
    if (!error && session.has_queued()) {
        const auto ending = co_await session.end_with(nullptr);
        error = ending.last->error;
    }
    session.discard_unsent();
    co_return error;
}

}  // namespace txscope::detail
