#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <string>

namespace ambient_hooks {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::failure_of;
using support::is;
using support::Refusal;
using txscope::Session;
using Names = support::ScopeFixture::Names;

/// A data layer that knows the session factory alone, as repositories and services do.
struct Fixture : support::ScopeFixture {
    /// Adds an entry, and leaves word of how that ended in `ran`.
    asio::awaitable<void> insert_and_tell(std::string name) {
        auto session = co_await txscope::current_session(sessions);
        session.before_commit([this, name] { ran.push_back("before commit: " + name); });
        session.after_commit([this, name] { ran.push_back("committed: " + name); });
        session.after_rollback([this, name] { ran.push_back("rolled back: " + name); });
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    }
    Names ran{};
};

TEST_CASE("hooks that a function registers in the ambient session run in order with the body's own",
          "[ambient_hooks]") {
    Fixture fixture;
    fixture.run(fixture.scope([&](Session& session) -> asio::awaitable<void> {
        session.after_commit([&] { fixture.ran.push_back("first, by the body"); });
        co_await fixture.insert_and_tell("one");
        session.after_commit([&] { fixture.ran.push_back("last, by the body"); });
        CHECK(fixture.ran.empty());
    }));
    CHECK(fixture.ran ==
          Names{"before commit: one", "first, by the body", "committed: one", "last, by the body"});
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("hooks of functions run for the rollback when the body around them fails",
          "[ambient_hooks]") {
    Fixture fixture;
    const auto failure = fixture.run(failure_of(fixture.scope([&]() -> asio::awaitable<void> {
        co_await fixture.insert_and_tell("one");
        throw Refusal{"body"};
    })));
    CHECK(is<Refusal>(failure));
    CHECK(fixture.ran == Names{"rolled back: one"});
    CHECK(fixture.names().empty());
}

TEST_CASE("hooks registered in joined scopes and parallel branches wait for the outermost scope",
          "[ambient_hooks]") {
    Fixture fixture;
    fixture.run(fixture.scope([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&] { return fixture.insert_and_tell("joined"); });
        co_await (fixture.insert_and_tell("left") && fixture.insert_and_tell("right"));
        CHECK(fixture.ran.empty());
    }));
    CHECK(fixture.ran == Names{"before commit: joined", "before commit: left",
                               "before commit: right", "committed: joined", "committed: left",
                               "committed: right"});
}

TEST_CASE("hooks registered within a savepoint that is rolled back are dropped with it",
          "[ambient_hooks]") {
    Fixture fixture;
    fixture.run(fixture.scope([&]() -> asio::awaitable<void> {
        const auto failure = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
            co_await fixture.insert_and_tell("undone");
            throw Refusal{"nested"};
        }));
        CHECK(is<Refusal>(failure));
        co_await fixture.nested([&] { return fixture.insert_and_tell("kept"); });
    }));
    CHECK(fixture.ran == Names{"before commit: kept", "committed: kept"});
    CHECK(fixture.names() == Names{"kept"});
}

}  // namespace ambient_hooks
