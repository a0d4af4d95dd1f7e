#pragma once

#include <txscope/testing/detail/server_user.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// A program that runs beside a test, as the user whom servers of tests run as, and ends with it,
/// however that ends.
class Daemon {
public:
    /// The name of the program, and its arguments. What it prints goes to the file `log`, if there is to
    /// be one.
    explicit Daemon(std::vector<std::string> command, std::string log = {})
        : command_{std::move(command)}, log_{std::move(log)} {}
    Daemon(const Daemon&) = delete;
    ~Daemon() { kill(); }

    void start() {
        // Where programs are that are for administrators, too; nothing may be allocated after fork().
        std::vector<std::string> places{"/usr/sbin/" + command_.front(),
                                        "/usr/bin/" + command_.front()};
        std::vector<char*> arguments;
        for (std::string& argument : command_) arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        process_ = ::fork();
        if (process_ < 0) throw std::runtime_error{"no process for " + command_.front()};
        if (process_ != 0) return;
        if (user_.differs && (::setgroups(user_.groups.size(), user_.groups.data()) != 0 ||
                              ::setgid(user_.gid) != 0 || ::setuid(user_.uid) != 0))
            ::_exit(126);
        if (!log_.empty()) {
            const int file = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
            ::dup2(file, STDOUT_FILENO);
            ::dup2(file, STDERR_FILENO);
        }
        if (::chdir("/") != 0) ::_exit(126);  // ours may not be for that user
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (const std::string& place : places) ::execv(place.c_str(), arguments.data());
        ::_exit(127);
    }

    /// @throws std::runtime_error when it does not run any more
    void check_running() {
        int status = 0;
        if (process_ > 0 && ::waitpid(process_, &status, WNOHANG) != process_) return;
        process_ = 0;
        throw std::runtime_error{command_.front() + " did not start: is it installed?"};
    }

    /// The plug pulled: all its connections are reset.
    void kill() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = 0;
    }

    const txscope::detail::ServerUser& user() const { return user_; }

private:
    std::vector<std::string> command_;
    std::string log_;
    txscope::detail::ServerUser user_ = txscope::detail::find_server_user();
    pid_t process_ = 0;
};

}  // namespace support
