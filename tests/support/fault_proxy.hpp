#pragma once

#include "support/fault.hpp"
#include "support/proxied_connection.hpp"
#include "support/run.hpp"
#include "support/tally.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace support {

/// A TCP proxy between clients and a server that counts what really passes, and breaks it.
///
///     support::FaultProxy proxy{support::server()};
///     txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name())};
///     ...
///     CHECK(proxy.round_trips() == 2);
///
///     proxy.cut(before_answer("COMMIT"));     // the server commits, the client never hears of it
///     CHECK_THROWS_AS(transfer(), txscope::CommitInDoubt);
///     proxy.await_fault();
///
/// **Faults** are named by what is done (`cut`, `reset`, `stall`, `swallow`) and when: at once, to
/// every connection; or armed for a moment (`before_statement`, `before_answer`,
/// `before_message`, `after_bytes`), which then strikes once, on the first connection that comes to
/// it. Nothing depends on timing: an armed fault strikes at exactly that place of the protocol.
///
/// **Counts** are exact: what a client has got an answer to is counted before the answer passes.
///
/// **Threads**: the proxy runs in a thread of its own; every member may be called from any other,
/// and what it says is in force on return.
class FaultProxy {
public:
    explicit FaultProxy(const txscope::TemporaryPostgres& server);
    FaultProxy(const FaultProxy&) = delete;
    FaultProxy& operator=(const FaultProxy&) = delete;
    ~FaultProxy();

    /// A connection string for `database` through the proxy; without encryption, for it to read.
    std::string dsn(std::string_view database = "postgres") const {
        return server_.tcp_dsn(database) + " port=" + std::to_string(port());
    }
    std::uint16_t port() const { return endpoint_.port(); }

    ProxyCounts counts() const { return tally_.get(); }
    std::int64_t round_trips() const { return counts().round_trips; }
    std::int64_t connections() const { return counts().connections; }
    std::int64_t cancel_requests() const { return counts().cancel_requests; }
    std::vector<std::string> statements() const { return counts().statements; }
    /// How many messages of this type clients have sent: 'P' Parse, 'B' Bind, 'S' Sync, 'Q' Query.
    std::int64_t sent(char type) const { return counts().sent[type]; }
    void reset_counts();

    /// Close every connection now; armed: when its moment comes.
    void cut() { close_all(Deed::cut); }
    void reset() { close_all(Deed::reset); }
    void cut(When when) { arm({Deed::cut, std::move(when)}); }
    void reset(When when) { arm({Deed::reset, std::move(when)}); }

    /// Pass nothing on in this direction, of any connection; armed: of that one, either way.
    void stall(Direction direction);
    void stall(When when) { arm({Deed::stall, std::move(when)}); }

    /// The same, but what is sent is lost instead of waiting for `resume`.
    void swallow(Direction direction);
    void swallow(When when) { arm({Deed::swallow, std::move(when)}); }

    /// From now on be as a pooler that cannot pipeline: a connection on which a statement comes before the
    /// last one is answered hangs for good.
    void stall_pipelines();

    /// From now on garble statements that end like this, so that the server refuses them; none, if it
    /// is empty.
    void garble(std::string_view ending);

    /// Pass everything on that much later.
    void delay(Direction direction, std::chrono::milliseconds by);

    /// End every stall, swallowing and delay; what was stalled passes now.
    void resume();

    /// Refuse to be connected to, as if nobody listened; existing connections go on.
    void refuse_connections();
    void accept_connections();

    /// Forget the armed faults that have not struck.
    void disarm();

    /// Wait until every armed fault has struck, and its connections are closed if that is its deed.
    void await_fault() const;

    /// Wait until `condition(const ProxyCounts&)` holds; `what` is for the error if it never does.
    template <class Condition>
    void await(const std::string& what, Condition condition) const {
        tally_.await(what, condition);
    }

private:
    using Acceptor = asio::ip::tcp::acceptor;

    /// Run `action` in the proxy's thread and wait for it.
    template <class Action>
    void perform(Action action);
    void listen();
    void accept_next();
    void arm(Fault fault);
    void close_all(Deed how);
    template <class Visit>
    void for_each_connection(Visit visit);

    const txscope::TemporaryPostgres& server_;
    Tally tally_;
    FaultPlan plan_;
    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
    asio::ip::tcp::endpoint endpoint_;
    Acceptor acceptor_{io_};
    std::vector<std::shared_ptr<ProxiedConnection>> connections_;
    std::thread thread_;
};

