#include "support/catch.hpp"
#include "support/counted_calls.hpp"
#include "support/database.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::Counts;
using txscope::Session;

namespace {

// A transaction's, on the average, however many statements it enqueues.
constexpr std::int64_t known_allocations = 9;

// A scope's whose first statement waits for a connection: its coroutines, the body's, and what
// co_spawn() makes for it. Compilers lay frames out differently, so there is some room.
constexpr std::int64_t known_bytes_of_a_waiter = 4000;

/// What a hundred transactions take, one after another on a connection that has seen such ones.
template <typename Body>
Counts cost_of_a_hundred(Body body) {
    const support::Database database{
        "CREATE TABLE projects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);"
        "CREATE TABLE workflows (project_id bigint, name text)"};
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};
    Counts spent;
    support::run(io, [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 20; ++i) co_await scope(body);
        const Counts before = support::counts();
        for (int i = 0; i < 100; ++i) co_await scope(body);
        spent = support::counts() - before;
    });
    return spent;
}

asio::awaitable<void> insert(Session& session) {
    const txscope::Result created = co_await session.execute(
        "INSERT INTO projects (name) VALUES ($1) RETURNING id, name", "a project");
    static_cast<void>(created.one().get<std::int64_t>("id"));
}

asio::awaitable<void> insert_project(Session& session) {
    const txscope::Result created = co_await session.execute(
        "INSERT INTO projects (name) VALUES ($1) RETURNING id, name", "a project");
    const auto id = created.one().get<std::int64_t>("id");
    for (int i = 0; i < 10; ++i)
        session.enqueue("INSERT INTO workflows VALUES ($1, $2)", id, "collect requirements");
}

}  // namespace

TEST_CASE("a transaction allocates no more than it is known to", "[cost_of_a_transaction]") {
    CHECK(cost_of_a_hundred(insert).allocations <= 100 * known_allocations);
    CHECK(cost_of_a_hundred(insert_project).allocations <= 100 * known_allocations);
}

TEST_CASE("a million rows take the memory of a batch of them", "[cost_of_a_transaction]") {
    const support::Database database;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};
    support::run(io, sessions.warm_up(1));
    std::int64_t peak = 0;
    std::int64_t rows = 0;
    const std::int64_t before = support::counts().live_bytes;
    support::run(io, scope([&](Session& session) -> asio::awaitable<void> {
                     co_await session.stream<std::int64_t, std::string>(
                         "SELECT i, 'row ' || i FROM (SELECT generate_series(1, $1) i) s",
                         1'000'000, [&](std::int64_t, const std::string&) {
                             ++rows;
                             peak = std::max(peak, support::counts().live_bytes - before);
                         });
                 }));
    CHECK(rows == 1'000'000);
    CAPTURE(peak);
    CHECK(peak < 1'000'000);  // of about 30 MB
    CHECK(support::counts().live_bytes - before < 1'000'000);
}

TEST_CASE("a scope that waits for a connection takes no more memory than it is known to",
          "[cost_of_a_transaction]") {
    constexpr std::size_t count = 100;
    const support::Database database;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};
    const auto select = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT $1::text", "a project");
    };
    std::int64_t taken = 0;
    support::run(io, [&]() -> asio::awaitable<void> {
        auto held = std::make_optional(co_await sessions.pool()->acquire());
        std::size_t ended = 0;
        const Counts before = support::counts();
        for (std::size_t i = 0; i < count; ++i)
            asio::co_spawn(io, scope(select), [&](std::exception_ptr) { ++ended; });
        while (sessions.statistics().waiting < count) co_await asio::post(asio::use_awaitable);
        taken = (support::counts() - before).live_bytes;
        held.reset();
        while (ended < count) co_await asio::post(asio::use_awaitable);
    });
    CHECK(taken <= std::int64_t{count} * known_bytes_of_a_waiter);
}

TEST_CASE("a round trip is a send, a receive and a wait: the system is asked for nothing else",
          "[cost_of_a_transaction]") {
    const Counts spent = cost_of_a_hundred(insert);
    CHECK(spent.sends == 200);
    CHECK(spent.receives - spent.in_vain == 200);
    CHECK(spent.epoll_ctls == 0);
    CHECK(spent.others == 0);
}

