#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <pqxx/except>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace round_trips {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;

/// One connection, open already, whose traffic passes a proxy that counts.
struct Fixture {
    Fixture() {
        support::run(io, sessions.warm_up(1));
        proxy.reset_counts();
    }

    /// How many round trips `work` takes.
    template <typename Work>
    std::int64_t trips(Work work) {
        proxy.reset_counts();
        support::run(io, std::move(work));
        return proxy.round_trips();
    }

    support::Database database{"CREATE TABLE entries (name text)"};
    support::FaultProxy proxy{support::server()};
    asio::io_context io{1};  // whose scopes need no strand of their own
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                          support::observed({.max_size = 1})};
    const TransactionScope scope{sessions};
};

constexpr const char* insert = "INSERT INTO entries VALUES ($1) RETURNING name";

TEST_CASE("BEGIN rides with the first statement: one INSERT in a transaction takes two round trips",
          "[round_trips]") {
    Fixture fixture;
    const auto work = [&]() -> asio::awaitable<void> {
        co_await fixture.scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
        });
    };
    CHECK(fixture.trips(work) == 2);  // preparing the statements included
    CHECK(fixture.proxy.sent('S') == 2);
    CHECK(fixture.trips(work) == 2);
    CHECK(fixture.proxy.sent('S') == 2);
    CHECK(fixture.database.count("entries") == 2);
}

TEST_CASE("settings of the transaction travel with BEGIN", "[round_trips]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions,
                                 {.isolation = txscope::IsolationLevel::serializable,
                                  .statement_timeout = std::chrono::seconds{30},
                                  .lock_timeout = std::chrono::seconds{30}}};
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
        });
    }) == 2);
}

TEST_CASE("what is only enqueued travels with BEGIN and COMMIT in one round trip",
          "[round_trips]") {
    Fixture fixture;
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await fixture.scope([](Session& session) -> asio::awaitable<void> {
            for (int i = 0; i < 10; ++i) session.enqueue(insert, i);
            co_return;
        });
    }) == 1);
    CHECK(fixture.proxy.sent('S') == 1);
    CHECK(fixture.database.count("entries") == 10);
}

TEST_CASE("what is enqueued behind an awaited statement travels with COMMIT: two round trips",
          "[round_trips]") {
    Fixture fixture;
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await fixture.scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "project");
            for (int i = 0; i < 10; ++i) session.enqueue(insert, i);
        });
    }) == 2);
    CHECK(fixture.proxy.sent('S') == 2);
    CHECK(fixture.database.count("entries") == 11);
}

TEST_CASE("a COMMIT that fails is the end of it: no ROLLBACK is sent after it", "[round_trips]") {
    Fixture fixture;
    fixture.database.query(
        "ALTER TABLE entries ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;"
        "INSERT INTO entries VALUES ('one')");
    std::exception_ptr failure;
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        failure = co_await support::failure_of(
            fixture.scope([](Session& session) -> asio::awaitable<void> {
                co_await session.execute(insert, "one");
            }));
    }) == 2);
    CHECK(support::is<pqxx::unique_violation>(failure));
    CHECK(fixture.proxy.statements() == std::vector<std::string>{"BEGIN", insert, "COMMIT"});
    CHECK(fixture.sessions.statistics().discarded == 0);
    CHECK(fixture.database.count("entries") == 1);
}

TEST_CASE("a scope that executes nothing sends nothing and takes no connection", "[round_trips]") {
    Fixture fixture;
    const auto acquired = fixture.sessions.statistics().acquired;
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await fixture.scope([]() -> asio::awaitable<void> { co_return; });
    }) == 0);
    CHECK(fixture.sessions.statistics().acquired == acquired);
}

TEST_CASE("two statements of parallel branches take one round trip", "[round_trips]") {
    Fixture fixture;
    support::run(fixture.io, [&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            fixture.proxy.reset_counts();
            const auto [first, second] =
                co_await (session.execute("SELECT 1") && session.execute("SELECT 2"));
            CHECK(fixture.proxy.round_trips() == 1);
            CHECK(fixture.proxy.sent('S') == 1);
            CHECK(first.one().get<int>(0) == 1);
            CHECK(second.one().get<int>(0) == 2);
        });
    });
}

