#pragma once

#include "support/client.hpp"
#include "support/daemon.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include <txscope/testing/detail/server_user.hpp>
#include <txscope/testing/detail/temporary_folder.hpp>

#include <libpq-fe.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

namespace support {

/// A PgBouncer between a test and its database, or another address, on a unix socket of its own. It
/// does not keep prepared statements, as versions before 1.21 cannot.
///
///     const support::Database database{schema};
///     support::PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 8}};
///     txscope::AsyncSessionFactory sessions{io, bouncer.dsn()};
class PgBouncer {
public:
    struct Options {
        std::string pool_mode;
        int pool_size;  ///< How many connections to the server it has.
    };

    PgBouncer(const Database& database, const Options& options)
        : PgBouncer{"host=" + server().socket_directory().string() +
                        " port=" + std::to_string(server().port()) + " dbname=" + database.name() +
                        " user=postgres",
                    options} {}
    /// `address` is what stands in its `[databases]`: "host=127.0.0.1 port=5432 dbname=app".
    PgBouncer(const std::string& address, const Options& options) {
        std::ofstream{ini()} << "[databases]\npooled = " << address
                             << " pool_mode=" << options.pool_mode
                             << " pool_size=" << options.pool_size
                             << "\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = "
                             << folder_.path().string()
                             << "\nauth_type = any\nadmin_users = postgres\nmax_client_conn = 500\n"
                                "server_login_retry = 0.1\n"
                             << (keeps_statements() ? "max_prepared_statements = 0\n" : "")
                             << "logfile = " << (folder_.path() / "log").string() << "\n";
        std::filesystem::permissions(ini(), std::filesystem::perms::others_read,
                                     std::filesystem::perm_options::add);
        start();
    }

    std::string dsn() const { return conninfo("pooled"); }

    /// A connection to its console, for `PAUSE`, `RESUME`, `KILL pooled` and the like.
    std::unique_ptr<Client> console() const {
        return std::make_unique<Client>(conninfo("pgbouncer"));
    }

    void start() {
        daemon_.start();
        block_until([&] {
            daemon_.check_running();
            return PQping(dsn().c_str()) == PQPING_OK;
        });
    }

    /// The plug pulled: all its connections are reset.
    void kill() {
        daemon_.kill();
        std::filesystem::remove(folder_.path() / ".s.PGSQL.6432");
        std::filesystem::remove(folder_.path() / ".s.PGSQL.6432.lock");
    }

private:
    // Whether it can be told to keep prepared statements, and not to: since 1.21.
    static bool keeps_statements() {
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> version{
            ::popen("PATH=$PATH:/usr/sbin pgbouncer --version", "r"), &::pclose};
        int major = 0;
        int minor = 0;
        const int read =
            version ? std::fscanf(version.get(), "PgBouncer %d.%d", &major, &minor) : 0;
        if (read != 2) throw std::runtime_error{"PgBouncer is not installed"};
        return major > 1 || minor >= 21;
    }
    std::filesystem::path ini() const { return folder_.path() / "pgbouncer.ini"; }
    std::string conninfo(const std::string& database) const {
        return "host=" + folder_.path().string() + " port=6432 user=postgres dbname=" + database;
    }

    txscope::detail::TemporaryFolder folder_{txscope::detail::find_server_user()};
    Daemon daemon_{{"pgbouncer", "-q", ini().string()}};
};

}  // namespace support
