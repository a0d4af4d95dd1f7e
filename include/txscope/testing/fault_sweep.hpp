#pragma once

#include <txscope/postgres/conninfo.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/pool_options.hpp>
#include <txscope/session/session.hpp>
#include <txscope/testing/detail/answer.hpp>
#include <txscope/testing/detail/swept_program.hpp>
#include <txscope/testing/detail/witness.hpp>
#include <txscope/testing/fault.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace txscope {

/// What a `FaultSweep` sees of the database, and with what pool it works.
struct FaultSweepOptions {
    /// Statements that take the tables back to where nothing has happened; run before each scope.
    std::string reset{};
    /// A query whose rows tell what has happened. Its answer after `reset` means "nothing", that
    /// after a scope which nobody disturbed means "everything", any other one "a part".
    std::string state{};
    /// The pool of the factory that the scope gets.
    PoolOptions pool{};
    /// Longest time for one run of the scope with all that is examined after it.
    std::chrono::milliseconds time_limit = std::chrono::seconds{30};
};

/// What a sweep has met.
struct FaultSweepCounts {
    std::size_t points = 0;      ///< Suspension points, at each of which the fault struck once.
    std::size_t nothing = 0;     ///< Of these, those after which nothing had happened,
    std::size_t everything = 0;  ///< or everything.
    std::size_t in_doubt = 0;    ///< Of these, those whose caller got a `pqxx::in_doubt_error`.
};

/// A scope did not stand a fault. what() says which fault at which point, what was expected and
/// what was seen.
class FaultSweepError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Lets a fault strike a scope, or whatever a service makes of one, at every point where it can be
/// suspended, once at each: a proof by exhaustion that it happens altogether or not at all.
///
/// ```cpp
/// txscope::TemporaryPostgres server;
/// txscope::FaultSweep sweep{server.dsn(), {
///     .reset = "TRUNCATE projects, workflows",
///     .state = "SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM workflows)"}};
/// for (const txscope::Fault fault : txscope::all_faults)
///     sweep.run(fault, [](txscope::AsyncSessionFactory sessions) -> asio::awaitable<void> {
///         ProjectService service{sessions};
///         co_await service.create_project_with_workflows(project, workflows);
///     });
/// ```
///
/// The body runs on an `io_context` of its own, one handler after another. Between two handlers
/// everything is suspended: these are the points, from before the first handler (for `Fault::cancel`
/// from behind it) to before the one that ends the body. They lie in waiting for a connection and
/// opening it, in each statement, hook, pause and scope within, and in `COMMIT`. The body runs
/// undisturbed first, then once for each point, with a new pool, until it ends before the point is
/// reached, five times in a row. A run that takes more handlers than the others, for a message that
/// comes in two pieces or a pause of random length, may pass a point by: another sweep meets that.
///
/// After each run
///
/// - nothing has happened, or everything, as `FaultSweepOptions::state` tells;
/// - the caller was told so: a return means everything, an exception nothing, and a
///   `pqxx::in_doubt_error` (`CommitInDoubt`), which may be nested inside another, either;
/// - the pool is whole: nobody waits, no connection is in use, missing or too many;
/// - no connection of it is in a transaction, and whoever borrows one finds in it no setting,
///   role, lock, cursor, subscription or temporary table that was left behind.
///
/// For `Fault::cut` the connections go through a relay on the same `io_context`: each message is
/// lost once at each place of its way.
///
/// For `Fault::abandon` the body has an `io_context` to itself, beside that of the pool.
///
/// What the body prepares of its own accord is swept as well: one that begins with
/// `co_await sessions.warm_up(1)` has its connection open when its scope begins.
///
/// **Server**: any that lets the user of the connection string see and end its own sessions; not
/// one behind a connection pooler.
class FaultSweep {
public:
    using Body = detail::SweptProgram::Body;

    /// @throws std::runtime_error when the server cannot be reached
    FaultSweep(const std::string& conninfo, FaultSweepOptions options)
        : options_{std::move(options)},
          witness_{conninfo},
          name_{"txscope fault sweep (" + std::to_string(witness_.backend_pid()) + ")"},
          conninfo_{with_parameter(conninfo, "application_name", name_)} {}

