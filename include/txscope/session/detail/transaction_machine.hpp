#pragma once

#include <txscope/session/detail/scope_node.hpp>

#include <cstdint>
#include <exception>
#include <utility>

namespace txscope::detail {

/// How what was sent has been answered.
enum class Answer : std::uint8_t {
    executed,
    failed,   ///< A statement of it failed.
    skipped,  ///< Another one's failure made the server skip it, or kept it from being sent.
    unsent,   ///< The connection had been lost before any of it was sent.
    lost,     ///< The connection was lost before all of it was answered.
};

/// How COMMIT has been answered.
enum class CommitAnswer : std::uint8_t {
    committed,
    rolled_back,   ///< PostgreSQL answers COMMIT with ROLLBACK in a transaction that has failed.
    failed,        ///< The server has no transaction any more.
    not_executed,  ///< What was queued ahead of it failed.
    unsent,        ///< The connection had been lost before.
    lost,          ///< The connection was lost while it was under way.
};

/// Decides what becomes of a transaction and of the scopes nested in it: which statements are
/// refused, what is sent when a body has ended, and what its scope ends with. It waits for nothing,
/// and knows no connection and no clock.
///
/// Each event is told by a call. From the end of a body on, each returns what is to be done next,
/// until that is to finish.
///
/// - Of several failures the first counts; but that the connection was lost is not hidden by any
///   before it, since another attempt need not meet those.
/// - What a nested scope has failed in is undone with its savepoint, and the scopes around go on.
/// - Nothing is committed that failed in part. In doubt is only a COMMIT that was sent, of a
///   transaction that may have written.
///
/// The sessions of a factory that are no transaction have a machine, too, of which they use how
/// their body ends.
class TransactionMachine {
public:
    enum class Phase : std::uint8_t {
        no_transaction,  ///< Each statement commits by itself.
        unopened,        ///< Nothing was sent.
        beginning,       ///< BEGIN is on its way, with the first statement.
        open,
        failed,  ///< The server refuses statements until a rollback.
        committing,
        rolling_back,
        in_doubt,
        committed,
        rolled_back
    };
    /// Whose failure it was.
    enum class Failure : std::uint8_t {
        none,
        of_another,  ///< Of a statement whose caller was not told yet.
        of_statement,
        of_connection
    };
    struct Refusal {
        enum class Why : std::uint8_t {
            none,
            scope_ended,
            scope_failed,     ///< A scope that had joined it did, or there was no connection.
            statement_failed  ///< No statement can succeed before a rollback.
        };
        Why why = Why::none;
        const ScopeNode* scope = nullptr;  ///< That has ended or failed.
        std::exception_ptr cause{};

        explicit operator bool() const noexcept { return why != Why::none; }
    };
    struct Action {
        enum class Kind : std::uint8_t {
            send_queued,             ///< Then `queued_answered`.
            commit,                  ///< Send it behind what is queued; then `commit_answered`.
            look_up,                 ///< Find out whether it was committed; then `looked_up`.
            roll_back,               ///< Or close the connection; then `rolled_back`.
            await_savepoint,         ///< Until it is answered; then `savepoint_answered`.
            roll_back_to_savepoint,  ///< Then `rolled_back_to_savepoint`.
            release,                 ///< With what is sent next; then `released`.
            finish
        };
        Kind kind;
        ScopeNode::Outcome outcome = ScopeNode::Outcome::as_wanted;  ///< To finish with.

        bool operator==(const Action&) const = default;
    };
    /// What the machine cannot know by itself.
    struct Circumstances {
        bool queued = false;    ///< Something is to be sent yet.
        bool verifies = false;  ///< Which transaction it is must be known before COMMIT is sent.
        bool time_is_over = false;  ///< Of the scope.
    };
    /// What a failure promises to another attempt.
    enum class Cause : std::uint8_t {
        lasting,
        passing,
        connection_lost
    };

    explicit TransactionMachine(bool transaction) noexcept
        : phase_{transaction ? Phase::unopened : Phase::no_transaction} {}
    TransactionMachine(const TransactionMachine&) = delete;

    // Statements.

