#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/run_session.hpp>
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
    asio::awaitable<void> take_turn();

    /// Begins an attempt.
    void begin(const asio::cancellation_state& caller);
    /// Whether the body is to run in the session around, right here; else on the attempt's strand.
    bool joins() const noexcept;
    const SessionState::Shared& session() const noexcept { return session_; }
    /// Runs what `run_on_strand` gives for these.
    auto spawn(asio::awaitable<void> work) {
        return cancellation_->spawn(executor_of(session_), within_time(std::move(work)));
    }

    /// The attempt has ended, with `error` unless that is null. Returns whether to `settle` it.
    /// @throws what the scope ends with, if not
    bool ended(std::exception_ptr error, const asio::cancellation_state& caller);
    /// Returns whether there is to be another attempt, which may begin now. If not, those have been
    /// told who wait for the outcome.
    ///
    /// The caller must not be interruptible, and is so again afterwards if `throws` is set.
    /// @throws what the scope ends with
    asio::awaitable<bool> settle(bool throws);

private:
    void begin_transaction();
    void begin_nested();
    void watch();
    asio::awaitable<void> within_time(asio::awaitable<void> work);
    bool tells_outcome() const;

    const std::shared_ptr<SessionPool>& pool_;
    const TransactionOptions& options_;
    const std::source_location where_;
    const asio::any_io_executor& callers_;
    SessionState* const outer_;  // which `callers` keep alive
    const Entry entry_;
    bool told_ = true;             // the observer, how the attempt has ended
    bool may_try_again_ = false;   // another time
    std::exception_ptr error_;     // that the attempt has ended with
    FifoMutex::Lock turn_;         // of a nested scope
    std::optional<Counted> part_;  // of the session that it has joined
    // The attempt's, made in this order.
    SessionState::Shared session_;
    std::optional<ForwardedCancellation> cancellation_;
    std::unique_ptr<asio::steady_timer> overlong_;  // mostly there is none
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/backoff.hpp>
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
      outer_{find_session(ambient_of(callers).get(), pool.get())},
      entry_{entry_of(options, outer_, where)} {}

TXSCOPE_INLINE ScopeRun::~ScopeRun() {
    if (!told_) {
        TransactionState& transaction = transaction_of(*session_);
        transaction.reporter.report_since_begin(transaction.over ? transaction.outcome()
                                                                 : ScopeEvent::leaked);
        transaction.over = true;
    }
    if (session_ && (entry_ == Entry::begin || entry_ == Entry::nest)) session_->leave();
}

TXSCOPE_INLINE bool ScopeRun::takes_turns() const noexcept { return entry_ == Entry::nest; }

TXSCOPE_INLINE asio::awaitable<void> ScopeRun::take_turn() {
    outer_->check_open();
    turn_ = co_await outer_->nesting().lock();
}

TXSCOPE_INLINE void ScopeRun::begin(const asio::cancellation_state& caller) {
    switch (entry_) {
        case Entry::begin:
            begin_transaction();
            break;
        case Entry::nest:
            begin_nested();
            break;
        case Entry::join:
            outer_->check_open();
            part_.emplace(outer_->joined_scopes());
            session_ = outer_;
            return;
        case Entry::plain:
            session_ = open_session(pool_, callers_, where_, false);
            break;
    }
    cancellation_.emplace(caller, session_->on);
    if (entry_ == Entry::begin) watch();
}

TXSCOPE_INLINE void ScopeRun::begin_transaction() {
    if (!session_) {
        const auto deadline =
            options_.timeout.count() > 0 ? deadline_in(options_.timeout) : Clock::time_point::max();
        session_ = new TransactionSession{pool_, callers_, options_, deadline, 1, where_};
    } else {
        overlong_.reset();
        cancellation_.reset();
        session_->leave();
        const TransactionState& failed = transaction_of(*session_);
        session_ = new TransactionSession{pool_,           callers_,           options_,
                                          failed.deadline, failed.attempt + 1, where_};
    }
    told_ = false;
}

TXSCOPE_INLINE void ScopeRun::begin_nested() {
    outer_->check_open();
    session_ = new NestedSession{*outer_, callers_, where_};
}

/// Tells the observer when the scope still runs after the time that its pool allows.
TXSCOPE_INLINE void ScopeRun::watch() {
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

/// Cancels `work` with `cancel` at `deadline`, unless that is over by then. On the strand.
TXSCOPE_INLINE asio::awaitable<void> run_until(Clock::time_point deadline,
                                               SessionState::Shared session,
                                               ForwardedCancellation::Canceller cancel,
                                               asio::awaitable<void> work) {
    asio::steady_timer timer{co_await asio::this_coro::executor, deadline};
    timer.async_wait([session = std::move(session), cancel](boost::system::error_code cancelled) {
        if (cancelled || session->shared().over) return;
        session->shared().expired = true;
        cancel();
    });
    co_await std::move(work);
}

TXSCOPE_INLINE asio::awaitable<void> ScopeRun::within_time(asio::awaitable<void> work) {
    if (entry_ != Entry::begin) return work;
    const auto deadline = transaction_of(*session_).deadline;
    if (deadline == Clock::time_point::max()) return work;
    return run_until(deadline, session_, cancellation_->canceller(), std::move(work));
}

TXSCOPE_INLINE bool ScopeRun::joins() const noexcept { return entry_ == Entry::join; }

TXSCOPE_INLINE bool ScopeRun::ended(std::exception_ptr error,
                                    const asio::cancellation_state& caller) {
    TransactionMachine& machine = session_->machine();
    if (entry_ == Entry::begin) {
        told_ = true;
        TransactionState& transaction = transaction_of(*session_);
        transaction.reporter.report_since_begin(transaction.outcome(), error);
        // Inside of a transaction it is the outermost scope that tries again.
        may_try_again_ = error && transaction.attempt < options_.retry.max_attempts &&
                         !in_transaction(outer_) && is_worth_another_attempt(*session_, error);
        error_ = error;
        if (may_try_again_ || tells_outcome()) return true;
    }
    if (entry_ == Entry::join && error) {
        const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
        error = thrown_error(error, cancelled, machine.cause());
        if (machine.is_transaction()) machine.scope_failed(*session_, error);
    }
    if (error) std::rethrow_exception(error);
    // If the session around did not wait, what the body did was undone.
    if (entry_ == Entry::join) outer_->check_not_ended();
    return false;
}

TXSCOPE_INLINE bool ScopeRun::tells_outcome() const {
    return session_->machine().phase() != TransactionMachine::Phase::in_doubt &&
           !outcome_hooks(*session_).empty();
}

TXSCOPE_INLINE asio::awaitable<bool> ScopeRun::settle(bool throws) {
    const TransactionState& transaction = transaction_of(*session_);
    const RetryPolicy& policy = options_.retry;
    const Clock::duration pause =
        may_try_again_ ? backoff(policy.initial_backoff, policy.max_backoff, transaction.attempt)
                       : Clock::duration{};
    const auto next = Clock::now() + pause;
    if (may_try_again_ && next < transaction.deadline) {
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
    if (tells_outcome()) co_await run_outcome_hooks(session_);
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (error_) std::rethrow_exception(error_);
    co_return false;
}

}  // namespace txscope::detail

#endif
