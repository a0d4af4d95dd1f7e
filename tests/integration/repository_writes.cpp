#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>
#include <pqxx/except>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace repository_writes {

namespace asio = boost::asio;
using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
using support::Job;
using support::Jobs;
using txscope::ascending;
using txscope::Changes;
using txscope::columns;
using txscope::Constraint;
using txscope::field;
using txscope::for_share;
using txscope::for_update;
using txscope::Page;

const std::string schema = support::jobs_table + R"(
    CREATE TABLE settings (owner text, key text, value text, PRIMARY KEY (owner, key));
    CREATE TABLE tags (name text PRIMARY KEY);
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (id bigint PRIMARY KEY, state text NOT NULL,
                              revision integer NOT NULL))";

struct Setting {
    std::string owner{};
    std::string key{};
    std::optional<std::string> value{};
    bool operator==(const Setting&) const = default;
};
BOOST_DESCRIBE_STRUCT(Setting, (), (owner, key, value))

class Settings : public txscope::BaseRepository<Settings, Setting> {
public:
    static constexpr std::string_view table = "settings";
    static constexpr auto key = columns<&Setting::owner, &Setting::key>;
    using BaseRepository::BaseRepository;
};

struct Tag {
    std::string name{};
};
BOOST_DESCRIBE_STRUCT(Tag, (), (name))

class Tags : public txscope::BaseRepository<Tags, Tag> {
public:
    static constexpr std::string_view table = "tags";
    static constexpr auto key = columns<&Tag::name>;
    using BaseRepository::BaseRepository;
};

struct Order {
    std::int64_t id{};
    std::string state{};
    int version{};
    bool operator==(const Order&) const = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, state, version))

class Orders : public txscope::BaseRepository<Orders, Order> {
public:
    static constexpr std::string_view table = "shop.orders";
    static constexpr auto version = columns<&Order::version>;
    static constexpr std::string_view column(std::string_view member) {
        return member == "version" ? "revision" : member;
    }
    using BaseRepository::BaseRepository;
};

Job job(std::string name, std::string state = "new") {
    Job made;
    made.name = std::move(name);
    made.state = std::move(state);
    return made;
}

/// Three jobs, and a session factory on them.
struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }
    auto round_trips(auto work) {
        run(sessions.warm_up(1));
        const auto before = sessions.statistics().round_trips;
        if constexpr (std::invocable<decltype(work)&>)
            run(work());
        else
            run(std::move(work));
        return sessions.statistics().round_trips - before;
    }

    Fixture() {
        for (const char* name : {"build", "test", "ship"}) run(jobs.create(job(name)));
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    Jobs jobs{sessions};
    Settings settings{sessions};
    Tags tags{sessions};
    Orders orders{sessions};
    txscope::TransactionScope scope{sessions};
    txscope::TransactionScope apart{sessions, {.propagation = txscope::Propagation::requires_new}};
};

TEST_CASE("workers that skip locked rows share out a queue", "[repository]") {
    Fixture f;
    const auto next = [&] {
        return f.jobs.find_all(field<&Job::state> == "new", ascending(field<&Job::id>),
                               Page{.limit = 2}, for_update.skip_locked());
    };
    f.run(f.scope([&]() -> asio::awaitable<void> {
        const auto mine = co_await next();
        REQUIRE(mine.size() == 2);
        co_await f.apart([&]() -> asio::awaitable<void> {
            const auto others = co_await next();
            REQUIRE(others.size() == 1);
            CHECK(others[0].name == "ship");
        });
    }));
}

TEST_CASE("a row that is locked is refused at once to who does not wait", "[repository]") {
    Fixture f;
    f.run(f.scope([&]() -> asio::awaitable<void> {
        CHECK((co_await f.jobs.get(1, for_update)).name == "build");
        const auto try_it = [&](auto lock) {
            return f.apart([&f, lock]() -> asio::awaitable<void> {
                co_await f.jobs.find(field<&Job::name> == "build", lock);
            });
        };
        const auto refused = co_await support::failure_of(try_it(for_share.no_wait()));
        CHECK_THAT(support::text_of(refused), ContainsSubstring("55P03"));
        co_await try_it(for_share.skip_locked());
    }));
}

