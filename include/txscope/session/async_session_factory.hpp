#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/pool/pool_statistics.hpp>
#include <txscope/session/detail/hooks.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/notification.hpp>
#include <txscope/session/pool_options.hpp>
#include <txscope/session/replicas.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

class Listener;
class SessionPool;
struct SpecialExecution;

}  // namespace detail

/// Lends connections to PostgreSQL: a bounded pool that serves in strict order of asking, with
/// whatever comes first: a connection that comes back, or one that is opened. While a server is down
/// or full, who waits goes on waiting, until `acquire_timeout`: attempts to open one go on, after
/// pauses. What stays (a password, a database that is not there) fails all who wait, unless another
/// connection is on loan that may come back.
///
/// ```cpp
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.max_size = 16}};
/// TransactionScope scope{sessions};                               // transactions
/// co_await sessions.execute("REFRESH MATERIALIZED VIEW totals");  // one statement by itself
/// ```
///
/// Connections are opened when first needed. An idle one whose server goes away is noticed at once
/// and dropped. One that comes back in use is cancelled, rolled back and reset before it is lent
/// again, or closed; so is what a statement changed in the session (`SET`, a temporary table). What
/// functions that it calls change there is not seen, and stays.
///
/// **Settings** of a server, a database, a role or the connection string change no value: texts are
/// UTF-8, `DateStyle` is `ISO, MDY`, numbers are exact, and so on, unless a statement sets them
/// otherwise. Behind a pooler that does not keep such a setting for its client, opening a connection
/// fails and names it, if the server connection that the pooler lends at that moment has it
/// otherwise. `TimeZone` and `search_path` are yours.
///
/// **Lifetime**: a cheap handle; copies share one pool, and the last copy closes it. It must not
/// outlive the execution context. Idle connections have a read armed, which keeps
/// `io_context::run()` from returning: make the factory inside the coroutine that uses it, or
/// `co_await close()`.
///
/// **Threads**: usable from any number of them, and from coroutines on any execution context: a
/// connection on loan belongs to its borrower's, so that this one may be destroyed at any time.
class AsyncSessionFactory {
public:
    /// @param conninfo a URI or a list of keywords (PostgreSQL manual, "Connection Strings"). It is
    ///     read when the first connection is opened, whose failure is a `ConnectionFailed`.
    /// @throws pqxx::argument_error for options out of range
    TXSCOPE_LAZY AsyncSessionFactory(asio::any_io_executor executor, std::string conninfo,
                                     PoolOptions options = {});

    template <std::derived_from<asio::execution_context> Context>
    AsyncSessionFactory(Context& context, std::string conninfo, PoolOptions options = {})
        : AsyncSessionFactory{context.get_executor(), std::move(conninfo), options} {}

    /// A factory for a server and its replicas, which take scopes that want one. `options` hold for
    /// each server: `max_size` connections to the primary, and as many to each replica.
    ///
    /// No scope waits until a connection to a replica is opened or comes back: where none is idle, one is
    /// opened for the next, and another server answers meanwhile.
    /// @throws pqxx::argument_error for options out of range, or servers that there cannot be
    TXSCOPE_LAZY AsyncSessionFactory(asio::any_io_executor executor, Servers servers,
                                     PoolOptions options = {});

    template <std::derived_from<asio::execution_context> Context>
    AsyncSessionFactory(Context& context, Servers servers, PoolOptions options = {})
        : AsyncSessionFactory{context.get_executor(), std::move(servers), options} {}

    /// The factory whose session it is.
    static AsyncSessionFactory of(const Session& session);

    /// Executes one statement on a connection of its own, in one round trip. It commits by itself. One
    /// that fails because it was prepared for what is no more is asked again at once.
    /// @throws what `Session::execute` throws
    template <typename... Args>
    asio::awaitable<Result> execute(std::string_view sql, const Args&... args) const {
        return execute(Statement{sql, args...});
    }
    TXSCOPE_LAZY asio::awaitable<Result> execute(Statement statement) const;
    /// The same in another time than `PoolOptions::default_timeout`, which begins with this call.
    /// @throws StatementTimeout
    template <typename... Args>
    asio::awaitable<Result> execute(Within limit, std::string_view sql, const Args&... args) const {
        return execute(limit, Statement{sql, args...});
    }
    TXSCOPE_LAZY asio::awaitable<Result> execute(Within limit, Statement statement) const;
    template <detail::NoSql Other, typename... Args>
    asio::awaitable<Result> execute(const Other&, const Args&...) const {
        detail::refuse_sql<Other>();
        return {};
    }

