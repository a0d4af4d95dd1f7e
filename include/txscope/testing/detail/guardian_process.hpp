#pragma once

#include <txscope/testing/detail/process_table.hpp>
#include <txscope/testing/detail/server_user.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <vector>

/// The guardian's own side: what runs in the forked process.
///
/// The process that forked it may have had any number of threads, whose locks are frozen as they
/// were; so between the fork and the end **only async-signal-safe calls** are made here: nothing
/// allocates, throws, or uses the standard library's streams and containers.
namespace txscope::detail {

enum class GuardianVerb : int {
    start,
    status,
    signal,
    pause,
    resume,
    kill
};

struct GuardianRequest {
    GuardianVerb verb;
    int argument;
};

struct GuardianReply {
    int value;   ///< For `status`: 1 while the program runs, else 0.
    int detail;  ///< An errno; for `status` of an ended program its wait status.
};

/// All that the guardian needs, laid out before the fork.
struct GuardianPlan {
    int control = -1;  ///< Its end of the socket pair.
    const char* folder = nullptr;
    const char* log = nullptr;
    const std::vector<const char*>* programs = nullptr;
    const char* const* environment = nullptr;
    const ServerUser* user = nullptr;
};

class GuardianProcess {
public:
    explicit GuardianProcess(const GuardianPlan& plan) : plan_{plan} {}

    /// Answer requests until the other side is gone; then end everything, and remove the folder.
    [[noreturn]] void run() {
        const int error = prepare();
        reply({0, error});
        GuardianRequest request{};
        while (error == 0 && receive(request)) reply(answer(request));
        end_program();
        const char* const arguments[] = {"rm", "-rf", "--", plan_.folder, nullptr};
        execute("/bin/rm", arguments);
        execute("/usr/bin/rm", arguments);
        ::_exit(127);
    }

private:
    int prepare() {
        ::prctl(PR_SET_NAME, "txscope-guard");
        // A session of its own: Ctrl-C ends the test, and thereby us, not the server under it.
        ::setsid();
        // Orphaned backends become our children, so none can be lost sight of.
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        // Whatever the test has open, above all its sockets and its standard output, must not
        // stay open for our sake.
        const int null = ::open("/dev/null", O_RDWR);
        for (int standard = 0; standard < 3; ++standard) ::dup2(null, standard);
        close_from(3);
        if (const ServerUser& user = *plan_.user; user.differs) {
            if (::setgroups(user.groups.size(), user.groups.data()) != 0 ||
                ::setgid(user.gid) != 0 || ::setuid(user.uid) != 0)
                return errno;
        }
        ::umask(077);
        return ::chdir(plan_.folder) == 0 ? 0 : errno;
    }

    void close_from(int first) {
        const int keep = plan_.control;
#ifdef SYS_close_range
        const auto low = static_cast<unsigned>(first);
        const auto middle = static_cast<unsigned>(keep);
        if ((low == middle || ::syscall(SYS_close_range, low, middle - 1, 0) == 0) &&
            ::syscall(SYS_close_range, middle + 1, ~0U, 0) == 0)
            return;
#endif
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        const int end = limit.rlim_cur < 65'536 ? static_cast<int>(limit.rlim_cur) : 65'536;
        for (int descriptor = first; descriptor < end; ++descriptor)
            if (descriptor != keep) ::close(descriptor);
    }

    bool receive(GuardianRequest& request) {
        ssize_t got = 0;
        while ((got = ::recv(plan_.control, &request, sizeof request, 0)) < 0 && errno == EINTR) {
        }
        return got == sizeof request;
    }

    void reply(GuardianReply message) {
        ::send(plan_.control, &message, sizeof message, MSG_NOSIGNAL);
    }

