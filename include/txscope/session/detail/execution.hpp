#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/borrowing.hpp>
#include <txscope/session/detail/round_trip.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/this_coro.hpp>

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

/// How a session executes its statements: from the wait for a connection to the answer.
namespace txscope::detail {

TXSCOPE_LAZY_INLINE asio::awaitable<Result> SessionState::execute(
    SharedSession self, std::optional<Statement> statement, Clock::time_point deadline,
    SpecialExecution* special) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    SharedConnection& shared = self->shared_;
    // Whether the strand is running here says nothing: a coroutine of another strand may have been
    // started from within it, and goes on elsewhere.
    const auto* carrier = executor.target<AmbientExecutor>();
    if (carrier == nullptr || !carrier->is_on(shared.strand) ||
        deadline != Clock::time_point::max()) {
        self->check_not_ended();
        co_return co_await execute_apart(self, statement, deadline, special);
    }
    self = &self->innermost(ambient_of(*carrier));
    if (statement) self->check_allowed(*statement);
    if (special != nullptr) self->check_allowed(special->ahead);
    const Counted work{self->outstanding_};  // the scope must not end meanwhile
    if (!self->nesting_.free()) co_await self->nesting_.pass();
    self->check_open();
    if (!statement && !self->has_queued()) co_return Result{};
    if (!shared.has_connection()) {
        co_await self->take_connection(executor);
        self->check_open();  // it may have ended meanwhile
    }
    // What is in the outbox will be sent: nothing of a caller who was cancelled meanwhile.
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    check_not_cancelled(caller);

    Connection::SharedResponse response;
    bool cancelled = false;
    {
        StatementReport report{shared, *self, statement ? statement->sql() : "", special};
        response = self->put_out(statement, special);
        report.answered_in(response);

        RoundTrip trip{
            .on = carrier->context(), .shared = shared, .response = *response, .caller = caller};
        co_await round_trip(trip);
        if (!shared.is_answered(response)) {
            // What was sent is seen to its end, also for a caller who was cancelled before it went
            // out.
            const bool throws = co_await asio::this_coro::throw_if_cancelled();
            co_await asio::this_coro::throw_if_cancelled(false);
            cancelled = co_await shared.see_through(response);
            report.answered_in(response);
            co_await asio::this_coro::throw_if_cancelled(throws);
        }
    }
    shared.note_write();
    if (response->error && !cancelled && self->may_ask_again(*response))
        co_return co_await execute_again(self, *response, special);
    if (response->error) self->throw_failure(*response, cancelled);
    self->machine().answered(Answer::executed, nullptr);
    if (response->keeps_all()) special->results = response->take_all();
    co_return std::move(response->result);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> SessionState::flush(SharedSession self) {
    co_await execute(std::move(self), {});
}

/// Whether it was one statement without a transaction, which failed and may be stale.
TXSCOPE_INLINE bool SessionState::may_ask_again(const Response& response) const noexcept {
    const Lease& lease = shared_.lease;
    return !machine().is_transaction() && lease && lease->may_be_stale(&response);
}

/// Nothing of it has been executed, and nothing went ahead of it.
TXSCOPE_LAZY_INLINE asio::awaitable<Result> SessionState::execute_again(const SharedSession& self,
                                                                        const Response& failed,
                                                                        SpecialExecution* special) {
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    auto stale = co_await self->shared_.find_stale();
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (!stale) self->throw_failure(failed, false);
    co_return co_await execute(self, std::move(stale), Clock::time_point::max(), special);
}

/// In a coroutine of its own: from elsewhere than the session's strand, or to be cancelled by itself.
TXSCOPE_LAZY_INLINE asio::awaitable<Result> SessionState::execute_apart(
    const SharedSession& self, std::optional<Statement>& statement, Clock::time_point deadline,
    SpecialExecution* special) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    // With work, as a branch has it: others may come from elsewhere that send in the same turn.
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, executor,
                                       executor_on(self->on, ambient_of(executor))
                                           .require(asio::execution::outstanding_work.tracked)};
    cancellation.cancel_at(deadline);
    const std::string sql{deadline != Clock::time_point::max() ? statement->sql() : ""};
    Result result;
    try {
        co_await cancellation.spawn(execute_into(result, self, statement, special));
    } catch (const boost::system::system_error& error) {
        if (!cancellation.expired() || error.code() != asio::error::operation_aborted) throw;
        throw StatementTimeout{sql, self->where()};
    }
    co_return result;
}

