#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/run.hpp"
#include "support/sanitizers.hpp"
#include <txscope/net/descriptor_registration.hpp>
#include <txscope/net/socket_watcher.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace asio = boost::asio;
using txscope::detail::BasicSocketWatcher;
using txscope::detail::Clock;
using txscope::detail::DescriptorRegistration;

#ifdef TXSCOPE_HAS_REACTOR_REGISTRATION
using txscope::detail::ReactorRegistration;
#define REGISTRATIONS ReactorRegistration, DescriptorRegistration
#else
#define REGISTRATIONS DescriptorRegistration
#endif

// The sanitizers have one of their own, from which they learn.
#if !defined(TXSCOPE_TESTS_ADDRESS_SANITIZER) && !defined(TXSCOPE_TESTS_THREAD_SANITIZER)
#define COUNTS_EPOLL_CONTROLS
static std::atomic<int> epoll_controls = 0;
extern "C" int epoll_ctl(int epoll, int what, int descriptor, epoll_event* event) noexcept {
    ++epoll_controls;
    return static_cast<int>(syscall(SYS_epoll_ctl, epoll, what, descriptor, event));
}
#endif

namespace {

// Two sockets, the near one of which is watched.
struct Sockets {
    Sockets() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both) == 0); }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;
    ~Sockets() {
        close_far();
        ::close(near());
    }

    int near() const { return both[0]; }
    int far() const { return both[1]; }
    void close_far() {
        if (far() >= 0) ::close(std::exchange(both[1], -1));
    }
    void send(const std::string& text = "x") const { REQUIRE(try_to_send(far(), text)); }
    std::string receive(std::size_t most = 100) const {
        std::string text(most, '\0');
        const auto got = ::recv(near(), text.data(), most, 0);
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }

    static bool try_to_send(int socket, const std::string& text) {
        return ::send(socket, text.data(), text.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(text.size());
    }

    int both[2];
};

template <typename Registration>
struct Watched {
    Sockets sockets;
    std::unique_ptr<asio::io_context> io = std::make_unique<asio::io_context>();
    BasicSocketWatcher<Registration> watcher{io->get_executor(), sockets.near()};
    int ended = 0;

    void wait() {
        watcher.async_wait_readable([this] { ++ended; });
    }
    void wait_cancellably(asio::cancellation_signal& signal) {
        watcher.async_wait_readable(
            asio::bind_cancellation_slot(signal.slot(), [this] { ++ended; }));
    }
    void wait_until(Clock::time_point deadline) {
        asio::co_spawn(*io, waiting_until(deadline), asio::detached);
        go_on();
    }
    asio::awaitable<void> waiting_until(Clock::time_point deadline) {
        co_await watcher.wait_readable(deadline);
        ++ended;
    }
    void go_on() {
        io->restart();
        io->poll();
    }
    void run() {
        io->restart();
        io->run();
    }
};

}  // namespace

TEMPLATE_TEST_CASE("a wait ends when something comes", "[socket_watcher]", REGISTRATIONS) {
    Watched<TestType> watched;
    watched.wait();
    watched.go_on();
    CHECK(watched.ended == 0);
    watched.sockets.send();
    watched.run();
    CHECK(watched.ended == 1);
    CHECK(watched.sockets.receive() == "x");
}

TEMPLATE_TEST_CASE("a wait ends at once when something has come before", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    SECTION("before anybody looked") { watched.sockets.send(); }
    SECTION("while nobody waited") {
        watched.go_on();
        watched.sockets.send();
        watched.go_on();
    }
    watched.wait();
    CHECK(watched.ended == 0);  // an operation never completes where it is started
    watched.run();
    CHECK(watched.ended == 1);
}

TEMPLATE_TEST_CASE("readiness ends all waits that there are, and those that come until it is read",
                   "[socket_watcher]", REGISTRATIONS) {
    Watched<TestType> watched;
    for (int i = 0; i < 3; ++i) watched.wait();
    watched.sockets.send();
    watched.run();
    CHECK(watched.ended == 3);

    // Whoever was told may have had no use for it.
    for (int i = 0; i < 2; ++i) {
        watched.wait();
        watched.run();
        CHECK(watched.ended == 4 + i);
    }

    watched.watcher.about_to_read();
    CHECK(watched.sockets.receive() == "x");
    watched.wait();
    watched.go_on();
    CHECK(watched.ended == 5);
}