    /// Runs `body` once undisturbed, and once for each of its suspension points with the fault
    /// striking there.
    /// @throws FaultSweepError at the first point after which something is not as it should be
    FaultSweepCounts run(Fault fault, const Body& body);

private:
    struct Run {
        std::size_t handlers = 0;  // that ran before the fault struck, or before the body ended
        bool struck = false;
        std::string circumstances{};  // what the server was doing when it struck
        bool answered = false;        // the body ended, with this error or none
        std::exception_ptr error{};
        std::string state{};
    };
    static constexpr auto never = std::numeric_limits<std::size_t>::max();

    FaultSweepCounts sweep(Fault fault, const Body& body);
    void run_to(std::size_t point, Fault fault, const Body& body);
    void terminate();
    void await_end_of_sessions(const std::string& what);
    void await_rest();
    void check_pool(detail::SweptProgram& program);
    asio::awaitable<void> check_idle(AsyncSessionFactory sessions, std::size_t count) const;
    void check_outcome() const;
    std::string ask_sessions(const std::string& what);
    std::string where(Fault fault) const;

    const FaultSweepOptions options_;
    detail::Witness witness_;
    const std::string name_;
    const std::string conninfo_;
    const std::string clean_ = witness_.ask(detail::session_residue);
    std::string nothing_;
    std::string everything_;
    Run run_;
};

inline FaultSweepCounts FaultSweep::run(Fault fault, const Body& body) {
    try {
        return sweep(fault, body);
    } catch (const std::exception& error) {
        std::throw_with_nested(FaultSweepError{where(fault) + ": " + error.what()});
    }
}

inline FaultSweepCounts FaultSweep::sweep(Fault fault, const Body& body) {
    witness_.ask(options_.reset);
    nothing_ = witness_.ask(options_.state);
    run_to(never, fault, body);
    if (run_.error) std::rethrow_exception(run_.error);
    if (run_.state == nothing_) throw std::runtime_error{"nothing happens that the state tells of"};
    everything_ = run_.state;

    // A message that arrives in two pieces makes one run longer than another.
    constexpr int enough = 5;
    FaultSweepCounts counts;
    // A cancellation before the body has begun is lost with Boost 1.81, and makes the co_spawn of
    // Boost 1.83 throw out of the io_context.
    std::size_t point = fault == Fault::cancel ? 1 : 0;
    for (int ends = 0; ends < enough;) {
        run_to(point, fault, body);
        check_outcome();
        ends = run_.struck ? 0 : ends + 1;
        if (!run_.struck) continue;
        point = run_.handlers + 1;
        ++counts.points;
        ++(run_.state == nothing_ ? counts.nothing : counts.everything);
        if (detail::is_in_doubt(run_.error)) ++counts.in_doubt;
    }
    return counts;
}

inline void FaultSweep::run_to(std::size_t point, Fault fault, const Body& body) {
    run_ = {};
    witness_.ask(options_.reset);
    std::optional<detail::SweptProgram> program;
    program.emplace(body, conninfo_, witness_, fault, options_.pool, options_.time_limit);
    while (run_.handlers < point && program->step()) {
        ++run_.handlers;
        if (run_.handlers < point) await_rest();
    }
    run_.struck = !program->ended();
    if (run_.struck) run_.circumstances = ask_sessions("state, query");
    if (run_.struck && fault == Fault::cancel) program->cancel();
    if (run_.struck && fault == Fault::abandon) program->abandon();
    if (run_.struck && fault == Fault::cut) program->cut();
    if (run_.struck && fault == Fault::terminate) terminate();
    run_.answered = !run_.struck || (fault != Fault::destroy && fault != Fault::abandon);
    if (run_.answered) {
        while (program->step()) {
        }
        run_.error = program->error();
    }
    if (run_.answered || fault == Fault::abandon) check_pool(*program);
    program.reset();
    // What has been sent is still executed: it is over when the last session is.
    await_end_of_sessions("state");
    run_.state = witness_.ask(options_.state);
}

inline void FaultSweep::terminate() {
    await_end_of_sessions("pg_catalog.pg_terminate_backend(pid)");
}

