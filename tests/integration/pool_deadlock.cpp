#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <source_location>
#include <string>
#include <vector>

namespace pool_deadlock {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using support::cause_of;
using support::eventually;
using support::failure_of;
using support::Gate;
using support::is;
using support::RunOptions;
using support::text_of;
using txscope::PoolDeadlock;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

txscope::PoolOptions of_size(std::size_t max_size) {
    txscope::PoolOptions options;
    options.max_size = max_size;
    return options;
}

struct Fixture : support::ScopeFixture {
    explicit Fixture(std::size_t max_size) : ScopeFixture{of_size(max_size)} {}

    const TransactionScope apart{sessions, {.propagation = Propagation::requires_new}};

    asio::awaitable<void> insert_apart(std::string name) {
        co_await apart([&]() -> asio::awaitable<void> { co_await insert(name); });
    }
    // Takes a connection as somebody else who needs no second one, until the gate is opened.
    asio::awaitable<void> hold(Gate& gate) {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await gate.wait();
        };
        co_await sessions.session_scope(body);
    }
    void start(asio::awaitable<void> work) {
        asio::co_spawn(io, std::move(work), [](const std::exception_ptr& error) {
            if (error) std::rethrow_exception(error);
        });
    }
    std::size_t waiting() const { return sessions.statistics().waiting; }

    // Nothing was lost: all connections are there for the next one, and nobody waits.
    void check_that_the_pool_is_whole() {
        run(eventually([&] {
            const auto now = sessions.statistics();
            return now.idle == now.size && now.waiting == 0;
        }));
        CHECK(in_transaction() == 0);
    }
};

std::string place_of(const std::source_location& where) {
    return std::string{where.file_name()} + ":" + std::to_string(where.line());
}

std::vector<std::string> places_in(const std::exception_ptr& failure) {
    std::vector<std::string> places;
    try {
        std::rethrow_exception(failure);
    } catch (const PoolDeadlock& error) {
        for (const auto& where : error.scope_locations()) places.push_back(place_of(where));
    }
    return places;
}

