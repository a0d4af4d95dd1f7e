#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/ambient.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace txscope {

namespace detail {

template <typename... Ts, typename OnRow>
asio::awaitable<std::uint64_t> stream_ambient(AsyncSessionFactory sessions, Statement statement,
                                              OnRow on_row) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    std::optional<Session> session = session_on(executor, sessions);
    if (session && session->in_transaction())
        co_return co_await session->stream<Ts...>(std::move(statement), std::move(on_row));
    const TransactionScope scope{std::move(sessions), {.label = "stream"}};
    co_return co_await scope(
        [&](Session& own) { return own.stream<Ts...>(std::move(statement), std::move(on_row)); });
}

}  // namespace detail

/// `Session::stream` in the transaction of `sessions` that is ambient here, or else in one of its own,
/// which is `on_row`'s, too.
///
/// ```cpp
/// co_await txscope::stream<Project>(sessions, "SELECT * FROM projects WHERE status = $1", "draft",
///                                   [&](const Project& project) { print(project); });
/// ```
///
/// @throws what `Session::stream` and a `TransactionScope` throw
template <typename... Ts, typename... Args>
asio::awaitable<std::uint64_t> stream(AsyncSessionFactory sessions, std::string_view sql,
                                      Args&&... args_and_on_row) {
    (detail::check_readable<Ts>(), ...);
    using Rows = typename detail::RowsOf<Ts...>::Type;
    detail::check_on_row<Rows, Args...>();
    if constexpr (detail::end_with_on_row<Rows, Args...>)
        return detail::split_on_row(
            [&](auto on_row, const auto&... args) {
                return detail::stream_ambient<Ts...>(std::move(sessions), Statement{sql, args...},
                                                     std::move(on_row));
            },
            std::forward<Args>(args_and_on_row)...);
    return {};
}

}  // namespace txscope
