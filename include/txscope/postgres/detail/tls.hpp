#pragma once

#include <libpq-fe.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

/// What libpq does not tell of a connection over TLS, asked of OpenSSL itself.
namespace txscope::detail {

inline SSL* tls_of(PGconn* connection) noexcept {
    return static_cast<SSL*>(PQsslStruct(connection, "OpenSSL"));
}

/// Whether OpenSSL holds bytes that it has decrypted and libpq has not taken: the socket announces
/// none of them.
inline bool holds_decrypted(PGconn* connection) noexcept {
    const SSL* const tls = tls_of(connection);
    return tls != nullptr && SSL_pending(tls) > 0;
}

/// The handshake of a connection that is being opened. libpq lets go of it when it fails.
using Handshake = std::shared_ptr<SSL>;

inline Handshake handshake_of(PGconn* connection) {
    SSL* const tls = tls_of(connection);
    if (tls != nullptr) SSL_up_ref(tls);
    return {tls, [](SSL* held) { SSL_free(held); }};
}

/// What is wrong with the server's certificate; empty if that is not the trouble.
inline std::string certificate_error(const Handshake& handshake) {
    if (!handshake || SSL_get_verify_mode(handshake.get()) == SSL_VERIFY_NONE) return {};
    const long found = SSL_get_verify_result(handshake.get());
    return found == X509_V_OK ? "" : X509_verify_cert_error_string(found);
}

}  // namespace txscope::detail
