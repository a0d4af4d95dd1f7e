#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <libpq-fe.h>

#include <sys/types.h>

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
        bool more = false;     ///< There is more to be received, or the connection's end.
        bool lost = false;     ///< The connection is: see `error`.
    };

    /// @throws ConnectionFailed where libpq has read what is not its own
    explicit Transport(Native<PGconn> connection);

    [[nodiscard]] Transfer send(std::string_view bytes);
    [[nodiscard]] Transfer receive(std::span<char> space);

    /// Whether TLS has something of its own to send before it can go on.
    [[nodiscard]] bool wants_to_send() const noexcept { return wants_to_send_; }
    /// Why the connection is lost.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

    [[nodiscard]] PGconn* native() const noexcept { return connection_.get(); }

private:
    Transfer failed(const char* what, int code);
    ssize_t receive_from_socket(std::span<char> space, bool& more) const noexcept;
    Transfer closed_by_server() {
        error_ = "the server closed the connection unexpectedly";
        return {.lost = true};
    }
    Transfer take_tls(const char* what, int returned);

    Native<PGconn> connection_;
    int socket_;
    ssl_st* tls_;
    bool wants_to_send_ = false;
    bool tells_more_ = false;  // the kernel, with what it has received
    std::string error_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/tls.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>

namespace txscope::detail {

TXSCOPE_INLINE Transport::Transport(Native<PGconn> connection)
    : connection_{std::move(connection)}, socket_{PQsocket(native())}, tls_{tls_of(native())} {
    // Else PQfinish would wait until the socket takes its Terminate.
    if (PQsetnonblocking(native(), 1) != 0)
        throw ConnectionFailed{one_line(PQerrorMessage(native())), {.is_transient = true}};
    // What libpq has read already it hands out; a part of a message would be missed, but what
    // follows it is no message then.
    if (PQconsumeInput(native()) == 0 || PQisBusy(native()) != 0)
        throw ConnectionFailed{one_line(PQerrorMessage(native())), {.is_transient = true}};
    // As a socket does: a part may be taken, and the rest may have moved when it is sent.
    if (tls_ != nullptr)
        SSL_set_mode(tls_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
#ifdef TCP_INQ
    const int on = 1;
    tells_more_ =
        tls_ == nullptr && ::setsockopt(socket_, IPPROTO_TCP, TCP_INQ, &on, sizeof on) == 0;
#endif
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
        bool more = false;
        const ssize_t received = receive_from_socket(space, more);
        if (received > 0) return {.bytes = static_cast<std::size_t>(received), .more = more};
        if (received == 0) return closed_by_server();
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {.blocked = true};
        if (errno != EINTR) return failed("could not receive", errno);
    }
}

/// What fills the space may not be all. The end, which may have come along with the last bytes and is
/// not announced again, only Linux tells, of TCP; elsewhere it shows when something is sent, unless the
/// server's side has been closed for sending alone.
TXSCOPE_INLINE ssize_t Transport::receive_from_socket(std::span<char> space,
                                                      bool& more) const noexcept {
    ssize_t received = 0;
#ifdef TCP_INQ
    if (tells_more_) {
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control;
        iovec into{space.data(), space.size()};
        msghdr message{};
        message.msg_iov = &into;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        received = ::recvmsg(socket_, &message, MSG_DONTWAIT);
        const cmsghdr* const told = received > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
        int left = 0;
        if (told != nullptr && told->cmsg_level == IPPROTO_TCP && told->cmsg_type == TCP_CM_INQ)
            std::memcpy(&left, CMSG_DATA(told), sizeof left);
        more = left > 0;
    } else
#endif
        received = ::recv(socket_, space.data(), space.size(), MSG_DONTWAIT);
    more |= received == static_cast<ssize_t>(space.size());
    return received;
}

TXSCOPE_INLINE Transport::Transfer Transport::take_tls(const char* what, int returned) {
    const int code = errno;
    wants_to_send_ = false;
    // A record may have been decrypted that the socket does not announce.
    if (returned > 0) return {.bytes = static_cast<std::size_t>(returned), .more = true};
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