TEST_CASE("those who share a row let each other read it", "[repository]") {
    Fixture f;
    f.run(f.scope([&]() -> asio::awaitable<void> {
        co_await f.jobs.get(1, for_share);
        co_await f.apart([&]() -> asio::awaitable<void> {
            const auto shared = co_await f.jobs.find(1, for_share.no_wait());
            CHECK(shared);
        });
    }));
}

TEST_CASE("a lock keeps out those that it says, and no others", "[repository]") {
    Fixture f;
    f.run(f.scope([&]() -> asio::awaitable<void> {
        co_await f.jobs.get(1, txscope::for_no_key_update);
        co_await f.jobs.get(2, txscope::for_key_share);
        const auto is_free = [&](int id, auto lock) {
            return f.apart([&f, id, lock]() -> asio::awaitable<bool> {
                const auto found =
                    co_await f.jobs.find_all(field<&Job::id> == id, lock.skip_locked());
                co_return !found.empty();
            });
        };
        const bool key_shared = co_await is_free(1, txscope::for_key_share);
        CHECK(key_shared);
        const bool shared = co_await is_free(1, for_share);
        CHECK_FALSE(shared);
        const bool updated = co_await is_free(2, txscope::for_no_key_update);
        CHECK(updated);
        const bool removed = co_await is_free(2, for_update);
        CHECK_FALSE(removed);
    }));
}

TEST_CASE("without a transaction a lock is refused, since it would be gone with the answer",
          "[repository]") {
    Fixture f;
    const auto lock = [&]() -> asio::awaitable<void> { co_await f.jobs.get(1, for_update); };
    CHECK_THROWS_AS(f.run(f.sessions.session_scope(lock)), txscope::PropagationError);
    CHECK_THROWS_WITH(f.run(f.jobs.get(1, for_update)), ContainsSubstring("FOR UPDATE"));
    CHECK_THROWS_AS(f.run(f.jobs.find(1, for_update)), txscope::PropagationError);
    CHECK_THROWS_AS(f.run(f.jobs.find_all(for_share)), txscope::PropagationError);
    CHECK(f.round_trips(f.jobs.get(1)) == 1);
}

TEST_CASE("changes that were put together at run time are all that is written", "[repository]") {
    Fixture f;
    Changes<Job> changes;
    changes.set(field<&Job::state> = "done").set(field<&Job::note> = "by night");
    const auto now = f.run(f.jobs.update(2, changes));
    REQUIRE(now);
    CHECK(*now == Job{2, "test", "done", "by night", 0});
    CHECK_FALSE(f.run(f.jobs.update(7, changes)));
    CHECK(f.run(f.jobs.update(field<&Job::name> != "test", changes)) == 2);
    CHECK(f.run(f.jobs.count(field<&Job::note> == "by night")) == 3);

    changes.set(field<&Job::name> = "clean").set(field<&Job::note> = std::nullopt);
    CHECK(f.run(f.jobs.create(changes)) == Job{4, "clean", "done", std::nullopt, 0});
}

TEST_CASE("no changes write nothing", "[repository]") {
    Fixture f;
    f.database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'written'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON jobs EXECUTE FUNCTION refuse()");
    const Changes<Job> none;
    const auto row = f.run(f.jobs.update(2, none));
    REQUIRE(row);
    CHECK(row->name == "test");
    CHECK_FALSE(f.run(f.jobs.update(7, none)));
    CHECK(f.round_trips(f.jobs.update(field<&Job::id> > 0, none)) == 0);
    CHECK(f.run(f.jobs.update(*row, *row)) == row);
}

TEST_CASE("an update from one model to another leaves what others have changed meanwhile",
          "[repository]") {
    Fixture f;
    const Job loaded = f.run(f.jobs.get(1));
    f.run(f.jobs.update(1, field<&Job::state> = "running"));
    Job edited = loaded;
    edited.note = "mine";
    const auto now = f.run(f.jobs.update(loaded, edited));
    REQUIRE(now);
    CHECK(*now == Job{1, "build", "running", "mine", 0});
}

TEST_CASE("an update from one model to another row's is refused before anything is sent",
          "[repository]") {
    Fixture f;
    const Job one = f.run(f.jobs.get(1));
    Job other = f.run(f.jobs.get(2));
    other.state = "running";
    CHECK_THROWS_AS(f.jobs.update(one, other), pqxx::argument_error);
    CHECK(f.run(f.jobs.get(1)) == one);
}

