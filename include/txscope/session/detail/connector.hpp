#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/detail/lease.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace txscope::detail {

/// Opens a pool's connections, and remembers why it failed the last time. From any thread.
class Connector {
public:
    Connector(asio::any_io_executor executor, std::string conninfo,
              std::size_t statement_cache_size)
        : executor_{std::move(executor)},
          conninfo_{std::move(conninfo)},
          statement_cache_size_{statement_cache_size} {}

    /// Called on a strand.
    /// @throws ConnectionFailed; inside of `AcquireTimeout` when `deadline` was why
    asio::awaitable<std::shared_ptr<PooledConnection>> open(Clock::time_point deadline);

    const asio::any_io_executor& executor() const noexcept { return executor_; }

    /// Null when the last attempt succeeded.
    std::exception_ptr last_error() const {
        const std::lock_guard lock{mutex_};
        return last_error_;
    }

private:
    void remember(std::exception_ptr error) {
        const std::lock_guard lock{mutex_};
        last_error_ = std::move(error);
    }

    const asio::any_io_executor executor_;
    const std::string conninfo_;
    const std::size_t statement_cache_size_;
    mutable std::mutex mutex_;
    std::exception_ptr last_error_;
};

inline asio::awaitable<std::shared_ptr<PooledConnection>> Connector::open(
    Clock::time_point deadline) {
    std::exception_ptr error;
    try {
        auto connection =
            co_await Connection::open(executor_, conninfo_, statement_cache_size_, deadline);
        remember(nullptr);
        co_return std::make_shared<PooledConnection>(std::move(connection));
    } catch (const ConnectionFailed&) {
        error = std::current_exception();
    }
    remember(error);
    if (Clock::now() >= deadline)
        error = nest(error, AcquireTimeout{"no connection could be opened in time"});
    std::rethrow_exception(error);
}

}  // namespace txscope::detail