/// On the session's strand.
TXSCOPE_LAZY_INLINE asio::awaitable<void> SessionState::execute_into(
    Result& result, const SharedSession& self, std::optional<Statement>& statement,
    SpecialExecution* special) {
    result = co_await execute(self, std::move(statement), Clock::time_point::max(), special);
}

/// A scope whose statement gets none is lost, as by any other error of a statement.
TXSCOPE_LAZY_INLINE asio::awaitable<void> SessionState::take_connection(
    const asio::any_io_executor& executor) {
    const auto lock = co_await shared_.leasing.lock();
    if (shared_.lease || shared_.over) co_return;
    check_scope();  // somebody may have waited for one in vain
    try {
        const auto asked = Clock::now();
        if (shared_.routing) co_await shared_.borrow_from_replica(asked);
        if (!shared_.lease && !shared_.over) {
            SharedConnection::Borrowing borrowing{shared_, executor, asked};
            co_await borrowing.wait();
            borrowing.end();
        }
    } catch (...) {
        got_no_connection(std::current_exception());
        throw;
    }
}

TXSCOPE_INLINE void SessionState::got_no_connection(const std::exception_ptr& error) {
    if (machine().is_transaction() && !is_cancellation(error)) machine().scope_failed(*this, error);
}

/// Puts what is unsent into the outbox, and then `statement`, if any: all of it, or the transaction
/// is lost.
TXSCOPE_INLINE Connection::SharedResponse SessionState::put_out(std::optional<Statement>& statement,
                                                                SpecialExecution* special) {
    try {
        auto response = make_response();
        move_unsent(shared_.outbox, response);
        if (!shared_.left_portals.empty()) shared_.put_out_left_portals(response);
        if (special != nullptr) special->put_ahead(shared_.outbox, response);
        if (statement) response->collect_by(statement->collector());
        if (statement) shared_.outbox.emplace_back(*std::move(statement), response);
        if (special != nullptr) shared_.outbox.back().portal = special->portal;
        return response;
    } catch (...) {
        machine().failed(TransactionMachine::Failure::of_statement, std::current_exception());
        shared_.tell_if_lost();
        throw;
    }
}

/// Puts the openings of this session and those around it, and all they have queued, into `batch`.
TXSCOPE_INLINE void SessionState::move_unsent(Connection::Batch& batch,
                                              const Connection::SharedResponse& response) {
    // Once this session's savepoint is set, what its parent queues belongs behind it.
    if (parent_ != nullptr && savepoint() == Savepoint::unset)
        parent_->move_unsent(batch, response);
    machine().opens(*this);
    if (!std::exchange(opened_, true)) add_opening(batch, response);
    unsent_.move_to(batch, response, *shared_.lease);
}

TXSCOPE_INLINE void SessionState::throw_failure(const Response& response, bool cancelled) {
    bool follows = false;
    shared_.note_write_refusal(response);
    if (machine().is_transaction() && !ended()) {
        follows = machine().answered(answer_of(response), response.error);
        shared_.tell_if_lost();
    }
    if (cancelled) throw cancellation_error();
    if (!follows) std::rethrow_exception(response.error);
    std::rethrow_exception(nest(
        machine().cause(),
        TransactionAborted{"a statement that was under way at the same time failed", where()}));
}

TXSCOPE_INLINE SessionState::LastSent SessionState::put_out_last(std::string_view last) {
    LastSent sent{.report = {shared_, *this, last}};
    if (last.empty() || !opened_ || !unsent_.empty()) {
        sent.last = make_response();
        sent.queued = sent.last;
        move_unsent(shared_.outbox, sent.last);
    }
    if (!last.empty()) {
        sent.last = make_response();
        shared_.outbox.emplace_back(Command{last}, sent.last);
    }
    sent.report.answered_in(sent.last);
    return sent;
}

}  // namespace txscope::detail
