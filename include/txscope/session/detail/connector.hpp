#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/detail/ambient_executor.hpp>
#include <txscope/session/detail/lease.hpp>
#include <txscope/session/detail/strand.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

namespace txscope::detail {

/// Opens a pool's connections, and remembers why it failed the last time. From any thread.
class Connector {
public:
    Connector(asio::any_io_executor executor, std::string conninfo, StatementNaming naming)
        : executor_{std::move(executor)},
          conninfo_{std::move(conninfo)},
          naming_{std::move(naming)} {}

    /// For the scope that was opened at `scope`, if any. Called on a strand, of which the connection
    /// is from then on (`executor_for`).
    /// @throws ConnectionFailed; inside of `AcquireTimeout` when `deadline` was why
    asio::awaitable<std::shared_ptr<PooledConnection>> open(
        Clock::time_point deadline, std::optional<std::source_location> scope = std::nullopt);

    const asio::any_io_executor& executor() const noexcept { return executor_; }
    /// Where the connection of a scope on `strand` belongs meanwhile: to the same, which costs least,
    /// unless `strand` is of another execution context. What waits must end with the scope's.
    asio::any_io_executor executor_for(const Strand& strand) const {
        constexpr auto context = asio::execution::context;
        const bool same = &asio::query(strand, context) == &asio::query(executor_, context);
        return same ? executor_ : asio::any_io_executor{strand};
    }

    /// All statements are prepared anew from now on.
    void forget_statements() noexcept { naming_.begin_generation(); }

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
    StatementNaming naming_;  // which its connections have in common
    mutable std::mutex mutex_;
    std::exception_ptr last_error_;
};

inline asio::awaitable<std::shared_ptr<PooledConnection>> Connector::open(
    Clock::time_point deadline, std::optional<std::source_location> scope) {
    const auto executor = executor_for(strand_on(co_await asio::this_coro::executor));
    std::exception_ptr error;
    try {
        auto connection = co_await Connection::open(executor, conninfo_, naming_, deadline);
        remember(nullptr);
        co_return std::make_shared<PooledConnection>(std::move(connection));
    } catch (const ConnectionFailed& failed) {
        error = std::make_exception_ptr(ConnectionFailed{failed.what(), scope});
    }
    remember(error);
    if (Clock::now() >= deadline)
        error = nest(error, AcquireTimeout{"no connection could be opened in time", scope});
    std::rethrow_exception(error);
}

}  // namespace txscope::detail
