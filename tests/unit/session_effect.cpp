#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/postgres/detail/session_effect.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/postgres/detail/transaction_control.hpp>

#include <string>
#include <string_view>
#include <vector>

using txscope::detail::is_worth_preparing;
using txscope::detail::session_effect;
using txscope::detail::SqlWords;

namespace {

using Words = std::vector<std::string_view>;

Words words_of(std::string_view sql) {
    SqlWords words{sql};
    Words found;
    for (auto word = words.next(); !word.empty(); word = words.next()) found.push_back(word);
    return found;
}

}  // namespace

TEST_CASE("the words of an SQL text are those outside of quotes and comments", "[sql_words]") {
    CHECK(words_of("").empty());
    CHECK(words_of("SELECT a1, b_2 FROM t") == Words{"SELECT", "a1", "b_2", "FROM", "t"});
    CHECK(words_of(" \t\n(;,*select(1)") == Words{"select", "1"});
    CHECK(words_of("a 'it''s b' c") == Words{"a", "c"});
    CHECK(words_of("a 'b\\' c 'd' e") == Words{"a", "c", "e"});
    CHECK(words_of("a E'b\\' c' d e'\\\\' f") == Words{"a", "E", "d", "e", "f"});
    CHECK(words_of("a $$it's$$ b $x$ $$ c' $x$ d $1 e") == Words{"a", "b", "d", "1", "e"});
    CHECK(words_of("a$b$ c$b$ 'd' $1 + $2") == Words{"a$b$", "c$b$", "1", "2"});
    CHECK(words_of("a -- b ' c\nd") == Words{"a", "d"});
    CHECK(words_of("a /* b /* c */ d ' */ e") == Words{"a", "e"});
    CHECK(words_of("a 'open b") == Words{"a"});
    CHECK(words_of("a /* open b") == Words{"a"});
    CHECK(words_of("a -- open b") == Words{"a"});
    CHECK(words_of("größe + 1-2") == Words{"größe", "1", "2"});
    CHECK(words_of("DO $$ BEGIN x; END $$") == Words{"DO"});
    CHECK(words_of("a $$open b") == Words{"a"});
    CHECK(words_of("a E'open\\") == Words{"a", "E"});
}

TEST_CASE("a quoted name is a word, whatever stands in it", "[sql_words]") {
    CHECK(words_of("a \"b\".c") == Words{"a", "b", "c"});
    CHECK(words_of("a \"it's\" b") == Words{"a", "it's", "b"});
    CHECK(words_of("a \"\"\"\" b") == Words{"a", "b"});
    CHECK(words_of("a \",\" b") == Words{"a", "b"});
}

TEST_CASE("the time to read an SQL text grows with its length, not faster", "[sql_words]") {
    const auto read = [](std::size_t length) {
        std::string sql = "SELECT $1";
        while (sql.size() < length) sql += ", value";
        CHECK_FALSE(session_effect(sql).lasts);
    };
    CHECK(support::growth(1'000'000, read) < 24);
}

TEST_CASE("keywords are compared whatever their case", "[sql_words]") {
    CHECK(SqlWords::is("select", "SELECT"));
    CHECK(SqlWords::is("SeLeCt", "SELECT"));
    CHECK_FALSE(SqlWords::is("selec", "SELECT"));
    CHECK_FALSE(SqlWords::is("selects", "SELECT"));
    CHECK_FALSE(SqlWords::is("", "SELECT"));
}

TEST_CASE("what outlives its transaction in the server's session is recognised",
          "[session_effect]") {
    for (const std::string_view sql :
         {"SET work_mem = '1MB'",
          "set session work_mem to '1MB'",
          "SET ROLE x",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
          "RESET ALL",
          "RESET ROLE",
          "LISTEN news",
          "/* x */ listen news",
          "LOAD 'auto_explain'",
          "PREPARE x AS SELECT 1",
          "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
          "CREATE TEMP TABLE t (id int)",
          "CREATE TEMPORARY TABLE t (id int)",
          "CREATE LOCAL TEMPORARY TABLE t (id int)",
          "CREATE TEMP TABLE t AS SELECT 1",
          "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
          "CREATE TEMP SEQUENCE s",
          "CREATE TABLE pg_temp.t (id int)",
          "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
          "SELECT 1 INTO TEMP t",
          "select 1 into temporary table t",
          "WITH x AS (SELECT 1) SELECT * INTO TEMP t FROM x",
          "SELECT set_config('work_mem', '1MB', false)",
          "SELECT set_config($1, $2, $3)",
          "SELECT true, set_config($1, $2, false)",
          "SELECT set_config('app.tenant', $1, false), set_config('app.trace', $2, true)",
          "SELECT set_config('app.trace', $2, true), set_config('app.tenant', $1, false)",
          "SELECT set_config('app.tenant', $1, false) WHERE true",
          "SELECT set_config('app.tenant', f($1, true), false)",
          "SELECT set_config('app.tenant', $1, false OR true)",
          "SELECT set_config('app.tenant', $1, \"true\") FROM t",
          "SELECT \"set_config\"('app.tenant', $1, false)",
          "UPDATE pg_settings SET setting = $1 WHERE name = 'work_mem'",
          "SELECT pg_advisory_lock(1)",
          "SELECT pg_advisory_lock_shared(1, 2)",
          "SELECT pg_try_advisory_lock($1)",
          "SELECT pg_catalog.pg_try_advisory_lock_shared(1)",
          "SELECT \"pg_advisory_lock\"(1)",
          "SELECT $$it's$$, pg_advisory_lock(1)",
          "SELECT E'it\\'s', pg_advisory_lock(1)",
          "SELECT '--', '/*', pg_advisory_lock(1)",
          "CREATE TABLE \"pg_temp\".t (id int)",
          "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1",
          "EXPLAIN ANALYZE CREATE TABLE pg_temp.t AS SELECT 1",
          "SELECT 1 INTO /* soon gone */ TEMP t",
          "SET LOCAL search_path = pg_temp",
          "DO $$ BEGIN SET work_mem = '1MB'; END $$",
          "DO 'BEGIN CREATE TEMP TABLE t (id int); END'",
          "CALL procedure(1)"}) {
        CAPTURE(sql);
        CHECK(session_effect(sql).lasts);
    }
}