    GuardianReply answer(GuardianRequest request) {
        switch (request.verb) {
            case GuardianVerb::start:
                return {0, start(plan_.programs[request.argument].data())};
            case GuardianVerb::status:
                return {alive(), status_};
            case GuardianVerb::signal:
                return {0, alive() && ::kill(program_, request.argument) != 0 ? errno : 0};
            case GuardianVerb::pause:
                pause();
                return {0, 0};
            case GuardianVerb::resume:
                resume();
                return {0, 0};
            case GuardianVerb::kill:
                kill_all();
                return {0, 0};
        }
        return {0, EINVAL};
    }

    // Comes back only where it fails.
    void execute(const char* program, const char* const* arguments) {
        ::execve(program, const_cast<char* const*>(arguments),
                 const_cast<char* const*>(plan_.environment));  // which it leaves as they are
    }

    int start(const char* const* arguments) {
        kill_all();
        int failure[2];
        if (::pipe2(failure, O_CLOEXEC) != 0) return errno;
        const pid_t guardian = ::getpid();
        program_ = ::fork();
        if (program_ == 0) {
            // Should we be killed ourselves, the server shuts down at once. (The signal is sent
            // when the forking *thread* ends; the guardian has but one.)
            ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
            if (::getppid() != guardian) ::_exit(127);
            const int log = ::open(plan_.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
            if (log >= 0 && ::dup2(log, 1) >= 0 && ::dup2(log, 2) >= 0)
                execute(arguments[0], arguments);
            const int error = errno;
            if (::write(failure[1], &error, sizeof error) < 0) ::_exit(126);
            ::_exit(127);
        }
        int error = program_ < 0 ? errno : 0;
        ::close(failure[1]);
        if (program_ > 0 && ::read(failure[0], &error, sizeof error) > 0)
            ::waitpid(program_, &status_, 0);
        ::close(failure[0]);
        if (error != 0) program_ = 0;
        return error;
    }

    /// Whether the program runs; reaps it otherwise.
    bool alive() {
        if (program_ > 0 && ::waitpid(program_, &status_, WNOHANG) == program_) program_ = 0;
        return program_ > 0;
    }

    /// Returns when every process of the server has stopped, not merely been told to.
    void pause() {
        if (!alive() || ::kill(program_, SIGSTOP) != 0) return;
        // First the one that makes new ones. WNOWAIT leaves the answer for the next pause.
        siginfo_t stopped{};
        ::waitid(P_PID, static_cast<id_t>(program_), &stopped, WSTOPPED | WEXITED | WNOWAIT);
        if (!alive()) return;
        // Backends have sessions of their own, so no signal reaches them all at once.
        for (bool moving = true; moving;) {
            moving = false;
            for_each_child(program_, [&](pid_t child, char state) {
                if (state == 'T' || state == 't' || state == 'Z' || state == 'X') return;
                ::kill(child, SIGSTOP);
                moving = true;
            });
            if (moving) nap();
        }
    }

    void resume() {
        if (!alive()) return;
        for_each_child(program_, [](pid_t child, char) { ::kill(child, SIGCONT); });
        ::kill(program_, SIGCONT);
    }

    /// Returns when nothing of the server is left.
    void kill_all() {
        if (alive()) {
            ::kill(program_, SIGKILL);
            ::waitpid(program_, &status_, 0);
            program_ = 0;
        }
        // What it had started is ours now. We alone reap, so no number can be another's by now.
        for (;;) {
            for_each_child(::getpid(), [](pid_t child, char) { ::kill(child, SIGKILL); });
            pid_t reaped = 0;
            while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
            }
            if (reaped < 0 && errno == ECHILD) return;
            nap();
        }
    }

    /// The server is asked first, since it releases its shared memory then.
    void end_program() {
        resume();
        if (alive()) ::kill(program_, SIGQUIT);
        for (int naps = 0; alive() && naps < 4'000; ++naps) nap();
        kill_all();
    }

    static void nap() {
        const timespec two_milliseconds{0, 2'000'000};
        ::nanosleep(&two_milliseconds, nullptr);
    }

    const GuardianPlan& plan_;
    pid_t program_ = 0;
    int status_ = 0;
};

}  // namespace txscope::detail
