#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>

namespace ambient {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::failure_of;
using support::is;
using support::Refusal;
using txscope::ambient_session;
using txscope::AsyncSessionFactory;
using txscope::current_session;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    /// Written behind, from wherever this is called.
    void add(const std::string& name) {
        auto session = txscope::detail::ambient_session_here(sessions);
        if (!session) throw Refusal{"no session here"};
        session->enqueue("INSERT INTO entries (name) VALUES ($1)", name);
    }
    bool session_here() { return txscope::detail::ambient_session_here(sessions).has_value(); }
};

asio::awaitable<std::int64_t> transaction_id(AsyncSessionFactory sessions) {
    auto session = co_await current_session(sessions);
    const auto result = co_await session.execute("SELECT txid_current()");
    co_return result.one().get<std::int64_t>(0);
}

TEST_CASE("outside of every scope there is no ambient session", "[ambient]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        CHECK_FALSE((co_await ambient_session(fixture.sessions)).has_value());
        const auto failure = co_await failure_of(current_session(fixture.sessions));
        CHECK(is<txscope::PropagationError>(failure));
        CHECK_FALSE(fixture.session_here());
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            CHECK((co_await ambient_session(fixture.sessions)).has_value());
            CHECK(fixture.session_here());
        });
        CHECK_FALSE((co_await ambient_session(fixture.sessions)).has_value());
        CHECK_FALSE(fixture.session_here());
        co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            throw Refusal{"no"};
        }));
        CHECK_FALSE(fixture.session_here());
    });
    CHECK_FALSE(fixture.session_here());
}

TEST_CASE("every function that a body awaits, and every parallel branch, finds its transaction",
          "[ambient]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto own = co_await transaction_id(fixture.sessions);
            const auto deeper = [&]() -> asio::awaitable<std::int64_t> {
                asio::steady_timer timer{co_await asio::this_coro::executor};
                timer.expires_after(std::chrono::milliseconds{1});
                co_await timer.async_wait(asio::use_awaitable);
                co_return co_await transaction_id(fixture.sessions);
            };
            const auto [left, right] = co_await (deeper() && transaction_id(fixture.sessions));
            CHECK(left == own);
            CHECK(right == own);
            const auto either = co_await (deeper() || deeper());
            CHECK(std::visit([](auto id) { return id; }, either) == own);
        });
    });
}

TEST_CASE(
    "after a nested scope the scope around is ambient again, also for calls that are not "
    "awaited",
    "[ambient]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            fixture.add("outer");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                fixture.add("nested, undone");
                co_await fixture.insert("nested");
                throw Refusal{"no"};
            }));
            CHECK(is<Refusal>(failure));
            fixture.add("after");
            co_await fixture.nested([&]() -> asio::awaitable<void> {
                fixture.add("nested, kept");
                co_return;
            });
            fixture.add("last");
        });
        const auto failure = failure_of([&] { fixture.add("without a scope"); });
        CHECK(is<Refusal>(failure));
    });
    CHECK(fixture.names() == Names{"outer", "after", "nested, kept", "last"});
}

TEST_CASE("scopes of two factories nest, and each finds its own transaction", "[ambient]") {
    Fixture one;
    Fixture two;
    AsyncSessionFactory sessions{one.io, two.database.dsn(),
                                 support::observed()};  // on the same execution context
    const TransactionScope scope{sessions};
    const auto insert = [&](std::string name) -> asio::awaitable<void> {
        auto session = co_await current_session(sessions);
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    };
    one.run([&]() -> asio::awaitable<void> {
        co_await one.scope([&]() -> asio::awaitable<void> {
            co_await one.insert("one");
            const auto failure = co_await failure_of(scope([&]() -> asio::awaitable<void> {
                co_await insert("two, undone");
                co_await one.insert("one, inside");
                throw Refusal{"only two's"};
            }));
            CHECK(is<Refusal>(failure));
            co_await scope([&]() -> asio::awaitable<void> {
                co_await insert("two");
                co_await one.scope([&]() -> asio::awaitable<void> {
                    co_await (one.insert("one, joined") && insert("two, joined"));
                });
            });
            CHECK(two.names() == Names{"two", "two, joined"});
            CHECK(one.names().empty());
        });
    });
    CHECK(one.names() == Names{"one", "one, inside", "one, joined"});
    CHECK(one.sessions.statistics().acquired == 1);
}

TEST_CASE("copies of a factory share their transactions", "[ambient]") {
    Fixture fixture;
    const AsyncSessionFactory copy = fixture.sessions;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto own = co_await transaction_id(fixture.sessions);
            CHECK(co_await transaction_id(copy) == own);
        });
    });
}

