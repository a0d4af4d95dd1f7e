#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/time_enough.hpp"

#include <algorithm>
#include <chrono>
#include <ostream>
#include <string>
#include <vector>

namespace transaction_options {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::AccessMode;
using txscope::IsolationLevel;
using txscope::Propagation;
using txscope::Session;
using txscope::TransactionOptions;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

/// What the server says of the session's transaction.
struct Settings {
    std::string isolation;
    bool read_only;
    bool deferrable;
    std::string statement_timeout;
    std::string lock_timeout;

    bool operator==(const Settings&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Settings& settings) {
    return out << settings.isolation << ", read only " << settings.read_only << ", deferrable "
               << settings.deferrable << ", statements " << settings.statement_timeout << ", locks "
               << settings.lock_timeout;
}

struct Fixture : support::ScopeFixture {
    Fixture() : ScopeFixture{one_connection()} {}

    static txscope::PoolOptions one_connection() {
        txscope::PoolOptions options;
        options.max_size = 1;
        return options;
    }

    static asio::awaitable<Settings> settings(Session& session) {
        const auto result = co_await session.execute(
            "SELECT current_setting('transaction_isolation'), "
            "current_setting('transaction_read_only')::bool, "
            "current_setting('transaction_deferrable')::bool, "
            "current_setting('statement_timeout'), current_setting('lock_timeout')");
        const auto row = result.one();
        Settings all;
        all.isolation = row.get<std::string>(0);
        all.read_only = row.get<bool>(1);
        all.deferrable = row.get<bool>(2);
        all.statement_timeout = row.get<std::string>(3);
        all.lock_timeout = row.get<std::string>(4);
        co_return all;
    }

