#include "support/catch.hpp"
#include "support/failure.hpp"
#include <txscope/core/error.hpp>
#include <txscope/pool/detail/acquire_errors.hpp>

#include <array>
#include <exception>
#include <new>
#include <source_location>
#include <stdexcept>
#include <string>

namespace {

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

/// A pool all of whose connections are on loan: two to one place, one to another, one to somebody
/// whom errors do not name.
struct Fixture {
    Fixture() {
        for (std::size_t i = 0; i < connections.size(); ++i) {
            machine.wanted(i + 1, {});
            while (machine.has_actions()) machine.next_action();
            machine.opened(connections[i]);
            machine.lend_idle(&holders[i], {});
        }
    }

    std::array<Holder, 4> holders{Holder{here}, Holder{there}, Holder{here},
                                  Holder{std::source_location{}}};
    std::array<ConnectionNode, 4> connections{};
    PoolMachine machine{{.connections = 4, .waiters = 0}};
    Holder asking{there};
};

}  // namespace

TEST_CASE("who has waited in vain is told who holds connections, each place once",
          "[acquire_errors]") {
    Fixture fixture;
    const Waiter waiter{Requester{fixture.asking}};
    const auto error = timeout_of(waiter, fixture.machine, nullptr);
    CHECK(is<txscope::AcquireTimeout>(error));
    CHECK_FALSE(cause_of(error));
    CHECK_THAT(text_of(error),
               EndsWith(" [scopes opened at " + place(here) + ", " + place(there) +
                        "] [scope opened at " + place(*fixture.asking.where()) + "]"));
}

TEST_CASE("who has waited in vain is told why no connection was opened", "[acquire_errors]") {
    Fixture fixture;
    const auto refused = std::make_exception_ptr(txscope::ConnectionFailed{"refused"});
    const auto error = timeout_of(Waiter{Requester{}}, fixture.machine, refused);
    CHECK(is<txscope::AcquireTimeout>(error));
    CHECK(is<txscope::ConnectionFailed>(cause_of(error)));
}

TEST_CASE("who is turned away is told how many wait, and why no connection was opened",
          "[acquire_errors]") {
    Fixture fixture;
    Waiter waiter{Requester{fixture.asking}};
    fixture.machine.asked(waiter, {});
    const auto error = failure_of(waiter, fixture.machine, nullptr);
    CHECK(is<txscope::PoolExhausted>(error));
    CHECK_THAT(text_of(error), Catch::Matchers::ContainsSubstring("0 coroutines are waiting"));
    CHECK_FALSE(cause_of(error));
    const auto refused = std::make_exception_ptr(txscope::ConnectionFailed{"refused"});
    CHECK(is<txscope::ConnectionFailed>(cause_of(failure_of(waiter, fixture.machine, refused))));
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
        const auto error = failure_of(waiter, machine, refused);
        CHECK(is<txscope::ConnectionFailed>(error));
        CHECK(text_of(error) == "refused [scope opened at " + place(*asking.where()) + "]");
    }
    SECTION("by whatever else it was") {
        const auto nothing_left = std::make_exception_ptr(std::bad_alloc{});
        CHECK(is<std::bad_alloc>(failure_of(waiter, machine, nothing_left)));
    }
}
