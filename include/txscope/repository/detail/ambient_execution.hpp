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

/// Executes a statement in the ambient transaction of the awaiting coroutine, or on a connection of
/// its own, in one round trip, when there is none; and reads the answer out of the result.
template <typename Answer>
boost::asio::awaitable<Answer> execute_ambient(AsyncSessionFactory sessions, Statement statement,
                                               Answer (*read)(const Result&)) {
    std::optional<Session> session = co_await ambient_session(sessions);
    Result result;
    if (session)
        result = co_await session->execute(std::move(statement));
    else
        result = co_await sessions.execute(std::move(statement));
    co_return read(result);
}

/// Leaves a statement for the ambient session to send with whatever it sends next.
inline void enqueue_ambient(const AsyncSessionFactory& sessions, Statement statement) {
    std::optional<Session> session = ambient_session_here(sessions);
    if (!session)
        throw PropagationError{
            "add() writes behind and so needs an open scope; without one, create() "
            "writes at once. Refused: " +
            std::string{statement.sql()}};
    session->enqueue(std::move(statement));
}

}  // namespace txscope::detail
