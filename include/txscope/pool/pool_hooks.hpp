#pragma once

#include <txscope/net/deadline.hpp>

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <string>

namespace txscope::detail {

namespace asio = boost::asio;

struct PooledConnection;

/// What those who use a pool want done with its connections besides, by a deadline. What throws refuses
/// the connection.
struct PoolHooks {
    using OnConnection =
        std::function<asio::awaitable<void>(std::shared_ptr<PooledConnection>, Clock::time_point)>;

    /// Gives the connection string to open one by.
    std::function<asio::awaitable<std::string>(std::string, Clock::time_point)> before_connect{};
    /// Also after its session was reset. Ends with `Connection::keep_session`.
    OnConnection after_connect{};
    OnConnection before_lend{};  ///< Empty for nothing; so is the next.
    OnConnection after_return{};
    /// Calls those for a connection that has come back, or is about to be lent. Returns whether one
    /// refuses it.
    asio::awaitable<bool> (*refuse)(const PoolHooks& self,
                                    std::shared_ptr<PooledConnection> connection,
                                    Clock::time_point deadline) = nullptr;
};

}  // namespace txscope::detail
