#pragma once

#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/detail/ending.hpp>
#include <txscope/transaction/detail/entry.hpp>
#include <txscope/transaction/detail/overlong_alarm.hpp>
#include <txscope/transaction/detail/retry.hpp>
#include <txscope/transaction/detail/transaction.hpp>
#include <txscope/transaction/retry_policy.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <boost/asio/this_coro.hpp>

#include <memory>
#include <source_location>
#include <utility>

namespace txscope {

/// Makes what happens in a body happen together: all of it is committed, or none.
///
/// ```cpp
/// txscope::TransactionScope scope{sessions, {.isolation = IsolationLevel::serializable}};
/// co_await scope([&]() -> asio::awaitable<void> {     // or (txscope::Session& session)
///     const Project created = co_await projects.create(project);
///     flows.add(Workflow{.project_id = created.id});
/// });
/// ```
///
/// When the body's coroutine returns, the transaction is committed, and the `co_await` yields the
/// body's value once the server has acknowledged it. When it ends by an exception, whatever its
/// type, or is cancelled or destroyed, the transaction is rolled back. No exception type commits.
///
/// Everything that the body awaits, directly or through other functions, finds the transaction by
/// itself: repositories, and scopes within, which join it or set a savepoint (`Propagation`).
///
/// A scope takes a connection with its first statement, and sends `BEGIN` with it; a scope that
/// executes nothing takes none. `COMMIT` goes out with what was written behind (`add`, `enqueue`).
///
/// **Errors**: the body's exception comes out as it is, also when the rollback fails. In the place of
/// Asio's `multiple_exceptions`, which branches throw that fail together (`a() && b()`), comes the
/// error of the statement that failed, or else that of the first of these branches. A body that
/// swallows a statement's error gets `UnexpectedRollback` at its end, with that error nested
/// inside; the way to recover from an error is a `nested` scope around the statement. A connection
/// lost while `COMMIT` is under way gives `CommitInDoubt`.
///
/// **Cancellation**: at every `co_await` in the body; the transaction is rolled back before the
/// scope's `co_await` throws `operation_aborted`. From `COMMIT` on the outcome is awaited instead,
/// at most for the pool's `cleanup_timeout`.
///
/// **Destruction**: no `COMMIT` is sent for a scope that is destroyed in progress, and what is open
/// is rolled back; a `COMMIT` that is on its way already may still take effect. The connection is
/// cleaned up and lent again if just the scope's coroutine is destroyed, and closed if the execution
/// context is.
///
/// **Threads**: the body runs on a strand over the caller's executor, with all its branches.
class TransactionScope {
public:
    explicit TransactionScope(AsyncSessionFactory sessions, TransactionOptions options = {},
                              std::source_location where = std::source_location::current())
        : sessions_{std::move(sessions)}, options_{options}, where_{where} {}

    /// Runs `body()` or `body(Session&)`, which returns `asio::awaitable<T>`, and yields its value.
    /// May be called again, for another transaction.
    ///
    /// Moving a `T` must not throw: once the transaction is committed, nothing may go wrong. What may
    /// (a `std::deque`, for one) is returned in a `std::unique_ptr`, or kept outside of the body.
    template <detail::ScopeBody Body>
        requires detail::NothrowResult<detail::BodyResult<Body>>
    [[nodiscard]] asio::awaitable<detail::BodyResult<Body>> operator()(Body body) const {
        return run(sessions_, options_, where_, std::move(body));
    }

private:
    template <typename Body>
    using Outcome = asio::awaitable<detail::BodyResult<Body>>;
    using Shared = std::shared_ptr<detail::SessionState>;

    template <typename Body>
    static Outcome<Body> run(AsyncSessionFactory sessions, TransactionOptions options,
                             std::source_location where, Body body);
    template <typename Body>
    static Outcome<Body> join(Shared outer, Body body);
    template <typename Body>
    static Outcome<Body> nest(Shared outer, std::source_location where, Body body);

