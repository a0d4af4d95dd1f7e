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
inline CommitAnswer commit_answer(const SessionState::Ending& ending) {
    const Response& commit = *ending.last;
    const Answer queued = ending.queued ? answer_of(*ending.queued) : Answer::executed;
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
inline asio::awaitable<TransactionMachine::Proof> look_up(TransactionState& transaction) {
    using Proof = TransactionMachine::Proof;
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    const auto time = transaction.options.verify_timeout;
    const auto deadline = time.count() > 0 ? deadline_in(time) : Clock::time_point::max();
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

inline TransactionMachine::Circumstances circumstances(const SessionState& session) {
    const TransactionState& transaction = transaction_of(session);
    if (session.parent()) return {.queued = session.has_queued()};
    return {.queued = session.has_queued(),
            .verifies = transaction.id != nullptr,
            // A body that computes is not interrupted.
            .time_is_over = Clock::now() >= transaction.deadline};
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
            return time_is_over(session, nullptr);
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

/// Ends a scope after its body, which failed with `error` if that is not null: commits it or rolls it
/// back, or does so with its savepoint. Returns the error that the scope ends with, or null.
inline asio::awaitable<std::exception_ptr> end_scope(SessionState& session,
                                                     std::exception_ptr error) {
    using Kind = TransactionMachine::Action::Kind;
    TransactionState& transaction = transaction_of(session);
    TransactionMachine& machine = transaction.machine;
    const std::exception_ptr cause = machine.failure_of(session);
    const Connection::SharedResponse& savepoint = session.savepoint_set();
    auto cleanup_deadline = Clock::time_point::max();
    auto action = machine.end(session, circumstances(session));
    const auto answer_to = [&](const Response& response) {
        if (response.error) transaction.tell_if_lost();
        return answer_of(response);
    };
    while (action.kind != Kind::finish) switch (action.kind) {
            case Kind::send_queued: {
                const auto sent = co_await session.end_with(nullptr);
                error = sent.last->error;
                action = machine.queued_answered(session, answer_to(*sent.last), error,
                                                 circumstances(session));
                break;
            }
            case Kind::commit: {
                const auto sent = co_await session.end_with("COMMIT");
                const auto answer = commit_answer(sent);
                const bool executed = answer != CommitAnswer::not_executed || !sent.queued->error;
                error = executed ? sent.last->error : sent.queued->error;
                action = machine.commit_answered(session, answer, error, !is_read_only(transaction),
                                                 transaction.id && !transaction.id->error);
                if (error) transaction.tell_if_lost();
                break;
            }
            case Kind::look_up: {
                const auto proof = co_await look_up(transaction);
                action = machine.looked_up(session, proof, error);
                break;
            }
            case Kind::roll_back:
                co_await roll_back(session);
                action = machine.rolled_back(session);
                break;
            case Kind::await_savepoint:
                session.discard_unsent();
                cleanup_deadline = transaction.pool->cleanup_deadline();
                if (transaction.beginning()) co_await transaction.begun(cleanup_deadline);
                if (!savepoint->done) co_await transaction.answered(savepoint, cleanup_deadline);
                action =
                    machine.savepoint_answered(session, answer_to(*savepoint), savepoint->error);
                break;
            case Kind::roll_back_to_savepoint: {
                const auto rollback = "ROLLBACK TO SAVEPOINT " + savepoint_name(session.depth());
                const auto sent = co_await session.end_with(rollback.c_str(), cleanup_deadline);
                action = machine.rolled_back_to_savepoint(session, answer_to(*sent.last),
                                                          sent.last->error);
                break;
            }
            case Kind::release:
                session.parent()->release("RELEASE SAVEPOINT " + savepoint_name(session.depth()));
                action = machine.released(session);
                break;
            case Kind::finish:
                break;
        }
    if (session.savepoint() == ScopeNode::Savepoint::released)
        session.parent()->hooks().append(std::move(session.hooks()));
    co_return error_of(session, action.outcome, std::move(error), cause);
}

/// The hooks that wait for the outcome that the transaction has had.
inline std::vector<Hook>& outcome_hooks(SessionState& session) {
    const bool committed = session.machine().phase() == TransactionMachine::Phase::committed;
    return committed ? session.hooks().after_commit : session.hooks().after_rollback;
}

/// Runs them one after another; what they throw changes nothing any more.
inline asio::awaitable<void> call_outcome_hooks(SessionState::Shared session) {
    co_await asio::this_coro::throw_if_cancelled(false);
    auto& hooks = outcome_hooks(*session);
    session->hooks().telling = &hooks;
    for (std::size_t next = 0; next < hooks.size(); ++next) {
        const Hook hook = std::move(hooks[next]);  // to copy it might throw
        const auto started = Clock::now();
        try {
            co_await hook();
        } catch (...) {  // the transaction has ended as it has
            session->shared().reporter.report(ScopeEvent::hook_failure, Clock::now() - started,
                                              std::current_exception());
        }
    }
    session->hooks().telling = nullptr;
}

/// Runs them where no session of the pool is ambient: what they do there is part of no transaction,
/// also when the one that has ended was opened inside of another. The caller must not be
/// interruptible.
inline asio::awaitable<void> run_outcome_hooks(SessionState::Shared session) {
    const SharedConnection& shared = session->shared();
    const auto around = ambient_of(co_await asio::this_coro::executor);
    const AmbientExecutor executor{new Ambient{shared.strand, shared.pool.get(), around}};
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, shared.strand};
    co_await cancellation.spawn(executor, call_outcome_hooks(session));
}

}  // namespace txscope::detail
