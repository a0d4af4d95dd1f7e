#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>

namespace txscope::detail {

/// One more in a count, for as long as it lives.
class Counted {
public:
    explicit Counted(std::size_t& count) noexcept : count_{count} { ++count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count_; }

private:
    std::size_t& count_;
};

/// A scope as the machine knows it: a session's outermost one, or one nested in it, which a savepoint
/// separates from what is around.
///
/// On the scope's strand, but for whether it has ended.
class ScopeNode {
public:
    /// What has become of a nested scope's savepoint.
    enum class Savepoint : std::uint8_t {
        unset,        ///< Nothing of the scope was sent.
        being_set,    ///< `SAVEPOINT` is on its way, or was answered since.
        set,          ///< It was answered.
        failed,       ///< It is not known to be there, or to be undone.
        released,     ///< What the scope did is part of the scope around.
        rolled_back,  ///< What the scope did is undone.
    };
    /// What a scope ends with.
    enum class Outcome : std::uint8_t {
        as_wanted,           ///< Without an error: it is kept, or was to be rolled back.
        threw,               ///< The body's exception.
        cancelled,           ///< The body was cancelled, and returned.
        unfinished,          ///< Statements or scopes were under way when the body returned.
        swallowed,           ///< Something in it had failed, and the body returned.
        timed_out,           ///< The body returned after its time.
        failed,              ///< What was sent last failed.
        server_rolled_back,  ///< COMMIT was answered with ROLLBACK.
        in_doubt,            ///< COMMIT was not answered.
        scope_ended,         ///< A scope around has ended before.
    };

    /// @param around the scope that it is nested in, null for none; lives as long as this
    ScopeNode(ScopeNode* around, std::source_location where) noexcept
        : around_{around}, where_{where} {}
    ScopeNode(const ScopeNode&) = delete;

    /// The scope is over: statements are refused.
    void end() noexcept {
        if (life_ == Life::running) life_ = Life::ended;
    }
    /// Of this scope and those around it, one that is over; null for none. From any thread.
    const ScopeNode* ended() const noexcept {
        if (life_ != Life::running) return this;
        return around_ != nullptr ? around_->ended() : nullptr;
    }
    /// Whether its body was cancelled before it had ended.
    bool interrupted() const noexcept { return life_ == Life::interrupted; }

    /// The owner wants a rollback, and no error.
    void set_rollback_only() noexcept { rollback_only_ = true; }
    bool rollback_only() const noexcept { return rollback_only_; }

    Savepoint savepoint() const noexcept { return savepoint_; }
    const ScopeNode* around() const noexcept { return around_; }
    const std::source_location& where() const noexcept { return where_; }
    unsigned depth() const noexcept { return around_ != nullptr ? around_->depth() + 1 : 0; }
    bool is_within(const ScopeNode& outer) const noexcept {
        return this == &outer || (around_ != nullptr && around_->is_within(outer));
    }

private:
    friend class TransactionMachine;
    enum class Life : std::uint8_t {
        running,
        ended,
        interrupted
    };

    ScopeNode* const around_;
    const std::source_location where_;
    std::exception_ptr failure_;  // why it can only be undone: no statement's
    std::atomic<Life> life_ = Life::running;
    Savepoint savepoint_ = Savepoint::unset;
    Outcome outcome_ = Outcome::as_wanted;
    bool rollback_only_ = false;
};

}  // namespace txscope::detail