TEST_CASE("a detached task that outlives its scope gets ScopeEnded, not a transaction of its own",
          "[ambient]") {
    Fixture fixture;
    bool over = false;
    std::vector<std::exception_ptr> failures;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto task = [&]() -> asio::awaitable<void> {
            co_await support::eventually([&] { return over; });
            failures.push_back(co_await failure_of(fixture.insert("late")));
            failures.push_back(co_await failure_of(fixture.scope(
                [&]() -> asio::awaitable<void> { co_await fixture.insert("later"); })));
            failures.push_back(co_await failure_of(fixture.nested(
                [&]() -> asio::awaitable<void> { co_await fixture.insert("latest"); })));
            failures.push_back(failure_of([&] { fixture.add("last"); }));
        };
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("in time");
            asio::co_spawn(co_await asio::this_coro::executor, task(), asio::detached);
        });
        over = true;
        co_await support::eventually([&] { return failures.size() == 4; });
    });
    for (const auto& failure : failures) CHECK(is<txscope::ScopeEnded>(failure));
    CHECK(fixture.names() == Names{"in time"});
    CHECK(fixture.sessions.statistics().acquired == 1);
}

TEST_CASE("coroutines interleaved on one thread keep to their own transactions", "[ambient]") {
    Fixture fixture{{.max_size = 8}};
    fixture.run([&]() -> asio::awaitable<void> {
        const auto worker = [&](int number) -> asio::awaitable<void> {
            for (int i = 0; i < 5; ++i) {
                const auto failure =
                    co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
                        const auto own = co_await transaction_id(fixture.sessions);
                        co_await fixture.insert(std::to_string(number) + "." + std::to_string(i));
                        CHECK(co_await transaction_id(fixture.sessions) == own);
                        if (i % 2 == 1) throw Refusal{"odd"};
                    }));
                CHECK((failure != nullptr) == (i % 2 == 1));
            }
        };
        co_await (worker(0) && worker(1) && worker(2) && worker(3) && worker(4) && worker(5));
    });
    CHECK(fixture.names().size() == 6 * 3);
}

/// A table in which every row says which transaction wrote it.
struct Steps : support::ScopeFixture {
    explicit Steps(std::size_t connections)
        : ScopeFixture{{.max_size = connections},
                       "CREATE TABLE steps (scope text NOT NULL, "
                       "transaction xid8 NOT NULL DEFAULT pg_current_xact_id())"} {}

    asio::awaitable<void> step(std::string scope_name) {
        auto session = co_await current_session(sessions);
        co_await session.execute("INSERT INTO steps (scope) VALUES ($1)", scope_name);
    }

    /// Each of `scopes` wrote `steps` rows, all in one transaction, which no other scope shares.
    void check(int scopes, int steps) const {
        const auto count = [&](const std::string& what) { return database.query(what).number(); };
        CHECK(count("SELECT count(*) FROM steps") == scopes * steps);
        CHECK(count("SELECT count(DISTINCT transaction) FROM steps") == scopes);
        CHECK(count("SELECT count(DISTINCT (scope, transaction::text)) FROM steps") == scopes);
        CHECK(in_transaction() == 0);
    }
};

TEST_CASE("two scopes that take turns on one thread, statement by statement, never mix",
          "[ambient]") {
    constexpr int scopes = 10;
    constexpr int steps = 5;
    Steps fixture{2};
    int turn = 0;
    const auto worker = [&](int own) -> asio::awaitable<void> {
        for (int scope = 0; scope < scopes; ++scope) {
            const auto name = std::to_string(own) + "." + std::to_string(scope);
            co_await fixture.scope([&]() -> asio::awaitable<void> {
                for (int step = 0; step < steps; ++step) {
                    while (turn % 2 != own) co_await asio::post(asio::use_awaitable);
                    co_await fixture.step(name);
                    ++turn;
                }
            });
        }
    };
    fixture.run([&]() -> asio::awaitable<void> { co_await (worker(0) && worker(1)); });
    fixture.check(2 * scopes, steps);
}

TEST_CASE("scopes on four threads under one pool, with parallel branches, never mix", "[ambient]") {
    constexpr int workers = 12;
    constexpr int scopes = 15;
    Steps fixture{4};
    std::atomic<int> ended = 0;
    const auto worker = [&](int own) -> asio::awaitable<void> {
        for (int scope = 0; scope < scopes; ++scope) {
            const auto name = std::to_string(own) + "." + std::to_string(scope);
            co_await fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.step(name);
                co_await (fixture.step(name) && fixture.step(name));
                co_await asio::post(asio::use_awaitable);
                co_await fixture.scope(
                    [&]() -> asio::awaitable<void> { co_await fixture.step(name); });
            });
        }
    };
    for (int own = 0; own < workers; ++own)
        asio::co_spawn(fixture.io, worker(own), [&](const std::exception_ptr& error) {
            ++ended;
            if (error) std::rethrow_exception(error);
        });
    fixture.run(support::eventually([&] { return ended == workers; }), {.threads = 4});
    fixture.check(workers * scopes, 4);
}

}  // namespace ambient
