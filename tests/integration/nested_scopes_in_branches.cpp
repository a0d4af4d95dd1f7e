#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <string>

namespace nested_scopes_in_branches {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::cause_of;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Session;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    /// Lets everything that is ready to run have `turns` turns.
    static asio::awaitable<void> yield(int turns) {
        for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
    }
};

TEST_CASE("sibling nested scopes in parallel branches take turns, in the order they came",
          "[nested_scope]") {
    Fixture fixture;
    std::string order;
    const auto branch = [&](char letter) {
        return fixture.nested([&order, &fixture, letter]() -> asio::awaitable<void> {
            order += letter;
            co_await fixture.insert(std::string(1, letter) + "1");
            co_await Fixture::yield(3);
            co_await fixture.insert(std::string(1, letter) + "2");
            order += letter;
        });
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await (branch('a') && branch('b') && branch('c'));
        });
    });
    CHECK(order == "aabbcc");
    CHECK(fixture.names() == Names{"a1", "a2", "b1", "b2", "c1", "c2"});
}

TEST_CASE("whenever BEGIN is answered, what a nested scope in another branch has to say is sent",
          "[nested_scope]") {
    Fixture fixture{{.max_size = 3}};
    const auto select = [&]() -> asio::awaitable<void> {
        auto session = co_await txscope::current_session(fixture.sessions);
        co_await session.execute("SELECT 1");
    };
    const auto once = [&]() -> asio::awaitable<void> {
        co_await fixture.scope(
            [&]() -> asio::awaitable<void> { co_await (select() && fixture.nested(select)); });
    };
    const auto work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 40; ++i) co_await once();
    };
    std::atomic<int> done = 0;
    for (int i = 0; i < 24; ++i)
        asio::co_spawn(asio::make_strand(asio::any_io_executor{fixture.io.get_executor()}), work(),
                       [&](std::exception_ptr error) {
                           if (error) std::rethrow_exception(error);
                           ++done;
                       });
    fixture.run(
        [&]() -> asio::awaitable<void> {
            co_await support::eventually([&] { return done == 24; });
        },
        {.threads = 4});
    CHECK(done == 24);
}

TEST_CASE("of parallel nested scopes one that fails takes nothing of the others with it",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto branch = [&](std::string name, bool fails) -> asio::awaitable<void> {
                const auto failure =
                    co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                        co_await fixture.insert(name);
                        if (fails) throw Refusal{name};
                    }));
                CHECK((failure != nullptr) == fails);
            };
            co_await (branch("a", false) && branch("b", true) && branch("c", false) &&
                      branch("d", true));
        });
    });
    CHECK(fixture.names() == Names{"a", "c"});
}

TEST_CASE(
    "a statement of another branch waits while a nested scope is open, and so outlives its "
    "rollback",
    "[nested_scope]") {
    Fixture fixture;
    bool open = false;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto nested = [&]() -> asio::awaitable<void> {
                const auto failure =
                    co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                        open = true;
                        co_await fixture.insert("undone");
                        co_await Fixture::yield(5);
                        open = false;
                        throw Refusal{"undone"};
                    }));
                CHECK(is<Refusal>(failure));
            };
            const auto beside = [&]() -> asio::awaitable<void> {
                while (!open) co_await Fixture::yield(1);
                co_await fixture.insert("kept");
                CHECK_FALSE(open);
            };
            co_await (nested() && beside());
        });
    });
    CHECK(fixture.names() == Names{"kept"});
}

