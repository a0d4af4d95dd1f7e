// Two servers that Patroni keeps, with etcd, and 64 scopes at a time that move money while the leader
// hands over, and while it is killed: first over both servers' addresses, then over HAProxy, which asks
// Patroni who leads. Every transfer that was acknowledged is in the ledger once.
//
// Ends with 77, for "skipped", where Patroni, etcd or HAProxy is not installed.

#include "support/client.hpp"
#include "support/daemon.hpp"
#include "support/eventually.hpp"
#include "support/haproxy.hpp"
#include "support/standby.hpp"
#include "support/transfers.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/detail/postgres_binaries.hpp>
#include <txscope/testing/detail/temporary_cluster.hpp>
#include <txscope/testing/detail/temporary_folder.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace asio = boost::asio;
using support::query;
using support::Transfers;

const auto user = txscope::detail::find_server_user();

class Etcd {
public:
    Etcd() { daemon_.start(); }
    std::uint16_t port() const { return port_; }

private:
    static std::string url(std::uint16_t port) {
        return "http://127.0.0.1:" + std::to_string(port);
    }

    txscope::detail::TemporaryFolder folder_{user};
    std::uint16_t port_ = txscope::detail::find_free_port();
    std::uint16_t peers_ = txscope::detail::find_free_port();
    support::Daemon daemon_{
        {"etcd", "--data-dir", (folder_.path() / "data").string(), "--listen-client-urls",
         url(port_), "--advertise-client-urls", url(port_), "--listen-peer-urls", url(peers_),
         "--initial-advertise-peer-urls", url(peers_), "--initial-cluster",
         "default=" + url(peers_)},
        (folder_.path() / "log").string()};
};

/// A server with its Patroni.
class Member {
public:
    Member(std::string name, const Etcd& etcd) : name_{std::move(name)} {
        const auto address = [](std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); };
        const std::string folder = folder_.path().string();
        std::ofstream{configuration()}
            << "scope: txscope\nname: " << name_ << "\nrestapi:\n  listen: " << address(control_)
            << "\n  connect_address: " << address(control_)
            << "\netcd3:\n  host: " << address(etcd.port()) << R"(
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      parameters: {fsync: 'off', max_connections: 100, wal_keep_size: 1GB, wal_retrieve_retry_interval: 100ms}
  initdb: [{encoding: UTF8}, no-locale, no-sync]
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
postgresql:
  remove_data_directory_on_diverged_timelines: true
  authentication: {superuser: {username: postgres}, replication: {username: postgres}}
  listen: )" << address(port_)
            << "\n  connect_address: " << address(port_) << "\n  bin_dir: "
            << std::filesystem::canonical(txscope::detail::find_postgres_binaries({}) / "postgres")
                   .parent_path()
                   .string()
            << "\n  data_dir: " << folder << "/data\n  pgpass: " << folder
            << "/pgpass\n  parameters: {unix_socket_directories: " << folder << "}\n";
        std::filesystem::permissions(configuration(), std::filesystem::perms::others_read,
                                     std::filesystem::perm_options::add);
        daemon_.start();
    }
    ~Member() { kill(); }

    std::uint16_t port() const { return port_; }
    std::uint16_t control_port() const { return control_; }
    std::string dsn() const {
        return "host=127.0.0.1 port=" + std::to_string(port_) + " dbname=postgres user=postgres";
    }
    bool leads() const {
        try {
            return query(dsn(), "SELECT pg_is_in_recovery()").value() == "f";
        } catch (const support::QueryError&) {
            return false;
        }
    }
    /// Until `standby` may take over: from then on it has all that is acknowledged.
    void await_standby(const Member& standby) const {
        support::block_until(
            [&] { return ask("GET", "/cluster").find("sync_standby") != std::string::npos; });
        query(dsn(), "CHECKPOINT");  // by the process that tells the others
        support::catch_up(standby.dsn(), dsn());
    }
    void hand_over(const Member& next) const {
        const std::string answer =
            ask("POST", "/switchover",
                R"({"leader": ")" + name_ + R"(", "candidate": ")" + next.name_ + R"("})");
        if (answer.find(" 200 ") == std::string::npos) throw std::runtime_error{answer};
    }
    /// The server, and the Patroni that would start it again.
    void kill() {
        daemon_.kill();
        pid_t server = 0;
        std::ifstream{folder_.path() / "data" / "postmaster.pid"} >> server;
        if (server > 0) ::kill(server, SIGKILL);  // what it has started ends by itself
    }