    /// Whether a statement of the scope is refused, which otherwise goes out.
    Refusal refusal(const ScopeNode& scope) const;
    /// Of that, only whether this scope or one around has failed.
    static Refusal scope_failure(const ScopeNode& scope);
    /// What opens the scope, BEGIN or SAVEPOINT, goes out with its first statement.
    void opens(ScopeNode& scope) noexcept;
    /// What a caller has sent was answered. True if another failure is why it failed.
    bool answered(Answer answer, const std::exception_ptr& error) noexcept;
    /// Nothing can be kept any more.
    void failed(Failure whose, std::exception_ptr cause) noexcept;
    /// Nothing of this scope can be kept: one that had joined it failed, or there was no connection.
    void scope_failed(ScopeNode& scope, std::exception_ptr cause) noexcept {
        if (!scope.failure_) scope.failure_ = std::move(cause);
    }

    // The end of a scope.

    /// @param busy whether statements or scopes within are under way
    ScopeNode::Outcome body_ended(ScopeNode& scope, bool threw, bool cancelled, bool busy) noexcept;
    /// Begins to keep or to undo what it did.
    Action end(ScopeNode& scope, const Circumstances& now) noexcept;
    Action queued_answered(ScopeNode& scope, Answer answer, const std::exception_ptr& error,
                           const Circumstances& now) noexcept;
    /// @param may_have_written false if it is the same whether it was committed
    /// @param can_look_up whether the outcome can be found out, should the answer be lost
    Action commit_answered(ScopeNode& scope, CommitAnswer answer, const std::exception_ptr& error,
                           bool may_have_written, bool can_look_up) noexcept;
    enum class Proof : std::uint8_t {
        committed,
        aborted,
        none
    };
    Action looked_up(ScopeNode& scope, Proof proof, const std::exception_ptr& loss) noexcept;
    Action rolled_back(const ScopeNode& scope) noexcept;
    Action savepoint_answered(ScopeNode& scope, Answer answer,
                              const std::exception_ptr& error) noexcept;
    Action rolled_back_to_savepoint(ScopeNode& scope, Answer answer,
                                    const std::exception_ptr& error) noexcept;
    Action released(const ScopeNode& scope) const noexcept { return finish(scope); }
    /// What was to be done could not be, or its answer not be awaited.
    /// @param may_be_committed whether COMMIT was sent, of a transaction that may have written
    void gave_up(ScopeNode& scope, std::exception_ptr cause, bool may_be_committed) noexcept;

    // What there is.

    Phase phase() const noexcept { return phase_; }
    bool is_transaction() const noexcept { return phase_ != Phase::no_transaction; }
    Failure failure() const noexcept { return failure_; }
    const std::exception_ptr& cause() const noexcept { return cause_; }
    /// Why what was done in the scope can only be undone; null if it can be kept.
    const std::exception_ptr& failure_of(const ScopeNode& scope) const noexcept {
        return scope.failure_ ? scope.failure_ : cause_;
    }
    /// Whether it would be kept, if its body returned now.
    bool keeps(const ScopeNode& scope) const noexcept {
        return !scope.rollback_only_ && !scope.failure_ && failure_ == Failure::none;
    }
    /// Whether a scope that has failed may run once more.
    bool may_try_again(Cause cause) const noexcept {
        if (phase_ == Phase::in_doubt || phase_ == Phase::committed) return false;
        // Another one than this transaction's may have executed, and committed, what was sent.
        return cause == Cause::passing ||
               (cause == Cause::connection_lost && failure_ != Failure::none);
    }
    /// Whether its time is why a scope ends that was cancelled when that was over. What the body
    /// threw before, or the server said to COMMIT, stands.
    bool was_cut_short(const ScopeNode& scope, bool ends_cancelled) const noexcept {
        return (scope.interrupted() || ends_cancelled) && phase_ != Phase::in_doubt;
    }

private:
    using Kind = Action::Kind;
    using Life = ScopeNode::Life;
    using Outcome = ScopeNode::Outcome;
    using Savepoint = ScopeNode::Savepoint;

    static bool is_outermost(const ScopeNode& scope) noexcept { return scope.around_ == nullptr; }
    static bool is_lost(Answer answer) noexcept {
        return answer == Answer::lost || answer == Answer::unsent;
    }
    static Action finish(const ScopeNode& scope) noexcept { return {Kind::finish, scope.outcome_}; }
    static Action finish(ScopeNode& scope, Outcome outcome) noexcept {
        scope.outcome_ = outcome;
        return finish(scope);
    }
    void fail(Answer answer, const std::exception_ptr& error) noexcept;
    Action keep(ScopeNode& scope, const Circumstances& now) noexcept;
    Action undo(ScopeNode& scope) noexcept;

