#pragma once

#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <future>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// How long each test of consistency goes on: `TXSCOPE_CONSISTENCY_SECONDS` seconds, or 30.
inline std::chrono::seconds consistency_duration() {
    const char* seconds = std::getenv("TXSCOPE_CONSISTENCY_SECONDS");
    return std::chrono::seconds{seconds != nullptr ? std::stoi(seconds) : 30};
}

/// Clients on several threads, and everything that goes wrong for them: they are cancelled, their
/// connections are terminated, answers to COMMIT are lost on the way, and once the server crashes
/// and comes back.
///
///     Turbulence turbulence{schema, {.cancel_one_in = 6, .terminate_after = 25}};
///     turbulence.run([&](Turbulence::Client& client) -> asio::awaitable<void> {
///         const auto failure = co_await client.attempt(scope(body));    // one of many
///     });
class Turbulence {
public:
    struct Rates {
        int cancel_one_in;    ///< Of that many attempts, one gets cancelled.
        int terminate_after;  ///< After that many attempts, a connection is terminated.
    };
    static constexpr int clients = 8;

    explicit Turbulence(const std::string& schema, Rates rates)
        : seed{std::random_device{}()},
          server{options()},
          database{schema, server},
          proxy{server},
          sessions{threads, proxy.dsn(database.name()), observed()},
          rates_{rates} {}

    /// One of those who work at the same time.
    class Client {
    public:
        int pick(int least, int most) {
            return std::uniform_int_distribution{least, most}(random_);
        }

        /// What `work` ends by, which may be that it was cancelled.
        asio::awaitable<std::exception_ptr> attempt(asio::awaitable<void> work);

    private:
        friend Turbulence;
        Client(Turbulence& turbulence, unsigned number)
            : turbulence_{turbulence}, random_{turbulence.seed + number} {}

        Turbulence& turbulence_;
        std::mt19937 random_;
    };

    /// Every client does `work(client)` again and again, until time is over and all that can go
    /// wrong has.
    template <typename Work>
    void run(Work work);

    const unsigned seed;  ///< Of what is left to chance; the threads' timing is besides.
    txscope::TemporaryPostgres server;
    const Database database;
    FaultProxy proxy;  ///< Between the sessions and the server.
    asio::thread_pool threads{4};
    txscope::AsyncSessionFactory sessions;

    std::atomic<int> committed = 0;
    std::atomic<int> retried = 0;  ///< Counted by the clients.
    std::atomic<int> cancelled = 0;
    std::atomic<int> terminated = 0;
    std::atomic<int> verified = 0;  ///< Times that the server was asked what became of a COMMIT.

private:
    static txscope::TemporaryPostgresOptions options() {
        txscope::TemporaryPostgresOptions options;
        options.durable = true;
        // Rows by their index, so that transactions conflict about rows and not whole tables.
        options.settings = {"enable_seqscan = off", "deadlock_timeout = '20ms'"};
        return options;
    }

    bool all_happened() const {
        return committed && retried && cancelled && terminated && verified;
    }
    template <typename Work>
    asio::awaitable<void> work_on(Client client, Work& work);
    void disturb();
    void terminate_one(std::mt19937& random);
    void lose_an_answer();

    const Rates rates_;
    std::atomic<int> attempts_ = 0;
    std::atomic<bool> over_ = false;
};

inline asio::awaitable<std::exception_ptr> Turbulence::Client::attempt(asio::awaitable<void> work) {
    using namespace asio::experimental::awaitable_operators;
    std::exception_ptr failure;
    // The outcome counts, also of work that had gone too far to be cancelled.
    const auto note_outcome = [&]() -> asio::awaitable<void> {
        failure = co_await failure_of(std::move(work));
    };
    if (pick(1, turbulence_.rates_.cancel_one_in) == 1) {
        asio::steady_timer timer{co_await asio::this_coro::executor,
                                 std::chrono::microseconds{pick(0, 20'000)}};
        auto working = note_outcome();
        auto waiting = timer.async_wait(asio::use_awaitable);
        co_await (std::move(working) || std::move(waiting));
    } else {
        co_await note_outcome();
    }
    if (!failure) ++turbulence_.committed;
    if (is_abort(failure)) ++turbulence_.cancelled;
    ++turbulence_.attempts_;
    co_return failure;
}

template <typename Work>
void Turbulence::run(Work work) {
    const Watchdog watchdog{"Turbulence::run", consistency_duration() + 6 * patience};
    std::vector<std::future<void>> working;
    for (unsigned number = 1; number <= clients; ++number)
        working.push_back(asio::co_spawn(asio::make_strand(threads),
                                         work_on(Client{*this, number}, work), asio::use_future));
    const auto failure = failure_of([this] { disturb(); });
    over_ = true;
    for (std::future<void>& client : working) client.wait();
    for (std::future<void>& client : working) client.get();
    if (failure) std::rethrow_exception(failure);
    if (without_pipelining()) CHECK(proxy.counts().most_unanswered == 1);
}

template <typename Work>
asio::awaitable<void> Turbulence::work_on(Client client, Work& work) {
    while (!over_) co_await work(client);
}

inline void Turbulence::disturb() {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    std::mt19937 random{seed};
    bool crashed = false;
    while (Clock::now() < start + consistency_duration() || !crashed || !all_happened()) {
        const int next = attempts_ + rates_.terminate_after;
        block_until([&] { return attempts_ >= next; });
        terminate_one(random);
        lose_an_answer();
        if (crashed || Clock::now() < start + consistency_duration() / 2) continue;
        server.stop(txscope::StopMode::immediate);
        server.start();
        crashed = true;
    }
}

inline void Turbulence::terminate_one(std::mt19937& random) {
    const auto victims = database.query(
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'txscope' ORDER BY pid");
    if (victims.empty()) return;
    const auto victim = victims.column()[random() % victims.size()];
    const auto done = database.query("SELECT pg_terminate_backend(" + victim + ")");
    if (done.value() == "t") ++terminated;
}

/// The next answer to a COMMIT, once the last one is lost.
inline void Turbulence::lose_an_answer() {
    const ProxyCounts seen = proxy.counts();
    proxy.reset_counts();
    verified += static_cast<int>(std::ranges::count_if(seen.statements, [](const std::string& sql) {
        return sql.find("pg_xact_status") != std::string::npos;
    }));
    if (seen.struck == seen.armed) proxy.cut(before_answer("COMMIT"));
}

}  // namespace support
