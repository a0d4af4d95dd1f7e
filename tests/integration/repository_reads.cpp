#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/orderings.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <list>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace repository_reads {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::Job;
using support::Jobs;
using txscope::after;
using txscope::ascending;
using txscope::descending;
using txscope::field;
using txscope::for_no_key_update;
using txscope::for_update;
using txscope::Page;
using txscope::sql;

const std::string schema = support::jobs_table + R"(
    INSERT INTO jobs (name, state, note, tries) VALUES
        ('build', 'done', 'x', 1), ('test', 'new', NULL, 2), ('ship', 'new', 'x', 2),
        ('clean', 'done', NULL, 0), ('sign', 'new', 'y', 1);
    CREATE SCHEMA "Shop";
    CREATE TABLE "Shop"."Steps" (job bigint, "Number" smallint, of_step bigint, "Text" text,
                                 PRIMARY KEY (job, "Number"));
    INSERT INTO "Shop"."Steps" VALUES
        (1, 1, NULL, 'fetch'), (1, 2, 1, 'compile'), (1, 3, 2, 'link'), (3, 1, NULL, 'pack'),
        (3, 2, 1, 'send');
    CREATE TABLE swapped (id bigint PRIMARY KEY, low integer, high integer);
    INSERT INTO swapped VALUES (1, 1, 9), (2, 2, 8), (3, 3, 7);
    CREATE TABLE measures (id bigint PRIMARY KEY, value double precision NOT NULL);
    INSERT INTO measures VALUES (1, 1), (2, 'NaN'), (3, 'infinity'), (4, 'NaN'), (5, -1))";

/// A step of a job: a key of two columns, names that need quotes.
struct Step {
    std::int64_t job{};
    std::int16_t number{};
    std::optional<std::int64_t> of_step{};
    std::string text{};
    bool operator==(const Step&) const = default;
};
BOOST_DESCRIBE_STRUCT(Step, (), (job, number, of_step, text))

class Steps : public txscope::BaseRepository<Steps, Step> {
public:
    static constexpr std::string_view table = "Shop.Steps";
    static constexpr auto key = txscope::columns<&Step::job, &Step::number>;
    static constexpr std::string_view column(std::string_view member) {
        if (member == "number") return "Number";
        return member == "text" ? "Text" : member;
    }
    using BaseRepository::BaseRepository;
};

/// Members that are called like each other's columns.
struct Swapped {
    std::int64_t id{};
    int low{};
    int high{};
};
BOOST_DESCRIBE_STRUCT(Swapped, (), (id, low, high))

class SwappedTable : public txscope::BaseRepository<SwappedTable, Swapped> {
public:
    static constexpr std::string_view table = "swapped";
    static constexpr std::string_view column(std::string_view member) {
        return member == "low" ? "high" : member == "high" ? "low" : member;
    }
    using BaseRepository::BaseRepository;
};

struct Measure {
    std::int64_t id{};
    double value{};
};
BOOST_DESCRIBE_STRUCT(Measure, (), (id, value))

class Measures : public txscope::BaseRepository<Measures, Measure> {
public:
    static constexpr std::string_view table = "measures";
    using BaseRepository::BaseRepository;
};

struct SwappedId {
    std::int64_t id{};
};
BOOST_DESCRIBE_STRUCT(SwappedId, (), (id))

struct Summary {
    std::string name{};
    int tries{};
    bool operator==(const Summary&) const = default;
};
BOOST_DESCRIBE_STRUCT(Summary, (), (name, tries))

struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    Jobs jobs{sessions};
    Steps steps{sessions};

    /// Awaits it, and says in how many round trips it was there.
    template <typename T>
    std::pair<T, std::uint64_t> counted(asio::awaitable<T> work) {
        run(sessions.warm_up(1));
        const auto before = sessions.statistics().round_trips;
        T value = run(std::move(work));
        return {std::move(value), sessions.statistics().round_trips - before};
    }
};

constexpr auto tries = field<&Job::tries>;
constexpr auto name = field<&Job::name>;

std::string names_of(const std::vector<Job>& jobs) {
    std::string names;
    for (const Job& job : jobs) names += job.name + ' ';
    return names;
}

TEST_CASE("pages go on behind the last row of the one before", "[repository]") {
    Fixture f;
    const auto pages = [&](auto... orderings) {
        std::string names;
        auto page = f.run(f.jobs.find_page(orderings..., Page{.limit = 2}));
        for (;; names += "| ") {
            names += names_of(page.rows);
            if (!page.more) return names;
            page = f.run(f.jobs.find_page(orderings..., Page{.limit = 2}, after(page.rows.back())));
        }
    };
    CHECK(pages(ascending(name)) == "build clean | ship sign | test ");
    CHECK(pages(descending(name)) == "test sign | ship clean | build ");
    CHECK(pages(ascending(tries), ascending(name)) == "clean build | sign ship | test ");
    CHECK(pages(descending(tries), ascending(name)) == "ship test | build sign | clean ");
    CHECK(pages(ascending(tries), descending(name)) == "clean sign | build test | ship ");
    CHECK(pages(ascending(field<&Job::state>), descending(tries), ascending(name)) ==
          "build clean | ship test | sign ");
}

