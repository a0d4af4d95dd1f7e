#pragma once

#include <txscope/core/config.hpp>
#include <txscope/observing/detail/event_words.hpp>
#include <txscope/session/observer.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace txscope {

/// Prints each event as a line, but for connections that come back.
class PrintingObserver : public Observer {
public:
    /// @param out stays open as long as this is used.
    explicit PrintingObserver(std::FILE* out = stderr) noexcept : out_{out} {}

    void notice(const ScopeEvent& event) noexcept override;
    void notice_pool(const PoolEvent& event) noexcept override;

private:
    template <typename Event>
    void print(const Event& event) const noexcept;

    std::FILE* out_;
};

namespace detail {

inline double in_milliseconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>{time}.count();
}

}  // namespace detail

}  // namespace txscope

/// A `ScopeEvent` as one line without its end, such as
/// `commit after 1.274 ms, attempt 2, "transfer" at bank.cpp:42`.
template <>
struct fmt::formatter<txscope::ScopeEvent> {
    constexpr auto parse(format_parse_context& context) { return context.begin(); }

    template <typename Context>
    auto format(const txscope::ScopeEvent& event, Context& context) const {
        auto out = fmt::format_to(context.out(), "{} after {:.3f} ms", name(event.kind),
                                  txscope::detail::in_milliseconds(event.duration));
        if (event.attempt > 1) out = fmt::format_to(out, ", attempt {}", event.attempt);
        if (!event.label.empty()) out = fmt::format_to(out, ", \"{}\"", event.label);
        if (event.where.line() > 0)
            out = fmt::format_to(out, " at {}:{}", event.where.file_name(), event.where.line());
        if (!event.sql.empty()) out = fmt::format_to(out, ": {}", event.sql);
        if (event.error) out = fmt::format_to(out, ": {}", txscope::detail::text_of(event.error));
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
};

/// A `PoolEvent` likewise, such as `connection retired (idle): db, port 5432`.
template <>
struct fmt::formatter<txscope::PoolEvent> {
    constexpr auto parse(format_parse_context& context) { return context.begin(); }

    template <typename Context>
    auto format(const txscope::PoolEvent& event, Context& context) const {
        auto out = fmt::format_to(context.out(), "connection {}", name(event.kind));
        if (event.kind == txscope::PoolEvent::retired)
            out = fmt::format_to(out, " ({})", to_string(event.retirement));
        else
            out = fmt::format_to(out, " after {:.3f} ms",
                                 txscope::detail::in_milliseconds(event.duration));
        if (event.kind == txscope::PoolEvent::waited)
            out = fmt::format_to(out, " ({})", to_string(event.outcome));
        if (event.where.line() > 0)
            out = fmt::format_to(out, " at {}:{}", event.where.file_name(), event.where.line());
        if (!event.server.port.empty())
            out = fmt::format_to(out, ": {}, port {}", event.server.host, event.server.port);
        if (event.error) out = fmt::format_to(out, ": {}", txscope::detail::text_of(event.error));
        return out;
    }

private:
    static constexpr std::string_view name(txscope::PoolEvent::Kind kind) {
        using Event = txscope::PoolEvent;
        switch (kind) {
            case Event::opened:
                return "opened";
            case Event::opening_failed:
                return "not opened";
            case Event::retired:
                return "retired";
            case Event::waited:
                return "waited for";
            case Event::returned:
                return "returned";
        }
        return "?";
    }
};

#if TXSCOPE_DEFINITIONS

namespace txscope {

template <typename Event>
void PrintingObserver::print(const Event& event) const noexcept {
    try {
        fmt::print(out_, "txscope: {}\n", event);  // one write: lines of threads do not mix
    } catch (...) {  // what cannot be printed must not stop a transaction
    }
}

TXSCOPE_INLINE void PrintingObserver::notice(const ScopeEvent& event) noexcept { print(event); }

TXSCOPE_INLINE void PrintingObserver::notice_pool(const PoolEvent& event) noexcept {
    if (event.kind != PoolEvent::returned) print(event);
}

}  // namespace txscope

#endif
