#include "support/catch.hpp"
#include <txscope/core/sqlstate.hpp>

namespace sqlstate = txscope::sqlstate;

TEST_CASE("a code's class is its first two characters", "[sqlstate]") {
    CHECK(sqlstate::class_of("23505") == "23");
    CHECK(sqlstate::class_of("0A000") == "0A");
    CHECK(sqlstate::class_of("").empty());
    CHECK(sqlstate::class_of("23").empty());
}

TEST_CASE("serialization failures and deadlocks are worth another try, and nothing else is",
          "[sqlstate]") {
    CHECK(sqlstate::is_retryable("40001"));
    CHECK(sqlstate::is_retryable("40P01"));
    CHECK_FALSE(sqlstate::is_retryable("40002"));
    CHECK_FALSE(sqlstate::is_retryable("23505"));
    CHECK_FALSE(sqlstate::is_retryable("57014"));
    CHECK_FALSE(sqlstate::is_retryable(""));
}

TEST_CASE("class 23 is broken constraints", "[sqlstate]") {
    CHECK(sqlstate::is_constraint_violation(sqlstate::unique_violation));
    CHECK(sqlstate::is_constraint_violation(sqlstate::exclusion_violation));
    CHECK_FALSE(sqlstate::is_constraint_violation(sqlstate::syntax_error));
}

TEST_CASE("a server that is not ready or has no room may take a connection later", "[sqlstate]") {
    for (const auto code : {sqlstate::cannot_connect_now, sqlstate::admin_shutdown,
                            sqlstate::too_many_connections, sqlstate::connection_failure})
        CHECK(sqlstate::is_transient_refusal(code));
    for (const auto code : {sqlstate::invalid_password, sqlstate::invalid_catalog_name,
                            sqlstate::database_dropped, sqlstate::successful_completion})
        CHECK_FALSE(sqlstate::is_transient_refusal(code));
    CHECK_FALSE(sqlstate::is_transient_refusal(""));
}
