#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/time_enough.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/fault_sweep.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace fault_sweep {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using namespace asio::experimental::awaitable_operators;
using txscope::AsyncSessionFactory;
using txscope::Fault;
using txscope::FaultSweep;
using txscope::FaultSweepCounts;
using txscope::FaultSweepOptions;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;

/// Where `Fixture::sweep` has what this fault has met.
constexpr std::size_t place_of(Fault fault) {
    return static_cast<std::size_t>(std::ranges::find(txscope::all_faults, fault) -
                                    txscope::all_faults.begin());
}

constexpr const char* insert = "INSERT INTO entries VALUES ($1)";

struct Fixture {
    /// Every fault at every point; returns what each has met, in the order of `all_faults`.
    std::vector<FaultSweepCounts> sweep(const FaultSweep::Body& body,
                                        FaultSweepOptions options = {}) const {
        FaultSweep sweep{database.dsn(), complete(options)};
        std::vector<FaultSweepCounts> met;
        for (const Fault fault : txscope::all_faults) {
            CAPTURE(to_string(fault));
            FaultSweepCounts counts = sweep.run(fault, body);
            // Only one point may lie between COMMIT and its answer; a run that takes longer than
            // the others passes it by.
            for (int again = 0; again < 20 && counts.everything == 0; ++again)
                counts = sweep.run(fault, body);
            met.push_back(counts);
            CHECK(counts.points > 5);
            // What is cut or terminated may be tried again, always with success.
            if (fault != Fault::cut && fault != Fault::terminate) CHECK(counts.nothing > 0);
            CHECK(counts.everything > 0);
        }
        return met;
    }

    /// One fault at every point.
    FaultSweepCounts sweep(Fault fault, const FaultSweep::Body& body) const {
        return FaultSweep{database.dsn(), complete({})}.run(fault, body);
    }

    /// What the sweep says against a service that is not as it should be.
    std::string complaint(const FaultSweep::Body& body, FaultSweepOptions options = {},
                          Fault fault = Fault::cancel) const {
        FaultSweep sweep{database.dsn(), complete(options)};
        return support::text_of(support::failure_of([&] { sweep.run(fault, body); }));
    }

    const support::Database database{
        "CREATE TABLE entries (name text CONSTRAINT names_are_unique PRIMARY KEY);"
        "CREATE TABLE audit (name text)"};

private:
    static FaultSweepOptions complete(FaultSweepOptions options) {
        options.pool = support::observed(options.pool);
        options.reset = "DELETE FROM entries; DELETE FROM audit";
        if (options.state.empty()) options.state = "SELECT name FROM entries ORDER BY name";
        return options;
    }
};

/// Inserts one entry in a transaction of its own.
asio::awaitable<void> add(AsyncSessionFactory sessions, std::string name) {
    const TransactionScope scope{sessions};
    co_await scope(
        [&](Session& session) -> asio::awaitable<void> { co_await session.execute(insert, name); });
}

/// Compares what the hooks of a scope say with what its caller is told.
class HookWatch {
public:
    void hook_into(Session& session) {
        said_ = "nothing";
        session.after_commit([this] { said_ = "committed"; });
        session.after_rollback([this] { said_ = "rolled back"; });
    }

    /// Awaits the scope; what does not agree goes to `wrong`.
    asio::awaitable<void> compare(asio::awaitable<void> scope, std::vector<std::string>& wrong) {
        const auto failure = co_await support::failure_of(std::move(scope));
        const std::string told = !failure                                     ? "committed"
                                 : support::is<pqxx::in_doubt_error>(failure) ? "nothing"
                                                                              : "rolled back";
        if (said_ != told && said_ != "not begun") wrong.push_back(told + ", but hooks: " + said_);
        if (failure) std::rethrow_exception(failure);
    }

private:
    std::string said_ = "not begun";
};

TEST_CASE("statements and what is written behind stand every fault", "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            session.enqueue(insert, "two");
            co_await session.execute("SELECT count(*) FROM entries");
            session.enqueue(insert, "three");
        });
    });
}

