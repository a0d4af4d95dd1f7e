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

/// Makes of `server`, with all that it has, a streaming standby of `primary`. Settings are the primary's
/// from then on.
inline void follow(txscope::TemporaryPostgres& server, const txscope::TemporaryPostgres& primary) {
    server.stop();
    const auto data = server.data_directory();
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
    // pg_basebackup may have been run by root, the server never is.
    struct stat owner{};
    ::stat(server.socket_directory().c_str(), &owner);
    const auto give = [&](const std::filesystem::path& path) {
        if (::lchown(path.c_str(), owner.st_uid, owner.st_gid) != 0)
            throw std::runtime_error{"cannot give " + path.string() + " to the server"};
    };
    give(data);
    for (const auto& entry : std::filesystem::recursive_directory_iterator{data})
        give(entry.path());
    txscope::detail::append_lines(
        data / "postgresql.conf",
        {"port = " + std::to_string(server.port()),
         "unix_socket_directories = '" + server.socket_directory().string() + "'",
         // PostgreSQL 15 may sleep so long before it sees that it is promoted; its default is 5 s.
         "wal_retrieve_retry_interval = '100ms'"});
    server.start();
    block_until([&] {  // a standby that streams is one that the primary knows
        return !query(primary.dsn(), "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
                    .empty();
    });
}

/// Until the server of `standby` has all that the one of `primary` has written by now.
inline void catch_up(const std::string& standby, const std::string& primary) {
    const std::string written = query(primary, "SELECT pg_current_wal_insert_lsn()").value();
    block_until([&] {
        return query(standby, "SELECT pg_last_wal_replay_lsn() >= '" + written + "'").value() ==
               "t";
    });
}

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
        follow(server_, primary);
    }

    txscope::TemporaryPostgres& server() { return server_; }
    const txscope::TemporaryPostgres& server() const { return server_; }

    /// Until all that the primary has written by now is here.
    void catch_up() const { support::catch_up(server_.dsn(), primary_.dsn()); }

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
    const txscope::TemporaryPostgres& primary_;
    txscope::TemporaryPostgres server_{};
};

}  // namespace support
