#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/session/detail/turnstile.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using txscope::detail::Turnstile;

namespace {

// Coroutines that go to one turnstile, and the order in which they got through.
class Visitors {
public:
    void pass(const std::string& name) { start(name, passing(name)); }
    void enter(const std::string& name) { start(name, entering(name)); }
    void cancel(const std::string& name) {
        visitors_.at(name).signal.emit(asio::cancellation_type::terminal);
        go_on();
    }
    // Whoever is inside goes out.
    void leave() {
        inside_.reset();
        go_on();
    }
    void go_on() {
        io_.restart();
        io_.poll();
    }

    std::vector<std::string> through;
    Turnstile turnstile;

    std::exception_ptr failure(const std::string& name) { return visitors_.at(name).failure; }

private:
    struct Visitor {
        asio::cancellation_signal signal;
        std::exception_ptr failure;
    };

    void start(const std::string& name, asio::awaitable<void> work) {
        Visitor& visitor = visitors_[name];
        asio::co_spawn(io_, std::move(work),
                       asio::bind_cancellation_slot(visitor.signal.slot(),
                                                    [&visitor](std::exception_ptr failure) {
                                                        visitor.failure = std::move(failure);
                                                    }));
        go_on();
    }
    asio::awaitable<void> passing(std::string name) {
        co_await turnstile.pass();
        through.push_back(name);
    }
    asio::awaitable<void> entering(std::string name) {
        auto stay = co_await turnstile.enter();
        through.push_back(name);
        inside_.emplace(std::move(stay));
    }

    std::map<std::string, Visitor> visitors_;
    std::optional<Turnstile::Stay> inside_;
    asio::io_context io_;  // goes first, with every coroutine that still waits
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a free turnstile lets everybody through at once", "[turnstile]") {
    Visitors visitors;
    CHECK(visitors.turnstile.free());
    visitors.pass("a");
    visitors.pass("b");
    CHECK(visitors.through == Names{"a", "b"});
    CHECK(visitors.turnstile.free());
}

TEST_CASE("while somebody is inside everybody waits, and is served in order of coming",
          "[turnstile]") {
    Visitors visitors;
    visitors.enter("first");
    CHECK_FALSE(visitors.turnstile.free());
    visitors.pass("a");
    visitors.pass("b");
    visitors.enter("second");
    visitors.pass("c");
    CHECK(visitors.through == Names{"first"});

    visitors.leave();  // a and b pass, second goes in, c waits for it
    CHECK(visitors.through == Names{"first", "a", "b", "second"});
    CHECK_FALSE(visitors.turnstile.free());
    visitors.leave();
    CHECK(visitors.through == Names{"first", "a", "b", "second", "c"});
    CHECK(visitors.turnstile.free());
}

TEST_CASE("a newcomer does not overtake somebody who was admitted but has not moved yet",
          "[turnstile]") {
    asio::io_context io;
    Turnstile turnstile;
    Names through;
    std::optional<Turnstile::Stay> inside;
    const auto passing = [&](std::string name) -> asio::awaitable<void> {
        co_await turnstile.pass();
        through.push_back(name);
    };
    const auto entering = [&]() -> asio::awaitable<void> {
        auto stay = co_await turnstile.enter();
        inside.emplace(std::move(stay));
    };
    asio::co_spawn(io, entering(), asio::detached);
    asio::co_spawn(io, passing("early"), asio::detached);
    io.poll();
    REQUIRE(through.empty());

    asio::co_spawn(io, passing("late"), asio::detached);
    inside.reset();  // admits early; late asks before early has run
    io.restart();
    io.poll();
    CHECK(through == Names{"early", "late"});
}

TEST_CASE(
    "somebody who is cancelled while waiting leaves the queue, and the others keep their order",
    "[turnstile]") {
    Visitors visitors;
    visitors.enter("inside");
    for (const char* name : {"a", "b", "c"}) visitors.pass(name);

    SECTION("in the middle") {
        visitors.cancel("b");
        CHECK(support::text_of(visitors.failure("b")).starts_with("Operation canceled"));
        visitors.leave();
        CHECK(visitors.through == Names{"inside", "a", "c"});
    }
    SECTION("at the head") {
        visitors.cancel("a");
        visitors.leave();
        CHECK(visitors.through == Names{"inside", "b", "c"});
    }
    SECTION("at the end") {
        visitors.cancel("c");
        visitors.leave();
        CHECK(visitors.through == Names{"inside", "a", "b"});
    }
    CHECK(visitors.turnstile.free());
}

TEST_CASE("an admission that races a cancellation counts, and blocks nobody behind it",
          "[turnstile]") {
    asio::io_context io;
    Turnstile turnstile;
    Names through;
    std::optional<Turnstile::Stay> inside;
    asio::cancellation_signal signal;
    const auto passing = [&](std::string name) -> asio::awaitable<void> {
        co_await turnstile.pass();
        through.push_back(name);
    };
    const auto entering = [&]() -> asio::awaitable<void> {
        auto stay = co_await turnstile.enter();
        inside.emplace(std::move(stay));
    };
    asio::co_spawn(io, entering(), asio::detached);
    asio::co_spawn(io, passing("a"), asio::bind_cancellation_slot(signal.slot(), asio::detached));
    asio::co_spawn(io, passing("b"), asio::detached);
    io.poll();

    inside.reset();
    signal.emit(asio::cancellation_type::terminal);
    io.restart();
    io.poll();
    CHECK(through.back() == "b");
    CHECK(turnstile.free());
}

TEST_CASE("coroutines destroyed while they wait leave a turnstile that still works",
          "[turnstile]") {
    Turnstile turnstile;
    std::optional<Turnstile::Stay> inside;
    {
        asio::io_context io;
        const auto entering = [&]() -> asio::awaitable<void> {
            auto stay = co_await turnstile.enter();
            inside.emplace(std::move(stay));
        };
        const auto passing = [&]() -> asio::awaitable<void> { co_await turnstile.pass(); };
        asio::co_spawn(io, entering(), asio::detached);
        for (int i = 0; i < 3; ++i) asio::co_spawn(io, passing(), asio::detached);
        io.poll();
    }
    inside.reset();
    CHECK(turnstile.free());
}

TEST_CASE("a stay that is moved from ends nothing", "[turnstile]") {
    asio::io_context io;
    Turnstile turnstile;
    support::run(io, [&]() -> asio::awaitable<void> {
        auto first = co_await turnstile.enter();
        {
            Turnstile::Stay second{std::move(first)};
            CHECK_FALSE(turnstile.free());
            first = std::move(second);
        }
        CHECK_FALSE(turnstile.free());
        first = Turnstile::Stay{};
        CHECK(turnstile.free());
    });
}