TEST_CASE("any number of rows is inserted by one statement, and comes back in their order",
          "[repository]") {
    Fixture f;
    std::vector<Job> wanted;
    for (int i = 0; i < 20'000; ++i) {
        wanted.push_back(job("job " + std::to_string(i)));
        wanted.back().tries = i;
    }
    wanted[7].name = "\"quoted\" \\ \t\x01 {a,b} \u00e4\U0001f600";
    wanted[7].note = "";
    std::vector<Job> created;
    CHECK(f.round_trips([&]() -> asio::awaitable<void> {
        created = co_await f.jobs.create_all(wanted);
    }) == 1);
    REQUIRE(created.size() == wanted.size());
    bool same = true;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        wanted[i].id = created[i].id;
        same = same && created[i] == wanted[i] && created[i].id == created[0].id + std::int64_t(i);
    }
    CHECK(same);
    CHECK(f.run(f.jobs.get(field<&Job::tries> == 7, field<&Job::note> == "")) == wanted[7]);
    CHECK(f.round_trips(f.jobs.create_all(std::vector<Job>{})) == 0);
}

TEST_CASE("many rows are inserted, too, when a column has become of another type meanwhile",
          "[repository]") {
    Fixture f;
    const std::vector<Job> two{job("one"), job("two")};
    f.run(f.jobs.create_all(two));
    f.database.query(
        "ALTER TABLE jobs ALTER tries TYPE bigint, ALTER name TYPE varchar(100),"
        " DROP CONSTRAINT one_job_a_name");
    CHECK(f.run(f.jobs.create_all(two)).size() == 2);
    CHECK(f.run(f.jobs.create_all(two)).size() == 2);
}

/// Of a table that is called like a type of PostgreSQL's.
struct Point {
    std::int64_t id{};
    int x{};
};
BOOST_DESCRIBE_STRUCT(Point, (), (id, x))

class Points : public txscope::BaseRepository<Points, Point> {
public:
    static constexpr std::string_view table = "public.point";
    using BaseRepository::BaseRepository;
};
class PointsAnywhere : public txscope::BaseRepository<PointsAnywhere, Point> {
public:
    static constexpr std::string_view table = "point";
    using BaseRepository::BaseRepository;
};

TEST_CASE("many rows go into a table that is called like a type where its schema is said",
          "[repository]") {
    Fixture f;
    f.database.query("CREATE TABLE point (id bigint PRIMARY KEY, x integer)");
    const std::vector<Point> rows{{1, 7}, {2, 8}};
    CHECK(f.run(Points{f.sessions}.create_all(rows)).size() == 2);
    CHECK(f.run(PointsAnywhere{f.sessions}.create(Point{3, 9})).x == 9);
    CHECK_THROWS_WITH(f.run(PointsAnywhere{f.sessions}.create_all(rows)),
                      ContainsSubstring("42809"));
}

TEST_CASE("all of them are inserted, or none", "[repository]") {
    Fixture f;
    const std::vector<Job> twice{job("one"), job("two"), job("one")};
    CHECK_THROWS_AS(f.run(f.jobs.create_all(twice)), pqxx::unique_violation);
    CHECK(f.run(f.jobs.count()) == 3);
    const std::vector<Job> nul{job("one"), job("t\0o"s)};
    CHECK_THROWS_AS(f.jobs.create_all(nul), txscope::ValueError);
    CHECK_THROWS_AS(f.jobs.add_all(twice), txscope::PropagationError);
}

TEST_CASE("rows that are added together go out with the commit", "[repository]") {
    Fixture f;
    const auto trips = f.round_trips(f.scope([&]() -> asio::awaitable<void> {
        f.jobs.add_all(std::vector{job("one"), job("two")});
        f.settings.add_all(std::vector<Setting>{{"ann", "a", {}}, {"ann", "b", "x"}});
        f.tags.add_all(std::vector<Tag>{});
        co_return;
    }));
    CHECK(trips == 1);
    CHECK(f.run(f.jobs.count()) == 5);
    CHECK(f.run(f.settings.get("ann", "a")).value == std::nullopt);
}

