#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/session/detail/session_state.hpp>

#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

namespace nested_scope {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::cause_of;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Session;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    asio::awaitable<void> insert_nested(std::string name) {
        co_await nested([&]() -> asio::awaitable<void> { co_await insert(name); });
    }
};

TEST_CASE("a scope within another joins its transaction", "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
                const auto seen = co_await session.execute("SELECT name FROM entries");
                CHECK(seen.one().get<std::string>(0) == "outer");
                co_await fixture.insert("inner");
            });
            CHECK(fixture.names().empty());
            throw Refusal{"all of it"};
        }));
    });
    CHECK(is<Refusal>(failure));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().acquired == 1);
}

TEST_CASE("a joined scope that fails dooms its owner, who gets UnexpectedRollback around its error",
          "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto swallowed = co_await failure_of(
                fixture.scope([&] { return fixture.insert_and_throw("inner"); }));
            CHECK(text_of(swallowed) == "inner");
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<Refusal>(cause_of(failure)));
    CHECK(fixture.names().empty());
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("after a swallowed failure of a joined scope statements are refused, naming it",
          "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await failure_of(fixture.scope([&] { return fixture.insert_and_throw("inner"); }));
            const auto executed = co_await failure_of(session.execute("SELECT 1"));
            CHECK(is<txscope::TransactionAborted>(executed));
            CHECK(text_of(cause_of(executed)) == "inner");
            const auto queued = failure_of([&] { session.enqueue("SELECT 1"); });
            CHECK(is<txscope::TransactionAborted>(queued));
            const auto joined =
                co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> { co_return; }));
            CHECK(is<txscope::TransactionAborted>(joined));
            const auto nested = co_await failure_of(fixture.insert_nested("nested"));
            CHECK(is<txscope::TransactionAborted>(nested));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(text_of(cause_of(failure)) == "inner");
    CHECK(fixture.names().empty());
}

TEST_CASE("a joined scope that asks for a rollback dooms its owner", "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.set_rollback_only();
                co_return;
            });
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK_THAT(text_of(cause_of(failure)), ContainsSubstring("joined"));
    CHECK(fixture.names().empty());
}

TEST_CASE("a joined scope may ask for the rollback through the ambient session too",
          "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.scope([&]() -> asio::awaitable<void> {
                auto session = co_await txscope::current_session(fixture.sessions);
                session.set_rollback_only();
            });
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(fixture.names().empty());
}

TEST_CASE("a savepoint around a joined scope that fails is all that is lost", "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                co_await fixture.scope([&] { return fixture.insert_and_throw("joined"); });
            }));
            CHECK(text_of(failure) == "joined");
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE("a joined scope's failure that is swallowed inside a savepoint loses that savepoint only",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                co_await failure_of(
                    fixture.scope([&] { return fixture.insert_and_throw("joined"); }));
            }));
            CHECK(is<txscope::UnexpectedRollback>(failure));
            CHECK(text_of(cause_of(failure)) == "joined");
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE("a nested scope without a transaction around it begins one", "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.insert_nested("one");
        CHECK(fixture.names() == Names{"one"});
        const auto failure =
            co_await failure_of(fixture.nested([&] { return fixture.insert_and_throw("two"); }));
        CHECK(is<Refusal>(failure));
    });
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("what a nested scope kept goes when the transaction around it is rolled back",
          "[nested_scope]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.insert_nested("nested");
            throw Refusal{"all of it"};
        }));
    });
    CHECK(is<Refusal>(failure));
    CHECK(fixture.names().empty());
}

TEST_CASE("a nested scope is the way to recover from a failed statement", "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto failure = co_await failure_of(fixture.insert_nested("one"));
            CHECK(is<pqxx::unique_violation>(failure));
            co_await fixture.insert("two");
        });
    });
    CHECK(fixture.names() == Names{"one", "two"});
}

TEST_CASE("the very first statement of a transaction may fail in a nested scope",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto failure =
                co_await failure_of(fixture.nested([&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute("SELECT 1/0");
                }));
            CHECK(is<txscope::SqlError>(failure));
            co_await fixture.insert("one");
        });
    });
    CHECK(fixture.names() == Names{"one"});
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("a nested scope that swallows a statement's error is undone, with UnexpectedRollback",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("two");
                co_await failure_of(fixture.insert("one"));
            }));
            CHECK(is<txscope::UnexpectedRollback>(failure));
            CHECK(is<pqxx::unique_violation>(cause_of(failure)));
            co_await fixture.insert("three");
        });
    });
    CHECK(fixture.names() == Names{"one", "three"});
}

TEST_CASE("rollback-only set in a nested scope undoes that scope alone, without an error",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const int value =
                co_await fixture.nested([&](Session& session) -> asio::awaitable<int> {
                    co_await fixture.insert("two");
                    session.set_rollback_only();
                    co_return 7;
                });
            CHECK(value == 7);
            co_await fixture.insert("three");
        });
    });
    CHECK(fixture.names() == Names{"one", "three"});
}

