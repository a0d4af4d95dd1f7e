#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/conninfo.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/tls.hpp>

#include <libpq-fe.h>

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Why no connection could be opened. libpq keeps a server's refusal as a text only, so this is asked
/// for in its verbose form, which has the SQLSTATE in it.
namespace txscope::detail {

/// The server that libpq is trying at the moment.
inline ServerAddress current_server(const PGconn* connection) {
    const auto text = [](const char* part) { return std::string{part != nullptr ? part : ""}; };
    return {text(PQhost(connection)), text(PQhostaddr(connection)), text(PQport(connection))};
}

/// As libpq writes it.
inline std::string name_of(const ServerAddress& server) {
    const bool is_name = !server.address.empty() && server.address != server.host;
    return '"' + server.host + '"' + (is_name ? " (" + server.address + ')' : "") + ", port " +
           server.port;
}

inline ConnectionFailed no_answer(const ServerAddress& server) {
    return ConnectionFailed{"no answer from " + name_of(server) + ", within the time allowed",
                            {.is_transient = true}};
}

/// What libpq says of an attempt, on one line.
struct ConnectError {
    std::string text{};
    std::string sqlstate{};  ///< The last one in it; empty where no server spoke.
};

/// Takes the SQLSTATE out of a line such as `FATAL:  28P01: role "x" does not exist`.
inline std::string take_sqlstate(std::string& line) {
    constexpr std::string_view ahead = ":  ";
    constexpr std::string_view of_code = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (std::size_t at = line.find(ahead); at != line.npos; at = line.find(ahead, at + 1)) {
        const std::string code = line.substr(at + ahead.size(), 5);
        if (code.size() != 5 || code.find_first_not_of(of_code) != code.npos ||
            line.compare(at + ahead.size() + 5, 2, ": ") != 0)
            continue;
        line.erase(at + ahead.size(), 7);
        return code;
    }
    return {};
}

/// Whether a line tells where in the server's source an error was raised, in whatever language:
/// `LOCATION:  auth_failed, auth.c:331`.
inline bool is_source_place(std::string_view line) {
    const auto label = line.find(":  ");
    const auto number = line.rfind(':');
    if (label == line.npos || number <= label || number + 1 == line.size()) return false;
    const auto place = line.substr(0, number);
    return line.find(' ') == label + 1 && place.rfind('.') > place.rfind(' ') &&
           line.find_first_not_of("0123456789", number + 1) == line.npos;
}

inline ConnectError read_connect_error(std::string_view verbose) {
    ConnectError read;
    while (!verbose.empty()) {
        const auto end = std::min(verbose.find('\n'), verbose.size());
        std::string line{verbose.substr(0, end)};
        verbose.remove_prefix(std::min(end + 1, verbose.size()));
        if (is_source_place(line)) continue;
        if (auto code = take_sqlstate(line); !code.empty()) read.sqlstate = std::move(code);
        read.text += line + '\n';
    }
    read.text = one_line(read.text);
    return read;
}

/// Whether the server has said something that nobody has read yet.
inline bool has_spoken(int socket) noexcept {
    char next = 0;
    return ::recv(socket, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/// `text` with each server's name beside its address: libpq calls a server by the address, where it is
/// given one.
inline std::string with_names(std::string text, const std::vector<ServerAddress>& servers) {
    for (const ServerAddress& server : servers) {
        const std::string address = '"' + server.address + '"';
        if (server.host.empty() || server.address.empty() || server.host == server.address)
            continue;
        const std::string named = '"' + server.host + "\" (" + server.address + ')';
        for (std::size_t at = 0; (at = text.find(address, at)) != text.npos; at += named.size())
            text.replace(at, address.size(), named);
    }
    return text;
}

/// Why libpq gave up on `servers`. `tls_answered`: when one had just answered to TLS, so that libpq did
/// not like the answer.
inline ConnectionFailed connect_failure(PGconn* connection,
                                        const std::vector<ServerAddress>& servers,
                                        const Handshake& handshake, bool tls_answered) {
    ConnectError error = read_connect_error(PQerrorMessage(connection));
    const auto mentions = [&error](const std::string& part) {
        return !part.empty() && error.text.find(part) != error.text.npos;
    };
    const ServerAddress last = current_server(connection);
    // What names no server is about the connection string itself.
    const bool names_server =
        mentions(last.port) && (mentions(last.host) || mentions(last.address));
    // OpenSSL's word for a refusal of our certificate, which may come after the handshake.
    const bool tls_refused = handshake != nullptr && mentions(" alert ");
    const std::string untrusted = certificate_error(handshake);
    const bool is_transient = !error.sqlstate.empty()
                                  ? sqlstate::is_transient_refusal(error.sqlstate)
                                  : names_server && !tls_answered && !tls_refused &&
                                        untrusted.empty() &&
                                        PQconnectionNeedsPassword(connection) == 0;
    std::string text = with_names(std::move(error.text), servers);
    if (!untrusted.empty()) text += " (" + untrusted + ')';
    if (!error.sqlstate.empty()) text += " (SQLSTATE " + error.sqlstate + ')';
    return ConnectionFailed{text,
                            {.is_transient = is_transient, .sqlstate = std::move(error.sqlstate)}};
}

}  // namespace txscope::detail
