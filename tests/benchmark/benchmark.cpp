// How fast is txscope, and what does it cost? Run it with `tests/benchmark/run`.
//
// One throwaway server; every contender opens its connections once; then many short rounds, in
// which the contenders take turns, so that a slow second of the machine hits them alike. A figure
// is the median of its rounds, and a ratio the median of the ratios within each round.

#include "contender.hpp"
#include "network.hpp"
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/version.hpp>

#include <fmt/core.h>
#include <libpq-fe.h>
#include <pqxx/pqxx>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace benchmark {
namespace {

enum : std::size_t {
    raw,
    libpqxx,
    sessions,
    repositories
};
constexpr std::array<Maker, 4> makers{make_libpq, make_libpqxx, make_txscope, make_repositories};
constexpr std::array names{"raw libpq", "libpqxx", "txscope", "  with repositories"};
constexpr std::array connection_counts{1, 16};

struct Options {
    int rounds = 15;
    double seconds = 0.3;
    bool durable = false;
    std::vector<double> network{};  ///< Round trip times, in milliseconds.
};

/// What one contender did in one round.
struct Round {
    double transactions_per_second;
    double cpu_microseconds;  ///< of this process, a transaction; the server is another process
};

/// A workload at a number of connections: everything that was measured about it.
struct Cell {
    Workload workload;
    int connections;
    std::array<std::vector<Round>, makers.size()> rounds{};
};

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

double median(const std::vector<Round>& rounds, double Round::* figure) {
    std::vector<double> values;
    for (const Round& round : rounds) values.push_back(round.*figure);
    return median(std::move(values));
}

double median_ratio(const Cell& cell, std::size_t contender, std::size_t reference,
                    double Round::* figure) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < cell.rounds[contender].size(); ++i)
        ratios.push_back(cell.rounds[contender][i].*figure / cell.rounds[reference][i].*figure);
    return median(std::move(ratios));
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Clock::duration seconds(double count) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>{count});
}

/// Every round starts from the same tables, so that none grows under whoever comes later.
void reset_tables(pqxx::connection& admin) {
    pqxx::work transaction{admin};
    transaction.exec(sql::reset);
    transaction.commit();
}

Round measure(Contender& contender, Workload workload, double duration) {
    const double cpu_before = cpu_seconds();
    const Clock::time_point start = Clock::now();
    const auto committed =
        static_cast<double>(contender.run(workload, Limit::until(start + seconds(duration))));
    const std::chrono::duration<double> took = Clock::now() - start;
    return {committed / took.count(), (cpu_seconds() - cpu_before) / committed * 1e6};
}

/// Looks into the tables whether the contender has really done the work that it claims.
void verify(pqxx::connection& admin, Contender& contender, Workload workload) {
    reset_tables(admin);
    const std::int64_t committed =
        contender.run(workload, Limit::until(Clock::now() + seconds(0.05)));
    pqxx::work transaction{admin};
    const auto count = [&](const char* query) {
        return transaction.exec(query).front().front().as<std::int64_t>();
    };
    const std::int64_t projects = count(R"(SELECT count(*) FROM "projects")") - prepared_rows;
    const std::int64_t workflows = count(R"(SELECT count(*) FROM "workflows")");
    const std::int64_t updated = count(R"(SELECT count(*) FROM "projects" WHERE xmin <>
        (SELECT xmin FROM "projects" ORDER BY "id" DESC LIMIT 1))");
    const bool right = workload == Workload::insert ? projects == committed && workflows == 0
                       : workload == Workload::project
                           ? projects == committed && workflows == committed * workflows_per_project
                           : projects == 0 && updated > 0;
    if (!right)
        throw std::runtime_error{std::string{contender.name()} + " does not do the work of " +
                                 std::string{label(workload)}};
}

/// Round trips a transaction, as a proxy on the wire sees them.
std::map<Workload, std::array<double, makers.size()>> count_round_trips(const std::string& dsn,
                                                                        pqxx::connection& admin) {
    std::map<Workload, std::array<double, makers.size()>> trips;
    Network network{dsn};
    for (std::size_t i = 0; i < makers.size(); ++i) {
        const std::unique_ptr<Contender> contender = makers[i](network.dsn(), 1);
        for (const Workload workload : workloads) {
            verify(admin, *contender, workload);
            const std::int64_t before = network.round_trips();
            const std::int64_t committed =
                contender->run(workload, Limit::until(Clock::now() + seconds(0.1)));
            trips[workload][i] = static_cast<double>(network.round_trips() - before) /
                                 static_cast<double>(committed);
        }
    }
    return trips;
}

