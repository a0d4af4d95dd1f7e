#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/ambient.hpp>

#include <boost/asio/awaitable.hpp>

#include <optional>
#include <utility>

namespace txscope::detail {

/// Executes a statement in the ambient transaction of the awaiting coroutine; on a connection of
/// its own, in one round trip, when there is none.
inline boost::asio::awaitable<Result> execute_ambient(AsyncSessionFactory sessions,
                                                      Statement statement) {
    std::optional<Session> session = co_await ambient_session(sessions);
    if (session) co_return co_await session->execute(std::move(statement));
    co_return co_await sessions.execute(std::move(statement));
}

/// Leaves a statement for the ambient transaction to send with whatever it sends next.
inline void enqueue_ambient(const AsyncSessionFactory& sessions, Statement statement) {
    std::optional<Session> session = ambient_session_here(sessions);
    if (!session)
        throw PropagationError{
            "add() writes behind and so needs an open transaction scope; without one, create() "
            "writes at once. Refused: " +
            statement.sql()};
    session->enqueue(std::move(statement));
}

}  // namespace txscope::detail
