#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/run.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/core/decimal.hpp>
#include <txscope/core/interval.hpp>
#include <txscope/core/range.hpp>
#include <txscope/postgres/sql.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/testing/check.hpp>
#include <txscope/values/decimal_float.hpp>
#include <txscope/values/hstore.hpp>
#include <txscope/values/inet.hpp>
#include <txscope/values/json.hpp>
#include <txscope/values/uuid.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <boost/json/value.hpp>
#include <boost/multiprecision/cpp_dec_float.hpp>
#include <boost/uuid/uuid.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace checked_sql {
struct ProductId {
    std::int64_t value{};
};
}  // namespace checked_sql
template <>
struct txscope::SqlValue<checked_sql::ProductId>
    : txscope::WrappedValue<&checked_sql::ProductId::value> {};

// What a program takes a schema for, and what becomes of that when the schema changes. All `sql<…>` of
// this program are checked along, so the tests look at what is said of these tables.
namespace checked_sql {

using txscope::sql;
using txscope::Statement;
using txscope::testing::Mismatches;

enum class Kind {
    small,
    large
};
BOOST_DESCRIBE_ENUM(Kind, small, large)

struct Project {
    std::int64_t id{};
    std::string name;
    std::int32_t stars{};
    std::optional<std::string> status;
    std::vector<std::string> tags;
    Kind kind{};
    std::chrono::system_clock::time_point since;
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, stars, status, tags, kind, since))

/// One member of each kind of value.
struct Size {
    int width{};
    int height{};
};
BOOST_DESCRIBE_STRUCT(Size, (), (width, height))
struct Product {
    ProductId id;
    txscope::Decimal price;
    double weight{};
    std::vector<std::vector<std::int32_t>> grid;
    std::vector<std::byte> picture;
    std::chrono::year_month_day from;
    std::chrono::sys_days until;
    std::chrono::local_seconds opens;
    std::chrono::minutes takes{};
    txscope::Interval warranty;
    Size size;
    std::optional<std::string> document;
    std::uint32_t oid{};
};
BOOST_DESCRIBE_STRUCT(Product, (),
                      (id, price, weight, grid, picture, from, until, opens, takes, warranty, size,
                       document, oid))

struct Setting {
    std::string owner;
    std::string name;
    bool on{};
};
BOOST_DESCRIBE_STRUCT(Setting, (), (owner, name, on))

/// And of other libraries.
struct Device {
    boost::uuids::uuid id{};
    boost::json::value state;
    boost::asio::ip::address address;
    boost::asio::ip::network_v4 network;
    std::map<std::string, std::optional<std::string>> labels;
    boost::multiprecision::cpp_dec_float_50 weight;
};
BOOST_DESCRIBE_STRUCT(Device, (), (id, state, address, network, labels, weight))

struct Note {
    std::int64_t id{};
    std::string text;
    std::vector<std::string> tags;
    std::optional<std::chrono::system_clock::time_point> deleted_at{};
};
BOOST_DESCRIBE_STRUCT(Note, (), (id, text, tags, deleted_at))

struct Ticket {
    std::int64_t id{};
    std::string name;
    std::optional<std::chrono::system_clock::time_point> deleted_at{};
};
BOOST_DESCRIBE_STRUCT(Ticket, (), (id, name, deleted_at))
class Tickets : public txscope::BaseRepository<Tickets, Ticket> {
public:
    static constexpr std::string_view table = "checked.tickets";
    static constexpr auto generated = txscope::columns<&Ticket::id>;
    static constexpr auto deleted_at = txscope::columns<&Ticket::deleted_at>;
    using BaseRepository::BaseRepository;
};

/// Columns of any type.
struct Texts {
    std::string id, a, b, c, d, e, f, g;
    std::vector<std::string> h, i;
};
BOOST_DESCRIBE_STRUCT(Texts, (), (id, a, b, c, d, e, f, g, h, i))