/// The share of the processors that somebody else uses, looked at for a second (Linux).
double busy_share() {
    const auto read = [] {
        std::ifstream file{"/proc/stat"};
        std::string word;
        file >> word;
        std::array<double, 8> times{};  // user nice system idle iowait irq softirq steal
        for (double& time : times) file >> time;
        return times;
    };
    const auto before = read();
    std::this_thread::sleep_for(std::chrono::seconds{1});
    const auto after = read();
    double all = 0;
    for (std::size_t i = 0; i < after.size(); ++i) all += after[i] - before[i];
    const double idle = after[3] - before[3] + after[4] - before[4];
    return all > 0 ? 1 - idle / all : 0;
}

void warn_if_busy(std::string_view when) {
    const double share = busy_share();
    if (share > 0.05)
        fmt::print(
            "{}, {:.0f} % of the processors were busy with something else. That distorts "
            "the figures: it slows one thread more than sixteen.\n",
            when, 100 * share);
}

std::vector<Cell> run_rounds(const std::string& dsn, pqxx::connection& admin,
                             const Options& options) {
    std::vector<Cell> cells;
    for (const Workload workload : workloads)
        for (const int connections : connection_counts) cells.push_back({workload, connections});

    std::map<int, std::array<std::unique_ptr<Contender>, makers.size()>> contenders;
    for (const int connections : connection_counts)
        for (std::size_t i = 0; i < makers.size(); ++i)
            contenders[connections][i] = makers[i](dsn, connections);

    // In a new order every time: whoever always came after the same neighbour would inherit the
    // state in which that one leaves the server's caches.
    std::array<std::size_t, makers.size()> order{};
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937 random{1};

    for (int round = -1; round < options.rounds; ++round) {  // round -1 warms up, and is dropped
        fmt::print(stderr, "\rround {} of {} ", round + 1, options.rounds);
        for (Cell& cell : cells) {
            std::shuffle(order.begin(), order.end(), random);
            for (const std::size_t i : order) {
                reset_tables(admin);
                const Round result =
                    measure(*contenders[cell.connections][i], cell.workload, options.seconds);
                if (round >= 0) cell.rounds[i].push_back(result);
            }
        }
    }
    fmt::print(stderr, "\r{:30}\r", "");
    warn_if_busy("After the last round");  // and before the server has all connections to close
    return cells;
}

void print_heading(const Cell& cell) {
    fmt::print("\n{}  {}, {} connection{}\n", label(cell.workload), description(cell.workload),
               cell.connections, cell.connections == 1 ? "" : "s");
}

void print_table(const std::vector<Cell>& cells,
                 const std::map<Workload, std::array<double, makers.size()>>& trips) {
    fmt::print("{:22}{:>29}{:>20}{:>14}\n{:22}{:>9}{:>11}{:>9}{:>13}{:>7}{:>14}\n", "",
               "transactions a second   ", "client CPU     ", "round trips", "", "", "× libpqxx",
               "× raw", "µs / tx", "× raw", "/ tx");
    for (const Cell& cell : cells) {
        print_heading(cell);
        for (std::size_t i = 0; i < makers.size(); ++i)
            fmt::print("  {:20}{:9.0f}{:11.2f}{:9.2f}{:13.1f}{:7.2f}{:14.2f}\n", names[i],
                       median(cell.rounds[i], &Round::transactions_per_second),
                       median_ratio(cell, i, libpqxx, &Round::transactions_per_second),
                       median_ratio(cell, i, raw, &Round::transactions_per_second),
                       median(cell.rounds[i], &Round::cpu_microseconds),
                       median_ratio(cell, i, raw, &Round::cpu_microseconds),
                       trips.at(cell.workload)[i]);
    }
}

/// What an answer takes that costs the server nothing, in milliseconds.
double answer_time(const std::string& dsn) {
    pqxx::connection connection{dsn};
    pqxx::nontransaction session{connection};
    std::vector<double> times;
    for (int i = 0; i < 100; ++i) {
        const Clock::time_point start = Clock::now();
        session.exec("SELECT");
        times.push_back(std::chrono::duration<double, std::milli>{Clock::now() - start}.count());
    }
    return median(std::move(times));
}

/// Where the round trips show.
void print_network_table(const std::string& dsn, pqxx::connection& admin, const Options& options) {
    for (const double round_trip : options.network) {
        const Network network{dsn, std::chrono::duration_cast<std::chrono::nanoseconds>(
                                       std::chrono::duration<double, std::milli>{round_trip})};
        const double answer = answer_time(network.dsn());
        const std::vector<Cell> cells = run_rounds(network.dsn(), admin, options);
        fmt::print(
            "\nA round trip of {} ms (to answer SELECT takes {:.2f} ms)\n{:22}{:>29}{:>20}\n"
            "{:22}{:>9}{:>11}{:>9}{:>20}\n",
            round_trip, answer, "", "transactions a second   ", "milliseconds", "", "", "× libpqxx",
            "× raw", "each");
        for (const Cell& cell : cells) {
            print_heading(cell);
            for (std::size_t i = 0; i < makers.size(); ++i) {
                const double speed = median(cell.rounds[i], &Round::transactions_per_second);
                fmt::print("  {:20}{:9.0f}{:11.2f}{:9.2f}{:20.2f}\n", names[i], speed,
                           median_ratio(cell, i, libpqxx, &Round::transactions_per_second),
                           median_ratio(cell, i, raw, &Round::transactions_per_second),
                           1000 * cell.connections / speed);
            }
        }
    }
}

