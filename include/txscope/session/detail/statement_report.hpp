#pragma once

#include <txscope/session/detail/shared_connection.hpp>

#include <memory>
#include <new>
#include <string>
#include <string_view>

namespace txscope::detail {

/// Reports a statement once it has been answered, in whatever way its caller goes on; nothing after
/// the end of its scope, which did not wait for it. What it is given must outlive it.
class StatementReport {
public:
    StatementReport() = default;
    StatementReport(const SharedConnection& shared, std::string_view sql) noexcept {
        if (!shared.reporter) return;
        try {
            observed_ = std::make_unique<Observed>(shared, sql);
        } catch (const std::bad_alloc&) {  // then nobody is told of it
        }
    }
    /// Where its answer will be.
    void answered_in(const Connection::SharedResponse& response) noexcept {
        if (observed_) observed_->response = response;
    }

private:
    struct Observed {
        Observed(const SharedConnection& from, std::string_view text) : shared{from}, sql{text} {}
        Observed(const Observed&) = delete;
        Observed& operator=(const Observed&) = delete;
        ~Observed() {
            if (response && response->done && !shared.over)
                shared.reporter.report(ScopeEvent::statement, Clock::now() - given, response->error,
                                       sql);
        }

        const SharedConnection& shared;
        const std::string sql;
        const Clock::time_point given = Clock::now();
        std::shared_ptr<const Response> response{};  // its caller may let go of it first
    };

    std::unique_ptr<Observed> observed_;  // mostly nobody looks
};

}  // namespace txscope::detail
