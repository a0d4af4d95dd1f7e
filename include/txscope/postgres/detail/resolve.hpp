#pragma once

#include <txscope/net/notification.hpp>
#include <txscope/postgres/detail/conninfo.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/udp.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

// A name leads to the same addresses for every protocol; UDP's header compiles quickest.
using Resolver = asio::ip::udp::resolver;

/// A host name being looked up; shared by who asked and by the answer, which may come too late.
struct Lookup {
    explicit Lookup(const asio::any_io_executor& executor) : resolver{executor} {}
    Resolver resolver;
    Resolver::results_type found{};
    std::string failure = "no answer within the time allowed";
    bool may_be_found_later = true;
};

/// The addresses of `host`, as known by `deadline`; else `failure` says why there are none.
///
/// The system's look-up blocks a thread of Asio's and cannot be interrupted: it is left behind.
TXSCOPE_LAZY inline asio::awaitable<std::shared_ptr<const Lookup>> look_up(
    asio::any_io_executor executor, std::string host,
    std::chrono::steady_clock::time_point deadline) {
    const auto lookup = std::make_shared<Lookup>(executor);
    Notification done{executor};
    const auto found = [lookup, notify = done.sender()](boost::system::error_code error,
                                                        Resolver::results_type addresses) {
        lookup->found = std::move(addresses);
        lookup->failure = error.message();
        lookup->may_be_found_later = error != asio::error::host_not_found;
        notify();
    };
    lookup->resolver.async_resolve(host, "", found);
    while (!done.sent() && std::chrono::steady_clock::now() < deadline)
        co_await done.wait(deadline);
    if (done.sent()) co_return lookup;
    co_return std::make_shared<Lookup>(executor);
}

/// `text` as libpq writes addresses; empty when it is none.
inline std::string as_address(const std::string& text) {
    boost::system::error_code error;
    const auto address = asio::ip::make_address(text, error);
    return error ? "" : address.to_string();
}

/// Fills `info.servers`: an entry for every address of every host, in the order given.
///
/// @throws ConnectionFailed when no host has an address.
TXSCOPE_LAZY inline asio::awaitable<void> resolve_hosts(
    asio::any_io_executor executor, ConnInfo& info,
    std::chrono::steady_clock::time_point deadline) {
    const std::string_view host_list = info.find("host").value_or("");
    const std::string_view address_list = info.find("hostaddr").value_or("");
    if (host_list.empty() && address_list.empty()) co_return;
    const auto hosts = split_list(host_list.empty() ? address_list : host_list);
    const auto addresses =
        address_list.empty() ? std::vector<std::string>(hosts.size()) : split_list(address_list);
    const auto ports = split_list(info.find("port").value_or(""));
    // libpq says best what is wrong with lists of unequal length.
    if (addresses.size() != hosts.size() || (ports.size() != 1 && ports.size() != hosts.size()))
        co_return;

    std::string failures;
    ConnectionFailed::Cause cause;
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        const std::string& host = hosts[i];
        std::string port = ports[ports.size() == 1 ? 0 : i];
        if (port.empty()) port = "5432";
        const bool local = host.empty() || host.front() == '/' || host.front() == '@';
        const std::string& given = addresses[i].empty() ? host : addresses[i];
        const std::string address = as_address(given);
        if (local || !addresses[i].empty() || !address.empty()) {
            const bool odd = address.empty() && !addresses[i].empty();  // libpq will complain of it
            info.servers.push_back(ServerAddress{host, odd ? given : address, port});
            continue;
        }
        const auto lookup = co_await look_up(executor, host, deadline);
        for (const auto& entry : lookup->found) {
            ServerAddress server{host, entry.endpoint().address().to_string(), port};
            info.servers.push_back(std::move(server));
        }
        if (!lookup->found.empty()) continue;
        failures += "could not look up host \"" + host + "\": " + lookup->failure + "; ";
        cause.is_transient = cause.is_transient || lookup->may_be_found_later;
    }
    if (info.servers.empty())
        throw ConnectionFailed{failures.substr(0, failures.size() - 2), cause};
}

}  // namespace txscope::detail
