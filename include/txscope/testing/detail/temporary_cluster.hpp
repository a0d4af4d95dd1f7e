#pragma once

#include <txscope/testing/detail/temporary_folder.hpp>
#include <txscope/testing/temporary_postgres_error.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace txscope::detail {

/// Another process listens on the port that was chosen.
class PortTaken : public TemporaryPostgresError {
public:
    using TemporaryPostgresError::TemporaryPostgresError;
};

/// Ask until `condition` holds; false when it does not within `limit`.
template <class Condition>
bool poll_until(std::chrono::milliseconds limit, Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
    return true;
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream{path, std::ios::binary}.rdbuf();
    return text.str();
}

inline std::string last_lines(const std::string& text, int count) {
    std::size_t at = text.size();
    while (at > 0 && count >= 0)
        if (text[--at] == '\n' && count-- == 0) return text.substr(at + 1);
    return text;
}

inline void append_lines(const std::filesystem::path& path, const std::vector<std::string>& lines) {
    std::ofstream file{path, std::ios::app};
    for (const std::string& line : lines) file << line << '\n';
    if (!file.flush()) throw TemporaryPostgresError{"cannot write " + path.string()};
}

inline void write_private_file(const std::filesystem::path& path, const std::string& text,
                               const ServerUser& user) {
    std::ofstream{path} << text << '\n';
    if (::chmod(path.c_str(), S_IRUSR) != 0) throw_errno("cannot write " + path.string());
    if (user.differs && ::chown(path.c_str(), user.uid, user.gid) != 0)
        throw_errno("cannot give " + path.string() + " to the server's user");
}

/// A value of postgresql.conf (PostgreSQL manual, "Parameter Names and Values").
inline std::string quote_setting(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) {
        if (c == '\'') quoted += c;
        quoted += c;
    }
    return quoted + "'";
}

/// The environment of initdb and the server: nothing of the caller's may change what they do.
inline std::vector<std::string> server_environment() {
    // With TZ named, initdb need not compare the machine's clock with every zone it knows.
    std::vector<std::string> environment{"LC_ALL=C", "TZ=UTC"};
    for (const char* name : {"PATH", "LD_LIBRARY_PATH"})
        if (const char* value = std::getenv(name))
            environment.push_back(std::string{name} + "=" + value);
    return environment;
}

/// A free port below the ephemeral range, from which the kernel would give ours to any request
/// connection while the server is stopped.
inline std::uint16_t find_free_port() {
    std::random_device random;
    std::uniform_int_distribution<int> ports{10'000, 32'000};
    for (int attempt = 0; attempt < 100; ++attempt) {
        const auto port = static_cast<std::uint16_t>(ports(random));
        const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (probe < 0) throw_errno("cannot look for a free port");
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int bound =
            ::bind(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
        ::close(probe);
        if (bound == 0) return port;
    }
    throw TemporaryPostgresError{"no free TCP port found on 127.0.0.1"};
}

/// Clear away what a killed server could not: its lock files, and the small System V segment that
/// serves as its interlock. Only to be called when no process of it is left.
inline void remove_stale_locks(const std::filesystem::path& data,
                               const std::filesystem::path& sockets, std::uint16_t port) {
    std::istringstream lock_file{read_file(data / "postmaster.pid")};
    std::string line;
    for (int number = 1; std::getline(lock_file, line); ++number) {
        int key = 0;
        int segment = -1;
        // The seventh line holds the segment's key and identifier.
        if (number == 7 && std::istringstream{line} >> key >> segment)
            ::shmctl(segment, IPC_RMID, nullptr);
    }
    std::error_code none;
    std::filesystem::remove(data / "postmaster.pid", none);
    const std::string socket = ".s.PGSQL." + std::to_string(port);
    std::filesystem::remove(sockets / socket, none);
    std::filesystem::remove(sockets / (socket + ".lock"), none);
}

}  // namespace txscope::detail
