#pragma once

#include <txscope/postgres/conninfo.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/detail/relay.hpp>
#include <txscope/testing/detail/witness.hpp>
#include <txscope/testing/fault.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace txscope::detail {

/// A program within a test: an `io_context`, a session factory and one coroutine, which is run from
/// one handler to the next. Destroying it destroys them all, however far they have come.
///
/// For `Fault::abandon` the coroutine has an `io_context` of its own.
class SweptProgram {
public:
    using Body = std::function<asio::awaitable<void>(AsyncSessionFactory)>;

    /// @param fault what it is to be ready for
    SweptProgram(const Body& body, const std::string& conninfo, const Witness& server, Fault fault,
                 PoolOptions pool, std::chrono::milliseconds time_limit)
        : deadline_{Clock::now() + time_limit},
          sessions_{io_, fault == Fault::cut ? relay_to(server, conninfo) : conninfo, pool} {
        if (fault == Fault::abandon) apart_.emplace();
        asio::co_spawn(
            apart_ ? *apart_ : io_, body(sessions_),
            asio::bind_cancellation_slot(cancellation_->slot(), [this](std::exception_ptr error) {
                error_ = std::move(error);
                ended_ = true;
            }));
    }

    /// Whether the body has returned or thrown; `error()` says which.
    bool ended() const noexcept { return ended_; }
    const std::exception_ptr& error() const noexcept { return error_; }
    const AsyncSessionFactory& sessions() const noexcept { return sessions_; }

    /// Runs the next handler; false when the body has ended.
    bool step() {
        if (ended()) return false;
        if (!run_one())
            throw std::runtime_error{out_of_work()
                                         ? "it waits for something that nobody is going to do"
                                         : "it did not end in time"};
        return true;
    }

    /// Runs on until `condition` holds; false when that is not in time.
    template <typename Condition>
    bool run_until(Condition condition) {
        for (;;) {
            io_.restart();
            io_.poll();
            if (condition()) return true;
            if (Clock::now() >= deadline_) return false;
            io_.run_one_for(std::chrono::milliseconds{1});
        }
    }

    /// Runs `work` to its end, and throws what it throws.
    void run(asio::awaitable<void> work) {
        bool done = false;
        std::exception_ptr failure;
        asio::co_spawn(io_, std::move(work), [&](std::exception_ptr error) {
            failure = std::move(error);
            done = true;
        });
        if (!run_until([&] { return done; })) throw std::runtime_error{"no connection is lent"};
        if (failure) std::rethrow_exception(failure);
    }

    void cancel() { cancellation_->emit(asio::cancellation_type::terminal); }
    void cut() { relay_->cut(); }
    /// Destroys the body's own context, and leaves the pool's as it is.
    void abandon() {
        cancellation_.reset();
        apart_.reset();
    }

private:
    using Clock = std::chrono::steady_clock;

    /// Runs one handler; false when there is none in time. Of two contexts the pool's goes first.
    bool run_one() {
        if (!apart_) return io_.run_one_until(deadline_) != 0;
        do {
            io_.restart();
            apart_->restart();
            if (io_.poll_one() != 0 || apart_->poll_one() != 0) return true;
            if (out_of_work()) return false;
            if (apart_->run_one_for(std::chrono::milliseconds{1}) != 0) return true;
        } while (Clock::now() < deadline_);
        return false;
    }
    bool out_of_work() const { return io_.stopped() && (!apart_ || apart_->stopped()); }

    /// The way to the server through a relay.
    std::string relay_to(const Witness& server, const std::string& conninfo) {
        relay_.emplace(io_, server.server());
        // A server's certificate is still compared with the name of the host. What comes through a
        // unix socket is not encrypted.
        const bool local = server.host().starts_with('/');
        std::string way = with_parameter(conninfo, "host", local ? "localhost" : server.host());
        way = with_parameter(way, "hostaddr", "127.0.0.1");
        way = with_parameter(way, "port", std::to_string(relay_->port()));
        if (!local) return way;
        way = with_parameter(way, "sslmode", "disable");
        return with_parameter(way, "gssencmode", "disable");
    }

    const Clock::time_point deadline_;
    std::exception_ptr error_;
    bool ended_ = false;
    asio::io_context io_;
    std::optional<Relay> relay_;
    AsyncSessionFactory sessions_;
    std::optional<asio::io_context> apart_;  // the body's own, if it has one
    // Holds executors, which must not outlive the context.
    std::optional<asio::cancellation_signal> cancellation_{std::in_place};
};

}  // namespace txscope::detail
