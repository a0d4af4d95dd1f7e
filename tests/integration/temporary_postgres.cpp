#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/database.hpp"
#include "support/environment_variable.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace temporary_postgres {

using Catch::Matchers::ContainsSubstring;
using support::Client;
using txscope::StopMode;
using txscope::TemporaryPostgres;
using txscope::TemporaryPostgresError;
using txscope::TemporaryPostgresOptions;
namespace fs = std::filesystem;

/// The letter that `ps` shows, or nothing when there is no such process (a zombie is none).
std::optional<char> state_of(int process) {
    const int proc = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char state = 0;
    txscope::detail::parent_of_process(proc, std::to_string(process).c_str(), state);
    ::close(proc);
    return state == 0 || state == 'Z' ? std::nullopt : std::optional{state};
}

int postmaster_of(const TemporaryPostgres& server) {
    return std::atoi(
        txscope::detail::read_file(server.data_directory() / "postmaster.pid").c_str());
}

std::vector<int> backends_of(const TemporaryPostgres& server) {
    std::vector<int> found;
    txscope::detail::for_each_child(postmaster_of(server),
                                    [&](pid_t child, char) { found.push_back(child); });
    return found;
}

template <class Condition>
bool eventually(Condition condition) {
    return txscope::detail::poll_until(support::patience, condition);
}

std::string setting(const TemporaryPostgres& server, const std::string& name) {
    return support::query(server.dsn(), "SHOW " + name).value();
}

TEST_CASE("a temporary server answers on its socket and on its port", "[temporary_postgres]") {
    const TemporaryPostgres server;
    CHECK(server.running());
    CHECK(fs::exists(server.socket_directory() / (".s.PGSQL." + std::to_string(server.port()))));
    CHECK(support::query(server.dsn(), "SELECT inet_server_addr() IS NULL").value() == "t");
    CHECK(support::query(server.tcp_dsn(), "SELECT inet_server_port()").number() == server.port());
    CHECK(setting(server, "data_directory") == server.data_directory());
    CHECK(setting(server, "server_encoding") == "UTF8");
    CHECK(setting(server, "TimeZone") == "UTC");
    CHECK_THAT(server.log(), ContainsSubstring("ready to accept connections"));
}

TEST_CASE("a database of any name is reached", "[temporary_postgres]") {
    const TemporaryPostgres& server = support::server();
    const std::string name = R"(it's a "back\slash" = trap)";
    Client client{server.dsn()};
    const std::unique_ptr<char, decltype(&PQfreemem)> quoted{
        PQescapeIdentifier(client.handle(), name.data(), name.size()), &PQfreemem};
    client.query("CREATE DATABASE " + std::string{quoted.get()});
    CHECK(support::query(server.dsn(name), "SELECT current_database()").value() == name);
    CHECK(support::query(server.tcp_dsn(name), "SELECT current_database()").value() == name);
    client.query("DROP DATABASE " + std::string{quoted.get()} + " WITH (FORCE)");
}

TEST_CASE("durability is off unless asked for, and further settings win", "[temporary_postgres]") {
    CHECK(setting(support::server(), "fsync") == "off");
    CHECK(setting(support::server(), "full_page_writes") == "off");

    TemporaryPostgresOptions options;
    options.durable = true;
    options.max_connections = 17;
    options.settings = {"work_mem = '5MB'", "listen_addresses = ''"};
    const TemporaryPostgres server{options};
    CHECK(setting(server, "fsync") == "on");
    CHECK(setting(server, "full_page_writes") == "on");
    CHECK(setting(server, "max_connections") == "17");
    CHECK(setting(server, "work_mem") == "5MB");
    CHECK(setting(server, "listen_addresses") == "");
}

TEST_CASE("with a password every connection must know it", "[temporary_postgres]") {
    TemporaryPostgresOptions options;
    options.password = "correct 'horse' \\ battery";
    const TemporaryPostgres server{options};
    CHECK(support::query(server.dsn(), "SELECT 1").value() == "1");
    CHECK(support::query(server.tcp_dsn(), "SELECT 1").value() == "1");
    CHECK_THROWS_WITH(Client{server.dsn() + " password=wrong"},
                      ContainsSubstring("password authentication failed"));
    CHECK_FALSE(fs::exists(server.socket_directory() / "password"));
}

