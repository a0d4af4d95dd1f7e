#pragma once

#include <txscope/pool/pool.hpp>
#include <txscope/session/pool_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <pqxx/except>

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
               limits_of(options)},
          options_{options} {}

    const PoolOptions& options() const noexcept { return options_; }

private:
    static Limits limits_of(const PoolOptions& options) {
        if (options.max_size == 0)
            throw pqxx::argument_error{"PoolOptions::max_size must be at least 1"};
        if (options.max_opening == 0)
            throw pqxx::argument_error{"PoolOptions::max_opening must be at least 1"};
        for (const auto time : {options.acquire_timeout, options.opening_timeout,
                                options.cleanup_timeout, options.statement_lifetime})
            if (time.count() < 0)
                throw pqxx::argument_error{"PoolOptions: a time must not be negative"};
        return {.max_size = options.max_size,
                .max_waiters = options.max_waiters,
                .max_opening = options.max_opening,
                .acquire_timeout = options.acquire_timeout,
                .opening_timeout = options.opening_timeout,
                .cleanup_timeout = options.cleanup_timeout};
    }

    const PoolOptions options_;
};

}  // namespace txscope::detail
