#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/session/observer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <source_location>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// What an observer is told at the start of scopes, waits and statements, and at their end.
namespace spans {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using support::ScopeFixture;
using txscope::Propagation;
using txscope::ScopeEvent;
using txscope::Session;
using txscope::SpanStart;
using txscope::TransactionScope;
using Words = std::vector<std::string>;

/// Keeps the spans as a tree.
class Tree : public txscope::Observer {
public:
    struct Told {
        SpanStart::Kind kind;
        std::size_t parent;  // its number; 0 for none
        std::string text;
        std::string within;  // what the thread said was current
        int ends = 0;
        std::string error{};
        std::vector<ScopeEvent::Kind> events{};
    };

    std::unique_ptr<txscope::Span> start(const SpanStart& start) noexcept override {
        const std::lock_guard lock{mutex_};
        const auto* parent = static_cast<const Node*>(start.parent);
        std::string text{start.kind == SpanStart::statement ? start.sql : start.label};
        if (start.kind == SpanStart::wait) text = "wait";
        told_.push_back({start.kind, parent ? parent->number : 0, text, current});
        return std::make_unique<Node>(*this, told_.size());
    }
    void notice(const ScopeEvent& event) noexcept override {
        const std::lock_guard lock{mutex_};
        if (event.span != nullptr)
            told_[static_cast<const Node*>(event.span)->number - 1].events.push_back(event.kind);
    }
    std::vector<Told> all() const {
        const std::lock_guard lock{mutex_};
        return told_;
    }
    /// Each of them with those around it, as "outer > nested > SELECT 1".
    Words paths() const {
        const auto told = all();
        Words paths;
        for (const Told& each : told) {
            std::string path = each.text;
            for (std::size_t up = each.parent; up != 0; up = told[up - 1].parent)
                path = told[up - 1].text + " > " + path;
            paths.push_back(path);
        }
        return paths;
    }
    Told of(const std::string& text) const {
        for (const Told& each : all())
            if (each.text == text) return each;
        throw std::out_of_range{text};
    }
    bool each_has_ended_once() const {
        return std::ranges::all_of(all(), [](const Told& each) { return each.ends == 1; });
    }

    static inline thread_local std::string current{};

private:
    struct Node : txscope::Span {
        Node(Tree& in, std::size_t as) : tree{in}, number{as} {}
        void end(const std::exception_ptr& error) noexcept override {
            const std::lock_guard lock{tree.mutex_};
            ++tree.told_[number - 1].ends;
            if (error) tree.told_[number - 1].error = support::text_of(error);
        }
        Tree& tree;
        const std::size_t number;
    };

    mutable std::mutex mutex_;
    std::vector<Told> told_;
};

struct Observed {
    explicit Observed(txscope::PoolOptions options = {})
        : fixture{[&] {
              options.observer = &tree;
              return options;
          }()} {}
    TransactionScope scope(std::string_view label, Propagation how = Propagation::required) const {
        return TransactionScope{fixture.sessions, {.propagation = how, .label = label}};
    }
    Tree tree;
    ScopeFixture fixture;
};

TEST_CASE("a scope's statements and its COMMIT lie within it, and all of them end", "[spans]") {
    Observed with;
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await with.scope("outer")([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await session.execute("SELECT 2");
        });
    });
    CHECK(with.tree.paths() ==
          Words{"outer", "outer > wait", "outer > SELECT 1", "outer > SELECT 2", "outer > COMMIT"});
    CHECK(with.tree.each_has_ended_once());
    CHECK(with.tree.of("outer").error.empty());
    CHECK(with.tree.of("outer").events == std::vector{ScopeEvent::begin, ScopeEvent::statement,
                                                      ScopeEvent::statement, ScopeEvent::statement,
                                                      ScopeEvent::commit});
}

TEST_CASE("of statements at once each has a span, which ends as it did", "[spans]") {
    Observed with;
    std::vector<txscope::Statement> statements;
    for (const char* text : {"SELECT 1", "SELECT 2/0", "SELECT 3"}) statements.emplace_back(text);
    with.fixture.run(
        support::failure_of(with.scope("all")([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute_all(std::move(statements));
        })));
    CHECK(with.tree.paths() ==
          Words{"all", "all > wait", "all > SELECT 1", "all > SELECT 2/0", "all > SELECT 3"});
    CHECK(with.tree.each_has_ended_once());
    CHECK(with.tree.of("SELECT 1").error.empty());
    for (const char* text : {"SELECT 2/0", "SELECT 3"})
        CHECK_THAT(with.tree.of(text).error,
                   Catch::Matchers::ContainsSubstring("division by zero"));
}

