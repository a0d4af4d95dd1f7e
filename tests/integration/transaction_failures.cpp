#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include "support/time_enough.hpp"
#include <txscope/transaction/detail/scope_session.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <pqxx/except>

#include <chrono>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <utility>

namespace transaction_failures {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using support::before_statement;
using support::cause_of;
using support::failure_of;
using support::is;
using support::Refusal;
using support::text_of;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Fixture : support::ScopeFixture {
    using ScopeFixture::ScopeFixture;

    void check_that_the_pool_works_on() {
        run([&] { return insert_alone("afterwards"); });
        CHECK(names() == Names{"afterwards"});
        CHECK(sessions.statistics().opened == 2);
        CHECK(sessions.statistics().discarded == 1);
        CHECK(connected() == 1);
    }
};

/// The same behind a proxy.
struct ProxiedFixture : Fixture {
    explicit ProxiedFixture(txscope::PoolOptions options = {})
        : through{io, proxy.dsn(database.name()), support::observed(options)} {}

    support::FaultProxy proxy{support::server()};
    txscope::AsyncSessionFactory through;
    const TransactionScope scope{through};

    asio::awaitable<void> insert(std::string name) {
        auto session = co_await txscope::current_session(through);
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
    }
    void check_that_the_pool_works_on() {
        run([&]() -> asio::awaitable<void> {
            co_await scope([&]() -> asio::awaitable<void> { co_await insert("afterwards"); });
        });
        CHECK(names() == Names{"afterwards"});
        CHECK(through.statistics().opened == 2);
        CHECK(through.statistics().discarded == 1);
    }
};

TEST_CASE("what goes wrong in a scope names where the scope was opened", "[transaction_failures]") {
    Fixture fixture;
    const auto here = std::source_location::current();
    const TransactionScope scope{fixture.sessions, {}, here};
    const auto fail = [&](auto body) {
        return fixture.run([&] { return failure_of(scope(body)); });
    };
    const auto opened_here = [&](const auto& error) {
        CHECK(error.scope_location()->line() == here.line());
        CHECK_THAT(error.what(), ContainsSubstring("[scope opened at ") &&
                                     ContainsSubstring(txscope::detail::location_text(here)));
    };
    std::exception_ptr failure;
    SECTION("a statement of its own") {
        failure = fail([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1 / 0");
        });
    }
    SECTION("one sent along with COMMIT") {
        failure = fail([](Session& session) -> asio::awaitable<void> {
            session.enqueue("SELECT 1 / 0");
            co_return;
        });
    }
    SECTION("COMMIT itself") {
        fixture.database.query(
            "CREATE TABLE ages (of text REFERENCES entries (name) DEFERRABLE INITIALLY DEFERRED)");
        failure = fail([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO ages VALUES ('nobody')");
        });
    }
    SECTION("the loss of its connection, by a statement that runs") {
        failure = fail([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT pg_terminate_backend(pg_backend_pid())");
        });
        CHECK(is<txscope::ConnectionLost>(failure));
    }
    SECTION("the loss of its connection, while nothing runs") {
        failure = fail([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            fixture.terminate_backends();
            co_await session.execute("SELECT 1");
        });
        CHECK(is<txscope::ConnectionLost>(failure));
    }
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::SqlError& error) {
        opened_here(error);
    } catch (const txscope::ConnectionLost& error) {
        opened_here(error);
    }
}

