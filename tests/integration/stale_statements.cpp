#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/core/sqlstate.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <pqxx/except>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

/// What is kept of a schema on a connection, when somebody else changes the schema.

namespace stale_statements {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

enum class Mood {
    sad,
    happy
};
BOOST_DESCRIBE_ENUM(Mood, sad, happy)

constexpr const char* add_meter = "INSERT INTO meters (amount) VALUES ($1)";
constexpr std::int64_t big = 5'000'000'000;

/// A pool whose connections have a statement for `meters` prepared.
struct Fixture : support::ScopeFixture {
    explicit Fixture(const std::string& type, txscope::PoolOptions options = {.max_size = 1},
                     const std::string& schema = {})
        : ScopeFixture{options,
                       "CREATE TABLE meters (id int GENERATED ALWAYS AS IDENTITY, amount " + type +
                           ");" + schema} {}

    /// Executes it alone, on each connection.
    template <typename T>
    void prepare(const char* sql, const T& value) {
        run([&]() -> asio::awaitable<void> { co_await sessions.execute(sql, value); });
    }
    void alter(const std::string& type) {
        database.query("ALTER TABLE meters ALTER amount TYPE " + type);
    }
    /// Inserts in a scope with a retry policy; tells how often its body ran.
    template <typename T>
    int insert_retrying(const T& value) {
        int runs = 0;
        run([&]() -> asio::awaitable<void> {
            co_await retrying([&](Session& session) -> asio::awaitable<void> {
                ++runs;
                session.enqueue(add_meter, value);
                co_return;
            });
        });
        return runs;
    }
    Names amounts() const {
        return database.query("SELECT amount FROM meters ORDER BY id").column();
    }
    std::int64_t prepared(const std::string& condition = "true") {
        return run([&]() -> asio::awaitable<std::int64_t> {
            const auto found = co_await sessions.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%prepared%'"
                " AND " +
                condition);
            co_return found.one().get<std::int64_t>(0);
        });
    }

    const TransactionScope retrying{sessions,
                                    {.retry = {.max_attempts = 2, .initial_backoff = 1ms}}};
};

TEST_CASE("a column that was widened costs a scope one further attempt, on each way to fail",
          "[stale_statements]") {
    Fixture fixture{"int"};
    fixture.prepare(add_meter, 1);
    fixture.alter("bigint");
    SECTION("written behind") { CHECK(fixture.insert_retrying(big) == 2); }
    SECTION("awaited") {
        fixture.run([&]() -> asio::awaitable<void> {
            co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT 1");
                co_await session.execute(add_meter, big);
            });
        });
    }
    SECTION("in a nested scope") {
        fixture.run([&]() -> asio::awaitable<void> {
            co_await fixture.retrying([&]() -> asio::awaitable<void> {
                co_await fixture.nested([&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute(add_meter, big);
                });
            });
        });
    }
    SECTION("made into another error by the body") {
        fixture.run([&]() -> asio::awaitable<void> {
            co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
                const auto failure = co_await failure_of(session.execute(add_meter, big));
                if (failure) throw support::Refusal{"too big"};
            });
        });
    }
    CHECK(fixture.amounts() == Names{"1", "5000000000"});
    CHECK(fixture.insert_retrying(big) == 1);
}

TEST_CASE("without a retry policy it costs one failure, and no second one", "[stale_statements]") {
    Fixture fixture{"int"};
    fixture.prepare(add_meter, 1);
    fixture.alter("bigint");
    const auto add = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(add_meter, big);
    };
    CHECK(is<pqxx::data_exception>(fixture.run([&] { return failure_of(fixture.scope(add)); })));
    fixture.run([&] { return fixture.scope(add); });
    CHECK(fixture.amounts() == Names{"1", "5000000000"});
}