TEST_CASE("with TCP turned off the server listens on its socket alone", "[temporary_postgres]") {
    TemporaryPostgresOptions options;
    options.tcp = false;
    const TemporaryPostgres server{options};
    CHECK(setting(server, "listen_addresses") == "");
    CHECK_THROWS_AS(server.tcp_dsn(), TemporaryPostgresError);
}

TEST_CASE("a stopped server comes back on its port with its data", "[temporary_postgres]") {
    TemporaryPostgres server;
    const auto port = server.port();
    support::query(server.dsn(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");

    for (const StopMode mode : {StopMode::smart, StopMode::fast, StopMode::immediate}) {
        server.stop(mode);
        CHECK_FALSE(server.running());
        CHECK_THROWS_AS(Client{server.dsn()}, support::QueryError);
        CHECK_THROWS_AS(Client{server.tcp_dsn()}, support::QueryError);
        server.stop(mode);  // once more changes nothing

        server.start();
        server.start();
        CHECK(server.running());
        CHECK(server.port() == port);
        CHECK(support::query(server.tcp_dsn(), "SELECT n FROM kept").value() == "1");
    }
}

TEST_CASE("a fast stop disconnects clients, a smart one waits for them", "[temporary_postgres]") {
    TemporaryPostgres server;
    auto client = std::make_unique<Client>(server.dsn());
    std::thread stopper{[&] { server.stop(StopMode::smart); }};
    // The server refuses newcomers from the moment it was told.
    CHECK(eventually([&] { return PQping(server.dsn().c_str()) == PQPING_REJECT; }));
    CHECK(client->query("SELECT 1").value() == "1");
    client.reset();
    stopper.join();
    CHECK_FALSE(server.running());

    server.start();
    Client other{server.dsn()};
    server.stop(StopMode::fast);
    CHECK_THROWS_AS(other.query("SELECT 1"), support::QueryError);
}

TEST_CASE("kill leaves no process, keeps what was acknowledged, and recovers",
          "[temporary_postgres]") {
    TemporaryPostgres server;
    Client writer{server.dsn()};
    Client sleeper{server.tcp_dsn()};
    writer.query("CREATE TABLE kept (n int)");
    sleeper.send("SELECT pg_sleep(3600)");
    for (int round = 1; round <= 3; ++round) {
        std::vector<int> processes = backends_of(server);
        CHECK(processes.size() >= 5);
        processes.push_back(postmaster_of(server));
        support::query(server.dsn(), "INSERT INTO kept SELECT generate_series(1, 1000)");

        server.kill();
        CHECK_FALSE(server.running());
        for (const int process : processes) CHECK_FALSE(state_of(process));
        CHECK_THROWS_AS(Client{server.dsn()}, support::QueryError);

        server.start();
        CHECK(support::query(server.dsn(), "SELECT count(*) FROM kept").number() == 1000 * round);
    }
    CHECK_THROWS_AS(writer.query("SELECT 1"), support::QueryError);
    CHECK_THROWS_AS(sleeper.receive(), support::QueryError);
    CHECK(PQstatus(sleeper.handle()) == CONNECTION_BAD);
}

TEST_CASE("a paused server keeps its connections and answers nothing until resumed",
          "[temporary_postgres]") {
    TemporaryPostgres server;
    Client client{server.tcp_dsn()};
    server.pause();
    CHECK(server.running());
    CHECK(state_of(postmaster_of(server)) == 'T');
    for (const int process : backends_of(server))
        CHECK(state_of(process).value_or('T') == 'T');  // one may have been about to end
    client.send("SELECT 42");
    CHECK(PQconsumeInput(client.handle()) == 1);
    CHECK(PQisBusy(client.handle()) == 1);
    server.pause();  // once more changes nothing

    server.resume();
    CHECK(client.receive().value() == "42");
    server.resume();
    CHECK(setting(server, "port") == std::to_string(server.port()));
}

TEST_CASE("a paused server can be stopped, killed and destroyed", "[temporary_postgres]") {
    fs::path folder;
    {
        TemporaryPostgres server;
        folder = server.socket_directory();
        const Client busy{server.dsn()};
        server.pause();
        server.stop();
        CHECK_FALSE(server.running());
        CHECK_THROWS_AS(server.pause(), TemporaryPostgresError);
        server.start();
        server.pause();
        server.kill();
        CHECK_FALSE(server.running());
        server.start();
        server.pause();
    }
    CHECK_FALSE(fs::exists(folder));
}

TEST_CASE("destruction removes the processes and the folder", "[temporary_postgres]") {
    fs::path folder;
    std::vector<int> processes;
    {
        const TemporaryPostgres server;
        const Client client{server.dsn()};
        folder = server.socket_directory();
        processes = backends_of(server);
        processes.push_back(postmaster_of(server));
        CHECK(fs::exists(folder));
    }
    CHECK_FALSE(fs::exists(folder));
    for (const int process : processes) CHECK_FALSE(state_of(process));
}

TEST_CASE("a server that cannot start says why, and leaves nothing", "[temporary_postgres]") {
    const fs::path parent =
        fs::temp_directory_path() / ("txscope-test-" + std::to_string(::getpid()));
    fs::create_directory(parent);
    fs::permissions(parent, fs::perms::all);
    {
        const support::EnvironmentVariable folder{"TMPDIR", parent.string()};
        TemporaryPostgresOptions options;
        options.settings = {"no_such_setting = 1"};
        CHECK_THROWS_WITH(TemporaryPostgres{options}, ContainsSubstring("did not start") &&
                                                          ContainsSubstring("no_such_setting"));
    }
    CHECK(fs::is_empty(parent));
    fs::remove_all(parent);
}

TEST_CASE("a temporary folder too deep for a socket is not used", "[temporary_postgres]") {
    const fs::path parent = fs::temp_directory_path() / std::string(100, 'x');
    fs::create_directory(parent);
    {
        const support::EnvironmentVariable folder{"TMPDIR", parent.string()};
        const TemporaryPostgres server;
        CHECK(support::query(server.dsn(), "SELECT 1").value() == "1");
    }
    fs::remove_all(parent);
}

TEST_CASE("missing binaries are told apart by who named their folder", "[temporary_postgres]") {
    TemporaryPostgresOptions options;
    options.binaries = "/nonexistent";
    CHECK_THROWS_WITH(TemporaryPostgres{options},
                      ContainsSubstring("/nonexistent") && ContainsSubstring("binaries"));
    const support::EnvironmentVariable folder{"TXSCOPE_POSTGRES_BINDIR", "/neither"};
    CHECK_THROWS_WITH(TemporaryPostgres{}, ContainsSubstring("/neither") &&
                                               ContainsSubstring("TXSCOPE_POSTGRES_BINDIR"));
}

TEST_CASE("PATH comes before the distribution's folders", "[temporary_postgres]") {
    fs::path real;
    {
        const support::EnvironmentVariable path{"PATH", "/nonexistent"};
        real = txscope::detail::find_postgres_binaries({});
    }
    const fs::path links =
        fs::temp_directory_path() / ("txscope-bin-" + std::to_string(::getpid()));
    fs::create_directory(links);
    for (const char* program : {"initdb", "postgres"})
        fs::create_symlink(real / program, links / program);
    {
        const support::EnvironmentVariable path{"PATH",
                                                "/nonexistent::" + links.string() + ":/usr/bin"};
        CHECK(txscope::detail::find_postgres_binaries({}) == links);
    }
    {
        fs::remove(links / "initdb");  // half a server is none
        const support::EnvironmentVariable path{"PATH", links.string()};
        CHECK(txscope::detail::find_postgres_binaries({}) == real);
    }
    fs::remove_all(links);
}

TEST_CASE("versions are compared as numbers", "[temporary_postgres]") {
    using txscope::detail::version_less;
    CHECK(version_less("9.6", "15"));
    CHECK(version_less("9.5", "9.6"));
    CHECK_FALSE(version_less("15", "9.6"));
    CHECK_FALSE(version_less("15", "15"));
}

TEST_CASE("a port taken while the server was down is reported", "[temporary_postgres]") {
    TemporaryPostgres server;
    server.stop();
    const int thief = ::socket(AF_INET, SOCK_STREAM, 0);
    const int reuse = 1;
    ::setsockopt(thief, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(thief, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(thief, 1) == 0);
    CHECK_THROWS_WITH(server.start(), ContainsSubstring(std::to_string(server.port())) &&
                                          ContainsSubstring("taken"));
    ::close(thief);
    server.start();
    CHECK(support::query(server.tcp_dsn(), "SELECT 1").value() == "1");
}

TEST_CASE("the server outlives the thread that made it", "[temporary_postgres]") {
    std::unique_ptr<TemporaryPostgres> server;
    std::thread{[&] { server = std::make_unique<TemporaryPostgres>(); }}.join();
    CHECK(support::query(server->dsn(), "SELECT 1").value() == "1");
    server->stop();
    std::thread{[&] { server->start(); }}.join();
    CHECK(support::query(server->dsn(), "SELECT 1").value() == "1");
}

TEST_CASE("nothing that the test has open stays open because of the server",
          "[temporary_postgres]") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);  // not even close-on-exec
    const TemporaryPostgres server;
    ::close(ends[1]);
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 0);
    ::close(ends[0]);
}

