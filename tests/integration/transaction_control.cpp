#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <string>
#include <vector>

namespace transaction_control {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

const std::vector<std::string> transaction_control{
    "BEGIN",
    "begin isolation level serializable",
    "START TRANSACTION",
    "COMMIT",
    "commit work",
    "Commit And Chain",
    "END",
    "ROLLBACK",
    "ROLLBACK TO SAVEPOINT txscope_1",
    "ABORT",
    "SAVEPOINT mine",
    "RELEASE SAVEPOINT txscope_1",
    "RELEASE txscope_1",
    "PREPARE TRANSACTION 'mine'",
    "COMMIT PREPARED 'mine'",
    "  \t\n COMMIT",
    ";COMMIT",
    "-- that's all\nCOMMIT",
    "-- that's all\rCOMMIT",
    "/* that's /* really */ all */ COMMIT",
    "/**/COMMIT",
    "COMMIT;",
    "COMMIT/* now */",
    "COMMIT--",
};

TEST_CASE("what begins, ends or divides a transaction is for the scope to say, not for a statement",
          "[transaction_control]") {
    support::ScopeFixture fixture;
    const TransactionScope nested{fixture.sessions, {.propagation = Propagation::nested}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("outer");
            co_await nested([&](Session& inner) -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                for (const std::string& sql : transaction_control) {
                    CAPTURE(sql);
                    for (Session* each : {&session, &inner}) {
                        const auto executed = co_await failure_of(each->execute(sql));
                        CHECK(is<pqxx::usage_error>(executed));
                        CHECK_THAT(text_of(executed), ContainsSubstring(sql));
                        const auto queued = failure_of([&] { each->enqueue(sql); });
                        CHECK(is<pqxx::usage_error>(queued));
                    }
                }
            });
            // It is the same transaction still, and it goes on.
            CHECK(fixture.names().empty());
            co_await fixture.insert("after");
        });
    });
    CHECK(fixture.names() == Names{"outer", "nested", "after"});
    CHECK(fixture.sessions.statistics().acquired == 1);
}

TEST_CASE("in a scope that is to run without a transaction no statement begins one",
          "[transaction_control]") {
    support::ScopeFixture fixture;
    const auto propagation =
        GENERATE(Propagation::never, Propagation::supports, Propagation::not_supported);
    const TransactionScope without{fixture.sessions, {.propagation = propagation}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await without([&](Session& session) -> asio::awaitable<void> {
            CHECK(is<pqxx::usage_error>(co_await failure_of(session.execute("BEGIN"))));
            co_await fixture.insert("one");
        });
    });
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("statements that only look like ending a transaction are executed",
          "[transaction_control]") {
    support::ScopeFixture fixture;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 'COMMIT'");
            co_await session.execute("/* COMMIT */ SELECT 1 -- ROLLBACK");
            co_await session.execute("CREATE TEMPORARY TABLE commit_log (\"begin\" int)");
            co_await session.execute("SELECT \"begin\" FROM commit_log");
            co_await session.execute("PREPARE transactions AS SELECT 1");
            co_await fixture.insert("one");
        });
    });
    CHECK(fixture.names() == Names{"one"});
}

TEST_CASE("a function cannot end the scope's transaction either", "[transaction_control]") {
    support::ScopeFixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await session.execute("DO $$ BEGIN COMMIT; END $$");
        }));
    });
    CHECK(is<txscope::SqlError>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("2D000"));
    CHECK(fixture.names().empty());
}

TEST_CASE("several statements in one text are refused by the server, the first included",
          "[transaction_control]") {
    support::ScopeFixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await session.execute("INSERT INTO entries (name) VALUES ('two'); COMMIT");
        }));
    });
    CHECK(is<txscope::SqlError>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("42601"));
    CHECK(fixture.names().empty());
}

}  // namespace transaction_control
