#pragma once

#include <txscope/pool/pool_observer.hpp>

#include <chrono>
#include <exception>
#include <source_location>
#include <string_view>

namespace txscope {

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

protected:
    Observer() = default;
    Observer(const Observer&) = default;
    Observer& operator=(const Observer&) = default;
};

}  // namespace txscope