TEST_CASE("who gets no connection is told for which scope", "[transaction_failures]") {
    asio::io_context io;
    const support::Database database{""};
    const support::DeadPort nobody;
    const auto here = std::source_location::current();
    const auto ask = [&](txscope::AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions, {}, here};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
        });
    };
    std::exception_ptr failure;
    const auto ask_while_it_is_lent = [&](txscope::PoolOptions options) {
        options.max_size = 1;
        const txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed(options)};
        support::run(io, sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            failure = co_await failure_of(asio::co_spawn(io, ask(sessions), asio::use_awaitable));
        }));
    };
    SECTION("there is no server") {
        failure = support::run(
            io, failure_of(
                    ask({io, nobody.dsn(), {.acquire_timeout = std::chrono::milliseconds{50}}})));
        CHECK(is<txscope::AcquireTimeout>(failure));
    }
    SECTION("there will be none") {
        failure = support::run(io, failure_of(ask({io, support::server().dsn("none")})));
        CHECK(is<txscope::ConnectionFailed>(failure));
    }
    SECTION("none becomes free in time") {
        support::with_time_enough([&](std::chrono::milliseconds limit) {
            const auto too_late =
                failure_of([&] { ask_while_it_is_lent({.acquire_timeout = limit}); });
            return !is<txscope::AcquireTimeout>(too_late);
        });
        CHECK(is<txscope::AcquireTimeout>(failure));
    }
    SECTION("too many wait already") {
        ask_while_it_is_lent({.max_waiters = 0});
        CHECK(is<txscope::PoolExhausted>(failure));
    }
    SECTION("there will be none any more") {
        const txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
        support::run(io, sessions.close());
        failure = support::run(io, failure_of(ask(sessions)));
        CHECK(is<txscope::PoolClosed>(failure));
    }
    CHECK_THAT(text_of(failure),
               EndsWith("[scope opened at " + txscope::detail::location_text(here) + "]"));
}

TEST_CASE("a backend that is terminated in the middle of a body breaks the next statement",
          "[transaction_failures]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            fixture.terminate_backends();
            co_await fixture.insert("two");
        }));
    });
    CHECK(is<pqxx::broken_connection>(failure));
    CHECK(is<txscope::ConnectionLost>(failure));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a backend that is terminated while a statement runs fails that statement",
          "[transaction_failures]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const auto failure = fixture.run([&]() -> asio::awaitable<std::exception_ptr> {
        const auto terminate = [&]() -> asio::awaitable<void> {
            co_await support::eventually([&] { return fixture.waiting_for_locks() == 1; });
            fixture.terminate_backends();
        };
        asio::co_spawn(fixture.io, terminate(), asio::detached);
        co_return co_await failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.insert("held");
        }));
    });
    CHECK(is<pqxx::broken_connection>(failure));
    holder->query("ROLLBACK");
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a backend that is terminated before COMMIT is sent leaves no doubt about the outcome",
          "[transaction_failures]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            fixture.terminate_backends();
        }));
    });
    CHECK(is<pqxx::broken_connection>(failure));
    CHECK_FALSE(is<pqxx::in_doubt_error>(failure));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a backend that is terminated in a nested scope takes the whole transaction with it",
          "[transaction_failures]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto inner = co_await failure_of(fixture.nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                fixture.terminate_backends();
                co_await fixture.insert("lost");
            }));
            CHECK(is<txscope::ConnectionLost>(inner));
            const auto refused = co_await failure_of(fixture.insert("two"));
            CHECK(is<txscope::TransactionAborted>(refused));
            CHECK(is<txscope::ConnectionLost>(cause_of(refused)));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<txscope::ConnectionLost>(cause_of(failure)));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a rollback that fails does not replace the body's exception", "[transaction_failures]") {
    ProxiedFixture fixture;
    fixture.proxy.cut(before_statement("ROLLBACK"));
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            throw Refusal{"the body's"};
        }));
    });
    fixture.proxy.await_fault();
    CHECK(text_of(failure) == "the body's");
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a rollback to a savepoint that fails does not replace the body's exception either",
          "[transaction_failures]") {
    ProxiedFixture fixture;
    const TransactionScope nested{fixture.through, {.propagation = Propagation::nested}};
    fixture.proxy.cut(before_statement("ROLLBACK TO SAVEPOINT"));
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto inner = co_await failure_of(nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                throw Refusal{"the nested body's"};
            }));
            CHECK(text_of(inner) == "the nested body's");
            CHECK(is<txscope::TransactionAborted>(co_await failure_of(fixture.insert("two"))));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<txscope::ConnectionLost>(cause_of(failure)));
    CHECK(fixture.names().empty());
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a rollback to a savepoint that is not answered takes no longer than the cleanup may",
          "[transaction_failures]") {
    ProxiedFixture fixture{{.cleanup_timeout = 50ms}};
    const TransactionScope nested{fixture.through, {.propagation = Propagation::nested}};
    fixture.proxy.stall(before_statement("ROLLBACK TO SAVEPOINT"));
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            const auto inner = co_await failure_of(nested([&]() -> asio::awaitable<void> {
                co_await fixture.insert("nested");
                throw Refusal{"the nested body's"};
            }));
            CHECK(text_of(inner) == "the nested body's");
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(is<txscope::ConnectionLost>(cause_of(failure)));
    CHECK(fixture.names().empty());
    fixture.proxy.resume();
    fixture.check_that_the_pool_works_on();
}

