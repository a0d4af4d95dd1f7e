#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/observer.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace txscope {

/// Prints each event as a line.
class PrintingObserver : public Observer {
public:
    /// @param out stays open as long as this is used.
    explicit PrintingObserver(std::FILE* out = stderr) noexcept : out_{out} {}

    void notice(const ScopeEvent& event) noexcept override;

private:
    std::FILE* out_;
};

}  // namespace txscope

/// A `ScopeEvent` as one line without its end, such as
/// `commit after 1.274 ms, attempt 2, "transfer" at bank.cpp:42`.
template <>
struct fmt::formatter<txscope::ScopeEvent> {
    constexpr auto parse(format_parse_context& context) { return context.begin(); }

    template <typename Context>
    auto format(const txscope::ScopeEvent& event, Context& context) const {
        auto out =
            fmt::format_to(context.out(), "{} after {:.3f} ms", name(event.kind),
                           std::chrono::duration<double, std::milli>{event.duration}.count());
        if (event.attempt > 1) out = fmt::format_to(out, ", attempt {}", event.attempt);
        if (!event.label.empty()) out = fmt::format_to(out, ", \"{}\"", event.label);
        if (event.where.line() > 0)
            out = fmt::format_to(out, " at {}:{}", event.where.file_name(), event.where.line());
        if (!event.sql.empty()) out = fmt::format_to(out, ": {}", event.sql);
        if (event.error) out = fmt::format_to(out, ": {}", reason(event.error));
        return out;
    }

private:
    static constexpr std::string_view name(txscope::ScopeEvent::Kind kind) {
        using Event = txscope::ScopeEvent;
        switch (kind) {
            case Event::begin:
                return "begin";
            case Event::statement:
                return "statement";
            case Event::retry:
                return "retry";
            case Event::commit:
                return "commit";
            case Event::rollback:
                return "rollback";
            case Event::in_doubt:
                return "in doubt";
            case Event::rollback_failure:
                return "rollback failed";
            case Event::hook_failure:
                return "hook failed";
            case Event::overlong:
                return "overlong scope, still open";
            case Event::leaked:
                return "leaked scope, destroyed";
            case Event::statements_unnamed:
                return "no prepared statements any more";
            case Event::notice:
                return "notice";
        }
        return "?";
    }

    static std::string reason(const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& known) {
            return known.what();
        } catch (...) {
            return "an exception of unknown type";
        }
    }
};

#if TXSCOPE_DEFINITIONS

TXSCOPE_INLINE void txscope::PrintingObserver::notice(const ScopeEvent& event) noexcept {
    try {
        fmt::print(out_, "txscope: {}\n", event);  // one write: lines of threads do not mix
    } catch (...) {  // what cannot be printed must not stop a transaction
    }
}

#endif
