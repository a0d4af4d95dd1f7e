#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// Where a statement may be executed.
enum class Where {
    anywhere,
    in_scope,
};

/// What a repository executes its statements in: the session that is bound, or else what is ambient of
/// the factory's.
struct RepositorySession {
    explicit RepositorySession(AsyncSessionFactory of) : sessions{std::move(of)} {}
    explicit RepositorySession(const Session& always)
        : sessions{AsyncSessionFactory::of(always)}, bound{always} {}

    AsyncSessionFactory sessions;
    std::optional<Session> bound{};
};

/// Executes a statement in the transaction that is ambient on `executor`, or on a connection of its
/// own, in one round trip, when there is none.
/// @throws PropagationError in no transaction, where it has to be in one
TXSCOPE_LAZY boost::asio::awaitable<Result> execute_on(const boost::asio::any_io_executor& executor,
                                                       const RepositorySession& in,
                                                       Statement&& statement, Where where);

/// The same, where the coroutine runs that awaits it, and reads the answer out of the result.
template <typename Read>
boost::asio::awaitable<std::invoke_result_t<Read&, const Result&>> execute_ambient(
    RepositorySession in, Statement statement, Read read, Where where = Where::anywhere) {
    const boost::asio::any_io_executor executor = co_await boost::asio::this_coro::executor;
    const Result result = co_await execute_on(executor, in, std::move(statement), where);
    co_return read(result);
}

/// Leaves a statement for the ambient session to send with whatever it sends next.
void enqueue_ambient(const RepositorySession& in, Statement statement);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/transaction/ambient.hpp>

#include <string>

namespace txscope::detail {

TXSCOPE_LAZY_INLINE boost::asio::awaitable<Result> execute_on(
    const boost::asio::any_io_executor& executor, const RepositorySession& in,
    Statement&& statement, Where where) {
    std::optional<Session> session = in.bound ? in.bound : session_on(executor, in.sessions);
    if (where == Where::in_scope && !(session && session->in_transaction()))
        throw PropagationError{
            "rows are locked until the end of a transaction, and there is none here. Refused: " +
            std::string{statement.sql()}};
    return session ? session->execute(std::move(statement))
                   : in.sessions.execute(std::move(statement));
}

TXSCOPE_INLINE void enqueue_ambient(const RepositorySession& in, Statement statement) {
    std::optional<Session> session = in.bound ? in.bound : ambient_session_here(in.sessions);
    if (!session)
        throw PropagationError{
            "add() writes behind and so needs an open scope; without one, create() "
            "writes at once. Refused: " +
            std::string{statement.sql()}};
    session->enqueue(std::move(statement));
}

}  // namespace txscope::detail

#endif
