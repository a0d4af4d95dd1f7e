#pragma once

#include <txscope/core/error.hpp>

#include <atomic>
#include <exception>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// The life of a scope inside of those around it: open, then perhaps doomed to be rolled back, then
/// ended. On the scope's strand, but for whether it has ended.
class ScopeLife {
public:
    /// @param around the scope that it is nested in, null for none; lives as long as this
    ScopeLife(const ScopeLife* around, std::source_location where)
        : around_{around}, where_{where} {}
    ScopeLife(const ScopeLife&) = delete;

    /// The scope is over: statements are refused with `ScopeEnded`.
    void end() noexcept { ended_ = true; }
    /// Of this scope and those around it, one that is over; null for none. From any thread.
    const ScopeLife* ended() const noexcept {
        if (ended_) return this;
        return around_ != nullptr ? around_->ended() : nullptr;
    }
    /// @throws ScopeEnded when there is such a one
    void check_not_ended() const {
        if (const ScopeLife* over = ended())
            throw ScopeEnded{"the scope of this session has ended", over->where_};
    }

    /// A joined scope failed, or no connection was to be had: nothing here is to be kept any more.
    void doom(std::exception_ptr cause) {
        if (!doom_) doom_ = std::move(cause);
    }
    std::exception_ptr doomed_by() const noexcept { return doom_; }
    /// @throws TransactionAborted when this scope or one around it is doomed
    void check_not_doomed() const;

    /// The body was cancelled before it had ended.
    void interrupt() noexcept { interrupted_ = true; }
    bool interrupted() const noexcept { return interrupted_; }

    /// The owner wants a rollback, and no error.
    void set_rollback_only() noexcept { rollback_only_ = true; }
    bool rollback_only() const noexcept { return rollback_only_; }

    const std::source_location& where() const noexcept { return where_; }
    unsigned depth() const noexcept { return around_ != nullptr ? around_->depth() + 1 : 0; }
    bool is_within(const ScopeLife& outer) const noexcept {
        return this == &outer || (around_ != nullptr && around_->is_within(outer));
    }

private:
    const ScopeLife* const around_;
    const std::source_location where_;
    std::exception_ptr doom_;
    bool interrupted_ = false;
    bool rollback_only_ = false;
    std::atomic<bool> ended_ = false;
};

inline void ScopeLife::check_not_doomed() const {
    for (const ScopeLife* scope = this; scope != nullptr; scope = scope->around_)
        if (scope->doom_)
            std::rethrow_exception(nest(
                scope->doom_, TransactionAborted{"a joined scope or a statement failed before, so "
                                                 "the transaction can only be rolled back",
                                                 scope->where_}));
}

}  // namespace txscope::detail
