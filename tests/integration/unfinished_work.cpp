#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <string>

namespace unfinished_work {

namespace asio = boost::asio;
using support::eventually;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Session;
using Names = support::ScopeFixture::Names;

/// Bodies that start a task, and do not wait for it.
struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    struct Task {
        std::exception_ptr failure;
        bool done = false;
    };

    /// On the executor of the coroutine that awaits this: the task inherits its transaction.
    asio::awaitable<void> start(Task& task, asio::awaitable<void> work) {
        asio::co_spawn(co_await asio::this_coro::executor, std::move(work),
                       [&task](std::exception_ptr failure) {
                           task.failure = std::move(failure);
                           task.done = true;
                       });
    }
    void run_until_done(const Task& task) {
        support::run_until(io, [&] { return task.done; });
    }
    void check_that_the_pool_works_on() {
        run([&] { return insert_alone("afterwards"); });
        CHECK(names() == Names{"afterwards"});
        CHECK(in_transaction() == 0);
        CHECK(sessions.statistics().opened == 1);
    }
};

TEST_CASE("a body that returns while a statement it started is under way is rolled back",
          "[unfinished_work]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    Fixture::Task task;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.start(task, fixture.insert("held"));
            co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
        }));
    });
    CHECK(is<txscope::UnfinishedWork>(failure));
    fixture.run_until_done(task);
    CHECK(task.failure != nullptr);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that returns before a statement it started is sent is rolled back",
          "[unfinished_work]") {
    for (int turns = 0; turns < 4; ++turns) {
        CAPTURE(turns);
        Fixture fixture;
        fixture.run([&] { return fixture.sessions.warm_up(1); });
        Fixture::Task task;
        bool finished = false;
        const auto failure = fixture.run([&] {
            return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.start(task, fixture.insert("stray"));
                for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
                finished = task.done;
            }));
        });
        fixture.run_until_done(task);
        if (finished) {
            CHECK(failure == nullptr);
            CHECK(fixture.names() == Names{"stray"});
        } else {
            CHECK(is<txscope::UnfinishedWork>(failure));
            CHECK(fixture.names().empty());
        }
        CHECK(fixture.in_transaction() == 0);
    }
}

TEST_CASE("a body that returns while a nested scope it started is open is rolled back",
          "[unfinished_work]") {
    Fixture fixture;
    Fixture::Task task;
    bool open = false;
    bool over = false;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.start(task, fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                open = true;
                co_await eventually([&] { return over; });
                co_await fixture.insert("late");
            }));
            co_await eventually([&] { return open; });
        }));
    });
    CHECK(is<txscope::UnfinishedWork>(failure));
    CHECK(fixture.names().empty());
    CHECK(fixture.in_transaction() == 0);
    over = true;
    fixture.run_until_done(task);
    CHECK(is<txscope::ScopeEnded>(task.failure));
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that returns while a nested scope it started waits for its turn is rolled back",
          "[unfinished_work]") {
    Fixture fixture;
    Fixture::Task task;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            const auto executor = co_await asio::this_coro::executor;
            const auto next = [&]() -> asio::awaitable<void> { co_await fixture.insert("next"); };
            co_await fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("first");
                asio::co_spawn(executor, fixture.nested(next), [&](std::exception_ptr error) {
                    task.failure = std::move(error);
                    task.done = true;
                });
                // It has been told to wait.
                for (int i = 0; i < 3; ++i) co_await asio::post(asio::use_awaitable);
            });
        }));
    });
    CHECK(is<txscope::UnfinishedWork>(failure));
    fixture.run_until_done(task);
    CHECK(is<txscope::ScopeEnded>(task.failure));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that returns while a scope that has joined it is open is rolled back",
          "[unfinished_work]") {
    Fixture fixture;
    Fixture::Task task;
    bool open = false;
    bool over = false;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.start(task, fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.insert("the first half");
                open = true;
                co_await eventually([&] { return over; });
                co_await fixture.insert("the other half");
            }));
            co_await eventually([&] { return open; });
        }));
    });
    CHECK(is<txscope::UnfinishedWork>(failure));
    CHECK(fixture.names().empty());
    over = true;
    fixture.run_until_done(task);
    CHECK(is<txscope::ScopeEnded>(task.failure));
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope within that outlives the transaction sends nothing any more, and has failed",
          "[unfinished_work]") {
    const bool throws = GENERATE(false, true);
    const bool queues = GENERATE(false, true);
    const bool fails = GENERATE(false, true);
    const bool joins = GENERATE(false, true);
    CAPTURE(throws, queues, fails, joins);
    Fixture fixture;
    Fixture::Task task;
    bool open = false;
    bool over = false;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await fixture.insert("in time");
        if (queues) session.enqueue("INSERT INTO entries (name) VALUES ('late')");
        open = true;
        co_await eventually([&] { return over; });
        if (fails) throw Refusal{"late"};
    };
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            const auto& within = joins ? fixture.scope : fixture.nested;
            co_await fixture.start(task, within(body));
            co_await eventually([&] { return open; });
            if (throws) throw Refusal{"the owner's"};
        }));
    });
    CHECK(throws == is<Refusal>(failure));
    CHECK(throws != is<txscope::UnfinishedWork>(failure));
    over = true;
    fixture.run_until_done(task);
    CHECK(fails == is<Refusal>(task.failure));
    CHECK(fails != is<txscope::ScopeEnded>(task.failure));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().acquired == 1);
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a nested scope that outlives the one around it leaves the next one's savepoint alone",
          "[unfinished_work]") {
    const bool throws = GENERATE(false, true);
    Fixture fixture;
    Fixture::Task task;
    bool open = false;
    bool over = false;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto stray = [&](Session& session) -> asio::awaitable<void> {
                co_await fixture.insert("stray");
                session.enqueue("INSERT INTO entries (name) VALUES ('late')");
                open = true;
                co_await eventually([&] { return over; });
                if (throws) throw Refusal{"late"};
            };
            const auto left = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.start(task, fixture.nested(stray));
                co_await eventually([&] { return open; });
            }));
            CHECK(is<txscope::UnfinishedWork>(left));
            co_await fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("next");
                co_await fixture.nested([&]() -> asio::awaitable<void> {
                    co_await fixture.insert("within the next");
                    over = true;
                    co_await eventually([&] { return task.done; });
                });
            });
        });
    });
    CHECK(throws == is<Refusal>(task.failure));
    CHECK(throws != is<txscope::ScopeEnded>(task.failure));
    CHECK(fixture.names() == Names{"next", "within the next"});
}