inline FaultProxy::FaultProxy(const txscope::TemporaryPostgres& server) : server_{server} {
    // The port must be ours again after refuse_connections, so it is no ephemeral one.
    for (int attempt = 1; !acceptor_.is_open(); ++attempt) {
        endpoint_ = {asio::ip::address_v4::loopback(), txscope::detail::find_free_port()};
        try {
            listen();
        } catch (const boost::system::system_error&) {
            acceptor_.close();
            if (attempt == 10) throw;
        }
    }
    accept_next();
    thread_ = std::thread{[this] { io_.run(); }};
}

inline FaultProxy::~FaultProxy() {
    io_.stop();
    thread_.join();
}

inline void FaultProxy::reset_counts() {
    tally_.update([](ProxyCounts& counts) {
        ProxyCounts fresh;
        fresh.most_unanswered = counts.most_unanswered;
        fresh.open = counts.open;
        fresh.armed = counts.armed;
        fresh.struck = counts.struck;
        counts = std::move(fresh);
    });
}

inline void FaultProxy::stall(Direction direction) {
    perform([&] { plan_.conditions(direction).stalled = true; });
}

inline void FaultProxy::stall_pipelines() {
    perform([&] { plan_.pipelines_stall = true; });
}

inline void FaultProxy::garble(std::string_view ending) {
    perform([&] { plan_.garbled = ending; });
}

inline void FaultProxy::swallow(Direction direction) {
    perform([&] { plan_.conditions(direction).swallowed = true; });
}

inline void FaultProxy::delay(Direction direction, std::chrono::milliseconds by) {
    perform([&] { plan_.conditions(direction).delay = by; });
}

inline void FaultProxy::resume() {
    perform([&] {
        for (const Direction direction : {Direction::to_server, Direction::to_client})
            plan_.conditions(direction) = {};
        for_each_connection([](ProxiedConnection& connection) { connection.resume(); });
    });
}

inline void FaultProxy::refuse_connections() {
    perform([&] { acceptor_.close(); });
}

inline void FaultProxy::accept_connections() {
    perform([&] {
        if (acceptor_.is_open()) return;
        listen();
        accept_next();
    });
}

inline void FaultProxy::disarm() {
    perform([&] {
        const std::size_t forgotten = plan_.disarm();
        tally_.update(
            [&](ProxyCounts& counts) { counts.armed -= static_cast<std::int64_t>(forgotten); });
    });
}

inline void FaultProxy::await_fault() const {
    await("an armed fault to strike",
          [](const ProxyCounts& counts) { return counts.struck == counts.armed; });
}

template <class Action>
void FaultProxy::perform(Action action) {
    // In a closure: for Asio a task by itself is a completion token.
    const auto task = std::make_shared<std::packaged_task<void()>>(std::move(action));
    std::future<void> done = task->get_future();
    asio::post(io_, [task] { (*task)(); });
    if (done.wait_for(patience) != std::future_status::ready)
        throw std::runtime_error{"the proxy's thread hangs"};
    done.get();
}

inline void FaultProxy::listen() {
    acceptor_.open(endpoint_.protocol());
    acceptor_.set_option(Acceptor::reuse_address{true});
    acceptor_.bind(endpoint_);
    acceptor_.listen();
}

inline void FaultProxy::accept_next() {
    acceptor_.async_accept([this](boost::system::error_code error, asio::ip::tcp::socket client) {
        if (error == asio::error::operation_aborted) return;
        if (!error) {
            const auto connection =
                std::make_shared<ProxiedConnection>(std::move(client), plan_, tally_);
            std::erase_if(connections_, [](const auto& other) { return other->closed(); });
            connections_.push_back(connection);
            connection->start({asio::ip::address_v4::loopback(), server_.port()});
        }
        accept_next();
    });
}

inline void FaultProxy::arm(Fault fault) {
    tally_.update([](ProxyCounts& counts) { ++counts.armed; });
    perform([&] { plan_.arm(std::move(fault)); });
}

inline void FaultProxy::close_all(Deed how) {
    perform([&] {
        for_each_connection([how](ProxiedConnection& connection) { connection.close(how); });
    });
}

template <class Visit>
void FaultProxy::for_each_connection(Visit visit) {
    for (const auto& connection : connections_)
        if (!connection->closed()) visit(*connection);
}

}  // namespace support