TEST_CASE("a lone statement that is stale is asked again at once", "[stale_statements]") {
    Fixture fixture{"int", {.max_size = 1}, "INSERT INTO entries (name) VALUES ('one')"};
    SECTION("parameters of another type") {
        fixture.prepare(add_meter, 1);
        fixture.alter("bigint");
        SECTION("through the factory") {
            fixture.run([&]() -> asio::awaitable<void> {
                co_await fixture.sessions.execute(add_meter, big);
            });
        }
        SECTION("in a session without a transaction") {
            fixture.run([&]() -> asio::awaitable<void> {
                co_await fixture.sessions.session_scope(
                    [&](Session& session) -> asio::awaitable<void> {
                        co_await session.execute(add_meter, big);
                    });
            });
        }
        CHECK(fixture.amounts() == Names{"1", "5000000000"});
    }
    SECTION("other columns") {
        const auto look = [&]() -> asio::awaitable<void> {
            const auto found = co_await fixture.sessions.execute("SELECT * FROM entries");
            CHECK(found.columns() == fixture.database.query("SELECT * FROM entries")[0].size());
        };
        fixture.run(look);
        fixture.database.query("ALTER TABLE entries ADD note text");
        fixture.run(look);
    }
    SECTION("other columns, of the only one of a number of statements") {
        const auto look = [&]() -> asio::awaitable<void> {
            std::vector<txscope::Statement> only;
            only.emplace_back("SELECT * FROM entries");
            const auto found = co_await fixture.sessions.execute_all(std::move(only));
            REQUIRE(found.size() == 1);
            CHECK(found[0].columns() == fixture.database.query("SELECT * FROM entries")[0].size());
        };
        fixture.run(look);
        fixture.database.query("ALTER TABLE entries ADD note text");
        fixture.run(look);
    }
    SECTION("a type that was made anew") {
        const std::string mood = "SELECT $1::mood";
        fixture.database.query("CREATE TYPE mood AS ENUM ('sad', 'happy')");
        fixture.prepare(mood.c_str(), Mood::sad);
        fixture.database.query("DROP TYPE mood; CREATE TYPE mood AS ENUM ('sad', 'happy')");
        fixture.prepare(mood.c_str(), Mood::happy);
    }
    SECTION("a function whose argument has another type now") {
        const char* call = "SELECT half($1)";
        fixture.database.query("CREATE FUNCTION half(int) RETURNS int RETURN $1 / 2");
        fixture.prepare(call, 4);
        fixture.database.query(
            "DROP FUNCTION half; CREATE FUNCTION half(bigint) RETURNS bigint RETURN $1 / 2");
        fixture.prepare(call, big);
    }
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("what is not atomic, or not alone, is not asked again", "[stale_statements]") {
    Fixture fixture{"int", {.max_size = 1}, "CREATE PROCEDURE store(int) LANGUAGE sql AS ''"};
    SECTION("a procedure, which may commit what it does") {
        const char* call = "CALL store($1)";
        fixture.prepare(call, 1);
        fixture.database.query(
            "DROP PROCEDURE store;"
            "CREATE PROCEDURE store(bigint) LANGUAGE sql AS ''");
        const auto again = [&]() -> asio::awaitable<void> {
            co_await fixture.sessions.execute(call, big);
        };
        fixture.run([&] { return failure_of(again()); });
        fixture.run(again);
    }
    SECTION("a statement that others went ahead of") {
        fixture.prepare(add_meter, 1);
        fixture.alter("bigint");
        const auto two = [&](Session& session) -> asio::awaitable<void> {
            session.enqueue("INSERT INTO entries (name) VALUES ('ahead')");
            co_await session.execute(add_meter, big);
        };
        CHECK(is<pqxx::data_exception>(
            fixture.run([&] { return failure_of(fixture.sessions.session_scope(two)); })));
        CHECK(fixture.names().empty());
        fixture.run([&] { return fixture.sessions.session_scope(two); });
        CHECK(fixture.names() == Names{"ahead"});
    }
}

TEST_CASE("an error of the caller's own is told at once, and looked into once",
          "[stale_statements]") {
    Fixture fixture{"int"};
    fixture.prepare(add_meter, 1);
    const auto trips = [&] { return fixture.sessions.statistics().round_trips; };
    SECTION("in a scope") {
        int runs = 0;
        CHECK(is<pqxx::data_exception>(fixture.run([&] {
            return failure_of(fixture.retrying([&](Session& session) -> asio::awaitable<void> {
                ++runs;
                co_await session.execute(add_meter, big);
            }));
        })));
        CHECK(runs == 1);
    }
    SECTION("alone") {
        const auto before = trips();
        CHECK(is<pqxx::data_exception>(
            fixture.run([&] { return failure_of(fixture.sessions.execute(add_meter, big)); })));
        CHECK(trips() == before + 2);
    }
    SECTION("of a statement that cannot be prepared any more") {
        fixture.database.query("ALTER TABLE meters RENAME amount TO quantity");
        CHECK(is<pqxx::undefined_column>(
            fixture.run([&] { return failure_of(fixture.sessions.execute(add_meter, 2)); })));
        fixture.database.query("ALTER TABLE meters RENAME quantity TO amount");
    }
    fixture.prepare(add_meter, 2);
    CHECK(fixture.amounts() == Names{"1", "2"});
    CHECK(fixture.prepared() == 1);
}

TEST_CASE("a violated constraint costs no round trip, and its statement is prepared anew",
          "[stale_statements]") {
    Fixture fixture{"int"};
    const char* add = "INSERT INTO entries (name) VALUES ($1)";
    fixture.prepare(add, "one");
    const auto before = fixture.sessions.statistics().round_trips;
    CHECK(is<pqxx::unique_violation>(
        fixture.run([&] { return failure_of(fixture.sessions.execute(add, "one")); })));
    CHECK(fixture.sessions.statistics().round_trips == before + 1);
    // '007' was stored as '7' while the column's type was int, and must not be now.
    fixture.database.query(
        "ALTER TABLE meters ALTER amount TYPE text; TRUNCATE meters;"
        "ALTER TABLE meters ADD UNIQUE (amount)");
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.sessions.execute(add_meter, "7");
        co_await fixture.sessions.execute(add_meter, "007");
    });
    CHECK(fixture.amounts() == Names{"7", "007"});
}