struct Summary {
    std::string name;
    std::int64_t stars{};
};
BOOST_DESCRIBE_STRUCT(Summary, (), (name, stars))

/// Ranges of several kinds, and some of their columns.
struct Booking {
    std::int64_t id{};
    txscope::Range<std::int32_t> seats;
    txscope::Range<std::chrono::sys_seconds> during;
    txscope::Multirange<std::chrono::sys_days> days;
    std::vector<txscope::Range<txscope::Decimal>> prices;
    std::string ages;
};
BOOST_DESCRIBE_STRUCT(Booking, (), (id, seats, during, days, prices, ages))
struct Slot {
    std::int64_t id{};
    txscope::Range<std::chrono::sys_seconds> during;
};
BOOST_DESCRIBE_STRUCT(Slot, (), (id, during))

class Bookings : public txscope::BaseRepository<Bookings, Booking> {
public:
    static constexpr std::string_view table = "checked.bookings";
    using BaseRepository::BaseRepository;
};
auto slots_of(const Bookings& bookings) { return bookings.select<Slot>(); }

class Projects : public txscope::BaseRepository<Projects, Project> {
public:
    static constexpr std::string_view table = "checked.projects";
    static constexpr auto generated = txscope::columns<&Project::id>;
    static constexpr std::string_view column(std::string_view member) {
        return member == "kind" ? "class" : member;
    }
    using BaseRepository::BaseRepository;
};
class Products : public txscope::BaseRepository<Products, Product> {
public:
    static constexpr std::string_view table = "checked.products";
    using BaseRepository::BaseRepository;
};
class Devices : public txscope::BaseRepository<Devices, Device> {
public:
    static constexpr std::string_view table = "checked.devices";
    using BaseRepository::BaseRepository;
};
class Settings : public txscope::BaseRepository<Settings, Setting> {
public:
    static constexpr std::string_view table = "checked.settings";
    static constexpr auto key = txscope::columns<&Setting::owner, &Setting::name>;
    using BaseRepository::BaseRepository;
};
class Notes : public txscope::BaseRepository<Notes, Note> {
public:
    static constexpr std::string_view table = "checked.notes";
    static constexpr auto deleted_at = txscope::columns<&Note::deleted_at>;
    using BaseRepository::BaseRepository;
};
class Log : public txscope::BaseRepository<Log, Summary> {  // without a key
public:
    static constexpr std::string_view table = "checked.log";
    using BaseRepository::BaseRepository;
};
class TextRows : public txscope::BaseRepository<TextRows, Texts> {
public:
    static constexpr std::string_view table = "checked.texts";
    using BaseRepository::BaseRepository;
};
class Totals : public txscope::ReadRepository<Totals, Summary> {
public:
    static constexpr std::string_view table = "checked.totals";
    static constexpr auto key = txscope::columns<&Summary::name>;
    using ReadRepository::ReadRepository;
};

const std::string schema = R"(
    CREATE SCHEMA checked;
    CREATE TYPE checked.kind AS ENUM ('small', 'large');
    CREATE DOMAIN checked.title AS varchar(80);
    CREATE TABLE checked.projects (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name checked.title NOT NULL,
        stars integer NOT NULL, status text, tags text[] NOT NULL, class checked.kind NOT NULL,
        since timestamptz NOT NULL, remark text);
    CREATE TABLE checked.settings (
        owner text, name text, "on" boolean NOT NULL, PRIMARY KEY (owner, name));
    CREATE TABLE checked.bookings (
        id bigint PRIMARY KEY, seats int4range NOT NULL, during tstzrange NOT NULL,
        days datemultirange NOT NULL, prices numrange[] NOT NULL, ages int8range NOT NULL);)";

