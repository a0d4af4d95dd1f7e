#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/transaction/detail/commit_verification.hpp>
#include <txscope/transaction/detail/transaction.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace txscope::detail {

/// Rolls back on the server, or closes the connection where that fails; either way nothing stays.
inline asio::awaitable<void> roll_back(SessionState& session) {
    session.discard_unsent();
    Conversation& conversation = session.conversation();
    if (!conversation.lease) co_return;
    const auto member = conversation.lease.member();
    Connection& connection = *member->connection;
    if (connection.broken()) co_return;  // the server rolls back what nobody asks for any more
    co_await connection.recover(conversation.pool->cleanup_deadline());
    if (connection.broken())
        conversation.reporter.report_since_begin(ScopeEvent::rollback_failure,
                                                 connection.failure());
    if (!connection.may_be_stale()) co_return;
    const auto stale = co_await conversation.find_stale();
    if (stale) conversation.stale = stale->sql();
}

/// What COMMIT's answer means: null when the transaction is committed.
inline std::exception_ptr read_commit(const SessionState& session,
                                      const SessionState::Ending& ending) {
    const Exchange& commit = *ending.last;
    Transaction& transaction = transaction_of(session);
    if (ending.queued_error) return ending.queued_error;
    if (commit.unsent) return commit.error;
    // COMMIT's own error says that it is not, also when the connection was lost behind it.
    if (commit.error && commit.error == transaction.lease->failure()) {
        if (is_read_only(transaction)) return commit.error;  // committed or not is the same
        transaction.in_doubt = true;
        return nest(commit.error,
                    CommitInDoubt{"the connection was lost while COMMIT was under way: the "
                                  "transaction may or may not have been committed",
                                  session.where()});
    }
    if (commit.error) return commit.error;
    // PostgreSQL answers COMMIT with ROLLBACK in a transaction that has failed.
    if (commit.result.command_tag() != "COMMIT")
        return nest(transaction.failure,
                    UnexpectedRollback{"the server rolled back at COMMIT", session.where()});
    return nullptr;
}

/// What became of a transaction whose COMMIT was not answered: the error that its scope ends with.
/// Looked up also where the scope's time is over or its caller was cancelled.
inline asio::awaitable<std::exception_ptr> resolve_doubt(Transaction& transaction,
                                                         std::exception_ptr doubt,
                                                         std::exception_ptr loss) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    const auto time = transaction.options.verify_timeout;
    const auto deadline = time.count() > 0 ? deadline_in(time) : Clock::time_point::max();
    const TransactionIdentity identity{transaction.id->result.one()};
    std::optional<ServerHistory> history;
    if (!transaction.history->error) history.emplace(transaction.history->result.one());
    transaction.lease = {};  // it is of no use any more, and somebody may wait for its place
    const auto outcome = co_await find_outcome(transaction.pool, identity, history, deadline);
    transaction.in_doubt = outcome == CommitOutcome::unknown;
    if (outcome == CommitOutcome::committed) co_return nullptr;
    co_return outcome == CommitOutcome::aborted ? loss : doubt;
}

/// Ends a transaction after its body, which failed with `error` if that is not null: commits it or
/// rolls it back. Returns the error that the scope ends with, or null.
inline asio::awaitable<std::exception_ptr> end_transaction(SessionState& session,
                                                           std::exception_ptr error) {
    Transaction& transaction = transaction_of(session);
    const auto lost_to = session.lost_to();
    const bool roll_back_wanted = session.rollback_only();
    if (!error && !roll_back_wanted && lost_to)
        error = nest(lost_to,
                     UnexpectedRollback{"the transaction was rolled back, because an error in it "
                                        "had been swallowed",
                                        session.where()});
    if (!error && !roll_back_wanted) {
        if (transaction.id && !session.begun() && session.has_queued()) {
            // Which transaction it is must be known before COMMIT is on its way.
            const auto begun = co_await session.end_with(nullptr);
            error = begun.last->error;
        }
        // A body that computes is not interrupted.
        if (!error && Clock::now() >= transaction.deadline) error = time_is_over(session, nullptr);
        if (!error && (session.begun() || session.has_queued())) {
            const auto ending = co_await session.end_with("COMMIT");
            error = read_commit(session, ending);
            if (transaction.in_doubt && transaction.id && !transaction.id->error)
                error = co_await resolve_doubt(transaction, error, ending.last->error);
        }
        transaction.committed = !error;
        if (!error) co_return nullptr;
        transaction.lose_to(error);
    }
    // After a failed COMMIT the server has no transaction left, and this sends nothing.
    co_await roll_back(session);
    co_return error;
}