    Phase phase_;
    Failure failure_ = Failure::none;
    std::exception_ptr cause_;  // of the failure
};

inline TransactionMachine::Refusal TransactionMachine::refusal(const ScopeNode& scope) const {
    using Why = Refusal::Why;
    if (const ScopeNode* over = scope.ended()) return {Why::scope_ended, over};
    Refusal failure = scope_failure(scope);
    if (!failure && is_transaction() && failure_ != Failure::none)
        return {Why::statement_failed, &scope, cause_};
    return failure;
}

inline TransactionMachine::Refusal TransactionMachine::scope_failure(const ScopeNode& scope) {
    for (const ScopeNode* each = &scope; each != nullptr; each = each->around_)
        if (each->failure_) return {Refusal::Why::scope_failed, each, each->failure_};
    return {};
}

inline void TransactionMachine::opens(ScopeNode& scope) noexcept {
    if (is_outermost(scope) && phase_ == Phase::unopened) phase_ = Phase::beginning;
    if (!is_outermost(scope) && scope.savepoint_ == Savepoint::unset)
        scope.savepoint_ = Savepoint::being_set;
}

inline bool TransactionMachine::answered(Answer answer, const std::exception_ptr& error) noexcept {
    if (answer == Answer::executed) {
        if (phase_ == Phase::beginning) phase_ = Phase::open;
        return false;
    }
    const bool the_same =
        is_lost(answer) ? failure_ == Failure::of_connection : failure_ == Failure::of_another;
    const bool follows = answer == Answer::skipped || (failure_ != Failure::none && !the_same);
    fail(answer, error);
    return follows;
}

inline void TransactionMachine::failed(Failure whose, std::exception_ptr cause) noexcept {
    if (phase_ == Phase::unopened || phase_ == Phase::beginning || phase_ == Phase::open)
        phase_ = Phase::failed;
    const bool counts = failure_ == Failure::none || whose == Failure::of_connection;
    if (counts) cause_ = std::move(cause);
    // So far only those were answered that had been skipped for it.
    if (counts || failure_ == Failure::of_another) failure_ = whose;
}

inline void TransactionMachine::fail(Answer answer, const std::exception_ptr& error) noexcept {
    if (answer == Answer::executed) return;
    failed(is_lost(answer)             ? Failure::of_connection
           : answer == Answer::skipped ? Failure::of_another
                                       : Failure::of_statement,
           error);
}

inline ScopeNode::Outcome TransactionMachine::body_ended(ScopeNode& scope, bool threw,
                                                         bool cancelled, bool busy) noexcept {
    scope.life_ = cancelled ? Life::interrupted : Life::ended;
    scope.outcome_ = threw       ? Outcome::threw
                     : cancelled ? Outcome::cancelled
                     : busy      ? Outcome::unfinished
                                 : Outcome::as_wanted;
    return scope.outcome_;
}

inline TransactionMachine::Action TransactionMachine::end(ScopeNode& scope,
                                                          const Circumstances& now) noexcept {
    if (!is_outermost(scope) && scope.around_->ended())
        return finish(scope,
                      scope.outcome_ == Outcome::as_wanted ? Outcome::scope_ended : scope.outcome_);
    if (scope.outcome_ != Outcome::as_wanted || scope.rollback_only_) return undo(scope);
    if (keeps(scope)) return keep(scope, now);
    scope.outcome_ = Outcome::swallowed;
    return undo(scope);
}

/// The body returned, and nothing has failed so far.
inline TransactionMachine::Action TransactionMachine::keep(ScopeNode& scope,
                                                           const Circumstances& now) noexcept {
    if (now.time_is_over) {
        scope.outcome_ = Outcome::timed_out;
        return undo(scope);
    }
    if (!is_outermost(scope)) {
        // What was written behind belongs inside the savepoint: its errors are this scope's.
        if (now.queued) return {Kind::send_queued};
        const bool was_set = scope.savepoint_ != Savepoint::unset;
        scope.savepoint_ = Savepoint::released;
        return was_set ? Action{Kind::release} : finish(scope);
    }
    if (now.verifies && now.queued && phase_ == Phase::unopened) return {Kind::send_queued};
    const bool nothing_to_do = phase_ == Phase::unopened && !now.queued;
    phase_ = nothing_to_do ? Phase::committed : Phase::committing;
    return nothing_to_do ? finish(scope) : Action{Kind::commit};
}

inline TransactionMachine::Action TransactionMachine::undo(ScopeNode& scope) noexcept {
    if (is_outermost(scope)) {
        phase_ = Phase::rolling_back;
        return {Kind::roll_back};
    }
    if (scope.savepoint_ != Savepoint::unset) return {Kind::await_savepoint};
    scope.savepoint_ = Savepoint::rolled_back;
    return finish(scope);
}

inline TransactionMachine::Action TransactionMachine::queued_answered(
    ScopeNode& scope, Answer answer, const std::exception_ptr& error,
    const Circumstances& now) noexcept {
    if (!is_outermost(scope) && scope.around_->ended()) return finish(scope, Outcome::scope_ended);
    // What the scope around had queued goes ahead of the savepoint, and nothing undoes its error.
    answered(answer, error);
    if (answer == Answer::executed) return keep(scope, now);
    scope.outcome_ = Outcome::failed;
    return undo(scope);
}

inline TransactionMachine::Action TransactionMachine::commit_answered(
    ScopeNode& scope, CommitAnswer answer, const std::exception_ptr& error, bool may_have_written,
    bool can_look_up) noexcept {
    if (answer == CommitAnswer::committed) {
        phase_ = Phase::committed;
        return finish(scope);
    }
    if (answer == CommitAnswer::lost && may_have_written) {
        phase_ = Phase::in_doubt;
        return can_look_up ? Action{Kind::look_up} : finish(scope, Outcome::in_doubt);
    }
    const bool lost = answer == CommitAnswer::lost || answer == CommitAnswer::unsent;
    failed(lost ? Failure::of_connection : Failure::of_statement, error);
    scope.outcome_ =
        answer == CommitAnswer::rolled_back ? Outcome::server_rolled_back : Outcome::failed;
    if (answer == CommitAnswer::not_executed) return undo(scope);
    phase_ = Phase::rolled_back;
    return finish(scope);
}

inline TransactionMachine::Action TransactionMachine::looked_up(
    ScopeNode& scope, Proof proof, const std::exception_ptr& loss) noexcept {
    if (proof == Proof::none) return finish(scope, Outcome::in_doubt);
    if (proof == Proof::committed) {
        phase_ = Phase::committed;
        return finish(scope);
    }
    failed(Failure::of_connection, loss);
    phase_ = Phase::rolled_back;
    return finish(scope, Outcome::failed);
}

inline TransactionMachine::Action TransactionMachine::rolled_back(const ScopeNode& scope) noexcept {
    phase_ = Phase::rolled_back;
    return finish(scope);
}

inline TransactionMachine::Action TransactionMachine::savepoint_answered(
    ScopeNode& scope, Answer answer, const std::exception_ptr& error) noexcept {
    if (scope.around_->ended()) return finish(scope);  // it has been undone by more than this
    answered(answer, error);
    // The savepoint of that name may be of the scope before, and going back to it would undo that.
    scope.savepoint_ = answer == Answer::executed ? Savepoint::set : Savepoint::failed;
    return answer == Answer::executed ? Action{Kind::roll_back_to_savepoint} : finish(scope);
}

inline TransactionMachine::Action TransactionMachine::rolled_back_to_savepoint(
    ScopeNode& scope, Answer answer, const std::exception_ptr& error) noexcept {
    if (scope.around_->ended()) return finish(scope);
    if (answer != Answer::executed) {
        fail(answer, error);
        scope.savepoint_ = Savepoint::failed;
        return finish(scope);
    }
    if (phase_ == Phase::failed) phase_ = Phase::open;
    failure_ = Failure::none;
    cause_ = nullptr;
    scope.savepoint_ = Savepoint::rolled_back;
    return {Kind::release};
}

inline void TransactionMachine::gave_up(ScopeNode& scope, std::exception_ptr cause,
                                        bool may_be_committed) noexcept {
    if (is_outermost(scope)) {
        if (phase_ == Phase::committing && may_be_committed)
            phase_ = Phase::in_doubt;
        else if (is_transaction() && phase_ != Phase::in_doubt)
            phase_ = Phase::rolled_back;
        return;
    }
    // What it was to undo, or to keep, may be there or not.
    if (scope.savepoint_ == Savepoint::unset || scope.around_->ended()) return;
    scope.savepoint_ = Savepoint::failed;
    failed(Failure::of_statement, std::move(cause));
}

}  // namespace txscope::detail
