#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <libpq-fe.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

struct ssl_st;  // what OpenSSL calls SSL, without its headers

namespace txscope::detail {

/// Carries the bytes of a connection that libpq has opened, over its socket or its TLS, without
/// waiting. libpq goes on to own both, and closes them.
class Transport {
public:
    /// What has come of sending or receiving.
    struct Transfer {
        std::size_t bytes = 0;
        bool blocked = false;  ///< The socket takes, or has, no more for now.
        bool lost = false;     ///< The connection is: see `error`.
    };

    /// @throws ConnectionFailed where libpq has read what is not its own
    explicit Transport(Native<PGconn> connection);

    [[nodiscard]] Transfer send(std::string_view bytes);
    [[nodiscard]] Transfer receive(std::span<char> space);

    /// Whether TLS has something of its own to send before it can go on.
    [[nodiscard]] bool wants_to_send() const noexcept { return wants_to_send_; }
    [[nodiscard]] bool encrypted() const noexcept { return tls_ != nullptr; }
    /// Why the connection is lost.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

    [[nodiscard]] PGconn* native() const noexcept { return connection_.get(); }

private:
    Transfer failed(const char* what, int code);
    Transfer closed_by_server() {
        error_ = "the server closed the connection unexpectedly";
        return {.lost = true};
    }
    Transfer take_tls(const char* what, int returned);

    Native<PGconn> connection_;
    int socket_;
    ssl_st* tls_;
    bool wants_to_send_ = false;
    std::string error_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/tls.hpp>

#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

namespace txscope::detail {

TXSCOPE_INLINE Transport::Transport(Native<PGconn> connection)
    : connection_{std::move(connection)}, socket_{PQsocket(native())}, tls_{tls_of(native())} {
    // Else PQfinish would wait until the socket takes its Terminate.
    if (PQsetnonblocking(native(), 1) != 0)
        throw ConnectionFailed{one_line(PQerrorMessage(native()))};
    // What libpq has read already it hands out; a part of a message would be missed, but what
    // follows it is no message then.
    if (PQconsumeInput(native()) == 0 || PQisBusy(native()) != 0)
        throw ConnectionFailed{one_line(PQerrorMessage(native()))};
    // As a socket does: a part may be taken, and the rest may have moved when it is sent.
    if (tls_ != nullptr)
        SSL_set_mode(tls_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

TXSCOPE_INLINE Transport::Transfer Transport::send(std::string_view bytes) {
    if (tls_ != nullptr) {
        ERR_clear_error();
        const auto size = std::min<std::size_t>(bytes.size(), std::numeric_limits<int>::max());
        return take_tls("could not send", SSL_write(tls_, bytes.data(), static_cast<int>(size)));
    }
    for (;;) {
        const ssize_t sent =
            ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return {.bytes = static_cast<std::size_t>(sent)};
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {.blocked = true};
        if (errno != EINTR) return failed("could not send", errno);
    }
}

TXSCOPE_INLINE Transport::Transfer Transport::receive(std::span<char> space) {
    if (tls_ != nullptr) {
        ERR_clear_error();
        const auto size = std::min<std::size_t>(space.size(), std::numeric_limits<int>::max());
        return take_tls("could not receive", SSL_read(tls_, space.data(), static_cast<int>(size)));
    }
    for (;;) {
        const ssize_t received = ::recv(socket_, space.data(), space.size(), MSG_DONTWAIT);
        if (received > 0) return {.bytes = static_cast<std::size_t>(received)};
        if (received == 0) return closed_by_server();
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {.blocked = true};
        if (errno != EINTR) return failed("could not receive", errno);
    }
}

TXSCOPE_INLINE Transport::Transfer Transport::take_tls(const char* what, int returned) {
    const int code = errno;
    wants_to_send_ = false;
    if (returned > 0) return {.bytes = static_cast<std::size_t>(returned)};
    switch (SSL_get_error(tls_, returned)) {
        case SSL_ERROR_WANT_READ:
            return {.blocked = true};
        case SSL_ERROR_WANT_WRITE:
            wants_to_send_ = true;
            return {.blocked = true};
        case SSL_ERROR_ZERO_RETURN:
            return closed_by_server();
        case SSL_ERROR_SYSCALL:
            return code == 0 ? closed_by_server() : failed(what, code);
        default: {
            const char* const reason = ERR_reason_error_string(ERR_get_error());
            error_ = std::string{"TLS failed: "} + (reason != nullptr ? reason : "no reason given");
            return {.lost = true};
        }
    }
}

TXSCOPE_INLINE Transport::Transfer Transport::failed(const char* what, int code) {
    error_ = std::string{what} + " data: " + std::generic_category().message(code);
    return {.lost = true};
}

}  // namespace txscope::detail

#endif
