#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/transaction_identity.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

enum class CommitOutcome {
    committed,
    aborted,
    unknown,
    undecided,  ///< Not yet: to be asked again.
};

/// What a server says now of the transaction that has the id: `pg_xact_status`, or "aborted" of one
/// that it has not given out; null from a standby, which may not have heard of it yet.
///
/// That an id was not given out is known only from the next one, whatever the snapshot says. Source:
/// PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
inline Statement status_question(const TransactionIdentity& transaction) {
    static const std::string sql =
        "SELECT " + std::string{ServerRun::columns} +
        ", CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL "
        "WHEN $1::pg_catalog.xid8 OPERATOR(pg_catalog.>=) pg_catalog.pg_current_xact_id() "
        "THEN 'aborted' ELSE coalesce(pg_catalog.pg_xact_status($1::pg_catalog.xid8), 'unknown') "
        "END";
    return Statement{sql, transaction.id};
}

/// What the run of a server says in which the transaction was, too.
inline CommitOutcome outcome_in_its_run(std::string_view status) {
    if (status == "committed") return CommitOutcome::committed;
    if (status == "aborted") return CommitOutcome::aborted;
    return status == "in progress" ? CommitOutcome::undecided : CommitOutcome::unknown;
}

/// What can be proven of a transaction where its server was like `then`, and one whose run is not
/// known to be the same is like `now`, and says `status` of its id.
///
/// Another run knows of the transaction only what it has inherited: nothing of it may be running any
/// more. Where the inherited log does not reach the transaction's record, its commit is not there,
/// and the id may be somebody else's; where it does, and came of this server's log without a break,
/// the id is the transaction's. A break is a recovery that lost the end of the log, or a promotion.
/// Of these one is seen, the one with which the run began; another one may lie between. After a
/// shutdown the counters would show it. After a crash nothing would: a server that has lost the
/// record, given the id away and crashed again looks like one that has kept it, so of that one a
/// commit is not believed. After a promotion the number of the timeline shows another promotion, but
/// not that the old primary had crashed, lost the record and sent the standby somebody else's: that it
/// did not, in the time until it is asked, is the one assumption here.
inline CommitOutcome outcome_by_history(const TransactionIdentity& transaction,
                                        const ServerHistory& then, const ServerHistory& now,
                                        std::string_view status) {
    if (then.run != transaction.run || then.system != now.system) return CommitOutcome::unknown;
    const bool same_process = now.run.started == then.run.started;
    if (same_process && now.replayed == then.replayed) return outcome_in_its_run(status);

    if (status == "aborted" || status == "in progress") return CommitOutcome::aborted;
    const auto inherited = now.replayed ? now.replayed : now.shut_down;
    if (!inherited || status != "committed") return CommitOutcome::unknown;
    if (*inherited < transaction.logged) return CommitOutcome::aborted;

    const bool promoted = now.replayed && now.streamed;
    const bool restarted = !now.replayed && now.run.counting_since == then.run.counting_since;
    const bool unbroken =
        promoted ? now.timeline == then.timeline + 1 : restarted && now.timeline == then.timeline;
    return unbroken ? CommitOutcome::committed : CommitOutcome::unknown;
}

/// The answer of a server to one question over a connection that nobody else uses.
TXSCOPE_LAZY inline asio::awaitable<Result> ask(Connection& connection, Statement question,
                                                Clock::time_point deadline) {
    const auto response = std::make_shared<Response>();
    Connection::Batch batch;
    batch.emplace_back(std::move(question), response);
    connection.submit(std::move(batch));
    co_await connection.settle(response, deadline);
    if (response->error) std::rethrow_exception(response->error);
    co_return response->result;
}

/// Asks one server, over a connection of its own, what became of a transaction, whose server was
/// like `then`, if that is known.
TXSCOPE_LAZY inline asio::awaitable<CommitOutcome> ask_outcome(std::shared_ptr<SessionPool> pool,
                                                               TransactionIdentity transaction,
                                                               std::optional<ServerHistory> then,
                                                               Clock::time_point deadline) {
    const auto strand = strand_on(co_await asio::this_coro::executor);
    Connector& connector = pool->connector();
    const auto opened =
        co_await connector.open(connector.executor_for(AmbientExecutor{strand}), deadline);
    Connection& connection = *opened->connection;
    const Result said = co_await ask(connection, status_question(transaction), deadline);
    const Row answer = said.one();
    const auto status = answer.get<std::optional<std::string>>(2);
    if (!status) co_return CommitOutcome::undecided;
    const ServerRun run{answer};
    if (run == transaction.run) co_return outcome_in_its_run(*status);
    if (!then) co_return CommitOutcome::unknown;
    try {
        const Result told = co_await ask(connection, ServerHistory::question(), deadline);
        const ServerHistory now{told.one()};
        if (now.run != run) co_return CommitOutcome::undecided;  // a pooler leads elsewhere by now
        co_return outcome_by_history(transaction, *then, now, *status);
    } catch (const SqlError&) {  // it does not tell us
        co_return CommitOutcome::unknown;
    }
}

/// What became of a transaction whose COMMIT was not answered: asked again while the server does
/// not answer or has not noticed the lost connection yet, until `deadline`.
TXSCOPE_LAZY inline asio::awaitable<CommitOutcome> find_outcome(std::shared_ptr<SessionPool> pool,
                                                                TransactionIdentity transaction,
                                                                std::optional<ServerHistory> then,
                                                                Clock::time_point deadline) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto pause = std::chrono::milliseconds{5};
    while (Clock::now() < deadline) {
        auto outcome = CommitOutcome::undecided;
        try {
            outcome = co_await ask_outcome(pool, transaction, then, deadline);
        } catch (const std::exception&) {  // the server is not back yet
        }
        if (outcome != CommitOutcome::undecided) co_return outcome;
        asio::steady_timer timer{executor, std::min(deadline, Clock::now() + pause)};
        co_await timer.async_wait(asio::as_tuple(asio::deferred));
        pause = std::min(pause * 2, std::chrono::milliseconds{200});
    }
    co_return CommitOutcome::unknown;
}

}  // namespace txscope::detail
