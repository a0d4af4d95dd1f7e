#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace cancellation {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::cause_of;
using support::eventually;
using support::failure_of;
using support::is;
using support::Started;
using support::text_of;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    void run_until_waiting_for_a_lock() {
        support::run_until(io, [&] { return waiting_for_locks() == 1; });
    }

    void check_that_the_pool_works_on(std::uint64_t opened = 1) {
        run([&]() -> asio::awaitable<void> {
            co_await scope([&](Session& session) -> asio::awaitable<void> {
                const auto fresh =
                    co_await session.execute("SELECT pg_current_xact_id_if_assigned() IS NULL");
                CHECK(fresh.one().get<bool>(0));
                co_await insert("afterwards");
            });
        });
        CHECK(names().back() == "afterwards");
        CHECK(sessions.statistics().opened == opened);
        CHECK(sessions.statistics().waiting == 0);
        CHECK(in_transaction() == 0);
        CHECK(waiting_for_locks() == 0);
    }
};

TEST_CASE("a statement that is cancelled ends on the server, and its connection is lent again",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    Started work{fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                     co_await fixture.insert("one");
                     co_await fixture.insert("held");
                 })};
    fixture.run_until_waiting_for_a_lock();
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(fixture.in_transaction() == 0);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that is cancelled between statements is rolled back", "[cancellation]") {
    Fixture fixture;
    bool waiting = false;
    Started work{fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                     co_await fixture.insert("one");
                     asio::steady_timer never{co_await asio::this_coro::executor,
                                              asio::steady_timer::time_point::max()};
                     waiting = true;
                     co_await never.async_wait(asio::use_awaitable);
                 })};
    support::run_until(fixture.io, [&] { return waiting; });
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that swallows its cancellation is rolled back all the same", "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    bool swallowed = false;
    Started work{fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                     co_await fixture.insert("one");
                     swallowed = co_await failure_of(fixture.insert("held")) != nullptr;
                 })};
    fixture.run_until_waiting_for_a_lock();
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(swallowed);
    CHECK(work.aborted());
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("of two scopes of which one is enough, the other is cancelled and rolled back",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.run([&]() -> asio::awaitable<void> {
        const auto loser = [&]() -> asio::awaitable<void> {
            co_await fixture.insert("loser");
            co_await fixture.insert("held");
        };
        const auto winner = [&]() -> asio::awaitable<void> {
            co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
            co_await fixture.insert("winner");
        };
        const auto first = co_await (fixture.scope(loser) || fixture.scope(winner));
        CHECK(first.index() == 1);
        CHECK(fixture.in_transaction() == 0);
    });
    CHECK(fixture.names() == Names{"winner"});
    fixture.check_that_the_pool_works_on(2);
}

