#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include "support/time_enough.hpp"
#include <txscope/session/detail/session_pool.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace transaction_scope {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using Catch::Matchers::ContainsSubstring;
using support::cause_of;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    /// A scope after all else shows that the one connection is as good as new.
    void check_that_the_pool_works_on() {
        run([&]() -> asio::awaitable<void> {
            co_await scope([&]() -> asio::awaitable<void> { co_await insert("afterwards"); });
        });
        CHECK(names().back() == "afterwards");
        CHECK(sessions.statistics().opened == 1);
        CHECK(in_transaction() == 0);
    }
};

TEST_CASE("what a body did is committed and visible to others when its scope completes",
          "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", "one");
            CHECK(fixture.names().empty());
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", "two");
        });
        CHECK(fixture.names() == Names{"one", "two"});
    });
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("a scope yields what its body returns, also what can only be moved",
          "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto id =
            co_await fixture.scope([&](Session& session) -> asio::awaitable<std::int64_t> {
                const auto added = co_await session.execute(
                    "INSERT INTO entries (name) VALUES ('one') RETURNING id");
                co_return added.one().get<std::int64_t>(0);
            });
        CHECK(fixture.database.query("SELECT id FROM entries").number() == id);

        const auto pointer = co_await fixture.scope(
            [&]() -> asio::awaitable<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
        CHECK(*pointer == 7);
    });
}

TEST_CASE("a body that returns early is committed", "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            if (fixture.names().empty()) co_return;
            co_await fixture.insert("two");
        });
    });
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a body that throws is rolled back, and its very exception comes out",
          "[transaction_scope]") {
    Fixture fixture;
    std::exception_ptr thrown;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            thrown = std::make_exception_ptr(Refusal{"not this one"});
            std::rethrow_exception(thrown);
        }));
    });
    CHECK(failure == thrown);
    CHECK(is<Refusal>(failure));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("anything that is thrown rolls back, not only a std::exception", "[transaction_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<int> {
            co_await fixture.insert("one");
            throw 42;
        }));
    });
    REQUIRE(is<int>(failure));
    int thrown = 0;
    try {
        std::rethrow_exception(failure);
    } catch (int value) {
        thrown = value;
    }
    CHECK(thrown == 42);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE(
    "a body that throws before its first co_await, or before its coroutine starts, is no "
    "different",
    "[transaction_scope]") {
    Fixture fixture;
    const auto early = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            throw Refusal{"at once"};
            co_return;
        }));
    });
    CHECK(is<Refusal>(early));
    const auto earlier = fixture.run([&] {
        return failure_of(fixture.scope(
            [&]() -> asio::awaitable<void> { throw Refusal{"not even a coroutine"}; }));
    });
    CHECK(text_of(earlier) == "not even a coroutine");
    CHECK(fixture.sessions.statistics().opened == 0);
}

TEST_CASE("one scope object runs many transactions, one after another and at once",
          "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> { co_await fixture.insert("one"); });
        const auto failure = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("two");
            throw Refusal{"no"};
        }));
        CHECK(is<Refusal>(failure));
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("three");
            // Not within: this coroutine is not the body's.
            co_await asio::co_spawn(fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.insert("four");
            }),
                                    asio::use_awaitable);
            CHECK(fixture.names() == Names{"one", "four"});
        });
    });
    auto names = fixture.names();
    std::sort(names.begin(), names.end());
    CHECK(names == Names{"four", "one", "three"});
}

