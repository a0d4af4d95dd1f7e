#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/growth.hpp"
#include "support/pgbouncer.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/session/all.hpp>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <pqxx/except>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <string>
#include <vector>

/// Statements and branches whose number is known at run time.

namespace many_at_once {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Result;
using txscope::Session;
using txscope::Statement;
using Fixture = support::ScopeFixture;
using Names = Fixture::Names;

const char* const insertion = "INSERT INTO entries (name) VALUES ($1) RETURNING name";

std::vector<Statement> inserts(const std::vector<std::string>& names) {
    std::vector<Statement> statements;
    for (const auto& name : names) statements.emplace_back(insertion, name);
    return statements;
}

TEST_CASE_METHOD(Fixture, "statements of any number have a result each, in their order",
                 "[many_at_once]") {
    for (const int count : {0, 1, 2, 1000}) {
        const auto results =
            run(scope([&](Session& session) -> asio::awaitable<std::vector<Result>> {
                session.enqueue("SELECT 'what is enqueued has none'");
                std::vector<Statement> statements;
                for (int i = 0; i < count; ++i)
                    statements.emplace_back(
                        i % 2 == 0 ? "SELECT $1::int" : "SELECT $1::int WHERE false", i);
                co_return co_await session.execute_all(std::move(statements));
            }));
        REQUIRE(results.size() == static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            const Result& result = results[static_cast<std::size_t>(i)];
            CHECK(result.size() == (i % 2 == 0 ? 1u : 0u));
            if (i % 2 == 0) CHECK(result.one().get<int>(0) == i);
        }
    }
}

TEST_CASE_METHOD(Fixture, "of statements at once one that fails is named, and undoes them all",
                 "[many_at_once]") {
    auto statements = inserts({"a", "b"});
    statements.emplace_back("SELECT 1 / $1", 0);
    statements.emplace_back(insertion, "c");
    SECTION("in a transaction") {
        run(scope([&](Session& session) -> asio::awaitable<void> {
            co_await ScopeFixture::insert("kept");
            const auto failure = co_await failure_of(nested(
                [&]() -> asio::awaitable<void> { co_await session.execute_all(statements); }));
            CHECK(is<pqxx::sql_error>(failure));
            CHECK(text_of(failure).find("in: SELECT 1 / $1") != std::string::npos);
        }));
        const auto more = inserts({"d"});
        const auto all = run(failure_of(scope([&](Session& session) -> asio::awaitable<void> {
            const auto failure = co_await failure_of(session.execute_all(statements));
            CHECK(text_of(failure).find("in: SELECT 1 / $1") != std::string::npos);
            const auto refused = co_await failure_of(session.execute_all(more));
            CHECK(is<txscope::TransactionAborted>(refused));
        })));
        CHECK(is<txscope::UnexpectedRollback>(all));
        CHECK(names() == Names{"kept"});
    }
    SECTION("without one") {
        const auto failure = run(failure_of(sessions.execute_all(statements)));
        CHECK(text_of(failure).find("in: SELECT 1 / $1") != std::string::npos);
        CHECK(names().empty());
        const auto results = run(sessions.execute_all(inserts({"a", "b"})));
        CHECK(results.back().one().get<std::string>("name") == "b");
        CHECK(names() == Names{"a", "b"});
    }
    SECTION("what may not be executed is refused, and nothing is sent") {
        const auto kept = inserts({"kept"});
        run(scope([&](Session& session) -> asio::awaitable<void> {
            statements.insert(statements.begin(), Statement{"COMMIT"});
            const auto refused = co_await failure_of(session.execute_all(statements));
            CHECK(is<pqxx::usage_error>(refused));
            co_await session.execute_all(kept);
        }));
        CHECK(is<pqxx::usage_error>(run(failure_of(sessions.execute_all(statements)))));
        const auto last =
            std::vector{Statement{insertion, "lost"}, Statement{"ROLLBACK AND CHAIN"}};
        CHECK(is<pqxx::usage_error>(run(failure_of(sessions.execute_all(last)))));
        CHECK(names() == Names{"kept"});
    }
}

TEST_CASE_METHOD(Fixture, "branches of any number have a result each, in their order",
                 "[many_at_once]") {
    const int threads = GENERATE(1, 4);
    const auto value = [&](int i) -> asio::awaitable<int> {
        auto session = co_await txscope::current_session(sessions);
        const auto result = co_await session.execute("SELECT $1::int", i);
        co_return result.one().get<int>(0);
    };
    for (const int count : {0, 1, 500}) {
        const auto values = run(
            [&]() -> asio::awaitable<std::vector<int>> {
                co_return co_await scope([&]() -> asio::awaitable<std::vector<int>> {
                    const auto numbers = std::views::iota(0, count);
                    co_return co_await txscope::all(numbers | std::views::transform(value));
                });
            },
            {.threads = threads});
        const auto expected = std::views::iota(0, count);
        CHECK(std::ranges::equal(values, expected));
    }
}

TEST_CASE_METHOD(Fixture, "branches that return nothing, and nested ones, are all awaited",
                 "[many_at_once]") {
    run(scope([&]() -> asio::awaitable<void> {
        const auto three = [&](std::string name) -> asio::awaitable<void> {
            std::vector<asio::awaitable<void>> branches;
            for (const char* const digit : {"1", "2", "3"})
                branches.push_back(ScopeFixture::insert(name + digit));
            co_await txscope::all(std::move(branches));
        };
        std::vector<asio::awaitable<void>> branches;
        for (const char* const letter : {"a", "b"}) branches.push_back(three(letter));
        for (const char* const letter : {"c", "d"})
            branches.push_back(
                nested([&, letter]() -> asio::awaitable<void> { co_await three(letter); }));
        co_await (txscope::all(branches) && three("e"));
    }));
    CHECK(database.count("entries") == 15);
}

TEST_CASE_METHOD(Fixture,
                 "of branches the first that fails cancels the others, and its error is thrown",
                 "[many_at_once]") {
    int cancelled = 0;
    const auto waits = [&]() -> asio::awaitable<void> {
        asio::steady_timer timer{co_await asio::this_coro::executor, support::patience};
        const auto failure = co_await failure_of(timer.async_wait(asio::use_awaitable));
        cancelled += failure != nullptr;
        std::rethrow_exception(failure);
    };
    const auto throws = [&](std::string name) -> asio::awaitable<void> {
        co_await ScopeFixture::insert(name);
        throw Refusal{name};
    };
    const auto failure = run(failure_of(scope([&]() -> asio::awaitable<void> {
        std::vector<asio::awaitable<void>> branches;
        for (int i = 0; i < 3; ++i) branches.push_back(waits());
        branches.push_back(throws("a"));
        for (int i = 0; i < 3; ++i) branches.push_back(waits());
        co_await txscope::all(branches);
    })));
    CHECK(is<Refusal>(failure));
    CHECK(cancelled == 6);
    CHECK(names().empty());
}

TEST_CASE_METHOD(Fixture,
                 "a statement's failure is what its branches fail with, not its consequences",
                 "[many_at_once]") {
    const auto failure = run(failure_of(scope([&]() -> asio::awaitable<void> {
        std::vector<asio::awaitable<void>> branches;
        for (const char* const name : {"a", "b", "a", "c", "d"})
            branches.push_back(ScopeFixture::insert(name));
        co_await txscope::all(branches);
    })));
    CHECK(is<pqxx::unique_violation>(failure));
    CHECK(names().empty());
}

TEST_CASE_METHOD(Fixture, "a branch that fails at once keeps those from beginning that have not",
                 "[many_at_once]") {
    int begun = 0;
    const auto fails = []() -> asio::awaitable<void> {
        throw Refusal{"at once"};
        co_return;
    };
    const auto begins = [&]() -> asio::awaitable<void> {
        ++begun;
        co_return;
    };
    std::vector<asio::awaitable<void>> branches;
    branches.push_back(fails());
    branches.push_back(begins());
    CHECK(is<Refusal>(run(failure_of(txscope::all(branches)))));
    CHECK(begun == 0);
}

TEST_CASE_METHOD(Fixture, "who awaits branches cancels them all, and waits until they have ended",
                 "[many_at_once]") {
    int ended = 0;
    const auto sleeps = [&]() -> asio::awaitable<void> {
        auto session = co_await txscope::current_session(sessions);
        const auto failure = co_await failure_of(session.execute("SELECT pg_sleep(1000)"));
        ++ended;
        std::rethrow_exception(failure);
    };
    const txscope::TransactionScope brief{sessions, {.timeout = 100ms}};
    const auto failure = run(failure_of(brief([&]() -> asio::awaitable<void> {
        std::vector<asio::awaitable<void>> branches;
        for (int i = 0; i < 10; ++i) branches.push_back(sleeps());
        co_await txscope::all(branches);
    })));
    CHECK(is<txscope::TransactionTimeout>(failure));
    CHECK(ended == 10);
    run(insert_alone("after"));
    CHECK(names() == Names{"after"});
}

TEST_CASE_METHOD(Fixture, "without a scope branches run on any number of threads, one at a time",
                 "[many_at_once]") {
    std::vector<int> unguarded;
    const auto one = [&](int i) -> asio::awaitable<int> {
        co_await asio::post(asio::use_awaitable);
        unguarded.push_back(i);
        const auto result = co_await sessions.execute("SELECT $1::int", i);
        unguarded.push_back(i);
        co_return result.one().get<int>(0);
    };
    const auto numbers = std::views::iota(0, 40);
    const auto values = run(txscope::all(numbers | std::views::transform(one)), {.threads = 4});
    CHECK(std::ranges::equal(values, numbers));
    CHECK(unguarded.size() == 80);
}

TEST_CASE_METHOD(Fixture, "branches that are destroyed with their context leave nothing behind",
                 "[many_at_once]") {
    REQUIRE(warmed_up());
    auto own = std::make_unique<asio::io_context>();
    const auto work = [&]() -> asio::awaitable<void> {
        std::vector<asio::awaitable<void>> branches;
        for (const char* const name : {"a", "b", "c"})
            branches.push_back(ScopeFixture::insert(name));
        branches.push_back([](asio::io_context& stopped) -> asio::awaitable<void> {
            stopped.stop();
            co_await asio::post(asio::use_awaitable);
        }(*own));
        co_await txscope::all(branches);
    };
    asio::co_spawn(*own, scope(work), [](std::exception_ptr) { FAIL("it has not ended"); });
    own->run();
    own.reset();
    support::run_until(io, [&] { return in_transaction() == 0; });
    CHECK(names().empty());
}

TEST_CASE("many statements, and many branches, take one round trip", "[many_at_once]") {
    const support::Database database;
    support::FaultProxy proxy{support::server()};
    asio::io_context io{1};
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                          support::observed({.max_size = 1})};
    const txscope::TransactionScope scope{sessions};
    support::run(io, sessions.warm_up(1));
    const std::vector<Statement> none;
    const std::vector<Statement> statements(100, Statement{"SELECT 1"});
    const auto trips = [&](auto work) {
        proxy.reset_counts();
        support::run(io, std::move(work));
        return proxy.round_trips();
    };
    CHECK(trips(sessions.execute_all(statements)) == 1);
    CHECK(trips(scope([&](Session& session) -> asio::awaitable<void> {
              co_await session.execute_all(none);
              co_await session.execute_all(statements);
          })) == 2);
    CHECK(trips(scope([&](Session& session) -> asio::awaitable<void> {
              const auto branch = [&](int) { return session.execute("SELECT 1"); };
              co_await session.execute("SELECT 1");  // BEGIN goes along
              co_await txscope::all(std::views::iota(0, 100) | std::views::transform(branch));
          })) == 3);
}

