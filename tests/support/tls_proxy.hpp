#pragma once

#include "support/certificates.hpp"
#include "support/wire.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace support {

namespace asio = boost::asio;

/// Ends TLS in front of a server, as proxies of cloud providers do: an answer goes out as a whole,
/// in records of 16 KB, where PostgreSQL itself makes records of no more than 8 KB.
///
///     support::TlsProxy proxy{support::server()};
///     txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name())};
///
/// Runs in a thread of its own. Whoever it serves has its answers up to a ReadyForQuery at once.
class TlsProxy {
public:
    explicit TlsProxy(const txscope::TemporaryPostgres& server) : server_{server} {
        const Certificate own = Authority{}.issue("localhost");
        context_.use_certificate_chain(asio::buffer(own.certificate));
        context_.use_private_key(asio::buffer(own.key), asio::ssl::context::pem);
        asio::co_spawn(io_, accept(), asio::detached);
        thread_ = std::thread{[this] { io_.run(); }};
    }
    TlsProxy(const TlsProxy&) = delete;
    ~TlsProxy() {
        io_.stop();
        thread_.join();
    }

    std::string dsn(std::string_view database = "postgres") const {
        return server_.tcp_dsn(database) +
               " sslmode=require port=" + std::to_string(acceptor_.local_endpoint().port());
    }

private:
    using Socket = asio::ip::tcp::socket;
    using Stream = asio::ssl::stream<Socket>;

    asio::awaitable<void> accept() {
        for (;;) {
            Socket client = co_await acceptor_.async_accept(asio::use_awaitable);
            asio::co_spawn(io_, serve(std::move(client)), asio::detached);
        }
    }

    asio::awaitable<void> serve(Socket client) {
        using namespace asio::experimental::awaitable_operators;
        client.set_option(asio::ip::tcp::no_delay{true});
        std::array<char, 8> request{};  // for TLS; there is none else that a client begins with
        co_await asio::async_read(client, asio::buffer(request), asio::use_awaitable);
        co_await asio::async_write(client, asio::buffer("S", 1), asio::use_awaitable);
        Stream stream{std::move(client), context_};
        co_await stream.async_handshake(Stream::server, asio::use_awaitable);
        Socket server{io_};
        co_await server.async_connect({asio::ip::address_v4::loopback(), server_.port()},
                                      asio::use_awaitable);
        server.set_option(asio::ip::tcp::no_delay{true});
        co_await (pass_requests(stream, server) || pass_answers(server, stream));
    }

    static asio::awaitable<void> pass_requests(Stream& from, Socket& to) {
        std::string buffer(1 << 16, '\0');
        for (;;) {
            const auto size =
                co_await from.async_read_some(asio::buffer(buffer), asio::use_awaitable);
            co_await asio::async_write(to, asio::buffer(buffer, size), asio::use_awaitable);
        }
    }

    static asio::awaitable<void> pass_answers(Socket& from, Stream& to) {
        std::string buffer(1 << 16, '\0');
        std::string answer;
        wire::Framer framer{true};
        for (;;) {
            const auto size =
                co_await from.async_read_some(asio::buffer(buffer), asio::use_awaitable);
            answer.append(buffer, 0, size);
            framer.feed(std::string_view{buffer}.substr(0, size));
            bool whole = false;
            while (const auto message = framer.next())
                whole = message->type == 'Z' || message->type == 'R';
            if (!whole) continue;
            co_await asio::async_write(to, asio::buffer(answer), asio::use_awaitable);
            answer.clear();
        }
    }

    const txscope::TemporaryPostgres& server_;
    asio::io_context io_{1};
    asio::ssl::context context_{asio::ssl::context::tls_server};
    asio::ip::tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
    std::thread thread_;
};

}  // namespace support
