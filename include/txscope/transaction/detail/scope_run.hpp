#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/net/fifo_mutex.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/run_session.hpp>
#include <txscope/session/detail/scope_node.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/steady_timer.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>

namespace txscope::detail {

enum class Entry;

/// One call of a scope: all of it that does not depend on the body, which a coroutine on `callers`
/// awaits for it. What that is, each body's type compiles anew, and so it is little.
class ScopeRun {
public:
    /// What it is given outlives it.
    /// @throws PropagationError, ScopeEnded, pqxx::argument_error
    ScopeRun(const std::shared_ptr<SessionPool>& pool, const TransactionOptions& options,
             std::source_location where, const asio::any_io_executor& callers);
    ScopeRun(const ScopeRun&) = delete;
    ScopeRun& operator=(const ScopeRun&) = delete;
    ~ScopeRun();

    /// Whether it has to take its turn before it begins: scopes nested in the same one do.
    bool takes_turns() const noexcept;
    TXSCOPE_LAZY asio::awaitable<void> take_turn();

    /// Begins an attempt.
    TXSCOPE_LAZY void begin(const asio::cancellation_state& caller);
    /// Whether the body is to run in the session around; else in the attempt's.
    bool joins() const noexcept;
    /// Whether it is cancelled when its time is over; else one that joins may run right here.
    bool has_deadline() const noexcept { return deadline_ != Clock::time_point::max(); }
    const SharedSession& session() const noexcept { return session_; }
    /// Runs what `run_on_strand` or `run_joined` gives for these.
    TXSCOPE_LAZY auto spawn(asio::awaitable<void> work) {
        return cancellation_->spawn(std::move(work));
    }

    /// The attempt has ended, with `error` unless that is null. Returns whether to `settle` it.
    /// @throws what the scope ends with, if not
    bool ended(std::exception_ptr error, const asio::cancellation_state& caller);
    /// Returns whether there is to be another attempt, which may begin now. If not, those have been
    /// told who wait for the outcome.
    ///
    /// The caller must not be interruptible, and is so again afterwards if `throws` is set.
    /// @throws what the scope ends with
    TXSCOPE_LAZY asio::awaitable<bool> settle(bool throws);

private:
    TXSCOPE_LAZY void begin_transaction();
    TXSCOPE_LAZY void begin_nested();
    TXSCOPE_LAZY void begin_joined(const asio::cancellation_state& caller);
    TXSCOPE_LAZY void watch();
    std::exception_ptr joined_error(std::exception_ptr error,
                                    const asio::cancellation_state& caller) const;
    bool tells_outcome() const;

