#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/connection.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// What a call asks for besides the result of one statement.
struct SpecialExecution {
    Portal portal{};                 ///< Of the statement.
    std::vector<Statement> ahead{};  ///< Go ahead of it.
    /// Whether all results are wanted: these then, which begin with those of what was queued before.
    bool keeps_all = false;
    std::vector<protocol::ResultBlock> results{};

    /// Puts into `batch`, for `response`, what goes ahead.
    void put_ahead(Connection::Batch& batch, const Connection::SharedResponse& response) {
        if (keeps_all) response->keep_all();
        for (Statement& each : ahead) batch.emplace_back(std::move(each), response);
    }
};

/// Behind a COMMIT among them, what fails would not undo those ahead of it.
/// @throws pqxx::usage_error
void check_is_no_end(std::string_view sql);

/// Has all of them executed by `execute(last, special)`, an `asio::awaitable<Result>`, and returns their
/// results.
template <typename Execute>
asio::awaitable<std::vector<Result>> execute_all(std::vector<Statement> statements,
                                                 Execute execute) {
    std::vector<Result> results;
    if (statements.empty()) co_return results;
    for (const Statement& each : statements) check_is_no_end(each.sql());
    Statement last = std::move(statements.back());
    statements.pop_back();
    SpecialExecution special{.ahead = std::move(statements), .keeps_all = true};
    co_await execute(std::move(last), &special);
    const std::size_t size = special.ahead.size() + 1;
    results.reserve(size);
    for (auto each = special.results.end() - static_cast<std::ptrdiff_t>(size);
         each != special.results.end(); ++each)
        results.emplace_back(std::move(*each));
    co_return results;
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/postgres/detail/statement_kind.hpp>

#include <pqxx/except>

namespace txscope::detail {

TXSCOPE_INLINE void check_is_no_end(std::string_view sql) {
    if (!is_query(sql) && statement_kind(sql).transaction_control)
        throw pqxx::usage_error{
            "execute_all takes no statement that begins or ends a transaction: " +
            std::string{sql}};
}

}  // namespace txscope::detail

#endif