TEST_CASE("a nested scope whose body returns with work under way is undone, the one around is not",
          "[unfinished_work]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    Fixture::Task task;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                co_await fixture.start(task, fixture.insert("held"));
                co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
                holder->query("ROLLBACK");
            }));
            CHECK(is<txscope::UnfinishedWork>(failure));
            co_await fixture.insert("after");
        });
    });
    fixture.run_until_done(task);
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE("a statement that waits for the connection is not sent behind the rollback",
          "[unfinished_work]") {
    constexpr int statements = 10;
    Fixture fixture;
    for (int turns = 0; turns < 30; ++turns) {
        CAPTURE(turns);
        const txscope::AsyncSessionFactory sessions{fixture.io, fixture.database.dsn(),
                                                    support::observed()};
        const txscope::TransactionScope scope{sessions};
        int done = 0;
        const auto failure = fixture.run([&] {
            return failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                const auto executor = co_await asio::this_coro::executor;
                for (int i = 0; i < statements; ++i)
                    asio::co_spawn(
                        executor, session.execute("INSERT INTO entries (name) VALUES ($1)", i),
                        [&done](const std::exception_ptr&, const txscope::Result&) { ++done; });
                // The first has got it, and the others, one after another, are told so.
                while (sessions.statistics().acquired == 0)
                    co_await asio::post(asio::use_awaitable);
                for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
                throw Refusal{"the body's"};
            }));
        });
        CHECK(is<Refusal>(failure));
        support::run_until(fixture.io, [&] { return done == statements; });
        CHECK(fixture.names().empty());
        fixture.run([&] { return sessions.close(); });
    }
}

TEST_CASE("the body's exception comes out, whatever else was under way", "[unfinished_work]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    Fixture::Task task;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.start(task, fixture.insert("held"));
            co_await eventually([&] { return fixture.waiting_for_locks() == 1; });
            throw Refusal{"the body's"};
        }));
    });
    CHECK(text_of(failure) == "the body's");
    fixture.run_until_done(task);
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a task that is done before the body returns is as good as awaited",
          "[unfinished_work]") {
    Fixture fixture;
    Fixture::Task task;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.start(task, fixture.insert("task"));
            co_await eventually([&] { return task.done; });
        });
    });
    CHECK(task.failure == nullptr);
    CHECK(fixture.names() == Names{"task"});
}

}  // namespace unfinished_work
