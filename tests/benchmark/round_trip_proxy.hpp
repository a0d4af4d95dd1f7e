#pragma once

#include <libpq-fe.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace benchmark {

/// Stands between the clients and a server on a Unix socket, and counts round trips: how often a
/// client speaks again after the server has spoken.
///
/// It is what a network would see, whatever the client's library believes it does.
class RoundTripProxy {
public:
    explicit RoundTripProxy(const std::string& dsn) {
        read_address(dsn);
        char directory[] = "/tmp/txscope-proxy-XXXXXX";
        if (mkdtemp(directory) == nullptr) throw std::runtime_error{"proxy: mkdtemp"};
        directory_ = directory;
        listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
        dsn_ = "host='" + directory_ + "' port=" + port_ + user_and_database_;
        const sockaddr_un address = address_in(directory_);
        if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            listen(listener_, 64) != 0)
            throw std::runtime_error{"proxy: cannot listen in " + directory_};
        stop_ = eventfd(0, 0);
        thread_ = std::thread{[this] { serve(); }};
    }
    RoundTripProxy(const RoundTripProxy&) = delete;

    ~RoundTripProxy() {
        eventfd_write(stop_, 1);
        thread_.join();
        for (const Pair& pair : pairs_) hang_up(pair);
        close(listener_);
        close(stop_);
        std::filesystem::remove_all(directory_);
    }

    /// The server's connection string, with the proxy's address in the place of the server's.
    const std::string& dsn() const { return dsn_; }

    std::int64_t round_trips() const { return round_trips_; }

private:
    struct Pair {
        int client;
        int server;
        bool answered = true;  // the server was the last to speak
    };

    static void hang_up(const Pair& pair) {
        close(pair.client);
        close(pair.server);
    }

    void read_address(const std::string& dsn) {
        const std::unique_ptr<PGconn, decltype(&PQfinish)> probe{PQconnectdb(dsn.c_str()),
                                                                 &PQfinish};
        if (PQstatus(probe.get()) != CONNECTION_OK) throw std::runtime_error{"proxy: no server"};
        server_directory_ = PQhost(probe.get());
        port_ = PQport(probe.get());
        if (server_directory_.empty() || server_directory_[0] != '/')
            throw std::runtime_error{"proxy: the server is not on a Unix socket"};
        user_and_database_ =
            std::string{" user='"} + PQuser(probe.get()) + "' dbname='" + PQdb(probe.get()) + "'";
    }

    sockaddr_un address_in(const std::string& directory) const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = directory + "/.s.PGSQL." + port_;
        if (path.size() >= sizeof address.sun_path) throw std::runtime_error{"proxy: long path"};
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        return address;
    }

    void serve() {
        for (;;) {
            std::vector<pollfd> watched{{stop_, POLLIN, 0}, {listener_, POLLIN, 0}};
            for (const Pair& pair : pairs_) {
                watched.push_back({pair.client, POLLIN, 0});
                watched.push_back({pair.server, POLLIN, 0});
            }
            poll(watched.data(), watched.size(), -1);
            if (watched[0].revents != 0) return;
            for (std::size_t i = pairs_.size(); i-- > 0;) {
                Pair& pair = pairs_[i];
                bool open = true;
                if (watched[2 + 2 * i].revents != 0) {
                    open = forward(pair.client, pair.server);
                    if (open && pair.answered) ++round_trips_;
                    pair.answered = false;
                }
                if (open && watched[3 + 2 * i].revents != 0) {
                    open = forward(pair.server, pair.client);
                    pair.answered = true;
                }
                if (open) continue;
                hang_up(pair);
                pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(i));
            }
            if (watched[1].revents != 0) accept_client();
        }
    }

    void accept_client() {
        const Pair pair{accept(listener_, nullptr, nullptr), socket(AF_UNIX, SOCK_STREAM, 0)};
        const sockaddr_un address = address_in(server_directory_);
        if (pair.client >= 0 &&
            connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
            pairs_.push_back(pair);
        else
            hang_up(pair);
    }

    static bool forward(int from, int to) {
        char buffer[65536];
        const ssize_t read_bytes = read(from, buffer, sizeof buffer);
        for (ssize_t sent = 0; sent < read_bytes;) {
            const ssize_t n =
                send(to, buffer + sent, static_cast<std::size_t>(read_bytes - sent), MSG_NOSIGNAL);
            if (n <= 0) return false;
            sent += n;
        }
        return read_bytes > 0;
    }

    std::string server_directory_;
    std::string port_;
    std::string user_and_database_;
    std::string directory_;
    std::string dsn_;
    int listener_ = -1;
    int stop_ = -1;
    std::vector<Pair> pairs_;
    std::atomic<std::int64_t> round_trips_ = 0;
    std::thread thread_;
};

}  // namespace benchmark
