#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <optional>
#include <string>
#include <vector>

namespace hooks {

namespace asio = boost::asio;
using support::failure_of;
using support::is;
using support::Refusal;
using txscope::Session;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    explicit Fixture(const std::string& schema = {}) : ScopeFixture{{}, schema} {}

    /// A hook that leaves its name in `ran`.
    auto note(std::string name) {
        return [this, name] { ran.push_back(name); };
    }
    Names ran;
    bool by_the_body = true;  // or else by a hook
};

TEST_CASE("after-commit hooks run in order once the outermost scope is committed", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit(fixture.note("first"));
            co_await fixture.nested([&](Session& inner) -> asio::awaitable<void> {
                inner.after_commit(fixture.note("released"));
                co_await fixture.insert("one");
            });
            const auto failed =
                co_await failure_of(fixture.nested([&](Session& inner) -> asio::awaitable<void> {
                    inner.after_commit(fixture.note("rolled back"));
                    co_await fixture.insert("two");
                    throw Refusal{"inner"};
                }));
            CHECK(is<Refusal>(failed));
            session.after_commit([&]() -> asio::awaitable<void> {
                fixture.ran.push_back("sees " + fixture.names().at(0));
                co_return;
            });
            session.after_rollback(fixture.note("after rollback"));
            CHECK(fixture.ran.empty());
        });
    });
    CHECK(fixture.ran == Names{"first", "released", "sees one"});
}

TEST_CASE("a middle scope that fails takes the hooks of its inner ones with it", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit(fixture.note("outer"));
            co_await fixture.insert("outer");
            const auto failed = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.nested([&](Session& inner) -> asio::awaitable<void> {
                    inner.after_commit(fixture.note("inner"));
                    co_await fixture.insert("inner");
                });
                throw Refusal{"middle"};
            }));
            CHECK(is<Refusal>(failed));
        });
    });
    CHECK(fixture.ran == Names{"outer"});
    CHECK(fixture.names() == Names{"outer"});
}

TEST_CASE("a hook that throws leaves the transaction committed, and the later hooks run",
          "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([] { throw Refusal{"hook"}; });
            session.after_commit(fixture.note("later"));
            co_await fixture.insert("one");
        });
    });
    CHECK(fixture.names() == Names{"one"});
    CHECK(fixture.ran == Names{"later"});
}

TEST_CASE("a hook that opens a scope gets a transaction of its own", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&]() -> asio::awaitable<void> {
                // Another connection sees what the body did: that is over and done with.
                CHECK(fixture.names() == Names{"by the body"});
                co_await fixture.scope([&]() -> asio::awaitable<void> {
                    co_await fixture.insert("by the hook");
                    CHECK(fixture.names() == Names{"by the body"});
                });
                CHECK(fixture.names() == Names{"by the body", "by the hook"});
            });
            co_await fixture.insert("by the body");
            CHECK(fixture.names().empty());
        });
    });
    CHECK(fixture.names() == Names{"by the body", "by the hook"});
}

TEST_CASE("a hook of a requires-new scope is no part of the transaction around, and cannot doom it",
          "[hooks]") {
    Fixture fixture;
    const txscope::TransactionScope apart{fixture.sessions,
                                          {.propagation = txscope::Propagation::requires_new}};
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await apart([&](Session& session) -> asio::awaitable<void> {
                session.after_commit([&] { return fixture.insert_alone("by the hook"); });
                session.after_commit([&] {
                    return fixture.scope([&] { return fixture.insert_and_throw("refused"); });
                });
                session.after_commit([&]() -> asio::awaitable<void> {
                    CHECK_FALSE(co_await txscope::ambient_session(fixture.sessions));
                    fixture.ran.push_back("last");
                });
                co_await fixture.insert("inner");
            });
            CHECK(fixture.names() == Names{"inner", "by the hook"});
            co_await fixture.insert("the outer one goes on");
            throw Refusal{"outer"};
        }));
    });
    CHECK(support::text_of(failure) == "outer");
    CHECK(fixture.ran == Names{"last"});
    CHECK(fixture.names() == Names{"inner", "by the hook"});
}

TEST_CASE("a hook's scope that fails is rolled back alone: what the body did stays", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&] {
                return fixture.scope([&] { return fixture.insert_and_throw("by the hook"); });
            });
            session.after_commit([&] { return fixture.insert_alone("by the next hook"); });
            co_await fixture.insert("by the body");
        });
    });
    CHECK(fixture.names() == Names{"by the body", "by the next hook"});
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("a hook that opens a scope after a rollback gets a transaction of its own too",
          "[hooks]") {
    Fixture fixture;
    const auto failed = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_rollback([&] { return fixture.insert_alone("by the hook"); });
            co_await fixture.insert_and_throw("by the body");
        }));
    });
    CHECK(is<Refusal>(failed));
    CHECK(fixture.names() == Names{"by the hook"});
}

TEST_CASE("a hook that a hook registers runs after the current list", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&fixture, session]() mutable {
                fixture.ran.push_back("first");
                session.after_commit(fixture.note("registered by the first"));
            });
            session.after_commit(fixture.note("second"));
            co_return;
        });
    });
    CHECK(fixture.ran == Names{"first", "second", "registered by the first"});
}