TEST_CASE("three stale statements cost one further attempt, not three", "[stale_statements]") {
    Fixture fixture{"int"};
    const std::vector<std::string> statements{"SELECT *, 1 FROM meters", "SELECT *, 2 FROM meters",
                                              "SELECT *, 3 FROM meters"};
    int runs = 0;
    const auto look = [&]() -> asio::awaitable<void> {
        co_await fixture.retrying([&](Session& session) -> asio::awaitable<void> {
            ++runs;
            for (const std::string& sql : statements) co_await session.execute(sql);
        });
    };
    fixture.run(look);
    fixture.alter("text");
    runs = 0;
    fixture.run(look);
    CHECK(runs == 2);
}

TEST_CASE("what is stale on one connection is used on none any more", "[stale_statements]") {
    Fixture fixture{"int", {.max_size = 4}};
    const auto on_each = [&](auto body) -> asio::awaitable<void> {
        int begun = 0;
        int done = 0;
        for (int i = 0; i < 4; ++i)
            asio::co_spawn(
                fixture.io,
                fixture.sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
                    co_await session.execute("SELECT 1");
                    ++begun;
                    co_await support::eventually([&] { return begun == 4; });
                    co_await body(session);
                }),
                [&](std::exception_ptr error) {
                    CHECK_FALSE(error);
                    ++done;
                });
        co_await support::eventually([&] { return done == 4; });
    };
    fixture.run([&] {
        return on_each([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(add_meter, 1);
        });
    });
    fixture.alter("bigint");
    CHECK(fixture.insert_retrying(big) == 2);
    // Each of them in a transaction without a retry policy, at the same time.
    std::size_t begun = 0;
    const auto add = [&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            ++begun;
            co_await support::eventually([&] { return begun == 4; });
            co_await session.execute(add_meter, big);
        });
    };
    int done = 0;
    for (int i = 0; i < 4; ++i)
        asio::co_spawn(fixture.io, add(), [&](std::exception_ptr error) {
            CHECK(text_of(error) == "no failure");
            ++done;
        });
    support::run_until(fixture.io, [&] { return done == 4; });
    CHECK(fixture.amounts().size() == 4 + 1 + 4);
}

TEST_CASE("a value is not rounded to a type that the column had before", "[stale_statements]") {
    const double exact = 1234567.891;
    SECTION("for longer than the lifetime of a statement") {
        Fixture fixture{"real", {.max_size = 1, .statement_lifetime = 0ms}};
        fixture.prepare(add_meter, 1.5);
        fixture.alter("double precision");
        fixture.prepare(add_meter, exact);
        CHECK(fixture.amounts() == Names{"1.5", "1234567.891"});
    }
    SECTION("once the factory was told to forget its statements") {
        Fixture fixture{"real"};
        fixture.prepare(add_meter, 1.5);
        fixture.alter("double precision");
        fixture.sessions.forget_statements();
        fixture.prepare(add_meter, exact);
        CHECK(fixture.amounts() == Names{"1.5", "1234567.891"});
    }
}

TEST_CASE("statements that are forgotten are dropped on the server, too", "[stale_statements]") {
    Fixture fixture{"int"};
    for (int i = 0; i < 5; ++i) {
        fixture.prepare(add_meter, i);
        fixture.sessions.forget_statements();
    }
    fixture.prepare(add_meter, 5);
    CHECK(fixture.prepared() == 1);
}

