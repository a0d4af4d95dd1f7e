#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/session/detail/session_pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <source_location>
#include <string>
#include <thread>
#include <vector>

namespace holders {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::Gate;
using support::is;
using support::Started;
using support::text_of;
using txscope::ConnectionHolder;
using txscope::Session;
using txscope::TransactionScope;

std::vector<std::string> sql_of(const std::vector<ConnectionHolder>& holders) {
    std::vector<std::string> all;
    for (const ConnectionHolder& holder : holders) all.push_back(holder.sql);
    return all;
}

TEST_CASE("who holds connections is told, with the label and the last statement", "[holders]") {
    support::ScopeFixture fixture{{.max_size = 2}};
    CHECK(fixture.sessions.holders().empty());
    const auto here = std::source_location::current();
    const TransactionScope labelled{fixture.sessions, {.label = "monthly import"}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await labelled([&](Session& session) -> asio::awaitable<void> {
            CHECK(fixture.sessions.holders().empty());  // nothing was executed
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", "secret");
            co_await fixture.sessions.session_scope([&](Session& other) -> asio::awaitable<void> {
                co_await other.execute("SELECT 2");
                const auto both = fixture.sessions.holders();
                REQUIRE(both.size() == 2);
                CHECK(both[0].where.line() == here.line() + 1);
                CHECK(both[0].label == "monthly import");
                CHECK(both[0].held >= both[1].held);
                CHECK(both[1].label.empty());
                CHECK(sql_of(both) == std::vector<std::string>{
                                          "INSERT INTO entries (name) VALUES ($1)", "SELECT 2"});
            });
            CHECK(fixture.sessions.holders().size() == 1);
        });
    });
    CHECK(fixture.sessions.holders().empty());
}

TEST_CASE("the next borrower's last statement is none of the one before", "[holders]") {
    support::ScopeFixture fixture{{.max_size = 1}};
    fixture.run(fixture.sessions.execute("SELECT 1"));
    const auto lease = fixture.run(fixture.sessions.pool()->acquire());
    CHECK(sql_of(fixture.sessions.holders()) == std::vector<std::string>{""});
}

TEST_CASE("a statement without a scope holds a connection, too", "[holders]") {
    support::ScopeFixture fixture{{.max_size = 1}};
    const auto locked = fixture.hold("wanted");
    Started work{fixture.io, [](support::ScopeFixture& by) -> asio::awaitable<void> {
                     co_await by.sessions.execute("INSERT INTO entries (name) VALUES ('wanted')");
                 }(fixture)};
    support::run_until(fixture.io, [&] { return fixture.waiting_for_locks() == 1; });
    const auto held = fixture.sessions.holders();
    REQUIRE(held.size() == 1);
    CHECK(held[0].where.line() == 0);
    CHECK(held[0].sql == "INSERT INTO entries (name) VALUES ('wanted')");
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
}

TEST_CASE("who gets no connection is told who has them, since when and with what", "[holders]") {
    support::ScopeFixture fixture{{.max_size = 1, .max_waiters = 0}};
    Gate gate{fixture.io};
    const TransactionScope labelled{fixture.sessions, {.label = "monthly import"}};
    const auto hold = [&]() -> asio::awaitable<void> {
        co_await labelled([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", "secret");
            co_await gate.wait();
        });
    };
    const Started work{fixture.io, hold()};
    support::run_until(fixture.io, [&] {
        const auto held = fixture.sessions.holders();
        return gate.waiting() == 1 && held.at(0).held >= 2ms;
    });
    const auto failure = fixture.run(failure_of(fixture.sessions.execute("SELECT 1")));
    CHECK(is<txscope::PoolExhausted>(failure));
    CHECK_THAT(text_of(failure),
               ContainsSubstring("holders.cpp:") &&
                   ContainsSubstring("(\"monthly import\", for ") &&
                   ContainsSubstring(" ms: INSERT INTO entries (name) VALUES ($1))]") &&
                   !ContainsSubstring("secret"));
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::PoolError& error) {
        REQUIRE(error.holders().size() == 1);
        CHECK(error.holders()[0].held >= 2ms);
        CHECK_THAT(error.message(), !ContainsSubstring("INSERT"));
    }
    gate.open();
    support::run_until(fixture.io, [&] { return work.done(); });
}

TEST_CASE("holders are told from any thread, while scopes run on several", "[holders]") {
    support::ScopeFixture fixture{{.max_size = 4}};
    const TransactionScope labelled{fixture.sessions, {.label = "one of many"}};
    std::atomic<bool> over = false;
    bool sensible = true;
    std::thread looking{[&] {
        while (!over)
            for (const ConnectionHolder& holder : fixture.sessions.holders())
                sensible = sensible && holder.label == "one of many" && holder.held >= 0ms &&
                           (holder.sql.empty() || holder.sql.starts_with("SELECT pg_sleep(0) /*"));
    }};
    int left = 8;
    const auto worker = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 50; ++i)
            co_await labelled([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT pg_sleep(0) /* " + std::to_string(i) + " */");
            });
    };
    std::atomic<int> running = left;
    for (; left > 0; --left)
        asio::co_spawn(fixture.io, worker(), [&](const std::exception_ptr& error) {
            if (!error) --running;
        });
    fixture.run(
        [&]() -> asio::awaitable<void> {
            co_await support::eventually([&] { return running == 0; });
        },
        {.threads = 3});
    over = true;
    looking.join();
    CHECK(sensible);
}

}  // namespace holders
