#include "support/catch.hpp"
#include "support/wire_connection.hpp"
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>

#include <boost/describe/enum.hpp>

#include <cctype>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

/// What the server makes of our statements, and we of its results.

namespace statement {

/// A type of a program's own, whose arrays are divided by colons.
struct Pair {
    std::string text;
    bool operator==(const Pair&) const = default;
};

}  // namespace statement

template <>
struct txscope::SqlValue<statement::Pair> {
    static constexpr char delimiter = ':';
    static std::string to_text(const statement::Pair& pair) { return pair.text; }
    static statement::Pair from_text(std::string_view text) { return {std::string{text}}; }
};

namespace statement {

using Catch::Matchers::ContainsSubstring;
using txscope::Result;
using txscope::SqlError;

enum class Mood {
    sad,
    ok,
    happy
};
BOOST_DESCRIBE_ENUM(Mood, sad, ok, happy)

class Blocking {
public:
    explicit Blocking(const std::string& schema = {}) : wire_{schema} {}

    template <typename... Args>
    Result execute(const std::string& sql, const Args&... args) {
        return wire_.ask(sql, args...);
    }

    template <typename T>
    void check_round_trip(const T& value, const std::string& type) {
        INFO("type " << type);
        CHECK(execute("SELECT $1::" + type, value).one().template get<T>(0) == value);
    }

private:
    support::WireConnection wire_;
};

const std::string schema = R"(
    CREATE TABLE projects (id int PRIMARY KEY, name text NOT NULL UNIQUE
                           CONSTRAINT name_is_short CHECK (length(name) < 20));
    CREATE TABLE workflows (project_id int REFERENCES projects, name varchar(5));
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE FUNCTION refuse(name text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the name % is taken', upper(name); END $$;
    CREATE FUNCTION refuse_as_check(name text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RAISE check_violation USING TABLE = name, CONSTRAINT = 'own_rule'; END $$;
    INSERT INTO projects VALUES (1, 'alpha');
    INSERT INTO workflows VALUES (1, 'build');
)";

std::string lower(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

template <typename Action>
std::string error_text_of(Action action) {
    try {
        action();
    } catch (const SqlError& error) {
        return error.what();
    }
    return "no SqlError";
}

TEST_CASE("every supported type comes back from the server as it was sent", "[statement]") {
    Blocking connection{schema};

    connection.check_round_trip(true, "boolean");
    connection.check_round_trip(false, "boolean");
    connection.check_round_trip(std::numeric_limits<std::int8_t>::min(), "smallint");
    connection.check_round_trip(std::numeric_limits<std::uint8_t>::max(), "smallint");
    connection.check_round_trip(std::numeric_limits<std::int16_t>::min(), "smallint");
    connection.check_round_trip(std::numeric_limits<std::uint16_t>::max(), "integer");
    connection.check_round_trip(std::numeric_limits<std::int32_t>::min(), "integer");
    connection.check_round_trip(std::numeric_limits<std::uint32_t>::max(), "bigint");
    connection.check_round_trip(std::numeric_limits<std::int64_t>::min(), "bigint");
    connection.check_round_trip(std::numeric_limits<std::uint64_t>::max(), "numeric");

    for (double number :
         {0.0, 0.1, 1.0 / 3, -2.5e-308, 4.9406564584124654e-324, std::numeric_limits<double>::max(),
          std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
        connection.check_round_trip(number, "double precision");
    }
    for (float number : {0.1f, 1.0f / 3, std::numeric_limits<float>::max()}) {
        connection.check_round_trip(number, "real");
    }
    CHECK(std::isnan(connection.execute("SELECT $1::float8", std::nan("")).one().get<double>(0)));

    connection.check_round_trip(std::string{}, "text");
    connection.check_round_trip(std::string{"O'Reilly \"; DROP TABLE x; -- \\ $1 Ünïcode 漢字 😀"},
                                "text");
    connection.check_round_trip(std::optional<std::string>{}, "text");
    connection.check_round_trip(std::optional<int>{7}, "integer");
    connection.check_round_trip(std::optional<int>{}, "integer");

    connection.check_round_trip(Mood::happy, "mood");
    connection.check_round_trip(std::vector<std::byte>{std::byte{0}, std::byte{0xff}}, "bytea");
    connection.check_round_trip(std::vector<std::byte>{}, "bytea");
    connection.check_round_trip(std::vector<int>{1, -2, 3}, "integer[]");
    connection.check_round_trip(std::vector<int>{}, "integer[]");
    connection.check_round_trip(std::vector<bool>{true, false}, "boolean[]");
    connection.check_round_trip(std::vector<Mood>{Mood::ok, Mood::sad}, "mood[]");
    const std::vector<std::optional<std::string>> texts{"a b", std::nullopt, "NULL", "", "\"{,}\\"};
    connection.check_round_trip(texts, "text[]");
    CHECK(connection.execute("SELECT '[0:1]={4,5}'::int[]").one().get<std::vector<int>>(0) ==
          std::vector<int>{4, 5});
}

TEST_CASE("an array is taken apart where its type divides it", "[statement]") {
    using Texts = std::vector<std::string>;
    using Nullable = std::vector<std::optional<std::string>>;
    Blocking connection{schema};
    const auto read = [&]<typename T>(std::type_identity<T>, const std::string& sql) {
        return connection.execute("SELECT " + sql).one().template get<T>(0);
    };
    const std::type_identity<Texts> texts;
    CHECK(read(texts, "'{(1,1),(0,0);(2,2),(1,1)}'::box[]") == Texts{"(1,1),(0,0)", "(2,2),(1,1)"});
    CHECK(read(texts, "'[0:1]={(1,1),(0,0);(2,2),(1,1)}'::box[]").size() == 2);
    CHECK(read(std::type_identity<Nullable>{}, "'{NULL;(2,2),(1,1)}'::box[]") ==
          Nullable{std::nullopt, "(2,2),(1,1)"});
    CHECK(read(texts, "ARRAY['(1,1)'::point]") == Texts{"(1,1)"});
    CHECK(read(texts, "ARRAY['10:30', 'a;b', 'c,d']") == Texts{"10:30", "a;b", "c,d"});
    CHECK(read(texts, "ARRAY['10:30'::time]") == Texts{"10:30:00"});
    CHECK(read(texts, "ARRAY['sad', 'ok']::mood[]") == Texts{"sad", "ok"});
    for (const char* several : {"'{{a,b},{c,d}}'::text[]", "'[1:1][2:2]={{a}}'::text[]",
                                "ARRAY[ARRAY['(1,1),(0,0)'::box]]"})
        CHECK_THROWS_AS(read(texts, several), txscope::ColumnError);
}

TEST_CASE("an array of a type with a delimiter of its own is right or refused, never in pieces",
          "[statement]") {
    using Texts = std::vector<std::string>;
    Blocking connection{"SET client_min_messages = warning;" + schema + R"(
        CREATE TYPE pair;
        CREATE FUNCTION pair_in(cstring) RETURNS pair LANGUAGE internal IMMUTABLE STRICT AS 'textin';
        CREATE FUNCTION pair_out(pair) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT
            AS 'textout';
        CREATE TYPE pair (INPUT = pair_in, OUTPUT = pair_out, LIKE = text, DELIMITER = ':');
        CREATE DOMAIN link AS text;
        CREATE TABLE stored (pairs pair[], links link[]);
    )"};
    const std::vector<Pair> pairs{{"1,2"}, {"3:4"}, {"NULL"}, {""}, {"a \" b"}};
    connection.execute("INSERT INTO stored VALUES ($1, $2)", pairs, Texts{"http://a", "b"});
    CHECK(connection.execute("SELECT array_length(pairs, 1) FROM stored").one().get<int>(0) == 5);
    const txscope::Row row = connection.execute("SELECT pairs, links FROM stored").one();
    CHECK(row.get<std::vector<Pair>>(0) == pairs);

    // Nothing tells that the comma does not divide the one, and that the colon not the other.
    CHECK_THROWS_WITH(row.get<Texts>(0),
                      ContainsSubstring("column \"pairs\"") && ContainsSubstring("delimiter"));
    CHECK_THROWS_AS(row.get<Texts>(1), txscope::ColumnError);
    CHECK(connection.execute("SELECT links::text[] FROM stored").one().get<Texts>(0) ==
          Texts{"http://a", "b"});
    CHECK(connection.execute("SELECT ARRAY['a', 'b,:;']::link[]").one().get<Texts>(0) ==
          Texts{"a", "b,:;"});
}

TEST_CASE("dates and times mean the same to the server, in any time zone", "[statement]") {
    using namespace std::chrono;
    Blocking connection{schema};
    const sys_time<microseconds> times[] = {
        sys_days{2024y / February / 29d} + 123456us,
        sys_days{1969y / December / 31d} + 86399999999us, sys_days{1890y / June / 1d},
        sys_days{-43y / March / 15d} + 12h, sys_days{12345y / January / 1d}};

    for (const char* zone : {"UTC", "Europe/Amsterdam", "Asia/Kolkata", "America/St_Johns"}) {
        INFO("time zone " << zone);
        connection.execute("SELECT set_config('TimeZone', $1, false)", zone);
        for (const auto& time : times) {
            connection.check_round_trip(time, "timestamptz");
            connection.check_round_trip(floor<seconds>(time), "timestamptz(0)");
            connection.check_round_trip(time, "timestamp");
            connection.check_round_trip(floor<days>(time), "date");
            connection.check_round_trip(year_month_day{floor<days>(time)}, "date");
        }
        CHECK(connection
                  .execute("SELECT $1::timestamptz = to_timestamp(1709164800)",
                           sys_seconds{1709164800s})
                  .one()
                  .get<bool>(0));
    }
}

TEST_CASE("integers past the column's type are the server's to refuse", "[statement]") {
    Blocking connection{schema};
    CHECK_THROWS_AS(
        connection.execute("SELECT $1::bigint", std::numeric_limits<std::uint64_t>::max()),
        pqxx::data_exception);
}

TEST_CASE("an error has every field that the server sent", "[statement]") {
    Blocking connection{schema};
    try {
        connection.execute("INSERT INTO projects VALUES ($1, $2)", 2, "alpha");
        FAIL("a duplicate was accepted");
    } catch (const pqxx::unique_violation& error) {
        const auto* said = txscope::find_diagnostics(error);
        REQUIRE(said != nullptr);
        CHECK(said->severity == "ERROR");
        CHECK(said->sqlstate == txscope::sqlstate::unique_violation);
        CHECK(said->schema == "public");
        CHECK(said->table == "projects");
        CHECK(said->constraint == "projects_name_key");
        CHECK(said->detail == "Key (name)=(alpha) already exists.");
        CHECK(said->statement == "INSERT INTO projects VALUES ($1, $2)");
        CHECK_THAT(error.what(), !ContainsSubstring("alpha"));
    }
    try {
        connection.execute("SELECT 1 FORM projects");
        FAIL("a syntax error was accepted");
    } catch (const pqxx::syntax_error& error) {
        CHECK(txscope::find_diagnostics(error)->position == 15);
        CHECK_THAT(error.what(), ContainsSubstring("at character 15"));
    }
    try {
        connection.execute("INSERT INTO projects VALUES ($1, $2)", 2, nullptr);
        FAIL("a missing name was accepted");
    } catch (const pqxx::not_null_violation& error) {
        CHECK(txscope::find_diagnostics(error)->column == "name");
    }
    try {
        connection.execute(
            "DO $$ BEGIN RAISE 'no' USING HINT = 'Ask again.', DATATYPE = 'mood'; END $$");
        FAIL("an error was not raised");
    } catch (const pqxx::plpgsql_raise& error) {
        const auto* said = txscope::find_diagnostics(error);
        CHECK(said->hint == "Ask again.");
        CHECK(said->datatype == "mood");
        CHECK_THAT(said->context, ContainsSubstring("PL/pgSQL"));
        CHECK(said->routine == "exec_stmt_raise");
    }
}

TEST_CASE("no error's text shows a parameter's value", "[statement]") {
    struct Case {
        const char* sql;
        const char* value;
    };
    const Case cases[] = {
        {"SELECT $1::int", "secret"},
        {"SELECT $1::int", "se\"cr\"et"},
        {"SELECT $1::int", "99999999999"},
        {"SELECT $1::smallint", "70000"},
        {"SELECT $1::float8", "1e999"},
        {"SELECT $1::text", "\xff\xfe"},
        {"SELECT $1::timestamptz", "2024-13-45"},
        {"SELECT $1::date", "31st of June"},
        {"SELECT $1::mood", "angry"},
        {"SELECT $1::uuid", "not-a-uuid"},
        {"SELECT $1::inet", "300.1.1.1"},
        {"SELECT $1::int[]", "{1,secret}"},
        {"SELECT $1::json", "{\"secret\": oops}"},
        {"SELECT $1::regclass", "Secret_Table"},
        {"SELECT $1::regclass", "secret.table"},
        {"SELECT $1::regclass", "\"top\"\"secret99\""},
        {"SELECT $1::regrole", "No\"Body"},
        {"SELECT $1::regtype", "secret_type"},
        {"SELECT current_setting($1)", "secret.setting"},
        {"SELECT set_config('role', $1, false)", "mallory"},
        {"SELECT set_config('work_mem', $1, false)", "lots"},
        {"SELECT now() AT TIME ZONE $1", "Mars/X"},
        {"SELECT to_timestamp($1, 'YYYY')", "zz99"},
        {"SELECT chr($1)", "99999999"},
        {"SELECT make_date($1, 13, 45)", "2024"},
        {"SELECT decode($1, 'hex')", "zz"},
        {"SELECT refuse($1)", "bob"},
        {"SELECT refuse_as_check($1)", "bob"},
        {"INSERT INTO projects VALUES (2, $1)", "alpha"},
        {"INSERT INTO projects VALUES (2, $1)", "much too long for a name"},
        {"INSERT INTO workflows VALUES (1, $1)", "much too long"},
        {"INSERT INTO workflows VALUES ($1, 'w')", "777"},
    };
    Blocking connection{schema};
    for (const auto& [sql, value] : cases) {
        INFO(sql << " with " << value);
        const std::string text = error_text_of([&] { connection.execute(sql, value); });
        CHECK_THAT(text, ContainsSubstring("SQLSTATE") && ContainsSubstring(sql));
        for (const char* unwanted : {value, "secret", "13-45", "zz"}) {
            CHECK_THAT(lower(text), !ContainsSubstring(lower(unwanted)));
        }
    }
}

TEST_CASE("a session that the server ended is a lost connection", "[statement]") {
    Blocking connection;
    CHECK_THROWS_AS(connection.execute("SELECT pg_terminate_backend(pg_backend_pid())"),
                    txscope::ConnectionLost);
}

TEST_CASE("a result tells what was done", "[statement]") {
    Blocking connection{schema};
    const Result inserted =
        connection.execute("INSERT INTO workflows SELECT 1, 'w' FROM generate_series(1, 12)");
    CHECK(inserted.command_tag() == "INSERT 0 12");
    CHECK(inserted.affected_rows() == 12);
    CHECK(inserted.empty());
    CHECK(connection.execute("CREATE TABLE t (x int)").affected_rows() == 0);
    CHECK(connection.execute("SELECT * FROM workflows").affected_rows() == 13);
}

}  // namespace statement
