#pragma once

#include <libpq-fe.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace benchmark {

/// Stands between clients, on TCP, and a server on a Unix socket: as a network of that delay would,
/// in the order in which it was sent, and however much it is. It counts round trips: how often a
/// client speaks again after the server has spoken.
///
/// That is what a network would see, whatever the client's library believes it does.
class Network {
public:
    explicit Network(const std::string& dsn,
                     std::chrono::nanoseconds round_trip = std::chrono::nanoseconds::zero())
        : delay_{round_trip / 2} {
        read_address(dsn);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        const auto generic = reinterpret_cast<sockaddr*>(&address);
        if (bind(listener_, generic, length) != 0 || listen(listener_, 64) != 0 ||
            getsockname(listener_, generic, &length) != 0)
            throw std::runtime_error{"network: cannot listen"};
        dsn_ = "host=127.0.0.1 port=" + std::to_string(ntohs(address.sin_port)) +
               " sslmode=disable gssencmode=disable" + user_and_database_;
        for (const int file : {stop_, timer_, listener_}) watch(file);
        thread_ = std::thread{[this] { serve(); }};
    }
    Network(const Network&) = delete;

    ~Network() {
        eventfd_write(stop_, 1);
        thread_.join();
        while (!ways_.empty()) hang_up(ways_.begin()->first);
        for (const int file : {listener_, stop_, timer_, epoll_}) close(file);
    }

    /// The server's connection string, with this one's address in the place of the server's.
    const std::string& dsn() const { return dsn_; }

    std::int64_t round_trips() const { return round_trips_; }

private:
    using Clock = std::chrono::steady_clock;

    struct Chunk {
        Clock::time_point due;
        std::string bytes;  // none: the sender has hung up
    };

    /// From one socket, by which it is found, to another.
    struct Way {
        int to;
        bool from_client;
        bool answered = true;  // from a client: the server was the last to speak
        std::deque<Chunk> chunks{};
    };

    void read_address(const std::string& dsn) {
        const std::unique_ptr<PGconn, decltype(&PQfinish)> probe{PQconnectdb(dsn.c_str()),
                                                                 &PQfinish};
        if (PQstatus(probe.get()) != CONNECTION_OK) throw std::runtime_error{"network: no server"};
        const std::string path =
            std::string{PQhost(probe.get())} + "/.s.PGSQL." + PQport(probe.get());
        if (path[0] != '/' || path.size() >= sizeof server_.sun_path)
            throw std::runtime_error{"network: the server is not on a Unix socket"};
        server_.sun_family = AF_UNIX;
        std::memcpy(server_.sun_path, path.c_str(), path.size() + 1);
        user_and_database_ =
            std::string{" user='"} + PQuser(probe.get()) + "' dbname='" + PQdb(probe.get()) + "'";
    }

    void watch(int file) const {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = file;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, file, &event) != 0)
            throw std::runtime_error{"network: epoll_ctl"};
    }

    void serve() {
        for (;;) {
            epoll_event events[64];
            const int ready = epoll_wait(epoll_, events, 64, -1);
            for (int i = 0; i < ready; ++i) {
                const int file = events[i].data.fd;
                if (file == stop_) return;
                if (file == listener_)
                    accept_client();
                else if (file != timer_)  // which is set anew below, and so is not ready any more
                    receive(file);
            }
            deliver();
        }
    }

    void accept_client() {
        const int client = accept(listener_, nullptr, nullptr);
        const int server = socket(AF_UNIX, SOCK_STREAM, 0);
        const int on = 1;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (client < 0 ||
            connect(server, reinterpret_cast<const sockaddr*>(&server_), sizeof server_) != 0) {
            close(client);
            close(server);
            return;
        }
        ways_[client] = {server, true};
        ways_[server] = {client, false};
        watch(client);
        watch(server);
    }

    void receive(int from) {
        Way& way = ways_.at(from);
        char buffer[65536];
        const ssize_t size = recv(from, buffer, sizeof buffer, 0);
        const auto bytes = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
        if (bytes == 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, from, nullptr);
        if (way.from_client && bytes > 0 && std::exchange(way.answered, false)) ++round_trips_;
        way.chunks.push_back({Clock::now() + delay_, std::string(buffer, bytes)});
    }

    /// Passes on what is due, and sets the timer for what comes next.
    void deliver() {
        auto next = Clock::time_point::max();
        for (auto way = ways_.begin(); way != ways_.end();) {
            const int from = way->first;
            const bool open = deliver(way->second, next);
            ++way;
            if (open) continue;
            if (way != ways_.end() && way->first == ways_.at(from).to) ++way;
            hang_up(from);
        }
        itimerspec time{};
        if (next != Clock::time_point::max()) {
            const auto left = next.time_since_epoch();
            const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
            time.it_value.tv_sec = seconds.count();
            time.it_value.tv_nsec = std::chrono::nanoseconds{left - seconds}.count();
        }
        timerfd_settime(timer_, TFD_TIMER_ABSTIME, &time, nullptr);
    }

    /// False when nobody is left to pass it on to.
    bool deliver(Way& way, Clock::time_point& next) {
        const Clock::time_point now = Clock::now();
        while (!way.chunks.empty() && way.chunks.front().due <= now) {
            Chunk& chunk = way.chunks.front();
            const ssize_t sent =
                send(way.to, chunk.bytes.data(), chunk.bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0 && errno == EAGAIN) {  // its buffer is full: again in a moment
                next = std::min(next, now + std::chrono::microseconds{50});
                return true;
            }
            if (sent <= 0) return false;
            if (!way.from_client) ways_.at(way.to).answered = true;
            chunk.bytes.erase(0, static_cast<std::size_t>(sent));
            if (chunk.bytes.empty()) way.chunks.pop_front();
        }
        if (!way.chunks.empty()) next = std::min(next, way.chunks.front().due);
        return true;
    }

    void hang_up(int file) {
        const int other = ways_.at(file).to;
        for (const int end : {file, other}) {
            ways_.erase(end);
            close(end);
        }
    }

    std::chrono::nanoseconds delay_;
    sockaddr_un server_{};
    std::string user_and_database_;
    std::string dsn_;
    int listener_ = socket(AF_INET, SOCK_STREAM, 0);
    int epoll_ = epoll_create1(EPOLL_CLOEXEC);
    int stop_ = eventfd(0, 0);
    int timer_ = timerfd_create(CLOCK_MONOTONIC, 0);
    std::map<int, Way> ways_;
    std::atomic<std::int64_t> round_trips_ = 0;
    std::thread thread_;
};

}  // namespace benchmark
