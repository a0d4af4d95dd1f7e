#pragma once

#include "support/daemon.hpp"
#include "support/eventually.hpp"
#include <txscope/testing/detail/temporary_cluster.hpp>
#include <txscope/testing/detail/temporary_folder.hpp>

#include <libpq-fe.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace support {

/// An HAProxy in front of servers, as it is set up for PostgreSQL: it passes on bytes (`mode tcp`), to
/// the server that its health checks find.
///
///     support::HaProxy proxy{{primary.port(), standby.port()}};
///     txscope::AsyncSessionFactory sessions{io, proxy.dsn()};
class HaProxy {
public:
    /// What a server must answer to be one that connections go to.
    enum class Check {
        takes_writes,  ///< What `SHOW transaction_read_only` says there.
        answers,       ///< Anything (`option pgsql-check`): the first in the list is the one.
        leads,         ///< That it leads, to `GET /primary`, by its Patroni.
    };
    struct Options {
        Check check = Check::takes_writes;
        /// For `leads`: of the Patroni of each server.
        std::vector<std::uint16_t> control_ports{};
        /// Of a server that is not the one any more: `on-marked-down shutdown-sessions`.
        bool closes_sessions = true;
        /// After which silence a connection is closed: by the first at once, by the second HAProxy's
        /// half of it, which leaves the client's half open.
        std::string client_timeout = "1h";
        std::string server_timeout = "1h";
    };

    /// Of ports of 127.0.0.1.
    explicit HaProxy(const std::vector<std::uint16_t>& servers) : HaProxy{servers, Options{}} {}
    HaProxy(const std::vector<std::uint16_t>& servers, const Options& options) {
        std::ofstream file{configuration()};
        file << "defaults\n    mode tcp\n    retries 0\n    timeout connect 1s\n    timeout check "
                "1s\n"
             << "    timeout client " << options.client_timeout << "\n    timeout server "
             << options.server_timeout << "\nlisten postgres\n    bind 127.0.0.1:" << port_ << "\n"
             << question(options.check);
        auto control_port = options.control_ports.begin();
        for (const std::uint16_t port : servers) {
            file << "    server server" << port << " 127.0.0.1:" << port
                 << " check inter 100ms fall 2 rise 1";
            if (options.check == Check::leads) file << " port " << *control_port++;
            file << (options.closes_sessions ? " on-marked-down shutdown-sessions" : "")
                 << (options.check == Check::answers && port != servers.front() ? " backup" : "")
                 << "\n";
        }
        file.close();
        std::filesystem::permissions(configuration(), std::filesystem::perms::others_read,
                                     std::filesystem::perm_options::add);
        start();
    }

    void start() {
        daemon_.start();
        block_until([&] {
            daemon_.check_running();
            return PQping(dsn().c_str()) == PQPING_OK;
        });
    }
    /// The plug pulled: all its connections are reset.
    void kill() { daemon_.kill(); }

    std::uint16_t port() const { return port_; }
    std::string dsn(std::string_view database = "postgres") const {
        return "host=127.0.0.1 port=" + std::to_string(port_) + " dbname=" + std::string{database} +
               " user=postgres sslmode=disable gssencmode=disable";
    }

private:
    std::filesystem::path configuration() const { return folder_.path() / "haproxy.cfg"; }

    static std::string question(Check check) {
        if (check == Check::answers) return "    option pgsql-check user postgres\n";
        if (check == Check::leads)
            return "    option httpchk GET /primary\n    http-check expect status 200\n";
        return question_about_writes();
    }
    // The bytes of a session: start-up, a query and good-bye; and those of a row that says "off".
    static std::string question_about_writes() {
        using namespace std::string_literals;
        const std::string start = "\0\3\0\0user\0postgres\0database\0postgres\0\0"s;
        const std::string query = "SHOW transaction_read_only\0"s;
        const std::string row = "\0\1\0\0\0\3off"s;
        return "    option tcp-check\n    tcp-check connect\n    tcp-check send-binary " +
               hexadecimal(length_of(start) + start) + "\n    tcp-check send-binary " +
               hexadecimal("Q" + length_of(query) + query + "X" + length_of("")) +
               "\n    tcp-check expect binary " + hexadecimal("D" + length_of(row) + row) + "\n";
    }
    static std::string length_of(const std::string& message) {
        return {'\0', '\0', '\0', static_cast<char>(message.size() + 4)};
    }
    static std::string hexadecimal(const std::string& bytes) {
        std::string digits;
        for (const char byte : bytes) {
            char two[3];
            std::snprintf(two, sizeof two, "%02X", static_cast<unsigned>(byte) & 0xFF);
            digits += two;
        }
        return digits;
    }

    txscope::detail::TemporaryFolder folder_{txscope::detail::find_server_user()};
    std::uint16_t port_ = txscope::detail::find_free_port();
    Daemon daemon_{{"haproxy", "-q", "-db", "-f", configuration().string()}};
};

}  // namespace support
