#pragma once

#include "support/client.hpp"
#include "support/eventually.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace support {

/// A streaming standby of a server, until it is promoted.
///
///     support::Standby standby{primary};
///     standby.catch_up();
///     primary.kill();
///     standby.promote();
///
/// What the primary writes reaches it by and by; `catch_up` waits for that, `stop_following` ends it.
class Standby {
public:
    explicit Standby(const txscope::TemporaryPostgres& primary) : primary_{primary} {
        server_.stop();
        const auto data = server_.data_directory();
        // Beside the server's own program, wherever the folder of links leads that it was found in.
        const auto tool =
            std::filesystem::canonical(txscope::detail::find_postgres_binaries({}) / "postgres")
                .replace_filename("pg_basebackup");
        std::filesystem::remove_all(data);
        const std::string command = tool.string() + " --dbname=\"" + primary.tcp_dsn() +
                                    "\" --pgdata=" + data.string() +
                                    " --wal-method=stream --checkpoint=fast --no-sync"
                                    " --write-recovery-conf";
        if (std::system(command.c_str()) != 0) throw std::runtime_error{"failed: " + command};
        give_to_server(data);
        txscope::detail::append_lines(
            data / "postgresql.conf",
            {"port = " + std::to_string(server_.port()),
             "unix_socket_directories = '" + server_.socket_directory().string() + "'"});
        server_.start();
        block_until([&] {  // a standby that streams is one that the primary knows
            return !query(primary.dsn(),
                          "SELECT 1 FROM pg_stat_replication WHERE state = "
                          "'streaming'")
                        .empty();
        });
    }

    txscope::TemporaryPostgres& server() { return server_; }
    const txscope::TemporaryPostgres& server() const { return server_; }

    /// Until all that the primary has written by now is here.
    void catch_up() const {
        const std::string written =
            query(primary_.dsn(), "SELECT pg_current_wal_insert_lsn()").value();
        block_until([&] {
            return query(server_.dsn(), "SELECT pg_last_wal_replay_lsn() >= '" + written + "'")
                       .value() == "t";
        });
    }

    /// What the primary writes from now on does not come any more.
    void stop_following() {
        Client client{server_.dsn()};
        client.query("ALTER SYSTEM SET primary_conninfo = ''");
        client.query("SELECT pg_reload_conf()");
        block_until([&] { return client.query("SELECT 1 FROM pg_stat_wal_receiver").empty(); });
    }

    /// Makes it a primary; returns when it is one.
    void promote() { query(server_.dsn(), "SELECT pg_promote()"); }

private:
    // pg_basebackup may have been run by root, the server never is.
    void give_to_server(const std::filesystem::path& data) const {
        struct stat owner{};
        ::stat(server_.socket_directory().c_str(), &owner);
        const auto give = [&](const std::filesystem::path& path) {
            if (::lchown(path.c_str(), owner.st_uid, owner.st_gid) != 0)
                throw std::runtime_error{"cannot give " + path.string() + " to the server"};
        };
        give(data);
        for (const auto& entry : std::filesystem::recursive_directory_iterator{data})
            give(entry.path());
    }

    const txscope::TemporaryPostgres& primary_;
    txscope::TemporaryPostgres server_{};
};

}  // namespace support