    const std::shared_ptr<SessionPool>& pool_;
    const TransactionOptions& options_;
    const std::source_location where_;
    const asio::any_io_executor& callers_;
    SessionState* const outer_;  // which `callers` keep alive
    const Entry entry_;
    Clock::time_point deadline_ = Clock::time_point::max();  // of all attempts
    bool ended_ = true;                                      // the attempt has
    bool may_try_again_ = false;                             // another time
    std::exception_ptr error_;                               // that the attempt has ended with
    FifoMutex::Lock turn_;                                   // of a nested scope
    std::optional<Counted> part_;                            // of the session that it has joined
    // The attempt's, made in this order.
    SharedSession session_;
    std::optional<ForwardedCancellation> cancellation_;
    std::unique_ptr<asio::steady_timer> overlong_;  // mostly there is none
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/backoff.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/ending.hpp>
#include <txscope/transaction/detail/entry.hpp>
#include <txscope/transaction/detail/retry.hpp>
#include <txscope/transaction/detail/scope_session.hpp>
#include <txscope/transaction/detail/transaction.hpp>

#include <boost/asio/this_coro.hpp>

namespace txscope::detail {

TXSCOPE_INLINE ScopeRun::ScopeRun(const std::shared_ptr<SessionPool>& pool,
                                  const TransactionOptions& options, std::source_location where,
                                  const asio::any_io_executor& callers)
    : pool_{pool},
      options_{options},
      where_{where},
      callers_{callers},
      outer_{find_session(ambient_of(callers), pool.get())},
      entry_{entry_of(options, outer_, where)} {}

TXSCOPE_INLINE ScopeRun::~ScopeRun() {
    if (!ended_ && entry_ == Entry::begin) {
        TransactionState& transaction = transaction_of(*session_);
        transaction.reporter.report_since_begin(transaction.over ? transaction.outcome()
                                                                 : ScopeEvent::leaked);
        transaction.over = true;
    }
    if (session_ && session_->span && !joins())
        ended_ ? session_->span->end(error_) : session_->span->abandon();
    if (session_ && (entry_ == Entry::begin || entry_ == Entry::nest)) session_->leave();
}

TXSCOPE_INLINE bool ScopeRun::takes_turns() const noexcept { return entry_ == Entry::nest; }

TXSCOPE_LAZY_INLINE asio::awaitable<void> ScopeRun::take_turn() {
    outer_->check_open();
    turn_ = co_await outer_->nesting().lock();
}

TXSCOPE_LAZY_INLINE void ScopeRun::begin(const asio::cancellation_state& caller) {
    if (!session_)
        deadline_ = deadline_of(entry_ == Entry::begin && options_.timeout.count() == 0
                                    ? pool_->options().default_timeout
                                    : options_.timeout);
    std::shared_ptr<LiveSpan> earlier = session_ ? session_->span : nullptr;
    switch (entry_) {
        case Entry::begin:
            begin_transaction();
            break;
        case Entry::nest:
            begin_nested();
            break;
        case Entry::join:
            return begin_joined(caller);
        case Entry::plain:
            session_ = open_session(pool_, callers_, where_, false);
            break;
    }
    ended_ = false;
    if (session_->shared().reporter) begin_span(*session_, options_.label, std::move(earlier));
    cancellation_.emplace(caller, callers_, executor_of(session_));
    cancellation_->cancel_at(deadline_);
    if (entry_ == Entry::begin) watch();
}

TXSCOPE_LAZY_INLINE void ScopeRun::begin_transaction() {
    int attempt = 1;
    if (session_) {
        overlong_.reset();
        cancellation_.reset();
        session_->leave();
        attempt += session_->shared().attempt;
    }
    session_ =
        new SessionOf<TransactionSession>{pool_, callers_, options_, deadline_, attempt, where_};
}

TXSCOPE_LAZY_INLINE void ScopeRun::begin_nested() {
    outer_->check_open();
    session_ = new SessionOf<NestedSession>{*outer_, callers_, deadline_, where_};
}

TXSCOPE_LAZY_INLINE void ScopeRun::begin_joined(const asio::cancellation_state& caller) {
    outer_->check_open();
    part_.emplace(outer_->joined_scopes());
    session_ = outer_;
    if (!has_deadline()) return;
    cancellation_.emplace(caller, callers_, *callers_.target<AmbientExecutor>());
    cancellation_->cancel_at(deadline_);
}

/// Tells the observer when the scope still runs after the time that its pool allows.
TXSCOPE_LAZY_INLINE void ScopeRun::watch() {
    const SharedConnection& shared = session_->shared();
    const auto limit = pool_->options().overlong_scope;
    if (!shared.reporter || limit.count() <= 0) return;
    const auto started = Clock::now();  // before the limit begins: what is reported exceeds it
    overlong_ =
        std::make_unique<asio::steady_timer>(AmbientExecutor{shared.strand}, deadline_in(limit));
    overlong_->async_wait([watched = session_, started](boost::system::error_code cancelled) {
        const SharedConnection& running = watched->shared();
        if (!cancelled && !running.over)
            running.reporter.report(ScopeEvent::overlong, Clock::now() - started);
    });
}

TXSCOPE_INLINE bool ScopeRun::joins() const noexcept { return entry_ == Entry::join; }

TXSCOPE_INLINE bool ScopeRun::ended(std::exception_ptr error,
                                    const asio::cancellation_state& caller) {
    const TransactionMachine& machine = session_->machine();
    // What the body threw in time, or the server said to COMMIT, stands.
    if (error && !joins() && cancellation_->expired() &&
        machine.was_cut_short(*session_, is_cancellation(error)))
        error = time_is_over(where_, error);
    ended_ = true;
    error_ = error;
    if (entry_ == Entry::begin) {
        TransactionState& transaction = transaction_of(*session_);
        transaction.reporter.report_since_begin(transaction.outcome(), error);
        // Inside of a transaction it is the outermost scope that tries again.
        may_try_again_ = error && transaction.attempt < options_.retry.max_attempts &&
                         !in_transaction(outer_) && is_worth_another_attempt(*session_, error);
        if (may_try_again_ || tells_outcome()) return true;
    }
    if (joins() && (error || is_over(deadline_))) error = joined_error(error, caller);
    if (error) std::rethrow_exception(error);
    // If the session around did not wait, what the body did was undone.
    if (joins()) outer_->check_not_ended();
    return false;
}

/// Nothing of the session that it has joined can be kept. Returns why.
TXSCOPE_INLINE std::exception_ptr ScopeRun::joined_error(
    std::exception_ptr error, const asio::cancellation_state& caller) const {
    TransactionMachine& machine = session_->machine();
    const bool expired = cancellation_ && cancellation_->expired();
    const bool cancelled = expired || caller.cancelled() != asio::cancellation_type::none;
    if (error) error = thrown_error(error, cancelled, machine.cause());
    if (expired || !error) error = time_is_over(where_, error);
    if (machine.is_transaction()) machine.scope_failed(*session_, error);
    return error;
}

TXSCOPE_INLINE bool ScopeRun::tells_outcome() const {
    const auto* const hooks = session_->outcome_hooks();
    return hooks != nullptr && !hooks->empty() &&
           session_->machine().phase() != TransactionMachine::Phase::in_doubt;
}

TXSCOPE_LAZY_INLINE asio::awaitable<bool> ScopeRun::settle(bool throws) {
    const TransactionState& transaction = transaction_of(*session_);
    const RetryPolicy& policy = options_.retry;
    const Clock::duration pause =
        may_try_again_ ? backoff(policy.initial_backoff, policy.max_backoff, transaction.attempt)
                       : Clock::duration{};
    const auto next = Clock::now() + pause;
    if (may_try_again_ && next < deadline_) {
        transaction.reporter.report(ScopeEvent::retry, pause, error_);
        co_await asio::this_coro::throw_if_cancelled(throws);
        try {
            co_await pause_until(next);
            co_return true;
        } catch (...) {  // the caller was cancelled: that was the last attempt
            error_ = std::current_exception();
        }
        co_await asio::this_coro::throw_if_cancelled(false);
    }
    // The outcome is told also to a caller who was cancelled while COMMIT was under way.
    if (tells_outcome()) co_await session_->hooks()->tell_outcome(session_);
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (error_) std::rethrow_exception(error_);
    co_return false;
}

}  // namespace txscope::detail

#endif