TEST_CASE("a nested scope whose savepoint was not set undoes nothing of the one before",
          "[nested_scope]") {
    Fixture fixture;
    std::exception_ptr within;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert_nested("one");
            // Its savepoint is released behind the scope's back, and then cannot be once more.
            const asio::any_io_executor executor = co_await asio::this_coro::executor;
            const auto& shared =
                txscope::detail::find_ambient(txscope::detail::ambient_of(executor),
                                              fixture.sessions.pool().get())
                    ->session->shared();
            const auto connection = shared.lease.member()->connection.get();
            const auto unseen = std::make_shared<txscope::detail::Response>();
            connection->submit({{txscope::Statement{"RELEASE SAVEPOINT txscope_1"}, unseen}});
            co_await connection->answered(unseen);
            CHECK_FALSE(unseen->error);
            within = co_await failure_of(fixture.insert_nested("two"));
        }));
    });
    CHECK_THAT(text_of(within), ContainsSubstring("in: RELEASE SAVEPOINT"));
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().discarded == 0);
}

TEST_CASE("of three levels only the middle one's is lost when that fails, what it kept included",
          "[nested_scope]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("middle");
                co_await fixture.insert_nested("innermost, kept");
                const auto inner = co_await failure_of(
                    fixture.nested([&] { return fixture.insert_and_throw("innermost"); }));
                CHECK(is<Refusal>(inner));
                throw Refusal{"middle"};
            }));
            CHECK(text_of(failure) == "middle");
            co_await fixture.insert_nested("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "after"});
}

TEST_CASE("a hundred nested scopes one after another all do what they say", "[nested_scope]") {
    Fixture fixture;
    Names expected;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            for (int i = 0; i < 100; ++i) {
                const auto name = std::to_string(i);
                if (i % 3 == 0) {
                    const auto failure = co_await failure_of(
                        fixture.nested([&] { return fixture.insert_and_throw(name); }));
                    CHECK(text_of(failure) == name);
                } else {
                    co_await fixture.insert_nested(name);
                    expected.push_back(name);
                }
            }
        });
    });
    CHECK(fixture.names() == expected);
}

/// What a session costs the server.
struct Footprint {
    std::int64_t bytes;
    std::int64_t statements;
};

asio::awaitable<Footprint> footprint(Session& session) {
    const auto found = co_await session.execute(
        "SELECT (SELECT sum(total_bytes) FROM pg_backend_memory_contexts)::bigint, "
        "(SELECT count(*) FROM pg_prepared_statements)");
    co_return Footprint{found.one().get<std::int64_t>(0), found.one().get<std::int64_t>(1)};
}

TEST_CASE("nested scopes one after another leave nothing behind, here or on the server",
          "[nested_scope]") {
    Fixture fixture;
    // PostgreSQL manual, "pg_backend_memory_contexts": since 14.
    if (fixture.database.query("SHOW server_version_num").number() < 140000) return;
    const auto held = std::make_shared<int>();
    int number = 0;
    const auto open_and_end = [&](int times) -> asio::awaitable<void> {
        for (int i = 0; i < times; ++i) {
            const auto body = [&, held]() -> asio::awaitable<void> {
                co_await fixture.insert(std::to_string(number++));
                if (i % 3 == 0) throw Refusal{"every third"};
            };
            co_await failure_of(fixture.nested(body));
        }
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await open_and_end(10);
            co_await footprint(session);  // has a price of its own, the first time
            const auto before = co_await footprint(session);
            co_await open_and_end(100);
            const auto after = co_await footprint(session);
            // A savepoint that is still there takes 8 kB and more.
            CHECK(after.bytes < before.bytes + 100'000);
            CHECK(after.statements == before.statements);
            CHECK(held.use_count() == 1);
        });
    });
    CHECK(fixture.names().size() == 110 - 38);
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await open_and_end(300);  // until every buffer has grown
            const std::size_t before = ::mallinfo2().uordblks;
            co_await open_and_end(1'000);  // to forget a block in each takes 32 kB
            CHECK(::mallinfo2().uordblks < before + 20'000);
        });
    });
}

/// What a scope meets whose nested scope loses the connection after an error of its own.
struct LostFixture : Fixture {
    /// Runs it so, the first time; the other times nothing is lost.
    std::exception_ptr run(int max_attempts) {
        const txscope::TransactionScope outer{
            sessions,
            {.retry = {.max_attempts = max_attempts,
                       .initial_backoff = std::chrono::milliseconds{1}}}};
        const auto fail_and_lose = [&](Session& session) -> asio::awaitable<void> {
            const auto failed = co_await failure_of(session.execute("SELECT 1 / $1::int", 0));
            CHECK(is<pqxx::data_exception>(failed));
            if (++attempts == 1) terminate_backends();
            throw Refusal{"of the nested scope"};
        };
        return Fixture::run([&] {
            return failure_of(outer([&]() -> asio::awaitable<void> {
                co_await insert("before");
                const auto refused = co_await failure_of(nested(fail_and_lose));
                CHECK(text_of(refused) == "of the nested scope");
                co_await insert("after");
            }));
        });
    }

    int attempts = 0;
};

TEST_CASE("a connection that is lost before a nested scope is undone is worth another attempt",
          "[nested_scope]") {
    LostFixture fixture;
    CHECK(text_of(fixture.run(5)) == "no failure");
    CHECK(fixture.attempts == 2);
    CHECK(fixture.names() == Names{"before", "after"});
}

TEST_CASE("a connection that is lost before a nested scope is undone is why statements are refused",
          "[nested_scope]") {
    LostFixture fixture;
    const auto failure = fixture.run(1);
    CHECK(is<txscope::TransactionAborted>(failure));
    CHECK(is<txscope::ConnectionLost>(cause_of(failure)));
    CHECK(fixture.names().empty());
}

}  // namespace nested_scope
