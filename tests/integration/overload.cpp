#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/growth.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/co_spawn.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <string>

/// More scopes than a pool has connections for.
namespace overload {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::Session;
using Clock = std::chrono::steady_clock;

using Fixture = support::ScopeFixture;

TEST_CASE("who would have to wait for longer than the queue may take is refused at once",
          "[overload]") {
    Fixture fixture{{.max_size = 1, .queue_target = std::chrono::milliseconds{20}}};
    const auto holder = fixture.hold("held");
    support::Started first{fixture.io, fixture.insert_alone("held")};
    support::run_until(fixture.io, [&] { return fixture.waiting_for_locks() == 1; });
    support::Started second{fixture.io, fixture.insert_alone("second")};
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
    const auto later = Clock::now() + std::chrono::milliseconds{21};
    support::run_until(fixture.io, [&] { return Clock::now() > later; });
    const auto failure = fixture.run(failure_of(fixture.insert_alone("third")));
    CHECK(is<txscope::PoolExhausted>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("the wait for a connection would be about"));
    CHECK_THAT(text_of(failure), ContainsSubstring("PoolOptions::queue_target is 20 ms"));
    holder->query("ROLLBACK");
    support::run_until(fixture.io, [&] { return first.done() && second.done(); });
    fixture.run(fixture.insert_alone("fourth"));
    CHECK(fixture.names() == Fixture::Names{"held", "second", "fourth"});
}

TEST_CASE("20,000 scopes on 16 connections are done in a time that grows with their number",
          "[overload]") {
    Fixture fixture{{.max_size = 16}};
    fixture.run(fixture.sessions.warm_up(16));
    const auto select = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
    };
    const auto grown = support::growth(20'000, [&](std::size_t scopes) {
        std::size_t left = scopes;
        for (std::size_t i = 0; i < scopes; ++i)
            asio::co_spawn(fixture.io, fixture.scope(select), [&](std::exception_ptr error) {
                if (error) std::rethrow_exception(error);
                --left;
            });
        support::run_until(fixture.io, [&] { return left == 0; });
    });
    CHECK(grown < 24);
    CHECK(fixture.connected() == 16);
}

}  // namespace overload
