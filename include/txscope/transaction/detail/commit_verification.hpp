#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/transaction_identity.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace txscope::detail {

enum class CommitOutcome {
    committed,
    aborted,
    unknown
};

/// What a server knows of `transaction`.
///
/// Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions". A standby may
/// not have heard of it yet, so only a primary is believed. One that has crashed since, or stood in
/// for one, may have given the id to another transaction: its answer "committed" means something
/// only if it has kept when that was: before the crash, then it was this one; or after it, then
/// this one had left no trace. A server whose counters somebody has reset looks as if it had
/// crashed, but for their times, which a crash makes the same; and it may still be at the
/// transaction: that one is never reached only if the next id to be given out is not beyond it,
/// whatever the snapshot says.
/// The times are believed: the server's clock must not have been set back meanwhile.
inline Statement status_question(const TransactionIdentity& transaction) {
    static const std::string sql =
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'in progress' "
        "WHEN $2 = (" +
        std::string{server_life} +
        ") THEN coalesce(pg_xact_status($1::xid8), 'unknown') "
        "WHEN $1::xid8 >= pg_current_xact_id() THEN 'aborted' "
        "WHEN pg_xact_status($1::xid8) <> 'committed' THEN pg_xact_status($1::xid8) "
        "WHEN NOT current_setting('track_commit_timestamp')::bool THEN 'unknown' "
        "ELSE (SELECT CASE WHEN committed < writer.stats_reset THEN 'committed' "
        "WHEN committed > writer.stats_reset AND writer.stats_reset = wal.stats_reset "
        "THEN 'aborted' ELSE 'unknown' END FROM pg_stat_bgwriter AS writer, "
        "pg_stat_wal AS wal, pg_xact_commit_timestamp($1::xid8::xid) AS committed) "
        "END";
    return Statement{sql, transaction.id, transaction.life};
}

/// Asks one server, over a connection of its own, what became of a transaction.
inline asio::awaitable<std::string> ask_status(std::shared_ptr<Pool> pool,
                                               TransactionIdentity transaction,
                                               Clock::time_point deadline) {
    const auto opened = co_await pool->connector().open(deadline);
    Connection& connection = *opened->connection;
    const auto exchange = std::make_shared<Exchange>();
    Connection::Batch question;
    question.push_back({status_question(transaction), exchange});
    connection.submit(std::move(question));
    co_await connection.settle(exchange, deadline);
    if (exchange->error) std::rethrow_exception(exchange->error);
    co_return exchange->result.one().get<std::string>(0);
}

/// What became of a transaction whose COMMIT was not answered: asked again while the server does
/// not answer or has not noticed the lost connection yet, until `deadline`.
inline asio::awaitable<CommitOutcome> find_outcome(std::shared_ptr<Pool> pool,
                                                   TransactionIdentity transaction,
                                                   Clock::time_point deadline) {
    const auto executor = co_await asio::this_coro::executor;
    auto pause = std::chrono::milliseconds{5};
    while (Clock::now() < deadline) {
        std::string status;
        try {
            status = co_await ask_status(pool, transaction, deadline);
        } catch (const std::exception&) {
            status = "in progress";  // the server is not back yet
        }
        if (status == "committed") co_return CommitOutcome::committed;
        if (status == "aborted") co_return CommitOutcome::aborted;
        if (status != "in progress") co_return CommitOutcome::unknown;
        asio::steady_timer timer{executor, std::min(deadline, Clock::now() + pause)};
        co_await timer.async_wait(asio::as_tuple(asio::deferred));
        pause = std::min(pause * 2, std::chrono::milliseconds{200});
    }
    co_return CommitOutcome::unknown;
}

}  // namespace txscope::detail