TEST_CASE("what ends with its transaction, or only sounds like a change, is let be",
          "[session_effect]") {
    for (const std::string_view sql :
         {"",
          "SELECT 1",
          "SET LOCAL work_mem = '1MB'",
          "SET TRANSACTION READ ONLY",
          "SET CONSTRAINTS ALL DEFERRED",
          "PREPARE TRANSACTION 'x'",
          "UPDATE t SET x = 1",
          "SELECT set_config($1, $2, true)",
          "SELECT pg_catalog.set_config('a', 'b', TRUE)",
          "SELECT set_config('a', f(b, (c)), true)",
          "SELECT set_config('a', 'b', true) WHERE false",
          "SELECT set_config('a', $1, true), set_config('b', $2, true)",
          "SELECT set_config('a', $1::text, /* local */ true)",
          "SELECT pg_advisory_xact_lock(1)",
          "SELECT pg_try_advisory_xact_lock(1)",
          "CREATE TABLE t (temp int, temporary int)",
          "SELECT temp FROM sensors",
          "INSERT INTO temp VALUES (1)",
          "SELECT 'CREATE TEMP TABLE'",
          "SELECT setting FROM pg_settings",
          "INSERT INTO log VALUES ('pg_advisory_lock')",
          "INSERT INTO log VALUES (E'\\'', $$ pg_temp $$, $x$ ' $x$)",
          "UPDATE log SET text = 'SET ROLE x' WHERE id = $1",
          "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
          "$$ SELECT 1 FROM pg_advisory_lock(1) $$",
          "DECLARE c CURSOR FOR SELECT 1",
          "SELECT hold FROM t",
          "BEGIN",
          "COMMIT",
          "NOTIFY news",
          "UNLISTEN *",
          "EXPLAIN SELECT 1",
          "-- SET x = 1\nSELECT 1"}) {
        CAPTURE(sql);
        CHECK_FALSE(session_effect(sql).lasts);
    }
}

TEST_CASE("what may make a name mean another table is recognised", "[session_effect]") {
    for (const std::string_view sql :
         {"SET search_path = app",
          "SET LOCAL search_path TO app",
          "set session \"search_path\" = app",
          "SET SCHEMA 'app'",
          "SET LOCAL SCHEMA 'app'",
          "SET ROLE x",
          "SET LOCAL ROLE x",
          "SET SESSION ROLE NONE",
          "SET SESSION AUTHORIZATION x",
          "SET LOCAL SESSION AUTHORIZATION x",
          "RESET search_path",
          "RESET ALL",
          "RESET ROLE",
          "SELECT set_config('search_path', $1, true)",
          "SELECT set_config( 'Search_Path', 'app', false)",
          "SELECT set_config('role', $1, true)",
          "SELECT set_config($1, $2, true)",
          "SELECT set_config(E'search\\x5fpath', $2, true)",
          "SELECT set_config('search_' || 'path', $2, true)",
          "SELECT set_config('app.x'\n'y', $2, true)",
          "SELECT set_config('app.tenant', $1, true), set_config('search_path', $1, true)",
          "UPDATE pg_settings SET setting = $1 WHERE name = $2",
          "CREATE TEMP TABLE t (id int)",
          "SELECT 1 AS id INTO TEMP t",
          "DO $$ BEGIN END $$",
          "CALL procedure(1)"}) {
        CAPTURE(sql);
        CHECK(session_effect(sql).moves_names);
    }
    for (const std::string_view sql :
         {"", "SELECT 1", "SET work_mem = '1MB'", "SET LOCAL statement_timeout = 1000",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION READ ONLY",
          "SELECT set_config('application_name', concat_ws(': ', $1::text), true)",
          "SELECT set_config('app.tenant', $1, false)", "SELECT pg_advisory_lock(1)",
          "UPDATE t SET role = $1, search_path = $2", "LISTEN news", "BEGIN"}) {
        CAPTURE(sql);
        CHECK_FALSE(session_effect(sql).moves_names);
    }
}

TEST_CASE("transaction control and settings are not worth preparing", "[session_effect]") {
    for (const std::string_view sql :
         {"BEGIN", "/* a label */ BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT", "ROLLBACK",
          "ROLLBACK TO SAVEPOINT x", "SAVEPOINT x", "RELEASE SAVEPOINT x",
          "SET LOCAL lock_timeout = 100", "set search_path = x"}) {
        CAPTURE(sql);
        CHECK_FALSE(is_worth_preparing(sql));
    }
    for (const std::string_view sql :
         {"SELECT 1", "INSERT INTO t VALUES ($1)", "UPDATE t SET x = $1", "/* SET */ SELECT 1"}) {
        CAPTURE(sql);
        CHECK(is_worth_preparing(sql));
    }
}
