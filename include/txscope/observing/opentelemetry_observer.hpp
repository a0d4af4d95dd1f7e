#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/observer.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace txscope {

/// What `OpenTelemetryObserver` needs of a tracing library: to be derived from for the one that a program
/// has, such as opentelemetry-cpp, each function being one call there. What they throw changes nothing
/// for a transaction.
///
/// **Threads**: called from every thread that runs scopes, by several at once.
class Tracer {
public:
    struct Attribute {
        std::string_view key;
        std::variant<std::string_view, std::int64_t> value;
    };
    enum class Kind {
        internal,
        client
    };
    /// A span of that library, which is under way.
    class Span {
    public:
        virtual ~Span() = default;
        virtual void set(const Attribute& attribute) = 0;
        virtual void add_event(std::string_view name, std::span<const Attribute> attributes) = 0;
        /// Its status becomes "error" with this description, which holds no parameter's value.
        virtual void fail(std::string_view description) = 0;
        /// The last that is called.
        virtual void end() = 0;
        /// As W3C Trace Context has it: version, trace id, span id and flags; or nothing.
        virtual std::string traceparent() const = 0;
    };

    virtual ~Tracer() = default;
    /// @param parent null for whatever is current on this thread
    /// @return null for what is not to be traced: its parent is that of what begins within
    virtual std::unique_ptr<Span> start(std::string_view name, Kind kind,
                                        std::span<const Attribute> attributes, Span* parent) = 0;
};

/// Makes live spans of scopes, waits and statements, named and described as OpenTelemetry's stable
/// "Semantic Conventions for Database Client Spans" say.
///
/// ```cpp
/// MyTracer tracer;  // a txscope::Tracer
/// txscope::OpenTelemetryObserver traces{tracer};
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &traces}};
/// ```
///
/// - A scope is an internal span, called by its label or `scope`, with the place where it was made
///   (`code.file.path`, `code.line.number`). What happens to it is its events; how its transaction has
///   ended is `txscope.outcome`.
/// - Within it, a wait for a connection is an internal span, and each statement a client's, `COMMIT`
///   among them, called by its first word and the database.
///
/// The server gets the scope's `traceparent` as a comment behind `BEGIN`.
class OpenTelemetryObserver : public Observer {
public:
    /// @param tracer outlives this
    explicit OpenTelemetryObserver(Tracer& tracer) noexcept : tracer_{tracer} {}

    void notice(const ScopeEvent& event) noexcept override;
    std::unique_ptr<Span> start(const SpanStart& start) noexcept override;

private:
    class Live;
    std::unique_ptr<Tracer::Span> start_span(const SpanStart& start, Tracer::Span* parent) const;

    Tracer& tracer_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/observing/detail/event_words.hpp>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <typeinfo>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

/// A low-cardinality word for an error: its SQLSTATE, or its type.
inline std::string error_type(const std::exception_ptr& error) {
    if (std::string sqlstate = sqlstate_of(error); !sqlstate.empty()) return sqlstate;
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& known) {
        return boost::core::demangle(typeid(known).name());
    } catch (...) {
        return "_OTHER";
    }
}

/// The first word of a statement, in capitals; empty where it does not begin with one.
inline std::string operation_of(std::string_view sql) {
    const auto capital = [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    };
    std::string word;
    const std::size_t begin = std::min(sql.find_first_not_of(" \t\r\n("), sql.size());
    for (const char c : sql.substr(begin)) {
        if (capital(c) < 'A' || capital(c) > 'Z') break;
        word += capital(c);
    }
    return word;
}

}  // namespace detail

/// Ours for the library's.
class OpenTelemetryObserver::Live : public Span {
public:
    explicit Live(std::unique_ptr<Tracer::Span> started) : span{std::move(started)} {}

    void end(const std::exception_ptr& error) noexcept override {
        try {
            if (error) fail(error);
        } catch (...) {  // it ends all the same
        }
        try {
            span->end();
        } catch (...) {
        }
    }
    std::string traceparent() const override { return span->traceparent(); }