TEST_CASE("a statement's lifetime is not negative", "[stale_statements]") {
    asio::io_context io;
    CHECK_THROWS_AS((txscope::AsyncSessionFactory{io, "", {.statement_lifetime = -1ms}}),
                    pqxx::argument_error);
}

/// Two tables of one name, the one that is found first with a column of less precision.
struct TwoTables : Fixture {
    TwoTables()
        : Fixture{"real",
                  {.max_size = 1},
                  "CREATE SCHEMA other; CREATE TABLE other.meters (amount double precision);"
                  "CREATE SCHEMA reader; CREATE TABLE reader.meters (amount double precision);"
                  "DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN END $$;"
                  "GRANT ALL ON ALL TABLES IN SCHEMA reader TO reader;"
                  "GRANT USAGE ON SCHEMA reader TO reader"} {
        prepare(add_meter, 1.5);
    }
    ~TwoTables() { database.query("DROP OWNED BY reader"); }

    Names of(const std::string& schema) const {
        return database.query("SELECT amount FROM " + schema + ".meters").column();
    }
};

TEST_CASE("a statement is prepared anew for the table that a search path or a role leads to",
          "[stale_statements]") {
    TwoTables fixture;
    const double exact = 1234567.891;
    const auto add_after = [&](std::string change) {
        return [&, change](Session& session) -> asio::awaitable<void> {
            co_await session.execute(change);
            co_await session.execute(add_meter, exact);
            co_await session.execute(add_meter, exact);
        };
    };
    const Names twice{"1234567.891", "1234567.891"};
    SECTION("of a session") {
        fixture.run(
            [&] { return fixture.sessions.session_scope(add_after("SET search_path = other")); });
        CHECK(fixture.of("other") == twice);
    }
    SECTION("of a transaction") {
        for (const char* change :
             {"SET LOCAL search_path = other", "SELECT set_config('search_path', 'other', true)"}) {
            fixture.run([&] { return fixture.scope(add_after(change)); });
            CHECK(fixture.of("other") == twice);
            fixture.database.query("TRUNCATE other.meters");
        }
    }
    SECTION("of a role") {
        for (const char* change :
             {"SET ROLE reader", "SET LOCAL ROLE reader", "SET SESSION AUTHORIZATION reader"}) {
            fixture.run([&] { return fixture.scope(add_after(change)); });
            CHECK(fixture.of("reader") == twice);
            fixture.database.query("TRUNCATE reader.meters");
        }
    }
    SECTION("and back, when the change is undone") {
        fixture.database.query("ALTER TABLE other.meters ALTER amount TYPE int");
        const auto refused = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SET search_path = other");
            co_await session.execute(add_meter, 1);
            throw support::Refusal{"undone"};
        };
        fixture.run([&] {
            return fixture.sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("BEGIN");
                co_await session.execute("SET search_path = other");
                co_await session.execute(add_meter, 1);
                co_await session.execute("ROLLBACK");
                co_await session.execute(add_meter, 2.5);
            });
        });
        fixture.run([&] { return failure_of(fixture.scope(refused)); });
        fixture.prepare(add_meter, 3.5);
        CHECK(fixture.of("other").empty());
        CHECK(fixture.of("public") == Names{"1.5", "2.5", "3.5"});
    }
    SECTION("of a temporary table") {
        fixture.run([&] {
            return fixture.scope([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute(
                    "CREATE TEMP TABLE meters (amount double precision) ON COMMIT DROP");
                co_await session.execute(add_meter, exact);
                const auto found = co_await session.execute("SELECT amount FROM meters");
                CHECK(found.one().get<double>(0) == exact);
            });
        });
    }
}

TEST_CASE("settings that move no names leave the statements as they are", "[stale_statements]") {
    Fixture fixture{"int"};
    const TransactionScope labelled{
        fixture.sessions,
        {.statement_timeout = 30s, .lock_timeout = 30s, .timeout = 30s, .label = "a label"}};
    for (int i = 0; i < 3; ++i)
        fixture.run([&] {
            return labelled([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT set_config('app.tenant', $1, true)", "one");
                co_await session.execute("SET LOCAL work_mem = '1MB'");
                co_await session.execute(add_meter, 1);
            });
        });
    CHECK(fixture.prepared("statement LIKE 'INSERT%' AND generic_plans + custom_plans = 3") == 1);
}