TEMPLATE_TEST_CASE("waits end in the order in which they began", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    std::string order;
    for (const char name : {'a', 'b', 'c'})
        watched.watcher.async_wait_readable([&order, name] { order += name; });
    watched.watcher.wake();
    watched.run();
    CHECK(order == "abc");
}

TEMPLATE_TEST_CASE("waking ends all waits that there are, and no later one", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    watched.watcher.wake();
    for (int i = 0; i < 3; ++i) watched.wait();
    watched.go_on();
    CHECK(watched.ended == 0);
    watched.watcher.wake();
    watched.run();
    CHECK(watched.ended == 3);

    watched.wait();
    watched.go_on();
    CHECK(watched.ended == 3);
}

TEMPLATE_TEST_CASE("a wait can be cancelled, in each of Asio's ways", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    asio::cancellation_signal signal;
    watched.wait_cancellably(signal);
    watched.go_on();
    CHECK(watched.ended == 0);
    signal.emit(GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                         asio::cancellation_type::total));
    watched.run();
    CHECK(watched.ended == 1);
}

TEMPLATE_TEST_CASE("a cancellation that comes after the end of the wait does no harm",
                   "[socket_watcher]", REGISTRATIONS) {
    asio::cancellation_signal signal;
    Watched<TestType> watched;
    watched.wait_cancellably(signal);
    watched.watcher.wake();
    watched.run();
    signal.emit(asio::cancellation_type::terminal);
    watched.go_on();
    CHECK(watched.ended == 1);
}

TEMPLATE_TEST_CASE("a wait ends at its deadline, and before it by all that ends waits",
                   "[socket_watcher]", REGISTRATIONS) {
    Watched<TestType> watched;
    SECTION("which is over already") { watched.wait_until(Clock::now() - std::chrono::seconds{1}); }
    SECTION("which is soon") { watched.wait_until(Clock::now() + std::chrono::milliseconds{5}); }
    SECTION("readiness") {
        watched.wait_until(Clock::time_point::max());
        CHECK(watched.ended == 0);
        watched.sockets.send();
    }
    SECTION("waking") {
        watched.wait_until(Clock::time_point::max());
        watched.watcher.wake();
    }
    watched.run();
    CHECK(watched.ended == 1);
}

TEMPLATE_TEST_CASE("a wait completes on its handler's executor", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    asio::io_context other;
    bool ended = false;
    watched.watcher.async_wait_readable(
        asio::bind_executor(other.get_executor(), [&] { ended = true; }));
    watched.sockets.send();
    watched.run();
    CHECK_FALSE(ended);
    other.run();
    CHECK(ended);
}

TEMPLATE_TEST_CASE("what waits keeps its context at work, and the watcher does not",
                   "[socket_watcher]", REGISTRATIONS) {
    Watched<TestType> watched;
    watched.go_on();
    CHECK(watched.io->stopped());
    watched.wait();
    watched.go_on();
    CHECK_FALSE(watched.io->stopped());
    watched.watcher.wake();
    watched.go_on();
    CHECK(watched.io->stopped());
}

TEMPLATE_TEST_CASE("a watcher moves to another execution context, and back", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    asio::io_context other;
    watched.wait();
    watched.watcher.move_to(watched.io->get_executor());  // where it is
    watched.go_on();
    CHECK(watched.ended == 0);

    watched.watcher.move_to(other.get_executor());
    CHECK(watched.watcher.get_executor() == other.get_executor());
    watched.go_on();
    CHECK(watched.ended == 1);

    watched.wait();
    watched.sockets.send();
    watched.go_on();
    CHECK(watched.ended == 1);
    other.run();
    CHECK(watched.ended == 2);

    watched.watcher.move_to(watched.io->get_executor());
    watched.wait();  // what has come is there still
    watched.go_on();
    CHECK(watched.ended == 3);
}

