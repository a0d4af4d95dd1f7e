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
    /// @param within the session that it is a statement of, which has a connection
    StatementReport(const SharedConnection& shared, const Ambient& within,
                    std::string_view sql) noexcept {
        if (!shared.reporter) return;
        try {
            observed_ = std::make_unique<Observed>(shared, within, sql);
        } catch (const std::bad_alloc&) {  // then nobody is told of it
        }
    }
    /// Where its answer will be.
    void answered_in(const Connection::SharedResponse& response) noexcept {
        if (observed_) observed_->response = response;
    }

private:
    struct Observed {
        Observed(const SharedConnection& from, const Ambient& within, std::string_view text)
            : shared{from},
              sql{text},
              span{shared.reporter.start({.kind = SpanStart::statement,
                                          .where = shared.reporter.where,
                                          .sql = sql,
                                          .server = server_name(shared.lease->native())},
                                         &within)} {}
        Observed(const Observed&) = delete;
        Observed& operator=(const Observed&) = delete;
        ~Observed() {
            if (!response || !response->done) return;
            if (!shared.over)
                shared.reporter.report(ScopeEvent::statement, Clock::now() - given, response->error,
                                       sql);
            span.end(response->error);
        }

        const SharedConnection& shared;
        const std::string sql;
        const Clock::time_point given = Clock::now();
        std::shared_ptr<const Response> response{};  // its caller may let go of it first
        LiveSpan span;
    };

    std::unique_ptr<Observed> observed_;  // mostly nobody looks
};

}  // namespace txscope::detail