    /// Executes all of them on a connection of its own, in one round trip, and returns a result for each.
    /// They commit together, or none of them does: see `Session::execute_all`.
    /// @throws what `Session::execute` throws
    TXSCOPE_LAZY asio::awaitable<std::vector<Result>> execute_all(
        std::vector<Statement> statements) const;
    template <typename Other>
        requires(!std::convertible_to<Other, std::vector<Statement>>)
    asio::awaitable<std::vector<Result>> execute_all(const Other&) const {
        static_assert(detail::never<Other>, "txscope: execute_all takes a std::vector<Statement>");
        return {};
    }

    /// Runs `body(Session&)` with a connection to itself and without a transaction: each statement
    /// commits by itself, but statements that were enqueued commit together with the one that
    /// follows them. What is still enqueued at the end is sent. Statements may be `BEGIN` and `COMMIT`;
    /// what a `BEGIN` leaves open at the end is rolled back, which is an `UnfinishedWork`.
    template <detail::ScopeBody Body>
    asio::awaitable<detail::BodyResult<Body>> session_scope(
        Body body, std::source_location where = std::source_location::current()) const {
        return detail::run_plain_session(pool_, std::move(body), where);
    }
    /// Does not compile. Its type is deduced, so that compilers say why ahead of anything else.
    template <typename Body>
    auto session_scope(Body, std::source_location = std::source_location::current()) const {
        return detail::refuse_body<Body, Session>();
    }

    /// Listens to `channel`, and calls `handler(const Notification&)` with what is notified there, one
    /// after another, in the order of commits; it may be a coroutine (`asio::awaitable<void>`) or not.
    /// Goes on until it is cancelled, or the handler throws.
    ///
    /// ```cpp
    /// co_await sessions.listen("jobs", [&](const Notification& told) -> asio::awaitable<void> {
    ///     if (told.kind == Notification::subscribed)
    ///         co_await work_on_all();           // there may have been notifications before
    ///     else
    ///         co_await work_on(told.payload);
    /// });
    /// ```
    ///
    /// It has a connection of its own, beyond `max_size`, opened within `opening_timeout`; `close()`
    /// does not end it. While the server is down, and when the connection is lost, it tries again after
    /// pauses; the handler is told `subscribed` again, and the observer why (`ScopeEvent::retry`,
    /// `where` being this call). What the handler does in the database is its own, whatever scope this
    /// is called in. While it is busy, notifications wait, in the end with the server: one for ever
    /// would fill the server's queue (`pg_notification_queue_usage()`).
    ///
    /// A pooler that lends a server's connection by transactions does not pass on notifications, and
    /// PgBouncer answers `LISTEN` as if it did: listen past it, or by sessions.
    ///
    /// @param channel as it is, in its own case (`NOTIFY Jobs` notifies "jobs"): 1 to 63 bytes
    /// @throws what the handler throws; why it could not listen, if it never has and that stays (a
    ///     password, a database that is not there); pqxx::argument_error
    template <typename Handler>
    asio::awaitable<void> listen(
        const std::convertible_to<std::string_view> auto& channel, Handler handler,
        const ListenOptions& options = {},
        std::source_location where = std::source_location::current()) const {
        detail::check_hook<Handler, const Notification&>();
        return listen(std::vector{std::string{std::string_view{channel}}}, std::move(handler),
                      options, where);
    }
    /// The same with several channels over one connection, told `subscribed` once for all of them.
    template <typename Handler>
    asio::awaitable<void> listen(
        std::vector<std::string> channels, Handler handler, const ListenOptions& options = {},
        std::source_location where = std::source_location::current()) const {
        detail::check_hook<Handler, const Notification&>();
        return listen_with(channels, detail::make_hook<const Notification&>(std::move(handler)),
                           options, where);
    }

    /// What this factory has written by now, to be read from a replica by whoever is given that. Asks
    /// the primary, unless that has been told with the last `COMMIT`, as it is where there are replicas.
    /// @throws what `execute` throws
    TXSCOPE_LAZY asio::awaitable<ReadYourWrites> written() const;

    /// Waits until `count` connections are open, at most `max_size`, as who needs one would; where there
    /// are replicas, to each, but for one to which none can be opened.
    /// @throws ConnectionFailed for what stays; AcquireTimeout, with the reason nested inside
    TXSCOPE_LAZY asio::awaitable<void> warm_up(std::size_t count) const;