/// The hooks that wait for the outcome that the transaction has had.
inline std::vector<Hook>& outcome_hooks(SessionState& session) {
    return transaction_of(session).committed ? session.hooks().after_commit
                                             : session.hooks().after_rollback;
}

/// Runs them one after another; what they throw changes nothing any more.
inline asio::awaitable<void> call_outcome_hooks(std::shared_ptr<SessionState> session) {
    co_await asio::this_coro::throw_if_cancelled(false);
    auto& hooks = outcome_hooks(*session);
    session->hooks().telling = &hooks;
    for (std::size_t next = 0; next < hooks.size(); ++next) {
        const Hook hook = std::move(hooks[next]);  // to copy it might throw
        const auto started = Clock::now();
        try {
            co_await hook();
        } catch (...) {  // the transaction has ended as it has
            session->conversation().reporter.report(
                ScopeEvent::hook_failure, Clock::now() - started, std::current_exception());
        }
    }
    session->hooks().telling = nullptr;
}

/// Runs them where no session of the pool is ambient: what they do there is part of no transaction,
/// also when the one that has ended was opened inside of another. The caller must not be
/// interruptible.
inline asio::awaitable<void> run_outcome_hooks(std::shared_ptr<SessionState> session) {
    const Conversation& conversation = session->conversation();
    const auto around = ambient_of(co_await asio::this_coro::executor);
    auto set_aside =
        std::make_shared<const Ambient>(conversation.pool.get(), nullptr, nullptr, around);
    const AmbientExecutor executor{std::move(set_aside), conversation.strand};
    const ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state,
                                             conversation.strand};
    co_await cancellation.spawn(executor, call_outcome_hooks(session));
}

/// Scopes on the same depth take turns, and one that outlives the scope around it names its
/// savepoint no more: so the depth is name enough.
inline std::string savepoint_name(unsigned depth) { return "txscope_" + std::to_string(depth); }

/// Undoes what a nested scope did since `savepoint`, which is the answer to its SAVEPOINT. Where that
/// fails too, the whole transaction is lost.
inline asio::awaitable<void> roll_back_to_savepoint(SessionState& session,
                                                    Connection::Exchange savepoint) {
    session.discard_unsent();
    if (!session.begun()) co_return;
    Conversation& conversation = session.conversation();
    const auto deadline = conversation.pool->cleanup_deadline();
    if (conversation.beginning()) co_await conversation.begun(deadline);
    if (!savepoint->done) co_await conversation.answered(savepoint, deadline);
    if (session.parent()->ended()) co_return;  // it has been undone by more than this
    // The savepoint of that name may be of the scope before, and going back to it would undo that.
    if (savepoint->error) co_return conversation.lose_to(savepoint->error);
    const auto name = savepoint_name(session.depth());
    const auto rollback = "ROLLBACK TO SAVEPOINT " + name;
    const auto back = co_await session.end_with(rollback.c_str(), deadline);
    if (session.parent()->ended()) co_return;
    if (back.last->error) co_return conversation.lose_to(back.last->error);
    conversation.failure = nullptr;
    session.parent()->release(Statement{"RELEASE SAVEPOINT " + name});
}

/// Ends a nested scope after its body: keeps what it did in the transaction around it, or undoes
/// it.
/// @throws ScopeEnded when a scope around did not wait for it: what it did was undone with that
inline asio::awaitable<std::exception_ptr> end_savepoint(SessionState& session,
                                                         Connection::Exchange savepoint,
                                                         std::exception_ptr error) {
    session.parent()->check_not_ended();
    Conversation& conversation = session.conversation();
    const auto lost_to = session.lost_to();
    if (!error && !session.rollback_only() && lost_to)
        error = nest(lost_to,
                     UnexpectedRollback{"the nested scope was rolled back, because an error in it "
                                        "had been swallowed",
                                        session.where()});
    if (!error && !session.rollback_only()) {
        // What was written behind belongs inside the savepoint: its errors are this scope's.
        if (session.has_queued()) {
            const auto ending = co_await session.end_with(nullptr);
            error = ending.last->error;
            session.parent()->check_not_ended();
            // What the parent had queued goes ahead of the savepoint, and nothing undoes its error.
            if (error) conversation.lose_to(error);
        }
        if (!error) {
            if (session.begun())
                session.parent()->release(
                    Statement{"RELEASE SAVEPOINT " + savepoint_name(session.depth())});
            session.parent()->hooks().append(std::move(session.hooks()));
            co_return nullptr;
        }
    }
    co_await roll_back_to_savepoint(session, std::move(savepoint));
    co_return error;
}

}  // namespace txscope::detail
