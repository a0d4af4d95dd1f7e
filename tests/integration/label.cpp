#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace label {

namespace asio = boost::asio;
using namespace std::string_view_literals;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Refusal {};

struct Fixture : support::ScopeFixture {
    TransactionScope labelled(std::string_view label) const {
        return TransactionScope{sessions, {.label = label}};
    }
};

asio::awaitable<std::string> application_name(Session& session) {
    const auto result = co_await session.execute("SELECT current_setting('application_name')");
    co_return result.one().get<std::string>(0);
}

TEST_CASE("who waits for a lock finds the label of the scope that holds it", "[label]") {
    Fixture fixture;
    support::Client waiter{fixture.database.dsn()};
    const auto holders = [&] {
        return fixture.database
            .query(
                "SELECT application_name FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(" +
                std::to_string(waiter.backend_pid()) + "))")
            .column();
    };
    const TransactionScope scope = fixture.labelled("orders/place");
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("wanted");
            waiter.send("INSERT INTO entries (name) VALUES ('wanted')");
            co_await support::eventually([&] { return !holders().empty(); });
            CHECK(holders() == Names{"txscope: orders/place"});
            co_await fixture.insert("another");  // later statements hide BEGIN, not the label
            CHECK(holders() == Names{"txscope: orders/place"});
        });
    });
    CHECK_THROWS_AS(waiter.receive(), support::QueryError);
    CHECK(fixture.sessions.statistics().round_trips == 3);  // two statements and COMMIT
}

TEST_CASE("a label ends with its transaction, however that ends", "[label]") {
    Fixture fixture;
    const txscope::AsyncSessionFactory sessions{fixture.io,
                                                fixture.database.dsn() + " application_name=shop",
                                                support::observed({.max_size = 1})};
    const TransactionScope plain{sessions};
    const TransactionScope labelled{sessions, {.label = "labelled"}};
    std::vector<std::string> seen;
    const auto look = [&](Session& session) -> asio::awaitable<void> {
        seen.push_back(co_await application_name(session));
    };
    const auto look_and_throw = [&](Session& session) -> asio::awaitable<void> {
        co_await look(session);
        throw Refusal{};
    };
    support::run(fixture.io, [&]() -> asio::awaitable<void> {
        co_await labelled(look);
        co_await plain(look);
        co_await failure_of(labelled(look_and_throw));
        co_await sessions.session_scope(look);
        co_await labelled([&]() -> asio::awaitable<void> { co_await plain(look); });
    });
    CHECK(seen == std::vector<std::string>{"shop: labelled", "shop", "shop: labelled", "shop",
                                           "shop: labelled"});
    CHECK(sessions.statistics().opened == 1);
}

TEST_CASE("a label takes no snapshot: what a body locks first, it sees as it is then", "[label]") {
    Fixture fixture;
    const TransactionScope scope{
        fixture.sessions,
        {.isolation = txscope::IsolationLevel::repeatable_read, .label = "lock, then look"}};
    std::int64_t seen = 0;
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("LOCK TABLE entries IN ACCESS SHARE MODE");
            fixture.database.query("INSERT INTO entries (name) VALUES ('committed since')");
            const auto counted = co_await session.execute("SELECT count(*) FROM entries");
            seen = counted.one().get<std::int64_t>(0);
        });
    });
    CHECK(seen == 1);
}

TEST_CASE("a label stands in the server's log at the head of BEGIN", "[label]") {
    Fixture fixture;
    fixture.database.query("ALTER DATABASE " + fixture.database.name() +
                           " SET log_statement = 'all'");
    const TransactionScope scope = fixture.labelled("for the log");
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&]() -> asio::awaitable<void> { co_await fixture.insert("one"); });
    });
    CHECK_THAT(support::server().log(), ContainsSubstring("/* for the log */ BEGIN"));
}

TEST_CASE("a label fails no transaction, whatever the server's encoding has no character for",
          "[label]") {
    Fixture fixture;
    const std::string name = fixture.database.name() + "_encoded";
    for (const auto& [label, shown] : std::vector<std::pair<std::string_view, std::string>>{
             {"caf\xC3\xA9 au lait", "caf?? au lait"},
             {"\xE6\xBC\xA2 \xF0\x9F\x98\x80", "??? ????"},
             {"no UTF-8: \xFF \xC0\xAF \xED\xA0\x80", "no UTF-8: ? ?? ???"},
             {"cut \xF0\x9F\x98", "cut ???"},
             {"two\nlines\tand \x7F", "two?lines?and ?"},
         })
        for (const char* encoding : {"UTF8", "LATIN1"}) {
            CAPTURE(label, encoding);
            fixture.database.query("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)");
            fixture.database.query("CREATE DATABASE " + name + " TEMPLATE template0 ENCODING '" +
                                   encoding + "' LC_COLLATE 'C' LC_CTYPE 'C'");
            const txscope::AsyncSessionFactory sessions{fixture.io,
                                                        fixture.database.dsn() + " dbname=" + name};
            const TransactionScope scope{sessions, {.label = label}};
            std::string seen;
            support::run(fixture.io, [&]() -> asio::awaitable<void> {
                co_await scope([&](Session& session) -> asio::awaitable<void> {
                    seen = co_await application_name(session);
                });
            });
            CHECK(seen == "txscope: " + shown);
        }
}

TEST_CASE("no label breaks out of its comment", "[label]") {
    const std::vector<std::string_view> labels{
        "*/ COMMIT; DROP TABLE entries; --",
        "*/ COMMIT; /*",
        "/* */ */ COMMIT; DROP TABLE entries",
        "**//",
        "*\0/ COMMIT; --"sv,
        "\0"sv,
        "-- \r\n COMMIT; \n --",
        "'; DROP TABLE entries; --",
        "\"; DROP TABLE entries; --",
        "$$; DROP TABLE entries; $$",
        "\\'; DROP TABLE entries; --",
        "$1 $2",
        "a label that is longer than the sixty-three bytes that the server keeps of it",
    };
    for (const std::string_view label : labels) {
        CAPTURE(label);
        Fixture fixture;
        const TransactionScope scope = fixture.labelled(label);
        std::string seen;
        fixture.run([&]() -> asio::awaitable<void> {
            co_await failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                co_await fixture.insert("rolled back");
                seen = co_await application_name(session);
                throw Refusal{};
            }));
            co_await scope([&]() -> asio::awaitable<void> { co_await fixture.insert("kept"); });
        });
        CHECK(fixture.names() == Names{"kept"});
        if (label.find_first_of("\0\r\n"sv) == label.npos)
            CHECK(seen == ("txscope: " + std::string{label}).substr(0, 63));
        CHECK(fixture.sessions.statistics().opened == 1);
    }
}

}  // namespace label