TEST_CASE("a nested scope that only writes behind waits for the connection of the other branch",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto behind = [](Session& session) -> asio::awaitable<void> {
                session.enqueue("INSERT INTO entries (name) VALUES ('behind')");
                co_return;
            };
            co_await (fixture.insert("awaited") && fixture.nested(behind));
        });
    });
    CHECK(fixture.names() == Names{"awaited", "behind"});
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a parallel branch whose statement fails while a nested scope waits its turn dooms both",
          "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            const auto failing = [&]() -> asio::awaitable<void> {
                const auto error = co_await failure_of(session.execute("SELECT 1/0"));
                CHECK(is<txscope::SqlError>(error));
            };
            const auto nested = [&]() -> asio::awaitable<void> {
                const auto error = co_await failure_of(fixture.nested(
                    [&]() -> asio::awaitable<void> { co_await fixture.insert("nested"); }));
                CHECK(is<txscope::TransactionAborted>(error));
            };
            co_await (failing() && nested());
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<txscope::SqlError>(cause_of(failure)));
    CHECK(fixture.names().empty());
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("the session handle of a scope, used inside a nested one, means the nested one",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& outer) -> asio::awaitable<void> {
            co_await outer.execute("INSERT INTO entries (name) VALUES ('outer')");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await outer.execute("INSERT INTO entries (name) VALUES ('executed')");
                outer.enqueue("INSERT INTO entries (name) VALUES ('enqueued')");
                throw Refusal{"both go"};
            }));
            CHECK(is<Refusal>(failure));
            co_await outer.execute("INSERT INTO entries (name) VALUES ('after')");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE("the handle of a nested scope's session has ended when that scope has",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            std::optional<Session> kept;
            co_await fixture.nested([&](Session& session) -> asio::awaitable<void> {
                kept = session;
                co_await fixture.insert("nested");
            });
            CHECK(is<txscope::ScopeEnded>(co_await failure_of(kept->execute("SELECT 1"))));
            CHECK(is<txscope::ScopeEnded>(failure_of([&] { kept->enqueue("SELECT 1"); })));
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"nested", "after"});
}

TEST_CASE("what a nested scope enqueued is dropped with its rollback, and kept with its end",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& outer) -> asio::awaitable<void> {
            outer.enqueue("INSERT INTO entries (name) VALUES ('outer')");
            const auto failure =
                co_await failure_of(fixture.nested([&](Session& session) -> asio::awaitable<void> {
                    session.enqueue("INSERT INTO entries (name) VALUES ('dropped')");
                    throw Refusal{"dropped"};
                    co_return;
                }));
            CHECK(is<Refusal>(failure));
            co_await fixture.nested([&](Session& session) -> asio::awaitable<void> {
                session.enqueue("INSERT INTO entries (name) VALUES ('kept')");
                co_return;
            });
        });
    });
    CHECK(fixture.names() == Names{"outer", "kept"});
}

TEST_CASE("what a nested scope enqueued fails inside it, not later in the scope around",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto failure =
                co_await failure_of(fixture.nested([&](Session& session) -> asio::awaitable<void> {
                    session.enqueue("INSERT INTO entries (name) VALUES ('nested')");
                    session.enqueue("INSERT INTO entries (name) VALUES ('outer')");
                    co_return;
                }));
            CHECK(is<pqxx::unique_violation>(failure));
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE(
    "a nested scope that ends while a task it started is at work loses its own, and nothing "
    "of the scope around",
    "[nested_scope]") {
    // However far the task has come: before its statement is sent, on its way, answered.
    for (int turns = 0; turns < 8; ++turns) {
        for (const bool throws : {false, true}) {
            CAPTURE(turns, throws);
            Fixture fixture;
            fixture.run([&] { return fixture.sessions.warm_up(1); });
            const auto failure = fixture.run([&] {
                return failure_of(fixture.scope([&](Session& outer) -> asio::awaitable<void> {
                    outer.enqueue("INSERT INTO entries (name) VALUES ('outer')");
                    const auto error = co_await failure_of(
                        fixture.nested([&](Session& session) -> asio::awaitable<void> {
                            asio::co_spawn(
                                co_await asio::this_coro::executor,
                                session.execute("INSERT INTO entries (name) VALUES ('stray')"),
                                asio::detached);
                            co_await Fixture::yield(turns);
                            throw Refusal{"nested"};
                        }));
                    CHECK(is<Refusal>(error));
                    if (throws) {
                        co_await fixture.insert("undone");
                        throw Refusal{"outer"};
                    }
                    co_await fixture.insert("after");
                }));
            });
            // The transaction may be lost as a whole, but never in part.
            if (throws || failure)
                CHECK(fixture.names().empty());
            else
                CHECK(fixture.names() == Names{"outer", "after"});
            CHECK((failure != nullptr) == throws);
            CHECK(fixture.in_transaction() == 0);
        }
    }
}

}  // namespace nested_scopes_in_branches