TEST_CASE("a connection that is lost while COMMIT is under way leaves the outcome in doubt",
          "[transaction_failures]") {
    ProxiedFixture fixture;
    SECTION("when the server never got it") { fixture.proxy.cut(before_statement("COMMIT")); }
    SECTION("when the server did it") { fixture.proxy.cut(support::before_answer("COMMIT")); }
    const auto failure = fixture.run([&] {
        return failure_of(
            fixture.scope([&]() -> asio::awaitable<void> { co_await fixture.insert("one"); }));
    });
    fixture.proxy.await_fault();
    CHECK(is<txscope::CommitInDoubt>(failure));
    CHECK(is<pqxx::in_doubt_error>(failure));
    CHECK(is<txscope::ConnectionLost>(cause_of(failure)));
}

TEST_CASE("nothing is executed behind a BEGIN that the server refuses", "[transaction_failures]") {
    const txscope::TransactionOptions refused{.label = "refused"};
    for (int turns = 0; turns < 6; ++turns) {
        CAPTURE(turns);
        ProxiedFixture fixture{{.max_size = 1}};
        fixture.proxy.garble("*/ BEGIN");
        const TransactionScope scope{fixture.through, refused};
        std::exception_ptr of_first;
        std::exception_ptr of_second;
        bool first_done = false;
        const auto failure = fixture.run([&] {
            return failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                asio::co_spawn(co_await asio::this_coro::executor, session.execute("SELECT 1"),
                               [&](std::exception_ptr error, const txscope::Result&) {
                                   of_first = std::move(error);
                                   first_done = true;
                               });
                for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
                of_second = co_await failure_of(
                    session.execute("INSERT INTO entries (name) VALUES ('second')"));
                co_await support::eventually([&] { return first_done; });
            }));
        });
        CHECK(is<pqxx::syntax_error>(of_first));
        CHECK_THAT(text_of(of_first), ContainsSubstring("*/ BEGIN"));
        CHECK(is<txscope::TransactionAborted>(of_second));
        CHECK(is<txscope::UnexpectedRollback>(failure));
        CHECK(fixture.names().empty());
        CHECK(fixture.through.statistics().opened == 1);
    }
    for (const bool begin_in_front : {true, false}) {
        CAPTURE(begin_in_front);
        ProxiedFixture fixture{{.max_size = 1}};
        fixture.proxy.garble("*/ BEGIN");
        const TransactionScope scope{fixture.through, refused};
        const auto failure = fixture.run([&] {
            return failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                const auto second = [&]() -> asio::awaitable<void> {
                    for (int i = 0; i < 5; ++i) co_await asio::post(asio::use_awaitable);
                    co_await fixture.insert("second");
                };
                if (begin_in_front)
                    co_await (session.execute("SELECT 1") && second());
                else
                    co_await (second() && session.execute("SELECT 1"));
            }));
        });
        CHECK(is<pqxx::syntax_error>(failure));
        CHECK(fixture.names().empty());
        CHECK(fixture.through.statistics().opened == 1);
    }
}

// Who reads all answers knows of every failure before COMMIT, and does not send it; so these two
// come to that answer from the outside.
TEST_CASE("a COMMIT that the server answers with ROLLBACK is no commit", "[transaction_failures]") {
    Fixture fixture;
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            // A statement that fails behind the scope's back, on its connection.
            const asio::any_io_executor executor = co_await asio::this_coro::executor;
            const auto& shared =
                txscope::detail::find_ambient(txscope::detail::ambient_of(executor),
                                              fixture.sessions.pool().get())
                    ->session->shared();
            const auto connection = shared.lease.member()->connection.get();
            const auto unseen = std::make_shared<txscope::detail::Response>();
            connection->submit({{txscope::Statement{"SELECT 1 / 0"}, unseen}});
            co_await connection->answered(unseen);
            CHECK(is<pqxx::data_exception>(unseen->error));
        }));
    });
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(text_of(failure).find("at COMMIT") != std::string::npos);
    CHECK(fixture.names().empty());
    CHECK(fixture.in_transaction() == 0);
    CHECK(fixture.sessions.statistics().discarded == 0);
}