private:
    /// The whole answer of Patroni.
    std::string ask(const std::string& verb, const std::string& path,
                    const std::string& body = {}) const {
        asio::io_context io;
        asio::ip::tcp::socket socket{io};
        socket.connect({asio::ip::address_v4::loopback(), control_});
        asio::write(socket, asio::buffer(verb + " " + path + " HTTP/1.0\r\nContent-Length: " +
                                         std::to_string(body.size()) + "\r\n\r\n" + body));
        std::string answer;
        boost::system::error_code end;
        asio::read(socket, asio::dynamic_buffer(answer), end);
        return answer;
    }
    std::filesystem::path configuration() const { return folder_.path() / "patroni.yml"; }

    const std::string name_;
    txscope::detail::TemporaryFolder folder_{user};
    std::uint16_t port_ = txscope::detail::find_free_port();
    std::uint16_t control_ = txscope::detail::find_free_port();
    support::Daemon daemon_{{"patroni", configuration().string()},
                            (folder_.path() / "log").string()};
};

int run(bool through_haproxy) {
    const support::Watchdog watchdog{"patroni", 2 * support::patience};
    const Etcd etcd;
    Member one{"one", etcd};
    support::block_until([&] { return one.leads(); });
    Member other{"other", etcd};
    query(one.dsn(), Transfers::schema);

    std::optional<support::HaProxy> proxy;
    std::string dsn = "host=127.0.0.1,127.0.0.1 port=" + std::to_string(one.port()) + "," +
                      std::to_string(other.port()) + " dbname=postgres user=postgres";
    if (through_haproxy) {
        const support::HaProxy::Options asked{
            .check = support::HaProxy::Check::leads,
            .control_ports = {one.control_port(), other.control_port()}};
        dsn = proxy.emplace(std::vector{one.port(), other.port()}, asked).dsn();
    }
    asio::thread_pool threads{2};
    txscope::AsyncSessionFactory sessions{threads,
                                          dsn + " target_session_attrs=read-write",
                                          {.max_size = 16, .acquire_timeout = support::patience}};
    Transfers transfers{sessions, 10'000'000};
    transfers.start(threads, 64);
    one.await_standby(other);
    transfers.await_more(1000);

    const auto tell = [&](const char* what) {
        fmt::print("{}, {}: nothing acknowledged for {} ms at most\n",
                   through_haproxy ? "through HAProxy" : "over both addresses", what,
                   transfers.longest_gap().count());
        std::fflush(stdout);
    };
    tell("at rest");
    one.hand_over(other);
    support::block_until([&] { return other.leads(); });
    transfers.await_more(1000);
    tell("switchover");
    other.await_standby(one);
    transfers.await_more(1000);
    other.kill();
    support::block_until([&] { return one.leads(); });
    transfers.await_more(1000);
    tell("leader killed");
    transfers.stop();

    fmt::print("{} acknowledged, {} in doubt, at most {} attempts\n", transfers.acknowledged(),
               transfers.in_doubt(), transfers.most_attempts());
    auto wrong = transfers.mistakes(one.dsn());
    for (const auto& [text, times] : transfers.failures())
        wrong.push_back(std::to_string(times) + " times: " + text);
    for (const std::string& what : wrong) fmt::print(stderr, "WRONG: {}\n", what);
    return wrong.empty() ? 0 : 1;
}

}  // namespace

int main() try {
    for (const char* program : {"/usr/bin/patroni", "/usr/bin/etcd", "/usr/sbin/haproxy"})
        if (!std::filesystem::exists(program)) {
            fmt::print("there is no {}\n", program);
            return 77;
        }
    const int direct = run(false);
    return direct != 0 ? direct : run(true);
} catch (const std::exception& error) {
    fmt::print(stderr, "patroni: {}\n", error.what());
    return 1;
}