    Settings settings_in(TransactionOptions options) {
        const TransactionScope with{sessions, options};
        return run([&] { return with(&Fixture::settings); });
    }
};

const Settings defaults{"read committed", false, false, "0", "0"};

TEST_CASE("without options a transaction is what the server makes of it", "[transaction_options]") {
    Fixture fixture;
    CHECK(fixture.settings_in({}) == defaults);
    fixture.database.query("ALTER DATABASE " + fixture.database.name() +
                           " SET default_transaction_isolation = 'serializable'");
    fixture.database.query("ALTER DATABASE " + fixture.database.name() +
                           " SET default_transaction_read_only = on");
    // Settings of a database hold for new connections.
    txscope::AsyncSessionFactory sessions{fixture.io, fixture.database.dsn(), support::observed()};
    const TransactionScope scope{sessions};
    const auto seen = fixture.run([&] { return scope(&Fixture::settings); });
    CHECK(seen.isolation == "serializable");
    CHECK(seen.read_only);
}

TEST_CASE("every option reaches the server, and none reaches the next borrower",
          "[transaction_options]") {
    struct Case {
        TransactionOptions options;
        Settings expected;
    };
    std::vector<Case> cases;
    const auto add = [&](TransactionOptions options, Settings expected) {
        cases.push_back({options, expected});
    };
    add({.isolation = IsolationLevel::read_committed}, defaults);
    add({.isolation = IsolationLevel::repeatable_read},
        {"repeatable read", false, false, "0", "0"});
    add({.isolation = IsolationLevel::serializable}, {"serializable", false, false, "0", "0"});
    add({.access = AccessMode::read_only}, {"read committed", true, false, "0", "0"});
    add({.access = AccessMode::read_write}, defaults);
    add({.deferrable = true}, {"read committed", false, true, "0", "0"});
    add({.statement_timeout = std::chrono::milliseconds{61'234}},
        {"read committed", false, false, "61234ms", "0"});
    add({.lock_timeout = std::chrono::seconds{62}}, {"read committed", false, false, "0", "62s"});
    add({.statement_timeout = std::chrono::milliseconds{2'147'483'647},
         .lock_timeout = std::chrono::milliseconds{2'147'483'647}},
        {"read committed", false, false, "2147483647ms", "2147483647ms"});
    add({.statement_timeout = std::chrono::milliseconds::max(),
         .lock_timeout = std::chrono::milliseconds::max()},
        defaults);
    add({.isolation = IsolationLevel::serializable,
         .access = AccessMode::read_only,
         .deferrable = true,
         .statement_timeout = std::chrono::minutes{1},
         .lock_timeout = std::chrono::milliseconds{1}},
        {"serializable", true, true, "1min", "1ms"});

    Fixture fixture;
    for (const Case& each : cases) {
        CHECK(fixture.settings_in(each.options) == each.expected);
        CHECK(fixture.settings_in({}) == defaults);
    }
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a limit that is no limit takes the place of the server's own", "[transaction_options]") {
    Fixture fixture;
    fixture.database.query("ALTER DATABASE " + fixture.database.name() +
                           " SET statement_timeout = '1h'");
    txscope::AsyncSessionFactory sessions{fixture.io, fixture.database.dsn(), support::observed()};
    const auto timeout_with = [&](std::chrono::milliseconds limit) {
        const TransactionScope scope{sessions, {.statement_timeout = limit}};
        return fixture.run([&] { return scope(&Fixture::settings); }).statement_timeout;
    };
    CHECK(timeout_with(std::chrono::milliseconds{0}) == "1h");
    CHECK(timeout_with(std::chrono::milliseconds::max()) == "0");
}

TEST_CASE("time limits are set by SET LOCAL, which a distributed server passes on to its workers",
          "[transaction_options]") {
    Fixture fixture;
    support::FaultProxy proxy{support::server()};
    const txscope::AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name())};
    const TransactionScope scope{sessions,
                                 {.statement_timeout = std::chrono::seconds{7},
                                  .lock_timeout = std::chrono::milliseconds{8},
                                  .timeout = std::chrono::minutes{1}}};
    fixture.run([&] { return scope(&Fixture::settings); });
    const std::vector<std::string> sent = proxy.statements();
    const auto begin = std::ranges::find(sent, "BEGIN");
    REQUIRE(sent.end() - begin > 3);
    CHECK(begin[1] == "SET LOCAL statement_timeout = 7000");
    CHECK(begin[2] == "SET LOCAL lock_timeout = 8");
    CHECK(begin[3].starts_with("SET LOCAL "));
}

TEST_CASE("what begins a transaction calls nothing of the caller's", "[transaction_options]") {
    Fixture fixture;
    fixture.database.query(
        "CREATE SCHEMA hostile; SET search_path = hostile, pg_catalog; "
        "CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'called'; END $$; "
        "CREATE FUNCTION set_config(text, text, boolean) RETURNS text LANGUAGE sql AS "
        "'SELECT hostile.trap()'; "
        "CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS "
        "'SELECT hostile.trap()'; "
        "CREATE FUNCTION concat(text, text, text) RETURNS text LANGUAGE sql AS "
        "'SELECT hostile.trap()'; "
        "CREATE FUNCTION pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS "
        "'SELECT hostile.trap()::xid8'; "
        "CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE sql AS "
        "'SELECT hostile.trap()::boolean'; "
        "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = equal); "
        "CREATE DOMAIN bool AS integer; "
        "ALTER DATABASE " +
        fixture.database.name() + " SET search_path = hostile, pg_catalog");
    const txscope::AsyncSessionFactory sessions{fixture.io, fixture.database.dsn()};
    const TransactionScope scope{sessions,
                                 {.lock_timeout = std::chrono::seconds{7},
                                  .timeout = std::chrono::minutes{1},
                                  .verify_commit = true,
                                  .verify_timeout = support::patience,
                                  .label = "labelled"}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            const auto result = co_await session.execute(
                "SELECT pg_catalog.current_setting('application_name'), pg_catalog.count(*) "
                "FROM pg_catalog.pg_locks WHERE transactionid IS NOT NULL");
            CHECK(result.one().get<std::string>(0).ends_with(": labelled"));
            CHECK(result.one().get<int>(1) == 1);  // verify_commit makes it take an id
        });
    });
}

TEST_CASE("options of a transaction that was rolled back reach no other one either",
          "[transaction_options]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions,
                                 {.isolation = IsolationLevel::serializable,
                                  .access = AccessMode::read_only,
                                  .statement_timeout = std::chrono::minutes{1}}};
    const auto failure = fixture.run([&] {
        return failure_of(
            scope([&]() -> asio::awaitable<void> { co_await fixture.insert("one"); }));
    });
    CHECK(is<txscope::SqlError>(failure));
    CHECK(support::text_of(failure).find("25006") != std::string::npos);
    CHECK(fixture.settings_in({}) == defaults);
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a nested scope lives under the options of its transaction", "[transaction_options]") {
    Fixture fixture;
    const TransactionScope outer{fixture.sessions, {.isolation = IsolationLevel::repeatable_read}};
    const TransactionScope nested{
        fixture.sessions,
        {.propagation = Propagation::nested, .statement_timeout = std::chrono::minutes{1}}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await outer([&]() -> asio::awaitable<void> {
            const auto seen = co_await nested(&Fixture::settings);
            CHECK(seen.isolation == "repeatable read");
            CHECK(seen.statement_timeout == "0");
        });
    });
}

