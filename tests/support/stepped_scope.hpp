#pragma once

#include "support/eventually.hpp"
#include "support/started.hpp"
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace support {

/// A scope whose body does what a test tells it, one statement after another: several of them on
/// one thread interleave exactly as the test is written.
///
///     SteppedScope first{io, scope}, second{io, scope};
///     first.execute("UPDATE entries SET name = 'first'");
///     second.start("UPDATE entries SET name = 'second'");
///     run_until(io, [&] { return blocked(); });
///     first.commit();
///     second.finish();
class SteppedScope {
public:
    SteppedScope(asio::io_context& io, const txscope::TransactionScope& scope)
        : io_{io},
          statements_{io, 1},
          work_{io, scope(std::bind_front(&SteppedScope::obey, this))} {}

    /// Executes it in the scope; what it fails with is what the scope ends by.
    txscope::Result execute(const std::string& sql) {
        start(sql);
        return finish();
    }
    /// Leaves the statement under way, into a lock that somebody else holds.
    void start(const std::string& sql) { send(sql); }
    txscope::Result finish() {
        run_until(io_, [&] { return result_ || work_.done(); });
        if (work_.failure()) std::rethrow_exception(work_.failure());
        return *std::exchange(result_, std::nullopt);
    }

    /// Lets the body return; throws what the scope ends by.
    void commit() {
        send(std::nullopt);
        end();
        if (work_.failure()) std::rethrow_exception(work_.failure());
    }
    void roll_back() {
        work_.cancel();
        end();
    }

private:
    using Order = std::optional<std::string>;

    asio::awaitable<void> obey(txscope::Session& session) {
        for (;;) {
            const Order order = co_await statements_.async_receive(asio::use_awaitable);
            if (!order) co_return;
            result_ = co_await session.execute(*order);
        }
    }
    void send(Order order) {
        if (!statements_.try_send(boost::system::error_code{}, std::move(order)))
            throw std::logic_error{"the statement before this one is not finished"};
    }
    void end() {
        run_until(io_, [&] { return work_.done(); });
    }

    asio::io_context& io_;
    asio::experimental::channel<void(boost::system::error_code, Order)> statements_;
    std::optional<txscope::Result> result_;
    Started work_;
};

}  // namespace support
