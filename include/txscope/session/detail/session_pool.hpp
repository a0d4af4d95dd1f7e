#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/core/error.hpp>
#include <txscope/pool/pool.hpp>
#include <txscope/pool/pool_statistics.hpp>
#include <txscope/session/detail/cluster_identity.hpp>
#include <txscope/session/detail/replicas.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/session/pool_options.hpp>
#include <txscope/session/replicas.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <pqxx/except>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// The pool behind an `AsyncSessionFactory`, with what its sessions need besides connections; and those
/// of its replicas, if it has any.
class SessionPool : public Pool {
public:
    /// @throws pqxx::argument_error for options out of range
    TXSCOPE_LAZY SessionPool(asio::any_io_executor executor, std::string primary,
                             const PoolOptions& options)
        : Pool{std::move(executor),
               std::move(primary),
               {options.statement_cache_size, options.statement_lifetime},
               limits_of(options),
               options.observer,
               options.pipelining},
          options_{options} {}

    /// To be called before anything is opened.
    /// @throws pqxx::argument_error for servers that there cannot be
    TXSCOPE_LAZY void add_replicas(Servers servers);

    const PoolOptions& options() const noexcept { return options_; }
    /// Null where there are none.
    Replicas* replicas() const noexcept { return replicas_.get(); }
    /// Does the same with each pool: with itself first.
    template <typename Function>
    void for_each(Function function) {
        std::invoke(function, static_cast<Pool&>(*this));
        if (replicas_)
            for (const auto& replica : replicas_->pools()) std::invoke(function, *replica);
    }
    template <typename Function>
    void for_each(Function function) const {
        std::invoke(function, static_cast<const Pool&>(*this));
        if (replicas_)
            for (const auto& replica : replicas_->pools())
                std::invoke(function, std::as_const(*replica));
    }

    /// @throws pqxx::argument_error for options out of range
    TXSCOPE_LAZY void reconfigure(const PoolOptions& options) {
        for_each([limits = limits_of(options)](Pool& pool) { pool.reconfigure(limits); });
    }

    PoolStatistics statistics_of_all() const;
    /// The longest first.
    std::vector<ConnectionHolder> holders_of_all() const;
    /// As `Pool::warm_up`, and waits for each replica that can be connected to.
    TXSCOPE_LAZY asio::awaitable<void> warm_up_all(std::size_t count);
    /// As `Pool::close`.
    TXSCOPE_LAZY asio::awaitable<void> close_all();

private:
    static std::chrono::milliseconds or_never(std::chrono::milliseconds time) {
        return time.count() > 0 ? time : std::chrono::milliseconds::max();
    }
    static Limits limits_of(const PoolOptions& options) {
        if (options.max_size == 0)
            throw pqxx::argument_error{"PoolOptions::max_size must be at least 1"};
        if (options.max_opening == 0)
            throw pqxx::argument_error{"PoolOptions::max_opening must be at least 1"};
        if (options.min_idle > options.max_size)
            throw pqxx::argument_error{"PoolOptions::min_idle must not be more than max_size"};
        for (const auto time :
             {options.acquire_timeout, options.queue_target, options.opening_timeout,
              options.max_lifetime, options.idle_timeout, options.ping_after_idle,
              options.ping_timeout, options.cleanup_timeout, options.statement_lifetime,
              options.overlong_scope, options.default_timeout})
            if (time.count() < 0)
                throw pqxx::argument_error{"PoolOptions: a time must not be negative"};
        return {.max_size = options.max_size,
                .max_waiters = options.max_waiters,
                .max_opening = options.max_opening,
                .min_idle = options.min_idle,
                .acquire_timeout = options.acquire_timeout,
                .queue_target = or_never(options.queue_target),
                .opening_timeout = options.opening_timeout,
                .max_lifetime = or_never(options.max_lifetime),
                .idle_timeout = or_never(options.idle_timeout),
                .ping_after_idle = or_never(options.ping_after_idle),
                .ping_timeout = options.ping_timeout,
                .cleanup_timeout = options.cleanup_timeout};
    }

    const PoolOptions options_;
    std::unique_ptr<Replicas> replicas_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <algorithm>

namespace txscope::detail {

TXSCOPE_LAZY_INLINE void SessionPool::add_replicas(Servers servers) {
    if (servers.primary.empty() && !servers.replicas.empty())
        throw pqxx::argument_error{"Servers: replicas without a primary"};
    for (const std::string& replica : servers.replicas)
        if (replica.empty() || replica == servers.primary)
            throw pqxx::argument_error{"Servers: a replica has to be another server"};
    if (servers.max_lag.count() < 0)
        throw pqxx::argument_error{"Servers: a time must not be negative"};
    if (servers.replicas.empty()) return;
    const auto identity = std::make_shared<ClusterIdentity>();
    connector().look_at_opened(ClusterIdentity::learn_from_primary(identity));
    Replicas::Pools pools;
    for (std::string& replica : servers.replicas) {
        pools.push_back(std::make_shared<Pool>(
            connector().executor(), std::move(replica),
            StatementNaming{options_.statement_cache_size, options_.statement_lifetime},
            limits_of(options_), options_.observer, options_.pipelining));
        pools.back()->connector().look_at_opened(ClusterIdentity::check_replica(identity));
    }
    replicas_ = std::make_unique<Replicas>(std::move(pools), identity, servers.max_lag);
}

TXSCOPE_INLINE PoolStatistics SessionPool::statistics_of_all() const {
    PoolStatistics all;
    for_each([&](const Pool& pool) {
        const PoolStatistics one = pool.statistics();
        all.size += one.size;
        all.idle += one.idle;
        all.waiting += one.waiting;
        all.opened += one.opened;
        all.failed_openings += one.failed_openings;
        all.discarded += one.discarded;
        all.retired += one.retired;
        all.acquired += one.acquired;
        all.round_trips += one.round_trips;
    });
    return all;
}

TXSCOPE_INLINE std::vector<ConnectionHolder> SessionPool::holders_of_all() const {
    std::vector<ConnectionHolder> all;
    for_each([&](const Pool& pool) {
        for (ConnectionHolder& one : pool.holders()) all.push_back(std::move(one));
    });
    std::sort(all.begin(), all.end(),
              [](const ConnectionHolder& one, const ConnectionHolder& other) {
                  return one.held > other.held;
              });
    return all;
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> SessionPool::warm_up_all(std::size_t count) {
    co_await warm_up(count, OnFailure::try_again);
    if (!replicas_) co_return;
    for (const auto& replica : replicas_->pools()) try {
            co_await replica->warm_up(count, OnFailure::give_up);
        } catch (const ConnectionFailed&) {
        } catch (const AcquireTimeout&) {
        }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> SessionPool::close_all() {
    for_each(&Pool::lend_no_more);
    co_await close();
    if (!replicas_) co_return;
    for (const auto& replica : replicas_->pools()) co_await replica->close();
}

}  // namespace txscope::detail

#endif