Statement with_status(std::string_view status) {
    return sql<"SELECT name, stars FROM checked.projects WHERE status = $1", Summary>(status);
}
Statement rename(std::int64_t id, const char* name) {
    return sql<"UPDATE checked.projects SET name = $1 WHERE id = $2">(name, id);
}
Statement forget(const std::vector<std::int32_t>& ids) {
    return sql<"UPDATE checked.projects SET tags = $1 WHERE id = ANY ($2)">(nullptr, ids);
}
Statement best(std::int32_t limit) {
    return sql<"SELECT max(stars), status FROM checked.projects GROUP BY status LIMIT $1",
               std::tuple<std::int32_t, std::optional<std::string>>>(limit);
}

Mismatches of_these_tables(Mismatches all) {
    std::erase_if(all, [](const std::string& one) { return one.find("checked") == one.npos; });
    return all;
}
template <typename... Repositories>
Mismatches found_by(const std::string& change) {
    const support::Database database{schema + change};
    return of_these_tables(txscope::testing::check<Repositories...>(database.dsn()));
}
Mismatches found_after(const std::string& change) { return found_by<Projects, Settings>(change); }

TEST_CASE("nothing is said of a schema that the program fits", "[checked_sql]") {
    CHECK(found_after("") == Mismatches{});
}

TEST_CASE("nothing is said where the program takes more than there can be", "[checked_sql]") {
    CHECK(found_after("ALTER TABLE checked.projects ALTER stars TYPE smallint, "
                      "ALTER status SET NOT NULL, ADD more int NOT NULL DEFAULT 0") ==
          Mismatches{});
}

TEST_CASE("a repository without a key is checked for what needs none", "[checked_sql]") {
    const std::string create =
        "CREATE TABLE checked.log (name text NOT NULL, stars bigint NOT NULL";
    CHECK(found_by<Log>(create + ")") == Mismatches{});
    CHECK(found_by<Log>(create + ", at date NOT NULL)").size() == 1);
}

TEST_CASE("each kind of value has its types", "[checked_sql]") {
    const std::vector<std::string> columns{"id bigint PRIMARY KEY",
                                           "price numeric(9,2)",
                                           "weight double precision",
                                           "grid integer[]",
                                           "picture bytea",
                                           "\"from\" date",
                                           "until date",
                                           "opens timestamp",
                                           "takes interval",
                                           "warranty interval",
                                           "size checked.size",
                                           "document jsonb",
                                           "oid oid"};
    const auto found = [&](const std::string& type) {
        std::string create =
            "CREATE TYPE checked.size AS (width int, height int); "
            "CREATE TABLE checked.products (";
        for (const std::string& column : columns) {
            const auto name = column.substr(0, column.find(' '));
            create += (column == columns.front() ? "" : ", ") +
                      (type.empty() ? column : name + " " + type) +
                      (name == "id" || name == "document" ? "" : " NOT NULL");
        }
        return found_by<Products>(create + (type.empty() ? "" : ", PRIMARY KEY (id)") + ")").size();
    };
    CHECK(found("") == 0);
    CHECK(found("uuid") == columns.size() - 1);      // for a text may be one
    CHECK(found("smallint") == columns.size() - 2);  // integers
    CHECK(found("date[]") > columns.size());         // and some statements have no operator
}

TEST_CASE("each kind of value of another library has its types", "[checked_sql]") {
    const auto found = [](const std::string& address, const std::string& of_others) {
        const auto type = [&](const char* own) { return of_others.empty() ? own : of_others; };
        return found_by<Devices>("CREATE EXTENSION hstore; CREATE TABLE checked.devices (id " +
                                 type("uuid") + " PRIMARY KEY, state " + type("json") +
                                 " NOT NULL, address " + address + " NOT NULL, network " + address +
                                 " NOT NULL, labels " + type("hstore") + " NOT NULL, weight " +
                                 type("numeric(9, 3)") + " NOT NULL)");
    };
    CHECK(found("inet", "") == Mismatches{});
    CHECK(found("cidr", "") == Mismatches{});
    const auto all = found("text", "text");
    REQUIRE(all.size() == 6);
    for (std::size_t i = 0;
         const char* name : {"id", "state", "address", "network", "labels", "weight"})
        CHECK_THAT(all[i++], Catch::Matchers::StartsWith(std::string{"checked.devices."} + name +
                                                         " is text, where the program has "));
}

