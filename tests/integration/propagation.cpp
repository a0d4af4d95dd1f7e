#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <string>

namespace propagation {

namespace asio = boost::asio;
using support::failure_of;
using support::is;
using support::Refusal;
using txscope::AccessMode;
using txscope::IsolationLevel;
using txscope::Propagation;
using txscope::PropagationError;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    TransactionScope with(Propagation propagation) {
        // The label tells an observer's events of transactions from those of plain sessions.
        return TransactionScope{sessions, {.propagation = propagation, .label = "transaction"}};
    }
    /// Adds an entry through a scope of that propagation.
    asio::awaitable<void> insert_through(Propagation propagation, std::string name) {
        const TransactionScope inner = with(propagation);
        co_await inner([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
        });
    }
    asio::awaitable<void> insert_and_refuse(Propagation propagation, std::string name) {
        const TransactionScope inner = with(propagation);
        co_await inner([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
            throw Refusal{name};
        });
    }
};

TEST_CASE("a mandatory scope joins a transaction, and is refused where there is none",
          "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto alone =
            co_await failure_of(fixture.insert_through(Propagation::mandatory, "alone"));
        CHECK(is<PropagationError>(alone));
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert_through(Propagation::mandatory, "joined");
            CHECK(fixture.names().empty());
        });
    });
    CHECK(fixture.names() == Names{"joined"});
}

TEST_CASE("a never scope runs without a transaction, and is refused inside one", "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.insert_through(Propagation::never, "alone");
        const auto inside = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert_through(Propagation::never, "inside");
        }));
        CHECK(is<PropagationError>(inside));
    });
    CHECK(fixture.names() == Names{"alone"});
}

TEST_CASE("a task that outlives its scope opens none inside of it, whatever the propagation",
          "[propagation]") {
    const auto propagation =
        GENERATE(Propagation::required, Propagation::nested, Propagation::mandatory,
                 Propagation::supports, Propagation::never);
    const bool committing = GENERATE(true, false);
    CAPTURE(static_cast<int>(propagation), committing);
    Fixture fixture{{},
                    "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
                    "'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';"
                    "CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON entries INITIALLY DEFERRED "
                    "FOR EACH ROW EXECUTE FUNCTION wait()"};
    support::Client holder{fixture.database.dsn()};
    holder.query("SELECT pg_advisory_lock(1)");
    support::Gate gate{fixture.io};
    std::exception_ptr refused;
    const auto open_a_scope = [&]() -> asio::awaitable<void> {
        co_await gate.wait();
        const TransactionScope late{
            fixture.sessions,
            {.propagation = propagation, .isolation = IsolationLevel::serializable}};
        refused = co_await failure_of(late([]() -> asio::awaitable<void> { co_return; }));
    };
    support::Started scope{fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                               co_await fixture.insert("committed");
                               asio::co_spawn(co_await asio::this_coro::executor, open_a_scope(),
                                              asio::detached);
                           })};
    support::run_until(fixture.io, [&] { return fixture.waiting_for_locks() == 1; });
    const auto let_commit = [&] {
        holder.query("SELECT pg_advisory_unlock(1)");
        support::run_until(fixture.io, [&] { return scope.done(); });
    };
    if (!committing) let_commit();
    gate.open();
    support::run_until(fixture.io, [&] { return refused != nullptr; });
    if (committing) let_commit();
    CHECK(is<txscope::ScopeEnded>(refused));
    CHECK(!scope.failure());
    CHECK(fixture.names() == Names{"committed"});
}

TEST_CASE("what a not-supported scope does is outside the transaction around it, which goes on",
          "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        const auto outer = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await fixture.insert_through(Propagation::not_supported, "outside");
            CHECK(fixture.names() == Names{"outside"});
            const auto refused =
                co_await failure_of(fixture.insert_and_refuse(Propagation::not_supported, "kept"));
            CHECK(is<Refusal>(refused));
            co_await fixture.insert("outer again");
            throw Refusal{"outer"};
        }));
        CHECK(is<Refusal>(outer));
    });
    CHECK(fixture.names() == Names{"outside", "kept"});
}

TEST_CASE("inside a not-supported scope there is no transaction to join", "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            const TransactionScope outside = fixture.with(Propagation::not_supported);
            co_await outside([&]() -> asio::awaitable<void> {
                const auto mandatory =
                    co_await failure_of(fixture.insert_through(Propagation::mandatory, "lost"));
                CHECK(is<PropagationError>(mandatory));
                co_await fixture.insert_through(Propagation::never, "alone");
                co_await fixture.insert_through(Propagation::required, "a transaction of its own");
                CHECK(fixture.names() == Names{"alone", "a transaction of its own"});
            });
        });
    });
    CHECK(fixture.names().size() == 3);
}

TEST_CASE("a supporting scope is part of a transaction where there is one", "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.insert_through(Propagation::supports, "alone");
        CHECK(fixture.names() == Names{"alone"});
        const auto outer = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert_through(Propagation::supports, "joined");
            throw Refusal{"outer"};
        }));
        CHECK(is<Refusal>(outer));
    });
    CHECK(fixture.names() == Names{"alone"});
}

TEST_CASE("a requires-new scope and the one around it end independently", "[propagation]") {
    Fixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer kept");
            const auto inner =
                co_await failure_of(fixture.insert_and_refuse(Propagation::requires_new, "lost"));
            CHECK(is<Refusal>(inner));
        });
        const auto outer = co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("outer lost");
            co_await fixture.insert_through(Propagation::requires_new, "inner kept");
            CHECK(fixture.names() == Names{"outer kept", "inner kept"});
            throw Refusal{"outer"};
        }));
        CHECK(is<Refusal>(outer));
    });
    CHECK(fixture.names() == Names{"outer kept", "inner kept"});
    CHECK(fixture.in_transaction() == 0);
}

TEST_CASE("a scope that joins cannot ask for another isolation level or for more access",
          "[propagation]") {
    Fixture fixture;
    const TransactionScope serializable{fixture.sessions,
                                        {.isolation = IsolationLevel::serializable}};
    const TransactionScope repeatable{fixture.sessions,
                                      {.isolation = IsolationLevel::repeatable_read}};
    const TransactionScope reading{fixture.sessions, {.access = AccessMode::read_only}};
    const TransactionScope writing{fixture.sessions, {.access = AccessMode::read_write}};
    const auto nothing = []() -> asio::awaitable<void> { co_return; };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await serializable([&]() -> asio::awaitable<void> {
            co_await serializable(nothing);
            co_await fixture.scope(nothing);
            const auto other = co_await failure_of(repeatable(nothing));
            CHECK(is<PropagationError>(other));
            co_await fixture.insert("goes on");  // it never joined, so it dooms nothing
        });
        co_await reading([&]() -> asio::awaitable<void> {
            const auto more = co_await failure_of(writing(nothing));
            CHECK(is<PropagationError>(more));
        });
        co_await writing([&]() -> asio::awaitable<void> { co_await reading(nothing); });
    });
    CHECK(fixture.names() == Names{"goes on"});
}

}  // namespace propagation
