#pragma once

#include <txscope/core/config.hpp>

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>

namespace txscope {

namespace asio = boost::asio;

class AsyncSessionFactory;
class Session;
namespace detail {
struct PoolHooks;
class SessionPool;
}  // namespace detail

/// What a program has done around the opening of its connections: derive from it, and override what is
/// wanted. What happens around each loan is for `LoanHooks`.
///
/// ```cpp
/// class Hooks : public txscope::ConnectionHooks {
///     asio::awaitable<std::string> before_connect(std::string conninfo) override {
///         const std::string password = co_await vault_.password_of_the_moment();
///         co_return txscope::with_parameter(conninfo, "password", password);
///     }
///     asio::awaitable<void> after_connect(txscope::Session& session) override {
///         co_await session.execute("SET ROLE app");
///     }
/// };
/// txscope::AsyncSessionFactory sessions{io, "host=db dbname=app", {.hooks = &hooks}};
/// ```
///
/// **Errors**: what a hook throws is the opening's error: a `ConnectionFailed` with it nested inside. It
/// may pass, as with a token service that is down for a minute: who waits goes on waiting, and it is
/// tried again after pauses. Only a `ConnectionFailed` that stays, or a statement's error whose SQLSTATE
/// would stay as a refusal, stays.
///
/// **Time**: counts in the opening's `opening_timeout`. When that is over, or the factory is closed, the
/// hook is cancelled, as by a caller: a hook that does not heed it holds up the opening.
///
/// **Threads**: on a strand over the pool's execution context, or over that of who listens or looks up a
/// `COMMIT`; for several connections maybe at once.
///
/// **Lifetime**: must outlive the factory, and what that has begun, as then must the observer:
/// `co_await sessions.close()` ends it.
class ConnectionHooks {
public:
    virtual ~ConnectionHooks() = default;

    /// Gives the connection string of the moment, ahead of each opening: of the pool's connections, of
    /// those that listen, and of one that looks up a `COMMIT`.
    /// @param conninfo the factory's
    virtual asio::awaitable<std::string> before_connect(std::string conninfo);

    /// Makes a connection of the pool's what it is to be, by `SET ROLE` or `SET search_path` for one: that
    /// is there for every borrower. What a borrower changes is reset when the connection comes back,
    /// and then this is called again, within `cleanup_timeout`. Its statements take round trips that
    /// no statistics count.
    /// @param session without a transaction; to ask the factory for another connection may wait for this
    virtual asio::awaitable<void> after_connect(Session& session);

protected:
    TXSCOPE_LAZY ConnectionHooks();
    ConnectionHooks(const ConnectionHooks&) = default;
    ConnectionHooks& operator=(const ConnectionHooks&) = default;

private:
    friend class AsyncSessionFactory;
    using Pools = std::weak_ptr<detail::SessionPool>;

    // A pointer that is set here, so that a program without hooks does not compile what calls them.
    std::shared_ptr<const detail::PoolHooks> (*for_pools_)(const Pools&, ConnectionHooks*);
};

/// What a program has done around each loan of a connection besides. Each costs a coroutine, and the
/// round trips of its statements.
///
/// They are to look, not to change: a hook that changes the session (`SET`) refuses the connection. So
/// does one that throws, or takes longer than is allowed.
class LoanHooks : public ConnectionHooks {
public:
    /// Whether the connection may be lent: else it is closed, and the next one taken. Called when it has
    /// been idle and somebody wants it, within `ping_timeout`; when it has come back, behind
    /// `after_return`; and when it was opened, where a refusal is the opening's failure, which may pass.
    virtual asio::awaitable<bool> before_lend(Session& session);

    /// Whether a connection that has come back, and was cleaned up, is to be kept: else it is closed.
    /// Within `cleanup_timeout`.
    virtual asio::awaitable<bool> after_return(Session& session);
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

namespace txscope {

TXSCOPE_INLINE asio::awaitable<std::string> ConnectionHooks::before_connect(std::string conninfo) {
    co_return conninfo;
}
TXSCOPE_INLINE asio::awaitable<void> ConnectionHooks::after_connect(Session&) { co_return; }
TXSCOPE_INLINE asio::awaitable<bool> LoanHooks::before_lend(Session&) { co_return true; }
TXSCOPE_INLINE asio::awaitable<bool> LoanHooks::after_return(Session&) { co_return true; }

}  // namespace txscope

#include <txscope/session/detail/connection_hook_calls.hpp>

#endif