TEST_CASE("what has conditions and fields of the caller's is prepared with each column",
          "[checked_sql]") {
    const auto notes = txscope::detail::expected_table<Notes>();
    const std::string select =
        "SELECT \"id\", \"text\", \"tags\", \"deleted_at\" FROM \"checked\".\"notes\"";
    const std::string row = " RETURNING \"id\", \"text\", \"tags\", \"deleted_at\"";
    const std::string there = "\"deleted_at\" IS NULL";
    for (const std::string& sql :
         {select, select + " WHERE \"id\" OPERATOR(pg_catalog.=) $1 AND " + there + " FOR SHARE",
          select + " WHERE \"id\" OPERATOR(pg_catalog.=) $1 AND " + there +
              " FOR UPDATE SKIP LOCKED",
          "UPDATE \"checked\".\"notes\" SET \"deleted_at\" = $1 WHERE \"id\" "
          "OPERATOR(pg_catalog.=) $2 "
          "AND \"deleted_at\" IS NOT NULL" +
              row,
          std::string{"DELETE FROM \"checked\".\"notes\" WHERE \"id\" OPERATOR(pg_catalog.=) $1"}})
        CHECK(notes.statements.contains(sql));
    CHECK(notes.statements.contains(std::string{txscope::detail::sql_text<
        txscope::Entity<Notes, Note>, txscope::detail::SaveAll<txscope::Entity<Notes, Note>>>(
        txscope::columns<&Note::id>)}));
    for (const std::string& sql :
         {select + " WHERE (\"id\" OPERATOR(pg_catalog.+) $1) OPERATOR(pg_catalog.=) $2 AND " +
              there,
          select + " WHERE \"text\" < $1 AND " + there,
          select + " WHERE \"text\" IS DISTINCT FROM $1 AND " + there,
          select + " WHERE \"text\" = ANY($1) AND " + there,
          select + " WHERE \"text\" ILIKE $1 AND " + there,
          select + " WHERE $1 = ANY(\"tags\") AND " + there,
          select + " WHERE \"id\" OPERATOR(pg_catalog.>) $1 AND " + there +
              " ORDER BY \"checked\".\"notes\".\"id\" LIMIT $2 OFFSET $3",
          "SELECT pg_catalog.avg(\"id\") FROM \"checked\".\"notes\" WHERE " + there,
          "SELECT \"text\", pg_catalog.count(*) FROM \"checked\".\"notes\" WHERE " + there +
              " GROUP BY \"text\" ORDER BY \"text\"",
          "UPDATE \"checked\".\"notes\" SET \"text\" = $1 WHERE \"text\" = $2 AND " + there,
          "INSERT INTO \"checked\".\"notes\" (\"tags\") VALUES ($1)" + row})
        CHECK(notes.statements_by_column.contains(sql));
    const std::string create =
        "CREATE TABLE checked.notes (id bigint PRIMARY KEY, text text NOT NULL, tags text[] NOT "
        "NULL, deleted_at timestamptz";
    CHECK(found_by<Notes>(create + ")") == Mismatches{});
}

TEST_CASE("a range is checked by what its bounds are", "[checked_sql]") {
    CHECK(found_by<Bookings>("") == Mismatches{});
    const auto found = [](const std::string& column, const std::string& type) {
        const auto all = found_by<Bookings>("ALTER TABLE checked.bookings DROP " + column +
                                            ", ADD " + column + ' ' + type + " NOT NULL");
        return all.empty() ? std::string{} : all.front();
    };
    for (const std::string type : {"int8range", "int4multirange", "int4range[]", "text", "integer"})
        CHECK_THAT(found("seats", type),
                   Catch::Matchers::StartsWith("checked.bookings.seats is " + type +
                                               ", where the program has a range, each bound a "));
    CHECK(found("seats", "numrange").empty());  // as an integer is read of a numeric
    CHECK_THAT(found("days", "daterange"),
               Catch::Matchers::StartsWith("checked.bookings.days is daterange, where the program "
                                           "has a multirange, each bound "));
    CHECK_THAT(found("prices", "tsrange[]"),
               Catch::Matchers::StartsWith("checked.bookings.prices is tsrange[], where the "
                                           "program has an array, each a range, each bound "));
    CHECK(found("ages", "tsrange").empty());  // a text is for any
    CHECK(found_by<Bookings>("CREATE DOMAIN checked.row AS int4range; ALTER TABLE checked.bookings "
                             "ALTER seats TYPE checked.row") == Mismatches{});
}

