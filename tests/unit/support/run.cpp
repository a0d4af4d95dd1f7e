#include "support/run.hpp"

#include "support/catch.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

namespace asio = boost::asio;
using namespace std::chrono_literals;

TEST_CASE("run gives the coroutine's value, be it movable only", "[run]") {
    asio::io_context io;
    const auto value = support::run(io, []() -> asio::awaitable<std::unique_ptr<int>> {
        co_await asio::post(asio::use_awaitable);
        co_return std::make_unique<int>(42);
    });
    CHECK(*value == 42);
    CHECK(support::run(io, []() -> asio::awaitable<int> { co_return 43; }) == 43);
}

TEST_CASE("run throws what the coroutine throws, and can be called again", "[run]") {
    asio::io_context io;
    const auto fail = []() -> asio::awaitable<void> {
        co_await asio::post(asio::use_awaitable);
        throw std::domain_error{"as planned"};
    };
    CHECK_THROWS_AS(support::run(io, fail), std::domain_error);
    CHECK_THROWS_AS(support::run(io, fail), std::domain_error);
}

TEST_CASE("run ends a coroutine's test that does not end itself", "[run]") {
    asio::io_context io;
    asio::steady_timer never{io, asio::steady_timer::time_point::max()};
    const auto wait = [&]() -> asio::awaitable<void> {
        co_await never.async_wait(asio::use_awaitable);
    };
    CHECK_THROWS_AS(support::run(io, wait, {.limit = 20ms}), support::NotFinished);
}

TEST_CASE("run leaves alone what else the io_context has to do", "[run]") {
    asio::io_context io;
    asio::steady_timer never{io, asio::steady_timer::time_point::max()};
    bool fired = false;
    never.async_wait([&](boost::system::error_code) { fired = true; });
    support::run(io, []() -> asio::awaitable<void> { co_return; });
    CHECK_FALSE(fired);
    never.cancel();
    io.restart();
    io.run();
    CHECK(fired);
}

TEST_CASE("run throws what other handlers throw", "[run]") {
    asio::io_context io;
    asio::steady_timer never{io, asio::steady_timer::time_point::max()};
    asio::post(io, [] { throw std::range_error{"out of a handler"}; });
    const auto wait = [&]() -> asio::awaitable<void> {
        co_await never.async_wait(asio::use_awaitable);
    };
    const int threads = GENERATE(1, 3);
    CHECK_THROWS_AS(support::run(io, wait, {.threads = threads}), std::range_error);
}

TEST_CASE("run uses as many threads as it is told", "[run]") {
    asio::io_context io;
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::atomic<int> present = 0;
    // Each handler holds its thread until all three are there.
    const auto arrive = [&] {
        {
            const std::lock_guard lock{mutex};
            seen.insert(std::this_thread::get_id());
        }
        ++present;
        present.notify_all();
        for (int now = present; now < 3; now = present) present.wait(now);
    };
    for (int handler = 0; handler < 2; ++handler) asio::post(io, arrive);
    const auto body = [&]() -> asio::awaitable<void> {
        arrive();
        co_return;
    };
    support::run(io, body, {.threads = 3});
    CHECK(seen.size() == 3);
}
