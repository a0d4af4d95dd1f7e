#pragma once

#include <txscope/session/detail/conversation.hpp>

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// Reports a statement once it has been answered, in whatever way its caller goes on; nothing after
/// the end of its scope, which did not wait for it. The conversation must outlive it.
class StatementReport {
public:
    StatementReport(const Conversation& conversation, std::string_view sql) noexcept
        : conversation_{conversation} {
        if (!conversation.reporter) return;
        given_ = Clock::now();
        try {
            sql_ = sql;
        } catch (const std::bad_alloc&) {  // then without its text
        }
    }
    StatementReport(const StatementReport&) = delete;
    StatementReport& operator=(const StatementReport&) = delete;
    ~StatementReport() {
        if (exchange_ && exchange_->done && !conversation_.over)
            conversation_.reporter.report(ScopeEvent::statement, Clock::now() - given_,
                                          exchange_->error, sql_);
    }
    /// Where its answer will be.
    void answered_in(const Connection::Exchange& exchange) noexcept {
        if (conversation_.reporter) exchange_ = exchange;
    }

private:
    const Conversation& conversation_;
    std::shared_ptr<const Exchange> exchange_;  // its caller may let go of it first
    std::string sql_;
    Clock::time_point given_;
};

}  // namespace txscope::detail