TEST_CASE("of two who change the same version of a row, the later one is told", "[repository]") {
    Fixture f;
    const Order order = f.run(f.orders.create(Order{1, "new", 1}));
    Order paid = order;
    paid.state = "paid";
    CHECK(f.run(f.orders.update(paid)) == Order{1, "paid", 2});
    CHECK_THROWS_AS(f.run(f.orders.update(paid)), txscope::StaleEntity);
    CHECK_THROWS_AS(f.run(f.orders.update(order, paid)), txscope::StaleEntity);
    CHECK_THROWS_AS(f.run(f.orders.update(order, order)), txscope::StaleEntity);
    CHECK_THROWS_AS(f.run(f.orders.remove(order)), txscope::StaleEntity);
    CHECK_THROWS_WITH(f.run(f.orders.update(Order{7, "none", 1})), ContainsSubstring("orders"));

    const Order now = f.run(f.orders.get(1));
    CHECK(f.run(f.orders.update(now, paid)) == now);  // nothing to change
    CHECK(f.run(f.orders.update(now, Order{1, "sent", 2})) == Order{1, "sent", 3});
    CHECK(f.run(f.orders.remove(Order{1, "", 3})));
}

TEST_CASE("of two who change the same version at the same time, one is told", "[repository]") {
    using namespace asio::experimental::awaitable_operators;
    Fixture f;
    f.run(f.orders.create(Order{1, "new", 1}));
    int readers = 0;
    int told = 0;
    const auto edit = [&](std::string state) -> asio::awaitable<void> {
        const auto body = [&]() -> asio::awaitable<void> {
            Order order = co_await f.orders.get(1);
            ++readers;
            co_await support::eventually([&] { return readers == 2; });
            order.state = state;
            co_await f.orders.update(order);
        };
        const auto failure = co_await support::failure_of(f.scope(body));
        told += support::is<txscope::StaleEntity>(failure);
    };
    f.run(edit("paid") && edit("sent"));
    CHECK(told == 1);
    CHECK(f.run(f.orders.get(1)).version == 2);
}

TEST_CASE("every update counts a row's version up", "[repository]") {
    Fixture f;
    f.run(f.orders.create(Order{1, "new", 1}));
    CHECK(f.run(f.orders.update(1, field<&Order::state> = "a")) == Order{1, "a", 2});
    CHECK(f.run(f.orders.update(field<&Order::state> == "a", field<&Order::state> = "b")) == 1);
    CHECK(f.run(f.orders.save(Order{1, "c", 1})) == Order{1, "c", 4});
    Changes<Order> changes;
    changes.set(field<&Order::state> = "d");
    CHECK(f.run(f.orders.update(1, changes)) == Order{1, "d", 5});
    CHECK(f.run(f.orders.save(Order{2, "new", 1})) == Order{2, "new", 1});
}

TEST_CASE("a model removes the row with its key", "[repository]") {
    Fixture f;
    const Setting colour{"ann", "colour", "red"};
    f.run(f.settings.create(colour));
    CHECK(f.run(f.settings.remove(colour)));
    CHECK_FALSE(f.run(f.settings.remove(colour)));
}

TEST_CASE("save inserts a row, or updates the one with its key", "[repository]") {
    Fixture f;
    Setting colour{"ann", "colour", "red"};
    CHECK(f.run(f.settings.save(colour)) == colour);
    colour.value = std::nullopt;
    CHECK(f.run(f.settings.save(colour)) == colour);
    f.run(f.settings.save({"bob", "colour", "blue"}));
    CHECK(f.run(f.settings.get("ann", "colour")) == colour);
    CHECK(f.run(f.settings.count()) == 2);
    CHECK(f.run(f.tags.save({"a"})).name == "a");
    CHECK(f.run(f.tags.save({"a"})).name == "a");  // all of it is key: nothing to update
}

TEST_CASE("save goes by another unique constraint where the key is generated", "[repository]") {
    Fixture f;
    Job wanted = job("test", "done");
    CHECK(f.run(f.jobs.save(wanted, columns<&Job::name>)) == Job{2, "test", "done", {}, 0});
    wanted.tries = 3;
    CHECK(f.run(f.jobs.save(wanted, Constraint{"one_job_a_name"})) ==
          Job{2, "test", "done", {}, 3});
    CHECK(f.run(f.jobs.save(job("new"), columns<&Job::name>)).name == "new");
    CHECK(f.run(f.jobs.count()) == 4);
    CHECK_THROWS_AS(f.run(f.jobs.save(wanted, columns<&Job::state>)), pqxx::sql_error);
    CHECK_THROWS_WITH(f.run(f.jobs.save(wanted, Constraint{"no such"})),
                      ContainsSubstring("no such"));
}