bool verdict(const Cell& cell, std::string_view what, double figure, bool reached, double target) {
    fmt::print("  {:7}  {} at {:2} connection{:1}  {:24}{:6.2f}, target {:.2f}\n",
               reached ? "reached" : "MISSED", label(cell.workload), cell.connections,
               cell.connections == 1 ? "" : "s", what, figure, target);
    return reached;
}

/// What txscope is to reach, as multiples of raw libpq's.
struct Target {
    double speed;
    double cpu;
};

Target target(const Cell& cell) {
    if (cell.connections == 1) return {0.85, 1.6};  // most of it is the server's and the kernel's
    return cell.workload == Workload::project ? Target{1.05, 0.95} : Target{0.95, 1.05};
}

bool print_verdicts(const std::vector<Cell>& cells) {
    bool all = true;
    const auto at_least = [&](const Cell& cell, std::size_t reference, std::string_view what,
                              double target) {
        const double figure =
            median_ratio(cell, sessions, reference, &Round::transactions_per_second);
        all &= verdict(cell, what, figure, figure >= target, target);
    };
    fmt::print("\nAgainst what txscope is to reach:\n");
    for (const Cell& cell : cells) {
        if (cell.workload == Workload::insert) at_least(cell, libpqxx, "speed, × libpqxx", 1.3);
        if (cell.workload == Workload::project) at_least(cell, libpqxx, "speed, × libpqxx", 3.0);
        at_least(cell, raw, "speed, × raw libpq", target(cell).speed);
        const double cpu = median_ratio(cell, sessions, raw, &Round::cpu_microseconds);
        all &= verdict(cell, "client CPU, × raw libpq", cpu, cpu <= target(cell).cpu,
                       target(cell).cpu);
    }
    return all;
}

std::vector<double> parse_numbers(const std::string& list) {
    std::vector<double> numbers;
    std::istringstream input{list};
    for (std::string number; std::getline(input, number, ',');)
        numbers.push_back(std::stod(number));
    return numbers;
}

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto value = [&] { return i + 1 < argc ? std::atof(argv[++i]) : 0; };
        if (name == "--durable")
            options.durable = true;
        else if (name == "--rounds")
            options.rounds = static_cast<int>(value());
        else if (name == "--seconds")
            options.seconds = value();
        else if (name == "--network" && i + 1 < argc)
            options.network = parse_numbers(argv[++i]);
        else
            options.rounds = 0;
    }
    if (options.rounds < 1 || options.seconds <= 0)
        throw std::runtime_error{
            "usage: run [--rounds N] [--seconds S] [--durable] [--network MILLISECONDS,...]"};
    return options;
}

bool run(const Options& options) {
    txscope::TemporaryPostgres server{{.durable = options.durable, .tcp = false}};
    pqxx::connection admin{server.dsn()};
    {
        pqxx::work transaction{admin};
        transaction.exec(sql::schema);
        transaction.commit();
    }
    warn_if_busy("Before the first round");
    const int server_version = admin.server_version();
    const int client_version = PQlibVersion();
    fmt::print(
        "txscope {}.{}.{}, libpqxx {}, libpq {}.{}; PostgreSQL {}.{}, fsync {}; {} processors\n"
        "{} rounds of {} s for each figure, contenders taking turns; medians\n\n",
        TXSCOPE_VERSION_MAJOR, TXSCOPE_VERSION_MINOR, TXSCOPE_VERSION_PATCH, PQXX_VERSION,
        client_version / 10000, client_version % 10000, server_version / 10000,
        server_version % 10000, options.durable ? "on" : "off", std::thread::hardware_concurrency(),
        options.rounds, options.seconds);
    if (!options.network.empty()) {
        print_network_table(server.dsn(), admin, options);
        return true;
    }
    const auto trips = count_round_trips(server.dsn(), admin);
    const std::vector<Cell> cells = run_rounds(server.dsn(), admin, options);
    print_table(cells, trips);
    return print_verdicts(cells);
}

}  // namespace
}  // namespace benchmark

int main(int argc, char** argv) try {
    return benchmark::run(benchmark::parse(argc, argv)) ? 0 : 2;
} catch (const std::exception& error) {
    fmt::print(stderr, "benchmark: {}\n", error.what());
    return 1;
}
