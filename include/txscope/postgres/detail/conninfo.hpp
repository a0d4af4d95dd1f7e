#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

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
        std::string reason = one_line(complaint != nullptr ? complaint : "out of memory");
        // libpq quotes a URI whole, its password included.
        if (const auto quoted = reason.find(text); !text.empty() && quoted != reason.npos)
            reason.replace(quoted, text.size(), "…");
        throw ConnectionFailed{"malformed connection string: " + reason};
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

}  // namespace txscope::detail
