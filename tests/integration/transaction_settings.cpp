#include "support/catch.hpp"
#include "support/pgbouncer.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/transaction/transaction.hpp>

#include <pqxx/except>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace transaction_settings {

namespace asio = boost::asio;
using namespace std::string_view_literals;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::Propagation;
using txscope::Session;
using txscope::Transaction;
using txscope::TransactionScope;
using txscope::TransactionSetting;
using Texts = std::vector<std::string>;

asio::awaitable<std::string> shown(Session& session, std::string name = "app.tenant") {
    const auto answer =
        co_await session.execute("SELECT coalesce(current_setting($1, true), '')", name);
    co_return answer.one().get<std::string>(0);
}

const TransactionSetting seven[] = {{"app.tenant", "7"}};
const TransactionSetting eight[] = {{"app.tenant", "8"}};

TEST_CASE("a policy sees the tenant of the transaction, and none after it",
          "[transaction_settings]") {
    const support::Database database{
        "CREATE TABLE notes (tenant int NOT NULL, text text NOT NULL);"
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON notes USING "
        "(tenant = nullif(current_setting('app.tenant', true), '')::int);"
        "DO $$BEGIN CREATE ROLE tenants LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$;"
        "GRANT SELECT, INSERT ON notes TO tenants"};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, database.dsn() + " options='-c role=tenants'",
                                                support::observed({.max_size = 1})};
    const auto count = [&](Session& session) -> asio::awaitable<int> {
        const auto counted = co_await session.execute("SELECT count(*) FROM notes");
        co_return counted.one().get<int>(0);
    };
    const auto write = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute(
            "INSERT INTO notes VALUES (current_setting('app.tenant')::int, 'mine')");
    };
    const TransactionScope of_seven{sessions, {.settings = seven}};
    const TransactionScope of_eight{sessions, {.settings = eight}};
    const TransactionScope of_nobody{sessions};
    support::run(io, [&]() -> asio::awaitable<void> {
        co_await of_seven(write);
        co_await of_seven(write);
        co_await of_eight(write);
        const int sevens = co_await of_seven(count);
        const int eights = co_await of_eight(count);
        const int nobodys = co_await of_nobody(count);
        CHECK(sevens == 2);
        CHECK(eights == 1);
        CHECK(nobodys == 0);
        const auto later = [&](Transaction& transaction) -> asio::awaitable<int> {
            transaction.set("app.tenant", 8);
            co_return co_await count(transaction);
        };
        const int set_later = co_await of_nobody(later);
        CHECK(set_later == 1);
        const auto refused =
            co_await failure_of(of_seven([&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("INSERT INTO notes VALUES (8, 'not mine')");
            }));
        CHECK(is<txscope::SqlError>(refused));
    });
    CHECK(sessions.statistics().opened == 1);
    CHECK(sessions.statistics().round_trips == 16);  // two a transaction
}

TEST_CASE("settings cost no round trip, and end with their transaction", "[transaction_settings]") {
    support::ScopeFixture fixture{{.max_size = 1}};
    const TransactionSetting settings[] = {{"app.tenant", "it's \\ \"7\""},
                                           {"search_path", "pg_catalog, public"},
                                           {"work_mem", "1MB"}};
    const TransactionScope scope{fixture.sessions, {.settings = settings}};
    Texts seen;
    const auto look = [&](Session& session) -> asio::awaitable<void> {
        const auto all = co_await session.execute(
            "SELECT coalesce(current_setting('app.tenant', true), ''), "
            "current_setting('search_path'), current_setting('work_mem')");
        const auto row = all.one();
        seen.push_back(row.get<std::string>(0) + '|' + row.get<std::string>(1) + '|' +
                       row.get<std::string>(2));
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope(look);
        CHECK(fixture.sessions.statistics().round_trips == 2);
        co_await fixture.scope(look);
        const auto throws = [&](Session& session) -> asio::awaitable<void> {
            co_await look(session);
            throw support::Refusal{"rolled back"};
        };
        co_await failure_of(scope(throws));
        co_await fixture.sessions.session_scope(look);
    });
    const std::string set = "it's \\ \"7\"|pg_catalog, public|1MB";
    const std::string unset = "|\"$user\", public|4MB";
    CHECK(seen == Texts{set, unset, set, unset});
    CHECK(fixture.sessions.statistics().discarded == 0);
}

TEST_CASE("a setting of a nested scope is undone with its savepoint, and kept otherwise",
          "[transaction_settings]") {
    support::ScopeFixture fixture;
    Texts seen;
    const TransactionScope scope{fixture.sessions, {.settings = seven}};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& outer) -> asio::awaitable<void> {
            co_await failure_of(fixture.nested([&](Transaction& inner) -> asio::awaitable<void> {
                inner.set("app.tenant", 8);
                seen.push_back(co_await shown(inner));
                throw support::Refusal{"undone"};
            }));
            seen.push_back(co_await shown(outer));
            co_await fixture.nested([&](Transaction& inner) -> asio::awaitable<void> {
                inner.set("app.tenant", std::optional<std::string>{"9"});
                co_await inner.flush();
            });
            seen.push_back(co_await shown(outer));
            co_await fixture.scope([&](Transaction& joined) -> asio::awaitable<void> {
                joined.set("app.tenant", std::optional<int>{});
                co_await joined.flush();
            });
            seen.push_back(co_await shown(outer));
        });
    });
    CHECK(seen == Texts{"8", "7", "9", ""});
}

