#pragma once

#include <txscope/postgres/conninfo.hpp>
#include <txscope/testing/detail/guardian.hpp>
#include <txscope/testing/detail/postgres_binaries.hpp>
#include <txscope/testing/detail/temporary_cluster.hpp>
#include <txscope/testing/temporary_postgres_error.hpp>

#include <libpq-fe.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace txscope {

/// What a `TemporaryPostgres` is to be like. The defaults suit a test suite.
struct TemporaryPostgresOptions {
    /// Survive a crash of the *machine*: `fsync` and `full_page_writes` on, as in production.
    /// Off, an acknowledged commit still survives `kill()`: the kernel holds what was written.
    bool durable = false;

    /// Also listen on 127.0.0.1, on a random free port: without a password every user of the
    /// machine is superuser there, and may run programs as the server's user. Off, nobody gets in
    /// who may not enter the private folder of the unix socket.
    bool tcp = true;

    /// The server's limit of client connections.
    int max_connections = 100;

    /// Password of the superuser `postgres`. Empty: everybody is trusted; otherwise
    /// every connection must authenticate with SCRAM, the unix socket's too.
    std::string password{};

    /// Further lines of postgresql.conf, `"log_statement = 'all'"`; all but `port` win over ours.
    std::vector<std::string> settings{};

    /// The folder of `initdb` and `postgres`. Empty: `TXSCOPE_POSTGRES_BINDIR`, then `PATH`, then
    /// the highest version in the distribution's folders (`/usr/lib/postgresql/<version>/bin`).
    std::filesystem::path binaries{};

    /// How long the server may take to start, or to stop, before that is an error.
    std::chrono::milliseconds time_limit = std::chrono::seconds{60};
};

/// How a server is asked to stop (PostgreSQL manual, "Shutting Down the Server").
enum class StopMode {
    smart,      ///< Wait until every client has left of its own accord.
    fast,       ///< Roll back what is open, disconnect everybody.
    immediate,  ///< Abort without a checkpoint; the next start recovers from the write-ahead log.
};

/// A PostgreSQL server of one's own: made by the constructor, removed by the destructor.
///
/// The cluster lives in a fresh private folder with its unix socket, logs in nobody but the
/// superuser `postgres`, speaks UTF-8, sorts by the C locale, and keeps its clock in UTC.
///
/// ```cpp
/// txscope::TemporaryPostgres server;
/// txscope::AsyncSessionFactory sessions{io, server.dsn()};
/// ...
/// server.kill();   // pull the plug
/// server.start();  // and see what a program makes of it
/// ```
///
/// **Destruction**: the server ends and its folder goes, also when a test throws, calls `exit`,
/// crashes or is killed: a guardian process outlives the test for as long as that takes.
///
/// **Root**: PostgreSQL refuses to run as root; started by root, the cluster is run by, and
/// belongs to, the user `postgres`, or `nobody` where there is no such user.
///
/// **Threads**: every member may be called from any thread; `start`, `stop`, `kill`, `pause` and
/// `resume` wait for one another, and block until what they say has happened.
///
/// @throws TemporaryPostgresError where anything fails; what() ends with the end of the server's
///     log when the server had something to say.
class TemporaryPostgres {
public:
    explicit TemporaryPostgres(TemporaryPostgresOptions options = {});

    TemporaryPostgres(const TemporaryPostgres&) = delete;
    TemporaryPostgres& operator=(const TemporaryPostgres&) = delete;

    /// A connection string for `database` through the unix socket.
    std::string dsn(std::string_view database = "postgres") const {
        return conninfo(folder_.path().string(), database);
    }

    /// A connection string for `database` through 127.0.0.1.
    std::string tcp_dsn(std::string_view database = "postgres") const;

    /// The TCP port; it stays the same through `stop` and `start`.
    std::uint16_t port() const { return port_; }

    std::filesystem::path socket_directory() const { return folder_.path(); }
    std::filesystem::path data_directory() const { return folder_.path() / "data"; }

    /// Start the server again after `stop` or `kill`; returns when it accepts connections, and at
    /// once if it runs already.
    void start();

    /// Stop the server and wait for its end. A paused server is resumed for it.
    void stop(StopMode mode = StopMode::fast);

    /// The plug pulled: the server and all its backends get SIGKILL and are gone on return. Clients
    /// see their connections reset; the next `start` recovers, like after a crash.
    void kill();

    /// A server that stops answering: every process of it is stopped on return. Connections stay
    /// open, and the kernel even accepts new ones, but nobody answers until `resume`.
    void pause();
    void resume();

    /// Whether the server's main process exists, be it paused.
    bool running() const;

    /// Everything that initdb and the server wrote to their log so far.
    std::string log() const { return detail::read_file(log_path()); }

private:
    enum Program : int {
        initdb = 0,
        postgres = 1
    };

    std::array<std::vector<std::string>, 2> programs() const;
    std::filesystem::path log_path() const { return folder_.path() / "postgres.log"; }
    std::string conninfo(std::string_view host, std::string_view database) const;
    void initialise();
    void choose_port();
    void start_locked();
    [[noreturn]] void fail(const std::string& what) const;

    TemporaryPostgresOptions options_;
    std::filesystem::path binaries_ = detail::find_postgres_binaries(options_.binaries);
    detail::ServerUser user_ = detail::find_server_user();
    detail::TemporaryFolder folder_{user_};
    std::uint16_t port_ = 5432;
    mutable std::mutex mutex_;
    mutable detail::Guardian guardian_;
};