TEST_CASE("several servers live side by side", "[temporary_postgres]") {
    TemporaryPostgres first;
    TemporaryPostgres second;
    CHECK(first.port() != second.port());
    first.kill();
    CHECK(support::query(second.dsn(), "SELECT 1").value() == "1");
    first.start();
    CHECK(support::query(first.dsn(), "SELECT 1").value() == "1");
}

TEST_CASE("a test that dies takes its server along", "[temporary_postgres]") {
    const auto [signal, paused] =
        GENERATE(std::pair{SIGKILL, false}, std::pair{SIGKILL, true}, std::pair{SIGSEGV, false});
    CAPTURE(signal, paused);
    struct Victim {
        int postmaster;
        char folder[64];
    } victim{};
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t test = ::fork();
    REQUIRE(test >= 0);
    if (test == 0) {
        std::signal(signal, SIG_DFL);  // Catch's handler would report a failure
        TemporaryPostgres server;
        victim.postmaster = postmaster_of(server);
        std::strncpy(victim.folder, server.socket_directory().c_str(), sizeof victim.folder - 1);
        if (paused) server.pause();
        if (::write(ends[1], &victim, sizeof victim) == sizeof victim) ::kill(::getpid(), signal);
        ::_exit(1);
    }
    ::close(ends[1]);
    REQUIRE(::read(ends[0], &victim, sizeof victim) == sizeof victim);
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(test, &status, 0) == test);
    CHECK(WTERMSIG(status) == signal);
    CHECK(eventually([&] { return !state_of(victim.postmaster); }));
    CHECK(eventually([&] { return !fs::exists(victim.folder); }));
}

TEST_CASE("a test that forks and ends its copy keeps its server", "[temporary_postgres]") {
    auto server = std::make_unique<TemporaryPostgres>();
    const pid_t copy = ::fork();
    REQUIRE(copy >= 0);
    if (copy == 0) {
        server.reset();
        ::_exit(0);
    }
    ::waitpid(copy, nullptr, 0);
    CHECK(support::query(server->dsn(), "SELECT 1").value() == "1");
}

TEST_CASE("each test's database is its own, and dropped with its connections", "[database]") {
    std::string name;
    std::unique_ptr<Client> left_open;
    {
        const support::Database one{"CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)"};
        const support::Database two{"CREATE TABLE t (n int)"};
        name = one.name();
        left_open = std::make_unique<Client>(one.tcp_dsn());
        CHECK(one.count("t") == 2);
        CHECK(two.count("t") == 0);
    }
    CHECK_THROWS_AS(left_open->query("SELECT 1"), support::QueryError);
    CHECK(support::query(support::server().dsn(),
                         "SELECT count(*) FROM pg_database WHERE datname = '" + name + "'")
              .number() == 0);
}

}  // namespace temporary_postgres