TEST_CASE("of two statements of which one is enough both take effect, sharing a round trip",
          "[cancellation]") {
    const bool begun = GENERATE(false, true);
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            if (begun) co_await session.execute("SELECT 1");
            const auto first = co_await (fixture.insert("winner") || fixture.insert("loser"));
            // Without pipelining both may be read at once, and then either may be told first.
            CHECK((first.index() == 0 || support::without_pipelining()));
        });
    });
    CHECK(fixture.names() == Names{"winner", "loser"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope that is raced by a timer is rolled back when the timer wins", "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.run([&]() -> asio::awaitable<void> {
        const auto body = [&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.insert("held");
        };
        const auto expires = [&]() -> asio::awaitable<void> {
            // Not before the scope is at its second statement.
            co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
            asio::steady_timer timer{fixture.io, std::chrono::milliseconds{1}};
            co_await timer.async_wait(asio::use_awaitable);
        };
        const auto first = co_await (fixture.scope(body) || expires());
        CHECK(first.index() == 1);
    });
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a statement cancelled within its transaction leaves that nothing but the rollback",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await (fixture.insert("held") ||
                      eventually([&] { return fixture.waiting_for_locks() == 1; }));
            const auto refused = co_await failure_of(fixture.insert("two"));
            CHECK(is<txscope::TransactionAborted>(refused));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(text_of(cause_of(failure)).find("57014") != std::string::npos);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("of two statements that were sent together the second is cancelled on the server, too",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto cancelled = [&]() -> asio::awaitable<void> {
                co_await (fixture.insert("held") ||
                          eventually([&] { return fixture.waiting_for_locks() == 1; }));
            };
            co_await (fixture.insert("beside") && cancelled());
        }));
    });
    CHECK(text_of(cause_of(failure)).find("57014") != std::string::npos);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a nested scope that is cancelled by itself is undone, and the scope around goes on",
          "[cancellation]") {
    const bool at_its_first_statement = GENERATE(false, true);  // which goes with its SAVEPOINT
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto body = [&]() -> asio::awaitable<void> {
                if (!at_its_first_statement) co_await fixture.insert("nested");
                co_await fixture.insert("held");
            };
            const auto first = co_await (fixture.nested(body) || eventually([&] {
                                             return fixture.waiting_for_locks() == 1;
                                         }));
            CHECK(first.index() == 1);
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a nested scope that is cancelled while it waits its turn leaves the queue",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto first = [&]() -> asio::awaitable<void> {
                co_await fixture.nested([&] { return fixture.insert("held"); });
            };
            const auto second = [&]() -> asio::awaitable<void> {
                const auto body = [&] { return fixture.insert("never"); };
                const auto sooner = co_await (fixture.nested(body) || eventually([&] {
                                                  return fixture.waiting_for_locks() == 1;
                                              }));
                CHECK(sooner.index() == 1);
                holder->query("ROLLBACK");
            };
            const auto third = [&] {
                return fixture.nested([&] { return fixture.insert("third"); });
            };
            co_await (first() && second() && third());
        });
    });
    CHECK(fixture.names() == Names{"held", "third"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope that is cancelled while it waits for a connection leaves the queue",
          "[cancellation]") {
    Fixture fixture{{.max_size = 1}};
    const auto holder = fixture.hold("held");
    const auto insert = [&](std::string name) -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> { co_await fixture.insert(name); });
    };
    Started first{fixture.io, insert("held")};
    fixture.run_until_waiting_for_a_lock();
    Started second{fixture.io, insert("second")};
    Started third{fixture.io, insert("third")};
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 2; });
    second.cancel();
    support::run_until(fixture.io, [&] { return second.done(); });
    CHECK(second.aborted());
    CHECK(fixture.sessions.statistics().waiting == 1);
    holder->query("ROLLBACK");
    support::run_until(fixture.io, [&] { return first.done() && third.done(); });
    CHECK(fixture.names() == Names{"held", "third"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope that is cancelled while its branches execute statements ends as cancelled",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const auto body = [&]() -> asio::awaitable<void> {
        co_await (fixture.insert("held") && fixture.insert("held"));
    };
    Started work{fixture.io, fixture.scope(body)};
    support::run_until(fixture.io, [&] { return fixture.waiting_for_locks() == 1; });
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    holder->query("ROLLBACK");
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a cancellation of whatever type ends a scope with its branches, and what they execute",
          "[cancellation]") {
    using Type = asio::cancellation_type;
    const auto type = GENERATE(Type::terminal, Type::partial, Type::total);
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const auto forever = []() -> asio::awaitable<void> {
        asio::steady_timer never{co_await asio::this_coro::executor,
                                 asio::steady_timer::time_point::max()};
        co_await never.async_wait(asio::use_awaitable);
    };
    const auto branches = [&]() -> asio::awaitable<void> {
        co_await (fixture.insert("held") && forever());
    };
    const auto caller = [&]() -> asio::awaitable<void> {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await fixture.scope(branches);
    };
    Started work{fixture.io, caller()};
    fixture.run_until_waiting_for_a_lock();
    work.cancel(type);
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(fixture.waiting_for_locks() == 0);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope that is cancelled while a connection is being opened leaves it to the next one",
          "[cancellation]") {
    support::FaultProxy proxy{support::server()};
    Fixture fixture;
    txscope::AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()),
                                          support::observed({.max_size = 1})};
    const TransactionScope scope{sessions};
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) VALUES ('one')");
    };
    proxy.stall(support::Direction::to_client);
    Started work{fixture.io, scope(body)};
    support::run_until(fixture.io, [&] { return proxy.connections() == 1; });
    CHECK(sessions.statistics().size == 1);
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(sessions.statistics().size == 1);
    proxy.resume();
    fixture.run([&] { return scope(body); });
    CHECK(proxy.connections() == 1);
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a scope may end while its cancellation is on the way to it", "[cancellation]") {
    // However late the cancellation comes: the scope's strand has the end of it waiting already.
    for (int turns = 0; turns < 6; ++turns) {
        CAPTURE(turns);
        Fixture fixture;
        std::optional<Started> work;
        work.emplace(fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
            for (int turn = 0; turn < turns; ++turn) co_await asio::post(asio::use_awaitable);
            asio::post(fixture.io, [&] { work->cancel(); });
            co_await asio::post(asio::use_awaitable);
        }));
        support::run_until(fixture.io, [&] { return work->done(); });
        const bool told_the_truth = work->aborted() || work->failure() == nullptr;
        CHECK(told_the_truth);
    }
}

}  // namespace cancellation