TEST_CASE("an owner that sets rollback-only rolls back, and its value is returned without an error",
          "[transaction_scope]") {
    Fixture fixture;
    const int value = fixture.run([&] {
        return fixture.scope([&](Session& session) -> asio::awaitable<int> {
            co_await fixture.insert("one");
            session.set_rollback_only();
            co_await fixture.insert("two");  // it may go on
            session.enqueue("INSERT INTO entries (name) VALUES ('three')");
            co_return 7;
        });
    });
    CHECK(value == 7);
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("rollback-only outlives a swallowed error: still no exception", "[transaction_scope]") {
    Fixture fixture;
    const int value = fixture.run([&] {
        return fixture.scope([&](Session& session) -> asio::awaitable<int> {
            session.set_rollback_only();
            const auto failure = co_await failure_of(session.execute("SELECT 1/0"));
            CHECK(is<txscope::SqlError>(failure));
            co_return 7;
        });
    });
    CHECK(value == 7);
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("of branches that fail together comes the error of the statement that failed",
          "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&] { return fixture.insert_alone("taken"); });
    const auto in_order = [&]() -> asio::awaitable<void> {
        co_await (fixture.insert("taken") && fixture.insert("free"));
    };
    const auto in_reverse = [&]() -> asio::awaitable<void> {
        co_await (fixture.insert("free") && fixture.insert("taken"));
    };
    const auto of_three = [&]() -> asio::awaitable<void> {
        co_await (fixture.insert("taken") && fixture.insert("free") && fixture.insert("other"));
    };
    const auto check = [&](auto body) {
        // As the owner's body, that of a scope which has joined it, and that of a nested one.
        const auto ambient = [&]() -> asio::awaitable<void> { co_await fixture.scope(body); };
        const auto nested = [&]() -> asio::awaitable<void> { co_await fixture.nested(body); };
        CHECK(is<pqxx::unique_violation>(fixture.run([&] { return failure_of(ambient()); })));
        const auto failure_within = [&](auto inner) {
            std::exception_ptr failure;
            fixture.run([&] {
                return failure_of(fixture.scope(
                    [&]() -> asio::awaitable<void> { failure = co_await failure_of(inner()); }));
            });
            return failure;
        };
        CHECK(is<pqxx::unique_violation>(failure_within(ambient)));
        CHECK(is<pqxx::unique_violation>(failure_within(nested)));
    };
    check(in_order);
    check(in_reverse);
    check(of_three);
    CHECK(fixture.names() == Names{"taken"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("of branches that throw together, with no statement failing, comes the first one's error",
          "[transaction_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await (fixture.insert_and_throw("one") && fixture.insert_and_throw("two"));
        }));
    });
    CHECK(is<Refusal>(failure));
    CHECK(text_of(failure) == "one");
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a body that swallows a statement's error gets UnexpectedRollback with it nested inside",
          "[transaction_scope]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions};
    const auto line = std::to_string(__LINE__ - 1);
    const auto failure = fixture.run([&] {
        return failure_of(scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto swallowed = co_await failure_of(fixture.insert("one"));
            CHECK(is<pqxx::unique_violation>(swallowed));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<pqxx::unique_violation>(cause_of(failure)));
    CHECK_THAT(text_of(failure), ContainsSubstring("transaction_scope.cpp:" + line));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a scope whose statement got no connection is not committed without that statement",
          "[transaction_scope]") {
    Fixture fixture{{.max_size = 1, .max_waiters = 0}};
    std::exception_ptr refused;
    const auto swallow = [&]() -> asio::awaitable<void> {
        auto held = co_await fixture.sessions.pool()->acquire();
        const auto swallowed = co_await failure_of(fixture.insert("one"));
        CHECK(is<txscope::PoolExhausted>(swallowed));
        held = {};
        refused = co_await failure_of(fixture.insert("two"));
    };
    const auto failure = fixture.run([&] { return failure_of(fixture.scope(swallow)); });
    CHECK(is<txscope::TransactionAborted>(refused));
    CHECK(is<txscope::PoolExhausted>(cause_of(refused)));
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<txscope::PoolExhausted>(cause_of(failure)));
    CHECK(fixture.names().empty());

    // A nested scope is the way to recover from that, too.
    fixture.run([&] {
        return fixture.scope([&]() -> asio::awaitable<void> {
            const auto lost = co_await failure_of(fixture.nested(swallow));
            CHECK(is<txscope::UnexpectedRollback>(lost));
            co_await fixture.insert("three");
        });
    });
    CHECK(fixture.names() == Names{"three"});
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("parallel first statements wait for a connection together, and in vain only once",
          "[transaction_scope]") {
    support::with_time_enough([](std::chrono::milliseconds limit) {
        Fixture fixture{{.max_size = 1, .acquire_timeout = limit}};
        if (!fixture.warmed_up()) return false;
        const auto failure = fixture.run([&]() -> asio::awaitable<std::exception_ptr> {
            auto held = co_await fixture.sessions.pool()->acquire();
            co_return co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
                const auto [first, second, third] = co_await (failure_of(fixture.insert("one")) &&
                                                              failure_of(fixture.insert("two")) &&
                                                              failure_of(fixture.insert("three")));
                CHECK(is<txscope::AcquireTimeout>(first));
                for (const auto& behind : {second, third}) {
                    CHECK(is<txscope::TransactionAborted>(behind));
                    CHECK(is<txscope::AcquireTimeout>(cause_of(behind)));
                }
            }));
        });
        CHECK(is<txscope::UnexpectedRollback>(failure));
        fixture.check_that_the_pool_works_on();
        return true;
    });
}

