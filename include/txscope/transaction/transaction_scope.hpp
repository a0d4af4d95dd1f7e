#pragma once

#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/detail/scope_run.hpp>
#include <txscope/transaction/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

namespace txscope {

/// Makes what happens in a body happen together: all of it is committed, or none.
///
/// ```cpp
/// txscope::TransactionScope scope{sessions, {.isolation = IsolationLevel::serializable}};
/// co_await scope([&]() -> asio::awaitable<void> {     // or (txscope::Transaction& transaction)
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
/// **Cancellation**: at every `co_await` in the body, by any type that the caller listens to, which
/// comes to the body as one of all types; the transaction is rolled back before the scope's `co_await`
/// throws `operation_aborted`. From `COMMIT` on the outcome is awaited instead, at most for the pool's
/// `cleanup_timeout`.
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
        : made_{std::make_shared<const Made>(Made{std::move(sessions), options, where})} {}

    /// Runs `body()`, `body(Transaction&)` or `body(Session&)`, which returns `asio::awaitable<T>`, and yields its value.
    /// May be called again, for another transaction.
    ///
    /// Moving a `T` must not throw: once the transaction is committed, nothing may go wrong. What may
    /// (a `std::deque`, for one) is returned in a `std::unique_ptr`, or kept outside of the body.
    template <detail::ScopeBody<Transaction> Body>
        requires detail::NothrowResult<detail::BodyResult<Body, Transaction>>
    [[nodiscard]] asio::awaitable<detail::BodyResult<Body, Transaction>> operator()(
        Body body) const {
        return run(made_, std::move(body));
    }
    /// Does not compile. Its type is deduced, so that compilers say why ahead of anything else.
    template <typename Body>
    auto operator()(Body) const {
        return detail::refuse_body<Body, Transaction>();
    }

private:
    /// What it was made with, which its calls share: thousands of them may be under way.
    struct Made {
        AsyncSessionFactory sessions;
        TransactionOptions options;
        std::source_location where;
    };

    template <typename Body>
    static asio::awaitable<detail::BodyResult<Body, Transaction>> run(
        std::shared_ptr<const Made> made, Body body);

    std::shared_ptr<const Made> made_;
};

template <typename Body>
asio::awaitable<detail::BodyResult<Body, Transaction>> TransactionScope::run(
    std::shared_ptr<const Made> made, Body body) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    detail::ScopeRun run{made->sessions.pool(), made->options, made->where, executor};
    if (run.takes_turns()) co_await run.take_turn();
    for (;;) {
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        run.begin(caller);
        detail::ResultSlot<detail::BodyResult<Body, Transaction>> result;
        std::exception_ptr error;
        try {
            if (!run.joins() || run.has_deadline()) {
                auto work = run.joins()
                                ? detail::run_joined<Transaction>(run.session(), body, result)
                                : detail::run_on_strand<Transaction>(run.session(), body, result);
                co_await run.spawn(std::move(work));
            } else {
                Transaction session{run.session(), true};
                if constexpr (std::is_void_v<detail::BodyResult<Body, Transaction>>)
                    co_await detail::invoke_body(body, session);
                else
                    result.emplace(co_await detail::invoke_body(body, session));
            }
        } catch (...) {
            error = std::current_exception();
        }
        bool again = run.ended(error, caller);
        if (again) {
            const bool throws = co_await asio::this_coro::throw_if_cancelled();
            co_await asio::this_coro::throw_if_cancelled(false);
            again = co_await run.settle(throws);
        }
        if (!again) co_return detail::take_result<detail::BodyResult<Body, Transaction>>(result);
    }
}

}  // namespace txscope
