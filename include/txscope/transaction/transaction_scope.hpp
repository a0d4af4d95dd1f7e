#pragma once

#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/detail/ending.hpp>
#include <txscope/transaction/detail/opening.hpp>
#include <txscope/transaction/transaction_options.hpp>

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
/// **Errors**: the body's exception comes out as it is, also when the rollback fails. A body that
/// swallows a statement's error gets `UnexpectedRollback` at its end, with that error nested
/// inside; the way to recover from an error is a `nested` scope around the statement. A connection
/// lost while `COMMIT` is under way gives `CommitInDoubt`.
///
/// **Cancellation**: at every `co_await` in the body; the transaction is rolled back before the
/// scope's `co_await` throws `operation_aborted`. From `COMMIT` on the outcome is awaited instead,
/// at most for the pool's `cleanup_timeout`.
///
/// **Destruction** of a scope in progress (of its coroutine, or of the whole execution context)
/// never commits.
///
/// **Threads**: the body runs on a strand over the caller's executor, with all its branches.
class TransactionScope {
public:
    explicit TransactionScope(AsyncSessionFactory sessions, TransactionOptions options = {},
                              std::source_location where = std::source_location::current())
        : sessions_{std::move(sessions)}, options_{options}, where_{where} {}

    /// Runs `body()` or `body(Session&)`, which returns `asio::awaitable<T>`, and yields its value.
    /// May be called again, for another transaction.
    template <detail::ScopeBody Body>
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
    const auto executor = co_await asio::this_coro::executor;
    const auto ambient = detail::ambient_of(executor);
    const auto* found = detail::find_ambient(ambient.get(), sessions.pool().get());
    const Shared outer = found != nullptr ? found->session : nullptr;
    if (!outer || !outer->conversation().transaction) {
        auto conversation = std::make_shared<detail::Conversation>(
            sessions.pool(), detail::strand_on(executor), true);
        auto session = std::make_shared<detail::SessionState>(
            std::move(conversation), detail::begin_transaction(options), where);
        co_return co_await detail::run_session(std::move(session), std::move(body),
                                               detail::end_transaction);
    }
    if (options.propagation == Propagation::nested)
        co_return co_await nest(outer, where, std::move(body));
    co_return co_await join(outer, std::move(body));
}

template <typename Body>
auto TransactionScope::join(Shared outer, Body body) -> Outcome<Body> {
    outer->check_open();
    const auto joining = outer->joining();
    Session session{outer, true};
    std::exception_ptr error;
    try {
        co_return co_await detail::invoke_body(body, session);
    } catch (...) {
        error = std::current_exception();
    }
    outer->doom(error);
    std::rethrow_exception(error);
}

template <typename Body>
auto TransactionScope::nest(Shared outer, std::source_location where, Body body) -> Outcome<Body> {
    outer->check_open();
    const auto turn = co_await outer->nesting().enter();
    outer->check_open();
    std::vector<Statement> opening;
    opening.emplace_back("SAVEPOINT " + detail::savepoint_name(outer->depth() + 1));
    auto session = std::make_shared<detail::SessionState>(outer, std::move(opening), where);
    co_return co_await detail::run_session(std::move(session), std::move(body),
                                           detail::end_savepoint);
}

}  // namespace txscope
