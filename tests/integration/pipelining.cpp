#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <pqxx/except>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

/// Over a pooler that cannot pipeline. The main tests run so, too: see tests/CMakeLists.txt.
namespace pipelining {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::before_answer;
using support::failure_of;
using support::is;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionOptions;
using txscope::TransactionScope;
using Texts = std::vector<std::string>;

const std::string insert = "INSERT INTO entries VALUES ($1)";

/// No statement went out before the one ahead was answered: that is seen to at the end.
struct Fixture {
    Fixture() { support::run(io, sessions.warm_up(1)); }
    ~Fixture() { CHECK(proxy.counts().most_unanswered == 1); }

    auto run(asio::awaitable<void> work) {
        proxy.reset_counts();
        return support::run(io, failure_of(std::move(work)));
    }
    template <typename Body>
    auto run_scope(Body body, TransactionOptions options = {}) {
        const TransactionScope scope{sessions, options};
        return run(scope(body));
    }
    asio::awaitable<void> add(int number) {
        auto session = co_await txscope::current_session(sessions);
        co_await session.execute(insert, number);
    }
    Texts entries() const {
        return database.query("SELECT number FROM entries ORDER BY number").column();
    }

    support::Database database{"CREATE TABLE entries (number int PRIMARY KEY)"};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                          support::observed({.max_size = 1, .pipelining = false})};
};

TEST_CASE("without pipelining every statement is a round trip", "[pipelining]") {
    Fixture fixture;
    const auto failure = fixture.run_scope([&](Session& session) -> asio::awaitable<void> {
        session.enqueue(insert, 1);
        session.enqueue(insert, 2);
        co_await (fixture.add(3) && fixture.add(4));
        session.enqueue(insert, 5);
    });
    CHECK_FALSE(failure);
    CHECK(fixture.entries() == Texts{"1", "2", "3", "4", "5"});
    CHECK(fixture.proxy.statements() ==
          Texts{"BEGIN", insert, insert, insert, insert, insert, "COMMIT"});
    CHECK(fixture.proxy.round_trips() == 7);
    CHECK(fixture.sessions.statistics().round_trips == 7);
    CHECK(fixture.proxy.sent('P') == 3);  // a statement of a batch is prepared for those behind it
}

TEST_CASE("without pipelining parallel branches with nested scopes get their own answers",
          "[pipelining]") {
    Fixture fixture;
    const TransactionScope nested{fixture.sessions, {.propagation = Propagation::nested}};
    const auto branch = [&](int number) -> asio::awaitable<void> {
        static_cast<void>(co_await failure_of(nested([&]() -> asio::awaitable<void> {
            co_await fixture.add(number);
            co_await fixture.add(3);
        })));
    };
    const auto failure = fixture.run_scope([&](Session&) -> asio::awaitable<void> {
        co_await (branch(1) && fixture.add(4) && branch(2) && fixture.add(5));
    });
    CHECK_FALSE(failure);
    CHECK(fixture.entries() == Texts{"1", "3", "4", "5"});
}

TEST_CASE("without pipelining nothing is executed behind what has failed", "[pipelining]") {
    Fixture fixture;
    SECTION("not COMMIT") {
        const auto failure = fixture.run_scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, 1);
            session.enqueue(insert, 1);
            session.enqueue(insert, 2);
        });
        CHECK(is<pqxx::unique_violation>(failure));
        CHECK(fixture.proxy.statements() == Texts{"BEGIN", insert, insert, "ROLLBACK"});
    }
    SECTION("nothing behind BEGIN") {
        fixture.proxy.garble("*/ BEGIN");
        const auto failure = fixture.run_scope(
            [&](Session& session) -> asio::awaitable<void> {
                session.enqueue(insert, 1);
                co_await session.execute(insert, 2);
            },
            {.label = "refused"});
        CHECK(is<pqxx::syntax_error>(failure));
        CHECK(fixture.proxy.statements() == Texts{"/* refused */ BEGIN"});
    }
    SECTION("not what goes with it where there is no transaction") {
        std::exception_ptr of_other;
        const auto failure = fixture.run(
            fixture.sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
                session.enqueue(insert, 1);
                session.enqueue(insert, 1);
                const auto other = [&]() -> asio::awaitable<void> {
                    of_other = co_await failure_of(session.execute("SELECT 1"));
                };
                co_await (session.execute(insert, 2) && other());
            }));
        CHECK(is<pqxx::unique_violation>(failure));
        CHECK_FALSE(of_other);
        CHECK(fixture.proxy.statements() == Texts{"BEGIN", insert, insert, "ROLLBACK", "SELECT 1"});
    }
    CHECK(fixture.entries().empty());
    CHECK_FALSE(fixture.run_scope([&] { return fixture.add(7); }));
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("without pipelining a connection that is lost ahead of COMMIT leaves no doubt",
          "[pipelining]") {
    Fixture fixture;
    int attempts = 0;
    fixture.proxy.cut(before_answer(insert));
    const auto failure = fixture.run_scope(
        [&](Session& session) -> asio::awaitable<void> {
            ++attempts;
            session.enqueue(insert, 1);
            co_return;
        },
        {.retry = {.max_attempts = 2}});
    fixture.proxy.await_fault();
    CHECK_FALSE(failure);
    CHECK(attempts == 2);
    CHECK(fixture.entries() == Texts{"1"});
}

TEST_CASE("without pipelining a lost answer to COMMIT is looked up", "[pipelining]") {
    Fixture fixture;
    fixture.proxy.cut(before_answer("COMMIT"));
    const auto failure =
        fixture.run_scope([&](Session&) -> asio::awaitable<void> { co_await fixture.add(1); },
                          {.verify_commit = true});
    fixture.proxy.await_fault();
    CHECK_FALSE(failure);
    CHECK(fixture.entries() == Texts{"1"});
}

TEST_CASE("without pipelining what is cancelled in a batch takes back the rest of it",
          "[pipelining]") {
    Fixture fixture;
    const auto holder = std::make_unique<support::Client>(fixture.database.dsn());
    holder->query("BEGIN; INSERT INTO entries VALUES (2)");
    const bool by_time = GENERATE(true, false);
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        session.enqueue(insert, 1);
        session.enqueue(insert, 2);
        co_await session.execute(insert, 3);
    };
    const TransactionScope scope{fixture.sessions,
                                 {.timeout = std::chrono::milliseconds{by_time ? 100 : 0}}};
    support::Started work{fixture.io, scope(body)};
    if (!by_time) {
        support::run_until(fixture.io, [&] {
            return fixture.database.query("SELECT count(*) FROM pg_locks WHERE NOT granted")
                       .number() == 1;
        });
        work.cancel();
    }
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.failure() != nullptr);
    holder->query("ROLLBACK");
    CHECK(fixture.entries().empty());
    CHECK_FALSE(fixture.run_scope([&] { return fixture.add(7); }));
    CHECK(fixture.sessions.statistics().opened == 1);
}

}  // namespace pipelining
