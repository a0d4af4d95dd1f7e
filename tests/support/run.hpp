#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace support {

namespace asio = boost::asio;

/// Far above what anything in a test takes, also under a sanitizer on a busy machine: reaching it
/// is a failure, never a way to pass.
inline constexpr std::chrono::milliseconds patience = std::chrono::minutes{5};

/// Ends the process when its scope takes longer than `limit`: a test that blocks for good, in a
/// call that nothing can interrupt, fails with a word about where instead of hanging.
class Watchdog {
public:
    explicit Watchdog(std::string what, std::chrono::milliseconds limit = patience)
        : thread_{[this, what = std::move(what), limit] {
              std::unique_lock lock{mutex_};
              if (ended_.wait_for(lock, limit, [this] { return over_; })) return;
              std::fprintf(stderr, "watchdog: %s blocks a thread\n", what.c_str());
              std::abort();
          }} {}
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
    ~Watchdog() {
        {
            const std::lock_guard lock{mutex_};
            over_ = true;
        }
        ended_.notify_one();
        thread_.join();
    }

private:
    std::mutex mutex_;
    std::condition_variable ended_;
    bool over_ = false;
    std::thread thread_;
};

/// The coroutine given to `run` was not done in time.
class NotFinished : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct RunOptions {
    int threads = 1;                             ///< How many threads run the `io_context`.
    std::chrono::milliseconds limit = patience;  ///< After that, `NotFinished` is thrown.
};

namespace detail {

template <class T>
struct Outcome {
    std::optional<T> value;
    std::exception_ptr error;
    bool finished = false;
};
template <>
struct Outcome<void> {
    std::exception_ptr error;
    bool finished = false;
};

template <class T>
asio::awaitable<void> store(asio::awaitable<T> work, std::shared_ptr<Outcome<T>> outcome) {
    if constexpr (std::is_void_v<T>)
        co_await std::move(work);
    else
        outcome->value.emplace(co_await std::move(work));
}

/// Run `io` on all threads until it is stopped or out of work, or until `deadline`.
inline void run_threads(asio::io_context& io, int threads,
                        std::chrono::steady_clock::time_point deadline) {
    std::mutex mutex;
    std::exception_ptr first;
    const auto work = [&] {
        try {
            io.run_until(deadline);
        } catch (...) {
            const std::lock_guard lock{mutex};
            if (!first) first = std::current_exception();
            io.stop();
        }
    };
    std::vector<std::thread> others;
    for (int number = 1; number < threads; ++number) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
    if (first) std::rethrow_exception(first);
}

}  // namespace detail

/// Run `work` on `io` until it is done, and return its value or throw its exception.
///
/// The `io_context` is left as it is then, also when it has more to do: `run` may be called again.
///
///     support::run(io, [&]() -> asio::awaitable<void> { co_await scope(body); });
template <class T>
T run(asio::io_context& io, asio::awaitable<T> work, RunOptions options = {}) {
    // Twice the time for a coroutine that is stuck in a blocking call: run_until cannot end that.
    const Watchdog watchdog{"support::run", options.limit + patience};
    const auto outcome = std::make_shared<detail::Outcome<T>>();
    io.restart();
    asio::co_spawn(io, detail::store(std::move(work), outcome),
                   [outcome, &io](std::exception_ptr error) {
                       outcome->error = std::move(error);
                       outcome->finished = true;
                       io.stop();
                   });
    detail::run_threads(io, options.threads, std::chrono::steady_clock::now() + options.limit);
    if (!outcome->finished) {
        if (io.stopped())
            throw NotFinished{"the coroutine waits for something that nobody is going to do"};
        io.stop();
        throw NotFinished{"the coroutine was not done within " +
                          std::to_string(options.limit.count()) + " ms"};
    }
    if (outcome->error) std::rethrow_exception(outcome->error);
    if constexpr (!std::is_void_v<T>) return std::move(*outcome->value);
}

/// The same for a function that returns the awaitable, such as a lambda coroutine.
template <std::invocable Body>
auto run(asio::io_context& io, Body body, RunOptions options = {}) {
    return run(io, body(), options);
}

}  // namespace support
