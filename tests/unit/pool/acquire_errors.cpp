#include "support/catch.hpp"
#include "support/failure.hpp"
#include <txscope/core/error.hpp>
#include <txscope/pool/detail/acquire_errors.hpp>

#include <array>
#include <chrono>
#include <exception>
#include <new>
#include <source_location>
#include <stdexcept>
#include <string>

namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using support::cause_of;
using support::is;
using support::text_of;
using txscope::detail::ConnectionNode;
using txscope::detail::failure_of;
using txscope::detail::Holder;
using txscope::detail::PoolMachine;
using txscope::detail::Requester;
using txscope::detail::timeout_of;
using txscope::detail::Waiter;

std::string place(const std::source_location& where) {
    return std::string{where.file_name()} + ":" + std::to_string(where.line());
}

const auto here = std::source_location::current();
const auto there = std::source_location::current();

/// Two from one place, one from another, and one without a scope.
txscope::detail::Holders some() {
    using std::chrono::milliseconds;
    return {{here, "import", milliseconds{9000}, "UPDATE a SET b = $1"},
            {there, "", milliseconds{80}, ""},
            {here, "export", milliseconds{50}, "SELECT a"},
            {{}, "", milliseconds{7}, "SELECT 1"}};
}

txscope::detail::Holders holders_in(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::PoolError& error) {
        return error.holders();
    }
}

std::string message_of(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::Error& error) {
        return error.message();
    }
}

/// A pool all of whose connections are on loan.
struct Fixture {
    Fixture() {
        for (std::size_t i = 0; i < connections.size(); ++i) {
            machine.wanted(i + 1, {});
            while (machine.has_actions()) machine.next_action();
            machine.opened(connections[i]);
            machine.lend_idle(nullptr, {});
        }
    }

    std::array<ConnectionNode, 1> connections{};
    PoolMachine machine{{.connections = 1, .waiters = 0}};
    Holder asking{there};
};

}  // namespace

TEST_CASE("who has waited in vain is told who holds connections, each place once",
          "[acquire_errors]") {
    Fixture fixture;
    const Waiter waiter{Requester{fixture.asking}};
    const auto error = timeout_of(waiter, fixture.machine, nullptr, some());
    CHECK(is<txscope::AcquireTimeout>(error));
    CHECK_FALSE(cause_of(error));
    CHECK(text_of(error) ==
          "no connection became free in time [scopes opened at " + place(here) +
              " (\"import\", 2 times, first for 9000 ms: UPDATE a SET b = $1), " + place(there) +
              " (for 80 ms)] [statements without a scope (for 7 ms: SELECT 1)] [scope opened at " +
              place(*fixture.asking.where()) + "]");
    CHECK(holders_in(error).size() == 4);
    CHECK(message_of(error) == "no connection became free in time");
}

TEST_CASE("who has waited in vain is told of connections that nobody holds", "[acquire_errors]") {
    Fixture fixture;
    fixture.machine.reconfigured({.connections = 3, .waiters = 0});
    fixture.machine.wanted(3, {});
    fixture.machine.returned(fixture.connections[0], PoolMachine::Condition::dirty);
    const auto error = timeout_of(Waiter{Requester{}}, fixture.machine, nullptr, {});
    CHECK(text_of(error) ==
          "no connection became free in time; 2 being opened; 1 being reset or asked whether it is "
          "still there");
}

TEST_CASE("a deadlock names the scopes that hold connections, each place once",
          "[acquire_errors]") {
    Fixture fixture;
    Holder outer{here};
    fixture.machine.returned(fixture.connections[0], PoolMachine::Condition::clean);
    fixture.machine.lend_idle(&outer, {});
    Waiter waiter{Requester{fixture.asking, {&outer}}};
    fixture.machine.asked(waiter, {});
    const auto error = failure_of(waiter, fixture.machine, nullptr, some);
    CHECK(is<txscope::PoolDeadlock>(error));
    CHECK_THAT(text_of(error),
               EndsWith(" [scopes opened at " + place(here) + ", " + place(there) +
                        "] [scope opened at " + place(*fixture.asking.where()) + "]"));
    CHECK(holders_in(error).size() == 4);
}

TEST_CASE("who has waited in vain is told why no connection was opened", "[acquire_errors]") {
    Fixture fixture;
    const auto refused = std::make_exception_ptr(txscope::ConnectionFailed{"refused"});
    const auto error = timeout_of(Waiter{Requester{}}, fixture.machine, refused, {});
    CHECK(is<txscope::AcquireTimeout>(error));
    CHECK(is<txscope::ConnectionFailed>(cause_of(error)));
}

TEST_CASE("who is turned away is told how many wait, and why no connection was opened",
          "[acquire_errors]") {
    Fixture fixture;
    Waiter waiter{Requester{fixture.asking}};
    fixture.machine.asked(waiter, {});
    const auto error = failure_of(waiter, fixture.machine, nullptr, some);
    CHECK(is<txscope::PoolExhausted>(error));
    CHECK_THAT(text_of(error), ContainsSubstring("0 coroutines are waiting") &&
                                   ContainsSubstring("(\"import\", 2 times"));
    CHECK(holders_in(error).size() == 4);
    CHECK_FALSE(cause_of(error));
    const auto refused = std::make_exception_ptr(txscope::ConnectionFailed{"refused"});
    CHECK(is<txscope::ConnectionFailed>(
        cause_of(failure_of(waiter, fixture.machine, refused, some))));
}

TEST_CASE("whose connection could not be opened is told why, and where it was asked for",
          "[acquire_errors]") {
    PoolMachine machine{{.connections = 1, .waiters = 0}};
    Holder asking{there};
    Waiter waiter{Requester{asking}};
    machine.asked(waiter, {});
    machine.opening_failed(PoolMachine::Reason::lasting, {}, 0);
    REQUIRE(waiter.state() == Waiter::State::failed);
    SECTION("by a server") {
        const auto refused = std::make_exception_ptr(txscope::ConnectionFailed{"refused"});
        const auto error = failure_of(waiter, machine, refused, some);
        CHECK(is<txscope::ConnectionFailed>(error));
        CHECK(text_of(error) == "refused [scope opened at " + place(*asking.where()) + "]");
    }
    SECTION("by whatever else it was") {
        const auto nothing_left = std::make_exception_ptr(std::bad_alloc{});
        CHECK(is<std::bad_alloc>(failure_of(waiter, machine, nothing_left, some)));
    }
}
