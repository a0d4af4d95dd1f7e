#pragma once

#include <txscope/pool/pool_observer.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

namespace txscope {

/// What an observer keeps of something that takes time, from its start to its end: see
/// `Observer::start`.
class Span {
public:
    virtual ~Span() = default;
    /// It is over, because of `error` unless that is null. Called once, and the last that it is told.
    virtual void end(const std::exception_ptr& error) noexcept = 0;
    /// What the server is told of a scope's, as a comment behind `BEGIN`: a `traceparent` (W3C Trace
    /// Context), or nothing; also nothing where this throws.
    virtual std::string traceparent() const { return {}; }

protected:
    Span() = default;
    Span(const Span&) = default;
    Span& operator=(const Span&) = default;
};

/// Something that begins. Valid during the call only.
struct SpanStart {
    enum Kind {
        scope,      ///< A scope, with all its attempts; or one statement without a scope (line 0),
                    ///< whose span is the only one within.
        wait,       ///< A scope waits for a connection.
        statement,  ///< A statement is sent, with what was written behind ahead of it.
    };
    Kind kind;
    std::source_location where{};  ///< Where the scope was made; line 0 without a scope.
    std::string_view label{};  ///< `TransactionOptions::label`, of the scope or of those around.
    int attempt = 1;
    std::string_view sql{};  ///< Of `statement`: its text. Never the values of its parameters.
    ServerName server{};     ///< Of `statement`.
    /// That of the innermost scope around; null where there is none.
    Span* parent = nullptr;
};

/// What happened in a scope, as an `Observer` is told. Valid during the call only.
struct ScopeEvent {
    enum Kind {
        begin,             ///< A connection was taken. `duration`: the wait for it.
        statement,         ///< A statement was answered, with what was written behind ahead of it.
                           ///< `duration`: from when it was given to the session.
        retry,             ///< An attempt failed with `error`. `duration`: the pause to the next.
        commit,            ///< The transaction was committed. `duration`: since it began.
        rollback,          ///< It was not. `duration`: since it began.
        in_doubt,          ///< Nobody knows. `duration`: since it began.
        rollback_failure,  ///< The connection was closed with `error` instead of rolled back.
        hook_failure,      ///< An `after_commit` or `after_rollback` hook threw `error`.
        overlong,          ///< The scope still runs, after `PoolOptions::overlong_scope`.
        leaked,            ///< Destroyed before its end. `duration`: since it began.
        statements_unnamed,  ///< The factory prepares no statements any more: a pooler between it
                             ///< and the server does not keep them, as `error` told. Once.
        notice,  ///< The server has said something that is no failure, as `RAISE NOTICE` and warnings
                 ///< are: `error`, a `SqlError`, tells it, with the statement that it belongs to.
    };
    Kind kind;
    std::source_location where;  ///< Where the scope was made; line 0 without a scope.
    std::string_view label;      ///< `TransactionOptions::label`.
    int attempt;                 ///< From 1.
    std::chrono::nanoseconds duration{};
    std::string_view sql{};      ///< Of `statement`: its text. Never the values of its parameters.
    std::exception_ptr error{};  ///< Of `statement`: null when it succeeded. Of `rollback`: null
                                 ///< when `set_rollback_only` was why.
    Span* span = nullptr;        ///< The scope's, if the observer keeps one.
};

/// Is told what happens in the scopes of a session factory and, if it overrides `notice_pool`, in its
/// pool, for logs, metrics and traces.
///
/// ```cpp
/// txscope::PrintingObserver log;
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &log}};
/// ```
///
/// **Lifetime**: must outlive every scope and the factory, and what its pool does then by itself: all
/// that runs on the execution context.
///
/// **Threads**: called from every thread that runs scopes, by several at once, in the middle of
/// their work: what takes long here holds them up.
class Observer : public PoolObserver {
public:
    virtual void notice(const ScopeEvent& event) noexcept = 0;
    /// Something begins. What is returned is told of its end, and is the parent of what begins within;
    /// null if the observer does not want to know.
    ///
    /// For a scope it is called on the thread of whoever calls that, before anything is awaited: what is
    /// current there, in a thread's variable of a tracing library, is what it belongs to.
    virtual std::unique_ptr<Span> start(const SpanStart&) noexcept { return nullptr; }

protected:
    Observer() = default;
    Observer(const Observer&) = default;
    Observer& operator=(const Observer&) = default;
};

}  // namespace txscope