TEST_CASE("what select<Row> reads is checked wherever the program says it", "[checked_sql]") {
    const Mismatches all =
        found_by<Settings>("ALTER TABLE checked.bookings DROP during, ADD during tsrange");
    const std::string slots =
        R"(SELECT "id", "during" FROM "checked"."bookings": column "during" )";
    REQUIRE(all.size() == 2);
    std::set<std::string> sorted{all.begin(), all.end()};
    CHECK_THAT(*sorted.begin(),
               Catch::Matchers::StartsWith(slots + "is tsrange, where the program has a range, "));
    CHECK(*sorted.rbegin() ==
          slots + "may be NULL, where the program has " +
              txscope::detail::expected_type<txscope::Range<std::chrono::sys_seconds>,
                                             txscope::detail::Use::read>()
                  .words +
              ", no std::optional");
}

TEST_CASE("that a column's type has no such operation is said of a key alone", "[checked_sql]") {
    const auto found = [](const std::string& key, const std::vector<std::string>& types) {
        std::string create = "CREATE TABLE checked.texts (id " + key + " NOT NULL";
        for (char name = 'a'; const std::string& type : types)
            create += std::string{", "} + name++ + " " + type + " NOT NULL";
        return found_by<TextRows>("CREATE TYPE checked.size AS (width int, height int); " + create +
                                  ")");
    };
    for (const std::vector<std::string>& types : std::vector<std::vector<std::string>>{
             {"json", "xml", "point", "box", "circle", "polygon", "path", "json[]", "point[]"},
             {"line", "lseg", "xid", "cid", "tid", "tsvector", "tsquery", "uuid[]", "xml[]"},
             {"inet", "cidr", "macaddr", "uuid", "money", "bit(3)", "varbit", "date[]", "bit[]"},
             {"jsonb", "interval", "timetz", "name", "\"char\"", "regclass", "pg_lsn", "jsonb[]",
              "checked.size[]"},
             {"int4range", "int8multirange", "checked.kind", "checked.size", "checked.title",
              "varchar(3)", "char(3)", "checked.kind[]", "checked.title[]"}}) {
        const auto all = found("text UNIQUE", types);
        CHECK(all == Mismatches{});
    }
    const std::vector<std::string> texts{"text", "text", "text",   "text",  "text",
                                         "text", "text", "text[]", "text[]"};
    const auto all = found("json", texts);
    CHECK(std::ranges::any_of(all, [](const std::string& one) {
        return one.starts_with("checked.texts: operator does not exist: json =");
    }));
}

TEST_CASE("a view is only asked for its columns, and a repository that reads for what it reads",
          "[checked_sql]") {
    CHECK(found_by<Totals>("CREATE VIEW checked.totals AS SELECT name, sum(stars) AS stars, 1 AS "
                           "more FROM checked.projects GROUP BY 1") == Mismatches{});
    CHECK(found_by<Totals>("CREATE VIEW checked.totals AS SELECT 1 AS name, 1 AS stars") ==
          Mismatches{"checked.totals.name is integer, where the program has a text"});
}

TEST_CASE("a table or a column that is not there is named", "[checked_sql]") {
    CHECK(found_after("DROP TABLE checked.settings") ==
          Mismatches{"checked.settings: there is no such table"});
    CHECK(found_after("ALTER TABLE checked.projects DROP since") ==
          Mismatches{"checked.projects.since is not there, where the program has " +
                     txscope::detail::type_words<std::chrono::system_clock::time_point>()});
}

