#include "support/catch.hpp"
#include "support/counted_calls.hpp"
#include "support/database.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

TEST_CASE("a repository's stream takes the memory of a batch, in a scope and without",
          "[cost_of_a_transaction]") {
    using support::Job;
    const support::Database database{
        support::jobs_table +
        "INSERT INTO jobs (name) SELECT 'job ' || i FROM generate_series(1, 200000) i"};
    asio::io_context io{1};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const support::Jobs jobs{sessions};
    support::run(io, sessions.warm_up(1));
    std::int64_t peak = 0;
    const std::int64_t before = support::counts().live_bytes;
    const auto look = [&](const Job&) {
        peak = std::max(peak, support::counts().live_bytes - before);
    };
    const auto stream = [&] {
        return jobs.stream(txscope::field<&Job::state> == "new",
                           txscope::ascending(txscope::field<&Job::id>), look);
    };
    CHECK(support::run(io, stream()) == 200'000);
    CHECK(support::run(io, txscope::TransactionScope{sessions}(stream)) == 200'000);
    CAPTURE(peak);
    CHECK(peak < 1'000'000);  // of about 30 MB
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

namespace {

/// The text of the last statement.
class LastStatement : public txscope::Observer {
public:
    void notice(const txscope::ScopeEvent& event) noexcept override {
        if (event.kind == txscope::ScopeEvent::statement) text = event.sql;
    }
    std::string text;
};

struct Summary {
    std::string name{};
    int tries{};
};
BOOST_DESCRIBE_STRUCT(Summary, (), (name, tries))

}  // namespace

TEST_CASE("a repository's call allocates at most once more than the same statement by hand",
          "[cost_of_a_transaction]") {
    using support::Job;
    using support::Jobs;
    using txscope::ascending;
    using txscope::columns;
    using txscope::field;
    using txscope::Page;
    using txscope::Result;
    constexpr auto name = field<&Job::name>;
    constexpr auto state = field<&Job::state>;
    constexpr auto tries = field<&Job::tries>;
    const support::Database database{support::jobs_table +
                                     "INSERT INTO jobs (name) VALUES ('one'), ('two')"};
    LastStatement last;
    asio::io_context io{1};
    const txscope::AsyncSessionFactory observed{io, database.dsn(), {.observer = &last}};
    const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.max_size = 1}};
    const txscope::TransactionScope scope{sessions};

    // `call(jobs)` against its statement, with these values, whose result `read` reads.
    const auto check = [&](std::string_view what, auto call, auto read, const auto&... values) {
        const auto observe = [&](Session& session) -> asio::awaitable<void> {
            static_cast<void>(co_await call(Jobs{observed}));
            session.set_rollback_only();
        };
        support::run(io, txscope::TransactionScope{observed}(observe));
        const std::string sql = last.text;
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
        const Jobs jobs{sessions};
        const std::int64_t by_repository = allocations(
            [&](Session&) -> asio::awaitable<void> { static_cast<void>(co_await call(jobs)); });
        const std::int64_t by_hand = allocations([&](Session& session) -> asio::awaitable<void> {
            const Result result = co_await session.execute(sql, values...);
            static_cast<void>(read(result));
        });
        INFO(what << ": " << by_repository << ", by hand " << by_hand << ": " << sql);
        CHECK(by_repository <= by_hand + 100);
    };
    const auto row = [](const Result& result) { return result.one().as<Job>(); };
    const auto rows = [](const Result& result) { return result.as<Job>(); };
    const auto number = [](const Result& result) { return result.one().get<std::int64_t>(0); };
    const auto affected = [](const Result& result) { return result.affected_rows(); };
    const std::nullptr_t null{};
    Job one;
    one.id = 1;
    one.name = "one";
    Job other = one;
    other.tries = 7;
    const std::vector<Job> two{one, other};
    const std::vector<std::int64_t> keys{1, 2};
    txscope::Changes<Job> changes;
    changes.set(tries = 2);
    txscope::Criteria<Job> criteria = state == "new";

    check("get", [](const Jobs& jobs) { return jobs.get(1); }, row, 1);
    check(
        "get, by conditions", [&](const Jobs& jobs) { return jobs.get(name == "one"); }, row, "one",
        2, 0);
    check("find", [](const Jobs& jobs) { return jobs.find(1); }, row, 1);
    check(
        "find, locked", [](const Jobs& jobs) { return jobs.find(1, txscope::for_update); }, row, 1);
    check(
        "exists", [](const Jobs& jobs) { return jobs.exists(1); },
        [](const Result& result) { return result.one().get<bool>(0); }, 1);
    check(
        "find_all",
        [&](const Jobs& jobs) { return jobs.find_all(state == "new", ascending(name)); }, rows,
        "new");
    check(
        "find_all, of criteria", [&](const Jobs& jobs) { return jobs.find_all(criteria); }, rows,
        "new");
    check("find_all, by keys", [&](const Jobs& jobs) { return jobs.find_all(keys); }, rows, keys);
    check(
        "find_page",
        [&](const Jobs& jobs) { return jobs.find_page(ascending(name), Page{.limit = 5}); }, rows,
        6, 0);
    check(
        "select", [&](const Jobs& jobs) { return jobs.select<Summary>(state == "new"); },
        [](const Result& result) { return result.as<Summary>(); }, "new");
    check("count", [&](const Jobs& jobs) { return jobs.count(state == "new"); }, number, "new");
    check("sum", [&](const Jobs& jobs) { return jobs.sum(tries); }, number);
    check(
        "max", [&](const Jobs& jobs) { return jobs.max(name); },
        [](const Result& result) { return result.one().get<std::string>(0); });
    check("update", [&](const Jobs& jobs) { return jobs.update(1, tries = 2); }, row, 2, 1);
    check(
        "update, by changes", [&](const Jobs& jobs) { return jobs.update(1, changes); }, row, 2, 1);
    check(
        "update, by a model", [&](const Jobs& jobs) { return jobs.update(other); }, row, "one",
        "new", null, 7, 1);
    check(
        "update, of all", [&](const Jobs& jobs) { return jobs.update(state == "new", tries = 3); },
        affected, 3, "new");
    check("remove", [](const Jobs& jobs) { return jobs.remove(7); }, affected, 7);
    check(
        "remove, of all", [&](const Jobs& jobs) { return jobs.remove(name == "none"); }, affected,
        "none");
    check(
        "save", [&](const Jobs& jobs) { return jobs.save(one, columns<&Job::name>); }, row, "one",
        "new", null, 0);
    check(
        "create_unless_exists",
        [&](const Jobs& jobs) { return jobs.create_unless_exists(one, columns<&Job::name>); },
        affected, "one", "new", null, 0);
    database.query("ALTER TABLE jobs DROP CONSTRAINT one_job_a_name");
    check(
        "create, by a model", [&](const Jobs& jobs) { return jobs.create(one); }, row, "one", "new",
        null, 0);
    check(
        "create, by fields", [&](const Jobs& jobs) { return jobs.create(name = "one"); }, row,
        "one");
    check(
        "create_all", [&](const Jobs& jobs) { return jobs.create_all(two); }, rows, "{one,one}",
        "{new,new}", "{NULL,NULL}", "{0,7}");
}
