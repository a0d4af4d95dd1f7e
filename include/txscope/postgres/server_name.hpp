#pragma once

#include <libpq-fe.h>

#include <string_view>

namespace txscope {

/// Which server and database a connection is to. Valid as long as that.
struct ServerName {
    std::string_view host{};  ///< As the connection string has it; a Unix socket's folder.
    std::string_view port{};
    std::string_view database{};
};

namespace detail {

inline ServerName server_name(const PGconn* connection) noexcept {
    const auto text = [](const char* part) { return std::string_view{part ? part : ""}; };
    return {text(PQhost(connection)), text(PQport(connection)), text(PQdb(connection))};
}

}  // namespace detail

}  // namespace txscope
