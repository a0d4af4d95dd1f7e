#pragma once

#include "workload.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

namespace benchmark {

using Clock = std::chrono::steady_clock;

/// How much a contender is to do: what a moment allows, or so many transactions.
class Limit {
public:
    static Limit until(Clock::time_point deadline) {
        return {std::numeric_limits<std::int64_t>::max(), deadline};
    }
    /// Each of the connections begins one unasked.
    static Limit of(std::int64_t transactions, int connections) {
        return {transactions - connections, never};
    }

    /// Whether to begin another one: asked after each transaction, maybe by several threads.
    bool another() {
        return left_.fetch_sub(1, std::memory_order_relaxed) > 0 &&
               (deadline_ == never || Clock::now() < deadline_);
    }

private:
    static constexpr Clock::time_point never = Clock::time_point::max();

    Limit(std::int64_t more, Clock::time_point deadline) : left_{more}, deadline_{deadline} {}

    std::atomic<std::int64_t> left_;
    Clock::time_point deadline_;
};

/// One way to talk to PostgreSQL, with its connections open and its statements prepared.
class Contender {
public:
    virtual ~Contender() = default;

    virtual std::string_view name() const = 0;

    /// Runs transactions on every connection up to `limit`, lets those under way finish, and
    /// returns how many were committed. Whatever goes wrong is thrown: a benchmark of failures
    /// would be a fast one.
    virtual std::int64_t run(Workload workload, Limit limit) = 0;
};

/// Hand-written libpq: pipeline mode, one thread, epoll. The ceiling.
std::unique_ptr<Contender> make_libpq(const std::string& dsn, int connections);

/// libpqxx as its tutorial teaches it: blocking, prepared statements, a thread a connection.
std::unique_ptr<Contender> make_libpqxx(const std::string& dsn, int connections);

/// txscope with SQL of one's own: TransactionScope, Session, one thread.
std::unique_ptr<Contender> make_txscope(const std::string& dsn, int connections);

/// txscope as a program uses it: repositories and a ServiceCoordinator, one thread.
std::unique_ptr<Contender> make_repositories(const std::string& dsn, int connections);

using Maker = std::unique_ptr<Contender> (*)(const std::string& dsn, int connections);

}  // namespace benchmark
