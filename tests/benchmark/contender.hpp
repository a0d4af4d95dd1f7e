#pragma once

#include "workload.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace benchmark {

using Clock = std::chrono::steady_clock;

/// One way to talk to PostgreSQL, with its connections open and its statements prepared.
class Contender {
public:
    virtual ~Contender() = default;

    virtual std::string_view name() const = 0;

    /// Runs transactions on every connection until `deadline`, lets those under way finish, and
    /// returns how many were committed. Whatever goes wrong is thrown: a benchmark of failures
    /// would be a fast one.
    virtual std::int64_t run(Workload workload, Clock::time_point deadline) = 0;
};

/// Hand-written libpq: pipeline mode, one thread, epoll. The ceiling.
std::unique_ptr<Contender> make_libpq(const std::string& dsn, int connections);

/// libpqxx as its tutorial teaches it: blocking, prepared statements, a thread a connection.
std::unique_ptr<Contender> make_libpqxx(const std::string& dsn, int connections);

/// txscope with SQL of one's own: TransactionScope, Session, one thread.
std::unique_ptr<Contender> make_txscope(const std::string& dsn, int connections);

/// txscope as a program uses it: repositories and a ServiceCoordinator, one thread.
std::unique_ptr<Contender> make_repositories(const std::string& dsn, int connections);

}  // namespace benchmark
