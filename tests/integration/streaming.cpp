#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/pgbouncer.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/transaction/stream.hpp>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/describe/class.hpp>
#include <pqxx/except>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Rows one after another, of results that would not fit into memory.

namespace streaming {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using support::failure_of;
using support::is;
using support::ScopeFixture;
using txscope::Propagation;
using txscope::Row;
using txscope::Session;
using txscope::TransactionScope;

struct Entry {
    std::int64_t id{};
    std::string name{};
};
BOOST_DESCRIBE_STRUCT(Entry, (), (id, name))

/// A sequence counts, whatever becomes of the transaction, how many rows the server has made.
struct Fixture : ScopeFixture {
    explicit Fixture(txscope::PoolOptions options = {})
        : ScopeFixture{options, "CREATE SEQUENCE made;" + std::string{forget_statements}} {}

    std::int64_t made() const {
        return database.query("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM made")
            .number();
    }
};

const char* const million = "SELECT nextval('made') FROM generate_series(1, 1000000)";
const char* const numbers = "SELECT i FROM generate_series(1, $1) i";

TEST_CASE_METHOD(Fixture, "rows come one after another, in the order of the result",
                 "[streaming]") {
    std::vector<std::int64_t> seen;
    const auto rows = run(scope([&](Session& session) -> asio::awaitable<std::uint64_t> {
        co_return co_await session.stream(
            numbers, 10'000, [&](const Row& row) { seen.push_back(row.get<std::int64_t>(0)); });
    }));
    CHECK(rows == 10'000);
    REQUIRE(seen.size() == 10'000);
    for (std::size_t i = 0; i < seen.size(); ++i)
        if (seen[i] != static_cast<std::int64_t>(i) + 1) FAIL("row " << i);
}

TEST_CASE_METHOD(Fixture, "rows come as columns, as structs, and to coroutines", "[streaming]") {
    database.query("INSERT INTO entries (name) SELECT 'n' || i FROM generate_series(1, 200) i");
    const auto all = "SELECT id, name FROM entries WHERE id <= $1 AND name LIKE $2 ORDER BY id";
    std::string columns;
    std::string structs;
    std::vector<Row> kept;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream<std::int64_t, std::string>(
            all, 150, "n%", [&](std::int64_t id, const std::string& name) {
                columns += std::to_string(id) + name;
            });
        co_await session.stream<Entry>(all, 150, "n%", [&](Entry entry) -> asio::awaitable<void> {
            const auto same =
                co_await session.execute("SELECT name FROM entries WHERE id = $1", entry.id);
            structs += std::to_string(entry.id) + same.one().get<std::string>(0);
        });
        co_await session.stream<std::optional<int>>(
            "SELECT NULL", [](std::optional<int> none) { CHECK_FALSE(none); });
        co_await session.stream(all, 150, "n%", [&](const Row& row) { kept.push_back(row); });
        const auto wrong = co_await failure_of(
            session.stream<int>("SELECT 'a'", [](int) { FAIL("there is no such row"); }));
        CHECK(is<txscope::ColumnError>(wrong));
    }));
    CHECK(columns.ends_with("149n149150n150"));
    CHECK(structs == columns);
    REQUIRE(kept.size() == 150);  // though their batches are gone
    CHECK(kept[77].get<std::string>("name") == "n78");
}

TEST_CASE_METHOD(Fixture, "the server makes no more rows than the body is given, but for a batch",
                 "[streaming]") {
    struct Enough {};
    std::int64_t given = 0;
    auto work = scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream(million, [&](const Row&) {
            const std::int64_t now = ++given;
            if (now == 1 || now == 64 || now == 65 || now == 50'000) {
                // The body stands still here, and the server with it.
                const std::int64_t ahead = made() - now;
                CHECK(ahead >= 0);
                CHECK(ahead < 256);
                CHECK(database
                          .query("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in "
                                 "transaction' AND query LIKE '%nextval%' AND pid <> "
                                 "pg_backend_pid()")
                          .number() == 1);
            }
            if (now == 50'000) throw Enough{};
        });
    });
    CHECK_THROWS_AS(run(std::move(work)), Enough);
    CHECK(made() < 50'000 + 256);
}

TEST_CASE_METHOD(Fixture, "rows are of any width: a batch is bounded by its bytes, too",
                 "[streaming]") {
    std::int64_t given = 0;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream(
            "SELECT nextval('made'), repeat('x', 100000) "
            "FROM generate_series(1, 300)",
            [&](const Row& row) {
                CHECK(row.get<std::string>(1).size() == 100'000);
                // 64 at first, when nothing is known of them; then 256 KB.
                if (++given > 64) CHECK(made() - given < 3);
            });
    }));
    CHECK(given == 300);
}