TEST_CASE("a span has not ended while what it is of is under way", "[spans]") {
    Observed with;
    support::Gate gate{with.fixture.io};
    support::Started work{with.fixture.io,
                          with.scope("outer")([&](Session& session) -> asio::awaitable<void> {
                              co_await session.execute("SELECT 1");
                              co_await gate.wait();
                          })};
    support::run_until(with.fixture.io, [&] { return gate.waiting() == 1; });
    CHECK(with.tree.of("SELECT 1").ends == 1);
    CHECK(with.tree.of("outer").ends == 0);
    gate.open();
    support::run_until(with.fixture.io, [&] { return work.done(); });
    CHECK(with.tree.of("outer").ends == 1);
}

TEST_CASE("spans lie within those of the scopes around, in branches, other transactions and hooks",
          "[spans]") {
    Observed with;
    with.fixture.run(with.fixture.sessions.warm_up(2));
    const auto select = [](std::string text) {
        return [text](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT '" + text + "'");
        };
    };
    const auto in_a = select("a");
    const auto in_b = select("b");
    const auto in_hook = select("hook");
    const auto joined = select("joined");
    const auto apart = select("apart");
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await with.scope("outer")([&](Session& session) -> asio::awaitable<void> {
            session.after_commit(
                [&]() -> asio::awaitable<void> { co_await with.scope("later")(in_hook); });
            co_await (with.scope("a", Propagation::nested)(in_a) &&
                      with.scope("b", Propagation::nested)(in_b) &&
                      session.execute("SELECT 'branch'"));
            co_await with.scope("ignored")(joined);
            co_await with.scope("apart", Propagation::requires_new)(apart);
            co_await with.fixture.sessions.execute("SELECT 'alone'");
        });
    });
    auto paths = with.tree.paths();
    std::ranges::sort(paths);
    CHECK(paths == Words{"outer", "outer > ", "outer >  > SELECT 'alone'", "outer > COMMIT",
                         "outer > SELECT 'branch'", "outer > SELECT 'joined'", "outer > a",
                         "outer > a > SELECT 'a'", "outer > apart", "outer > apart > COMMIT",
                         "outer > apart > SELECT 'apart'", "outer > b", "outer > b > SELECT 'b'",
                         "outer > later", "outer > later > COMMIT",
                         "outer > later > SELECT 'hook'"});
    CHECK(with.tree.each_has_ended_once());
}

TEST_CASE("a statement without a scope, and its wait, lie within one span", "[spans]") {
    Observed with;
    with.fixture.run(with.fixture.sessions.execute("SELECT 1"));
    CHECK(with.tree.paths() == Words{"", " > wait", " > SELECT 1"});
    CHECK(with.tree.each_has_ended_once());
}

TEST_CASE("a scope has one span for all its attempts", "[spans]") {
    Observed with;
    const TransactionScope scope{
        with.fixture.sessions,
        {.retry = {.max_attempts = 3, .initial_backoff = 1ms, .max_backoff = 2ms},
         .label = "tried"}};
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            if (session.attempt() < 3)
                co_await session.execute(
                    "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
            co_await session.execute("SELECT 1");
        });
    });
    CHECK(with.tree.of("tried").ends == 1);
    CHECK(with.tree.of("tried").error.empty());
    CHECK(std::ranges::count(with.tree.of("tried").events, ScopeEvent::retry) == 2);
    CHECK(with.tree.each_has_ended_once());
    CHECK(with.tree.paths().back() == "tried > COMMIT");
}

TEST_CASE("a span ends with the error that its scope or statement ends with", "[spans]") {
    Observed with{{.max_size = 1}};
    const auto fails = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1/0");
    };
    const auto throws = []() -> asio::awaitable<void> {
        throw std::runtime_error{"not today"};
        co_return;
    };
    const auto nested = [&]() -> asio::awaitable<void> {
        co_await support::failure_of(with.scope("nested", Propagation::nested)(fails));
    };
    const auto plain = [&]() -> asio::awaitable<void> {
        co_await support::failure_of(with.scope("plain", Propagation::not_supported)(fails));
    };
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await support::failure_of(with.scope("failed")(fails));
        co_await support::failure_of(with.scope("thrown")(throws));
        co_await with.scope("around")(nested);
        co_await plain();
        co_await support::failure_of(with.fixture.sessions.execute("SELECT 2/0"));
        co_await support::failure_of(with.fixture.sessions.session_scope(fails));
    });
    using Catch::Matchers::ContainsSubstring;
    for (const auto* failed : {"failed", "nested", "plain", "SELECT 1/0", "SELECT 2/0", ""})
        CHECK_THAT(with.tree.of(failed).error, ContainsSubstring("division by zero"));
    CHECK(with.tree.of("thrown").error == "not today");
    CHECK(with.tree.of("around").error.empty());
    CHECK(with.tree.each_has_ended_once());
}