TEST_CASE("any number of rows is inserted or updated by one statement", "[repository]") {
    Fixture f;
    std::vector<Job> saved;
    CHECK(f.round_trips([&]() -> asio::awaitable<void> {
        const std::vector<Job> wanted{job("first"), job("test", "done"), job("last")};
        saved = co_await f.jobs.save_all(wanted, columns<&Job::name>);
    }) == 1);
    REQUIRE(saved.size() == 3);
    CHECK(saved[1] == Job{2, "test", "done", {}, 0});
    CHECK(saved[0].name + saved[2].name == "firstlast");
    CHECK(f.run(f.jobs.find_all()).size() == 5);
    CHECK(f.run(f.jobs.save_all(saved, Constraint{"one_job_a_name"})) == saved);

    CHECK(f.run(f.settings.save_all(std::vector<Setting>{{"ann", "a", "1"}})).size() == 1);
    f.run(f.settings.save_all(std::vector<Setting>{{"ann", "a", "2"}, {"ann", "b", {}}}));
    CHECK(f.run(f.settings.get("ann", "a")).value == "2");
    CHECK(f.run(f.tags.save_all(std::vector<Tag>{{"a"}, {"b"}})).size() == 2);
    CHECK(f.run(f.tags.save_all(std::vector<Tag>{{"b"}, {"c"}})).size() == 2);
    f.run(f.orders.save_all(std::vector<Order>{{1, "new", 1}}));
    CHECK(f.run(f.orders.save_all(std::vector<Order>{{1, "paid", 1}, {2, "new", 1}})) ==
          std::vector<Order>{{1, "paid", 2}, {2, "new", 1}});

    CHECK(f.round_trips(f.jobs.save_all(std::vector<Job>{}, columns<&Job::name>)) == 0);
    const std::vector<Job> twice{job("one"), job("one")};
    CHECK_THROWS_AS(f.run(f.jobs.save_all(twice, columns<&Job::name>)), pqxx::sql_error);
}

TEST_CASE("create_unless_exists says whether there was one", "[repository]") {
    Fixture f;
    CHECK_FALSE(f.run(f.jobs.create_unless_exists(job("test", "done"))));
    CHECK(f.run(f.jobs.get(2)).state == "new");
    CHECK(f.run(f.jobs.create_unless_exists(job("deploy"), columns<&Job::name>)));
    CHECK_FALSE(f.run(f.jobs.create_unless_exists(job("deploy"), Constraint{"one_job_a_name"})));
    CHECK(f.run(f.jobs.count()) == 4);
}

TEST_CASE("patterns, bounds and comparisons of columns mean what they say", "[repository]") {
    Fixture f;
    f.run(f.jobs.update(1, field<&Job::note> = "build", field<&Job::tries> = 1));
    f.run(f.jobs.update(2, field<&Job::note> = "100%", field<&Job::tries> = 2));
    const auto names = [&](const auto& condition) {
        std::string found;
        for (const Job& one : f.run(f.jobs.find_all(condition, ascending(field<&Job::id>))))
            found += one.name + ' ';
        return found;
    };
    CHECK(names(field<&Job::note> == field<&Job::name>) == "build ");
    CHECK(names(field<&Job::tries> < field<&Job::id>) == "ship ");
    CHECK(names(field<&Job::tries>.between(1, 2)) == "build test ");
    CHECK(names(field<&Job::name>.ilike("%T")) == "test ");
    CHECK(names(field<&Job::note>.starts_with("100%")) == "test ");
    CHECK(names(field<&Job::note>.starts_with("1__%")).empty());
    CHECK(names(field<&Job::note>.is_distinct_from("build")) == "test ship ");
    CHECK(names(field<&Job::tries>.is_distinct_from(0)) == "build test ");
    const std::optional<std::string> none;
    CHECK(names(field<&Job::note>.is_distinct_from(none)) ==
          names(field<&Job::note>.is_not_null()));
}

}  // namespace repository_writes