TEST_CASE("a page that was read goes on where it ended, whatever comes and goes before it",
          "[repository]") {
    Fixture f;
    const auto first = f.run(f.jobs.find_page(ascending(name), Page{.limit = 2}));
    f.run(f.jobs.remove(name == "clean"));
    f.run(f.jobs.create(name = "a new one"));
    CHECK(names_of(f.run(f.jobs.find_all(ascending(name), after(first.rows.back()),
                                         field<&Job::state> == "new"))) == "ship sign test ");
}

TEST_CASE("whether there is another page is known from the page itself", "[repository]") {
    Fixture f;
    const auto page = [&](std::int64_t limit) {
        return f.run(f.jobs.find_page(ascending(name), Page{.limit = limit}));
    };
    CHECK(page(4).more);
    CHECK(page(4).rows.size() == 4);
    CHECK_FALSE(page(5).more);
    CHECK(page(0).more);
    CHECK_FALSE(f.run(f.jobs.find_page(name == "none", Page{.limit = 0})).more);
    CHECK_THROWS_AS(f.jobs.find_page(Page{}), pqxx::argument_error);
    CHECK_THROWS_AS(f.jobs.find_page(Page{.limit = -1}), pqxx::argument_error);
    CHECK_THROWS_AS(page(std::numeric_limits<std::int64_t>::max()), pqxx::argument_error);
}

TEST_CASE("an order is put together at run time, and none is one", "[repository]") {
    Fixture f;
    txscope::Orderings<Job> order;
    CHECK(f.run(f.jobs.find_all(order)).size() == f.run(f.jobs.find_all()).size());

    const auto known = f.run(f.jobs.find_all(tries >= 1, descending(sql<int>("tries % $", 2)),
                                             descending(tries), ascending(name)));
    order.add(descending(sql<int>("tries % $", 2))).add(descending(tries)).add(ascending(name));
    const txscope::Orderings<Job> copy = order;
    order.add(ascending(field<&Job::id>));
    CHECK(names_of(f.run(f.jobs.find_all(tries >= 1, copy))) == names_of(known));
    const auto page = f.run(f.jobs.find_page(order, tries >= 1, Page{.limit = 1, .offset = 1}));
    CHECK(page.rows.at(0).name == known.at(1).name);
}

TEST_CASE("rows are streamed that meet conditions, in an order, and by pages", "[repository]") {
    Fixture f;
    std::string names;
    const auto add = [&](const Job& job) { names += job.name + ' '; };
    CHECK(f.run(f.jobs.stream(tries > 0, ascending(name), add)) == 4);
    CHECK(names == "build ship sign test ");
    names.clear();
    CHECK(f.run(f.jobs.stream(descending(name), Page{.limit = 2}, add)) == 2);
    CHECK(names == "test sign ");
    CHECK(f.run(f.jobs.stream(name == "'; DROP TABLE jobs; --", add)) == 0);
    CHECK(f.run(f.jobs.stream(add)) == 5);
}

TEST_CASE("who is called with streamed rows writes in the same transaction", "[repository]") {
    Fixture f;
    const auto finish = [&](Job job) -> asio::awaitable<void> {
        co_await f.jobs.update(job.id, field<&Job::state> = "done");
        if (job.name == "sign") throw support::Refusal{"not that one"};
    };
    const auto open = field<&Job::state> == "new";
    CHECK_THROWS_AS(f.run(f.jobs.stream(open, ascending(field<&Job::id>), finish)),
                    support::Refusal);
    CHECK(f.run(f.jobs.count(open)) == 3);
    const txscope::TransactionScope scope{f.sessions};
    f.run(scope([&]() -> asio::awaitable<void> {
        co_await f.jobs.create(name = "pack", field<&Job::state> = "new");
        const auto streamed = co_await f.jobs.stream(open, name != "sign", finish);
        CHECK(streamed == 3);
    }));
    CHECK(f.run(f.jobs.count(open)) == 1);
}

