#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/use_awaitable.hpp>

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
        return TransactionScope{sessions, {.propagation = propagation}};
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