    const std::unique_ptr<Tracer::Span> span;

private:
    void fail(const std::exception_ptr& error) {
        const std::string type = detail::error_type(error);
        const std::string sqlstate = detail::sqlstate_of(error);
        span->set({"error.type", type});
        if (!sqlstate.empty()) span->set({"db.response.status_code", sqlstate});
        span->fail(detail::text_of(error, ""));
    }
};

TXSCOPE_INLINE std::unique_ptr<Tracer::Span> OpenTelemetryObserver::start_span(
    const SpanStart& start, Tracer::Span* parent) const {
    using Kind = Tracer::Kind;
    std::vector<Tracer::Attribute> attributes{{"db.system.name", "postgresql"}};
    const auto add = [&](std::string_view key, std::string_view value) {
        if (!value.empty()) attributes.push_back({key, value});
    };
    if (start.kind != SpanStart::statement) {
        if (start.where.line() > 0) {
            add("code.file.path", start.where.file_name());
            attributes.push_back({"code.line.number", std::int64_t{start.where.line()}});
        }
        const bool waits = start.kind == SpanStart::wait;
        const auto name = waits ? "wait" : start.label.empty() ? "scope" : start.label;
        return tracer_.start(name, Kind::internal, attributes, parent);
    }
    const ServerName& server = start.server;
    const std::string operation = detail::operation_of(start.sql);
    add("db.query.text", start.sql);
    add("db.operation.name", operation);
    add("db.namespace", server.database);
    add("server.address", server.host);
    std::int64_t port = 0;
    std::from_chars(server.port.data(), server.port.data() + server.port.size(), port);
    if (port > 0) attributes.push_back({"server.port", port});
    std::string name = operation;
    if (!name.empty() && !server.database.empty()) name += ' ';
    name += server.database;
    return tracer_.start(name, Kind::client, attributes, parent);
}

TXSCOPE_INLINE std::unique_ptr<Span> OpenTelemetryObserver::start(const SpanStart& start) noexcept {
    try {
        const auto* parent = static_cast<const Live*>(start.parent);
        auto started = start_span(start, parent ? parent->span.get() : nullptr);
        return started ? std::make_unique<Live>(std::move(started)) : nullptr;
    } catch (...) {
        return nullptr;
    }
}

TXSCOPE_INLINE void OpenTelemetryObserver::notice(const ScopeEvent& event) noexcept {
    if (event.span == nullptr) return;
    Tracer::Span& span = *static_cast<const Live*>(event.span)->span;
    const auto tell = [&](std::string_view name) {
        const std::string type = event.error ? detail::error_type(event.error) : "";
        const std::string text = event.error ? detail::text_of(event.error, "") : "";
        std::vector<Tracer::Attribute> attributes{{"txscope.attempt", std::int64_t{event.attempt}}};
        if (event.error) attributes.push_back({"exception.type", type});
        if (event.error) attributes.push_back({"exception.message", text});
        span.add_event(name, attributes);
    };
    try {
        switch (event.kind) {
            case ScopeEvent::begin:
            case ScopeEvent::statement:  // spans of their own
                break;
            case ScopeEvent::commit:
            case ScopeEvent::rollback:
            case ScopeEvent::in_doubt:
            case ScopeEvent::leaked:
                return span.set({"txscope.outcome", detail::outcome_name(event.kind)});
            case ScopeEvent::retry:
                return tell("retry");
            case ScopeEvent::rollback_failure:
                return tell("rollback_failure");
            case ScopeEvent::hook_failure:
                return tell("hook_failure");
            case ScopeEvent::overlong:
                return tell("overlong");
            case ScopeEvent::statements_unnamed:
                return tell("statements_unnamed");
            case ScopeEvent::notice:
                return tell("notice");
        }
    } catch (...) {  // what cannot be told must not stop a transaction
    }
}

}  // namespace txscope

#endif
