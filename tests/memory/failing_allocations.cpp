#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failing_allocation.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::failure_of;
using support::is;
using support::Refusal;
using support::until_failure;
using txscope::Session;
using txscope::Statement;
using txscope::TransactionScope;

thread_local std::size_t support::until_failure = 0;

namespace {

bool fails() { return until_failure > 0 && --until_failure == 0; }
[[maybe_unused]] const bool realloc_asks = (support::allocation_fails = &fails, true);

void* allocate(std::size_t size) {
    void* memory = fails() ? nullptr : std::malloc(size > 0 ? size : 1);
    if (memory == nullptr) throw std::bad_alloc{};
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

/// How the last transaction has ended.
struct LastOutcome : txscope::Observer {
    void notice(const txscope::ScopeEvent& event) noexcept override {
        using Kind = txscope::ScopeEvent::Kind;
        if (event.kind == Kind::commit || event.kind == Kind::rollback ||
            event.kind == Kind::in_doubt)
            kind = event.kind;
    }
    txscope::ScopeEvent::Kind kind = txscope::ScopeEvent::begin;
};

struct Fixture {
    explicit Fixture(const support::Database& database)
        : sessions{io, database.dsn(), {.max_size = 2, .observer = &observer}} {}

    LastOutcome observer{};
    asio::io_context io{};
    txscope::AsyncSessionFactory sessions;
    const TransactionScope scope{sessions, {.statement_timeout = std::chrono::minutes{1}}};
    const TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};
};

/// A scope's body that leaves three rows, or none when it ends by a `Refusal`.
struct Program {
    std::string name;
    std::function<asio::awaitable<void>(const Fixture&, Session&)> body;
};

asio::awaitable<void> ignore(asio::awaitable<void> work) {
    static_cast<void>(co_await failure_of(std::move(work)));
}
asio::awaitable<void> add(Session session, Statement row) {
    co_await session.execute(std::move(row));
}
Statement row(int number) { return Statement{"INSERT INTO entries (number) VALUES ($1)", number}; }

const std::vector<Program> programs{
    {"parallel branches, and one row written behind",
     [](const Fixture&, Session& session) -> asio::awaitable<void> {
         co_await (add(session, row(1)) && add(session, row(2)));
         session.enqueue(row(3));
     }},
    {"a body that swallows whatever its statements throw",
     [](const Fixture&, Session& session) -> asio::awaitable<void> {
         co_await ignore(add(session, row(1)));
         co_await ignore(add(session, row(2)));
         co_await ignore(add(session, row(3)));
     }},
    {"a nested scope that is undone in the middle",
     [](const Fixture& fixture, Session& session) -> asio::awaitable<void> {
         co_await add(session, row(1));
         co_await ignore(fixture.nested([](Session& inner) -> asio::awaitable<void> {
             co_await add(inner, row(4));
             inner.enqueue(row(5));
             throw Refusal{"the nested body's"};
         }));
         co_await add(session, row(2));
         session.enqueue(row(3));
     }},
    {"a body that refuses at last",
     [](const Fixture&, Session& session) -> asio::awaitable<void> {
         co_await (add(session, row(1)) && add(session, row(2)));
         throw Refusal{"the body's"};
     }},
};

/// What became of it: the rows that are there, and the scope's own word for it.
void check_outcome(const support::Database& database, const Fixture& fixture, bool returned,
                   const std::exception_ptr& failure) {
    const auto rows = database.count("entries");
    const auto undone = database.query("SELECT count(*) FROM entries WHERE number > 3").number();
    CHECK(undone == 0);
    CHECK((rows == 0 || rows == 3));
    if (returned) CHECK(rows == 3);
    if (failure && !is<txscope::CommitInDoubt>(failure)) CHECK(rows == 0);
    if (fixture.observer.kind == txscope::ScopeEvent::commit) CHECK(rows == 3);
    if (fixture.observer.kind == txscope::ScopeEvent::rollback) CHECK(rows == 0);
}

/// Runs it with the `n`-th allocation of its scope's time failing; false when there are fewer.
bool run_with_failure(const support::Database& database, const Program& program, std::size_t n) {
    database.query("TRUNCATE entries");
    Fixture fixture{database};
    support::run(fixture.io, fixture.sessions.warm_up(1));
    bool returned = false;
    std::exception_ptr failure;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        until_failure = n;
        co_await program.body(fixture, session);
    };
    const auto work = [&]() -> asio::awaitable<void> {
        failure = co_await failure_of(fixture.scope(body));
        returned = failure == nullptr;
    };
    try {
        support::run(fixture.io, work);
    } catch (const std::bad_alloc&) {  // Asio had no memory to go on: the coroutine is where it was
    }
    const bool failed = std::exchange(until_failure, 0) == 0;
    check_outcome(database, fixture, returned, failure);
    return failed;
}

}  // namespace