TEST_CASE("parallel statements on a connection that is open stand every fault", "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        co_await sessions.warm_up(1);
        const TransactionScope scope{sessions};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await (session.execute(insert, "one") && session.execute(insert, "two"));
            co_await (session.execute(insert, "three") &&
                      session.execute("SELECT pg_sleep(0.001)"));
        });
    });
}

TEST_CASE("nested scopes that are kept and undone stand every fault", "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions};
        const TransactionScope nested{sessions, {.propagation = Propagation::nested}};
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "outer");
            co_await nested([&](Session& inner) -> asio::awaitable<void> {
                co_await inner.execute(insert, "nested");
                co_await scope([](Session& joined) -> asio::awaitable<void> {
                    co_await joined.execute(insert, "joined");
                });
            });
            try {
                co_await nested([&](Session& inner) -> asio::awaitable<void> {
                    inner.enqueue(insert, "undone");
                    co_await inner.execute(insert, "outer");
                });
            } catch (const pqxx::unique_violation&) {
            }
            co_await nested([&](Session& inner) -> asio::awaitable<void> {
                inner.enqueue(insert, "behind");
                co_return;
            });
        });
    });
}

TEST_CASE("hooks stand every fault, and agree with what the caller is told", "[fault_sweep]") {
    std::vector<std::string> wrong;
    const auto body = [&](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions};
        const auto log = [&](std::string line) {
            return [scope, line]() -> asio::awaitable<void> {
                co_await scope([&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute("INSERT INTO audit VALUES ($1)", line);
                });
            };
        };
        HookWatch watch;
        auto work = scope([&](Session& session) -> asio::awaitable<void> {
            session.before_commit([&]() -> asio::awaitable<void> {
                co_await session.execute(insert, "before commit");
            });
            watch.hook_into(session);
            session.after_commit(log("committed"));
            session.after_rollback(log("rolled back"));
            co_await session.execute(insert, "one");
        });
        co_await watch.compare(std::move(work), wrong);
    };
    Fixture{}.sweep(body);
    CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("attempts and the pauses between them stand every fault", "[fault_sweep]") {
    std::vector<std::string> wrong;
    const auto body = [&](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        // A connection that is lost while it is opened is nothing that a scope could try again.
        co_await support::failure_of(sessions.warm_up(1));
        const TransactionScope scope{
            sessions,
            {.retry = {.max_attempts = 3, .initial_backoff = std::chrono::milliseconds{1}}}};
        HookWatch watch;
        auto work = scope([&](Session& session) -> asio::awaitable<void> {
            watch.hook_into(session);
            co_await session.execute(insert, "one");
            if (session.attempt() == 1)
                co_await session.execute("DO 'BEGIN RAISE SQLSTATE ''40001''; END'");
            session.enqueue(insert, "two");
        });
        co_await watch.compare(std::move(work), wrong);
    };
    const auto met = Fixture{}.sweep(body);
    const FaultSweepCounts& terminated = met[place_of(Fault::terminate)];
    CHECK(terminated.nothing <= terminated.in_doubt);  // all that may be tried again was
    CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE(
    "a connection lost at any point of a body that recovers from errors is worth another attempt",
    "[fault_sweep]") {
    const auto body = [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        // A connection that is lost while it is opened is nothing that a scope could try again.
        co_await support::failure_of(sessions.warm_up(1));
        const TransactionScope scope{sessions, {.retry = {.max_attempts = 3}}};
        const TransactionScope nested{sessions, {.propagation = Propagation::nested}};
        const auto fail = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1 / $1::int", 0);
        };
        const auto fail_after_an_error = [&](Session& session) -> asio::awaitable<void> {
            co_await support::failure_of(fail(session));
            throw support::Refusal{"of its own"};
        };
        const auto fail_in_parallel = [&](Session& session) -> asio::awaitable<void> {
            co_await (session.execute("SELECT 1") && fail(session) && nested(fail));
        };
        const auto fail_behind = [](Session& session) -> asio::awaitable<void> {
            session.enqueue("SELECT 1 / $1::int", 0);
            co_return;
        };
        const auto fail_joined = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await support::failure_of(scope(fail_after_an_error));
        };
        const auto recover = [&](Session& session) -> asio::awaitable<void> {
            co_await support::failure_of(nested(fail_after_an_error));
            co_await session.execute(insert, "one");
            co_await support::failure_of(nested(fail_in_parallel));
            co_await support::failure_of(nested(fail_behind));
            co_await support::failure_of(nested(fail_joined));
        };
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            session.before_commit(
                [&]() -> asio::awaitable<void> { co_await support::failure_of(nested(fail)); });
            co_await recover(session);
            session.enqueue(insert, "two");
        });
    };
    const Fixture fixture;
    for (const Fault fault : {Fault::cut, Fault::terminate}) {
        CAPTURE(to_string(fault));
        const FaultSweepCounts met = fixture.sweep(fault, body);
        CHECK(met.points > 20);
        CHECK(met.nothing <= met.in_doubt);
    }
}

