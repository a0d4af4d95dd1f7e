#include "../../examples/promises.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/fault_proxy.hpp"
#include "support/haproxy.hpp"
#include "support/pgbouncer.hpp"
#include "support/run.hpp"
#include "support/tls_access.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <string>
#include <vector>

// What examples/conformance.cpp finds, which operators run, in the set-ups that we know.

namespace conformance {

using Promises = std::vector<std::string>;

/// What does not hold there; nothing is broken, and nothing is left behind.
Promises not_here(const std::string& dsn, const support::Database& database) {
    const support::Watchdog watchdog{"conformance"};
    Promises missing;
    std::size_t tried = 0;
    try_all(promises, tables, dsn, [&](const Finding& finding) {
        INFO(finding.promise << ": " << finding.why);
        CHECK(finding.verdict != Finding::broken);
        CHECK((finding.verdict == Finding::holds) == finding.why.empty());
        if (finding.verdict == Finding::not_here) missing.emplace_back(finding.promise);
        ++tried;
    });
    CHECK(tried == std::size(promises));
    CHECK(database.query("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'txscope%'").empty());
    return missing;
}

/// Has settings that would change values.
void set_otherwise(const support::Database& database) {
    for (const char* setting : {"extra_float_digits = -3", "bytea_output = 'escape'",
                                "DateStyle = 'German'", "standard_conforming_strings = off"})
        database.query("ALTER DATABASE " + database.name() + " SET " + setting);
}

TEST_CASE("every promise holds on PostgreSQL itself, whatever its settings", "[conformance]") {
    const support::Database database;
    SECTION("as they come") {}
    SECTION("otherwise") { set_otherwise(database); }
    CHECK(not_here(database.dsn(), database) == Promises{});
}

TEST_CASE("every promise holds over TLS, with certificates and a password", "[conformance]") {
    txscope::TemporaryPostgres server;
    const support::TlsAccess access{server};
    const support::Database database{{}, server};
    CHECK(not_here(access.dsn(database.name()), database) == Promises{});
}

TEST_CASE("every promise holds through HAProxy", "[conformance]") {
    const support::Database database;
    support::HaProxy proxy{{support::server().port()}};
    CHECK(not_here(proxy.dsn(database.name()), database) == Promises{});
}

TEST_CASE("every promise holds behind a pooler that lends by sessions", "[conformance]") {
    const support::Database database;
    support::PgBouncer pooler{database, {.pool_mode = "session", .pool_size = 20}};
    CHECK(not_here(pooler.dsn(), database) == Promises{});
}

TEST_CASE("behind a pooler that lends by transactions, three promises do not hold",
          "[conformance]") {
    const support::Database database;
    support::PgBouncer pooler{database, {.pool_mode = "transaction", .pool_size = 20}};
    CHECK(not_here(pooler.dsn(), database) ==
          Promises{"prepared statements keep their names", "what a scope notifies arrives",
                   "settings and temporary tables of a session stay its own"});
}

TEST_CASE("behind a pooler that cannot pipeline, one promise does not hold", "[conformance]") {
    const support::Database database;
    support::FaultProxy proxy{support::server()};
    proxy.stall_pipelines();
    CHECK(not_here(proxy.dsn(database.name()), database) ==
          Promises{"what is written behind goes with COMMIT, in one round trip"});
}

TEST_CASE("where nothing can be tried, the reason comes out", "[conformance]") {
    const auto ignore = [](const Finding&) {};
    const auto schemas = [](const support::Database& of) {
        return of.query("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'txscope%'").size();
    };
    SECTION("somebody has a schema of that name") {
        const support::Database database{"CREATE SCHEMA txscope_conformance"};
        CHECK_THROWS_AS(try_all(promises, tables, database.dsn(), ignore), pqxx::sql_error);
        CHECK(schemas(database) == 1);
    }
    SECTION("a pooler would not keep the settings that keep values as they are") {
        const support::Database database;
        set_otherwise(database);
        support::PgBouncer pooler{database, {.pool_mode = "session", .pool_size = 20}};
        CHECK_THROWS_AS(try_all(promises, tables, pooler.dsn(), ignore), txscope::ConnectionFailed);
        CHECK(schemas(database) == 0);
    }
}

TEST_CASE("a broken promise is told as one, with what happened", "[conformance]") {
    const support::Database database;
    const Promise broken[] = {{"one is two", [](TriedServer& server) -> asio::awaitable<void> {
                                   const auto one = co_await server.sessions().execute("SELECT 1");
                                   expect(one.one().get<int>(0) == 2, "One is one.");
                               }}};
    try_all(broken, "SELECT 1", database.dsn(), [](const Finding& finding) {
        CHECK(finding.promise == "one is two");
        CHECK(finding.verdict == Finding::broken);
        CHECK(finding.why == "One is one.");
    });
}

}  // namespace conformance