TEST_CASE_METHOD(Fixture, "a batch is not of more rows than fit into memory when these become wide",
                 "[streaming]") {
    const std::int64_t narrow = 100'000;
    std::int64_t given = 0;
    std::int64_t bytes = 0;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream(
            "SELECT nextval('made'), repeat('x', CASE WHEN i > $1 THEN 1000000 ELSE 1 END) "
            "FROM generate_series(1, $1 + 300) i",
            narrow, [&](const Row& row) {
                bytes += static_cast<std::int64_t>(row.text(1)->size());
                ++given;
                if (given == narrow || given == narrow + 1) CHECK(made() - given < 256);
                if (given > narrow + 256) CHECK(made() - given < 8);  // they are known to be wide
            });
    }));
    CHECK(given == narrow + 300);
    CHECK(bytes == narrow + 300 * 1'000'000);
}

TEST_CASE_METHOD(Fixture, "a statement that returns nothing is executed, and what it writes stays",
                 "[streaming]") {
    const auto none = [](const Row&) { FAIL("there is no row"); };
    const auto without_rows = {"SELECT 1 WHERE false", "CREATE TABLE made_by_stream (i int)",
                               "INSERT INTO entries (name) VALUES ('a')"};
    std::int64_t returned = 0;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        for (const char* const sql : without_rows) {
            const auto rows = co_await session.stream(sql, none);
            CHECK(rows == 0);
        }
        co_await session.stream(
            "INSERT INTO entries (name) SELECT 'n' || i FROM generate_series(1, $1) i RETURNING id",
            1000, [&](const Row&) { ++returned; });
        const auto settings = co_await session.stream("SHOW ALL", [](const Row&) {});
        CHECK(settings > 100);
    }));
    CHECK(returned == 1000);
    CHECK(database.count("entries") == 1001);
    CHECK(database.count("made_by_stream") == 0);
}

TEST_CASE_METHOD(Fixture, "the body may stream, write, and change what it streams, in between",
                 "[streaming]") {
    database.query("INSERT INTO entries (name) SELECT 'n' || i FROM generate_series(1, 100) i");
    std::int64_t inner = 0;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream<std::int64_t>(
            "SELECT id FROM entries", [&](std::int64_t id) -> asio::awaitable<void> {
                session.enqueue("UPDATE entries SET name = 'was ' || name WHERE id = $1", id);
                co_await session.stream(numbers, 70, [&](const Row&) { ++inner; });
                co_await nested([&]() -> asio::awaitable<void> {
                    co_await insert("of " + std::to_string(id));
                });
            });
    }));
    CHECK(inner == 7000);
    CHECK(database.query("SELECT count(*) FROM entries WHERE name LIKE 'was %'").number() == 100);
    CHECK(database.count("entries") == 200);
}

TEST_CASE_METHOD(Fixture, "a stream that is left takes nothing with it: its portal is closed",
                 "[streaming]") {
    struct Enough {};
    run(scope([&](Session& session) -> asio::awaitable<void> {
        const auto leave = [](const Row& row) {
            if (row.get<int>(0) == 70) throw Enough{};
        };
        const auto portals = [&]() -> asio::awaitable<std::int64_t> {
            const auto found =
                co_await session.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''");
            co_return found.one().get<std::int64_t>(0);
        };
        co_await session.execute("CREATE TABLE numbers AS SELECT i FROM generate_series(1, 500) i");
        for (int i = 0; i < 3; ++i) {
            const auto left = co_await failure_of(session.stream("SELECT i FROM numbers", leave));
            CHECK(is<Enough>(left));
            const auto open = co_await portals();
            CHECK(open == 0);
        }
        co_await session.stream("SELECT i FROM numbers", [](const Row&) {});
        co_await session.execute("DROP TABLE numbers");  // which nobody reads any more
        co_await insert("goes on");
    }));
    CHECK(names() == Names{"goes on"});
}