TEST_CASE("a statement is sent at once, unless other branches may have something to add",
          "[cost_of_a_transaction]") {
    const support::Database database;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};
    support::run(io, scope([&](Session& session) -> asio::awaitable<void> {
                     std::int64_t sent = 0;
                     const auto look_behind_this_turn = [&] {
                         asio::post(io, [&, before = support::counts().sends] {
                             sent = support::counts().sends - before;
                         });
                     };
                     co_await session.execute("SELECT 0");  // has a connection opened
                     look_behind_this_turn();
                     co_await session.execute("SELECT 1");
                     CHECK(sent == 1);
                     look_behind_this_turn();
                     co_await (session.execute("SELECT 2") && session.execute("SELECT 3"));
                     CHECK(sent == 0);
                 }));
}

TEST_CASE("a repository's call allocates at most once more than the same statement by hand",
          "[cost_of_a_transaction]") {
    using support::Job;
    using txscope::ascending;
    using txscope::field;
    constexpr auto name = field<&Job::name>;
    constexpr auto state = field<&Job::state>;
    constexpr auto tries = field<&Job::tries>;
    const std::string columns = "\"id\", \"name\", \"state\", \"note\", \"tries\"";
    const std::string select = "SELECT " + columns + " FROM \"jobs\" WHERE ";
    const std::string returning = " RETURNING " + columns;
    const support::Database database{support::jobs_table +
                                     "INSERT INTO jobs (name) VALUES ('one')"};
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};
    const support::Jobs jobs{sessions};

    const auto check = [&](std::string_view call, auto by_hand, auto by_repository) {
        const auto allocations = [&](auto work) {
            std::int64_t spent = 0;
            support::run(io, scope([&](Session& session) -> asio::awaitable<void> {
                             for (int i = 0; i < 20; ++i) co_await work(session);
                             const Counts before = support::counts();
                             for (int i = 0; i < 100; ++i) co_await work(session);
                             spent = (support::counts() - before).allocations;
                             session.set_rollback_only();
                         }));
            return spent;
        };
        INFO(call);
        CHECK(allocations(by_repository) <= allocations(by_hand) + 100);
    };
    const auto row = [](txscope::Result result) { return result.one().as<Job>(); };
    const auto number = [](txscope::Result result) { return result.one().get<std::int64_t>(0); };
    const auto nothing = [](const txscope::Result&) {};
    const auto by_hand = [](auto read, std::string sql, auto... values) {
        return [=](Session& session) -> asio::awaitable<void> {
            const txscope::Result result = co_await session.execute(sql, values...);
            read(result);
        };
    };
    const auto by_repository = [](auto call) {
        return [=](Session&) -> asio::awaitable<void> { static_cast<void>(co_await call()); };
    };
    check("get", by_hand(row, select + "\"id\" = $1", 1),
          by_repository([&] { return jobs.get(1); }));
    check("find", by_hand(row, select + "\"name\" = $1 LIMIT $2 OFFSET $3", "one", 2, 0),
          by_repository([&] { return jobs.find(name == "one"); }));
    check("count", by_hand(number, "SELECT count(*) FROM \"jobs\" WHERE \"state\" = $1", "new"),
          by_repository([&] { return jobs.count(state == "new"); }));
    check("update",
          by_hand(row, "UPDATE \"jobs\" SET \"tries\" = $1 WHERE \"id\" = $2" + returning, 2, 1),
          by_repository([&] { return jobs.update(1, tries = 2); }));
    check("remove", by_hand(nothing, "DELETE FROM \"jobs\" WHERE \"id\" = $1", 7),
          by_repository([&] { return jobs.remove(7); }));
    check("find_all",
          by_hand([](const txscope::Result& result) { return result.as<Job>(); },
                  select + "\"state\" = $1 ORDER BY \"jobs\".\"name\"", "new"),
          by_repository([&] { return jobs.find_all(state == "new", ascending(name)); }));
}