    /// Waits until one connection is open, or says at once why that cannot be, also where it may pass:
    /// for a start-up that wants to know. Where one is open already, the server is not asked. That is
    /// the primary; replicas may come and go.
    /// @throws ConnectionFailed; AcquireTimeout where nobody answers
    TXSCOPE_LAZY asio::awaitable<void> ready() const;

    /// Replaces the connections that there are: those that are idle at once, those on loan when they come
    /// back. For the end of a migration or after a change of a role's settings, which sessions take over
    /// only when they begin.
    void recycle() const noexcept;

    /// Goes on with other bounds: of numbers, and of the time to wait, to open, to live, to be idle and
    /// to ping. Connections that are too many are closed when nobody has them. What concerns statements,
    /// scopes, the observer and cleaning up stays as it was when the factory was made.
    /// @throws pqxx::argument_error for options out of range
    TXSCOPE_LAZY void reconfigure(const PoolOptions& options) const;

    /// Every statement is prepared anew before it is used again, on each connection: for the end of
    /// a migration that altered types, instead of waiting for `PoolOptions::statement_lifetime`.
    void forget_statements() const noexcept;

    /// Lends no more connections (`PoolClosed`), also to those who wait, and waits until those on
    /// loan are back and closed.
    /// @throws pqxx::usage_error in a scope that has one on loan itself
    TXSCOPE_LAZY asio::awaitable<void> close() const;

    /// Of all servers together.
    PoolStatistics statistics() const;

    /// Who has the pool's connections, to the primary and to replicas, the longest first: what to look
    /// at where it is empty. A scope that has taken none yet is not among them, nor who listens, whose
    /// connection is none of the pool's, nor what is being opened or reset.
    std::vector<ConnectionHolder> holders() const;

    /// For the layers above.
    const std::shared_ptr<detail::SessionPool>& pool() const noexcept { return pool_; }

private:
    using SharedPool = std::shared_ptr<detail::SessionPool>;

    TXSCOPE_LAZY void start(ConnectionHooks* hooks);
    TXSCOPE_LAZY static asio::awaitable<Result> execute_alone(
        SharedPool pool, Statement statement, detail::Clock::time_point deadline,
        detail::SpecialExecution* special = nullptr);
    TXSCOPE_LAZY asio::awaitable<void> listen_with(const std::vector<std::string>& channels,
                                                   detail::HookOf<const Notification&> handler,
                                                   const ListenOptions& options,
                                                   std::source_location where) const;
    TXSCOPE_LAZY static asio::awaitable<void> listen(SharedPool pool,
                                                     std::unique_ptr<detail::Listener> listener);
    TXSCOPE_LAZY static asio::awaitable<void> close(SharedPool pool);
    TXSCOPE_LAZY static asio::awaitable<ReadYourWrites> written(SharedPool pool);
    template <typename Function>
    static asio::awaitable<void> on_strand(SharedPool pool, Function function);

    explicit AsyncSessionFactory(SharedPool pool) : pool_{std::move(pool)} {}