TEST_CASE_METHOD(Fixture, "an error in the middle of a stream is typed, and names its statement",
                 "[streaming]") {
    std::int64_t given = 0;
    auto work = scope([&](Session& session) -> asio::awaitable<void> {
        co_await insert("undone");
        co_await session.stream("SELECT $1 / (700 - i) FROM generate_series(1, 1000) i", 4711,
                                [&](const Row&) { ++given; });
    });
    try {
        run(std::move(work));
        FAIL("there was no error");
    } catch (const pqxx::sql_error& error) {
        CHECK(error.sqlstate() == "22012");
        const std::string text = error.what();
        CHECK(text.find("SELECT $1 / (700 - i)") != std::string::npos);
        CHECK(text.find("4711") == std::string::npos);
    }
    CHECK(given >= 64);
    CHECK(given < 700);
    CHECK(names().empty());
}

TEST_CASE_METHOD(Fixture, "an error of a stream is one of its savepoint", "[streaming]") {
    run(scope([&](Session& session) -> asio::awaitable<void> {
        std::int64_t given = 0;
        co_await session.stream(numbers, 500, [&](const Row&) -> asio::awaitable<void> {
            if (++given % 100 != 0) co_return;
            const auto failed = co_await failure_of(nested([&]() -> asio::awaitable<void> {
                co_await session.stream("SELECT 1 / (100 - i) FROM generate_series(1, 200) i",
                                        [](const Row&) {});
            }));
            CHECK(is<pqxx::sql_error>(failed));
        });
        CHECK(given == 500);
        co_await insert("kept");
    }));
    CHECK(names() == Names{"kept"});
}

TEST_CASE_METHOD(Fixture,
                 "a stream's transaction is over in time, and then its connection is lent again",
                 "[streaming]") {
    const TransactionScope brief{sessions, {.timeout = 50ms}};
    auto late = brief([&](Session& session) -> asio::awaitable<void> {
        co_await session.stream("SELECT pg_sleep(0.005) FROM generate_series(1, 1000000)",
                                [](const Row&) {});
    });
    CHECK_THROWS_AS(run(std::move(late)), txscope::TransactionTimeout);
    run(insert_alone("after"));
    CHECK(names() == Names{"after"});
    CHECK(sessions.statistics().opened == 1);
}

TEST_CASE_METHOD(Fixture, "a stream is cancelled, in the server and in its body", "[streaming]") {
    REQUIRE(warmed_up());  // not the wait for a connection is to be cancelled
    const auto loser = [&](Session& session, const char* sql) -> asio::awaitable<void> {
        co_await session.stream(sql, [](const Row&) {});
    };
    const auto sql = GENERATE("SELECT pg_sleep(0.005) FROM generate_series(1, 1000000)",
                              "SELECT i FROM generate_series(1, 100000000) i");
    auto work = scope([&](Session& session) -> asio::awaitable<void> {
        asio::steady_timer timer{co_await asio::this_coro::executor, 20ms};
        co_await (loser(session, sql) || timer.async_wait(asio::use_awaitable));
    });
    CHECK(support::failure_of([&] { run(std::move(work)); }) != nullptr);
    run(insert_alone("after"));
    CHECK(names() == Names{"after"});
}

TEST_CASE_METHOD(Fixture, "what destroys a stream loses nothing", "[streaming]") {
    REQUIRE(warmed_up());
    auto own = std::make_unique<asio::io_context>();  // of the borrower, not of the pool
    std::int64_t given = 0;
    const auto stop_in_the_middle = [&](Session& session) -> asio::awaitable<void> {
        co_await session.stream(million, [&](const Row&) -> asio::awaitable<void> {
            if (++given == 70) own->stop();
            co_await session.execute("SELECT 1");
        });
    };
    asio::co_spawn(*own, scope(stop_in_the_middle),
                   [](std::exception_ptr) { FAIL("it has not ended"); });
    own->run();
    CHECK(given == 70);
    own.reset();
    support::run_until(io, [&] { return in_transaction() == 0; });
}

