#include "support/catch.hpp"
#include "support/run.hpp"
#include <txscope/net/notification.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

namespace asio = boost::asio;
using txscope::detail::Notification;

namespace {

// A coroutine that waits for a notification in a context of its own.
struct Receiver {
    explicit Receiver(Notification::TimePoint deadline = Notification::TimePoint::max()) {
        asio::co_spawn(*io, receive(deadline), asio::detached);
        io->poll();
    }

    asio::awaitable<void> receive(Notification::TimePoint deadline) {
        Notification notification{co_await asio::this_coro::executor};
        sender = notification.sender();
        co_await notification.wait(deadline);
        woken = true;
        sent = notification.sent();
    }

    std::optional<Notification::Sender> sender;
    bool woken = false;
    bool sent = false;
    std::unique_ptr<asio::io_context> io = std::make_unique<asio::io_context>();
};

}  // namespace

TEST_CASE("a notification wakes the coroutine that waits for it", "[notification]") {
    Receiver receiver;
    CHECK_FALSE(receiver.woken);
    std::thread{*receiver.sender}.join();
    receiver.io->run();
    CHECK(receiver.woken);
    CHECK(receiver.sent);
}

TEST_CASE("a notification that was sent before the wait ends it at once", "[notification]") {
    asio::io_context io;
    support::run(io, []() -> asio::awaitable<void> {
        Notification notification{co_await asio::this_coro::executor};
        notification.sender()();
        co_await notification.wait();
        CHECK(notification.sent());
    });
}

TEST_CASE("the wait for a notification that nobody sends ends at its deadline", "[notification]") {
    Receiver receiver{std::chrono::steady_clock::now()};
    receiver.io->run();
    CHECK(receiver.woken);
    CHECK_FALSE(receiver.sent);
}

TEST_CASE("a notification may be sent to a context that is gone", "[notification]") {
    Receiver receiver;
    receiver.io.reset();
    (*receiver.sender)();
    CHECK_FALSE(receiver.woken);
}

// ThreadSanitizer says so: nothing orders the sender after what the destruction did until then.
TEST_CASE("a notification may be sent while another thread destroys the receiver's context",
          "[notification]") {
    std::atomic<bool> destroying = false;
    std::atomic<bool> sent = false;
    const auto await = [](const std::atomic<bool>& flag) {
        while (!flag.load(std::memory_order_relaxed)) std::this_thread::yield();
    };
    const auto have_it_sent = [&](void*) {
        destroying.store(true, std::memory_order_relaxed);
        await(sent);
    };
    // Asio empties its timers, then destroys what waited in them: the last that came first. It is
    // sent before a timer is destroyed, whose lock would order the two threads.
    const auto wait_too = [&]() -> asio::awaitable<void> {
        Notification never{co_await asio::this_coro::executor};
        const std::unique_ptr<void, decltype(have_it_sent)> before_it{&sent, have_it_sent};
        co_await never.wait();
    };
    Receiver receiver;
    asio::co_spawn(*receiver.io, wait_too(), asio::detached);
    receiver.io->poll();
    std::thread sender{[&] {
        await(destroying);
        (*receiver.sender)();
        sent.store(true, std::memory_order_relaxed);
    }};
    receiver.io.reset();
    sender.join();
    CHECK_FALSE(receiver.woken);
}