TEST_CASE("a column that was renamed is missed by its old name, and new by the other",
          "[checked_sql]") {
    const auto found = found_after("ALTER TABLE checked.projects RENAME stars TO likes");
    REQUIRE(found.size() == 4);
    CHECK(found[0] ==
          "checked.projects.stars is not there, where the program has a 32-bit integer");
    CHECK(found[1] ==
          "checked.projects.likes is NOT NULL without a default, and the program does not have it");
    for (const auto& of_literal : {found[2], found[3]})
        CHECK_THAT(of_literal,
                   Catch::Matchers::ContainsSubstring("column \"stars\" does not exist"));
}

TEST_CASE("a column of another type is named, with what is read from it and compared with it",
          "[checked_sql]") {
    CHECK(found_after("ALTER TABLE checked.projects ALTER tags DROP NOT NULL, "
                      "ALTER tags TYPE text USING tags::text") ==
          Mismatches{"checked.projects.tags is text, where the program has an array, each a text",
                     "checked.projects.tags may be NULL, where the program has an array, each a "
                     "text, no std::optional"});
    CHECK(found_after("ALTER TABLE checked.settings ALTER \"on\" TYPE integer USING 1") ==
          Mismatches{"checked.settings.on is integer, where the program has a bool"});
    const auto found = found_after(
        "ALTER TABLE checked.projects ALTER status TYPE integer USING 1, ALTER stars TYPE bigint");
    CHECK(std::set(found.begin(), found.end()) ==
          std::set<std::string>{
              "checked.projects.stars is bigint, where the program has a 32-bit integer",
              "checked.projects.status is integer, where the program has a text",
              "sql<\"SELECT name, stars FROM checked.projects WHERE status = $1\">: $1 is integer, "
              "where the program has a text",
              "sql<\"SELECT max(stars), status FROM checked.projects GROUP BY status LIMIT $1\">: "
              "column 1 is bigint, where the program has a 32-bit integer",
              "sql<\"SELECT max(stars), status FROM checked.projects GROUP BY status LIMIT $1\">: "
              "column 2 is integer, where the program has a text"});
}

TEST_CASE("a column that may be NULL is named where the member may not", "[checked_sql]") {
    CHECK(found_after("ALTER TABLE checked.projects ALTER name DROP NOT NULL") ==
          Mismatches{"checked.projects.name may be NULL, where the program has a text, no "
                     "std::optional",
                     "sql<\"SELECT name, stars FROM checked.projects WHERE status = $1\">: column "
                     "\"name\" may be NULL, where the program has a text, no std::optional"});
}

TEST_CASE("a composite is checked field by field", "[checked_sql]") {
    const auto found = [](const std::string& fields) {
        return found_by<Products>(
            "CREATE TYPE checked.size AS " + fields +
            "; CREATE TABLE checked.products (id bigint PRIMARY KEY, price numeric NOT NULL, "
            "weight "
            "double precision NOT NULL, grid integer[] NOT NULL, picture bytea NOT NULL, \"from\" "
            "date NOT NULL, until date NOT NULL, opens timestamp NOT NULL, takes interval NOT "
            "NULL, "
            "warranty interval NOT NULL, size checked.size NOT NULL, document jsonb, oid oid NOT "
            "NULL)");
    };
    CHECK(found("(width int, height int)") == Mismatches{});
    CHECK(found("(width int, height int, depth int)") ==
          Mismatches{"checked.products.size is checked.size with 3 fields, where the program has "
                     "checked_sql::Size with 2"});
    CHECK(found("(width int, height text)") ==
          Mismatches{"checked.products.size has a field \"height\" that is text, where the program "
                     "has a 32-bit integer"});
}