TEMPLATE_TEST_CASE("a peer that closes its end ends the wait", "[socket_watcher]", REGISTRATIONS) {
    Watched<TestType> watched;
    watched.wait();
    watched.sockets.close_far();
    watched.run();
    CHECK(watched.ended == 1);
    watched.wait();  // or nobody would ever be told once that was read
    watched.watcher.wake();
    watched.go_on();
    CHECK(watched.ended == 2);
}

TEMPLATE_TEST_CASE("a watcher that is destroyed ends its waits, and lets go of the socket",
                   "[socket_watcher]", REGISTRATIONS) {
    Sockets sockets;
    asio::io_context io;
    asio::cancellation_signal signal;
    int ended = 0;
    {
        BasicSocketWatcher<TestType> watcher{io.get_executor(), sockets.near()};
        watcher.async_wait_readable(asio::bind_cancellation_slot(signal.slot(), [&] { ++ended; }));
        while (Sockets::try_to_send(sockets.near(), std::string(1000, 'x'))) {
        }
        watcher.wake_when_writable();
    }
    io.run();
    CHECK(ended == 1);
    ::shutdown(sockets.near(), SHUT_RD);
    signal.emit(asio::cancellation_type::terminal);
    ::close(std::exchange(sockets.both[0], -1));
    std::string rest(1'000'000, '\0');
    while (::recv(sockets.far(), rest.data(), rest.size(), 0) > 0) {
    }
    CHECK(::recv(sockets.far(), rest.data(), rest.size(), 0) == 0);  // no other descriptor is left
}

TEMPLATE_TEST_CASE("a socket that takes something again ends the waits", "[socket_watcher]",
                   REGISTRATIONS) {
    Watched<TestType> watched;
    while (Sockets::try_to_send(watched.sockets.near(), std::string(1000, 'x'))) {
    }
    watched.watcher.wake_when_writable();
    watched.watcher.wake_when_writable();
    const bool waits_already = GENERATE(true, false);
    if (waits_already) watched.wait();
    watched.go_on();
    CHECK(watched.ended == 0);
    std::string rest(1'000'000, '\0');
    while (::recv(watched.sockets.far(), rest.data(), rest.size(), 0) > 0) {
    }
    watched.go_on();
    if (!waits_already) watched.wait();
    watched.go_on();
    CHECK(watched.ended == 1);
    watched.watcher.about_to_read();
    watched.watcher.wake_when_writable();  // again, and at once
    watched.wait();
    watched.run();
    CHECK(watched.ended == 2);
}

TEMPLATE_TEST_CASE("what cannot be watched is told, and nothing is left open", "[socket_watcher]",
                   REGISTRATIONS) {
    asio::io_context io;
    const auto next = [] {
        const int descriptor = ::dup(0);
        ::close(descriptor);
        return descriptor;
    };
    BasicSocketWatcher<TestType>{io.get_executor(), Sockets{}.near()};  // makes the reactor
    const auto before = next();
    const auto watch = [&](int descriptor) {
        BasicSocketWatcher<TestType>{io.get_executor(), descriptor};
    };
    CHECK_THROWS_AS(watch(-1), boost::system::system_error);
    const int folder = ::open("/", O_RDONLY);
    if constexpr (!std::is_same_v<TestType, DescriptorRegistration>)
        CHECK_THROWS_AS(watch(folder), boost::system::system_error);  // Asio is told when it waits
    ::close(folder);
    CHECK(next() == before);
}

