#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/detail/hooks.hpp>
#include <txscope/session/detail/reporter.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/session/notification.hpp>

#include <boost/asio/awaitable.hpp>

#include <exception>
#include <list>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace txscope::detail {

/// Listens over a connection of its own, which the pool's connector opens, and the pool does not count.
///
/// While the handler is busy, nothing is read: what comes meanwhile waits in the socket, and then with
/// the server.
class Listener {
public:
    using Handler = HookOf<const txscope::Notification&>;

    /// @throws pqxx::argument_error for no channel, one that there cannot be, or a time out of range
    Listener(SessionPool& pool, const std::vector<std::string>& channels, Handler handler,
             const ListenOptions& options, std::source_location where);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// Until the caller is cancelled, or the handler throws. To be called on a strand.
    /// @throws why it could not listen, if it never has, and that is none that may pass
    TXSCOPE_LAZY asio::awaitable<void> run();

private:
    Connection& connection() const noexcept { return *opened_->connection; }
    TXSCOPE_LAZY asio::awaitable<std::exception_ptr> subscribe();
    TXSCOPE_LAZY asio::awaitable<void> open(Clock::time_point deadline);
    TXSCOPE_LAZY asio::awaitable<void> ask(Clock::time_point deadline);
    TXSCOPE_LAZY asio::awaitable<std::exception_ptr> tell_until_lost();
    TXSCOPE_LAZY asio::awaitable<void> hear();

    SessionPool& pool_;
    std::vector<std::string> listen_;  // SQL, for each channel
    const Handler handler_;
    const ListenOptions options_;
    Reporter reporter_;
    std::list<txscope::Notification> arrived_;
    std::shared_ptr<PooledConnection> opened_;  // which may still tell the two above
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/net/backoff.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/session/detail/channel.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <pqxx/except>

#include <utility>

namespace txscope::detail {

TXSCOPE_INLINE Listener::Listener(SessionPool& pool, const std::vector<std::string>& channels,
                                  Handler handler, const ListenOptions& options,
                                  std::source_location where)
    : pool_{pool},
      handler_{std::move(handler)},
      options_{options},
      reporter_{.observer = pool.options().observer, .where = where} {
    if (channels.empty()) throw pqxx::argument_error{"there is no channel to listen to"};
    if (options.heartbeat.count() <= 0 || options.initial_backoff.count() < 0 ||
        options.max_backoff.count() < 0)
        throw pqxx::argument_error{"ListenOptions: a time must not be negative, nor heartbeat 0"};
    for (const std::string& channel : channels) listen_.push_back(listen_sql(channel));
}

/// Whether what has kept us from listening may pass by itself.
inline bool may_pass(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const ConnectionFailed& failure) {
        return failure.is_transient();
    } catch (const ConnectionLost&) {
        return true;
    } catch (...) {
        return false;
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Listener::run() {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    for (bool first = true;; ++reporter_.attempt) {
        std::exception_ptr lost = co_await subscribe();
        if (!lost) {
            first = false;
            reporter_.attempt = 1;
            lost = co_await tell_until_lost();
        }
        opened_.reset();
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        check_not_cancelled(caller);
        if (first && !may_pass(lost)) std::rethrow_exception(lost);
        const auto pause =
            backoff(options_.initial_backoff, options_.max_backoff, reporter_.attempt);
        reporter_.report(ScopeEvent::retry, pause, lost);
        asio::steady_timer timer{co_await asio::this_coro::executor, pause};
        co_await timer.async_wait(asio::deferred);
    }
}

/// Returns what it failed by; null when the server listens for us.
TXSCOPE_LAZY_INLINE asio::awaitable<std::exception_ptr> Listener::subscribe() {
    try {
        const auto deadline = deadline_of(pool_.options().opening_timeout);
        co_await open(deadline);
        co_await ask(deadline);
        co_return connection().failure();
    } catch (...) {
        co_return std::current_exception();
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Listener::open(Clock::time_point deadline) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    arrived_.clear();
    opened_ = co_await pool_.connector().open(pool_.connector().executor_for(executor), deadline);
    connection().unasked().notification = [this](const protocol::Event& event) {
        arrived_.push_back({.kind = txscope::Notification::received,
                            .channel = std::string{event.name},
                            .payload = std::string{event.value},
                            .process = static_cast<int>(event.process)});
    };
    reporter_.report_notices(connection());
}

/// Has the server listen, which is nothing new to one that does.
TXSCOPE_LAZY_INLINE asio::awaitable<void> Listener::ask(Clock::time_point deadline) {
    const auto response = connection().make_response(reporter_.where);
    Connection::Batch batch;
    for (const std::string& sql : listen_) batch.emplace_back(Command{sql}, response);
    connection().submit(std::move(batch));
    const bool answered = co_await connection().answered(response, deadline);
    if (!answered) connection().close("the server did not answer in the time allowed");
    if (response->error) connection().close(response->error);
}

/// Returns why the connection was lost.
TXSCOPE_LAZY_INLINE asio::awaitable<std::exception_ptr> Listener::tell_until_lost() {
    const txscope::Notification subscribed{.kind = txscope::Notification::subscribed};
    co_await handler_(subscribed);
    for (;;) {
        // The end may have come right behind the last of them: it is not announced again.
        connection().poll();
        if (arrived_.empty() && connection().broken()) co_return connection().failure();
        if (arrived_.empty()) co_await hear();
        while (!arrived_.empty()) {
            const txscope::Notification next = std::move(arrived_.front());
            arrived_.pop_front();
            co_await handler_(next);
        }
        co_await asio::post(asio::deferred);  // others' turn, also where it never ends
    }
}

/// Until the server has said something, or is known to be there still; or it is lost.
TXSCOPE_LAZY_INLINE asio::awaitable<void> Listener::hear() {
    const auto silent = deadline_in(options_.heartbeat);
    co_await connection().readable(silent);
    if (Clock::now() >= silent) co_await ask(deadline_in(pool_.options().ping_timeout));
}

}  // namespace txscope::detail

#endif
