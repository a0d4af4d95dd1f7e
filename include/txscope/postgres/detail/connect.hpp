#pragma once

#include <txscope/net/descriptor.hpp>
#include <txscope/postgres/detail/connect_failure.hpp>
#include <txscope/postgres/detail/conninfo.hpp>
#include <txscope/postgres/detail/resolve.hpp>
#include <txscope/postgres/detail/tls.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <new>
#include <system_error>
#include <vector>

namespace txscope::detail {

/// Starts to connect to the servers of `info`, without blocking.
inline Native<PGconn> start_connecting(ConnInfo& info) {
    info.add("fallback_application_name", "txscope");
    if (!info.servers.empty()) {
        const auto joined = [&](std::string ServerAddress::* member) {
            std::string list;
            for (const ServerAddress& server : info.servers) list += server.*member + ',';
            list.pop_back();
            return list;
        };
        info.parameters["host"] = joined(&ServerAddress::host);
        info.parameters["hostaddr"] = joined(&ServerAddress::address);
        info.parameters["port"] = joined(&ServerAddress::port);
    }
    std::vector<const char*> keys;
    std::vector<const char*> values;
    for (const auto& [key, value] : info.parameters) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    Native<PGconn> connection{PQconnectStartParams(keys.data(), values.data(), 0)};
    if (!connection) throw std::bad_alloc{};
    // Notices would go to the standard error stream.
    PQsetNoticeReceiver(connection.get(), [](void*, const PGresult*) {}, nullptr);
    PQsetErrorVerbosity(connection.get(), PQERRORS_VERBOSE);  // see connect_failure
    return connection;
}

/// How long one server may take: `connect_timeout` (in seconds; 0 or absent: its share of the time),
/// which libpq leaves to the program when it connects without blocking.
/// @throws ConnectionFailed when it is no number
inline std::optional<std::chrono::seconds> connect_timeout(const ConnInfo& info) {
    constexpr std::string_view blanks = " \t\n\v\f\r";  // libpq reads past them
    std::string text{info.find("connect_timeout").value_or("")};
    text.erase(text.find_last_not_of(blanks) + 1);
    text.erase(0, text.find_first_not_of(blanks));
    if (text.empty()) return std::nullopt;
    int seconds = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, seconds);
    if (read.ec != std::errc{} || read.ptr != end)
        throw malformed_conninfo("connect_timeout is no number of seconds");
    if (seconds <= 0) return std::nullopt;
    return std::chrono::seconds{seconds};
}

/// Whether `server` is the one that libpq calls `current`.
inline bool is_the_same(const ServerAddress& server, const ServerAddress& current) {
    return server.port == current.port && (server.host.empty() || server.host == current.host) &&
           (server.address.empty() || server.address == current.address);
}

/// When to give up `current`, one of `servers`, so that each behind it has as much time as it had: one
/// that is silent must not take the time of all.
inline Clock::time_point end_of_share(const std::vector<ServerAddress>& servers,
                                      const ServerAddress& current, Clock::time_point deadline) {
    const auto at = std::find_if(servers.begin(), servers.end(), [&](const ServerAddress& server) {
        return is_the_same(server, current);
    });
    const auto now = Clock::now();
    return now + (deadline - now) / std::max<std::ptrdiff_t>(servers.end() - at, 1);
}

/// Takes the server that libpq calls `current` out of `info`.
inline void pass_over(ConnInfo& info, const ServerAddress& current) {
    const auto found = std::erase_if(
        info.servers, [&](const ServerAddress& server) { return is_the_same(server, current); });
    // Two may write the same address in two ways; the first is the likeliest to be meant.
    if (found == 0 && !info.servers.empty()) info.servers.erase(info.servers.begin());
}

/// A connection to the first of the servers that takes us, before `deadline`.
///
/// @throws ConnectionFailed with libpq's reason.
TXSCOPE_LAZY inline asio::awaitable<Native<PGconn>> connect(asio::any_io_executor executor,
                                                            std::string conninfo,
                                                            Clock::time_point deadline) {
    using Socket = asio::posix::descriptor_base;
    ConnInfo info = parse_conninfo(conninfo);
    const auto patience = connect_timeout(info);
    const auto by_patience = [&] {
        return patience ? std::min(deadline, Clock::now() + *patience) : deadline;
    };
    const auto resolved_by = by_patience();
    co_await resolve_hosts(executor, info, resolved_by);
    const auto give_up_at = [&](const ServerAddress& current) {
        return patience ? by_patience() : end_of_share(info.servers, current, deadline);
    };
    for (;;) {
        Native<PGconn> connection = start_connecting(info);
        auto phase = PGRES_POLLING_WRITING;
        ServerAddress server = current_server(connection.get());
        Handshake handshake;
        bool tls_answered = false;
        auto give_up = give_up_at(server);
        while (phase != PGRES_POLLING_OK) {
            if (PQstatus(connection.get()) == CONNECTION_BAD || phase == PGRES_POLLING_FAILED)
                throw connect_failure(connection.get(), info.servers, handshake, tls_answered);
            if (const auto current = current_server(connection.get()); current != server) {
                server = current;
                give_up = give_up_at(server);
            }
            bool ready = phase == PGRES_POLLING_READING && holds_decrypted(connection.get());
            if (!ready) {  // the socket may be another after every poll
                const auto what =
                    phase == PGRES_POLLING_WRITING ? Socket::wait_write : Socket::wait_read;
                ready =
                    co_await wait_until_ready(executor, PQsocket(connection.get()), what, give_up);
            }
            if (!ready && Clock::now() < give_up)
                throw boost::system::system_error{asio::error::operation_aborted};
            if (!ready) break;
            handshake = handshake_of(connection.get());
            tls_answered = PQstatus(connection.get()) == CONNECTION_SSL_STARTUP &&
                           has_spoken(PQsocket(connection.get()));
            phase = PQconnectPoll(connection.get());
        }
        // libpq does not tell what it has decrypted and not handed out: an answer could stay there.
        if (phase == PGRES_POLLING_OK && PQgssEncInUse(connection.get()) != 0)
            throw ConnectionFailed{"encryption by GSS is not supported: set gssencmode=disable"};
        if (phase == PGRES_POLLING_OK) {
            PQsetErrorVerbosity(connection.get(), PQERRORS_DEFAULT);
            co_return connection;
        }

        // That server does not answer: on to the others.
        pass_over(info, server);
        if (info.servers.empty() || Clock::now() >= deadline) throw no_answer(server);
    }
}

}  // namespace txscope::detail
