#pragma once

#include <txscope/session/detail/shared_connection.hpp>

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// Reports a statement once it has been answered, in whatever way its caller goes on; nothing after
/// the end of its scope, which did not wait for it. What it is given must outlive it.
class StatementReport {
public:
    StatementReport(const SharedConnection& shared, std::string_view sql) noexcept
        : shared_{shared} {
        if (!shared.reporter) return;
        given_ = Clock::now();
        try {
            sql_ = sql;
        } catch (const std::bad_alloc&) {  // then without its text
        }
    }
    StatementReport(const StatementReport&) = delete;
    StatementReport& operator=(const StatementReport&) = delete;
    ~StatementReport() {
        if (response_ && response_->done && !shared_.over)
            shared_.reporter.report(ScopeEvent::statement, Clock::now() - given_, response_->error,
                                    sql_);
    }
    /// Where its answer will be.
    void answered_in(const Connection::SharedResponse& response) noexcept {
        if (shared_.reporter) response_ = response;
    }

private:
    const SharedConnection& shared_;
    std::shared_ptr<const Response> response_;  // its caller may let go of it first
    std::string sql_;
    Clock::time_point given_;
};

}  // namespace txscope::detail
