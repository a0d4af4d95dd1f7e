#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/postgres/connection.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/observer.hpp>

#include <exception>
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
    const Ambient* scope{};     ///< The session, once its span has begun.

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
                              .error = std::move(error),
                              .span = span()});
    }

    /// The scope's; null for none.
    Span* span() const noexcept {
        return scope != nullptr && scope->span ? scope->span->get() : nullptr;
    }

    /// What the server is told of the scope; nothing where the observer fails to say it.
    std::string traceparent() const noexcept try {
        return span() != nullptr ? span()->traceparent() : std::string{};
    } catch (...) {
        return {};
    }

    /// Tells what begins where that is `ambient`.
    LiveSpan start(SpanStart what, const Ambient* ambient) const noexcept {
        if (observer == nullptr) return {};
        if (what.label.empty()) what.label = label;
        what.attempt = attempt;
        what.parent = find_span(ambient, observer);
        return {observer, observer->start(what)};
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

    /// Tells what the server notices over `connection` from now on. Its handler has to be taken away
    /// before this is gone.
    void report_notices(Connection& connection) const {
        if (observer == nullptr) return;
        connection.unasked().notice = [this](std::exception_ptr notice) {
            report(ScopeEvent::notice, Clock::duration{}, std::move(notice));
        };
    }
};

}  // namespace txscope::detail