    SharedPool pool_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/connection_hooks.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/detail/listener.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/detail/special_execution.hpp>

#include <boost/asio/this_coro.hpp>
#include <pqxx/except>

namespace txscope {

template <typename Function>
asio::awaitable<void> AsyncSessionFactory::on_strand(SharedPool pool, Function function) {
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    detail::ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state,
                                               callers,
                                               detail::AmbientExecutor{detail::strand_on(callers)}};
    co_await cancellation.spawn(function(*pool));
}

TXSCOPE_LAZY_INLINE AsyncSessionFactory::AsyncSessionFactory(asio::any_io_executor executor,
                                                             std::string conninfo,
                                                             PoolOptions options)
    : pool_{std::make_shared<detail::SessionPool>(std::move(executor), std::move(conninfo),
                                                  options)} {
    start(options.hooks);
}

TXSCOPE_LAZY_INLINE AsyncSessionFactory::AsyncSessionFactory(asio::any_io_executor executor,
                                                             Servers servers, PoolOptions options)
    : pool_{std::make_shared<detail::SessionPool>(std::move(executor), servers.primary, options)} {
    pool_->add_replicas(std::move(servers));
    start(options.hooks);
}

TXSCOPE_LAZY_INLINE void AsyncSessionFactory::start(ConnectionHooks* hooks) {
    const auto calls = hooks != nullptr ? hooks->for_pools_(pool_, hooks) : nullptr;
    pool_->for_each([&](detail::Pool& pool) { pool.start(calls); });
}

TXSCOPE_INLINE AsyncSessionFactory AsyncSessionFactory::of(const Session& session) {
    return AsyncSessionFactory{session.state().shared().pool};
}

TXSCOPE_LAZY_INLINE asio::awaitable<Result> AsyncSessionFactory::execute(
    Statement statement) const {
    return execute(Within{pool_->options().default_timeout}, std::move(statement));
}

TXSCOPE_LAZY_INLINE asio::awaitable<Result> AsyncSessionFactory::execute(
    Within limit, Statement statement) const {
    return execute_alone(pool_, std::move(statement), detail::deadline_of(limit.time));
}

TXSCOPE_LAZY_INLINE asio::awaitable<std::vector<Result>> AsyncSessionFactory::execute_all(
    std::vector<Statement> statements) const {
    const auto deadline = detail::deadline_of(pool_->options().default_timeout);
    return detail::execute_all(
        std::move(statements),
        [pool = pool_, deadline](Statement last, detail::SpecialExecution* special) {
            return execute_alone(pool, std::move(last), deadline, special);
        });
}

TXSCOPE_INLINE PoolStatistics AsyncSessionFactory::statistics() const {
    return pool_->statistics_of_all();
}

TXSCOPE_INLINE std::vector<ConnectionHolder> AsyncSessionFactory::holders() const {
    return pool_->holders_of_all();
}

TXSCOPE_INLINE void AsyncSessionFactory::recycle() const noexcept {
    pool_->for_each(&detail::Pool::recycle);
}

TXSCOPE_LAZY_INLINE void AsyncSessionFactory::reconfigure(const PoolOptions& options) const {
    pool_->reconfigure(options);
}

TXSCOPE_INLINE void AsyncSessionFactory::forget_statements() const noexcept {
    pool_->for_each([](detail::Pool& pool) { pool.connector().forget_statements(); });
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::warm_up(std::size_t count) const {
    return on_strand(pool_, [count](detail::SessionPool& pool) { return pool.warm_up_all(count); });
}

TXSCOPE_LAZY_INLINE asio::awaitable<ReadYourWrites> AsyncSessionFactory::written() const {
    return written(pool_);
}

TXSCOPE_LAZY_INLINE asio::awaitable<ReadYourWrites> AsyncSessionFactory::written(SharedPool pool) {
    detail::Replicas* const replicas = pool->replicas();
    const auto now = replicas != nullptr ? replicas->written() : detail::WrittenPosition{};
    if (replicas != nullptr && now.known()) co_return now.latest();
    const AsyncSessionFactory sessions{pool};
    const Result answer = co_await sessions.execute(detail::Replicas::position_question());
    const ReadYourWrites position = detail::Replicas::position_of(answer.one());
    if (replicas != nullptr) replicas->learn(position, now.writes());
    co_return position;
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::ready() const {
    return on_strand(pool_, [](detail::Pool& pool) {
        return pool.warm_up(1, detail::Pool::OnFailure::give_up);
    });
}

TXSCOPE_LAZY_INLINE asio::awaitable<Result> AsyncSessionFactory::execute_alone(
    SharedPool pool, Statement statement, detail::Clock::time_point deadline,
    detail::SpecialExecution* special) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const std::source_location no_scope{};
    const auto session = detail::begin_session(std::move(pool), executor, no_scope);
    try {
        Result result = co_await detail::SessionState::execute(session, std::move(statement),
                                                               deadline, special);
        if (const auto error = detail::left_open(*session)) std::rethrow_exception(error);
        if (session->span) session->span->end(nullptr);
        co_return result;
    } catch (...) {
        if (session->span) session->span->end(std::current_exception());
        throw;
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::listen_with(
    const std::vector<std::string>& channels, detail::HookOf<const Notification&> handler,
    const ListenOptions& options, std::source_location where) const {
    return listen(pool_, std::make_unique<detail::Listener>(*pool_, channels, std::move(handler),
                                                            options, where));
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::listen(
    SharedPool pool, std::unique_ptr<detail::Listener> listener) {
    co_await on_strand(pool, [&](detail::Pool&) { return listener->run(); });
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::close() const {
    return close(pool_);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> AsyncSessionFactory::close(SharedPool pool) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const auto* around = detail::find_ambient(detail::ambient_of(executor), pool.get());
    for (; around != nullptr; around = detail::find_ambient(around->outer.get(), pool.get()))
        if (around->session && around->session->shared().lease)
            throw pqxx::usage_error{"a scope that has a connection waits for its own end here"};
    co_await on_strand(pool, [](detail::SessionPool& all) { return all.close_all(); });
}

}  // namespace txscope

#endif