TEST_CASE("statements that a function drops are prepared anew, and named as before",
          "[stale_statements]") {
    Fixture fixture{"int", {.max_size = 1}, Fixture::forget_statements};
    const auto forget = [&]() -> asio::awaitable<void> {
        co_await fixture.sessions.execute("SELECT forget_statements()");
    };
    fixture.prepare(add_meter, 1);
    fixture.run(forget);
    SECTION("a lone one") { fixture.prepare(add_meter, 2); }
    SECTION("one in a scope, by another attempt") { CHECK(fixture.insert_retrying(2) == 2); }
    SECTION("when all that is left to do is to commit") {
        fixture.run([&]() -> asio::awaitable<void> {
            co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("INSERT INTO meters (amount) VALUES (2)");
                co_await session.execute("SELECT forget_statements(), 'anew'");
            });
        });
    }
    CHECK(fixture.amounts() == Names{"1", "2"});
    fixture.run(forget);
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT forget_statements()");
        }));
    });
    CHECK(is<pqxx::invalid_sql_statement_name>(failure));
    CHECK_THAT(text_of(failure), Catch::Matchers::ContainsSubstring("statement_cache_size"));
    fixture.prepare(add_meter, 3);
    CHECK(fixture.prepared("statement LIKE 'INSERT%'") == 1);
}

TEST_CASE("a name that somebody has taken costs a scope one further attempt",
          "[stale_statements]") {
    Fixture fixture{"int",
                    {.max_size = 1},
                    "CREATE FUNCTION take(name text) RETURNS void LANGUAGE plpgsql AS "
                    "$$BEGIN EXECUTE format('PREPARE %I AS SELECT 1', name); END$$"};
    fixture.run([&]() -> asio::awaitable<void> {
        const auto found = co_await fixture.sessions.execute(
            "SELECT max(name) FROM pg_prepared_statements WHERE name LIKE 'txscope%'");
        const auto name = found.one().get<std::string>(0);
        const auto number = name.rfind('_') + 1;  // the next one prepares `take`
        const auto soon =
            name.substr(0, number) + std::to_string(std::stoi(name.substr(number)) + 2);
        co_await fixture.sessions.execute("SELECT take($1)", soon);
    });
    CHECK(fixture.insert_retrying(1) == 2);
    CHECK(fixture.amounts() == Names{"1"});
}

TEST_CASE("an EXECUTE of the program's own that has no such statement is its own error",
          "[stale_statements]") {
    Fixture fixture{"int"};
    for (int i = 0; i < 2; ++i) {
        const auto failure =
            fixture.run([&] { return failure_of(fixture.sessions.execute("EXECUTE nothing")); });
        CHECK(is<pqxx::invalid_sql_statement_name>(failure));
        CHECK_THAT(text_of(failure), !Catch::Matchers::ContainsSubstring("statement_cache_size"));
    }
    CHECK(fixture.prepared() == 0);
}

TEST_CASE("a FETCH and an EXECUTE may have other columns each time", "[stale_statements]") {
    Fixture fixture{"int"};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            std::size_t columns = 0;
            for (const std::string query : {"SELECT 1", "SELECT 1, 2", "SELECT 1, 2, 3"}) {
                ++columns;
                co_await session.execute("DECLARE my_cursor CURSOR FOR " + query);
                const auto fetched = co_await session.execute("FETCH my_cursor");
                CHECK(fetched.columns() == columns);
                co_await session.execute("CLOSE my_cursor");
                co_await session.execute("PREPARE my_statement AS " + query);
                const auto executed = co_await session.execute("EXECUTE my_statement");
                CHECK(executed.columns() == columns);
                co_await session.execute("DEALLOCATE my_statement");
            }
        });
    });
}

TEST_CASE("labels and transaction control take no place among the prepared statements",
          "[stale_statements]") {
    Fixture fixture{"int", {.max_size = 1, .statement_cache_size = 3}};
    for (int i = 0; i < 10; ++i) {
        const std::string label = "transfer " + std::to_string(i);
        const TransactionScope labelled{
            fixture.sessions,
            {.isolation = static_cast<txscope::IsolationLevel>(i % 4), .label = label}};
        fixture.run([&] {
            return labelled([&]() -> asio::awaitable<void> {
                co_await fixture.nested([](Session& session) -> asio::awaitable<void> {
                    co_await session.execute(add_meter, 1);
                });
                auto session = co_await txscope::current_session(fixture.sessions);
                co_await session.execute(add_meter, 2);
            });
        });
    }
    CHECK(fixture.prepared("statement LIKE 'INSERT%' AND generic_plans + custom_plans = 20") == 1);
    CHECK(fixture.prepared("statement ~ '(BEGIN|COMMIT|SAVEPOINT|ROLLBACK)'") == 0);
}

}  // namespace stale_statements
