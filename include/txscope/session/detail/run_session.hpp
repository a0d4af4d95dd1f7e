#pragma once

#include <txscope/net/cancellation.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <boost/asio/steady_timer.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
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

/// What can be handed to a caller where nothing may throw any more: behind COMMIT.
template <typename T>
concept NothrowResult = std::is_void_v<T> || std::is_nothrow_move_constructible_v<T>;

/// Where a body's result waits while its scope ends.
template <typename T>
using ResultSlot = std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>>;

/// Why a body failed that has thrown `thrown`.
///
/// Branches that fail together (`a() && b()`) throw Asio's `multiple_exceptions`, which says nothing
/// of why. In its place comes the cancellation, if the body was cancelled; or why the transaction
/// failed, `failure`; or else what the first of these branches threw.
inline std::exception_ptr thrown_error(std::exception_ptr thrown, bool cancelled,
                                       const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(thrown);
    } catch (const asio::multiple_exceptions& several) {
        if (cancelled) return std::make_exception_ptr(cancellation_error());
        return failure ? failure : thrown_error(several.first_exception(), cancelled, failure);
    } catch (...) {
        return thrown;
    }
}

/// What a body ends with, which has thrown `thrown`, or null; null if nothing is wrong.
inline std::exception_ptr body_error(const SessionState& state, ScopeNode::Outcome outcome,
                                     std::exception_ptr thrown) {
    const TransactionMachine& machine = state.machine();
    switch (outcome) {
        case ScopeNode::Outcome::threw:
            return thrown_error(std::move(thrown), state.interrupted(), machine.cause());
        case ScopeNode::Outcome::cancelled:
            return std::make_exception_ptr(cancellation_error());
        case ScopeNode::Outcome::unfinished:
            return std::make_exception_ptr(UnfinishedWork{
                std::string{"the body returned while statements or scopes that it had started "
                            "were under way; "} +
                    (machine.is_transaction() ? "nothing was committed" : "these were broken off"),
                state.where()});
        default:
            return nullptr;
    }
}

/// Runs the hooks in their order, and those that they register after them, for as long as there is
/// something to be committed.
inline asio::awaitable<void> run_before_commit(SessionState& state) {
    const auto& hooks = state.hooks().before_commit;
    const auto would_be_kept = [&] { return state.machine().keeps(state) && !state.busy(); };
    for (std::size_t next = 0; next < hooks.size() && would_be_kept(); ++next) {
        const Hook hook = hooks[next];
        co_await hook();
    }
}

template <typename Body, typename End>
asio::awaitable<void> run_on_strand(std::shared_ptr<SessionState> state, Body& body, End end,
                                    ResultSlot<BodyResult<Body>>& result) {
    // What cancels the caller may cancel the body.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    std::exception_ptr error;
    try {
        Session session{state, false};
        if constexpr (std::is_void_v<BodyResult<Body>>)
            co_await invoke_body(body, session);
        else
            result.emplace(co_await invoke_body(body, session));
        if (!state->parent() && !state->hooks().before_commit.empty())
            co_await run_before_commit(*state);
    } catch (...) {
        error = std::current_exception();
    }
    // From here on nothing interrupts.
    co_await asio::this_coro::throw_if_cancelled(false);
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
    TransactionMachine& machine = state->machine();
    const auto outcome = machine.body_ended(*state, error != nullptr, cancelled, state->busy());
    error = body_error(*state, outcome, error);
    try {
        error = co_await end(*state, error);
    } catch (...) {
        const SharedConnection& shared = state->shared();
        const bool sent = shared.lease && shared.outbox.empty();
        machine.gave_up(*state, std::current_exception(), sent && !shared.read_only);
        if (state->parent()) state->shared().tell_if_lost();
        if (!error) error = std::current_exception();  // the first error wins
    }
    if (!state->parent()) state->shared().close();
    if (error) std::rethrow_exception(error);
}

/// What a scope ends with whose time is over, because of `cause` or just so.
inline std::exception_ptr time_is_over(const SessionState& state, std::exception_ptr cause) {
    return nest(std::move(cause), TransactionTimeout{"the scope's time was over; nothing was "
                                                     "committed",
                                                     state.where()});
}

