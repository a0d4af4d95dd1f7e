#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/ending.hpp>
#include <txscope/transaction/detail/opening.hpp>
#include <txscope/transaction/detail/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <exception>
#include <memory>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// A session in a transaction: ends as the transaction's machine decides.
class ScopeSession : public SessionState {
public:
    using SessionState::SessionState;

    bool begin_end(Ending& ending) final;
    asio::awaitable<void> end(Ending& ending) final;

private:
    asio::awaitable<void> end_step_by_step(Ending& ending, std::exception_ptr cause);
};

/// A transaction's outermost session: its first statement begins the transaction.
class TransactionSession final : public TransactionState, public ScopeSession {
public:
    /// For a coroutine that runs on `executor`.
    TransactionSession(std::shared_ptr<SessionPool> from, const asio::any_io_executor& executor,
                       const TransactionOptions& with, Clock::time_point until, int number,
                       std::source_location where)
        : TransactionState{std::move(from), strand_on(executor), where, with, until, number},
          ScopeSession{static_cast<SharedConnection&>(*this), ambient_of(executor), where} {
        if (with.verify_commit && !read_only) id = std::make_shared<Response>();
    }

private:
    void add_opening(Connection::Batch& batch, const Connection::SharedResponse& response) final {
        if (id) ask_history(*this);
        begin_transaction(batch, options, life_on_server(*this), *lease, id, response);
    }
};

/// A session nested in another: its first statement sets the savepoint.
class NestedSession final : public ScopeSession {
public:
    /// For a coroutine that runs on `executor`, where `within` is ambient.
    NestedSession(SessionState& within, const asio::any_io_executor& executor,
                  std::source_location where)
        : ScopeSession{within, ambient_of(executor), where},
          savepoint_set{std::make_shared<Response>(where)} {}

    const Connection::SharedResponse savepoint_set;  ///< The answer to `SAVEPOINT`.

private:
    void add_opening(Connection::Batch& batch, const Connection::SharedResponse&) final {
        batch.push_back(Request::command("SAVEPOINT " + savepoint_name(depth()), savepoint_set));
    }
};

inline bool ScopeSession::begin_end(Ending& ending) {
    TransactionState& transaction = transaction_of(*this);
    ending.action = transaction.machine.end(*this, circumstances(*this));
    const bool at_once = ending.action.kind == TransactionMachine::Action::Kind::commit &&
                         transaction.has_connection() && !transaction.beginning();
    if (at_once) ending.sent = put_out_last("COMMIT");
    return at_once;
}

inline asio::awaitable<void> ScopeSession::end(Ending& ending) {
    std::exception_ptr cause = machine().failure_of(*this);
    if (ending.sent.last && ending.sent.last->done) commit_answered(*this, ending);
    if (has_to_wait(ending)) return end_step_by_step(ending, std::move(cause));
    finish(*this, ending, std::move(cause));
    return {};
}

inline asio::awaitable<void> ScopeSession::end_step_by_step(Ending& ending,
                                                            std::exception_ptr cause) {
    using Kind = TransactionMachine::Action::Kind;
    TransactionState& transaction = transaction_of(*this);
    TransactionMachine& machine = transaction.machine;
    auto cleanup_deadline = Clock::time_point::max();
    while (has_to_wait(ending)) switch (ending.action.kind) {
            case Kind::send_queued: {
                const LastSent sent = co_await end_with(nullptr);
                ending.error = sent.last->error;
                ending.action = machine.queued_answered(*this, answer_to(transaction, *sent.last),
                                                        ending.error, circumstances(*this));
                break;
            }
            case Kind::commit:
                if (!ending.sent.last)
                    ending.sent = co_await end_with("COMMIT");
                else
                    co_await transaction.answered(ending.sent.last, Clock::time_point::max());
                commit_answered(*this, ending);
                break;
            case Kind::look_up: {
                const auto proof = co_await look_up(transaction);
                ending.action = machine.looked_up(*this, proof, ending.error);
                break;
            }
            case Kind::roll_back:
                co_await roll_back(*this);
                ending.action = machine.rolled_back(*this);
                break;
            case Kind::await_savepoint: {
                const auto& savepoint = static_cast<NestedSession&>(*this).savepoint_set;
                discard_unsent();
                cleanup_deadline = transaction.pool->cleanup_deadline();
                if (transaction.beginning()) co_await transaction.begun(cleanup_deadline);
                if (!savepoint->done) co_await transaction.answered(savepoint, cleanup_deadline);
                ending.action = machine.savepoint_answered(
                    *this, answer_to(transaction, *savepoint), savepoint->error);
                break;
            }
            case Kind::roll_back_to_savepoint: {
                const auto rollback = "ROLLBACK TO SAVEPOINT " + savepoint_name(depth());
                const LastSent sent = co_await end_with(rollback.c_str(), cleanup_deadline);
                ending.action = machine.rolled_back_to_savepoint(
                    *this, answer_to(transaction, *sent.last), sent.last->error);
                break;
            }
            case Kind::release:
            case Kind::finish:
                break;
        }
    finish(*this, ending, std::move(cause));
}

}  // namespace txscope::detail