TEST_CASE("a statement that waits for a lock beyond lock_timeout fails with 55P03",
          "[transaction_options]") {
    Fixture fixture;
    const auto holder = fixture.hold("held");
    const TransactionScope scope{fixture.sessions, {.lock_timeout = std::chrono::milliseconds{20}}};
    const auto failure = fixture.run([&] {
        return failure_of(scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            co_await fixture.insert("held");
        }));
    });
    REQUIRE(is<txscope::SqlError>(failure));
    CHECK(support::text_of(failure).find("55P03") != std::string::npos);
    CHECK(fixture.names().empty());
    holder->query("ROLLBACK");
    fixture.run([&] { return fixture.insert_alone("afterwards"); });
    CHECK(fixture.names() == Names{"afterwards"});
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE(
    "a statement that takes longer than statement_timeout fails with 57014, and may be "
    "recovered from",
    "[transaction_options]") {
    support::with_time_enough([](std::chrono::milliseconds limit) {
        Fixture fixture;
        const auto holder = fixture.hold("held");
        const TransactionScope scope{fixture.sessions, {.statement_timeout = limit}};
        const TransactionScope nested{fixture.sessions, {.propagation = Propagation::nested}};
        std::exception_ptr late;
        const auto too_slow = fixture.run(failure_of(scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            late = co_await failure_of(nested([&] { return fixture.insert("held"); }));
            co_await fixture.insert("two");
        })));
        if (too_slow) {
            REQUIRE_THAT(text_of(too_slow), ContainsSubstring("57014"));
            return false;
        }
        CHECK(is<txscope::SqlError>(late));
        CHECK_THAT(text_of(late), ContainsSubstring("57014"));
        CHECK(fixture.names() == Names{"one", "two"});
        CHECK(fixture.sessions.statistics().opened == 1);
        return true;
    });
}

TEST_CASE("options out of range are refused when the scope is run, and nothing is executed",
          "[transaction_options]") {
    Fixture fixture;
    txscope::TransactionOptions options;
    const std::chrono::milliseconds negative{-1};
    const std::chrono::milliseconds beyond{2'147'483'648};
    SECTION("a timeout that is over already") { options.timeout = negative; }
    SECTION("a negative statement_timeout") { options.statement_timeout = negative; }
    SECTION("a negative lock_timeout") { options.lock_timeout = negative; }
    SECTION("a negative verify_timeout") { options.verify_timeout = negative; }
    SECTION("a statement_timeout that the server cannot have") {
        options.statement_timeout = beyond;
    }
    SECTION("a lock_timeout that the server cannot have") { options.lock_timeout = beyond; }
    SECTION("no attempt at all") { options.retry.max_attempts = GENERATE(0, -1); }
    SECTION("a negative first pause") { options.retry.initial_backoff = negative; }
    SECTION("a negative longest pause") { options.retry.max_backoff = negative; }
    SECTION("no propagation") { options.propagation = static_cast<Propagation>(7); }
    SECTION("no isolation level") {
        options.isolation = static_cast<txscope::IsolationLevel>(GENERATE(-1, 4));
    }
    SECTION("no access mode") {
        options.access = static_cast<txscope::AccessMode>(GENERATE(-1, 3));
    }
    const TransactionScope scope{fixture.sessions, options};
    const auto failure =
        fixture.run([&] { return failure_of(scope([&] { return fixture.insert("one"); })); });
    CHECK(is<pqxx::argument_error>(failure));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().opened == 0);
}

}  // namespace transaction_options
