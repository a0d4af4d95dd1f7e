#pragma once

#include "support/run.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <concepts>
#include <thread>

namespace support {

inline constexpr std::chrono::milliseconds between_looks{2};

/// Until `condition()` holds; `NotFinished` when it does not come to hold.
///
///     co_await eventually([&] { return database.waiting_for_locks() == 1; });
///
/// Everything else on the executor runs on between two looks.
template <std::predicate Condition>
asio::awaitable<void> eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    asio::steady_timer timer{co_await asio::this_coro::executor};
    for (;;) {
        const bool holds = condition();
        if (holds) co_return;
        if (std::chrono::steady_clock::now() >= deadline)
            throw NotFinished{"what was waited for did not happen"};
        timer.expires_after(between_looks);
        co_await timer.async_wait(asio::use_awaitable);
    }
}

/// The same outside of coroutines: `io` runs on until `condition()` holds, and is left as it is
/// then.
template <std::predicate Condition>
void run_until(asio::io_context& io, Condition condition) {
    run(io, eventually(condition));
}

/// The same for a thread that has nothing to run.
template <std::predicate Condition>
void block_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= deadline)
            throw NotFinished{"what was waited for did not happen"};
        std::this_thread::sleep_for(between_looks);
    }
}

}  // namespace support