TEST_CASE("a column that is left to the database has a default there, or a trigger",
          "[checked_sql]") {
    const std::string create = "CREATE TABLE checked.tickets (id bigint PRIMARY KEY";
    CHECK(found_by<Tickets>(create +
                            " GENERATED ALWAYS AS IDENTITY, name text NOT NULL, deleted_at "
                            "timestamptz)") == Mismatches{});
    CHECK(
        found_by<Tickets>(create + ", name text NOT NULL, deleted_at timestamptz NOT NULL)") ==
        Mismatches{"checked.tickets.id is NOT NULL without a default, and the program leaves it to "
                   "the database",
                   "checked.tickets.deleted_at is NOT NULL without a default, and the program "
                   "leaves it to the database"});
    CHECK(found_by<Tickets>(
              create +
              ", name text NOT NULL, deleted_at timestamptz); CREATE FUNCTION checked.f() "
              "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER "
              "fills BEFORE INSERT ON checked.tickets FOR EACH ROW EXECUTE FUNCTION "
              "checked.f()") == Mismatches{});
}

TEST_CASE("a value of an enumeration that the program does not know is named", "[checked_sql]") {
    CHECK(found_after("ALTER TYPE checked.kind ADD VALUE 'huge'") ==
          Mismatches{"checked.projects.class may be 'huge', which is no enumerator of "
                     "checked_sql::Kind"});
}

TEST_CASE("a key that no index holds unique is told with the statement", "[checked_sql]") {
    const auto found = found_after("ALTER TABLE checked.settings DROP CONSTRAINT settings_pkey");
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0],
               Catch::Matchers::ContainsSubstring("checked.settings: ") &&
                   Catch::Matchers::ContainsSubstring("ON CONFLICT (\"owner\", \"name\")"));
}

TEST_CASE("a schema is read from a file, without what is for psql", "[checked_sql]") {
    const auto path = std::filesystem::temp_directory_path() / "txscope_checked_sql.sql";
    std::ofstream{path} << "\\restrict secret\n" << schema << "\n\\unrestrict secret\n";
    const auto check = [&] {
        return of_these_tables(
            txscope::testing::check<Projects, Settings>(txscope::testing::SchemaFile{path}));
    };
    CHECK(check() == Mismatches{});
    std::ofstream{path} << "CREATE TABLE nonsense (";
    CHECK_THROWS_AS(check(), std::runtime_error);
    std::filesystem::remove(path);
    CHECK_THROWS_AS(check(), std::runtime_error);
}

TEST_CASE("the schema of a file is loaded for a test, all of it or nothing", "[checked_sql]") {
    const support::Database database{""};
    const auto path = std::filesystem::temp_directory_path() / "txscope_loaded.sql";
    const auto load = [&](std::string_view sql) {
        std::ofstream{path} << sql;
        txscope::testing::load(txscope::testing::SchemaFile{path}, database.dsn());
    };
    CHECK_THROWS_AS(load("CREATE TABLE one (); CREATE TABLE one ();"), std::runtime_error);
    load("CREATE TABLE one ();\n\\connect other\nCREATE TABLE two ();");
    CHECK(database.count("two") == 0);
    std::filesystem::remove(path);
    CHECK_THROWS_AS(txscope::testing::load(txscope::testing::SchemaFile{path}, database.dsn()),
                    std::runtime_error);
}

TEST_CASE("sql<…> is a statement with its values", "[checked_sql]") {
    const Statement statement = rename(7, "Apollo");
    CHECK(statement.sql() == "UPDATE checked.projects SET name = $1 WHERE id = $2");
    CHECK(statement.parameter(0) == "Apollo");
    CHECK(statement.parameter(1) == "7");
    support::ScopeFixture fixture;
    const auto answer = fixture.run(fixture.sessions.execute(sql<"SELECT $1::int + 1">(41)));
    CHECK(answer.one().get<int>(0) == 42);
    CHECK(with_status("new").size() == 1);
    CHECK(best(1).size() == 1);
    CHECK(forget({1, 2}).size() == 2);
}

}  // namespace checked_sql
