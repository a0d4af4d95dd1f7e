// What does a transaction cost the program? Run it with `tests/benchmark/cost`.
//
// Instructions are counted by callgrind and system calls by strace, both around a program that does
// a number of transactions and nothing else; what is allocated is counted in this program.

#include "../support/counted_calls.hpp"
#include "measured.hpp"
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/txscope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>
#include <fmt/format.h>
#include <pqxx/pqxx>

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace benchmark {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

enum : std::size_t {
    raw,
    sessions,
    repositories
};
constexpr std::array<const char*, measured_contenders.size()> names{"raw libpq", "txscope",
                                                                    "  with repositories"};
constexpr std::array<const char*, measured_contenders.size()> file_names{"libpq", "txscope",
                                                                         "repositories"};

struct Options {
    int connections = 16;
    std::int64_t transactions = 2000;
    bool profile = false;
};

/// A transaction's cost, on the average of many.
struct Cost {
    double instructions = 0;  ///< In user mode.
    double allocations = 0;
    double bytes = 0;
    std::map<std::string, double> calls{};  ///< By name, and "in vain" of what received nothing.
};

using Costs = std::array<std::array<Cost, measured_contenders.size()>, workloads.size()>;

/// What is to be reached.
struct Target {
    double instructions;  ///< × raw libpq's
    double allocations;   ///< 0 for no target
};
constexpr std::array<Target, workloads.size()> targets{{{1.1, 9}, {0.5, 16}, {1.0, 0}}};
constexpr double epoll_ctl_target = 0.01;  // a transaction; none a round trip
constexpr double waiting_scope_target = 3072;
constexpr double waiter_target = 3072;
constexpr double growth_target = 2.3;

class Measurement {
public:
    Measurement(Options options, fs::path programs)
        : options_{options}, programs_{std::move(programs)} {
        setenv("TXSCOPE_BENCHMARK_DSN", server_.dsn().c_str(), 1);
        pqxx::nontransaction{admin_}.exec(sql::schema);
    }

    Cost cost(std::size_t contender, std::size_t workload) {
        Cost cost;
        cost.instructions = instructions(contender, workload);
        count_allocations(cost, contender, workload);
        count_calls(cost, contender, workload);
        return cost;
    }

    /// What a spawned scope takes that waits in the middle of its body, and holds a connection.
    double waiting_scope_bytes();

    /// What a spawned scope takes whose first statement waits for a connection; and what is the program's
    /// own of that, as Asio would take it for a coroutine that waits for anything.
    std::pair<double, double> waiter_bytes();

    /// The processor's seconds, and those of the clock, for one transaction of so many enqueued statements of 20 KB.
    std::pair<double, double> enqueue(int statements);

private:
    void reset() { pqxx::nontransaction{admin_}.exec(sql::reset); }

    /// Runs the program for the tools, with one of them around it.
    void run(const std::string& tool, std::size_t contender, std::size_t workload) {
        reset();
        const std::string command =
            fmt::format("{} '{}' {} {} {} {}", tool, (programs_ / "txscope_measured").string(),
                        contender, workload, options_.connections, options_.transactions);
        if (std::system(command.c_str()) != 0) throw std::runtime_error{"failed: " + command};
    }

    double per_transaction(std::int64_t count) const {
        return static_cast<double>(count) / static_cast<double>(options_.transactions);
    }

    double instructions(std::size_t contender, std::size_t workload) {
        const std::string name =
            (programs_ / fmt::format("{}-{}", label(workloads[workload]), file_names[contender]))
                .string();
        const std::string file = name + ".callgrind";
        run("valgrind -q --tool=callgrind --toggle-collect=txscope_measured "
            "--callgrind-out-file='" +
                file + "'",
            contender, workload);
        if (options_.profile)
            for (const char* kind : {"exclusive", "inclusive"}) {
                const std::string command = fmt::format(
                    "callgrind_annotate --threshold=100 --inclusive={} '{}' > '{}.{}.txt'",
                    kind[0] == 'i' ? "yes" : "no", file, name, kind);
                if (std::system(command.c_str()) != 0)
                    throw std::runtime_error{"failed: " + command};
            }
        std::ifstream lines{file};
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with("totals: "))
                return per_transaction(std::strtoll(line.c_str() + 8, nullptr, 10));
        throw std::runtime_error{"no total in " + file};
    }

    void count_allocations(Cost& cost, std::size_t contender, std::size_t workload) {
        reset();
        const auto measured = measured_contenders[contender](server_.dsn(), options_.connections);
        const auto run = [&](std::int64_t transactions) {
            measured->run(workloads[workload], Limit::of(transactions, options_.connections));
        };
        run(warm_up_rounds * options_.connections);
        const support::Counts before = support::counts();
        run(options_.transactions);
        const support::Counts spent = support::counts() - before;
        cost.allocations = per_transaction(spent.allocations);
        cost.bytes = per_transaction(spent.bytes);
    }

    void count_calls(Cost& cost, std::size_t contender, std::size_t workload) {
        const std::string file = (programs_ / "calls.strace").string();
        run("strace -f -qq -o '" + file + "'", contender, workload);
        std::map<std::string, std::int64_t> counts;
        std::ifstream lines{file};
        bool counted = false;
        for (std::string line; std::getline(lines, line);) {  // 1234 epoll_ctl(6, …) = 0
            const std::size_t name = line.find_first_not_of(' ', line.find(' '));
            const std::size_t end = line.find('(');
            if (line.find(mark) != std::string::npos)
                counted = !counted;
            else if (counted && end != std::string::npos && name < end && line[name] != '<') {
                ++counts[line.substr(name, end - name)];
                if (line.find("EAGAIN") != std::string::npos) ++counts["in vain"];
            }
        }
        for (const auto& [call, count] : counts) cost.calls[call] = per_transaction(count);
    }

    Options options_;
    fs::path programs_;
    txscope::TemporaryPostgres server_{{.tcp = false}};
    pqxx::connection admin_{server_.dsn()};
};