TEMPLATE_TEST_CASE("a context that is destroyed destroys what waits", "[socket_watcher]",
                   REGISTRATIONS) {
    Sockets sockets;
    auto io = std::make_unique<asio::io_context>();
    const auto alive = std::make_shared<int>();
    // The watcher is part of what waits, as a connection is.
    const auto wait = [&, alive](Clock::time_point deadline) -> asio::awaitable<void> {
        const auto held = alive;
        BasicSocketWatcher<TestType> watcher{co_await asio::this_coro::executor, sockets.near()};
        watcher.wake_when_writable();
        co_await watcher.wait_readable(deadline);
        for (int i = 0; i < 2; ++i) {
            watcher.about_to_read();
            co_await watcher.async_wait_readable();
        }
    };
    asio::co_spawn(*io, wait(Clock::time_point::max()), asio::detached);
    asio::co_spawn(*io, wait(Clock::now()), asio::detached);
    io->poll();
    CHECK(alive.use_count() > 2);
    io.reset();
    CHECK(alive.use_count() == 2);
}

TEMPLATE_TEST_CASE("nothing that comes is missed, however it is cut and whoever runs the context",
                   "[socket_watcher]", REGISTRATIONS) {
    constexpr std::size_t total = 200'000;
    constexpr std::size_t at_once = 7;
    const int threads = GENERATE(1, 2, 3);
    Sockets sockets;
    asio::io_context io{threads};
    BasicSocketWatcher<TestType> watcher{io.get_executor(), sockets.near()};
    std::atomic<std::size_t> received = 0;
    std::atomic<int> reading = 2;
    // Two read what there is, as the branches of a transaction do.
    const auto read = [&]() -> asio::awaitable<void> {
        while (received < total) {
            watcher.about_to_read();
            const auto got = sockets.receive(at_once).size();
            received += got;
            if (received < total && got < at_once) co_await watcher.async_wait_readable();
        }
        watcher.wake();
        --reading;
    };
    std::thread writer{[&] {
        std::size_t sent = 0;
        for (std::size_t size = 1; sent < total; size = size % 40 + 1) {
            const auto part = std::min(size, total - sent);
            while (!Sockets::try_to_send(sockets.far(), std::string(part, 'x')))
                std::this_thread::yield();
            sent += part;
            if (size % 4 == 0) std::this_thread::yield();
        }
    }};
    const asio::any_io_executor strand = asio::make_strand(io);
    for (int i = 0; i < 2; ++i) asio::co_spawn(strand, read(), asio::detached);
    support::run(io, [&] { return support::eventually([&] { return reading == 0; }); },
                 {.threads = threads});
    writer.join();
    CHECK(received == total);
}

#ifdef TXSCOPE_HAS_REACTOR_REGISTRATION
TEST_CASE("a watcher outlives its context, and moves to another", "[socket_watcher]") {
    Watched<ReactorRegistration> watched;
    asio::io_context other;
    watched.wait();
    watched.io.reset();
    watched.watcher.wake();
    watched.watcher.move_to(other.get_executor());
    watched.wait();
    watched.sockets.send();
    other.run();
    CHECK(watched.ended == 1);
}

// ThreadSanitizer and AddressSanitizer say so.
TEST_CASE("waits may be woken while another thread destroys their context", "[socket_watcher]") {
    for (int round = 0; round < 200; ++round) {
        Watched<ReactorRegistration> watched;
        const auto waiting = std::make_shared<int>();
        for (int i = 0; i < 3; ++i) watched.watcher.async_wait_readable([waiting] {});
        std::atomic<bool> started = false;
        std::thread waker{[&] {
            started = true;
            watched.watcher.wake();
        }};
        while (!started) std::this_thread::yield();
        watched.io.reset();
        waker.join();
        CHECK(waiting.use_count() == 1);
    }
}

#ifdef COUNTS_EPOLL_CONTROLS
TEST_CASE("a round trip changes nothing of what the reactor watches", "[socket_watcher]") {
    Watched<ReactorRegistration> watched;
    const auto round_trips = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 100; ++i) {
            asio::post(*watched.io, [&] { watched.sockets.send(); });
            watched.watcher.about_to_read();
            while (watched.sockets.receive().empty()) {
                co_await watched.watcher.async_wait_readable();
                watched.watcher.about_to_read();
            }
        }
    };
    support::run(*watched.io, round_trips());
    const int before = epoll_controls;
    support::run(*watched.io, round_trips());
    CHECK(epoll_controls == before);
}
#endif
#endif