/// Until no session is there. Asks `what` of those that are, also of one that only now shows up: it
/// was being opened.
inline void FaultSweep::await_end_of_sessions(const std::string& what) {
    if (!detail::poll_until(options_.time_limit, [&] { return ask_sessions(what).empty(); }))
        throw std::runtime_error{"sessions do not end: " + ask_sessions("state, query")};
}

/// Until the server has said what it has to say: its answers come in one piece then, and points lie
/// where they lay the last time.
inline void FaultSweep::await_rest() {
    const auto deadline = std::chrono::steady_clock::now() + options_.time_limit;
    const std::string busy =
        "pg_catalog.count(*) FILTER (WHERE state OPERATOR(pg_catalog.=) 'active'"
        " AND coalesce(wait_event_type, '') OPERATOR(pg_catalog.<>) 'Lock')";
    while (ask_sessions(busy) != "0" && std::chrono::steady_clock::now() < deadline) {
    }
}

/// Nothing of the pool is in use, lost or doubled, and each connection is as good as new.
inline void FaultSweep::check_pool(detail::SweptProgram& program) {
    PoolStatistics pool;
    std::string sessions;
    const bool settled = program.run_until([&] {
        pool = program.sessions().statistics();
        sessions = ask_sessions(
            "pg_catalog.count(*),"
            " pg_catalog.count(*) FILTER (WHERE state OPERATOR(pg_catalog.=) 'idle')");
        const auto size = std::to_string(pool.size);
        return pool.idle == pool.size && pool.waiting == 0 && sessions == size + ", " + size;
    });
    if (!settled || pool.size > options_.pool.max_size ||
        pool.opened != pool.discarded + pool.retired + pool.size)
        throw std::runtime_error{
            "the pool is not whole: size " + std::to_string(pool.size) + ", idle " +
            std::to_string(pool.idle) + ", waiting " + std::to_string(pool.waiting) + ", opened " +
            std::to_string(pool.opened) + ", discarded " + std::to_string(pool.discarded) +
            ", retired " + std::to_string(pool.retired) +
            "; sessions on the server, idle ones: " + sessions};
    program.run(check_idle(program.sessions(), std::max<std::size_t>(pool.idle, 1)));
}

/// Borrows `count` connections at a time.
inline asio::awaitable<void> FaultSweep::check_idle(AsyncSessionFactory sessions,
                                                    std::size_t count) const {
    co_await sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
        const Result answer = co_await session.execute(detail::session_residue);
        const auto residue = answer.one().get<std::string>(0);
        if (residue != clean_)
            throw std::runtime_error{"the next borrower finds in its session: " + residue};
        if (count > 1) co_await check_idle(sessions, count - 1);
    });
}

inline void FaultSweep::check_outcome() const {
    const bool nothing = run_.state == nothing_;
    const bool everything = run_.state == everything_;
    const std::string seen = nothing ? "nothing" : everything ? "everything" : "a part";
    const std::string happened = seen + " of it has happened: " + run_.state + " (nothing is " +
                                 nothing_ + ", everything is " + everything_ + ")";
    if (!nothing && !everything) throw std::runtime_error{happened};
    if (!run_.answered || detail::is_in_doubt(run_.error)) return;
    if (everything != (run_.error == nullptr))
        throw std::runtime_error{"the caller was told " + detail::answer_text(run_.error) +
                                 ", but " + happened};
}

inline std::string FaultSweep::ask_sessions(const std::string& what) {
    // What pg_stat_activity shows, without the names that it looks up. In a scope with a label the
    // session's name goes on behind this.
    return witness_.ask("SELECT " + what +
                        " FROM pg_catalog.pg_stat_get_activity(NULL)"
                        " WHERE backend_type OPERATOR(pg_catalog.=) 'client backend'"
                        " AND pg_catalog.starts_with(application_name, '" +
                        name_ + "')");
}

inline std::string FaultSweep::where(Fault fault) const {
    const std::string sweep = "fault sweep '" + std::string{to_string(fault)} + "', ";
    if (!run_.struck) return sweep + "undisturbed";
    return sweep + "point " + std::to_string(run_.handlers) + " [" + run_.circumstances + "]";
}

}  // namespace txscope
