#include "support/catch.hpp"
#include <txscope/postgres/detail/transaction_control.hpp>

#include <string_view>

using txscope::detail::is_transaction_control;
using txscope::detail::makes_read_write;

TEST_CASE("every word that begins, ends or divides a transaction is recognised",
          "[transaction_control]") {
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
        CHECK(is_transaction_control(sql));
    }
}

TEST_CASE("what stands before the first word does not hide it", "[transaction_control]") {
    for (const std::string_view sql :
         {"  COMMIT", "\n\tCOMMIT", "\r\nCOMMIT", ";COMMIT", " ; ; COMMIT", "-- a remark\nCOMMIT",
          "--\nCOMMIT", "/* a remark */COMMIT", "/* one /* in another */ still */ COMMIT",
          "/**/COMMIT", "/***/COMMIT", "-- /* \nCOMMIT", "/* -- */ COMMIT",
          "/* a */ -- b\n /* c */ COMMIT", "-- a remark\rCOMMIT", "PREPARE /* x */ TRANSACTION 'x'",
          "PREPARE -- x\n TRANSACTION 'x'"}) {
        CAPTURE(sql);
        CHECK(is_transaction_control(sql));
    }
}

TEST_CASE("other statements are let through, also those that speak of transactions",
          "[transaction_control]") {
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
        CHECK_FALSE(is_transaction_control(sql));
    }
}

TEST_CASE("text that ends in the middle of a remark has no word", "[transaction_control]") {
    for (const std::string_view sql : {"/*", "/* COMMIT", "/*/", "/* /* */ COMMIT", "--", "-", "/",
                                       "-- COMMIT", "PREPARE", "PREPARE /*", "PREPARE --"}) {
        CAPTURE(sql);
        CHECK_FALSE(is_transaction_control(sql));
    }
}

TEST_CASE("what makes a transaction read-write is recognised, and nothing else is",
          "[transaction_control]") {
    for (const std::string_view sql :
         {"SET TRANSACTION READ WRITE", "set transaction isolation level serializable, read write",
          "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
          "SET transaction_read_only = off", "SET LOCAL \"transaction_read_only\" TO off",
          "/* */ RESET transaction_read_only"}) {
        CAPTURE(sql);
        CHECK(makes_read_write(sql));
    }
    for (const std::string_view sql :
         {"SET TRANSACTION READ ONLY", "SET LOCAL search_path = 'write'",
          "SHOW transaction_read_only", "SELECT write FROM settings", ""}) {
        CAPTURE(sql);
        CHECK_FALSE(makes_read_write(sql));
    }
}