TEST_CASE("before a rollback that is certain no before-commit hook runs", "[hooks]") {
    Fixture fixture;
    const auto failure_with = [&](auto body) {
        return fixture.run([&] {
            return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.before_commit([&] { return body(session); });
                session.before_commit(fixture.note("a later one"));
                session.before_commit([&] { return fixture.insert("by a hook"); });
                if (fixture.by_the_body) co_await body(session);
            }));
        });
    };
    fixture.by_the_body = GENERATE(true, false);
    const auto statement = failure_with([](Session& session) -> asio::awaitable<void> {
        co_await failure_of(session.execute("SELECT 1/0"));
    });
    CHECK(is<txscope::UnexpectedRollback>(statement));
    CHECK(is<txscope::SqlError>(support::cause_of(statement)));
    const auto joined = failure_with([&](Session&) -> asio::awaitable<void> {
        co_await failure_of(fixture.scope([&] { return fixture.insert_and_throw("joined"); }));
    });
    CHECK(is<txscope::UnexpectedRollback>(joined));
    CHECK(is<Refusal>(support::cause_of(joined)));
    const auto stray = failure_with([](Session& session) -> asio::awaitable<void> {
        asio::co_spawn(co_await asio::this_coro::executor, session.execute("SELECT 1"),
                       asio::detached);
        co_await asio::post(asio::use_awaitable);
    });
    CHECK(is<txscope::UnfinishedWork>(stray));
    CHECK(fixture.ran.empty());
    CHECK(fixture.names().empty());
}

TEST_CASE("a hook that could not run any more is refused", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            const auto refused = [](auto registering) {
                return is<txscope::ScopeEnded>(failure_of(registering));
            };
            session.after_commit([&fixture, refused, session]() mutable {
                CHECK(refused([&] { session.before_commit(fixture.note("too late")); }));
                CHECK(refused([&] { session.after_rollback(fixture.note("committed")); }));
                session.after_commit(fixture.note("in time"));
            });
            std::optional<Session> kept;
            co_await fixture.nested([&](Session& inner) -> asio::awaitable<void> {
                kept = inner;
                co_return;
            });
            CHECK(refused([&] { kept->after_commit(fixture.note("of a scope that has ended")); }));
        });
    });
    CHECK(fixture.ran == Names{"in time"});
}

TEST_CASE("a hook that comes after the last one has run is refused", "[hooks]") {
    Fixture fixture;
    std::exception_ptr refusal;
    bool came = false;
    const auto come_late = [&](Session session) -> asio::awaitable<void> {
        co_await asio::post(asio::use_awaitable);  // behind the end of the hook that starts this
        refusal = failure_of([&] { session.after_commit(fixture.note("too late")); });
        came = true;
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&, session]() -> asio::awaitable<void> {
                asio::co_spawn(co_await asio::this_coro::executor, come_late(session),
                               asio::detached);
            });
            co_return;
        });
        co_await support::eventually([&] { return came; });
    });
    CHECK(is<txscope::ScopeEnded>(refusal));
    CHECK(fixture.ran.empty());
}

TEST_CASE("a hook that is registered within a nested scope is that scope's, through any handle",
          "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& outer) -> asio::awaitable<void> {
            const auto failed = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                outer.before_commit(fixture.note("dropped"));
                outer.after_commit(fixture.note("dropped"));
                co_await fixture.insert("dropped");
                throw Refusal{"nested"};
            }));
            CHECK(is<Refusal>(failed));
            const int value = co_await fixture.nested([&]() -> asio::awaitable<int> {
                co_await fixture.insert("dropped");
                outer.set_rollback_only();
                co_return 7;
            });
            CHECK(value == 7);
            co_await fixture.nested([&]() -> asio::awaitable<void> {
                outer.after_commit(fixture.note("kept"));
                co_await fixture.insert("kept");
            });
        });
    });
    CHECK(fixture.ran == Names{"kept"});
    CHECK(fixture.names() == Names{"kept"});
}

TEST_CASE("a before-commit hook is part of the transaction, and can refuse it", "[hooks]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.before_commit(
                [&]() -> asio::awaitable<void> { co_await fixture.insert("by the hook"); });
            co_await fixture.insert("by the body");
            CHECK(fixture.names().empty());
        });
        const auto refused =
            co_await failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.before_commit([] { throw Refusal{"hook"}; });
                session.after_commit(fixture.note("after commit"));
                session.after_rollback(fixture.note("after rollback"));
                co_await fixture.insert("refused");
            }));
        CHECK(is<Refusal>(refused));
    });
    CHECK(fixture.names() == Names{"by the body", "by the hook"});
    CHECK(fixture.ran == Names{"after rollback"});
}

TEST_CASE("once a scope is committed its hooks are not copied, which might throw", "[hooks]") {
    Fixture fixture;
    bool committing = false;
    struct Fragile {
        bool& committing;
        Names& ran;
        Fragile(bool& when, Names& names) : committing{when}, ran{names} {}
        Fragile(const Fragile& other) : committing{other.committing}, ran{other.ran} {
            if (committing) throw Refusal{"the copy"};
        }
        void operator()() const { ran.push_back("the hook"); }
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit(Fragile{committing, fixture.ran});
            co_await fixture.insert("committed");
            committing = true;
        });
    });
    CHECK(fixture.ran == Names{"the hook"});
    CHECK(fixture.names() == Names{"committed"});
}

TEST_CASE("a COMMIT that fails runs no after-commit hook", "[hooks]") {
    Fixture fixture{
        "CREATE TABLE parts (entry bigint REFERENCES entries DEFERRABLE INITIALLY DEFERRED)"};
    fixture.run([&]() -> asio::awaitable<void> {
        const auto failed =
            co_await failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.after_commit(fixture.note("after commit"));
                session.after_rollback(fixture.note("after rollback"));
                co_await session.execute("INSERT INTO parts VALUES (1)");
            }));
        CHECK(is<pqxx::foreign_key_violation>(failed));
    });
    CHECK(fixture.ran == Names{"after rollback"});
}

}  // namespace hooks
