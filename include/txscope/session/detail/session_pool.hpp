#pragma once

#include <txscope/pool/pool.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/session/pool_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <pqxx/except>

#include <chrono>
#include <string>
#include <utility>

namespace txscope::detail {

/// The pool behind an `AsyncSessionFactory`, with what its sessions need besides connections.
class SessionPool : public Pool {
public:
    /// @throws pqxx::argument_error for options out of range
    SessionPool(asio::any_io_executor executor, std::string conninfo, const PoolOptions& options)
        : Pool{std::move(executor),
               std::move(conninfo),
               {options.statement_cache_size, options.statement_lifetime},
               limits_of(options),
               options.observer},
          options_{options} {}

    const PoolOptions& options() const noexcept { return options_; }

    /// @throws pqxx::argument_error for options out of range
    void reconfigure(const PoolOptions& options) { Pool::reconfigure(limits_of(options)); }

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
             {options.acquire_timeout, options.opening_timeout, options.max_lifetime,
              options.idle_timeout, options.ping_after_idle, options.ping_timeout,
              options.cleanup_timeout, options.statement_lifetime, options.overlong_scope,
              options.default_timeout})
            if (time.count() < 0)
                throw pqxx::argument_error{"PoolOptions: a time must not be negative"};
        return {.max_size = options.max_size,
                .max_waiters = options.max_waiters,
                .max_opening = options.max_opening,
                .min_idle = options.min_idle,
                .acquire_timeout = options.acquire_timeout,
                .opening_timeout = options.opening_timeout,
                .max_lifetime = or_never(options.max_lifetime),
                .idle_timeout = or_never(options.idle_timeout),
                .ping_after_idle = or_never(options.ping_after_idle),
                .ping_timeout = options.ping_timeout,
                .cleanup_timeout = options.cleanup_timeout};
    }

    const PoolOptions options_;
};

}  // namespace txscope::detail
