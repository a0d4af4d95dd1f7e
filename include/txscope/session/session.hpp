#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/detail/channel.hpp>
#include <txscope/session/detail/hooks.hpp>
#include <txscope/session/detail/row_stream.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope {

namespace asio = boost::asio;

/// The longest time for one statement, the wait for a connection included.
struct Within {
    std::chrono::milliseconds time;  ///< 0: no limit.
};
/// ```cpp
/// co_await session.execute(within(200ms), "SELECT * FROM report($1)", month);
/// ```
/// @throws pqxx::argument_error for a time below zero
Within within(std::chrono::milliseconds time);

namespace detail {

/// What is executed in vain.
template <typename T>
concept NoSql = !std::convertible_to<const T&, std::string_view> &&
                !std::convertible_to<const T&, Statement> && !std::same_as<T, Within>;

/// Does not compile, and says why.
template <NoSql Other>
constexpr void refuse_sql() {
    static_assert(never<Other>,
                  "txscope: what is executed is a text of SQL, and behind it its values, or a "
                  "Statement, with within(time) ahead of it or without");
}

}  // namespace detail

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
/// A handle: copies mean the same session, and within a nested scope all mean that scope's. The
/// connection is taken with the first statement, and a transaction's `BEGIN` goes out with it.
///
/// **Lifetime**: after its scope every call fails with `ScopeEnded` and sends nothing. A copy must
/// not outlive the execution context; and where the scope was destroyed in progress, its connection
/// comes back only when the copies are gone.
///
/// **Parallel**: statements of parallel branches (`a() && b()`) share a round trip, and are
/// executed one after another in the order they were started.
///
/// **Cancellation**: cancels the statement on the server and waits, at most the pool's
/// `cleanup_timeout`, until it has ended; then throws `boost::system::system_error`
/// (`operation_aborted`). The transaction can then only be rolled back. Parallel statements of the
/// same session may be hit too.
///
/// **Threads**: `execute` and `flush` from anywhere; they run on the scope's strand. All else from
/// the scope's body and what it awaits. What runs elsewhere, on an executor that does not carry the
/// session, waits while a nested scope is open: the body of that must not wait for it.
class Session {
public:
    /// Executes one statement, `args` being the values of its `$1`, `$2`, …, and returns its
    /// result.
    ///
    /// All that was enqueued goes ahead of it, in the same round trip; the first error of these is
    /// thrown.
    ///
    /// @throws SqlError, which is also libpqxx's class for the error (`pqxx::unique_violation`, …)
    /// @throws ValueError for an argument that cannot be sent, such as a text with a NUL character
    /// @throws TransactionAborted after a statement of this transaction, or a scope that had joined
    ///     it, failed
    /// @throws ConnectionLost, ScopeEnded
    /// @throws ConnectionFailed, AcquireTimeout, PoolExhausted, PoolDeadlock, PoolClosed where it is
    ///     the first statement, which takes the connection
    /// @throws pqxx::usage_error for `COMMIT` and the like in a transaction: scopes do that; and for
    ///     `COPY … FROM STDIN` and `TO STDOUT`
    template <typename... Args>
    asio::awaitable<Result> execute(std::string_view sql, const Args&... args) {
        return execute(Statement{sql, args...});
    }
    TXSCOPE_LAZY asio::awaitable<Result> execute(Statement statement);

    /// The same, in a time that begins with this call. When it is over, the statement is cancelled on
    /// the server, as by the caller's cancellation.
    /// @throws StatementTimeout; the transaction has then failed as by any failed statement, unless
    ///     the statement had not been sent yet
    template <typename... Args>
    asio::awaitable<Result> execute(Within limit, std::string_view sql, const Args&... args) {
        return execute(limit, Statement{sql, args...});
    }
    TXSCOPE_LAZY asio::awaitable<Result> execute(Within limit, Statement statement);
    template <detail::NoSql Other, typename... Args>
    asio::awaitable<Result> execute(const Other&, const Args&...) {
        detail::refuse_sql<Other>();
        return {};
    }

    /// Executes all of them, in this order and in one round trip, and returns a result for each. For a
    /// number of statements that is known at run time; none are no round trip.
    ///
    /// ```cpp
    /// std::vector<Statement> renames;
    /// for (const auto& [id, name] : names)
    ///     renames.emplace_back("UPDATE projects SET name = $1 WHERE id = $2", name, id);
    /// const std::vector<Result> results = co_await session.execute_all(std::move(renames));
    /// ```
    ///
    /// They take effect together, or none of them does: the first one that fails keeps the server from
    /// executing those behind it, and its error, with its text, is thrown. The transaction has then
    /// failed as by any statement; in a session without one, what was ahead of it is undone.
    ///
    /// @throws what `execute` throws; pqxx::usage_error for `COMMIT` and the like in any session
    TXSCOPE_LAZY asio::awaitable<std::vector<Result>> execute_all(
        std::vector<Statement> statements);
    template <typename Other>
        requires(!std::convertible_to<Other, std::vector<Statement>>)
    asio::awaitable<std::vector<Result>> execute_all(const Other&) {
        static_assert(detail::never<Other>, "txscope: execute_all takes a std::vector<Statement>");
        return {};
    }

