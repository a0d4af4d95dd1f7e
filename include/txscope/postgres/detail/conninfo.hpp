#pragma once

#include <txscope/core/detail/redaction.hpp>
#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
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

    /// Unless it is there.
    void add(std::string_view key, std::string_view value) {
        if (!find(key)) parameters[std::string{key}] = value;
    }
    std::optional<std::string_view> find(std::string_view key) const {
        const auto found = parameters.find(key);
        if (found == parameters.end()) return std::nullopt;
        return found->second;
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

/// The error about a connection string. It shows nothing of what is quoted: any part of the string
/// may belong to the password. Only a missing `"="` is what libpq itself says.
inline ConnectionFailed malformed_conninfo(std::string_view complaint) {
    const std::string reason = one_line(complaint);
    const std::size_t quote = reason.find('"');
    const std::size_t own = reason.find("\"=\"") == quote && quote != reason.npos ? quote + 3 : 0;
    Redaction rest{std::string_view{reason}.substr(own)};
    rest.hide_quotes_and_numbers();
    return ConnectionFailed{"malformed connection string: " + reason.substr(0, own) + rest.text()};
}

/// What libpq reads in a connection string: each keyword that it knows, with a value or null.
/// @throws ConnectionFailed when libpq cannot read the string.
inline Native<PQconninfoOption> read_conninfo(const std::string& text) {
    if (text.find('\0') != text.npos) throw malformed_conninfo("a NUL character in it");
    char* complaint = nullptr;
    Native<PQconninfoOption> given{PQconninfoParse(text.c_str(), &complaint)};
    const Native<char> complaint_owner{complaint};
    if (!given) throw malformed_conninfo(complaint != nullptr ? complaint : "out of memory");

    // A password in a URI runs over into these where its "@" or "/" is not written as %40 or %2F.
    if (!text.starts_with("postgres")) return given;
    for (const PQconninfoOption* option = given.get(); option->keyword != nullptr; ++option) {
        const std::string_view key = option->keyword;
        const std::string_view value = option->val != nullptr ? option->val : "";
        if (key == "host")
            for (const std::string& host : split_list(value))
                if (!host.starts_with('/') && host.find('@', 1) != host.npos)
                    throw malformed_conninfo("a host with an @ in it");
        if (key == "port" && value.find_first_not_of("0123456789,") != value.npos)
            throw malformed_conninfo("a port that is no number");
    }
    return given;
}

/// @throws ConnectionFailed when libpq cannot read the string.
inline ConnInfo parse_conninfo(const std::string& text) {
    const Native<PQconninfoOption> given = read_conninfo(text);
    ConnInfo info;
    for (const PQconninfoOption* option = given.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr) info.add(option->keyword, option->val);

    // What the string does not say, the environment may (PGHOST, PGCONNECT_TIMEOUT); for all else libpq
    // looks there by itself. A service file is left to libpq.
    if (info.find("service")) return info;
    const Native<PQconninfoOption> defaults{PQconndefaults()};
    for (const PQconninfoOption* option = defaults.get(); option && option->keyword; ++option) {
        const std::string_view key = option->keyword;
        if (option->val == nullptr) continue;
        if (key == "host" || key == "hostaddr" || key == "port" || key == "connect_timeout")
            info.add(option->keyword, option->val);
        // Encrypted by GSS, an answer cannot be read to its end: see `connect`.
        if (key == "gssencmode" && option->compiled != nullptr &&
            std::string_view{option->val} == option->compiled)
            info.add("gssencmode", "disable");
    }
    // A peer that is gone without a word is noticed within a minute, and within half of one where
    // something is on its way to it: the system's own defaults are hours (tcp(7)).
    info.add("keepalives_idle", "30");  // seconds
    info.add("keepalives_interval", "10");
    info.add("keepalives_count", "3");
    info.add("tcp_user_timeout", "30000");  // milliseconds
    return info;
}

}  // namespace txscope::detail
