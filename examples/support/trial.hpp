#pragma once

#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>
#include <pqxx/pqxx>

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// What the promises of `promises.hpp` are tried with.
namespace conformance {

namespace asio = boost::asio;

/// Something does not hold with this server or pooler, as is known of its kind. Says what to do.
class NotHere : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Throws `otherwise`, a promise broken, unless `holds`.
inline void expect(bool holds, const char* otherwise) {
    if (!holds) throw std::runtime_error{otherwise};
}

/// The server that they are tried on, and a schema there for as long as this object is.
class TriedServer : private txscope::Observer {
public:
    /// `tables` are made in the schema, which is `txscope_conformance`.
    TriedServer(asio::any_io_executor executor, std::string dsn, const char* tables, bool pipelines)
        : dsn_{std::move(dsn)},
          pipelines_{pipelines},
          sessions_{std::move(executor),
                    dsn_,
                    {.pipelining = pipelines,
                     .observer = this,
                     .default_timeout = std::chrono::seconds{30}}} {
        pqxx::connection connection{dsn_};
        pqxx::work transaction{connection};
        // No IF NOT EXISTS: a schema of that name that is there already is somebody else's.
        transaction.exec("CREATE SCHEMA txscope_conformance");
        transaction.exec("SET LOCAL search_path = txscope_conformance");
        transaction.exec(tables);
        transaction.commit();
    }
    TriedServer(const TriedServer&) = delete;
    ~TriedServer() {
        try {
            pqxx::connection connection{dsn_};
            pqxx::work transaction{connection};
            transaction.exec("SET LOCAL lock_timeout = '30s'");  // waits for the last rollbacks
            transaction.exec("SET LOCAL client_min_messages = warning");
            transaction.exec("DROP SCHEMA txscope_conformance CASCADE");
            transaction.commit();
        } catch (const std::exception& error) {
            fmt::print(stderr, "the schema txscope_conformance is left: {}\n", error.what());
        }
    }

    const txscope::AsyncSessionFactory& sessions() const { return sessions_; }

    /// The one value of an answer, as a plain connection sees it that knows nothing of txscope.
    std::string see(const std::string& sql) const {
        pqxx::connection connection{dsn_};
        pqxx::nontransaction session{connection};
        return session.exec(sql)[0][0].as<std::string>();
    }
    /// The names of the entries that begin like that: "a, b".
    std::string entries(const std::string& beginning) const {
        return see(
            "SELECT coalesce(string_agg(name, ', ' ORDER BY name), '') "
            "FROM txscope_conformance.entries WHERE name LIKE '" +
            beginning + "%'");
    }

    /// Whether statements may come before those ahead of them are answered.
    bool pipelines() const { return pipelines_; }
    /// Whether the pooler has lost prepared statements.
    bool names_are_lost() const { return names_are_lost_; }

private:
    void notice(const txscope::ScopeEvent& event) noexcept override {
        if (event.kind == txscope::ScopeEvent::statements_unnamed) names_are_lost_ = true;
    }

    std::string dsn_;
    bool pipelines_;
    bool names_are_lost_ = false;
    txscope::AsyncSessionFactory sessions_;
};

/// Whether `work` ends by an `Error`. Any other comes out.
template <typename Error>
asio::awaitable<bool> fails_by(asio::awaitable<void> work) {
    try {
        co_await std::move(work);
    } catch (const Error&) {
        co_return true;
    }
    co_return false;
}

/// Runs `client(0)`, `client(1)`, … at the same time.
template <typename Client>
asio::awaitable<void> in_parallel(int clients, Client client) {
    asio::steady_timer over{co_await asio::this_coro::executor,
                            asio::steady_timer::time_point::max()};
    std::exception_ptr failure;
    int working = clients;
    for (int number = 0; number < clients; ++number)
        asio::co_spawn(over.get_executor(), client(number), [&](std::exception_ptr error) {
            if (error) failure = error;
            if (--working == 0) over.cancel();
        });
    boost::system::error_code none;
    while (working > 0) co_await over.async_wait(asio::redirect_error(asio::use_awaitable, none));
    if (failure) std::rethrow_exception(failure);
}

/// What is to hold, and what throws where it does not: `NotHere`, or anything else.
struct Promise {
    std::string_view text;
    asio::awaitable<void> (*keep)(TriedServer&);
};

struct Finding {
    enum Verdict {
        holds,
        not_here,  ///< `why` says what to do.
        broken,    ///< `why` says what happened.
    };
    std::string_view promise;
    Verdict verdict = holds;
    std::string why{};
};

inline asio::awaitable<Finding> try_one(const Promise& promise, TriedServer& server) {
    Finding finding{promise.text};
    try {
        co_await promise.keep(server);
    } catch (const NotHere& error) {
        finding.verdict = Finding::not_here;
        finding.why = error.what();
    } catch (const std::exception& error) {
        finding.verdict = Finding::broken;
        finding.why = error.what();
    }
    co_return finding;
}

/// Whether the server answers statements that come before those ahead of them are answered. Some poolers
/// hang.
inline asio::awaitable<bool> pipelines(const std::string& dsn) {
    const txscope::AsyncSessionFactory sessions{
        co_await asio::this_coro::executor,
        dsn,
        {.max_size = 1, .cleanup_timeout = std::chrono::seconds{1}, .statement_cache_size = 0}};
    co_await sessions.ready();
    const txscope::TransactionScope scope{sessions, {.timeout = std::chrono::seconds{5}}};
    const bool hangs = co_await fails_by<txscope::TransactionTimeout>(
        scope([](txscope::Session& session) -> asio::awaitable<void> {
            session.enqueue("SELECT 1");
            co_await session.execute("SELECT 2");
        }));
    co_await sessions.close();
    co_return !hangs;
}

/// Tries the promises on the server of `dsn`, and calls `tell(finding)` with each.
/// @throws pqxx::failure where the server is not reached, lets no schema be made, or has settings that
///     would change values behind its pooler
inline void try_all(std::span<const Promise> promises, const char* tables, const std::string& dsn,
                    const std::function<void(const Finding&)>& tell) {
    asio::io_context io;
    const auto work = [&]() -> asio::awaitable<void> {
        const bool pipelined = co_await pipelines(dsn);
        TriedServer server{io.get_executor(), dsn, tables, pipelined};
        co_await server.sessions().ready();
        for (const Promise& promise : promises) {
            const Finding finding = co_await try_one(promise, server);
            tell(finding);
        }
        co_await server.sessions().close();
    };
    asio::co_spawn(io, work(), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);  // out of io.run()
    });
    io.run();
}

}  // namespace conformance