TEST_CASE("many statements at once go where statements are not pipelined, and through a pooler",
          "[many_at_once]") {
    const support::Database database{"CREATE TABLE entries (name text UNIQUE)"};
    support::PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 2}};
    const bool pipelining = GENERATE(true, false);
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{
        io, bouncer.dsn(), {.max_size = 2, .pipelining = pipelining}};
    const auto results = support::run(io, sessions.execute_all(inserts({"a", "b", "c"})));
    REQUIRE(results.size() == 3);
    CHECK(results[1].one().get<std::string>(0) == "b");
    const auto failure = support::run(io, failure_of(sessions.execute_all(inserts({"d", "a"}))));
    CHECK(is<pqxx::unique_violation>(failure));
    CHECK(database.count("entries") == 3);
}

TEST_CASE_METHOD(Fixture, "time is linear in the number of branches, and of statements",
                 "[many_at_once]") {
    const auto with_branches = [&](std::size_t amount) {
        run(scope([&](Session& session) -> asio::awaitable<void> {
            const auto branch = [&](std::size_t) { return session.execute("SELECT 1"); };
            co_await txscope::all(std::views::iota(std::size_t{0}, amount) |
                                  std::views::transform(branch));
        }));
    };
    const auto with_statements = [&](std::size_t amount) {
        run(sessions.execute_all(std::vector<Statement>(amount, Statement{"SELECT 1"})));
    };
    CHECK(support::growth(8'000, with_branches) < 24);
    CHECK(support::growth(16'000, with_statements) < 24);
}

}  // namespace many_at_once