    /// Executes one statement, and calls `on_row` with each of its rows, one after another, in constant
    /// memory over any size of result. Returns how many rows there were.
    ///
    /// ```cpp
    /// co_await session.stream("SELECT * FROM log WHERE at < $1", then, [&](const Row& row) { ... });
    /// co_await session.stream<std::int64_t, std::string>(
    ///     "SELECT id, name FROM projects", [&](std::int64_t id, std::string name) { ... });
    /// co_await session.stream<Project>("SELECT * FROM projects",
    ///                                  [&](Project project) -> asio::awaitable<void> { ... });
    /// ```
    ///
    /// What comes behind the values of `$1`, `$2`, … is `on_row`, a function or a coroutine, which may
    /// execute other statements of the transaction, and stream them. It gets a `Row`, or columns of the
    /// types that are given, or one described struct, as `Result::rows` and `Result::as` give them.
    ///
    /// **Back-pressure**: the server makes rows a batch at a time, and those of the next one when
    /// `on_row` is done with the last. A batch has at first 64 rows, then as many as took 256 KB in the
    /// batch before, but 1 to 256, and not more than eight times as many: so it is never larger than 256
    /// of the widest rows, whatever came before these. One round trip each: what has
    /// fewer than 64 rows takes one, as `execute` does. What the statement writes is written with the
    /// first batch (`RETURNING`). The server runs such a query without parallel workers.
    ///
    /// **Errors**: what `on_row` throws ends it, and comes out; the transaction goes on. An error of the
    /// server's may come when rows were given already, and fails the transaction.
    ///
    /// Called from the scope's body and what that awaits, as `enqueue` is. A row that is kept keeps its
    /// whole batch.
    ///
    /// @throws what `execute` and `on_row` throw; ColumnError for a row that does not fit the types;
    ///     pqxx::usage_error in a session without a transaction: see `txscope::stream`
    template <typename... Ts, typename... Args>
    asio::awaitable<std::uint64_t> stream(std::string_view sql, Args&&... args_and_on_row) {
        (detail::check_readable<Ts>(), ...);
        using Rows = typename detail::RowsOf<Ts...>::Type;
        detail::check_on_row<Rows, Args...>();
        if constexpr (detail::end_with_on_row<Rows, Args...>)
            return detail::split_on_row(
                [&](auto on_row, const auto&... args) {
                    return stream<Ts...>(Statement{sql, args...}, std::move(on_row));
                },
                std::forward<Args>(args_and_on_row)...);
        return {};
    }
    template <typename... Ts, typename OnRow>
    asio::awaitable<std::uint64_t> stream(Statement statement, OnRow on_row) {
        using Rows = typename detail::RowsOf<Ts...>::Type;
        detail::check_on_row<Rows, OnRow>();
        if constexpr (detail::end_with_on_row<Rows, OnRow>)
            return detail::stream_rows<Rows>(state_, std::move(statement), std::move(on_row));
        return {};
    }

    /// Queues a statement whose result does not matter; it is sent with the next statement that is
    /// awaited, or with `COMMIT`. If it fails, that await throws its error.
    template <typename... Args>
    void enqueue(std::string_view sql, const Args&... args) {
        enqueue(Statement{sql, args...});
    }
    void enqueue(Statement statement);
    template <detail::NoSql Other, typename... Args>
    void enqueue(const Other&, const Args&...) {
        detail::refuse_sql<Other>();
    }

    /// Queues a notification, as `enqueue` does: it goes to all that listen to `channel` once the
    /// transaction is committed, in the order of such calls, and equal ones of a transaction once.
    /// @param channel as it is, in its own case: 1 to 63 bytes
    /// @param payload less than 8000 bytes
    /// @throws pqxx::argument_error for anything else
    void notify(std::string_view channel, std::string_view payload = {}) {
        enqueue(detail::notify_statement(channel, payload));
    }

    /// Sends what was enqueued and awaits it, in one round trip.
    TXSCOPE_LAZY asio::awaitable<void> flush();

    /// The transaction is to be rolled back when its body ends, which is then no error: the body's
    /// value is returned. In a scope that has joined another one's transaction, the owner throws
    /// `UnexpectedRollback`; so it does if this is called on a session that `current_session` found
    /// while such a scope was open, in whatever branch.
    /// @throws pqxx::usage_error in a session without a transaction
    void set_rollback_only();