TEST_CASE("what is cancelled or destroyed has its spans ended", "[spans]") {
    Observed with{{.max_size = 1}};
    auto& io = with.fixture.io;
    support::Gate gate{io};
    support::Started holder{io,
                            with.scope("holder")([&](Session& session) -> asio::awaitable<void> {
                                co_await session.execute("SELECT 1");
                                co_await gate.wait();
                            })};
    support::run_until(io, [&] { return gate.waiting() == 1; });
    const auto select = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 2");
    };
    SECTION("cancelled while it waits") {
        support::Started waiter{io, with.scope("waiter")(select)};
        support::run_until(io, [&] { return with.fixture.sessions.statistics().waiting == 1; });
        waiter.cancel();
        support::run_until(io, [&] { return waiter.done(); });
        CHECK(!with.tree.of("waiter").error.empty());
        CHECK(with.tree.all().back().text == "wait");
        CHECK(!with.tree.all().back().error.empty());
        CHECK(with.tree.of("holder").ends == 0);
    }
    SECTION("cancelled in its middle") {
        holder.cancel();
        support::run_until(io, [&] { return holder.done(); });
        CHECK(!with.tree.of("holder").error.empty());
    }
    gate.open();
    support::run_until(io, [&] { return holder.done(); });
    CHECK(with.tree.each_has_ended_once());
}

TEST_CASE("what an execution context destroys has its spans ended", "[spans]") {
    const support::Database database;
    Tree tree;
    {
        asio::io_context io;
        const txscope::AsyncSessionFactory sessions{
            io, database.dsn(), {.max_size = 1, .observer = &tree}};
        bool waiting = false;
        const auto sleeps = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await session.execute("SELECT pg_sleep(1000)");
        };
        const auto client = [&]() -> asio::awaitable<void> {
            const TransactionScope scope{sessions, {.label = "destroyed"}};
            co_await scope(sleeps);
        };
        const auto waits = [&]() -> asio::awaitable<void> {
            waiting = true;
            co_await sessions.execute("SELECT 2");
        };
        asio::co_spawn(io, client(), asio::detached);
        support::run_until(io, [&] {
            return std::ranges::any_of(
                tree.all(), [](const auto& each) { return each.text == "SELECT pg_sleep(1000)"; });
        });
        asio::co_spawn(io, sessions.session_scope(sleeps), asio::detached);
        asio::co_spawn(io, waits(), asio::detached);
        support::run_until(io, [&] { return sessions.statistics().waiting == 2; });
        CHECK(waiting);
    }
    CHECK(tree.each_has_ended_once());
    CHECK(tree.of("destroyed").events.back() == ScopeEvent::leaked);
    CHECK(!tree.of("SELECT pg_sleep(1000)").error.empty());
}

TEST_CASE("a scope's span begins on its caller's thread, and others' within it on any",
          "[spans][threads]") {
    const support::Database database{"CREATE TABLE entries (name text)"};
    Tree tree;
    constexpr std::size_t clients = 4;
    constexpr int turns = 25;
    {
        asio::thread_pool threads{3};
        const txscope::AsyncSessionFactory sessions{
            threads.get_executor(), database.dsn(), {.max_size = 2, .observer = &tree}};
        const auto client = [&](std::string label) -> asio::awaitable<void> {
            const TransactionScope scope{sessions, {.label = label}};
            const TransactionScope nested{sessions, {.propagation = Propagation::nested}};
            for (int i = 0; i < turns; ++i) {
                const auto select = [&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute("SELECT 'in " + label + "'");
                };
                const auto body = [&](Session& session) -> asio::awaitable<void> {
                    co_await (session.execute("SELECT 'of " + label + "'") && nested(select));
                };
                Tree::current = label;
                auto called = scope(body);
                co_await std::move(called);
            }
        };
        std::vector<std::future<void>> done;
        for (std::size_t i = 0; i < clients; ++i)
            done.push_back(
                asio::co_spawn(threads, client("client " + std::to_string(i)), asio::use_future));
        for (auto& each : done) each.get();
        asio::co_spawn(threads, sessions.close(), asio::use_future).get();
        threads.join();
    }
    CHECK(tree.each_has_ended_once());
    const auto told = tree.all();
    for (const auto& each : told) {
        if (each.parent == 0) CHECK(each.text == each.within);
        auto root = each;
        while (root.parent != 0) root = told[root.parent - 1];
        if (each.kind == SpanStart::statement && each.text != "COMMIT")
            CHECK(each.text.find(root.text) != std::string::npos);
    }
    CHECK(std::ranges::count(told, std::size_t{0}, &Tree::Told::parent) ==
          static_cast<std::ptrdiff_t>(clients * turns));
}

}  // namespace spans