TEST_CASE("branches that keep step share every round trip", "[round_trips]") {
    Fixture fixture;
    // Not through the proxy: it passes on one message after another, and one branch goes ahead.
    const txscope::AsyncSessionFactory sessions{fixture.io, fixture.database.dsn(),
                                                support::observed({.max_size = 1})};
    const TransactionScope scope{sessions};
    support::run(fixture.io, scope([](Session& session) -> asio::awaitable<void> {
                     const auto three = [&]() -> asio::awaitable<void> {
                         for (int i = 0; i < 3; ++i) co_await session.execute(insert, i);
                     };
                     co_await session.execute(insert, "first");
                     co_await (three() && three() && (three() && three()));
                 }));
    CHECK(sessions.statistics().round_trips == 1 + 3 + 1);  // the last one for COMMIT
    CHECK(fixture.database.count("entries") == 13);
}

TEST_CASE("what comes while BEGIN is under way follows its answer, together", "[round_trips]") {
    Fixture fixture;
    support::Client holder{fixture.database.dsn()};
    holder.query("BEGIN; LOCK TABLE entries");
    support::run(fixture.io, [&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            int late_ones = 0;
            const auto late = [&](const char* name) -> asio::awaitable<void> {
                co_await support::eventually([&] { return fixture.proxy.sent('S') == 1; });
                ++late_ones;
                co_await session.execute(insert, name);
            };
            const auto release = [&]() -> asio::awaitable<void> {
                co_await support::eventually([&] { return late_ones == 2; });
                for (int i = 0; i < 10; ++i) co_await asio::post(asio::use_awaitable);
                holder.query("ROLLBACK");
            };
            co_await (session.execute(insert, "first") && late("second") && late("third") &&
                      release());
        });
    });
    CHECK(fixture.proxy.statements() ==
          std::vector<std::string>{"BEGIN", insert, insert, insert, "COMMIT"});
    CHECK(fixture.proxy.round_trips() == 3);
    CHECK(fixture.database.count("entries") == 3);
}

TEST_CASE("a task that is started within a body shares the round trip of what the body does next",
          "[round_trips]") {
    Fixture fixture;
    support::run(fixture.io, [&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            fixture.proxy.reset_counts();
            bool done = false;
            asio::co_spawn(co_await asio::this_coro::executor, session.execute(insert, "two"),
                           [&](std::exception_ptr, const txscope::Result&) { done = true; });
            co_await session.execute(insert, "three");
            while (!done) co_await asio::post(asio::use_awaitable);
            CHECK(fixture.proxy.round_trips() == 1);
        });
    });
    CHECK(fixture.database.count("entries") == 3);
}

TEST_CASE("a savepoint that is released costs no round trip of its own", "[round_trips]") {
    Fixture fixture;
    const TransactionScope nested{fixture.sessions, {.propagation = Propagation::nested}};
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "outer");
            co_await nested([&](Session& inner) -> asio::awaitable<void> {
                co_await inner.execute(insert, "inner");
            });
            co_await session.execute(insert, "outer again");
        });
    }) == 4);
    CHECK(fixture.database.count("entries") == 3);
}

TEST_CASE("savepoints within a savepoint are released with it", "[round_trips]") {
    Fixture fixture;
    const TransactionScope nested{fixture.sessions, {.propagation = Propagation::nested}};
    CHECK(fixture.trips([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await nested([&]() -> asio::awaitable<void> {
                co_await nested([](Session& innermost) -> asio::awaitable<void> {
                    co_await innermost.execute(insert, "innermost");
                });
            });
        });
    }) == 2);
    CHECK(fixture.proxy.statements() ==
          std::vector<std::string>{"BEGIN", "SAVEPOINT txscope_1", "SAVEPOINT txscope_2", insert,
                                   "RELEASE SAVEPOINT txscope_1", "COMMIT"});
    CHECK(fixture.database.count("entries") == 1);
}

}  // namespace round_trips
