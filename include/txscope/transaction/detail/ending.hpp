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
TXSCOPE_LAZY inline asio::awaitable<void> roll_back(SessionState& session) {
    session.discard_unsent();
    SharedConnection& shared = session.shared();
    if (!shared.lease) co_return;
    const auto member = shared.lease.member();
    Connection& connection = *member->connection;
    if (connection.broken()) co_return;  // the server rolls back what nobody asks for any more
    co_await connection.recover(shared.pool->cleanup_deadline());
    if (connection.broken())
        shared.reporter.report_since_begin(ScopeEvent::rollback_failure, connection.failure());
    if (!connection.may_be_stale()) co_return;
    const auto stale = co_await shared.find_stale();
    if (stale) shared.stale = stale->sql();
}

/// How COMMIT, which was sent last, has been answered.
inline CommitAnswer commit_answer(const SessionState::LastSent& sent) {
    const Response& commit = *sent.last;
    const Answer queued = sent.queued ? answer_of(*sent.queued) : Answer::executed;
    if (queued == Answer::failed || queued == Answer::skipped) return CommitAnswer::not_executed;
    switch (answer_of(commit)) {
        case Answer::executed:
            break;
        case Answer::failed:  // also when the connection was lost behind it
            return CommitAnswer::failed;
        case Answer::skipped:
            return CommitAnswer::not_executed;
        case Answer::unsent:
            return CommitAnswer::unsent;
        case Answer::lost:
            return CommitAnswer::lost;
    }
    return commit.result.command_tag() == "COMMIT" ? CommitAnswer::committed
                                                   : CommitAnswer::rolled_back;
}

/// What can be proven of a transaction whose COMMIT was not answered. Looked up also where the
/// scope's time is over or its caller was cancelled.
TXSCOPE_LAZY inline asio::awaitable<TransactionMachine::Proof> look_up(
    TransactionState& transaction) {
    using Proof = TransactionMachine::Proof;
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    const auto deadline = deadline_of(transaction.options.verify_timeout);
    const TransactionIdentity identity{transaction.id->result.one()};
    std::optional<ServerHistory> history;
    if (!transaction.history->error) history.emplace(transaction.history->result.one());
    transaction.lease = {};  // it is of no use any more, and somebody may wait for its place
    const auto outcome = co_await find_outcome(transaction.pool, identity, history, deadline);
    if (outcome == CommitOutcome::committed) co_return Proof::committed;
    co_return outcome == CommitOutcome::aborted ? Proof::aborted : Proof::none;
}

/// Scopes on the same depth take turns, and one that outlives the scope around it names its
/// savepoint no more: so the depth is name enough.
inline std::string savepoint_name(unsigned depth) { return "txscope_" + std::to_string(depth); }

/// What is sent last of a scope, to do that; empty for only what is queued.
inline std::string last_statement(TransactionMachine::Action::Kind kind, unsigned depth) {
    using Kind = TransactionMachine::Action::Kind;
    if (kind == Kind::commit) return "COMMIT";
    if (kind == Kind::roll_back_to_savepoint)
        return "ROLLBACK TO SAVEPOINT " + savepoint_name(depth);
    return {};
}

/// What a scope ends with whose time is over, because of `cause` or just so.
inline std::exception_ptr time_is_over(std::source_location where, std::exception_ptr cause) {
    return nest(
        std::move(cause),
        TransactionTimeout{"the scope's time was over; nothing of its transaction is kept", where});
}

/// The error that a scope ends with, or null.
/// @param error the body's, or that of what was sent last
/// @param cause why what the body did could not be kept
/// @throws ScopeEnded when a scope around did not wait for it: what it did was undone with that
inline std::exception_ptr error_of(const SessionState& session, ScopeNode::Outcome outcome,
                                   std::exception_ptr error, std::exception_ptr cause) {
    using enum ScopeNode::Outcome;
    switch (outcome) {
        case as_wanted:
            return nullptr;
        case threw:
        case cancelled:
        case unfinished:
        case failed:
            return error;
        case swallowed: {
            const std::string what = session.parent() ? "nested scope" : "transaction";
            return nest(std::move(cause),
                        UnexpectedRollback{"the " + what +
                                               " was rolled back, because an error in "
                                               "it had been swallowed",
                                           session.where()});
        }
        case timed_out:
            return time_is_over(session.where(), nullptr);
        case server_rolled_back:
            return nest(std::move(cause),
                        UnexpectedRollback{"the server rolled back at COMMIT", session.where()});
        case in_doubt:
            return nest(std::move(error),
                        CommitInDoubt{"the connection was lost while COMMIT was under way: the "
                                      "transaction may or may not have been committed",
                                      session.where()});
        case scope_ended:
            session.parent()->check_not_ended();
    }
    return nullptr;
}

}  // namespace txscope::detail
