#pragma once

#include <txscope/session/detail/session_state.hpp>

#include <string>
#include <utility>

namespace txscope {

/// A connection to PostgreSQL for as long as a scope lasts, through which statements are executed.
///
/// Handed to the body of a `TransactionScope` or of `AsyncSessionFactory::session_scope`; never
/// made by hand. Repositories find the ambient one by themselves.
///
/// ```cpp
/// co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
///     auto result = co_await session.execute("SELECT name FROM projects WHERE id = $1", id);
///     session.enqueue("UPDATE projects SET seen = now() WHERE id = $1", id);  // goes with COMMIT
/// });
/// ```
///
/// A handle: copies mean the same session. The connection is taken with the first statement, and
/// `BEGIN` goes out with it.
///
/// **Lifetime**: after its scope every call fails with `ScopeEnded` and sends nothing.
///
/// **Parallel**: statements of parallel branches (`a() && b()`) share a round trip, and are
/// executed one after another in the order they were started.
///
/// **Cancellation**: cancels the statement on the server and waits, at most the pool's
/// `cleanup_timeout`, until it has ended; then throws `boost::system::system_error`
/// (`operation_aborted`). The transaction can then only be rolled back. Parallel statements of the
/// same session may be hit too.
///
/// **Threads**: `execute` and `flush` from anywhere; they run on the scope's strand. `enqueue` and
/// `set_rollback_only` from the scope's body and what it awaits.
class Session {
public:
    /// Executes one statement, `args` being the values of its `$1`, `$2`, …, and returns its
    /// result.
    ///
    /// All that was enqueued goes ahead of it, in the same round trip; the first error of these is
    /// thrown.
    ///
    /// @throws SqlError, which is also libpqxx's class for the error (`pqxx::unique_violation`, …)
    /// @throws TransactionAborted after a statement of this transaction failed
    /// @throws ConnectionLost, ScopeEnded
    /// @throws pqxx::usage_error for `COMMIT` and the like: scopes do that
    template <typename... Args>
    asio::awaitable<Result> execute(std::string sql, const Args&... args) {
        return execute(Statement{std::move(sql), args...});
    }
    asio::awaitable<Result> execute(Statement statement) {
        return detail::SessionState::execute(state_, std::move(statement));
    }

    /// Queues a statement whose result does not matter; it is sent with the next statement that is
    /// awaited, or with `COMMIT`. If it fails, that await throws its error.
    template <typename... Args>
    void enqueue(std::string sql, const Args&... args) {
        enqueue(Statement{std::move(sql), args...});
    }
    void enqueue(Statement statement) {
        detail::SessionState::enqueue(state_, std::move(statement));
    }

    /// Sends what was enqueued and awaits it, in one round trip.
    asio::awaitable<void> flush() { return detail::SessionState::flush(state_); }

    /// The transaction is to be rolled back when its body ends, which is then no error: the body's
    /// value is returned. In a scope that has joined another one's transaction, the owner throws
    /// `UnexpectedRollback`.
    void set_rollback_only() {
        if (!state_->conversation().transaction)
            throw pqxx::usage_error{"there is no transaction to roll back"};
        if (joined_)
            state_->doom(std::make_exception_ptr(
                TransactionError{"a joined scope asked for a rollback", state_->where()}));
        else
            state_->set_rollback_only();
    }

    /// For the layers above.
    Session(std::shared_ptr<detail::SessionState> state, bool joined)
        : state_{std::move(state)}, joined_{joined} {}

private:
    std::shared_ptr<detail::SessionState> state_;
    bool joined_;
};

}  // namespace txscope