    AsyncSessionFactory sessions_;
    TransactionOptions options_;
    std::source_location where_;
};

template <typename Body>
auto TransactionScope::run(AsyncSessionFactory sessions, TransactionOptions options,
                           std::source_location where, Body body) -> Outcome<Body> {
    const auto& pool = sessions.pool();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const Shared outer = detail::find_session(detail::ambient_of(executor).get(), pool.get());
    switch (detail::entry_of(options, outer.get(), where)) {
        case detail::Entry::begin:
            break;
        case detail::Entry::join:
            co_return co_await join(outer, std::move(body));
        case detail::Entry::nest:
            co_return co_await nest(outer, where, std::move(body));
        case detail::Entry::plain:
            co_return co_await detail::run_plain_session(pool, std::move(body), where, false);
    }
    const auto strand = detail::strand_on(executor);
    const auto deadline = options.timeout.count() > 0 ? detail::deadline_in(options.timeout)
                                                      : detail::Clock::time_point::max();
    // Inside of a transaction it is the outermost scope that tries again.
    const int max_attempts = detail::in_transaction(outer.get()) ? 1 : options.retry.max_attempts;
    for (int attempt = 1;; ++attempt) {
        const auto session =
            detail::open_transaction(pool, strand, options, deadline, attempt, where);
        const detail::HooksEnd hooks_end{*session, session->hooks()};
        detail::OutcomeReport outcome{detail::transaction_of(*session)};
        const detail::OverlongAlarm alarm{session};
        const detail::ForwardedCancellation cancellation{
            co_await asio::this_coro::cancellation_state, strand};
        detail::ResultSlot<detail::BodyResult<Body>> result;
        std::exception_ptr error;
        try {
            co_await detail::run_session(executor, cancellation, session, body,
                                         detail::end_transaction, result, deadline);
        } catch (...) {
            error = std::current_exception();
        }
        outcome.tell(error);
        if (error && attempt < max_attempts && detail::is_worth_another_attempt(*session, error)) {
            const auto pause = detail::backoff(options.retry, attempt);
            const auto next = detail::Clock::now() + pause;
            if (next < deadline) {
                session->shared().reporter.report(ScopeEvent::retry, pause, error);
                try {
                    co_await detail::pause_until(next);
                    continue;
                } catch (...) {  // the caller was cancelled: that was the last attempt
                    error = std::current_exception();
                }
            }
        }
        const bool in_doubt =
            session->machine().phase() == detail::TransactionMachine::Phase::in_doubt;
        if (!in_doubt && !detail::outcome_hooks(*session).empty()) {
            // The outcome is told also to a caller who was cancelled while COMMIT was under way.
            const bool throws = co_await asio::this_coro::throw_if_cancelled();
            co_await asio::this_coro::throw_if_cancelled(false);
            co_await detail::run_outcome_hooks(session);
            co_await asio::this_coro::throw_if_cancelled(throws);
        }
        if (error) std::rethrow_exception(error);
        co_return detail::take_result<Body>(result);
    }
}

template <typename Body>
auto TransactionScope::join(Shared outer, Body body) -> Outcome<Body> {
    outer->check_open();
    const auto joining = outer->joining();
    Session session{outer, true};
    detail::ResultSlot<detail::BodyResult<Body>> result;
    std::exception_ptr error;
    try {
        if constexpr (std::is_void_v<detail::BodyResult<Body>>)
            co_await detail::invoke_body(body, session);
        else
            result.emplace(co_await detail::invoke_body(body, session));
    } catch (...) {
        error = std::current_exception();
    }
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
    if (error) error = detail::thrown_error(error, cancelled, outer->machine().cause());
    if (error && outer->machine().is_transaction()) outer->machine().scope_failed(*outer, error);
    if (error) std::rethrow_exception(error);
    outer->check_not_ended();  // it did not wait: what the body did was undone
    co_return detail::take_result<Body>(result);
}

template <typename Body>
auto TransactionScope::nest(Shared outer, std::source_location where, Body body) -> Outcome<Body> {
    outer->check_open();
    const auto lock = co_await outer->nesting().lock();
    outer->check_open();
    const auto savepoint = std::make_shared<detail::Response>(where);
    const auto set_savepoint = [savepoint, depth = outer->depth() + 1](
                                   const Connection&, Connection::Batch& batch,
                                   const Connection::SharedResponse&) {
        batch.push_back(
            detail::Request::command("SAVEPOINT " + detail::savepoint_name(depth), savepoint));
    };
    const auto session = std::make_shared<detail::SessionState>(outer, set_savepoint, where);
    const detail::HooksEnd hooks_end{*session, session->hooks()};
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const detail::ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state,
                                                     session->shared().strand};
    detail::ResultSlot<detail::BodyResult<Body>> result;
    const auto end = [savepoint](detail::SessionState& nested, std::exception_ptr error) {
        return detail::end_scope(nested, savepoint, std::move(error));
    };
    co_await detail::run_session(executor, cancellation, session, body, end, result);
    co_return detail::take_result<Body>(result);
}

}  // namespace txscope