TEST_CASE("a scope that is independent of the one around it stands every fault", "[fault_sweep]") {
    Fixture{}.sweep(
        [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
            const TransactionScope scope{sessions};
            const TransactionScope apart{sessions, {.propagation = Propagation::requires_new}};
            co_await scope([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute(insert, "one");
                co_await apart([](Session& other) -> asio::awaitable<void> {
                    co_await other.execute("INSERT INTO audit VALUES ('tried')");
                });
                co_await session.execute(insert, "two");
            });
        },
        {.state = "SELECT count(*), count(*) > 0 AND NOT EXISTS (SELECT FROM audit) FROM entries",
         .pool = {.max_size = 2}});
}

TEST_CASE("a scope that waits for the only connection stands every fault", "[fault_sweep]") {
    Fixture{}.sweep(
        [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
            const TransactionScope scope{sessions};
            const auto other = [](const TransactionScope first) -> asio::awaitable<void> {
                co_await first([](Session& session) -> asio::awaitable<void> {
                    co_await session.execute(
                        "INSERT INTO audit SELECT 'first' FROM pg_sleep(0.001)");
                });
            };
            asio::co_spawn(co_await asio::this_coro::executor, other(scope), asio::detached);
            co_await scope([](Session& session) -> asio::awaitable<void> {
                co_await session.execute(insert, "one");
                session.enqueue(insert, "two");
            });
        },
        {.pool = {.max_size = 1}});
}

TEST_CASE("a scope whose connection is to be replaced meanwhile stands every fault",
          "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions};
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            sessions.recycle();
            co_await session.execute(insert, "two");
        });
    });
}

TEST_CASE("verified commits stand every fault", "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions,
                                     {.verify_commit = true, .verify_timeout = support::patience}};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            session.enqueue(insert, "two");
        });
    });
}

TEST_CASE("settings, a deadline and what outlives a transaction stand every fault",
          "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions,
                                     {.isolation = txscope::IsolationLevel::serializable,
                                      .statement_timeout = std::chrono::minutes{1},
                                      .lock_timeout = std::chrono::minutes{1},
                                      .timeout = std::chrono::minutes{1},
                                      .label = "swept"}};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SET search_path = public, pg_temp");
            co_await session.execute(
                "CREATE TEMPORARY TABLE found ON COMMIT PRESERVE ROWS AS "
                "SELECT 'found'::text AS name");
            co_await session.execute("DO $$BEGIN LISTEN entries; END$$");
            co_await session.execute("INSERT INTO entries SELECT name FROM found");
            co_await session.execute("SELECT pg_advisory_lock(1)");
        });
    });
}

TEST_CASE(
    "a scope that wants its own rollback, and one that tries again elsewhere, stand every fault",
    "[fault_sweep]") {
    Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const TransactionScope scope{sessions};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(insert, "one");
            session.set_rollback_only();
        });
        try {
            co_await scope([](Session& session) -> asio::awaitable<void> {
                co_await session.execute(insert, "one");
                co_await session.execute(insert, "one");
            });
        } catch (const pqxx::unique_violation&) {
        }
        co_await scope([](Session& session) -> asio::awaitable<void> {
            session.enqueue(insert, "one");
            session.enqueue(insert, "two");
            co_return;
        });
    });
}

