#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

namespace asio = boost::asio;

/// One address that a connection string leads to.
struct ServerAddress {
    std::string host;
    std::string address;  ///< Numeric; empty for a Unix socket.
    std::string port;

    bool operator==(const ServerAddress&) const = default;
};

/// A connection string taken apart, with the hosts looked up.
///
/// libpq looks names up with a blocking call, so it is handed addresses (`hostaddr`) instead. It
/// goes through several of them by itself, and so keeps the meaning of `target_session_attrs`.
/// Source: PostgreSQL manual, "Parameter Key Words" and "Specifying Multiple Hosts".
struct ConnInfo {
    std::map<std::string, std::string, std::less<>> parameters;
    std::vector<ServerAddress> servers;  ///< Empty: libpq is to find them by itself.

    std::optional<std::string> find(std::string_view key) const {
        const auto found = parameters.find(key);
        return found == parameters.end() ? std::nullopt : std::optional{found->second};
    }
};

inline std::vector<std::string> split_list(std::string_view list) {
    std::vector<std::string> items{""};
    for (const char c : list) {
        if (c == ',')
            items.emplace_back();
        else
            items.back() += c;
    }
    return items;
}

/// @throws ConnectionFailed when libpq cannot read the string.
inline ConnInfo parse_conninfo(const std::string& text) {
    char* complaint = nullptr;
    const Native<PQconninfoOption> given{PQconninfoParse(text.c_str(), &complaint)};
    const Native<char> complaint_owner{complaint};
    if (!given) {
        throw ConnectionFailed{"malformed connection string: " +
                               std::string{complaint != nullptr ? complaint : "out of memory"}};
    }
    ConnInfo info;
    for (const PQconninfoOption* option = given.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr) info.parameters.emplace(option->keyword, option->val);

    // Where the string is silent the environment speaks (PGHOST, PGPORT). A service file is left to
    // libpq.
    if (info.parameters.contains("service")) return info;
    const Native<PQconninfoOption> defaults{PQconndefaults()};
    for (const PQconninfoOption* option = defaults.get(); option && option->keyword; ++option) {
        const std::string_view key = option->keyword;
        if (option->val != nullptr && (key == "host" || key == "hostaddr" || key == "port"))
            info.parameters.emplace(key, option->val);
    }
    return info;
}

/// Fills `info.servers`: an entry for every address of every host, in the order given.
///
/// @throws ConnectionFailed when no host has an address.
inline asio::awaitable<void> resolve_hosts(asio::any_io_executor executor, ConnInfo& info) {
    const auto host_list = info.find("host");
    if (!host_list || host_list->empty()) co_return;
    const auto hosts = split_list(*host_list);
    const auto ports = split_list(info.find("port").value_or(""));
    const auto addresses =
        split_list(info.find("hostaddr").value_or(std::string(hosts.size() - 1, ',')));
    // libpq says best what is wrong with lists of unequal length.
    if (addresses.size() != hosts.size() || (ports.size() != 1 && ports.size() != hosts.size()))
        co_return;

    std::string failures;
    asio::ip::tcp::resolver resolver{executor};
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        const std::string& host = hosts[i];
        const std::string& port = ports[ports.size() == 1 ? 0 : i];
        const bool local = host.empty() || host.front() == '/' || host.front() == '@';
        if (local || !addresses[i].empty()) {
            info.servers.push_back(ServerAddress{host, addresses[i], port});
            continue;
        }
        auto [error, found] =
            co_await resolver.async_resolve(host, "", asio::as_tuple(asio::use_awaitable));
        if (error == asio::error::operation_aborted) throw boost::system::system_error{error};
        if (error) failures += "could not look up host \"" + host + "\": " + error.message() + "; ";
        for (const auto& entry : found) {
            ServerAddress server{host, entry.endpoint().address().to_string(), port};
            info.servers.push_back(std::move(server));
        }
    }
    if (info.servers.empty()) throw ConnectionFailed{failures.substr(0, failures.size() - 2)};
    co_return;
}

}  // namespace txscope::detail