inline TemporaryPostgres::TemporaryPostgres(TemporaryPostgresOptions options)
    : options_{std::move(options)},
      guardian_{folder_.path(), log_path(), programs(), detail::server_environment(), user_} {
    initialise();
    constexpr int attempts = 10;
    for (int attempt = 1;; ++attempt) {
        choose_port();
        try {
            start_locked();
            return;
        } catch (const detail::PortTaken&) {
            // Somebody was faster between our choice and the server's bind: choose again.
            if (attempt == attempts || !options_.tcp) throw;
        }
    }
}

inline std::string TemporaryPostgres::tcp_dsn(std::string_view database) const {
    if (!options_.tcp) throw TemporaryPostgresError{"this TemporaryPostgres has TCP turned off"};
    return conninfo("127.0.0.1", database);
}

inline void TemporaryPostgres::start() {
    const std::lock_guard lock{mutex_};
    if (!guardian_.running()) start_locked();
}

inline void TemporaryPostgres::stop(StopMode mode) {
    const std::lock_guard lock{mutex_};
    if (!guardian_.running()) return;
    guardian_.resume();
    const int signal = mode == StopMode::smart  ? SIGTERM
                       : mode == StopMode::fast ? SIGINT
                                                : SIGQUIT;
    guardian_.signal(signal);
    if (!detail::poll_until(options_.time_limit, [&] { return !guardian_.running(); }))
        fail("the server did not stop in time");
}

inline void TemporaryPostgres::kill() {
    const std::lock_guard lock{mutex_};
    guardian_.kill();
    // Nothing of the server is left alive, so what it left behind is stale: its lock files would
    // otherwise refuse the next start if somebody else's process was given the old number.
    detail::remove_stale_locks(data_directory(), folder_.path(), port_);
}

inline void TemporaryPostgres::pause() {
    const std::lock_guard lock{mutex_};
    if (!guardian_.running()) fail("a server that does not run cannot be paused");
    guardian_.pause();
}

inline void TemporaryPostgres::resume() {
    const std::lock_guard lock{mutex_};
    guardian_.resume();
}

inline bool TemporaryPostgres::running() const {
    const std::lock_guard lock{mutex_};
    return guardian_.running();
}

inline std::array<std::vector<std::string>, 2> TemporaryPostgres::programs() const {
    const std::string data = data_directory().string();
    std::vector<std::string> init{(binaries_ / "initdb").string(),
                                  "--pgdata=" + data,
                                  "--username=postgres",
                                  "--no-locale",
                                  "--encoding=UTF8",
                                  "--no-instructions",
                                  "--no-sync"};
    if (options_.password.empty()) {
        init.push_back("--auth=trust");
    } else {
        init.push_back("--auth=scram-sha-256");
        init.push_back("--pwfile=" + (folder_.path() / "password").string());
    }
    return {{std::move(init), {(binaries_ / "postgres").string(), "-D", data}}};
}

inline std::string TemporaryPostgres::conninfo(std::string_view host,
                                               std::string_view database) const {
    // Encryption is ruled out so that no environment variable makes libpq ask for it first.
    std::string text = "host=" + detail::quote_conninfo(host) + " port=" + std::to_string(port_) +
                       " dbname=" + detail::quote_conninfo(database) +
                       " user=postgres sslmode=disable gssencmode=disable";
    if (!options_.password.empty())
        text += " password=" + detail::quote_conninfo(options_.password);
    return text;
}

inline void TemporaryPostgres::initialise() {
    const std::filesystem::path password = folder_.path() / "password";
    if (!options_.password.empty()) detail::write_private_file(password, options_.password, user_);
    guardian_.start(Program::initdb);
    std::optional<int> status;
    if (!detail::poll_until(options_.time_limit,
                            [&] { return (status = guardian_.exit_status()); }))
        fail("initdb did not finish in time");
    if (*status != 0) fail("initdb failed");
    std::error_code none;  // it may stay: nobody else may look into the folder
    std::filesystem::remove(password, none);

    std::vector<std::string> lines{
        "unix_socket_directories = " + detail::quote_setting(folder_.path().string()),
        std::string{"listen_addresses = "} + (options_.tcp ? "'127.0.0.1'" : "''"),
        "max_connections = " + std::to_string(options_.max_connections),
        // Shared memory in the folder instead of /dev/shm, so that none outlives a killed server.
        "dynamic_shared_memory_type = mmap",
    };
    if (!options_.durable) {
        // synchronous_commit stays on: without fsync it costs one write(), and it is what makes
        // an acknowledged commit survive kill().
        lines.push_back("fsync = off");
        lines.push_back("full_page_writes = off");
    }
    for (const std::string& setting : options_.settings) lines.push_back(setting);
    detail::append_lines(data_directory() / "postgresql.conf", lines);
}

inline void TemporaryPostgres::choose_port() {
    if (options_.tcp) port_ = detail::find_free_port();
    detail::append_lines(data_directory() / "postgresql.conf",
                         {"port = " + std::to_string(port_)});  // the last one counts
}

inline void TemporaryPostgres::start_locked() {
    const std::size_t log_before = log().size();
    guardian_.start(Program::postgres);
    std::optional<int> status;
    const std::string probe = dsn() + " connect_timeout=5";
    const bool answered = detail::poll_until(options_.time_limit, [&] {
        status = guardian_.exit_status();
        // A server that asks for a password counts as ready as well.
        return status || PQping(probe.c_str()) == PQPING_OK;
    });
    if (!answered) {
        guardian_.kill();
        fail("the server did not accept connections in time");
    }
    if (!status) return;
    if (log().find("Address already in use", log_before) != std::string::npos)
        throw detail::PortTaken{"port " + std::to_string(port_) + " of 127.0.0.1 is taken"};
    fail("the server did not start");
}

inline void TemporaryPostgres::fail(const std::string& what) const {
    throw TemporaryPostgresError{what + " (" + binaries_.string() + ")\n" +
                                 detail::last_lines(log(), 20)};
}

}  // namespace txscope