/// Runs `work`, which is `run_on_strand`, with `executor`, and cancels it at `deadline`. On the
/// strand: two things are awaited at once.
inline asio::awaitable<void> run_until(Clock::time_point deadline, AmbientExecutor executor,
                                       std::shared_ptr<SessionState> state,
                                       asio::awaitable<void> work) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    asio::steady_timer timer{executor, deadline};
    const auto [order, error, timer_error] =
        co_await asio::experimental::make_parallel_group(
            asio::co_spawn(executor, std::move(work), asio::deferred),
            timer.async_wait(asio::deferred))
            .async_wait(asio::experimental::wait_for_one(), asio::deferred);
    if (!error) co_return;
    const bool expired = order[0] == 1 && !timer_error;
    // What the body threw in time, or the server said to COMMIT, stands.
    if (!expired || !state->machine().was_cut_short(*state, is_cancellation(error)))
        std::rethrow_exception(error);
    std::rethrow_exception(time_is_over(*state, error));
}

/// Runs `body` with `state` as its ambient session, then `end(state, error)`, which gets the body's
/// error or null, and says how it all went likewise. Nothing interrupts `end`.
///
/// To be awaited by a coroutine on `callers`, which keeps all that is passed by reference.
template <typename Body, typename End>
auto run_session(const asio::any_io_executor& callers, const ForwardedCancellation& cancellation,
                 const std::shared_ptr<SessionState>& state, Body& body, End end,
                 ResultSlot<BodyResult<Body>>& result,
                 Clock::time_point deadline = Clock::time_point::max()) {
    SharedConnection& shared = state->shared();
    AmbientExecutor executor{Ambient::make(shared.strand, shared.pool.get(), &shared.holder, state,
                                           ambient_of(callers))};
    auto work = run_on_strand(state, body, std::move(end), result);
    if (deadline == Clock::time_point::max())
        return cancellation.spawn(std::move(executor), std::move(work));
    return cancellation.spawn(AmbientExecutor{shared.strand},
                              run_until(deadline, std::move(executor), state, std::move(work)));
}

/// The value that a body left in its slot.
template <typename Body>
BodyResult<Body> take_result([[maybe_unused]] ResultSlot<BodyResult<Body>>& slot) {
    if constexpr (!std::is_void_v<BodyResult<Body>>) return *std::move(slot);
}

/// A session without a transaction, for a coroutine that runs on `executor`. With
/// `own_transactions` its statements may be `BEGIN` and the like.
inline std::shared_ptr<SessionState> open_session(std::shared_ptr<SessionPool> pool,
                                                  const asio::any_io_executor& executor,
                                                  std::source_location where,
                                                  bool own_transactions = true) {
    auto shared =
        std::make_shared<SharedConnection>(std::move(pool), strand_on(executor), where, false);
    shared->own_transactions = own_transactions;
    return std::make_shared<SessionState>(std::move(shared), nullptr, where);
}

/// Sends what was enqueued, unless the body failed; ends what is under way.
inline asio::awaitable<std::exception_ptr> end_plain_session(SessionState& session,
                                                             std::exception_ptr error) {
    if (!error && session.has_queued()) {
        const auto ending = co_await session.end_with(nullptr);
        error = ending.last->error;
    }
    session.discard_unsent();
    SharedConnection& shared = session.shared();
    if (session.busy() && shared.lease) {
        // What is under way uses the connection on this strand; the pool cleans up on another.
        const auto member = shared.lease.member();
        co_await member->connection->recover(shared.pool->cleanup_deadline());
    }
    co_return error;
}

/// Runs `body` with a connection to itself and no transaction.
template <typename Body>
asio::awaitable<BodyResult<Body>> run_plain_session(std::shared_ptr<SessionPool> pool, Body body,
                                                    std::source_location where,
                                                    bool own_transactions = true) {
    const auto executor = co_await asio::this_coro::executor;
    const auto session = open_session(std::move(pool), executor, where, own_transactions);
    const ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state,
                                             session->shared().strand};
    ResultSlot<BodyResult<Body>> result;
    co_await run_session(executor, cancellation, session, body, end_plain_session, result);
    co_return take_result<Body>(result);
}

}  // namespace txscope::detail