TEST_CASE("streamed rows are locked, until the end of the transaction", "[repository]") {
    Fixture f;
    const txscope::TransactionScope scope{f.sessions};
    const txscope::TransactionScope other{f.sessions,
                                          {.propagation = txscope::Propagation::requires_new}};
    const auto free = [&]() -> asio::awaitable<std::size_t> {
        const auto found = co_await f.jobs.find_all(for_update.skip_locked());
        co_return found.size();
    };
    const auto look = [&](const Job&) -> asio::awaitable<void> {
        const std::size_t unlocked = co_await other(free);
        CHECK(unlocked == 3);
    };
    f.run(scope([&]() -> asio::awaitable<void> {
        const auto first = Page{.limit = 2};
        const auto streamed = co_await f.jobs.stream(ascending(name), first, for_update, look);
        CHECK(streamed == 2);
        const std::size_t unlocked = co_await other(free);
        CHECK(unlocked == 3);
    }));
    CHECK(f.run(f.jobs.stream(for_no_key_update.no_wait(), [](const Job&) {})) == 5);
}

TEST_CASE("a part of the columns is read into a struct of its own", "[repository]") {
    Fixture f;
    const auto summaries =
        f.run(f.jobs.select<Summary>(field<&Job::state> == "done", descending(tries)));
    CHECK(summaries == std::vector<Summary>{{"build", 1}, {"clean", 0}});
}

TEST_CASE("rows are sorted by the column of a member, whatever other members are called",
          "[repository]") {
    Fixture f;
    const SwappedTable swapped{f.sessions};
    const auto low = field<&Swapped::low>;
    const auto ids = [&](const auto&... clauses) {
        std::string all;
        for (const Swapped& row : f.run(swapped.find_all(clauses...)))
            all += std::to_string(row.id);
        std::string selected;
        for (const SwappedId& row : f.run(swapped.select<SwappedId>(clauses...)))
            selected += std::to_string(row.id);
        CHECK(all == selected);
        return all;
    };
    CHECK(ids(ascending(low)) == "321");
    CHECK(ids(descending(txscope::sql<int>("$", low))) == "123");
    Swapped last;
    last.low = 8;
    CHECK(ids(ascending(low), after(last)) == "1");
}

TEST_CASE("columns are added up, and their smallest and largest values found", "[repository]") {
    Fixture f;
    const auto is_new = field<&Job::state> == "new";
    const auto none = name == "none";
    CHECK(f.run(f.jobs.sum(tries)) == 6);
    CHECK(f.run(f.jobs.sum(tries, is_new)) == 5);
    CHECK(f.run(f.jobs.sum(tries, none)) == std::nullopt);
    CHECK(f.run(f.jobs.average(tries)) == 1.2);
    CHECK(f.run(f.jobs.average(tries, none)) == std::nullopt);
    CHECK(f.run(f.jobs.min(name)) == "build");
    CHECK(f.run(f.jobs.max(tries, field<&Job::state> == "done")) == 1);
    CHECK(f.run(f.jobs.max(field<&Job::note>)) == "y");
    CHECK(f.run(f.jobs.max(field<&Job::note>, is_new, tries == 0)) == std::nullopt);

    constexpr auto largest = std::numeric_limits<std::int64_t>::max();
    f.run(f.steps.create(Step{largest - 10, 1, {}, "a sum that has just room"}));
    CHECK(f.run(f.steps.sum(field<&Step::job>)) == largest - 1);
    f.run(f.steps.create(Step{2, 1, {}, "and one that has not"}));
    CHECK_THROWS_AS(f.run(f.steps.sum(field<&Step::job>)), txscope::ColumnError);
}

TEST_CASE("rows are counted by the values of a column", "[repository]") {
    Fixture f;
    using Counts = std::vector<std::pair<std::optional<std::string>, std::int64_t>>;
    CHECK(f.run(f.jobs.count_by(field<&Job::note>)) ==
          Counts{{"x", 2}, {"y", 1}, {std::nullopt, 2}});
    CHECK(f.run(f.jobs.count_by(tries, field<&Job::state> == "new")) ==
          std::vector<std::pair<int, std::int64_t>>{{1, 1}, {2, 2}});
}

