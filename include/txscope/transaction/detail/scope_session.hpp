#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/detail/round_trip.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/ending.hpp>
#include <txscope/transaction/detail/opening.hpp>
#include <txscope/transaction/detail/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <utility>

namespace txscope::detail {

/// A session in a transaction: ends as the transaction's machine decides.
class ScopeSession : public SessionState {
public:
    /// Within a session, or over the connection that is its own.
    template <typename Around>
    ScopeSession(Around& around, Ambient::Shared surroundings, std::source_location where,
                 Clock::time_point until)
        : SessionState{around, std::move(surroundings), where}, scope_deadline{until} {}

    TXSCOPE_LAZY asio::awaitable<void> conclude(std::exception_ptr& error);

    const Clock::time_point scope_deadline;

private:
    using Action = TransactionMachine::Action;

    static bool has_to_wait(const Action& next) noexcept {
        return next.kind != Action::Kind::release && next.kind != Action::Kind::finish;
    }
    TXSCOPE_LAZY asio::awaitable<void> end_step_by_step(std::exception_ptr& error, Action next);
    TXSCOPE_LAZY asio::awaitable<void> get_ready(Clock::time_point deadline);
    TransactionMachine::Circumstances circumstances() const {
        return {
            .queued = has_queued(),
            .verifies = parent() == nullptr && transaction_of(*this).id != nullptr,
            .time_is_over = is_over(scope_deadline)};  // a body that computes is not interrupted
    }
    void learn_from(const Response& response);
    Answer answer_to(const Response& response);
    Action answered_last(Action::Kind sent, const LastSent& answer, std::exception_ptr& error);
    std::exception_ptr finish(Action last, std::exception_ptr error, std::exception_ptr cause);
};

/// A transaction's outermost session: its first statement begins the transaction.
class TransactionSession : public TransactionState, public ScopeSession {
public:
    /// For a coroutine that runs on `executor`.
    TransactionSession(std::shared_ptr<SessionPool> from, const asio::any_io_executor& executor,
                       const TransactionOptions& with, Clock::time_point until, int number,
                       std::source_location where)
        : TransactionState{std::move(from), strand_on(executor), where, with, number},
          ScopeSession{static_cast<SharedConnection&>(*this), ambient_of(executor), where, until} {
        if (with.verify_commit && !read_only) id = std::make_shared<Response>();
        if (with.route == Route::prefer_replica && SharedConnection::pool->replicas() != nullptr)
            routing = std::make_unique<Routing>(
                *SharedConnection::pool->replicas(), with.after, where, with.label,
                [this](auto& batch, auto& response) { begin_on_lease(batch, response); });
    }

private:
    void add_opening(Connection::Batch& batch, const Connection::SharedResponse& response) final {
        if (routing) return routing->begin(batch, response);
        begin_on_lease(batch, response);
    }
    void begin_on_lease(Connection::Batch& batch, const Connection::SharedResponse& response) {
        if (id) ask_history(*this);
        begin_transaction(batch, options, life_on_server(*this, scope_deadline), *lease,
                          reporter.traceparent(), id, response);
    }
};

/// A session nested in another: its first statement sets the savepoint.
class NestedSession : public ScopeSession {
public:
    /// For a coroutine that runs on `executor`, where `within` is ambient.
    NestedSession(SessionState& within, const asio::any_io_executor& executor,
                  Clock::time_point until, std::source_location where)
        : ScopeSession{within, ambient_of(executor), where, until},
          savepoint_set{std::make_shared<Response>(where)} {}