TEST_CASE("a scope that needs a second connection where there is only one fails at once",
          "[pool_deadlock]") {
    Fixture fixture{1};
    const auto here = std::source_location::current();
    const TransactionScope outer{fixture.sessions};
    const TransactionScope inner{fixture.sessions, {.propagation = Propagation::requires_new}};
    const auto line = [&](unsigned below) {
        return std::string{here.file_name()} + ":" + std::to_string(here.line() + below);
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await outer([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            bool ran = false;
            const auto failure = co_await failure_of(inner([&]() -> asio::awaitable<void> {
                ran = true;
                co_await fixture.insert("inner");
            }));
            CHECK(ran);
            CHECK(is<PoolDeadlock>(failure));
            CHECK(is<txscope::PoolError>(failure));
            CHECK(places_in(failure) == std::vector{line(1)});
            CHECK_THAT(text_of(failure), EndsWith("[scopes opened at " + line(1) +
                                                  "] [scope opened at " + line(2) + "]"));
            co_await fixture.insert("outer goes on");
        });
    });
    CHECK(fixture.names() == Names{"outer", "outer goes on"});
    CHECK(fixture.sessions.statistics().opened == 1);
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("every way to ask for a second connection at a full pool is refused at once",
          "[pool_deadlock]") {
    Fixture fixture{1};
    const TransactionScope outside{fixture.sessions, {.propagation = Propagation::not_supported}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            const auto plain = co_await failure_of(
                outside([&]() -> asio::awaitable<void> { co_await fixture.insert("plain"); }));
            CHECK(is<PoolDeadlock>(plain));
            const auto lone =
                co_await failure_of(fixture.sessions.execute("INSERT INTO entries DEFAULT VALUES"));
            CHECK(is<PoolDeadlock>(lone));
            CHECK_THAT(text_of(lone), ContainsSubstring("every connection is held by scopes") &&
                                          !ContainsSubstring("[scope opened at"));
            const auto behind =
                co_await failure_of(fixture.apart([&](Session& other) -> asio::awaitable<void> {
                    other.enqueue("INSERT INTO entries (name) VALUES ('written behind')");
                    co_return;
                }));
            CHECK(is<PoolDeadlock>(behind));
            co_await fixture.insert("kept");
        });
    });
    CHECK(fixture.names() == Names{"kept"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("a chain of scopes that holds all connections gets no further one", "[pool_deadlock]") {
    Fixture fixture{3};
    std::exception_ptr innermost;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("first");
            co_await fixture.apart([&]() -> asio::awaitable<void> {
                co_await fixture.insert("second");
                co_await fixture.apart([&]() -> asio::awaitable<void> {
                    co_await fixture.insert("third");
                    innermost = co_await failure_of(fixture.insert_apart("fourth"));
                });
            });
        });
    });
    CHECK(is<PoolDeadlock>(innermost));
    CHECK(places_in(innermost).size() == 2);  // the second and the third were opened at one place
    CHECK(fixture.names() == Names{"first", "second", "third"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("of scopes that hold all connections and each want a second one, the last is refused",
          "[pool_deadlock]") {
    constexpr int scopes = 4;
    Fixture fixture{scopes};
    Gate everybody_holds_one{fixture.io};
    std::vector<int> refused;
    const auto pair = [&](int number) -> asio::awaitable<void> {
        const auto name = std::to_string(number);
        const auto failure = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer " + name);
            co_await everybody_holds_one.wait();
            co_await fixture.insert_apart("inner " + name);
        }));
        if (!failure) co_return;
        CHECK(is<PoolDeadlock>(failure));
        CHECK(places_in(failure).size() == 1);
        refused.push_back(number);
    };
    fixture.run([&]() -> asio::awaitable<void> {
        const auto opener = [&]() -> asio::awaitable<void> {
            co_await eventually([&] { return everybody_holds_one.waiting() == scopes; });
            everybody_holds_one.open();
        };
        co_await (pair(0) && pair(1) && pair(2) && pair(3) && opener());
    });
    CHECK(refused.size() == 1);
    CHECK(fixture.names().size() == 2 * (scopes - 1));
    CHECK(fixture.sessions.statistics().opened == scopes);
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("on many threads, scopes that want second connections all end, and never by a time-out",
          "[pool_deadlock]") {
    constexpr int workers = 12;
    constexpr int rounds = 40;
    Fixture fixture{3};
    std::atomic<int> committed = 0;
    std::atomic<int> refused = 0;
    std::atomic<int> ended = 0;
    std::atomic<bool> otherwise = false;
    const auto worker = [&](int number) -> asio::awaitable<void> {
        for (int round = 0; round < rounds; ++round) {
            const auto name = std::to_string(number) + "." + std::to_string(round);
            const auto failure = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.insert("outer " + name);
                if (round % 3 != 0) co_await fixture.insert_apart("inner " + name);
            }));
            if (!failure)
                ++committed;
            else if (is<PoolDeadlock>(failure))
                ++refused;
            else
                otherwise = true;
        }
        ++ended;
    };
    for (int number = 0; number < workers; ++number)
        asio::co_spawn(asio::make_strand(fixture.io), worker(number), asio::detached);
    fixture.run(eventually([&] { return ended == workers; }), RunOptions{.threads = 4});
    CHECK_FALSE(otherwise);
    CHECK(refused > 0);
    CHECK(committed + refused == workers * rounds);
    const auto outer = fixture.database.query("SELECT name FROM entries WHERE name LIKE 'outer %'");
    CHECK(outer.size() == static_cast<std::size_t>(committed));
    CHECK(fixture.sessions.statistics().opened == 3);
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("who waits for a connection that is merely busy is not refused", "[pool_deadlock]") {
    Fixture fixture{2};
    Gate busy{fixture.io};
    fixture.start(fixture.hold(busy));
    fixture.run(eventually([&] { return busy.waiting() == 1; }));
    fixture.run([&]() -> asio::awaitable<void> {
        const auto opener = [&]() -> asio::awaitable<void> {
            co_await eventually([&] { return fixture.waiting() == 1; });
            busy.open();
        };
        const auto both = [&]() -> asio::awaitable<void> {
            co_await fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.insert("outer");
                co_await fixture.insert_apart("inner");
            });
        };
        co_await (both() && opener());
    });
    CHECK(fixture.names() == Names{"outer", "inner"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("a connection that is being opened or cleaned up will come free", "[pool_deadlock]") {
    Fixture fixture{2};
    const auto change_session = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SET work_mem = '1MB'");
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            // The one opens the second connection, the other waits for it.
            co_await (fixture.insert_apart("one") && fixture.insert_apart("other"));
            co_await fixture.sessions.session_scope(change_session);
            CHECK(fixture.sessions.statistics().idle == 0);  // it is reset meanwhile
            co_await fixture.insert_apart("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "one", "other", "after"});
    CHECK(fixture.sessions.statistics().opened == 2);
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("a scope is kept from its end by the one branch that waits, whatever the others do",
          "[pool_deadlock]") {
    Fixture fixture{1};
    Gate working{fixture.io};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto work = [&]() -> asio::awaitable<void> {
                co_await fixture.insert("worked");
                co_await working.wait();
            };
            const auto want = [&]() -> asio::awaitable<void> {
                co_await eventually([&] { return working.waiting() == 1; });
                const auto failure = co_await failure_of(fixture.insert_apart("apart"));
                CHECK(is<PoolDeadlock>(failure));
                working.open();
            };
            co_await (work() && want());
        });
    });
    CHECK(fixture.names() == Names{"worked"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("a scope that gets its own connection behind a wait within it completes the deadlock",
          "[pool_deadlock]") {
    Fixture fixture{1};
    Gate busy{fixture.io};
    fixture.start(fixture.hold(busy));
    fixture.run(eventually([&] { return busy.waiting() == 1; }));
    std::exception_ptr failure;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            const auto apart = [&]() -> asio::awaitable<void> {
                co_await eventually([&] { return fixture.waiting() == 1; });
                failure = co_await failure_of(fixture.insert_apart("apart"));
            };
            const auto opener = [&]() -> asio::awaitable<void> {
                co_await eventually([&] { return fixture.waiting() == 2; });
                CHECK_FALSE(failure);  // nobody who waits holds anything yet
                busy.open();
            };
            co_await (fixture.insert("own") && apart() && opener());
        });
    });
    CHECK(is<PoolDeadlock>(failure));
    CHECK(fixture.names() == Names{"own"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("the session of a scope around that has no connection yet gets none from within",
          "[pool_deadlock]") {
    Fixture fixture{1};
    std::exception_ptr refused;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& outer) -> asio::awaitable<void> {
            co_await fixture.apart([&]() -> asio::awaitable<void> {
                co_await fixture.insert("inner");
                const auto deadlock = co_await failure_of(outer.execute("SELECT 1"));
                CHECK(is<PoolDeadlock>(deadlock));
            });
            refused = co_await failure_of(fixture.insert("outer"));
        }));
    });
    CHECK(is<txscope::TransactionAborted>(refused));
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<PoolDeadlock>(cause_of(failure)));
    CHECK(fixture.names() == Names{"inner"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("what a hook of a scope waits for keeps the scopes around that from their ends",
          "[pool_deadlock]") {
    Fixture fixture{2};
    std::exception_ptr failure;
    const auto hook = [&]() -> asio::awaitable<void> {
        co_await fixture.apart([&]() -> asio::awaitable<void> {
            co_await fixture.insert("by the hook");
            failure = co_await failure_of(fixture.insert_apart("one too many"));
        });
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.apart([&](Session& session) -> asio::awaitable<void> {
                session.after_commit(hook);
                co_await fixture.insert("inner");
            });
        });
    });
    CHECK(is<PoolDeadlock>(failure));
    CHECK(places_in(failure).size() == 2);
    CHECK(fixture.names() == Names{"outer", "inner", "by the hook"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("a session of a scope on another strand, too, is waited for by the scope that uses it",
          "[pool_deadlock]") {
    Fixture fixture{1};
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& idle) -> asio::awaitable<void> {
            const auto elsewhere = [&]() -> asio::awaitable<void> {
                co_await fixture.scope([&]() -> asio::awaitable<void> {
                    co_await fixture.insert("elsewhere");
                    const auto deadlock = co_await failure_of(idle.execute("SELECT 1"));
                    CHECK(is<PoolDeadlock>(deadlock));
                });
            };
            co_await asio::co_spawn(fixture.io, elsewhere(), asio::use_awaitable);
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<PoolDeadlock>(cause_of(failure)));
    CHECK(fixture.names() == Names{"elsewhere"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("those who wait and hold nothing stay in the queue, and are served in their order",
          "[pool_deadlock]") {
    Fixture fixture{1};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("first");
            for (int number = 0; number < 3; ++number) {
                fixture.start(fixture.insert_alone("root " + std::to_string(number)));
                co_await eventually(
                    [&] { return fixture.waiting() == static_cast<std::size_t>(number) + 1; });
            }
            const auto failure = co_await failure_of(fixture.insert_apart("apart"));
            CHECK(is<PoolDeadlock>(failure));
            CHECK(fixture.waiting() == 3);
        });
        co_await eventually([&] { return fixture.names().size() == 4; });
    });
    CHECK(fixture.names() == Names{"first", "root 0", "root 1", "root 2"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("hooks after the commit find the scope's connection given back, those before do not",
          "[pool_deadlock]") {
    Fixture fixture{1};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&] { return fixture.insert_alone("after"); });
            co_await fixture.insert("committed");
        });
        const auto failure =
            co_await failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.before_commit([&] { return fixture.insert_apart("before"); });
                co_await fixture.insert("rolled back");
            }));
        CHECK(is<PoolDeadlock>(failure));
    });
    CHECK(fixture.names() == Names{"committed", "after"});
    fixture.check_that_the_pool_is_whole();
}

TEST_CASE("the connections of two factories have nothing to do with each other",
          "[pool_deadlock]") {
    Fixture fixture{1};
    const txscope::AsyncSessionFactory others{fixture.io, fixture.database.dsn(),
                                              support::observed(of_size(1))};
    const TransactionScope scope{others};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await scope([&]() -> asio::awaitable<void> {
                auto session = co_await txscope::current_session(others);
                co_await session.execute("INSERT INTO entries (name) VALUES ('two')");
                const auto failure = co_await failure_of(fixture.insert_apart("three"));
                CHECK(is<PoolDeadlock>(failure));  // from within both, it is still the first's
            });
        });
    });
    CHECK(fixture.names() == Names{"one", "two"});
    fixture.check_that_the_pool_is_whole();
}

}  // namespace pool_deadlock