double Measurement::waiting_scope_bytes() {
    constexpr int count = 64;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory factory{io, server_.dsn(), {.max_size = count}};
    const txscope::TransactionScope scope{factory};
    asio::steady_timer released{io, asio::steady_timer::time_point::max()};
    int waiting = 0;
    const auto wait_in_scope = [&]() -> asio::awaitable<void> {
        co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
            co_await session.execute(sql::create_project, "waits", "draft");
            if (++waiting == count) io.stop();
            boost::system::error_code cancelled;
            co_await released.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
        });
    };
    const auto ended = [&](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
        if (--waiting == 0) io.stop();
    };
    // What one of them takes while all of them wait.
    const auto measure = [&] {
        const support::Counts before = support::counts();
        for (int i = 0; i < count; ++i) asio::co_spawn(io, wait_in_scope(), ended);
        io.restart();
        io.run();
        const support::Counts taken = support::counts() - before;
        released.cancel();
        io.restart();
        io.run();
        return static_cast<double>(taken.live_bytes) / count;
    };
    measure();  // opens the connections
    return measure();
}

std::pair<double, double> Measurement::waiter_bytes() {
    constexpr int count = 64;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory factory{io, server_.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{factory};
    asio::steady_timer released{io, asio::steady_timer::time_point::max()};
    const auto wait = [&]() -> asio::awaitable<void> {
        boost::system::error_code cancelled;
        co_await released.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    };
    const auto execute = [](txscope::Session& session) -> asio::awaitable<void> {
        co_await session.execute(sql::create_project, "waits", "draft");
    };
    int left = 1 + 2 * count;
    const auto ended = [&](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
        if (--left == 0) io.stop();
    };
    asio::co_spawn(io, scope([&](txscope::Session& session) -> asio::awaitable<void> {
                       co_await execute(session);
                       co_await wait();
                   }),
                   ended);
    const auto turn_over = [&] {  // nothing is left to do but to wait
        io.restart();
        io.run_for(std::chrono::milliseconds{100});
    };
    turn_over();
    const auto taken_by = [&](auto start) {
        const support::Counts before = support::counts();
        for (int i = 0; i < count; ++i) asio::co_spawn(io, start(), ended);
        turn_over();
        return static_cast<double>((support::counts() - before).live_bytes) / count;
    };
    const double own = taken_by(wait);
    const double all = taken_by([&] { return scope(execute); });
    released.cancel();
    io.restart();
    io.run();
    return {all, own};
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

std::pair<double, double> Measurement::enqueue(int statements) {
    reset();
    asio::io_context io{1};
    const txscope::AsyncSessionFactory factory{io, server_.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{factory};
    const std::string name(20000, 'x');
    const double cpu_before = cpu_seconds();
    const Clock::time_point start = Clock::now();
    asio::co_spawn(io, scope([&](txscope::Session& session) -> asio::awaitable<void> {
                       for (int i = 0; i < statements; ++i)
                           session.enqueue(sql::create_project, name, "draft");
                       co_return;
                   }),
                   [&](std::exception_ptr error) {
                       if (error) std::rethrow_exception(error);
                       io.stop();
                   });
    io.run();
    const std::chrono::duration<double> took = Clock::now() - start;
    return {cpu_seconds() - cpu_before, took.count()};
}

/// The system calls that have a column; "in vain" are those of recv that found nothing.
constexpr std::array shown{"send", "recv", "in vain", "epoll_wait", "epoll_ctl", "futex"};

void print_table(const Costs& costs) {
    const auto group = [](const std::string& call) -> std::string {
        if (call.starts_with("send") || call.starts_with("write")) return "send";
        if (call.starts_with("recv") || call.starts_with("read")) return "recv";
        if (call.starts_with("epoll_pwait")) return "epoll_wait";
        return std::find(shown.begin(), shown.end(), call) == shown.end() ? "others" : call;
    };
    fmt::print("{:22}{:>23}{:>19}   system calls\n{:22}{:>15}{:>8}{:>10}{:>9}   ", "",
               "instructions", "allocations", "", "", "× raw", "", "bytes");
    for (const char* name : shown) fmt::print("{:>11}", name);
    fmt::print("{:>11}\n", "others");
    for (std::size_t workload = 0; workload < workloads.size(); ++workload) {
        fmt::print("\n{}  {}\n", label(workloads[workload]), description(workloads[workload]));
        for (std::size_t contender = 0; contender < names.size(); ++contender) {
            const Cost& cost = costs[workload][contender];
            fmt::print("  {:20}{:15.0f}{:8.2f}{:10.2f}{:9.0f}   ", names[contender],
                       cost.instructions, cost.instructions / costs[workload][raw].instructions,
                       cost.allocations, cost.bytes);
            std::map<std::string, double> groups;
            std::string others;
            for (const auto& [call, count] : cost.calls) {
                groups[group(call)] += count;
                if (group(call) == "others") others += " " + call;
            }
            for (const char* name : shown) fmt::print("{:11.3f}", groups[name]);
            fmt::print("{:11.3f}{}\n", groups["others"], others);
        }
    }
}

bool verdict(std::string_view what, double figure, double target) {
    fmt::print("  {:7}  {:48}{:9.2f}, target {:.2f}\n", figure <= target ? "reached" : "MISSED",
               what, figure, target);
    return figure <= target;
}

Options parse(int argc, char** argv) {
    Options options;
    bool known = true;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto value = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
        if (name == "--connections")
            options.connections = value();
        else if (name == "--transactions")
            options.transactions = value();
        else if (name == "--profile")
            options.profile = true;
        else
            known = false;
    }
    if (!known || options.connections < 1 || options.connections > 16 ||
        options.transactions < options.connections)
        throw std::runtime_error{
            "usage: cost [--connections N (16 at most)] [--transactions N] [--profile]"};
    return options;
}

bool run(const Options& options, const fs::path& programs) {
    Measurement measurement{options, programs};
    Costs costs;
    for (std::size_t workload = 0; workload < workloads.size(); ++workload)
        for (std::size_t contender = 0; contender < names.size(); ++contender) {
            fmt::print(stderr, "\r{} of {:30}", label(workloads[workload]), names[contender]);
            costs[workload][contender] = measurement.cost(contender, workload);
        }
    fmt::print(stderr, "\r{:40}\r", "");
    fmt::print("What a transaction costs the program at {} connections, averages of {}\n\n",
               options.connections, options.transactions);
    print_table(costs);

    const double waiting = measurement.waiting_scope_bytes();
    // The lesser of two: the first one also grows the heap.
    const auto enqueue = [&](int statements) {
        return std::min(measurement.enqueue(statements), measurement.enqueue(statements));
    };
    const auto [twice_cpu, twice] = enqueue(4000);
    const auto [some_cpu, some] = enqueue(2000);
    const auto [waiter, own] = measurement.waiter_bytes();
    fmt::print("\nA scope that waits in the middle of its body takes {:.0f} bytes.\n", waiting);
    fmt::print(
        "One that waits for a connection takes {:.0f}, of which {:.0f} are the program's: "
        "co_spawn, "
        "a coroutine\nand what it waits with.\n",
        waiter, own);
    fmt::print(
        "2,000 and 4,000 enqueued statements of 20 KB take {:.2f} s and {:.2f} s, of which "
        "{:.2f} s and {:.2f} s\nare the program's.\n",
        some, twice, some_cpu, twice_cpu);

    bool all = true;
    fmt::print("\nAgainst what txscope is to reach:\n");
    for (std::size_t workload = 0; workload < workloads.size(); ++workload) {
        const Cost& cost = costs[workload][sessions];
        const auto check = [&](const char* what, double figure, double target) {
            all &= verdict(fmt::format("{}  {}", label(workloads[workload]), what), figure, target);
        };
        check("instructions, × raw libpq", cost.instructions / costs[workload][raw].instructions,
              targets[workload].instructions);
        if (targets[workload].allocations > 0)
            check("allocations", cost.allocations, targets[workload].allocations);
        const auto epoll_ctl = cost.calls.find("epoll_ctl");
        check("epoll_ctl", epoll_ctl == cost.calls.end() ? 0 : epoll_ctl->second, epoll_ctl_target);
    }
    all &= verdict("bytes of a waiting scope", waiting, waiting_scope_target);
    all &= verdict("bytes of a waiter, beside the program's", waiter - own, waiter_target);
    all &= verdict("4,000 enqueued statements, × 2,000", twice_cpu / some_cpu, growth_target);
    return all;
}

}  // namespace
}  // namespace benchmark

int main(int argc, char** argv) try {
    return benchmark::run(benchmark::parse(argc, argv),
                          std::filesystem::canonical("/proc/self/exe").parent_path())
               ? 0
               : 2;
} catch (const std::exception& error) {
    fmt::print(stderr, "cost: {}\n", error.what());
    return 1;
}
