#pragma once

#include <txscope/testing/detail/guardian_process.hpp>
#include <txscope/testing/temporary_postgres_error.hpp>

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace txscope::detail {

/// A process between the test and the server that sees to it that neither outlives the other.
///
/// It is forked once, runs one program at a time for us, and reads requests from a socket. When
/// that socket closes, for whatever reason (the destructor, `exit`, a crash, SIGKILL), it ends the
/// program with all that the program started, removes the folder, and ends.
///
/// Not for use from several threads at once.
class Guardian {
public:
    /// `programs` are argument vectors, an absolute path first; all write to the file `log`.
    Guardian(const std::filesystem::path& folder, const std::filesystem::path& log,
             std::span<const std::vector<std::string>> programs,
             const std::vector<std::string>& environment, const ServerUser& user);
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;

    /// Waits until everything has ended and the folder is gone.
    ~Guardian();

    /// Start one of the programs.
    void start(int program);

    /// How the program ended, as `waitpid` puts it; nothing while it runs. 0 if none was started.
    std::optional<int> exit_status();
    bool running() { return !exit_status(); }

    void signal(int number) { ask({GuardianVerb::signal, number}, "signal the server"); }
    void pause() { ask({GuardianVerb::pause, 0}, "pause the server"); }
    void resume() { ask({GuardianVerb::resume, 0}, "resume the server"); }

    /// Kill the program and everything it started; returns when all of it is gone.
    void kill() { ask({GuardianVerb::kill, 0}, "kill the server"); }

private:
    GuardianReply ask(GuardianRequest request, const char* what);
    GuardianReply await_reply(const char* what);

    pid_t process_ = -1;
    pid_t owner_ = ::getpid();
    int control_ = -1;
};

inline Guardian::Guardian(const std::filesystem::path& folder, const std::filesystem::path& log,
                          std::span<const std::vector<std::string>> programs,
                          const std::vector<std::string>& environment, const ServerUser& user) {
    const auto pointers = [](const std::vector<std::string>& strings) {
        std::vector<const char*> found;
        for (const std::string& text : strings) found.push_back(text.c_str());
        found.push_back(nullptr);
        return found;
    };
    std::vector<std::vector<const char*>> arguments;
    for (const auto& program : programs) arguments.push_back(pointers(program));
    const std::vector<const char*> variables = pointers(environment);

    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno("cannot speak to a guardian process");
    control_ = ends[0];
    const GuardianPlan plan{ends[1],          folder.c_str(),   log.c_str(),
                            arguments.data(), variables.data(), &user};

    // A handler of ours must not run in the child: it would act on what it shares with us.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    process_ = ::fork();
    if (process_ == 0) GuardianProcess{plan}.run();
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::close(ends[1]);
    if (process_ < 0) {
        ::close(control_);
        throw_errno("cannot start a guardian process", error);
    }
    if (const GuardianReply reply = await_reply("become the server's user"); reply.detail != 0) {
        ::close(control_);
        ::waitpid(process_, nullptr, 0);
        throw TemporaryPostgresError{"cannot become the unprivileged user that runs the server: " +
                                     std::generic_category().message(reply.detail)};
    }
}

inline Guardian::~Guardian() {
    ::close(control_);
    if (::getpid() != owner_) return;  // a forked copy of us: the server is the original's
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

inline void Guardian::start(int program) {
    const GuardianReply reply = ask({GuardianVerb::start, program}, "start a program");
    if (reply.detail != 0)
        throw TemporaryPostgresError{"cannot start the server's program: " +
                                     std::generic_category().message(reply.detail)};
}

inline std::optional<int> Guardian::exit_status() {
    const GuardianReply reply = ask({GuardianVerb::status, 0}, "look after the server");
    if (reply.value != 0) return std::nullopt;
    return reply.detail;
}

inline GuardianReply Guardian::ask(GuardianRequest request, const char* what) {
    if (::send(control_, &request, sizeof request, MSG_NOSIGNAL) != sizeof request)
        throw TemporaryPostgresError{std::string{"the guardian process is gone, cannot "} + what};
    return await_reply(what);
}

inline GuardianReply Guardian::await_reply(const char* what) {
    pollfd readable{control_, POLLIN, 0};
    int ready = 0;
    while ((ready = ::poll(&readable, 1, 60'000)) < 0 && errno == EINTR) {
    }
    GuardianReply reply{};
    if (ready <= 0 || ::recv(control_, &reply, sizeof reply, 0) != sizeof reply)
        throw TemporaryPostgresError{std::string{"the guardian process does not answer, cannot "} +
                                     what};
    return reply;
}

}  // namespace txscope::detail
