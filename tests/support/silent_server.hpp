#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <string>

namespace support {

/// An address that can be connected to and never says a word.
class SilentServer {
public:
    explicit SilentServer(const std::string& address = "127.0.0.1")
        : acceptor_{io_, {boost::asio::ip::make_address(address), 0}} {}

    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    std::string dsn() const {
        return "host=" + acceptor_.local_endpoint().address().to_string() +
               " port=" + std::to_string(port()) +
               " user=postgres sslmode=disable gssencmode=disable";
    }

private:
    boost::asio::io_context io_;
    boost::asio::ip::tcp::acceptor acceptor_;  // the kernel accepts on its behalf
};

/// A port of 127.0.0.1 at which nobody listens, for as long as this lives.
class DeadPort {
public:
    DeadPort() : socket_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}} {}
    std::uint16_t port() const { return socket_.local_endpoint().port(); }
    std::string dsn() const {
        return "host=127.0.0.1 port=" + std::to_string(port()) +
               " user=postgres sslmode=disable gssencmode=disable";
    }

private:
    boost::asio::io_context io_;
    boost::asio::ip::tcp::socket socket_;  // bound, so that nobody else takes the port
};

}  // namespace support