TEST_CASE("UnexpectedRollback at COMMIT has the failure that caused it nested inside",
          "[transaction_failures]") {
    Fixture fixture;
    const auto cause = failure_of([&] { fixture.database.query("SELECT 1 / 0"); });
    const txscope::TransactionOptions options;
    const txscope::detail::SharedSession session{
        new txscope::detail::SessionOf<txscope::detail::TransactionSession>{
            fixture.sessions.pool(), fixture.io.get_executor(), options,
            txscope::detail::Clock::time_point::max(), 1, std::source_location::current()}};
    const auto failure = txscope::detail::error_of(
        *session, txscope::detail::ScopeNode::Outcome::server_rolled_back, nullptr, cause);
    CHECK(is<txscope::UnexpectedRollback>(failure));
    CHECK(cause_of(failure) == cause);
}

TEST_CASE("no error of a transaction shows a value that was bound", "[transaction_failures]") {
    Fixture fixture;
    fixture.database.query("INSERT INTO entries (name) VALUES ('hunter2')");
    fixture.database.query(
        "CREATE TABLE ages (of text REFERENCES entries (name) DEFERRABLE INITIALLY DEFERRED, "
        "age int CHECK (age < 150))");
    const auto check = [&](std::exception_ptr failure) {
        CHECK(failure != nullptr);
        for (; failure; failure = cause_of(failure)) {
            INFO(text_of(failure));
            for (const char* secret : {"hunter2", "hunter3", "151515"})
                CHECK(text_of(failure).find(secret) == std::string::npos);
        }
    };
    const auto fail = [&](auto body) {
        check(fixture.run([&] { return failure_of(fixture.scope(body)); }));
    };
    fail([](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", "hunter2");
    });
    fail([&](Session& session) -> asio::awaitable<void> {
        check(co_await failure_of(session.execute("SELECT $1::int", "hunter2")));
        check(co_await failure_of(session.execute("SELECT $1", "hunter2")));
    });
    fail([](Session& session) -> asio::awaitable<void> {
        session.enqueue("INSERT INTO ages (age) VALUES ($1)", 151515);
        co_return;
    });
    fail([](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO ages (of) VALUES ($1)", "hunter3");
    });
    fail([&](Session& session) -> asio::awaitable<void> {
        check(co_await failure_of(session.execute("COMMIT -- $1", "hunter2")));
        co_await session.execute("SELEKT $1", "hunter2");
    });
}

TEST_CASE("what a deferred trigger says of values that were bound before is not shown",
          "[transaction_failures]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'nobody is called %', NEW.name; END $$; "
        "CREATE CONSTRAINT TRIGGER refusal AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()");
    constexpr auto insert = "INSERT INTO entries (name) VALUES ($1)";
    const auto fail = [&](auto body) {
        return fixture.run([&] { return failure_of(fixture.scope(body)); });
    };
    std::exception_ptr failure;
    SECTION("at COMMIT") {
        failure = fail([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "hunter2");
        });
    }
    SECTION("at COMMIT, sent along with it") {
        failure = fail([&](Session& session) -> asio::awaitable<void> {
            session.enqueue(insert, "hunter2");
            co_return;
        });
    }
    SECTION("before it, when the trigger is called for") {
        failure = fail([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "hunter2");
            co_await session.execute("SET CONSTRAINTS ALL IMMEDIATE");
        });
    }
    SECTION("at the end of a statement that is a transaction of its own") {
        failure = fixture.run([&]() -> asio::awaitable<std::exception_ptr> {
            co_return co_await failure_of(fixture.sessions.execute(insert, "hunter2"));
        });
    }
    CHECK(is<pqxx::plpgsql_raise>(failure));
    CHECK_THAT(text_of(failure),
               ContainsSubstring("SQLSTATE P0001") && !ContainsSubstring("hunter2"));
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::SqlError& error) {
        CHECK(error.diagnostics().message == "nobody is called hunter2");
    }
}

TEST_CASE("what the server itself says at COMMIT is shown", "[transaction_failures]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE TABLE ages (of text REFERENCES entries (name) DEFERRABLE INITIALLY DEFERRED)");
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO ages VALUES ($1)", "hunter2");
        }));
    });
    CHECK_THAT(text_of(failure), ContainsSubstring("violates foreign key constraint"));
}

}  // namespace transaction_failures
