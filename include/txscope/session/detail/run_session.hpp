#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace txscope::detail {

class SessionPool;

template <typename T>
inline constexpr bool is_awaitable = false;
template <typename T>
inline constexpr bool is_awaitable<asio::awaitable<T>> = true;

/// Calls `body()` or `body(session)`.
template <typename Body, typename Given>
decltype(auto) invoke_body(Body& body, [[maybe_unused]] Given& session) {
    if constexpr (std::invocable<Body&, Given&>)
        return std::invoke(body, session);
    else
        return std::invoke(body);
}

/// What a scope's body may be: a callable that returns `asio::awaitable<T>`, and takes either
/// nothing or a `Given&`.
template <typename Body, typename Given = Session>
concept ScopeBody =
    (std::invocable<Body&> || std::invocable<Body&, Given&>) &&
    is_awaitable<decltype(invoke_body(std::declval<Body&>(), std::declval<Given&>()))>;

/// What is awaited in the place of a body that is refused, so that nothing is wrong with its result.
template <typename Returned>
using RefusedResult =
    std::conditional_t<is_awaitable<Returned>, Returned, asio::awaitable<Returned>>;

/// Why a callable is no body of a scope, as the only error.
template <typename Body, typename Given>
auto refuse_body() {
    constexpr bool callable = std::invocable<Body&> || std::invocable<Body&, Given&>;
    constexpr bool is_body = ScopeBody<Body, Given>;
    static_assert(callable,
                  "txscope: the body of a scope takes nothing, or what it is handed: "
                  "`Transaction&` by a TransactionScope, `Session&` by a session_scope");
    static_assert(!callable || is_body,
                  "txscope: the body of a scope is a coroutine: a lambda says "
                  "`-> asio::awaitable<void>`, or of what it returns");
    static_assert(
        !is_body,
        "txscope: once a transaction is committed nothing may throw, and moving what this body "
        "returns may: return a std::unique_ptr of it");
    if constexpr (callable)
        return RefusedResult<
            std::decay_t<decltype(invoke_body(std::declval<Body&>(), std::declval<Given&>()))>>{};
    else
        return asio::awaitable<void>{};
}

/// The `T` of the `asio::awaitable<T>` that a body returns.
template <typename Body, typename Given = Session>
    requires ScopeBody<Body, Given>
using BodyResult =
    typename decltype(invoke_body(std::declval<Body&>(), std::declval<Given&>()))::value_type;

/// What can be handed to a caller where nothing may throw any more: behind COMMIT.
template <typename T>
concept NothrowResult = std::is_void_v<T> || std::is_nothrow_move_constructible_v<T>;

/// Where a body's result waits while its scope ends.
template <typename T>
using ResultSlot = std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>>;

/// Tells the observer, which there is, that the scope of `state` begins, unless an `earlier` attempt of
/// it has begun already.
void begin_span(SessionState& state, std::string_view label = {},
                std::shared_ptr<LiveSpan> earlier = nullptr) noexcept;

/// Why a body failed that has thrown `thrown`.
///
/// Branches that fail together (`a() && b()`) throw Asio's `multiple_exceptions`, which says nothing
/// of why. In its place comes the cancellation, if the body was cancelled; or why the transaction
/// failed, `failure`; or else what the first of these branches threw.
std::exception_ptr thrown_error(std::exception_ptr thrown, bool cancelled,
                                const std::exception_ptr& failure);

/// Whether there is something to call before COMMIT.
bool has_before_commit(const SessionState& state) noexcept;
/// Calls it.
asio::awaitable<void> run_before_commit(SessionState& state);

/// The body has ended, having thrown `thrown`, or null; and been cancelled, if `caller` was. Returns
/// what it ends with, or null if nothing is wrong.
std::exception_ptr body_ended(SessionState& state, std::exception_ptr thrown,
                              const asio::cancellation_state& caller);
/// Ends the session after that: see `SessionState::end`.
asio::awaitable<void> end_session(SessionState& state, std::exception_ptr& error);
/// To be called by who catches what that has thrown. Returns what the session ends with.
/// @param error what the body ended with, or null
std::exception_ptr not_ended(SessionState& state, std::exception_ptr error);
/// Gives the connection back, unless that is for the session around to do.
/// @throws `error`, if that is not null
void session_ended(SessionState& state, std::exception_ptr error);

