// Does transactions of one contender, for the tools that `cost` puts around it.
//
//     measured CONTENDER WORKLOAD CONNECTIONS TRANSACTIONS
//
// The first two are indices, and TXSCOPE_BENCHMARK_DSN says where the server is.

#include "measured.hpp"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

namespace {

using namespace benchmark;

/// What callgrind looks at, and between whose marks strace's log is read.
extern "C" [[gnu::noinline]] void txscope_measured(Contender& contender, Workload workload,
                                                   std::int64_t transactions, int connections) {
    access(mark, F_OK);
    contender.run(workload, Limit::of(transactions, connections));
    access(mark, F_OK);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 5) throw std::runtime_error{"four arguments, please"};
    const int connections = std::atoi(argv[3]);
    const auto contender = measured_contenders.at(std::strtoul(argv[1], nullptr, 10))(
        std::getenv("TXSCOPE_BENCHMARK_DSN"), connections);
    const auto workload = static_cast<Workload>(std::atoi(argv[2]));
    contender->run(workload, Limit::of(warm_up_rounds * connections, connections));
    txscope_measured(*contender, workload, std::atoll(argv[4]), connections);
    return 0;
} catch (const std::exception& error) {
    std::cerr << "measured: " << error.what() << '\n';
    return 1;
}
