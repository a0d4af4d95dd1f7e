// 200 scopes at a time on 16 connections move money, through PgBouncer and HAProxy, while server
// processes, both of these and the primary are killed: a standby takes the primary's place each time,
// and what it replaces comes back as its standby. In the end every transfer that was acknowledged is in
// the ledger once, those in doubt once or not at all, none besides; no connection is on loan; and the
// memory has not grown.
//
//     soak --minutes 10     for that long
//     soak --rounds 1       until each of these has happened that often

#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/haproxy.hpp"
#include "support/pgbouncer.hpp"
#include "support/run.hpp"
#include "support/standby.hpp"
#include "support/transfers.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/core.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using support::query;
using support::Transfers;

constexpr int connections = 16;
constexpr int scopes = 200;

/// A primary and its standby, which change places. What is acknowledged is in both.
class Pair {
public:
    Pair() {
        query(primary_->dsn(), Transfers::schema);
        support::follow(*standby_, *primary_);
        wait_for_standby();
    }

    const txscope::TemporaryPostgres& primary() const { return *primary_; }
    std::vector<std::uint16_t> ports() const { return {primary_->port(), standby_->port()}; }

    void replace_primary() {
        // A process that is ended while it waits for the standby has committed without it.
        support::catch_up(standby_->dsn(), primary_->dsn());
        primary_->kill();
        query(standby_->dsn(), "SELECT pg_promote()");
        std::swap(primary_, standby_);
        support::follow(*standby_, *primary_);
        wait_for_standby();
    }

    void end_backends(int most) const {
        query(
            primary_->dsn(),
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE "
            "backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT " +
                std::to_string(most));
    }

private:
    /// From its return on, COMMIT is acknowledged when the standby has it, and all before is there.
    void wait_for_standby() const {
        support::Client client{primary_->dsn()};
        client.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
        client.query("SELECT pg_reload_conf()");
        support::block_until([&] {  // the postmaster knows, and has told its processes
            return query(primary_->dsn(), "SHOW synchronous_standby_names").value() == "*";
        });
        client.query("CHECKPOINT");  // by the process that tells the others
        support::catch_up(standby_->dsn(), primary_->dsn());
    }

    static txscope::TemporaryPostgresOptions options() {
        txscope::TemporaryPostgresOptions options;
        options.max_connections = 200;
        return options;
    }

    txscope::TemporaryPostgres one_{options()};
    txscope::TemporaryPostgres other_{options()};
    txscope::TemporaryPostgres* primary_ = &one_;
    txscope::TemporaryPostgres* standby_ = &other_;
};

double resident_megabytes() {
    double total = 0;
    double resident = 0;
    std::ifstream{"/proc/self/statm"} >> total >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

class Soak {
public:
    explicit Soak(std::size_t most) : transfers_{sessions_, most} {
        transfers_.start(threads_, scopes);
    }

    /// Each of what can happen, so often.
    void run_rounds(int rounds) {
        for (int round = 0; round < rounds; ++round)
            for (Disturbance& disturbance : disturbances_) let_happen(disturbance);
    }
    /// By chance, for so long.
    void run_for(std::chrono::seconds time) {
        const auto begun = Clock::now();
        for (int third = 1; third <= 3; ++third) {
            while (Clock::now() < begun + third * time / 3)
                let_happen(disturbances_[random_() % disturbances_.size()]);
            memory_.push_back(resident_megabytes());
            fmt::print("after {} of 3: {:.1f} MB, {} acknowledged\n", third, memory_.back(),
                       transfers_.acknowledged());
            std::fflush(stdout);
        }
    }

    /// What is wrong.
    Transfers::Texts end() {
        transfers_.stop();
        // Connections come back a little after their scopes have ended.
        support::block_until([this] {
            const auto statistics = sessions_.statistics();
            return statistics.idle == statistics.size && statistics.waiting == 0;
        });
        print_summary();
        asio::co_spawn(threads_, sessions_.close(), asio::use_future).get();

        Transfers::Texts wrong = transfers_.mistakes(servers_.primary().dsn());
        for (const auto& [text, times] : transfers_.failures())
            wrong.push_back(std::to_string(times) + " times: " + text);
        if (!memory_.empty() && memory_.back() > memory_.front() * 1.1)
            wrong.push_back("the memory has grown");
        return wrong;
    }

private:
    using Clock = std::chrono::steady_clock;
    struct Disturbance {
        std::string_view what;
        std::function<void()> happen;
        int times = 0;
        std::chrono::milliseconds longest_gap{};  ///< Between two acknowledged transfers.
    };

    void let_happen(Disturbance& disturbance) {
        transfers_.await_more(std::uniform_int_distribution{1, 2000}(random_));
        transfers_.longest_gap();
        disturbance.happen();
        transfers_.await_more(1);
        ++disturbance.times;
        disturbance.longest_gap = std::max(disturbance.longest_gap, transfers_.longest_gap());
    }
    void print_summary() const {
        const auto statistics = sessions_.statistics();
        fmt::print("seed {}: {} acknowledged, {} in doubt, at most {} attempts\n", seed_,
                   transfers_.acknowledged(), transfers_.in_doubt(), transfers_.most_attempts());
        for (const Disturbance& disturbance : disturbances_)
            fmt::print("  {:4} times {}: nothing acknowledged for {} ms at most\n",
                       disturbance.times, disturbance.what, disturbance.longest_gap.count());
        fmt::print("  connections: {} opened, {} openings failed, {} discarded, {} retired\n",
                   statistics.opened, statistics.failed_openings, statistics.discarded,
                   statistics.retired);
    }

    const unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
    Pair servers_;
    support::HaProxy proxy_{servers_.ports()};
    support::PgBouncer pooler_{
        "host=127.0.0.1 port=" + std::to_string(proxy_.port()) + " dbname=postgres user=postgres",
        {.pool_mode = "transaction", .pool_size = connections}};
    asio::thread_pool threads_{2};
    txscope::AsyncSessionFactory sessions_{
        threads_,
        pooler_.dsn(),
        {.max_size = connections, .acquire_timeout = support::patience, .statement_cache_size = 0}};
    Transfers transfers_;
    std::vector<double> memory_;  // at the end of each third
    std::vector<Disturbance> disturbances_{
        {"one backend was ended", [this] { servers_.end_backends(1); }},
        {"all backends were ended", [this] { servers_.end_backends(1000); }},
        {"PgBouncer was killed",
         [this] {
             pooler_.kill();
             pooler_.start();
         }},
        {"HAProxy was killed",
         [this] {
             proxy_.kill();
             proxy_.start();
         }},
        {"the primary was killed", [this] { servers_.replace_primary(); }}};
};

}  // namespace

int main(int argc, char** argv) try {
    const std::string_view how = argc == 3 ? argv[1] : "";
    const int much = argc == 3 ? std::atoi(argv[2]) : 0;
    if (much <= 0 || (how != "--minutes" && how != "--rounds")) {
        fmt::print(stderr, "usage: soak --minutes N | --rounds N\n");
        return 2;
    }
    const bool by_time = how == "--minutes";
    Soak soak{static_cast<std::size_t>(by_time ? much : 10) * 600'000};
    if (by_time)
        soak.run_for(std::chrono::minutes{much});
    else
        soak.run_rounds(much);
    const auto wrong = soak.end();
    for (const std::string& what : wrong) fmt::print(stderr, "WRONG: {}\n", what);
    return wrong.empty() ? 0 : 1;
} catch (const std::exception& error) {
    fmt::print(stderr, "soak: {}\n", error.what());
    return 1;
}