TEST_CASE("after a swallowed error every statement is refused, naming the first error",
          "[transaction_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await failure_of(session.execute("SELECT 1/0"));
            const auto refused = co_await failure_of(session.execute("SELECT 1"));
            CHECK(is<txscope::TransactionAborted>(refused));
            CHECK_FALSE(is<pqxx::sql_error>(refused));  // it never reached the server
            CHECK_THAT(text_of(cause_of(refused)), ContainsSubstring("22012"));

            const auto queued =
                failure_of([&] { session.enqueue("INSERT INTO entries (name) VALUES ('x')"); });
            CHECK(is<txscope::TransactionAborted>(queued));
            co_await fixture.insert("never");
        }));
    });
    CHECK(is<txscope::TransactionAborted>(failure));
    CHECK_THAT(text_of(cause_of(failure)), ContainsSubstring("22012"));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a constraint that is checked at COMMIT gives its own typed error and leaves no row",
          "[transaction_scope]") {
    Fixture fixture{{},
                    "CREATE TABLE parts (entry bigint CONSTRAINT part_of_an_entry REFERENCES "
                    "entries DEFERRABLE INITIALLY DEFERRED)"};
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await session.execute("INSERT INTO parts (entry) VALUES (-1)");
        }));
    });
    CHECK(is<pqxx::foreign_key_violation>(failure));
    CHECK(is<txscope::SqlError>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("part_of_an_entry"));
    CHECK(fixture.names().empty());
    CHECK(fixture.database.count("parts") == 0);
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a statement that was enqueued and fails with COMMIT gives its error and leaves no row",
          "[transaction_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("one");
            session.enqueue("INSERT INTO entries (name) VALUES ('two')");
            session.enqueue("INSERT INTO entries (name) VALUES ('one')");
            session.enqueue("INSERT INTO entries (name) VALUES ('three')");
        }));
    });
    CHECK(is<pqxx::unique_violation>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("names_are_unique"));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("what is enqueued is executed in order, ahead of the statement that is awaited next",
          "[transaction_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.enqueue("INSERT INTO entries (name) VALUES ('one')");
            session.enqueue("UPDATE entries SET name = 'renamed' WHERE name = 'one'");
            const auto seen = co_await session.execute("SELECT name FROM entries");
            CHECK(seen.one().get<std::string>("name") == "renamed");

            session.enqueue("INSERT INTO entries (name) VALUES ('two')");
            co_await session.flush();
            const auto count = co_await session.execute("SELECT count(*) FROM entries");
            CHECK(count.one().get<int>(0) == 2);
        });
    });
    CHECK(fixture.names() == Names{"renamed", "two"});
}

TEST_CASE("a session that is used after its scope has ended says so and sends nothing",
          "[transaction_scope]") {
    Fixture fixture;
    std::optional<Session> kept;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            kept = session;
            co_await fixture.insert("one");
        });
        const auto before = fixture.sessions.statistics().acquired;
        const auto executed =
            co_await failure_of(kept->execute("INSERT INTO entries (name) VALUES ('two')"));
        CHECK(is<txscope::ScopeEnded>(executed));
        CHECK(is<txscope::ScopeEnded>(co_await failure_of(kept->flush())));
        const auto queued =
            failure_of([&] { kept->enqueue("INSERT INTO entries (name) VALUES ('three')"); });
        CHECK(is<txscope::ScopeEnded>(queued));
        CHECK(is<txscope::ScopeEnded>(failure_of([&] { kept->set_rollback_only(); })));
        CHECK(is<txscope::ScopeEnded>(failure_of([&] { kept->after_commit([] {}); })));
        CHECK(fixture.sessions.statistics().acquired == before);
    });
    CHECK(fixture.names() == Names{"one"});
}

/// Whether a scope takes a body that returns this.
template <typename T>
concept Returnable = txscope::detail::NothrowResult<T> &&
                     std::invocable<const TransactionScope&, asio::awaitable<T> (*)()> &&
                     std::invocable<const TransactionScope&, asio::awaitable<T> (*)(Session&)>;

struct Fragile {
    Fragile(Fragile&&) noexcept(false) {}
};

static_assert(Returnable<void> && Returnable<int> && Returnable<std::optional<std::string>>);
static_assert(Returnable<txscope::Result> && Returnable<std::vector<std::string>>);
static_assert(Returnable<std::unique_ptr<Fragile>>);
static_assert(!Returnable<Fragile>, "it could fail to be handed over when all is committed");

// What takes a transaction: a body, and a function that one calls.
void count_commits(txscope::Transaction& transaction, int& commits) {
    transaction.after_commit([&commits] { ++commits; });
}

TEST_CASE("a body may take the transaction, and hand it to what needs one", "[transaction_scope]") {
    Fixture fixture;
    int commits = 0;
    const auto body = [&](txscope::Transaction& transaction) -> asio::awaitable<int> {
        co_await fixture.insert("kept");
        count_commits(transaction, commits);
        if (transaction.attempt() != 1) transaction.set_rollback_only();
        co_return transaction.attempt();
    };
    const TransactionScope scope{fixture.sessions};
    const TransactionScope nested{fixture.sessions, {.propagation = txscope::Propagation::nested}};
    fixture.run([&]() -> asio::awaitable<void> {
        const int attempt = co_await scope(body);
        CHECK(attempt == 1);
        CHECK(commits == 1);
        co_await scope([&](txscope::Transaction& outer) -> asio::awaitable<void> {
            co_await nested([&](txscope::Transaction& inner) -> asio::awaitable<void> {
                count_commits(inner, commits);
                co_return;
            });
            count_commits(outer, commits);
        });
    });
    CHECK(commits == 3);
    CHECK(fixture.names() == Names{"kept"});
}

TEST_CASE("a body that takes a transaction does not fit a session without one",
          "[transaction_scope]") {
    const auto body = [](txscope::Transaction&) -> asio::awaitable<void> { co_return; };
    using Body = decltype(body);
    STATIC_REQUIRE(txscope::detail::ScopeBody<Body, txscope::Transaction>);
    STATIC_REQUIRE_FALSE(txscope::detail::ScopeBody<Body, Session>);
}

}  // namespace transaction_scope