/// Runs `body` with `state` as its ambient session, ends that, and says how it all went. All that does
/// not depend on the body is elsewhere: what is here, each body's type compiles anew.
template <typename Given, typename Body>
asio::awaitable<void> run_on_strand(SharedSession state, Body& body,
                                    ResultSlot<BodyResult<Body, Given>>& result) {
    // What cancels the caller may cancel the body.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    std::exception_ptr error;
    try {
        Given session{state, false};
        if constexpr (std::is_void_v<BodyResult<Body, Given>>)
            co_await invoke_body(body, session);
        else
            result.emplace(co_await invoke_body(body, session));
        if (has_before_commit(*state)) co_await run_before_commit(*state);
    } catch (...) {
        error = std::current_exception();
    }
    // From here on nothing interrupts.
    co_await asio::this_coro::throw_if_cancelled(false);
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    error = body_ended(*state, error, caller);
    try {
        asio::awaitable<void> rest = end_session(*state, error);
        if (rest.valid()) co_await std::move(rest);
    } catch (...) {
        error = not_ended(*state, error);
    }
    session_ended(*state, error);
}

/// Runs `body` in the session around it, which goes on behind it.
template <typename Given, typename Body>
asio::awaitable<void> run_joined(SharedSession state, Body& body,
                                 ResultSlot<BodyResult<Body, Given>>& result) {
    // What cancels the caller may cancel the body.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    Given session{state, true};
    if constexpr (std::is_void_v<BodyResult<Body, Given>>)
        co_await invoke_body(body, session);
    else
        result.emplace(co_await invoke_body(body, session));
}

/// The executor of a session's body, where the session is ambient.
AmbientExecutor executor_of(const SharedSession& state);

/// The value that a body left in its slot.
template <typename Result>
Result take_result([[maybe_unused]] ResultSlot<Result>& slot) {
    if constexpr (!std::is_void_v<Result>) return *std::move(slot);
}

/// A session without a transaction, for a coroutine that runs on `executor`. With
/// `own_transactions` its statements may be `BEGIN` and the like.
TXSCOPE_LAZY SharedSession open_session(std::shared_ptr<SessionPool> pool,
                                        const asio::any_io_executor& executor,
                                        std::source_location where, bool own_transactions);
/// One whose statements may be, of which the observer is told.
TXSCOPE_LAZY SharedSession begin_session(std::shared_ptr<SessionPool> pool,
                                         const asio::any_io_executor& executor,
                                         std::source_location where);

/// What is wrong where `session`, which was without a transaction, ends in one that a statement has begun;
/// or null.
std::exception_ptr left_open(const SessionState& session);

/// Runs `body` with a connection to itself and no transaction.
template <typename Body>
asio::awaitable<BodyResult<Body>> run_plain_session(std::shared_ptr<SessionPool> pool, Body body,
                                                    std::source_location where) {
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    const SharedSession session = begin_session(std::move(pool), callers, where);
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, callers,
                                       executor_of(session)};
    ResultSlot<BodyResult<Body>> result;
    co_await cancellation.spawn(run_on_strand<Session>(session, body, result));
    co_return take_result<BodyResult<Body>>(result);
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/multiple_exceptions.hpp>

#include <new>
#include <string>

