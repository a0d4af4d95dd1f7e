#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/write.hpp>

#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

namespace txscope::detail {

namespace asio = boost::asio;

/// A network between a program and its server that can be cut: what it holds then is lost.
///
/// It runs on the program's own `io_context`, so that each hop of each message is a step of it.
class Relay {
public:
    using Server = asio::generic::stream_protocol;

    Relay(asio::io_context& io, Server::endpoint server)
        : acceptor_{io, {asio::ip::address_v4::loopback(), 0}}, server_{std::move(server)} {
        asio::co_spawn(io, accept(), asio::detached);
    }
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

    /// Resets every connection; later ones pass.
    void cut() {
        for (const auto& passing : std::exchange(links_, {}))
            if (const auto link = passing.lock()) link->reset();
    }

private:
    struct Link {
        asio::ip::tcp::socket client;
        Server::socket server;

        void reset() {
            boost::system::error_code ignored;
            client.set_option(asio::socket_base::linger{true, 0}, ignored);
            server.set_option(asio::socket_base::linger{true, 0}, ignored);
            close();
        }
        void close() {
            boost::system::error_code ignored;
            client.close(ignored);
            server.close(ignored);
        }
    };

    asio::awaitable<void> accept();
    static asio::awaitable<void> connect(std::shared_ptr<Link> link, Server::endpoint server);
    template <typename From, typename To>
    static asio::awaitable<void> pass(std::shared_ptr<Link> link, From& from, To& to);

    asio::ip::tcp::acceptor acceptor_;
    const Server::endpoint server_;
    std::list<std::weak_ptr<Link>> links_;
};

inline asio::awaitable<void> Relay::accept() {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    for (;;) {
        const auto link =
            std::make_shared<Link>(asio::ip::tcp::socket{executor}, Server::socket{executor});
        co_await acceptor_.async_accept(link->client, asio::deferred);
        std::erase_if(links_, [](const auto& passing) { return passing.expired(); });
        links_.push_back(link);
        asio::co_spawn(executor, connect(link, server_), asio::detached);
    }
}

inline asio::awaitable<void> Relay::connect(std::shared_ptr<Link> link, Server::endpoint server) {
    const auto [error] =
        co_await link->server.async_connect(server, asio::as_tuple(asio::deferred));
    if (error) co_return link->close();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    asio::co_spawn(executor, pass(link, link->client, link->server), asio::detached);
    asio::co_spawn(executor, pass(link, link->server, link->client), asio::detached);
}

/// Until one side has ended, which ends the other.
template <typename From, typename To>
asio::awaitable<void> Relay::pass(std::shared_ptr<Link> link, From& from, To& to) {
    std::vector<char> bytes(std::size_t{1} << 14);
    for (;;) {
        const auto [read_error, size] =
            co_await from.async_read_some(asio::buffer(bytes), asio::as_tuple(asio::deferred));
        if (read_error) co_return link->close();
        const auto [write_error, written] = co_await asio::async_write(
            to, asio::buffer(bytes, size), asio::as_tuple(asio::deferred));
        if (write_error) co_return link->close();
    }
}

}  // namespace txscope::detail
