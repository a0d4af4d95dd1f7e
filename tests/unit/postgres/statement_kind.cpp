#include "support/catch.hpp"
#include <txscope/postgres/detail/statement_kind.hpp>

#include <string_view>

using txscope::detail::is_query;
using txscope::detail::statement_kind;
using txscope::detail::StatementKind;

TEST_CASE("every word that begins, ends or divides a transaction is recognised",
          "[statement_kind]") {
    for (const std::string_view sql : {"BEGIN",
                                       "begin",
                                       "Begin Work",
                                       "BEGIN;",
                                       "BEGIN ISOLATION LEVEL SERIALIZABLE",
                                       "START TRANSACTION",
                                       "start transaction read only",
                                       "COMMIT",
                                       "commit work",
                                       "COMMIT AND CHAIN",
                                       "COMMIT PREPARED 'x'",
                                       "END",
                                       "end transaction",
                                       "ROLLBACK",
                                       "ROLLBACK TO SAVEPOINT s",
                                       "ROLLBACK PREPARED 'x'",
                                       "ABORT",
                                       "SAVEPOINT s",
                                       "RELEASE SAVEPOINT s",
                                       "release s",
                                       "PREPARE TRANSACTION 'x'",
                                       "prepare\n\ttransaction 'x'"}) {
        CAPTURE(sql);
        CHECK(statement_kind(sql).transaction_control);
    }
}

TEST_CASE("what stands before the first word does not hide it", "[statement_kind]") {
    for (const std::string_view sql :
         {"  COMMIT", "\n\tCOMMIT", "\r\nCOMMIT", ";COMMIT", " ; ; COMMIT", "-- a remark\nCOMMIT",
          "--\nCOMMIT", "/* a remark */COMMIT", "/* one /* in another */ still */ COMMIT",
          "/**/COMMIT", "/***/COMMIT", "-- /* \nCOMMIT", "/* -- */ COMMIT",
          "/* a */ -- b\n /* c */ COMMIT", "-- a remark\rCOMMIT", "PREPARE /* x */ TRANSACTION 'x'",
          "PREPARE -- x\n TRANSACTION 'x'"}) {
        CAPTURE(sql);
        CHECK(statement_kind(sql).transaction_control);
    }
}

TEST_CASE("other statements are let through, also those that speak of transactions",
          "[statement_kind]") {
    for (const std::string_view sql : {"SELECT 1",
                                       "SELECT 'COMMIT'",
                                       "INSERT INTO commit VALUES (1)",
                                       "(SELECT 1)",
                                       "WITH x AS (SELECT 1) SELECT * FROM x",
                                       "SET TRANSACTION READ ONLY",
                                       "SET CONSTRAINTS ALL DEFERRED",
                                       "PREPARE x AS SELECT 1",
                                       "PREPARE transactions AS SELECT 1",
                                       "PREPARE \"transaction\" AS SELECT 1",
                                       "LOCK TABLE t",
                                       "COMMENT ON TABLE t IS 'x'",
                                       "BEGINNING",
                                       "ENDS",
                                       "COMMITS",
                                       "STARTED",
                                       "-- COMMIT",
                                       "-- COMMIT\nSELECT 1",
                                       "/* COMMIT */ SELECT 1",
                                       "/* /* COMMIT */ COMMIT */ SELECT 1",
                                       "",
                                       " ",
                                       ";",
                                       "1",
                                       "\"commit\""}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).transaction_control);
    }
}

TEST_CASE("text that ends in the middle of a remark has no word", "[statement_kind]") {
    for (const std::string_view sql : {"/*", "/* COMMIT", "/*/", "/* /* */ COMMIT", "--", "-", "/",
                                       "-- COMMIT", "PREPARE", "PREPARE /*", "PREPARE --"}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).transaction_control);
    }
}

TEST_CASE("what makes a transaction read-write is recognised, and nothing else is",
          "[statement_kind]") {
    for (const std::string_view sql :
         {"SET TRANSACTION READ WRITE", "set transaction isolation level serializable, read write",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
          "SET transaction_read_only = off", "SET LOCAL \"transaction_read_only\" TO off",
          "/* */ RESET transaction_read_only"}) {
        CAPTURE(sql);
        CHECK(statement_kind(sql).makes_read_write);
    }
    for (const std::string_view sql :
         {"SET TRANSACTION READ ONLY", "SET LOCAL search_path = 'write'",
          "SHOW transaction_read_only", "SELECT write FROM settings", ""}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).makes_read_write);
    }
}