namespace txscope::detail {

TXSCOPE_INLINE void begin_span(SessionState& state, std::string_view label,
                               std::shared_ptr<LiveSpan> earlier) noexcept try {
    Reporter& reporter = state.shared().reporter;
    if (state.parent() == nullptr) reporter.scope = &state;
    state.span = std::move(earlier);
    const SpanStart start{.kind = SpanStart::scope, .where = state.where(), .label = label};
    LiveSpan begun = state.span ? LiveSpan{} : reporter.start(start, state.outer.get());
    if (begun) state.span = std::make_shared<LiveSpan>(std::move(begun));
} catch (const std::bad_alloc&) {  // then it has ended already
}

TXSCOPE_INLINE std::exception_ptr thrown_error(std::exception_ptr thrown, bool cancelled,
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
TXSCOPE_INLINE std::exception_ptr body_error(const SessionState& state, ScopeNode::Outcome outcome,
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

TXSCOPE_INLINE bool has_before_commit(const SessionState& state) noexcept {
    return !state.parent() && state.hooks() && !state.hooks()->before_commit.empty();
}

TXSCOPE_INLINE asio::awaitable<void> run_before_commit(SessionState& state) {
    return state.hooks()->call_before_commit(state);
}

TXSCOPE_INLINE std::exception_ptr body_ended(SessionState& state, std::exception_ptr thrown,
                                             const asio::cancellation_state& caller) {
    const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
    const auto outcome =
        state.machine().body_ended(state, thrown != nullptr, cancelled, state.busy());
    return body_error(state, outcome, std::move(thrown));
}

TXSCOPE_INLINE asio::awaitable<void> end_session(SessionState& state, std::exception_ptr& error) {
    return state.end(error);
}

TXSCOPE_INLINE std::exception_ptr not_ended(SessionState& state, std::exception_ptr error) {
    SharedConnection& shared = state.shared();
    const auto why = std::current_exception();
    const bool sent = shared.lease && shared.outbox.empty();
    state.machine().gave_up(state, why, sent && !shared.read_only);
    if (state.parent())
        shared.tell_if_lost();
    else
        shared.give_up(why);
    return error ? error : why;  // the first error wins
}

TXSCOPE_INLINE void session_ended(SessionState& state, std::exception_ptr error) {
    if (!state.parent()) state.shared().close();
    if (state.span && !state.machine().is_transaction()) state.span->end(error);
    if (error) std::rethrow_exception(error);
}

TXSCOPE_INLINE AmbientExecutor executor_of(const SharedSession& state) {
    return AmbientExecutor{state};
}

TXSCOPE_INLINE std::exception_ptr left_open(const SessionState& session) {
    const Lease& lease = session.shared().lease;
    if (!lease || !lease->in_transaction()) return nullptr;
    const std::source_location where = session.where();
    return std::make_exception_ptr(UnfinishedWork{
        "a transaction that a statement had begun was left open, and is rolled back; one that is "
        "to be committed is a TransactionScope's",
        where.line() != 0 ? std::optional{where} : std::nullopt});
}

/// A session without a transaction.
class PlainSession : public SharedConnection, public SessionState {
public:
    PlainSession(std::shared_ptr<SessionPool> from, const asio::any_io_executor& executor,
                 std::source_location where, bool with_transactions)
        : SharedConnection{std::move(from), strand_on(executor), where, false},
          SessionState{static_cast<SharedConnection&>(*this), ambient_of(executor), where} {
        own_transactions = with_transactions;
    }

protected:
    /// Sends what was enqueued, unless the body failed; ends what is under way. A transaction that is left
    /// open is an error: the pool rolls it back.
    TXSCOPE_LAZY asio::awaitable<void> conclude(std::exception_ptr& error);
};

TXSCOPE_LAZY_INLINE asio::awaitable<void> PlainSession::conclude(std::exception_ptr& error) {
    if (!error && has_queued()) {
        const asio::any_io_executor executor = co_await asio::this_coro::executor;
        if (!shared().has_connection()) co_await take_connection(executor);
        LastSent sent = put_out_last({});
        send_outbox();
        co_await answered(sent.last, Clock::time_point::max());
        note_write();
        error = sent.last->error;
        note_write_refusal(*sent.last);
    }
    if (!error) error = left_open(*this);
    discard_unsent();
    if (busy() && lease) {
        // What is under way uses the connection on this strand; the pool cleans up on another.
        const auto member = lease.member();
        co_await member->connection->recover(shared().pool->cleanup_deadline());
    }
}

TXSCOPE_LAZY_INLINE SharedSession open_session(std::shared_ptr<SessionPool> pool,
                                               const asio::any_io_executor& executor,
                                               std::source_location where, bool own_transactions) {
    return new SessionOf<PlainSession>{std::move(pool), executor, where, own_transactions};
}

TXSCOPE_LAZY_INLINE SharedSession begin_session(std::shared_ptr<SessionPool> pool,
                                                const asio::any_io_executor& executor,
                                                std::source_location where) {
    SharedSession session = open_session(std::move(pool), executor, where, true);
    if (session->shared().reporter) begin_span(*session);
    return session;
}

}  // namespace txscope::detail

#endif