TEST_CASE("a scope inside a transaction has the settings that this was begun with, or none",
          "[transaction_settings]") {
    support::ScopeFixture fixture;
    const auto nothing = []() -> asio::awaitable<void> { co_return; };
    const TransactionScope outer{fixture.sessions, {.settings = seven}};
    for (const auto propagation : {Propagation::required, Propagation::nested,
                                   Propagation::mandatory, Propagation::supports}) {
        const TransactionScope same{fixture.sessions,
                                    {.propagation = propagation, .settings = seven}};
        const TransactionScope other{fixture.sessions,
                                     {.propagation = propagation, .settings = eight}};
        const auto body = [&]() -> asio::awaitable<void> {
            co_await same(nothing);
            const auto failure = co_await failure_of(other(nothing));
            CHECK(is<txscope::PropagationError>(failure));
            CHECK_THAT(text_of(failure),
                       ContainsSubstring("app.tenant") && ContainsSubstring("requires_new"));
        };
        fixture.run(failure_of(outer(body)));
        const auto in_another = [&]() -> asio::awaitable<void> {
            const auto failure = co_await failure_of(same(nothing));
            CHECK(is<txscope::PropagationError>(failure));
        };
        fixture.run(failure_of(fixture.scope(in_another)));
    }
    const TransactionScope plain{fixture.sessions,
                                 {.propagation = Propagation::not_supported, .settings = seven}};
    CHECK(is<txscope::PropagationError>(fixture.run(failure_of(plain(nothing)))));
}

TEST_CASE("what is no setting is one clear error", "[transaction_settings]") {
    support::ScopeFixture fixture;
    const auto nothing = []() -> asio::awaitable<void> { co_return; };
    for (const auto name : {""sv, "."sv, "app."sv, ".tenant"sv, "app..tenant"sv, "a b"sv, "7up"sv,
                            "x'; DROP TABLE entries; --"sv, "app.te\0nant"sv}) {
        CAPTURE(name);
        const TransactionSetting settings[] = {{name, "7"}};
        const TransactionScope scope{fixture.sessions, {.settings = settings}};
        CHECK(is<pqxx::argument_error>(fixture.run(failure_of(scope(nothing)))));
        const auto later = [&](Transaction& transaction) -> asio::awaitable<void> {
            transaction.set(name, 7);
            co_return;
        };
        CHECK(is<pqxx::argument_error>(fixture.run(failure_of(fixture.scope(later)))));
    }
    const TransactionSetting with_nul[] = {{"app.tenant", "\0"sv}};
    const TransactionScope scope{fixture.sessions, {.settings = with_nul}};
    CHECK(is<txscope::ValueError>(fixture.run(failure_of(scope(nothing)))));
    CHECK(fixture.sessions.statistics().opened == 0);

    const TransactionSetting unknown[] = {{"no_such_setting", "secret value"}};
    const TransactionScope unknown_scope{fixture.sessions, {.settings = unknown}};
    const auto look = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
    };
    const auto failure = fixture.run(failure_of(unknown_scope(look)));
    CHECK(is<txscope::SqlError>(failure));
    CHECK_THAT(text_of(failure),
               ContainsSubstring("no_such_setting") && !ContainsSubstring("secret"));
}

TEST_CASE("settings are sent again with each attempt", "[transaction_settings]") {
    support::ScopeFixture fixture;
    const TransactionScope scope{fixture.sessions,
                                 {.retry = {.max_attempts = 2}, .settings = seven}};
    Texts seen;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            seen.push_back(co_await shown(session));
            if (session.attempt() == 1)
                co_await session.execute("DO $$BEGIN RAISE serialization_failure; END$$");
        });
    });
    CHECK(seen == Texts{"7", "7"});
}

TEST_CASE("a setting needs a transaction", "[transaction_settings]") {
    support::ScopeFixture fixture;
    const TransactionScope without{fixture.sessions, {.propagation = Propagation::not_supported}};
    const auto set = [](Transaction& transaction) -> asio::awaitable<void> {
        transaction.set("app.tenant", 7);
        co_return;
    };
    CHECK(is<pqxx::usage_error>(fixture.run(failure_of(without(set)))));
}

TEST_CASE("a pooler that lends by transactions passes settings on, and to nobody else",
          "[transaction_settings]") {
    const support::Database database;
    const support::PgBouncer bouncer{database, {.pool_mode = "transaction", .pool_size = 1}};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{
        io, bouncer.dsn(), support::observed({.max_size = 2, .statement_cache_size = 0})};
    const TransactionScope scope{sessions, {.settings = seven}};
    const TransactionScope plain{sessions};
    Texts seen;
    const auto look = [&](Session& session) -> asio::awaitable<void> {
        seen.push_back(co_await shown(session));
    };
    support::run(io, [&]() -> asio::awaitable<void> {
        co_await scope(look);
        co_await plain(look);
        co_await sessions.session_scope(look);
    });
    CHECK(seen == Texts{"7", "", ""});
}

}  // namespace transaction_settings
