#pragma once

#include <txscope/session/detail/shared_connection.hpp>
#include <txscope/session/detail/special_execution.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace txscope::detail {

/// Reports a statement, and those that a `SpecialExecution` has ahead of it, once they have been answered,
/// in whatever way their caller goes on; nothing after the end of its scope, which did not wait for them.
/// What it is given must outlive it.
class StatementReport {
public:
    StatementReport() = default;
    /// @param within the session that it is a statement of, which has a connection
    StatementReport(const SharedConnection& shared, const Ambient& within, std::string_view sql,
                    const SpecialExecution* special = nullptr) noexcept {
        if (shared.reporter) observed_ = observe(shared, within, sql, special);
    }
    /// Where its answer will be.
    void answered_in(const Connection::SharedResponse& response) noexcept {
        if (observed_) observed_->response = response;
    }

private:
    struct Told {
        Told(const SharedConnection& shared, const Ambient& within, std::string_view text)
            : sql{text},
              span{shared.reporter.start({.kind = SpanStart::statement,
                                          .where = shared.reporter.where,
                                          .sql = sql,
                                          .server = server_name(shared.lease->native())},
                                         &within)} {}

        std::string sql;
        LiveSpan span;
    };
    struct Observed {
        Observed(const SharedConnection& from, const Ambient& within, std::string_view text,
                 const SpecialExecution* special)
            : shared{from}, ahead{told_ahead(from, within, special)}, last{from, within, text} {}
        Observed(const Observed&) = delete;
        Observed& operator=(const Observed&) = delete;
        ~Observed() {
            if (!response || !response->done) return;
            // Behind what opens the scope and what was written behind, which are not told of.
            std::uint32_t number = response->statements() - 1;
            number -= static_cast<std::uint32_t>(ahead.size());
            for (Told& each : ahead) {
                const bool executed = response->failed_statement() != Response::none &&
                                      number++ < response->failed_statement();
                end(each, executed ? nullptr : response->error);
            }
            end(last, response->error);
        }
        static std::vector<Told> told_ahead(const SharedConnection& from, const Ambient& within,
                                            const SpecialExecution* special) {
            std::vector<Told> told;
            if (special == nullptr) return told;
            told.reserve(special->ahead.size());
            for (const Statement& each : special->ahead)
                told.emplace_back(from, within, each.sql());
            return told;
        }
        void end(Told& told, const std::exception_ptr& error) const noexcept {
            if (!shared.over)
                shared.reporter.report(ScopeEvent::statement, Clock::now() - given, error,
                                       told.sql);
            told.span.end(error);
        }

        const SharedConnection& shared;
        const Clock::time_point given = Clock::now();
        std::shared_ptr<const Response> response{};  // its caller may let go of it first
        std::vector<Told> ahead;
        Told last;
    };

    // Apart, so that what mostly only finds that nobody looks is inlined.
    [[gnu::noinline]] static std::unique_ptr<Observed> observe(
        const SharedConnection& shared, const Ambient& within, std::string_view sql,
        const SpecialExecution* special) noexcept {
        try {
            return std::make_unique<Observed>(shared, within, sql, special);
        } catch (const std::bad_alloc&) {
            return nullptr;  // then nobody is told of it
        }
    }

    std::unique_ptr<Observed> observed_;  // mostly nobody looks
};

}  // namespace txscope::detail