TEST_CASE("whichever allocation fails, a transaction is whole, and its scope tells the truth",
          "[failing_allocations]") {
    const support::Database database{"CREATE TABLE entries (number int NOT NULL)"};
    for (const Program& program : programs) {
        std::size_t n = 1;
        for (bool failed = true; failed; ++n) {
            CAPTURE(program.name, n);
            failed = run_with_failure(database, program, n);
        }
        INFO(program.name);
        CHECK(n > 10);  // it did meet failures
    }
}

TEST_CASE("a statement that was said to have failed is not executed with the next one",
          "[failing_allocations]") {
    const support::Database database{"CREATE TABLE entries (number int NOT NULL)"};
    Fixture fixture{database};
    bool failed = true;
    for (std::size_t n = 1; failed; ++n) {
        CAPTURE(n);
        database.query("TRUNCATE entries");
        std::exception_ptr first;
        std::exception_ptr second;
        const auto both = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            const auto fails = [&]() -> asio::awaitable<void> {
                until_failure = n;
                co_await add(session, row(1));
            };
            first = co_await failure_of(fails());
            failed = std::exchange(until_failure, 0) == 0;
            second = co_await failure_of(add(session, row(2)));
        };
        try {
            support::run(fixture.io, fixture.sessions.session_scope(both));
        } catch (const std::bad_alloc&) {  // Asio had no memory to go on
            until_failure = 0;
            continue;
        }
        const auto rows = database.query("SELECT count(*) FROM entries WHERE number = 1").number();
        if (!second) CHECK(rows == (first ? 0 : 1));
    }
}

TEST_CASE("a transaction whose statement could not wait on its context is lost",
          "[failing_allocations]") {
    const support::Database database{"CREATE TABLE entries (number int NOT NULL)"};
    bool failed = true;
    for (std::size_t n = 1; failed; ++n) {
        CAPTURE(n);
        Fixture fixture{database};
        support::run(fixture.io, fixture.sessions.warm_up(1));
        asio::io_context elsewhere;
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            const auto fails = [&]() -> asio::awaitable<void> {
                until_failure = n;
                co_await add(session, row(1));
            };
            const auto first = co_await failure_of(fails());
            failed = std::exchange(until_failure, 0) == 0;
            const auto second = co_await failure_of(add(session, row(2)));
            CHECK((first == nullptr) == (second == nullptr));
        };
        try {
            support::run(elsewhere, failure_of(fixture.scope(body)));
        } catch (const std::bad_alloc&) {  // Asio had no memory to go on
            until_failure = 0;
        }
    }
}

TEST_CASE("a scope that ends without memory answers the branches that it leaves behind",
          "[failing_allocations]") {
    const support::Database database{"CREATE TABLE entries (number int NOT NULL)"};
    const bool in_transaction = GENERATE(true, false);
    bool failed = true;
    for (std::size_t n = 1; failed; ++n) {
        CAPTURE(in_transaction, n);
        Fixture fixture{database};
        support::run(fixture.io, fixture.sessions.warm_up(1));
        int left = 0;
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            const auto executor = co_await asio::this_coro::executor;
            for (int branch = 0; branch < 2; ++branch, ++left)
                asio::co_spawn(executor, add(session, row(1)), [&](std::exception_ptr) { --left; });
            until_failure = n;
        };
        try {
            if (in_transaction)
                support::run(fixture.io, failure_of(fixture.scope(body)));
            else
                support::run(fixture.io, failure_of(fixture.sessions.session_scope(body)));
        } catch (const std::bad_alloc&) {  // Asio had no memory to go on
            until_failure = 0;
            continue;
        }
        failed = std::exchange(until_failure, 0) == 0;
        support::run_until(fixture.io, [&] { return left == 0; });
        CHECK(support::run(fixture.io, fixture.sessions.session_scope([](Session& session) {
                  return session.execute("SELECT 1");
              }))
                  .one()
                  .get<int>(0) == 1);
        if (in_transaction) CHECK(database.count("entries") == 0);
    }
}
