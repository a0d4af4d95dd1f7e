#pragma once

#include <txscope/postgres/connection.hpp>
#include <txscope/session/detail/deadline.hpp>
#include <txscope/session/observer.hpp>

#include <exception>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// Tells a factory's observer, if it has one, what happens in one scope.
struct Reporter {
    Observer* observer;
    std::source_location where;
    std::string_view label{};
    int attempt = 1;
    Clock::time_point begun{};  ///< When the transaction got its connection.

    explicit operator bool() const noexcept { return observer != nullptr; }

    void report(ScopeEvent::Kind kind, Clock::duration duration, std::exception_ptr error = nullptr,
                std::string_view sql = {}) const noexcept {
        if (observer != nullptr)
            observer->notice({.kind = kind,
                              .where = where,
                              .label = label,
                              .attempt = attempt,
                              .duration = duration,
                              .sql = sql,
                              .error = std::move(error)});
    }

    /// The same, about all the time since the beginning; nothing about what has not begun.
    void report_since_begin(ScopeEvent::Kind kind,
                            std::exception_ptr error = nullptr) const noexcept {
        if (begun != Clock::time_point{}) report(kind, Clock::now() - begun, std::move(error));
    }

    void begin(Clock::time_point asked) noexcept {
        if (observer == nullptr) return;
        begun = Clock::now();
        report(ScopeEvent::begin, begun - asked);
    }
};

/// Reports a statement once it has been answered, in whatever way its caller goes on.
class StatementReport {
public:
    StatementReport(const Reporter& reporter, std::string_view sql) noexcept : reporter_{reporter} {
        if (!reporter_) return;
        given_ = Clock::now();
        try {
            sql_ = sql;
        } catch (const std::bad_alloc&) {  // then without its text
        }
    }
    StatementReport(const StatementReport&) = delete;
    StatementReport& operator=(const StatementReport&) = delete;
    ~StatementReport() {
        if (reporter_ && exchange_ != nullptr && exchange_->done)
            reporter_.report(ScopeEvent::statement, Clock::now() - given_, exchange_->error, sql_);
    }
    /// Where its answer will be.
    void answered_in(const Exchange& exchange) noexcept { exchange_ = &exchange; }

private:
    const Reporter& reporter_;
    const Exchange* exchange_ = nullptr;
    std::string sql_;
    Clock::time_point given_;
};

}  // namespace txscope::detail
