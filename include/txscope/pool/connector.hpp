#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/pool/pool_hooks.hpp>
#include <txscope/pool/pooled_connection.hpp>
#include <txscope/postgres/connection.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace txscope::detail {

/// Opens a pool's connections. From any thread.
class Connector {
public:
    /// @param pipelines whether a connection sends a statement before the ones ahead are answered
    Connector(asio::any_io_executor executor, std::string conninfo, StatementNaming naming,
              bool pipelines)
        : executor_{std::move(executor)},
          conninfo_{std::move(conninfo)},
          naming_{std::move(naming)},
          pipelines_{pipelines} {}

    using BeforeConnect = decltype(PoolHooks::before_connect);
    /// Whom to ask for the connection string of the moment. To be called before anything is opened.
    void ask_before(BeforeConnect asked) { before_connect_ = std::move(asked); }

    /// Looks at each connection that was opened, by a deadline; what throws refuses it.
    using OnOpened = std::function<asio::awaitable<void>(PooledConnection&, Clock::time_point)>;
    /// To be called before anything is opened.
    void look_at_opened(OnOpened looks) { on_opened_ = std::move(looks); }

    /// One whose waits belong to `on`, on which this is called.
    /// @throws ConnectionFailed
    TXSCOPE_LAZY asio::awaitable<std::shared_ptr<PooledConnection>> open(
        asio::any_io_executor on, Clock::time_point deadline);

    const asio::any_io_executor& executor() const noexcept { return executor_; }
    /// Where a connection belongs while somebody on `executor` has it: to where it is anyway, which
    /// costs least, unless that is another execution context. What waits must end with its own.
    template <typename Executor>
    asio::any_io_executor executor_for(const Executor& executor) const {
        constexpr auto context = asio::execution::context;
        const bool same = &asio::query(executor, context) == &asio::query(executor_, context);
        return same ? executor_ : asio::any_io_executor{executor};
    }

    /// All statements are prepared anew from now on.
    void forget_statements() noexcept { naming_.begin_generation(); }

    /// Which database the connection string leads to, in words.
    std::string database_words() const;

    /// What there is to say while the first attempt is under way.
    std::exception_ptr no_answer_yet() const noexcept;

private:
    const asio::any_io_executor executor_;
    const std::string conninfo_;
    BeforeConnect before_connect_{};
    OnOpened on_opened_{};    // mostly there is none
    StatementNaming naming_;  // which its connections have in common
    const bool pipelines_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/postgres/detail/conninfo.hpp>

namespace txscope::detail {

TXSCOPE_LAZY_INLINE asio::awaitable<std::shared_ptr<PooledConnection>> Connector::open(
    asio::any_io_executor on, Clock::time_point deadline) {
    std::string conninfo = conninfo_;
    if (before_connect_) conninfo = co_await before_connect_(std::move(conninfo), deadline);
    auto connection =
        co_await Connection::open(std::move(on), std::move(conninfo), naming_, deadline);
    if (!pipelines_) connection->stop_pipelining();
    auto opened = std::make_shared<PooledConnection>(std::move(connection));
    if (on_opened_) co_await on_opened_(*opened, deadline);
    co_return opened;
}

inline std::string server_words(const ConnInfo& info) {
    const auto host = info.find("host");
    std::string words = "\"";
    words.append(host ? *host : info.find("hostaddr").value_or(""));
    return words.append("\", port ").append(info.find("port").value_or("5432"));
}

TXSCOPE_INLINE std::string Connector::database_words() const {
    const ConnInfo info = parse_conninfo(conninfo_);
    const auto name = info.find("dbname");
    return (name ? "database \"" + std::string{*name} + '"' : "the default database") + " of " +
           server_words(info);
}

TXSCOPE_INLINE std::exception_ptr Connector::no_answer_yet() const noexcept try {
    return std::make_exception_ptr(ConnectionFailed{
        "no answer yet from " + server_words(parse_conninfo(conninfo_)), {.is_transient = true}});
} catch (...) {
    return std::current_exception();
}

}  // namespace txscope::detail

#endif