TEST_CASE("what outlives its transaction in the server's session is recognised",
          "[statement_kind]") {
    for (const std::string_view sql :
         {"SET work_mem = '1MB'",
          "set session work_mem to '1MB'",
          "SET ROLE x",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
          "RESET ALL",
          "DISCARD ALL",
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
        CHECK(statement_kind(sql).changes_session);
    }
}

TEST_CASE("what ends with its transaction, or only sounds like a change, is let be",
          "[statement_kind]") {
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
        CHECK_FALSE(statement_kind(sql).changes_session);
    }
}

TEST_CASE("what may make a name mean another table is recognised", "[statement_kind]") {
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
        CHECK(statement_kind(sql).moves_names);
    }
    for (const std::string_view sql :
         {"", "SELECT 1", "SET work_mem = '1MB'", "SET LOCAL statement_timeout = 1000",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION READ ONLY",
          "SELECT set_config('application_name', concat_ws(': ', $1::text), true)",
          "SELECT set_config('app.tenant', $1, false)", "SELECT pg_advisory_lock(1)",
          "UPDATE t SET role = $1, search_path = $2", "LISTEN news", "BEGIN"}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).moves_names);
    }
}

TEST_CASE("what is read in no time, or may have other columns next time, is not worth preparing",
          "[statement_kind]") {
    for (const std::string_view sql :
         {"BEGIN", "/* a label */ BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT", "ROLLBACK",
          "ROLLBACK TO SAVEPOINT x", "SAVEPOINT x", "RELEASE SAVEPOINT x",
          "SET LOCAL lock_timeout = 100", "set search_path = x", "RESET ROLE",
          "FETCH 10 FROM my_cursor", "EXECUTE my_statement(1)", "CALL procedure($1)",
          "DO $$ BEGIN END $$", "CREATE TEMP TABLE t (id int)"}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).worth_preparing);
    }
    for (const std::string_view sql :
         {"SELECT 1", "INSERT INTO t VALUES ($1)", "UPDATE t SET x = $1", "/* SET */ SELECT 1",
          "SELECT fetch FROM execute", "CREATE TABLE t (id int)", "DECLARE c CURSOR FOR SELECT 1",
          "NOTIFY news"}) {
        CAPTURE(sql);
        CHECK(statement_kind(sql).worth_preparing);
    }
}

TEST_CASE("COPY is told apart by where it copies to", "[statement_kind]") {
    for (const std::string_view sql :
         {"COPY t FROM STDIN", "copy t (a, b) from stdin (FORMAT csv)",
          "/* x */ COPY (SELECT 1) TO STDOUT", "COPY pg_temp.t FROM STDIN"}) {
        CAPTURE(sql);
        CHECK(statement_kind(sql).client_copy);
    }
    for (const std::string_view sql :
         {"COPY t FROM '/tmp/stdin'", "COPY t TO PROGRAM 'cat > stdout'", "SELECT stdin FROM copy",
          "INSERT INTO copy VALUES ('STDIN')", "COPY", ""}) {
        CAPTURE(sql);
        CHECK_FALSE(statement_kind(sql).client_copy);
    }
}

TEST_CASE("LISTEN is recognised, and what only speaks of it is not", "[statement_kind]") {
    for (const std::string_view sql :
         {"LISTEN news", "listen \"news\"", "-- x\nLISTEN news", "LISTEN pg_temp"})
        CHECK(statement_kind(sql).listen);
    for (const std::string_view sql :
         {"UNLISTEN news", "NOTIFY listen", "SELECT listen FROM t", "\"listen\" news", ""})
        CHECK_FALSE(statement_kind(sql).listen);
}

TEST_CASE("a query is told by its first word, and is nothing that a utility command may be",
          "[statement_kind]") {
    for (const std::string_view sql :
         {"SELECT 1", "select 1", "(SELECT 1) UNION (SELECT 2)", "\n    SELECT 1",
          "-- COMMIT\nSELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET x = 1", "DELETE FROM t",
          "WITH x AS (SELECT 1) SELECT 1", "VALUES (1)", "TABLE t",
          "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"}) {
        CAPTURE(sql);
        CHECK(is_query(sql));
        CHECK(statement_kind(sql) == StatementKind{});
    }
    for (const std::string_view sql : {"", ";", "COMMIT", "SET x = 1", "SELECTS", "\"select\" 1",
                                       "/* SELECT */ COMMIT", ";COMMIT", "'SELECT' COMMIT"}) {
        CAPTURE(sql);
        CHECK_FALSE(is_query(sql));
    }
}

TEST_CASE("what a statement is can be told while it is compiled", "[statement_kind]") {
    STATIC_REQUIRE(statement_kind("COMMIT").transaction_control);
    STATIC_REQUIRE(statement_kind("SELECT set_config('role', $1, true)").moves_names);
}