    /// Calls `hook()` when the body has returned, within the transaction, before `COMMIT` is sent;
    /// it may be a coroutine (`asio::awaitable<void>`) or not. An exception rolls back. Not called
    /// when the transaction can only be rolled back by then.
    ///
    /// Hooks run in the order they were registered; one that a hook of the same kind registers
    /// comes after those. What a nested scope registered is its parent's when it is released, and
    /// dropped when it is rolled back. What a failed attempt registered is dropped when the scope
    /// tries again.
    /// @throws pqxx::usage_error in a session without a transaction
    template <typename Function>
    void before_commit(Function hook) {
        detail::check_hook<Function>();
        add_hook(&detail::Hooks::before_commit, detail::make_hook(std::move(hook)));
    }

    /// Calls `hook()` once the outermost scope has been committed, outside of it: what it does in
    /// the database is a transaction of its own. An exception changes nothing any more; the
    /// factory's observer is told of it (`ScopeEvent::hook_failure`).
    template <typename Function>
    void after_commit(Function hook) {
        detail::check_hook<Function>();
        add_hook(&detail::Hooks::after_commit, detail::make_hook(std::move(hook)));
    }

    /// Calls `hook()` once the outermost scope has been rolled back, like `after_commit`. Not
    /// called when the outcome is in doubt.
    template <typename Function>
    void after_rollback(Function hook) {
        detail::check_hook<Function>();
        add_hook(&detail::Hooks::after_rollback, detail::make_hook(std::move(hook)));
    }

    /// Which attempt of the scope's `RetryPolicy` this is, from 1.
    int attempt() const noexcept;
    /// Whether it is a transaction's: what is executed is committed with the scope, rather than by itself.
    bool in_transaction() const noexcept;

    /// For the layers above.
    Session(detail::SharedSession state, bool joined) : state_{std::move(state)}, joined_{joined} {}
    detail::SessionState& state() const noexcept { return *state_; }

private:
    TXSCOPE_LAZY void add_hook(std::vector<detail::Hook> detail::Hooks::* list, detail::Hook hook);

    detail::SharedSession state_;
    bool joined_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/session/detail/hook_calls.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/detail/special_execution.hpp>

#include <pqxx/except>

#include <exception>

namespace txscope {

TXSCOPE_INLINE Within within(std::chrono::milliseconds time) {
    if (time.count() < 0) throw pqxx::argument_error{"within: a time must not be negative"};
    return {time};
}

TXSCOPE_LAZY_INLINE asio::awaitable<Result> Session::execute(Statement statement) {
    return detail::SessionState::execute(state_, std::move(statement));
}

TXSCOPE_LAZY_INLINE asio::awaitable<Result> Session::execute(Within limit, Statement statement) {
    return detail::SessionState::execute(state_, std::move(statement),
                                         detail::deadline_of(limit.time));
}

TXSCOPE_LAZY_INLINE asio::awaitable<std::vector<Result>> Session::execute_all(
    std::vector<Statement> statements) {
    return detail::execute_all(
        std::move(statements), [state = state_](Statement last, detail::SpecialExecution* special) {
            return detail::SessionState::execute(state, std::move(last),
                                                 detail::Clock::time_point::max(), special);
        });
}

TXSCOPE_INLINE void Session::enqueue(Statement statement) { state_->enqueue(std::move(statement)); }

TXSCOPE_LAZY_INLINE asio::awaitable<void> Session::flush() {
    return detail::SessionState::flush(state_);
}

TXSCOPE_INLINE int Session::attempt() const noexcept { return state_->shared().attempt; }

TXSCOPE_INLINE bool Session::in_transaction() const noexcept {
    return state_->machine().is_transaction();
}

TXSCOPE_INLINE void Session::set_rollback_only() {
    if (!in_transaction()) throw pqxx::usage_error{"there is no transaction to roll back"};
    detail::SessionState& scope = state_->here();
    scope.check_not_ended();
    if (&scope == state_.get() ? joined_ : scope.joined())
        scope.machine().scope_failed(
            scope, std::make_exception_ptr(
                       TransactionError{"a joined scope asked for a rollback", scope.where()}));
    else
        scope.set_rollback_only();
}

TXSCOPE_LAZY_INLINE void Session::add_hook(std::vector<detail::Hook> detail::Hooks::* list,
                                           detail::Hook hook) {
    if (!in_transaction())
        throw pqxx::usage_error{"there is no transaction whose end a hook could wait for"};
    detail::SessionState& scope = state_->here();
    const detail::Hooks* const known = scope.hooks();
    if (known == nullptr || known->telling != &(known->*list)) scope.check_not_ended();
    detail::Hooks& hooks = scope.make_hooks();
    hooks.call_before_commit = &detail::call_before_commit;
    hooks.tell_outcome = &detail::tell_outcome;
    (hooks.*list).push_back(std::move(hook));
}

}  // namespace txscope

#endif