TEST_CASE_METHOD(Fixture, "streams of parallel branches take turns", "[streaming]") {
    const int threads = GENERATE(1, 4);
    std::int64_t first = 0;
    std::int64_t second = 0;
    bool in_order = true;
    const auto work = [&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            const auto count = [&](std::int64_t& counter) -> asio::awaitable<void> {
                co_await session.stream(numbers, 20'000, [&](const Row& row) {
                    in_order = row.get<std::int64_t>(0) == ++counter && in_order;
                });
            };
            co_await (count(first) && count(second) && insert("in between"));
        });
    };
    run(work(), {.threads = threads});
    CHECK(in_order);
    CHECK(first == 20'000);
    CHECK(second == 20'000);
    CHECK(names() == Names{"in between"});
}

TEST_CASE_METHOD(Fixture,
                 "without a transaction a stream has one of its own, which its body shares",
                 "[streaming]") {
    std::int64_t given = 0;
    const auto rows = run(txscope::stream<std::int64_t>(
        sessions, numbers, 100, [&](std::int64_t i) -> asio::awaitable<void> {
            ++given;
            co_await insert(std::to_string(i));
        }));
    CHECK(rows == 100);
    CHECK(database.count("entries") == 100);
    CHECK_THROWS_AS(run(txscope::stream(sessions, numbers, 100,
                                        [&](const Row&) -> asio::awaitable<void> {
                                            co_await insert("undone");
                                            throw support::Refusal{"no"};
                                        })),
                    support::Refusal);
    CHECK(database.count("entries") == 100);
    run(scope([&]() -> asio::awaitable<void> {
        co_await insert("seen by it");
        const auto seen = co_await txscope::stream(
            sessions, "SELECT 1 FROM entries WHERE name = $1", "seen by it", [](const Row&) {});
        CHECK(seen == 1);
    }));
    run(sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
        const auto refused = co_await failure_of(session.stream(numbers, 1, [](const Row&) {}));
        CHECK(is<pqxx::usage_error>(refused));
        co_await txscope::stream(sessions, numbers, 100, [](const Row&) {});
    }));
}

TEST_CASE_METHOD(Fixture, "what may not be executed may not be streamed", "[streaming]") {
    const auto none = [](const Row&) {};
    const auto refused_ones = {"COMMIT", "COPY entries TO STDOUT"};
    run(scope([&](Session& session) -> asio::awaitable<void> {
        for (const char* const sql : refused_ones) {
            const auto refused = co_await failure_of(session.stream(sql, none));
            CHECK(is<pqxx::usage_error>(refused));
        }
        co_await insert("kept");
    }));
    CHECK(names() == Names{"kept"});
    std::optional<Session> ended;
    run(scope([&](Session& session) -> asio::awaitable<void> {
        ended = session;
        co_return;
    }));
    CHECK_THROWS_AS(run(ended->stream(numbers, 1, none)), txscope::ScopeEnded);
}

/// The round trips of a stream, through a proxy that counts.
TEST_CASE("a stream takes a round trip for each batch, and none to begin or to end",
          "[streaming]") {
    const bool pipelining = GENERATE(true, false);
    const support::Database database;
    support::FaultProxy proxy{support::server()};
    asio::io_context io{1};
    txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(database.name()),
        support::observed({.max_size = 1, .pipelining = pipelining})};
    support::run(io, sessions.warm_up(1));
    const TransactionScope scope{sessions};
    const auto trips = [&](std::int64_t rows) {
        proxy.reset_counts();
        support::run(io, scope([&](Session& session) -> asio::awaitable<void> {
                         co_await session.stream(numbers, rows, [](const Row&) {});
                     }));
        return proxy.round_trips();
    };
    const std::int64_t begin = pipelining ? 0 : 1;  // a round trip of its own
    CHECK(trips(0) == begin + 2);
    CHECK(trips(63) == begin + 2);
    CHECK(trips(64) == begin + 3);  // whether there are more shows when these are asked for
    CHECK(trips(64 + 255) == begin + 3);
    CHECK(trips(64 + 11 * 256 - 1) == begin + 13);
}

TEST_CASE("streams go through a pooler that lends by transactions", "[streaming]") {
    const support::Database database{"CREATE TABLE entries (name text)"};
    support::PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 2}};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, bouncer.dsn(), {.max_size = 4}};
    std::int64_t given = 0;
    const auto one = [&]() -> asio::awaitable<void> {
        co_await txscope::stream<std::int64_t>(
            sessions, numbers, 5000, [&](std::int64_t i) -> asio::awaitable<void> {
                ++given;
                if (i % 100 == 0) {
                    auto session = co_await txscope::current_session(sessions);
                    co_await session.execute("INSERT INTO entries VALUES ($1)", i);
                }
            });
    };
    support::run(io, [&]() -> asio::awaitable<void> { co_await (one() && one() && one()); });
    CHECK(given == 15'000);
    CHECK(database.count("entries") == 150);
}

}  // namespace streaming
