#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/json_text.hpp>
#include <txscope/repository/orderings.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/check.hpp>
#include <txscope/transaction/transaction.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

/// Every call of a repository, on a table that has all that a table can have, with names and values that
/// try to be SQL.

namespace repository_calls {

namespace asio = boost::asio;
using txscope::after;
using txscope::ascending;
using txscope::Changes;
using txscope::columns;
using txscope::Constraint;
using txscope::Criteria;
using txscope::descending;
using txscope::field;
using txscope::for_share;
using txscope::for_update;
using txscope::Page;
using txscope::row;
using txscope::sql;

using Time = std::chrono::sys_time<std::chrono::microseconds>;

const std::string schema = R"(
    CREATE SCHEMA "S.""'; DROP SCHEMA public; --";
    CREATE TABLE "S.""'; DROP SCHEMA public; --"."T""'; DROP TABLE witness; --" (
        "a,b" integer NOT NULL,
        "x) OR (TRUE" timestamptz,
        "Updated At" timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        left_alone text NOT NULL DEFAULT 'never written',
        "Length" bigint NOT NULL GENERATED ALWAYS AS (char_length("te'xt; --")) STORED,
        "select" text,
        "te'xt; --" text NOT NULL CONSTRAINT "C""; DROP TABLE witness; --" UNIQUE,
        "Number" bigint GENERATED ALWAYS AS IDENTITY,
        "co""de\" text NOT NULL,
        "$1" bigint NOT NULL,
        PRIMARY KEY ("$1", "co""de\"));
    CREATE TABLE witness ();
    CREATE TABLE keys (a bigint, b bigint, PRIMARY KEY (a, b));
    INSERT INTO keys VALUES (1, 1), (1, 2))";

struct Item {
    std::int64_t shop{};
    std::string code{};
    std::int64_t number{};
    std::string text{};
    std::optional<std::string> note{};
    std::int64_t length{};
    int version{};
    Time created_at{};
    Time updated_at{};
    std::optional<Time> deleted_at{};
};
BOOST_DESCRIBE_STRUCT(Item, (),
                      (shop, code, number, text, note, length, version, created_at, updated_at,
                       deleted_at))

struct Part {
    std::string text{};
    std::optional<std::string> note{};
};
BOOST_DESCRIBE_STRUCT(Part, (), (text, note))

class Items : public txscope::BaseRepository<Items, Item> {
public:
    static constexpr txscope::TableName table{.schema = "S.\"'; DROP SCHEMA public; --",
                                              .name = "T\"'; DROP TABLE witness; --"};
    static constexpr auto key = columns<&Item::shop, &Item::code>;
    static constexpr auto generated = columns<&Item::number, &Item::length>;
    static constexpr auto version = columns<&Item::version>;
    static constexpr auto created_at = columns<&Item::created_at>;
    static constexpr auto updated_at = columns<&Item::updated_at>;
    static constexpr auto deleted_at = columns<&Item::deleted_at>;
    static constexpr std::string_view column(std::string_view member) {
        constexpr std::pair<std::string_view, std::string_view> names[] = {
            {"shop", "$1"},        {"code", "co\"de\\"},         {"number", "Number"},
            {"text", "te'xt; --"}, {"note", "select"},           {"length", "Length"},
            {"version", "a,b"},    {"updated_at", "Updated At"}, {"deleted_at", "x) OR (TRUE"},
        };
        for (const auto& [from, to] : names)
            if (from == member) return to;
        return member;
    }
    using BaseRepository::BaseRepository;
};

/// A table that is called as a part of a statement might be.
struct Pair {
    std::int64_t a{};
    std::int64_t b{};
};
BOOST_DESCRIBE_STRUCT(Pair, (), (a, b))

class Pairs : public txscope::BaseRepository<Pairs, Pair> {
public:
    static constexpr std::string_view table = "keys";
    static constexpr auto key = columns<&Pair::a, &Pair::b>;
    using BaseRepository::BaseRepository;
};

constexpr auto shop = field<&Item::shop>;
constexpr auto code = field<&Item::code>;
constexpr auto text = field<&Item::text>;
constexpr auto note = field<&Item::note>;
const Constraint one_text{"C\"; DROP TABLE witness; --"};

/// An item that says so of itself in all that the database fills, too.
Item item(std::int64_t in, const std::string& value) {
    return {.shop = in,
            .code = value,
            .number = -1,
            .text = value,
            .note = value,
            .length = -1,
            .version = 1,
            .created_at = Time::min(),
            .updated_at = Time::max(),
            .deleted_at = Time{}};
}

std::size_t characters(std::string_view utf8) {
    std::size_t count = 0;
    for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return count;
}

bool was_generated(const Item& found) {
    const bool times = found.created_at > Time{} && found.updated_at >= found.created_at &&
                       found.updated_at < Time::max();
    return found.number > 0 && std::cmp_equal(found.length, characters(found.text)) && times &&
           !found.deleted_at;
}
bool is_item(const Item& found, const Item& wanted) {
    return found.shop == wanted.shop && found.code == wanted.code && found.text == wanted.text &&
           found.note == wanted.note && was_generated(found);
}

const std::string table_text =
    "\"S.\"\"'; DROP SCHEMA public; --\".\"T\"\"'; DROP TABLE witness; --\"";

struct Fixture {
    template <typename T>
    T run(asio::awaitable<T> work) {
        return support::run(io, std::move(work));
    }
    template <typename Body>
    auto run_in_scope(Body body) {
        return support::run(io, scope(std::move(body)));
    }
    /// Leaves an item (1, value, …) and (2, "plain", …), and nothing else.
    void begin(const std::string& value) {
        run_in_scope(
            [&]() -> asio::awaitable<void> { co_await items.with_deleted().remove(shop != 0); });
        one = run(items.create(item(1, value)));
        two = run(items.create(item(2, "plain")));
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    txscope::TransactionScope scope{sessions};
    Items items{sessions};
    Item one{}, two{};
};

/// A call, and whether it did what it says with one value in all places.
struct Call {
    std::string_view name;
    std::function<bool(Fixture&, const std::string&)> works;
};

bool is_one(Fixture& f, const std::optional<Item>& found) {
    return found && is_item(*found, f.one) && found->number == f.one.number;
}
bool is_one(Fixture& f, const std::vector<Item>& found) {
    return found.size() == 1 && is_one(f, std::optional{found[0]});
}
/// The first item as it is after a change of its note, which another call cannot see half.
bool is_changed(Fixture& f, const std::optional<Item>& now, const std::string& to) {
    const Item stored = f.run(f.items.get(1, f.one.code));
    return now && now->note == to && stored.note == to && was_generated(*now) &&
           stored.text == f.one.text && now->version == f.one.version + 1 &&
           now->created_at == f.one.created_at && f.run(f.items.get(2, "plain")).note == "plain";
}
Changes<Item> changes_to(const std::string& value) {
    Changes<Item> changes;
    changes.set(note = value);
    return changes;
}

const std::vector<Call> inserts{
    {"create by a model",
     [](Fixture& f, const auto& v) {
         const Item wanted = item(3, v + "'");
         return is_item(f.run(f.items.create(wanted)), wanted);
     }},
    {"create by fields",
     [](Fixture& f, const auto& v) {
         const auto version = field<&Item::version> = 1;
         const Item created =
             f.run(f.items.create(shop = 3, code = v, text = v + "'", note = v, version));
         return created.code == v && created.note == v && was_generated(created);
     }},
    {"create by changes",
     [](Fixture& f, const auto& v) {
         Changes<Item> changes = changes_to(v);
         changes.set(shop = 3).set(code = v).set(text = v + "'").set(field<&Item::version> = 1);
         const Item created = f.run(f.items.create(changes));
         return created.code == v && created.note == v && was_generated(created);
     }},
    {"create_all",
     [](Fixture& f, const auto& v) {
         const std::vector<Item> wanted{item(3, v + "'"), item(4, v + "\"")};
         const auto created = f.run(f.items.create_all(wanted));
         return created.size() == 2 && is_item(created[0], wanted[0]) &&
                is_item(created[1], wanted[1]);
     }},
    {"add",
     [](Fixture& f, const auto& v) {
         const auto version = field<&Item::version> = 1;
         f.run_in_scope([&]() -> asio::awaitable<void> {
             f.items.add(item(3, v + "'"));
             f.items.add(shop = 4, code = v, text = v + "\"", note = v, version);
             f.items.add_all(std::vector{item(5, v + "\\"), item(6, v + "$")});
             co_return;
         });
         return is_item(f.run(f.items.get(3, v + "'")), item(3, v + "'")) &&
                f.run(f.items.get(4, v)).note == v &&
                is_item(f.run(f.items.get(5, v + "\\")), item(5, v + "\\")) &&
                is_item(f.run(f.items.get(6, v + "$")), item(6, v + "$"));
     }},
    {"save by the key",
     [](Fixture& f, const auto& v) {
         Item wanted = f.one;
         wanted.note = v + "'";
         return is_changed(f, f.run(f.items.save(wanted)), v + "'") &&
                is_item(f.run(f.items.save(item(3, v + "'"))), item(3, v + "'"));
     }},
    {"save by columns",
     [](Fixture& f, const auto& v) {
         Item wanted = f.one;
         wanted.note = v + "'";
         return is_changed(f, f.run(f.items.save(wanted, columns<&Item::text>)), v + "'");
     }},
    {"save by a constraint",
     [](Fixture& f, const auto& v) {
         Item wanted = f.one;
         wanted.note = v + "'";
         return is_changed(f, f.run(f.items.save(wanted, one_text)), v + "'");
     }},
    {"save_all",
     [](Fixture& f, const auto& v) {
         std::vector<Item> wanted{f.one, item(3, v + "'")};
         wanted[0].note = v + "'";
         const auto saved = f.run(f.items.save_all(wanted));
         return saved.size() == 2 && is_changed(f, saved[0], v + "'") &&
                is_item(saved[1], wanted[1]) &&
                f.run(f.items.save_all(wanted, columns<&Item::text>)).size() == 2 &&
                f.run(f.items.save_all(wanted, one_text)).size() == 2;
     }},
    {"save onto a deleted row",
     [](Fixture& f, const auto& v) {
         f.run(f.items.remove(1, v));
         return is_one(f, f.run(f.items.save(f.one)));
     }},
    {"create_unless_exists",
     [](Fixture& f, const auto& v) {
         return !f.run(f.items.create_unless_exists(f.one)) &&
                !f.run(f.items.create_unless_exists(f.one, columns<&Item::text>)) &&
                !f.run(f.items.create_unless_exists(f.one, one_text)) &&
                f.run(f.items.create_unless_exists(item(3, v + "'"))).has_value();
     }},
};

const std::vector<Call> reads{
    {"get", [](Fixture& f, const auto& v) { return is_one(f, f.run(f.items.get(1, v))); }},
    {"get by conditions",
     [](Fixture& f, const auto& v) {
         return is_one(f, f.run(f.items.get(text == v, note == v, code == v)));
     }},
    {"find",
     [](Fixture& f, const auto& v) {
         return is_one(f, f.run(f.items.find(1, v))) && !f.run(f.items.find(2, v));
     }},
    {"find by criteria",
     [](Fixture& f, const auto& v) {
         Criteria<Item> criteria = note == std::optional{v};
         criteria &= code.in(std::vector{v}) && !(text != v);
         return is_one(f, f.run(f.items.find(criteria)));
     }},
    {"conditions of every kind",
     [](Fixture& f, const auto& v) {
         const auto escaped = txscope::escape_like(v);
         return f.run(f.items.count(text.between(v, v), v == note, text.in(v, v + "'"))) == 1 &&
                f.run(f.items.count(text.is_distinct_from(v))) == 1 &&
                f.run(f.items.count(text.is_distinct_from(note))) == 0 &&
                f.run(f.items.count(text.like(escaped), text.ilike(escaped), code == v)) == 1 &&
                f.run(f.items.count(text.starts_with(v), shop == 1)) == 1 &&
                f.run(f.items.count(row(shop, text) == row(1, v), sql("$ = $", note, v))) == 1 &&
                f.run(f.items.count(v <= sql<std::string>("$", text), v >= note, shop == 1)) == 1;
     }},
    {"orders of every kind",
     [](Fixture& f, const auto& v) {
         txscope::Orderings<Item> order;
         order.add(descending(sql<bool>("$ = $", text, v)).nulls_last());
         order.add(ascending(note).nulls_first());
         return is_one(f, f.run(f.items.find_all(order, Page{.limit = 1})));
     }},
    {"find_all",
     [](Fixture& f, const auto& v) {
         return is_one(f, f.run(f.items.find_all(text == v, ascending(code), descending(note),
                                                 Page{.limit = 5})));
     }},
    {"find_all by keys",
     [](Fixture& f, const auto& v) {
         const std::vector<std::tuple<int, std::string>> keys{{1, v}, {7, v}, {2, v + "'"}};
         return is_one(f, f.run(f.items.find_all(keys, ascending(code), text == v)));
     }},
    {"find_by",
     [](Fixture& f, const auto& v) {
         const std::vector<std::string> values{v, v + "'"};
         const auto groups = f.run(f.items.find_by(note, values, ascending(shop), text == v));
         return groups.size() == 2 && is_one(f, groups.at(v)) && groups.at(v + "'").empty();
     }},
    {"find_page and after",
     [](Fixture& f, const auto& v) {
         const auto page = f.run(
             f.items.find_page(ascending(shop), descending(text), code == v, Page{.limit = 1}));
         const auto behind = f.run(f.items.find_all(ascending(text), after(item(0, v)), shop == 1));
         return is_one(f, page.rows) && !page.more && behind.empty();
     }},
    {"select",
     [](Fixture& f, const auto& v) {
         const auto parts = f.run(f.items.template select<Part>(code == v, ascending(note)));
         return parts.size() == 1 && parts[0].text == v && parts[0].note == v;
     }},
    {"stream",
     [](Fixture& f, const auto& v) {
         std::vector<Item> found;
         const auto on_row = [&](Item row) { found.push_back(std::move(row)); };
         const auto count = f.run(f.items.stream(text == v, note == v, descending(code), on_row));
         return count == 1 && is_one(f, found);
     }},
    {"stream of locked rows",
     [](Fixture& f, const auto& v) {
         std::vector<Item> found;
         const auto on_row = [&](Item row) { found.push_back(std::move(row)); };
         f.run(f.items.stream(text == v, for_update.skip_locked(), on_row));
         return is_one(f, found);
     }},
    {"count and exists",
     [](Fixture& f, const auto& v) {
         return f.run(f.items.count(text == v)) == 1 && f.run(f.items.exists(1, v)) &&
                f.run(f.items.exists(note == v)) && !f.run(f.items.exists(text == v + "'"));
     }},
    {"aggregates",
     [](Fixture& f, const auto& v) {
         const auto one = code == v;
         return f.run(f.items.sum(shop, one)) == 1 && f.run(f.items.average(shop, one)) == 1.0 &&
                f.run(f.items.min(text, one)) == v && f.run(f.items.max(note, one)) == v;
     }},
    {"count_by",
     [](Fixture& f, const auto& v) {
         const auto counts = f.run(f.items.count_by(text, note == v));
         return counts.size() == 1 && counts[0].first == v && counts[0].second == 1;
     }},
    {"locks",
     [](Fixture& f, const auto& v) {
         return f.run_in_scope([&]() -> asio::awaitable<bool> {
             const std::vector<std::pair<int, std::string>> keys{{1, v}};
             const Item got = co_await f.items.get(1, v, for_update);
             const auto found = co_await f.items.find(text == v, for_share.no_wait());
             const auto all = co_await f.items.find_all(note == v, for_update.skip_locked());
             const auto by_keys = co_await f.items.find_all(keys, for_update);
             co_return is_one(f, std::optional{got}) && is_one(f, found) && is_one(f, all) &&
                 is_one(f, by_keys);
         });
     }},
};

const std::vector<Call> changes{
    {"update of fields",
     [](Fixture& f, const auto& v) {
         return is_changed(f, f.run(f.items.update(1, v, note = v + "'")), v + "'");
     }},
    {"update by changes",
     [](Fixture& f, const auto& v) {
         return is_changed(f, f.run(f.items.update(1, v, changes_to(v + "'"))), v + "'") &&
                f.run(f.items.update(1, v, Changes<Item>{})).value().note == v + "'";
     }},
    {"update by what is computed",
     [](Fixture& f, const auto& v) {
         const auto longer = note = sql<std::string>("$ || $::text", note, v);
         return is_changed(f, f.run(f.items.update(1, v, longer)), v + v) &&
                f.run(f.items.update(text == v, note = text)) == 1 &&
                f.run(f.items.get(1, v)).note == v;
     }},
    {"update from one model to another",
     [](Fixture& f, const auto& v) {
         Item wanted = f.one;
         wanted.note = v + "'";
         return is_changed(f, f.run(f.items.update(f.one, wanted)), v + "'");
     }},
    {"update by a model",
     [](Fixture& f, const auto& v) {
         Item wanted = item(1, v);
         wanted.note = v + "'";
         return is_changed(f, f.run(f.items.update(wanted)), v + "'");
     }},
    {"update of all for which conditions hold",
     [](Fixture& f, const auto& v) {
         return f.run(f.items.update(text == v, code == v, note = v + "'")) == 1 &&
                is_changed(f, f.run(f.items.find(1, v)), v + "'");
     }},
    {"update of all by changes",
     [](Fixture& f, const auto& v) {
         return f.run(f.items.update(text == v, changes_to(v + "'"))) == 1 &&
                is_changed(f, f.run(f.items.find(1, v)), v + "'");
     }},
    {"remove by the key, and restore",
     [](Fixture& f, const auto& v) {
         return f.run(f.items.remove(1, v)) && !f.run(f.items.exists(1, v)) &&
                f.run(f.items.count()) == 1 && is_one(f, f.run(f.items.restore(1, v)));
     }},
    {"remove by a model",
     [](Fixture& f, const auto&) {
         return f.run(f.items.remove(f.one)) && f.run(f.items.count()) == 1;
     }},
    {"remove and restore by conditions",
     [](Fixture& f, const auto& v) {
         return f.run(f.items.remove(text == v, note == v)) == 1 && f.run(f.items.count()) == 1 &&
                f.run(f.items.restore(text == v)) == 1 && f.run(f.items.count()) == 2;
     }},
    {"remove for good",
     [](Fixture& f, const auto& v) {
         const auto all = f.items.with_deleted();
         f.run(f.items.remove(1, v));
         return f.run(all.find(text == v)).value().deleted_at && f.run(all.remove(1, v)) &&
                f.run(all.count()) == 1;
     }},
};

/// Makes every call with this value, and sees whether anything else has happened.
void call_all(Fixture& f, const std::string& value) {
    for (const auto* calls : {&inserts, &reads, &changes})
        for (const Call& call : *calls) {
            INFO(call.name << " with " << value.substr(0, 100));
            f.begin(value);
            CHECK(call.works(f, value));
        }
    CHECK(f.database
              .query("SELECT count(*) FROM " + table_text + " WHERE left_alone <> 'never written'")
              .number() == 0);
    CHECK(f.database.count("witness") == 0);
}

TEST_CASE("every call works with every kind of name and column", "[repository]") {
    Fixture f;
    call_all(f, "value");
}

const std::vector<const char*> hostile_values{"",
                                              " ",
                                              "'",
                                              "''",
                                              "\"",
                                              "\\",
                                              "\\'",
                                              "$1",
                                              "$$",
                                              "%",
                                              "_",
                                              "?",
                                              ":x",
                                              "{}",
                                              "{\"a\":1}",
                                              "[]",
                                              "null",
                                              "NULL",
                                              "TRUE",
                                              "0",
                                              "\t\n\r\x01\x1f\x7f",
                                              "\u00e4\u20ac\U0001f600\u202e",
                                              "'; DROP TABLE witness; --",
                                              "\"; DROP TABLE witness; --",
                                              "') OR TRUE; --",
                                              "\\'; DROP TABLE witness; /*",
                                              "\\u0027; DROP TABLE witness; --",
                                              "\",\"$1\":\"7",
                                              "}, {\"$1\": \"7\"}",
                                              "a\",\"b",
                                              "x'); COMMIT; DROP TABLE witness; --"};

TEST_CASE("no value is ever SQL", "[repository]") {
    Fixture f;
    for (const char* value : hostile_values) call_all(f, value);
    call_all(f, std::string(2000, '\''));
}

TEST_CASE("nor is one in a statement of the caller's", "[repository]") {
    Fixture f;
    f.database.query("CREATE TABLE kept (text text)");
    const std::string insert = "INSERT INTO kept VALUES ($1)";
    const std::string select = "SELECT $1::text";
    const auto text_of = [](const txscope::Result& result) {
        return result.one().get<std::string>(0);
    };
    for (const std::string value : hostile_values) {
        INFO(value);
        CHECK(text_of(f.run(f.sessions.execute(select, value))) == value);
        std::vector<txscope::Statement> statements;
        statements.emplace_back(insert, value);
        statements.emplace_back(select, value);
        CHECK(text_of(f.run(f.sessions.execute_all(std::move(statements))).at(1)) == value);
        const auto body = [&](txscope::Transaction& transaction) -> asio::awaitable<void> {
            transaction.enqueue(insert, value);
            const std::string channel = value.empty() ? "'" : value;
            transaction.notify(channel, value);
            transaction.set("app.value", value);
            const auto seen = [&](const std::string& one, const std::string& setting) {
                CHECK(one == value);
                CHECK(setting == value);
            };
            co_await transaction.stream<std::string, std::string>(
                "SELECT text, current_setting('app.value') FROM kept WHERE text = $1", value, seen);
        };
        f.run_in_scope(body);
        const auto kept = f.database.query("SELECT text FROM kept").column();
        CHECK(kept == std::vector<std::string>{value, value});
        f.database.query("TRUNCATE kept");
    }
    CHECK(f.database.count("witness") == 0);
}

TEST_CASE("nor are values made of what SQL and JSON are made of", "[repository]") {
    Fixture f;
    const std::vector<std::string> pieces{
        "'",  "\"",   "\\", ";",      "--",         "/*",
        "*/", "$1",   "$$", "(",      ")",          ",",
        "{",  "}",    "[",  "]",      ":",          "%",
        "\n", "\x02", "E'", "U&'",    "\\u00",      "NULL",
        "=",  " ",    "a",  "\u00e4", "\U0001f600", "DROP TABLE witness"};
    std::minstd_rand random{20'26};
    for (int i = 0; i < 30; ++i) {
        std::string value;
        for (auto length = random() % 12; length > 0; --length)
            value += pieces[random() % pieces.size()];
        call_all(f, value);
    }
}

TEST_CASE("a name that no table can have is refused", "[repository]") {
    Fixture f;
    for (const std::string_view name : {std::string_view{}, std::string_view{"a\0b", 3}})
        CHECK_THROWS_AS(f.items.save(item(1, "x"), Constraint{name}), std::invalid_argument);
    for (const std::string_view name : {"no such", "x\" DO NOTHING; DROP TABLE witness; --"})
        CHECK_THROWS_AS(f.run(f.items.save(item(1, "x"), Constraint{name})), txscope::SqlError);
    CHECK(f.database.count("witness") == 0);
}

TEST_CASE("a NUL character is refused wherever a call takes a text, and nothing is sent",
          "[repository]") {
    Fixture f;
    f.begin("value");
    const std::string nul{"a\0b", 3};
    const Item bad = item(3, nul);
    Item changed = f.one;
    changed.text = nul;
    const std::vector<Item> many{item(4, "good"), bad};
    const std::vector<std::string> values{"good", nul};
    const std::vector<std::pair<int, std::string>> keys{{1, "good"}, {1, nul}};
    const auto on_row = [](const Item&) {};
    const auto& items = f.items;
    const auto before = f.sessions.statistics().round_trips;
    const auto refused = [&](auto call) { CHECK_THROWS_AS(f.run(call()), txscope::ValueError); };
    const auto narrows = [&](auto condition) {
        CHECK_THROWS_AS(f.run(items.count(condition())), txscope::ValueError);
    };

    refused([&] { return items.create(bad); });
    refused([&] { return items.create(shop = 3, code = nul, text = "x"); });
    refused([&] { return items.create(changes_to(nul)); });
    refused([&] { return items.create_all(many); });
    refused([&] { return items.save(bad); });
    refused([&] { return items.save(bad, columns<&Item::text>); });
    refused([&] { return items.save(bad, one_text); });
    refused([&] { return items.save_all(many); });
    refused([&] { return items.save_all(many, one_text); });
    refused([&] { return items.create_unless_exists(bad); });
    for (const auto& add : std::vector<std::function<void()>>{
             [&] { items.add(bad); }, [&] { items.add(shop = 3, code = nul); },
             [&] { items.add_all(many); }})
        refused([&] {
            return f.scope([&]() -> asio::awaitable<void> {
                add();
                co_return;
            });
        });

    refused([&] { return items.get(1, nul); });
    refused([&] { return items.get(text == nul); });
    refused([&] { return items.find(1, nul); });
    refused([&] { return items.find(1, nul, for_update); });
    refused([&] { return items.exists(1, nul); });
    refused([&] { return items.find_all(keys); });
    refused([&] { return items.find_by(note, values); });
    refused([&] { return items.find_all(ascending(text), after(bad)); });
    refused([&] { return items.find_page(ascending(text), after(bad), Page{.limit = 1}); });
    refused([&] { return items.find_all(ascending(sql<bool>("$ = $", text, nul))); });
    refused([&] { return items.template select<Part>(note == nul); });
    refused([&] { return items.stream(note == nul, on_row); });
    refused([&] { return items.sum(shop, note == nul); });
    refused([&] { return items.count_by(text, note == nul); });

    narrows([&] { return text != nul; });
    narrows([&] { return nul < text; });
    narrows([&] { return note == std::optional{nul}; });
    narrows([&] { return text.in("x", nul); });
    narrows([&] { return text.in(values); });
    narrows([&] { return text.between("x", nul); });
    narrows([&] { return text.between(nul, "x"); });
    narrows([&] { return text.like(nul); });
    narrows([&] { return text.ilike(nul); });
    narrows([&] { return text.starts_with(nul); });
    narrows([&] { return text.is_distinct_from(nul); });
    narrows([&] { return row(shop, text) < row(1, nul); });
    narrows([&] { return sql("$ = $", text, nul); });
    narrows([&] { return sql<std::string>("lower($)", text) == nul; });
    narrows([&] { return txscope::json_text(text, nul) == "x"; });
    narrows([&] { return txscope::json_text(text, "x", nul) == "x"; });
    narrows([&] { return Criteria<Item>{text == "x" || !(text == nul)}; });

    refused([&] { return items.update(1, nul, note = "x"); });
    refused([&] { return items.update(1, "value", note = nul); });
    refused([&] { return items.update(1, "value", changes_to(nul)); });
    refused([&] { return items.update(1, "value", note = sql<std::string>("$", nul)); });
    refused([&] { return items.update(bad); });
    refused([&] { return items.update(f.one, changed); });
    refused([&] { return items.update(text == nul, note = "x"); });
    refused([&] { return items.update(text == "value", note = nul); });
    refused([&] { return items.update(text == "value", changes_to(nul)); });
    refused([&] { return items.remove(1, nul); });
    refused([&] { return items.remove(bad); });
    refused([&] { return items.remove(text == nul); });
    refused([&] { return items.restore(1, nul); });
    refused([&] { return items.restore(text == nul); });
    refused([&] { return items.with_deleted().remove(text == nul); });

    CHECK(f.sessions.statistics().round_trips == before);
    CHECK(f.run(items.count()) == 2);
}

TEST_CASE("what any call writes is undone with the scope around it", "[repository]") {
    Fixture f;
    f.begin("value");
    f.run(f.items.create(item(3, "deleted")));
    f.run(f.items.remove(3, "deleted"));
    const std::string rows =
        "SELECT string_agg(t::text, ' ' ORDER BY \"$1\") FROM " + table_text + " t";
    const auto undone = [&](std::string_view what, auto call) {
        INFO(what);
        const std::string before = f.database.query(rows).column().at(0);
        std::string within;
        const auto body = [&](txscope::Transaction& transaction) -> asio::awaitable<void> {
            co_await call();
            const auto found = co_await transaction.execute(rows);
            within = found.one().template get<std::string>(0);
            CHECK(f.database.query(rows).column().at(0) == before);
            transaction.set_rollback_only();
        };
        f.run(f.scope(body));
        CHECK(within != before);
        CHECK(f.database.query(rows).column().at(0) == before);
    };
    const auto add = [&](auto added) {
        return [added]() -> asio::awaitable<void> {
            added();
            co_return;
        };
    };
    const auto& items = f.items;
    const Item more = item(7, "more");
    const std::vector<Item> many{item(8, "many"), item(9, "more")};
    Item edited = f.one;
    edited.note = "edited";
    const auto version = field<&Item::version> = 1;
    undone("create", [&] { return items.create(more); });
    undone("create by fields",
           [&] { return items.create(shop = 7, code = "x", text = "y", version); });
    undone("create_all", [&] { return items.create_all(many); });
    undone("add", add([&] { items.add(more); }));
    undone("add by fields", add([&] { items.add(shop = 7, code = "x", text = "y", version); }));
    undone("add_all", add([&] { items.add_all(many); }));
    undone("save", [&] { return items.save(edited); });
    undone("save by a constraint", [&] { return items.save(edited, one_text); });
    undone("save_all", [&] { return items.save_all(std::vector{edited, more}); });
    undone("create_unless_exists", [&] { return items.create_unless_exists(more); });
    undone("update", [&] { return items.update(1, "value", note = "x"); });
    undone("update by changes", [&] { return items.update(1, "value", changes_to("x")); });
    undone("update by a model", [&] { return items.update(edited); });
    undone("update by two models", [&] { return items.update(f.one, edited); });
    undone("update of all", [&] { return items.update(shop > 0, note = "x"); });
    undone("update of all by changes", [&] { return items.update(shop > 0, changes_to("x")); });
    undone("remove", [&] { return items.remove(1, "value"); });
    undone("remove by a model", [&] { return items.remove(f.one); });
    undone("remove of all", [&] { return items.remove(shop > 0); });
    undone("restore", [&] { return items.restore(3, "deleted"); });
    undone("restore of all", [&] { return items.restore(shop == 3); });
    undone("remove for good", [&] { return items.with_deleted().remove(1, "value"); });
}

TEST_CASE("what any call reads is what the scope around it has written", "[repository]") {
    Fixture f;
    const auto body = [&](txscope::Transaction& transaction) -> asio::awaitable<void> {
        const auto& items = f.items;
        const Item own = item(1, "own");
        const Item kept = co_await items.create(own);
        const std::vector<std::pair<int, std::string>> keys{{1, "own"}};
        const std::vector<std::string> values{"own"};
        const auto by_name = ascending(text);
        const auto limit = Page{.limit = 9};
        const Item got = co_await items.get(1, "own");
        CHECK(got.number == kept.number);
        const auto found = co_await items.find(text == "own");
        CHECK(found);
        const bool exists = co_await items.exists(1, "own");
        CHECK(exists);
        const auto all = co_await items.find_all();
        CHECK(all.size() == 1);
        const auto by_keys = co_await items.find_all(keys);
        CHECK(by_keys.size() == 1);
        const auto groups = co_await items.find_by(note, values);
        CHECK(groups.at("own").size() == 1);
        const auto page = co_await items.find_page(by_name, limit);
        CHECK(page.rows.size() == 1);
        const auto parts = co_await items.template select<Part>();
        CHECK(parts.size() == 1);
        const auto streamed = co_await items.stream([](const Item&) {});
        CHECK(streamed == 1);
        const auto count = co_await items.count();
        CHECK(count == 1);
        const auto sum = co_await items.sum(shop);
        CHECK(sum == 1);
        const auto average = co_await items.average(shop);
        CHECK(average == 1.0);
        const auto least = co_await items.min(text);
        CHECK(least == "own");
        const auto most = co_await items.max(text);
        CHECK(most == "own");
        const auto counts = co_await items.count_by(text);
        CHECK(counts.size() == 1);
        const auto locked = co_await items.find_all(keys, for_update);
        CHECK(locked.size() == 1);
        const auto with_deleted = co_await items.with_deleted().count();
        CHECK(with_deleted == 1);
        transaction.set_rollback_only();
    };
    f.run(f.scope(body));
    CHECK(f.run(f.items.count()) == 0);
}

TEST_CASE("any call but a stream by itself takes one round trip and one statement",
          "[repository]") {
    const support::Database database{schema};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                                support::observed()};
    support::run(io, sessions.warm_up(1));
    const Items items{sessions};
    const Item one = support::run(io, items.create(item(1, "one")));
    Item edited = one;
    edited.note = "edited";
    const std::vector<std::pair<int, std::string>> keys{{1, "one"}, {2, "none"}};
    const std::vector<std::string> values{"one", "none"};
    const auto takes_one = [&](std::string_view what, auto call) {
        INFO(what);
        proxy.reset_counts();
        support::run(io, std::move(call));
        CHECK(proxy.round_trips() == 1);
        CHECK(proxy.statements().size() == 1);
    };
    for (const std::string again : {"first", "prepared"}) {
        CAPTURE(again);
        takes_one("find_all by keys", items.find_all(keys));
        takes_one("find_by", items.find_by(note, values));
        takes_one("find_page", items.find_page(ascending(text), Page{.limit = 1}));
        takes_one("find_page after",
                  items.find_page(ascending(text), after(one), Page{.limit = 1}));
        takes_one("select", items.template select<Part>(shop == 1));
        takes_one("sum", items.sum(shop));
        takes_one("average", items.average(shop));
        takes_one("min", items.min(text));
        takes_one("max", items.max(text));
        takes_one("count_by", items.count_by(text));
        takes_one("create by changes", items.create(changes_to("x")
                                                        .set(shop = 5)
                                                        .set(code = again)
                                                        .set(text = again)
                                                        .set(field<&Item::version> = 1)));
        takes_one("save", items.save(edited));
        takes_one("save by a constraint", items.save(edited, one_text));
        takes_one("save_all", items.save_all(std::vector{edited, item(6, again + "'")}));
        takes_one("create_unless_exists", items.create_unless_exists(one, one_text));
        takes_one("update by changes", items.update(1, "one", changes_to(again)));
        takes_one("update by no changes", items.update(1, "one", Changes<Item>{}));
        takes_one("update of all by changes", items.update(shop == 1, changes_to("x")));
        takes_one("remove", items.remove(1, "one"));
        takes_one("restore", items.restore(1, "one"));
        takes_one("remove of all", items.remove(shop == 1));
        takes_one("restore of all", items.restore(shop == 1));
        takes_one("with_deleted", items.with_deleted().count());
        takes_one("remove by a model", items.remove(support::run(io, items.get(1, "one"))));
        takes_one("restore", items.restore(1, "one"));
        // A stream has a transaction, which is over when the last of its rows has been taken.
        proxy.reset_counts();
        support::run(io, items.stream(shop == 1, [](const Item&) {}));
        CHECK(proxy.round_trips() == 2);
    }
    std::vector<Item> many;
    for (int i = 0; i < 5000; ++i) many.push_back(item(100 + i, std::string(1000, 'x')));
    for (std::size_t i = 0; i < many.size(); ++i) many[i].text += std::to_string(i);
    takes_one("create_all of 15 MB", items.create_all(many));
    takes_one("save_all of 15 MB", items.save_all(many));
}

TEST_CASE("SQL is checked whatever tables and columns are called", "[repository]") {
    Fixture f;
    const auto mismatches = [&] {  // whatever other tests of this program name
        auto all = txscope::testing::check<Items>(f.database.dsn());
        std::erase_if(all, [](const std::string& one) { return !one.starts_with("S.\"'"); });
        return all;
    };
    CHECK(mismatches() == txscope::testing::Mismatches{});
    f.database.query("ALTER TABLE " + table_text +
                     " RENAME \"select\" TO \"'; DROP TABLE witness; --\"");
    CHECK(std::ranges::any_of(mismatches(), [](const std::string& one) {
        return one.find(".select ") != std::string::npos;
    }));
    CHECK(f.database.count("witness") == 0);
}

TEST_CASE("rows are found by their keys whatever the table is called", "[repository]") {
    Fixture f;
    const Pairs pairs{f.sessions};
    const std::vector<std::pair<int, int>> keys{{1, 2}, {2, 1}};
    const auto found = f.run(pairs.find_all(keys));
    REQUIRE(found.size() == 1);
    CHECK(found[0].b == 2);
}

}  // namespace repository_calls
