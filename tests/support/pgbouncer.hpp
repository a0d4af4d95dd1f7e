#pragma once

#include "support/client.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include <txscope/testing/detail/server_user.hpp>
#include <txscope/testing/detail/temporary_folder.hpp>

#include <libpq-fe.h>

#include <grp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

namespace support {

/// A PgBouncer between a test and its database, on a unix socket of its own. It does not keep prepared
/// statements, as versions before 1.21 cannot.
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

    PgBouncer(const Database& database, const Options& options) {
        std::ofstream{ini()} << "[databases]\npooled = host="
                             << server().socket_directory().string() << " port=" << server().port()
                             << " dbname=" << database.name()
                             << " user=postgres pool_mode=" << options.pool_mode
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
    PgBouncer(const PgBouncer&) = delete;
    ~PgBouncer() { kill(); }

    std::string dsn() const { return conninfo("pooled"); }

    /// A connection to its console, for `PAUSE`, `RESUME`, `KILL pooled` and the like.
    std::unique_ptr<Client> console() const {
        return std::make_unique<Client>(conninfo("pgbouncer"));
    }

    void start() {
        const std::string file = ini().string();
        process_ = ::fork();
        if (process_ < 0) throw std::runtime_error{"no process for PgBouncer"};
        if (process_ == 0) {
            if (user_.differs && (::setgroups(user_.groups.size(), user_.groups.data()) != 0 ||
                                  ::setgid(user_.gid) != 0 || ::setuid(user_.uid) != 0))
                ::_exit(126);
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it ends with the test, however that ends
            for (const char* program : {"/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"})
                ::execl(program, program, "-q", file.c_str(), nullptr);
            ::_exit(127);
        }
        block_until([&] {
            int status = 0;
            if (::waitpid(process_, &status, WNOHANG) == process_) {
                process_ = 0;
                throw std::runtime_error{"PgBouncer did not start"};
            }
            return PQping(dsn().c_str()) == PQPING_OK;
        });
    }

    /// The plug pulled: all its connections are reset.
    void kill() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = 0;
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

    txscope::detail::ServerUser user_ = txscope::detail::find_server_user();
    txscope::detail::TemporaryFolder folder_{user_};
    pid_t process_ = 0;
};

}  // namespace support
