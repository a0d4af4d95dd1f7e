#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/net/fifo_mutex.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using txscope::detail::FifoMutex;

namespace {

// Coroutines that want one mutex, and the order in which they got through.
class Contenders {
public:
    void pass(const std::string& name) { start(name, passing(name)); }
    void lock(const std::string& name) { start(name, locking(name)); }
    // Whatever happens to whoever wants it.
    void lock_uninterruptible(const std::string& name) {
        start(name, locking_uninterruptible(name));
    }
    void cancel(const std::string& name) {
        contenders_.at(name).signal.emit(asio::cancellation_type::terminal);
        go_on();
    }
    // Whoever holds it unlocks it.
    void unlock() {
        held_.reset();
        go_on();
    }
    void go_on() {
        io_.restart();
        io_.poll();
    }

    std::vector<std::string> through;
    FifoMutex mutex;

    std::exception_ptr failure(const std::string& name) { return contenders_.at(name).failure; }

private:
    struct Contender {
        asio::cancellation_signal signal;
        std::exception_ptr failure;
    };

    void start(const std::string& name, asio::awaitable<void> work) {
        Contender& contender = contenders_[name];
        asio::co_spawn(io_, std::move(work),
                       asio::bind_cancellation_slot(contender.signal.slot(),
                                                    [&contender](std::exception_ptr failure) {
                                                        contender.failure = std::move(failure);
                                                    }));
        go_on();
    }
    asio::awaitable<void> passing(std::string name) {
        co_await mutex.pass();
        through.push_back(name);
    }
    asio::awaitable<void> locking(std::string name) {
        auto lock = co_await mutex.lock();
        through.push_back(name);
        held_.emplace(std::move(lock));
    }

    asio::awaitable<void> locking_uninterruptible(std::string name) {
        co_await asio::this_coro::throw_if_cancelled(false);
        co_await locking(name);
    }

    std::map<std::string, Contender> contenders_;
    std::optional<FifoMutex::Lock> held_;
    asio::io_context io_;  // goes first, with every coroutine that still waits
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a free mutex lets everybody through at once", "[fifo_mutex]") {
    Contenders contenders;
    CHECK(contenders.mutex.free());
    contenders.pass("a");
    contenders.pass("b");
    CHECK(contenders.through == Names{"a", "b"});
    CHECK(contenders.mutex.free());
}

TEST_CASE("while somebody holds the mutex everybody waits, and is served in order of asking",
          "[fifo_mutex]") {
    Contenders contenders;
    contenders.lock("first");
    CHECK_FALSE(contenders.mutex.free());
    contenders.pass("a");
    contenders.pass("b");
    contenders.lock("second");
    contenders.pass("c");
    CHECK(contenders.through == Names{"first"});

    contenders.unlock();  // a and b pass, second gets it, c waits
    CHECK(contenders.through == Names{"first", "a", "b", "second"});
    CHECK_FALSE(contenders.mutex.free());
    contenders.unlock();
    CHECK(contenders.through == Names{"first", "a", "b", "second", "c"});
    CHECK(contenders.mutex.free());
}

TEST_CASE("a newcomer does not overtake somebody who was admitted but has not moved yet",
          "[fifo_mutex]") {
    asio::io_context io;
    FifoMutex mutex;
    Names through;
    std::optional<FifoMutex::Lock> held;
    const auto passing = [&](std::string name) -> asio::awaitable<void> {
        co_await mutex.pass();
        through.push_back(name);
    };
    const auto locking = [&]() -> asio::awaitable<void> {
        auto lock = co_await mutex.lock();
        held.emplace(std::move(lock));
    };
    asio::co_spawn(io, locking(), asio::detached);
    asio::co_spawn(io, passing("early"), asio::detached);
    io.poll();
    REQUIRE(through.empty());

    asio::co_spawn(io, passing("late"), asio::detached);
    held.reset();  // admits early; late asks before early has run
    io.restart();
    io.poll();
    CHECK(through == Names{"early", "late"});
}

TEST_CASE(
    "somebody who is cancelled while waiting leaves the queue, and the others keep their order",
    "[fifo_mutex]") {
    Contenders contenders;
    contenders.lock("holder");
    for (const char* name : {"a", "b", "c"}) contenders.pass(name);

    SECTION("in the middle") {
        contenders.cancel("b");
        CHECK(support::text_of(contenders.failure("b")).starts_with("Operation canceled"));
        contenders.unlock();
        CHECK(contenders.through == Names{"holder", "a", "c"});
    }
    SECTION("at the head") {
        contenders.cancel("a");
        contenders.unlock();
        CHECK(contenders.through == Names{"holder", "b", "c"});
    }
    SECTION("at the end") {
        contenders.cancel("c");
        contenders.unlock();
        CHECK(contenders.through == Names{"holder", "a", "b"});
    }
    CHECK(contenders.mutex.free());
}

TEST_CASE("somebody who must not be interrupted goes on waiting", "[fifo_mutex]") {
    Contenders contenders;
    contenders.lock("holder");
    contenders.lock_uninterruptible("a");
    contenders.pass("b");
    contenders.cancel("a");
    contenders.unlock();
    CHECK(contenders.through == Names{"holder", "a"});
    contenders.unlock();
    CHECK(contenders.through == Names{"holder", "a", "b"});
}

TEST_CASE("an admission that races a cancellation counts, and blocks nobody behind it",
          "[fifo_mutex]") {
    asio::io_context io;
    FifoMutex mutex;
    Names through;
    std::optional<FifoMutex::Lock> held;
    asio::cancellation_signal signal;
    const auto passing = [&](std::string name) -> asio::awaitable<void> {
        co_await mutex.pass();
        through.push_back(name);
    };
    const auto locking = [&]() -> asio::awaitable<void> {
        auto lock = co_await mutex.lock();
        held.emplace(std::move(lock));
    };
    asio::co_spawn(io, locking(), asio::detached);
    asio::co_spawn(io, passing("a"), asio::bind_cancellation_slot(signal.slot(), asio::detached));
    asio::co_spawn(io, passing("b"), asio::detached);
    io.poll();

    held.reset();
    signal.emit(asio::cancellation_type::terminal);
    io.restart();
    io.poll();
    CHECK(through.back() == "b");
    CHECK(mutex.free());
}

TEST_CASE("coroutines destroyed while they wait leave a mutex that still works", "[fifo_mutex]") {
    FifoMutex mutex;
    std::optional<FifoMutex::Lock> held;
    {
        asio::io_context io;
        const auto locking = [&]() -> asio::awaitable<void> {
            auto lock = co_await mutex.lock();
            held.emplace(std::move(lock));
        };
        const auto passing = [&]() -> asio::awaitable<void> { co_await mutex.pass(); };
        asio::co_spawn(io, locking(), asio::detached);
        for (int i = 0; i < 3; ++i) asio::co_spawn(io, passing(), asio::detached);
        io.poll();
    }
    held.reset();
    CHECK(mutex.free());
}

TEST_CASE("a lock that is moved from unlocks nothing", "[fifo_mutex]") {
    asio::io_context io;
    FifoMutex mutex;
    support::run(io, [&]() -> asio::awaitable<void> {
        auto first = co_await mutex.lock();
        {
            FifoMutex::Lock second{std::move(first)};
            CHECK_FALSE(mutex.free());
            first = std::move(second);
        }
        CHECK_FALSE(mutex.free());
        first = FifoMutex::Lock{};
        CHECK(mutex.free());
    });
}