    Connection::SharedResponse savepoint_set;  ///< The answer to `SAVEPOINT`.

private:
    void add_opening(Connection::Batch& batch, const Connection::SharedResponse&) final {
        batch.emplace_back(Command{"SAVEPOINT " + savepoint_name(depth())}, savepoint_set);
    }
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

TXSCOPE_LAZY_INLINE asio::awaitable<void> ScopeSession::conclude(std::exception_ptr& error) {
    const Action next = machine().end(*this, circumstances());
    if (has_to_wait(next)) return end_step_by_step(error, next);
    error = finish(next, error, machine().failure_of(*this));
    return {};
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> ScopeSession::end_step_by_step(
    std::exception_ptr& ends_with, Action next) {
    using Kind = Action::Kind;
    TransactionState& transaction = transaction_of(*this);
    const std::exception_ptr cause = machine().failure_of(*this);
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    std::exception_ptr error = ends_with;
    auto deadline = Clock::time_point::max();
    while (has_to_wait(next)) switch (next.kind) {
            case Kind::send_queued:
            case Kind::commit:
            case Kind::roll_back_to_savepoint: {
                if (!transaction.has_connection() || transaction.beginning())
                    co_await get_ready(deadline);
                if (parent() != nullptr) parent()->check_not_ended();
                LastSent sent = put_out_last(last_statement(next.kind, depth()));
                const PositionAsked position =
                    next.kind == Kind::commit ? ask_position(transaction) : PositionAsked{};
                RoundTrip trip{.on = *this,
                               .shared = transaction,
                               .response = *sent.last,
                               .caller = caller,
                               .returns = deadline == Clock::time_point::max(),
                               .checks = true};
                co_await round_trip(trip);
                if (!transaction.is_answered(sent.last))
                    co_await transaction.answered(sent.last, deadline);
                if (transaction.routing) transaction.routing->follow(sent.queued);
                if (position.response) learn_position(transaction, position);
                next = answered_last(next.kind, sent, error);
                break;
            }
            case Kind::look_up: {
                const auto proof = co_await look_up(transaction);
                next = machine().looked_up(*this, proof, error);
                break;
            }
            case Kind::roll_back:
                co_await roll_back(*this);
                next = machine().rolled_back(*this);
                break;
            case Kind::await_savepoint: {
                auto& savepoint = static_cast<NestedSession&>(*this).savepoint_set;
                discard_unsent();
                deadline = transaction.pool->cleanup_deadline();
                if (transaction.beginning()) {
                    co_await transaction.begun(deadline);
                    transaction.send_outbox();
                }
                if (!transaction.is_answered(savepoint))
                    co_await transaction.answered(savepoint, deadline);
                next = machine().savepoint_answered(*this, answer_to(*savepoint), savepoint->error);
                break;
            }
            case Kind::release:
            case Kind::finish:
                break;
        }
    ends_with = finish(next, std::move(error), cause);
}

/// Until something can be sent: there is a connection, and no BEGIN to be answered.
TXSCOPE_LAZY_INLINE asio::awaitable<void> ScopeSession::get_ready(Clock::time_point deadline) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    SharedConnection& connection = shared();
    if (!connection.has_connection()) co_await take_connection(executor);
    if (connection.beginning()) co_await connection.begun(deadline);
    if (!connection.lease) std::rethrow_exception(connection.begin->error);  // no server was found
}

/// A statement was answered that has opened or ended the scope.
TXSCOPE_INLINE void ScopeSession::learn_from(const Response& response) {
    if (!response.error) return;
    shared().note_write_refusal(response);
    shared().tell_if_lost();
}

/// How it was.
TXSCOPE_INLINE Answer ScopeSession::answer_to(const Response& response) {
    learn_from(response);
    return answer_of(response);
}

/// What was sent last, for that kind of action, was answered.
/// @param error becomes its error
TXSCOPE_INLINE ScopeSession::Action ScopeSession::answered_last(Action::Kind sent,
                                                                const LastSent& answer,
                                                                std::exception_ptr& error) {
    using Kind = Action::Kind;
    const TransactionState& transaction = transaction_of(*this);
    if (sent == Kind::roll_back_to_savepoint)
        return machine().rolled_back_to_savepoint(*this, answer_to(*answer.last),
                                                  answer.last->error);
    if (sent == Kind::send_queued) {
        error = answer.last->error;
        return machine().queued_answered(*this, answer_to(*answer.last), error, circumstances());
    }
    const auto commit = commit_answer(answer);
    const bool executed = commit != CommitAnswer::not_executed || !answer.queued->error;
    const Response& decides = executed ? *answer.last : *answer.queued;
    error = decides.error;
    const Action next = machine().commit_answered(*this, commit, error, !is_read_only(transaction),
                                                  transaction.id && !transaction.id->error);
    learn_from(decides);
    return next;
}

/// The end, with nothing to wait for. Returns what the scope ends with.
/// @param cause why what the body did could not be kept
TXSCOPE_INLINE std::exception_ptr ScopeSession::finish(Action last, std::exception_ptr error,
                                                       std::exception_ptr cause) {
    if (last.kind == Action::Kind::release) {
        parent()->release("RELEASE SAVEPOINT " + savepoint_name(depth()));
        last = machine().released(*this);
    }
    if (savepoint() == Savepoint::released && hooks() != nullptr)
        parent()->make_hooks().append(std::move(*hooks()));
    return error_of(*this, last.outcome, std::move(error), std::move(cause));
}

}  // namespace txscope::detail

#endif