TEST_CASE("rows are found by any number of keys in one round trip", "[repository]") {
    Fixture f;
    std::vector<int> keys{5, 1, 9, 1, 3};
    const auto [found, trips] = f.counted(f.jobs.find_all(keys, ascending(name)));
    CHECK(trips == 1);
    CHECK(names_of(found) == "build ship sign ");
    CHECK(names_of(f.run(f.jobs.find_all(keys, field<&Job::state> == "new", descending(name),
                                         Page{.limit = 1}))) == "sign ");
    // Any range will do, also one that cannot be read twice, or is not const.
    const std::list<std::int64_t> list{4};
    CHECK(names_of(f.run(f.jobs.find_all(list))) == "clean ");
    CHECK(names_of(f.run(f.jobs.find_all(
              keys | std::views::filter([](int key) { return key == 3; })))) == "ship ");
    keys.clear();
    for (int key = 1; key <= 100'000; ++key) keys.push_back(key);
    CHECK(f.run(f.jobs.find_all(keys)).size() == 5);
}

TEST_CASE("rows are found by any number of keys of several columns in one round trip",
          "[repository]") {
    Fixture f;
    const std::vector<std::tuple<int, int>> keys{{3, 1}, {1, 2}, {3, 1}, {1, 9}, {9, 1}};
    const auto [found, trips] = f.counted(f.steps.find_all(keys, ascending(field<&Step::text>)));
    CHECK(trips == 1);
    CHECK(found == std::vector<Step>{{1, 2, 1, "compile"}, {3, 1, {}, "pack"}});
    const std::vector<std::pair<std::int64_t, std::int16_t>> pairs{{3, 2}};
    CHECK(f.run(f.steps.find_all(pairs, field<&Step::text> == "send")).size() == 1);
    CHECK_THROWS_AS(f.steps.find_all(std::vector{std::tuple{1, 100'000}}), txscope::ValueError);
}

TEST_CASE("no keys find nothing without asking", "[repository]") {
    Fixture f;
    CHECK(f.counted(f.jobs.find_all(std::vector<int>{})).second == 0);
    CHECK(f.counted(f.steps.find_all(std::vector<std::tuple<int, int>>{})).second == 0);
    CHECK(f.counted(f.steps.find_by(field<&Step::job>, std::vector<int>{})).second == 0);
}

TEST_CASE("rows that are found by their keys can be locked", "[repository]") {
    Fixture f;
    const std::vector<int> keys{1, 2};
    CHECK_THROWS_AS(f.run(f.jobs.find_all(keys, txscope::for_update)), txscope::PropagationError);
    f.run(txscope::TransactionScope{f.sessions}([&]() -> asio::awaitable<void> {
        const auto locked = co_await f.jobs.find_all(keys, ascending(name), txscope::for_update);
        CHECK(names_of(locked) == "build test ");
        const auto none = co_await f.jobs.find_all(std::vector<int>{}, txscope::for_update);
        CHECK(none.empty());
    }));
}

TEST_CASE("the children of any number of parents are found in one round trip", "[repository]") {
    Fixture f;
    const auto jobs = f.run(f.jobs.find_all(field<&Job::id> <= 3));
    const auto ids = jobs | std::views::transform(&Job::id);
    const auto [steps, trips] =
        f.counted(f.steps.find_by(field<&Step::job>, ids, descending(field<&Step::number>)));
    CHECK(trips == 1);
    REQUIRE(steps.size() == 3);
    CHECK(steps.at(1) ==
          std::vector<Step>{{1, 3, 2, "link"}, {1, 2, 1, "compile"}, {1, 1, {}, "fetch"}});
    CHECK(steps.at(2).empty());
    CHECK(steps.at(3).size() == 2);
}

TEST_CASE("children are narrowed by conditions, and found by a column that may be NULL",
          "[repository]") {
    Fixture f;
    const auto steps =
        f.run(f.steps.find_by(field<&Step::of_step>, std::vector{1, 2, 1}, field<&Step::job> == 1));
    REQUIRE(steps.size() == 2);
    CHECK(steps.at(1) == std::vector<Step>{{1, 2, 1, "compile"}});
    CHECK(steps.at(2) == std::vector<Step>{{1, 3, 2, "link"}});
}

TEST_CASE("NaN is one value, and larger than any number, as in PostgreSQL", "[repository]") {
    Fixture f;
    const Measures measures{f.sessions};
    constexpr auto value = field<&Measure::value>;
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    CHECK(f.run(measures.count(value == nan)) == 2);
    CHECK(f.run(measures.count(value != nan)) == 3);
    CHECK(f.run(measures.count(value < nan)) == 3);
    CHECK(f.run(measures.count(value > infinity)) == 2);
    CHECK(f.run(measures.count(value.in(nan, 1))) == 3);
    CHECK(std::isnan(f.run(measures.max(value)).value()));
    for (const std::vector<double>& asked :
         {std::vector{nan, 1.0, infinity}, std::vector{1.0, infinity, nan, nan}}) {
        const auto found = f.run(measures.find_by(value, asked));
        REQUIRE(found.size() == 3);
        CHECK(found.at(nan).size() == 2);
        CHECK(found.at(1).front().id == 1);
        CHECK(found.at(infinity).front().id == 3);
    }
    const auto rows = f.run(measures.find_all(ascending(value), ascending(field<&Measure::id>)));
    const auto behind = f.run(
        measures.find_all(ascending(value), ascending(field<&Measure::id>), after(rows.at(3))));
    REQUIRE(behind.size() == 1);  // the other NaN
    CHECK(behind.front().id == 4);
}

}  // namespace repository_reads