TEST_CASE("whatever strikes, work in two transactions is found out to be done in part",
          "[fault_sweep]") {
    const Fixture fixture;
    const auto body = [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        co_await add(sessions, "one");
        co_await add(sessions, "two");
    };
    for (const Fault fault : txscope::all_faults) {
        const auto complaint = fixture.complaint(body, {}, fault);
        CHECK_THAT(complaint, ContainsSubstring("fault sweep '" + std::string{to_string(fault)} +
                                                "', point "));
        CHECK_THAT(complaint, ContainsSubstring("a part of it has happened: one (nothing is , "
                                                "everything is one; two)"));
    }
}

TEST_CASE("a service that keeps a failure to itself is found out", "[fault_sweep]") {
    const auto complaint =
        Fixture{}.complaint([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
            try {
                co_await add(sessions, "one");
            } catch (const std::exception&) {
            }
        });
    CHECK_THAT(complaint, ContainsSubstring("the caller was told of success, but nothing of it"));
}

TEST_CASE("a service that fails after it has committed is found out", "[fault_sweep]") {
    const auto body = [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        co_await add(sessions, "one");
        co_await asio::post(asio::use_awaitable);
        co_await asio::post(asio::use_awaitable);
    };
    CHECK_THAT(Fixture{}.complaint(body),
               ContainsSubstring("the caller was told of a failure (") &&
                   ContainsSubstring("), but everything of it has happened: one"));
}

TEST_CASE("a doubt that a service has wrapped into an error of its own is seen", "[fault_sweep]") {
    const auto met = Fixture{}.sweep([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        try {
            co_await add(sessions, "one");
        } catch (const std::exception&) {
            std::throw_with_nested(std::runtime_error{"no entry"});
        }
    });
    CHECK(met[place_of(Fault::cut)].in_doubt > 0);
}

TEST_CASE("a setting that is left behind is found out", "[fault_sweep]") {
    const Fixture fixture;
    fixture.database.query(
        "CREATE FUNCTION leave() RETURNS text LANGUAGE sql AS "
        "$$ SELECT set_config('search_path', 'elsewhere', false) $$");
    const auto complaint =
        fixture.complaint([](AsyncSessionFactory sessions) -> asio::awaitable<void> {
            co_await add(sessions, "one");
            co_await sessions.execute("SELECT leave()");
        });
    CHECK_THAT(complaint, ContainsSubstring("'cancel', undisturbed: the next borrower finds in its "
                                            "session: search_path = elsewhere"));
}

TEST_CASE("a connection that is kept, and a service that never ends, are found out",
          "[fault_sweep]") {
    const Fixture fixture;
    const auto forever = []() -> asio::awaitable<void> {
        asio::steady_timer never{co_await asio::this_coro::executor,
                                 asio::steady_timer::time_point::max()};
        co_await never.async_wait(asio::use_awaitable);
    };
    const auto keep = [&](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        co_await sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await forever();
        });
    };
    const auto leaking = [&](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        asio::co_spawn(co_await asio::this_coro::executor, keep(sessions), asio::detached);
        co_await add(sessions, "one");
    };
    support::with_time_enough([&](std::chrono::milliseconds limit) {
        const auto complaint = fixture.complaint(leaking, {.time_limit = limit});
        return complaint.find("the pool is not whole: size 2, idle 1, waiting 0, opened 2") !=
               std::string::npos;
    });
    CHECK_THAT(fixture.complaint(keep, {.time_limit = std::chrono::seconds{1}}),
               ContainsSubstring("it did not end in time"));
}

TEST_CASE("a sweep that could not tell anything is refused", "[fault_sweep]") {
    const Fixture fixture;
    const auto idle = [](AsyncSessionFactory) -> asio::awaitable<void> { co_return; };
    CHECK_THAT(fixture.complaint(idle),
               ContainsSubstring("nothing happens that the state tells of"));
    const auto failing = [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        co_await add(sessions, "one");
        co_await add(sessions, "one");
    };
    CHECK_THAT(fixture.complaint(failing),
               ContainsSubstring("undisturbed: ") && ContainsSubstring("names_are_unique"));
}

}  // namespace fault_sweep
