#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/connection_hooks.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

/// How a program's hooks of connections are called.
namespace txscope::detail {

/// What a program wants of a connection; false refuses it.
using SessionHook = std::function<asio::awaitable<bool>(Session&)>;

/// Whether what a hook has thrown may be otherwise the next time.
TXSCOPE_INLINE bool may_pass_next_time(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const ConnectionFailed& failure) {
        return failure.is_transient();
    } catch (const ConnectionLost&) {
        return true;
    } catch (const SqlError& failure) {
        return sqlstate::is_transient_refusal(failure.sqlstate());
    } catch (...) {
        return true;
    }
}

TXSCOPE_INLINE std::string reason_text(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const Error& failure) {
        return ": " + failure.message();
    } catch (const std::exception& failure) {
        return std::string{": "} + failure.what();
    } catch (...) {
        return {};
    }
}

/// Awaits `work` of the hook called `name` as a coroutine on `executor`, until `deadline`.
/// @throws ConnectionFailed with what it has thrown; `operation_aborted` when the caller was cancelled
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> call_hook(std::string name,
                                                            AmbientExecutor executor,
                                                            asio::awaitable<void> work,
                                                            Clock::time_point deadline) {
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    ForwardedCancellation cancellation{caller, callers, std::move(executor)};
    cancellation.cancel_at(deadline);
    std::exception_ptr error;
    try {
        co_await cancellation.spawn(std::move(work));
    } catch (...) {
        error = std::current_exception();
    }
    if (!error) co_return;
    if (cancellation.expired())
        error = nest(error, ConnectionFailed{name + " did not end within the time allowed",
                                             {.is_transient = true}});
    else if (caller.cancelled() == asio::cancellation_type::none)
        error = nest(error, ConnectionFailed{name + " failed" + reason_text(error),
                                             {.is_transient = may_pass_next_time(error)}});
    std::rethrow_exception(error);
}

TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> give_conninfo(ConnectionHooks& hooks,
                                                                std::string& conninfo) {
    conninfo = co_await hooks.before_connect(conninfo);
}

TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<std::string> call_before_connect(
    ConnectionHooks& hooks, std::string conninfo, Clock::time_point deadline) {
    const AmbientExecutor executor{strand_on(co_await asio::this_coro::executor)};
    co_await call_hook("before_connect", executor, give_conninfo(hooks, conninfo), deadline);
    co_return conninfo;
}

/// Whether what a hook makes of a session is there for each borrower.
enum class SessionChanges : bool {
    refused,
    kept
};

/// Calls `hook` with a session over `connection`, which nobody else has meanwhile.
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> call_in_session(
    std::string name, SessionChanges changes, std::weak_ptr<SessionPool> pool,
    std::shared_ptr<PooledConnection> connection, Clock::time_point deadline, SessionHook hook) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const auto whose = pool.lock();
    if (!whose) throw PoolClosed{"the session factory is closed"};
    const auto session = open_session(whose, executor, {}, false);
    if (session->shared().reporter) begin_span(*session, name);
    session->shared().take(Lease{nullptr, connection}, {});
    ResultSlot<bool> wanted;
    co_await call_hook(name, executor_of(session), run_on_strand<Session>(session, hook, wanted),
                       deadline);
    Connection& used = *connection->connection;
    used.move_to(whose->connector().executor());
    used.last_sql().set({});
    connection->new_round_trips();  // no loan's
    if (!*wanted) throw ConnectionFailed{name + " refused the connection", {.is_transient = true}};
    if (changes == SessionChanges::kept) used.keep_session();
    if (used.dirty()) throw ConnectionFailed{name + " changed the session", {.is_transient = true}};
}

/// Calls what there is to call for a connection that has come back, or is about to be lent. Returns
/// whether that refuses it.
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<bool> call_loan_hooks(
    const PoolHooks& hooks, std::shared_ptr<PooledConnection> connection,
    Clock::time_point deadline) {
    const Connection& server = *connection->connection;
    try {
        if (connection->state == ConnectionNode::State::cleaning) {
            if (!server.broken() && server.session_reset())
                co_await hooks.after_connect(connection, deadline);
            if (!server.broken() && hooks.after_return)
                co_await hooks.after_return(connection, deadline);
        }
        if (!server.broken() && hooks.before_lend) co_await hooks.before_lend(connection, deadline);
        co_return false;
    } catch (...) {
        co_return true;
    }
}

/// What the pools of a factory are to call.
TXSCOPE_LAZY TXSCOPE_INLINE std::shared_ptr<const PoolHooks> make_pool_hooks(
    const std::weak_ptr<SessionPool>& pool, ConnectionHooks* hooks) {
    auto all = std::make_shared<PoolHooks>();
    all->refuse = &call_loan_hooks;
    const auto in_session = [&pool](const char* name, SessionChanges changes, SessionHook hook) {
        return [pool, name, changes, hook = std::move(hook)](
                   std::shared_ptr<PooledConnection> connection, Clock::time_point deadline) {
            return call_in_session(name, changes, pool, std::move(connection), deadline, hook);
        };
    };
    all->before_connect = [hooks](std::string conninfo, Clock::time_point deadline) {
        return call_before_connect(*hooks, std::move(conninfo), deadline);
    };
    const auto set_up = [hooks](Session& session) -> asio::awaitable<bool> {
        co_await hooks->after_connect(session);
        co_return true;
    };
    all->after_connect = in_session("after_connect", SessionChanges::kept, set_up);
    auto* const loans = dynamic_cast<LoanHooks*>(hooks);
    if (loans == nullptr) return all;
    all->before_lend =
        in_session("before_lend", SessionChanges::refused,
                   [loans](Session& session) { return loans->before_lend(session); });
    all->after_return =
        in_session("after_return", SessionChanges::refused,
                   [loans](Session& session) { return loans->after_return(session); });
    return all;
}

}  // namespace txscope::detail

namespace txscope {

TXSCOPE_LAZY_INLINE ConnectionHooks::ConnectionHooks() : for_pools_{&detail::make_pool_hooks} {}

}  // namespace txscope
