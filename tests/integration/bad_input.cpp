#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <pqxx/except>

#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bad_input {

namespace asio = boost::asio;
using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::ScopeFixture;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::ConnectionFailed;
using txscope::Session;

// The ways to send a statement, each of which meets bad input first.
const std::vector<std::string> ways{"by itself", "in a session scope", "in a transaction"};

asio::awaitable<txscope::Result> send(AsyncSessionFactory sessions, std::string way,
                                      txscope::Statement statement) {
    const auto body = [&](Session& session) -> asio::awaitable<txscope::Result> {
        co_return co_await session.execute(statement);
    };
    if (way == "in a session scope") co_return co_await sessions.session_scope(body);
    if (way == "in a transaction") {
        const txscope::TransactionScope scope{sessions};
        co_return co_await scope(body);
    }
    co_return co_await sessions.execute(statement);
}

// What a factory for `conninfo` says when it is used.
std::exception_ptr failure_to_connect(const std::string& conninfo, const std::string& way,
                                      txscope::PoolOptions options = {}) {
    asio::io_context io;
    const AsyncSessionFactory sessions{io, conninfo, support::observed(options)};
    const auto failure =
        support::run(io, failure_of(send(sessions, way, txscope::Statement{"SELECT 1"})));
    support::run_until(io, [&] { return sessions.statistics().size == 0; });
    CHECK(sessions.statistics().waiting == 0);
    return failure;
}

// What may pass is waited for.
void check_connection_timeout(const std::string& conninfo, const std::string& reason) {
    for (const std::string& way : ways) {
        CAPTURE(conninfo, way);
        const auto failure =
            failure_to_connect(conninfo, way, {.acquire_timeout = std::chrono::milliseconds{50}});
        CHECK(is<txscope::AcquireTimeout>(failure));
        CHECK(is<ConnectionFailed>(support::cause_of(failure)));
        CHECK_THAT(text_of(support::cause_of(failure)), ContainsSubstring(reason));
    }
}

void check_connection_refusal(const std::string& conninfo, const std::string& reason) {
    for (const std::string& way : ways) {
        CAPTURE(conninfo, way);
        const auto failure = failure_to_connect(conninfo, way);
        CHECK(is<ConnectionFailed>(failure));
        CHECK(is<pqxx::broken_connection>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring(reason));
        CHECK(text_of(failure).find('\n') == std::string::npos);
    }
}

// A statement that fails with `Error`, over a connection that is as good as before.
template <typename Error>
void check_statement_refusal(ScopeFixture& fixture, const txscope::Statement& statement,
                             const std::string& reason) {
    for (const std::string& way : ways) {
        CAPTURE(statement.sql(), way);
        const auto failure = fixture.run(failure_of(send(fixture.sessions, way, statement)));
        CHECK(is<Error>(failure));
        CHECK(is<txscope::SqlError>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring(reason));
        CHECK_FALSE(is<txscope::ConnectionLost>(failure));
        fixture.run(fixture.sessions.execute("SELECT 1"));
        CHECK(fixture.sessions.statistics().opened == 1);
        CHECK(fixture.sessions.statistics().discarded == 0);
    }
}

TEST_CASE("a malformed connection string is one clear error at the co_await", "[bad_input]") {
    check_connection_refusal("nonsense", "malformed connection string: missing \"=\"");
    check_connection_refusal("no_such_keyword=1", "invalid connection option");
    check_connection_refusal("postgresql://[::1/app", "malformed connection string");
    check_connection_refusal("host=127.0.0.1,127.0.0.1 port=1,2,3", "could not match");
    check_connection_refusal("host=127.0.0.1 port=none", "invalid integer value \"none\"");
    check_connection_refusal("host=127.0.0.1 port=99999", "invalid port number: \"99999\"");
    check_connection_refusal("host=127.0.0.1 target_session_attrs=sometimes", "sometimes");
    check_connection_refusal("hostaddr=nowhere port=1", "nowhere");
    check_connection_refusal("service=no_such_service", "no_such_service");
}

TEST_CASE("an unreachable server is one clear error at the co_await", "[bad_input]") {
    const support::DeadPort nobody;
    check_connection_timeout(nobody.dsn(), "Connection refused");
    check_connection_timeout("host=/no/such/folder user=postgres", "No such file or directory");
    check_connection_timeout("host=no.such.host.invalid,127.0.0.1 port=" +
                                 std::to_string(nobody.port()) + " user=postgres",
                             "Connection refused");
    for (const std::string& way :
         ways) {  // at once, or later: the system may not know that for good
        const auto failure = failure_to_connect("host=no.such.host.invalid user=postgres", way,
                                                {.acquire_timeout = std::chrono::milliseconds{50}});
        const auto cause = support::cause_of(failure);
        CHECK_THAT(text_of(cause ? cause : failure), ContainsSubstring("no.such.host.invalid"));
    }
}

TEST_CASE("a server that is not PostgreSQL is one clear error at the co_await", "[bad_input]") {
    const support::SilentServer silent;
    check_connection_timeout(silent.dsn() + " connect_timeout=1", "no answer");
}

TEST_CASE("a refused login is one clear error at the co_await", "[bad_input]") {
    txscope::TemporaryPostgresOptions options;
    options.password = "right";
    txscope::TemporaryPostgres server{options};
    check_connection_refusal(server.dsn() + " password=wrong", "password authentication failed");
    check_connection_refusal(server.dsn() + " password=''", "no password supplied");
    check_connection_refusal(server.dsn() + " user=nobody", "password authentication failed");
    check_connection_refusal(server.dsn("no_such_database"), "\"no_such_database\" does not exist");
    const auto failure = failure_to_connect(server.dsn() + " password=wrong", ways.front());
    CHECK(text_of(failure).find("wrong") == std::string::npos);

    asio::io_context io;
    const AsyncSessionFactory sessions{io, server.dsn(), support::observed()};
    support::run(io, sessions.execute("SELECT 1"));
}

TEST_CASE("a server that is full is an error, and works again when there is room", "[bad_input]") {
    txscope::TemporaryPostgresOptions options;
    options.max_connections = 5;
    options.settings = {"superuser_reserved_connections = 0", "max_wal_senders = 0"};
    txscope::TemporaryPostgres server{options};
    asio::io_context io;
    const AsyncSessionFactory sessions{io, server.dsn(), support::observed()};
    {
        std::vector<support::Client> others;
        for (int i = 0; i < 5; ++i) others.emplace_back(server.dsn());
        const auto failure = support::run(io, failure_of(sessions.ready()));
        CHECK(is<ConnectionFailed>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring("too many clients"));
    }
    support::run(io, sessions.execute("SELECT 1"));  // waits until they are gone
}

TEST_CASE("SQL that the server refuses is one clear error, and the connection is as good as before",
          "[bad_input]") {
    ScopeFixture fixture;
    using txscope::Statement;
    check_statement_refusal<pqxx::undefined_table>(fixture, Statement{"SELECT * FROM nowhere"},
                                                   "\"nowhere\" does not exist");
    check_statement_refusal<pqxx::undefined_column>(
        fixture, Statement{"SELECT nothing FROM entries"}, "\"nothing\" does not exist");
    check_statement_refusal<pqxx::undefined_function>(fixture, Statement{"SELECT no_function()"},
                                                      "no_function() does not exist");
    check_statement_refusal<pqxx::syntax_error>(fixture, Statement{"SELEKT 1"}, "\"SELEKT\"");
    check_statement_refusal<pqxx::syntax_error>(fixture, Statement{"SELECT 1; SELECT 2"},
                                                "multiple commands");
    check_statement_refusal<pqxx::data_exception>(fixture, Statement{"SELECT 1 / $1::int", 0},
                                                  "division by zero");
    check_statement_refusal<pqxx::data_exception>(fixture, Statement{"SELECT $1::int", "abc"},
                                                  "invalid input syntax");
    check_statement_refusal<pqxx::data_exception>(fixture, Statement{"SELECT $1::text", "\xff\xfe"},
                                                  "invalid byte sequence");
    check_statement_refusal<pqxx::not_null_violation>(
        fixture, Statement{"INSERT INTO entries (name) VALUES ($1)", std::optional<std::string>{}},
        "\"name\"");
}

TEST_CASE("too few or too many values for the places is an error of the statement, not the line",
          "[bad_input]") {
    ScopeFixture fixture;
    using txscope::Statement;
    for (const Statement& statement :
         {Statement{"SELECT $1::int"}, Statement{"SELECT $1::int", 1, 2},
          Statement{"SELECT 1", 1}}) {
        for (const std::string& way : ways) {
            CAPTURE(statement.sql(), way);
            const auto failure = fixture.run(failure_of(send(fixture.sessions, way, statement)));
            CHECK(is<txscope::SqlError>(failure));
            CHECK_FALSE(is<txscope::ConnectionLost>(failure));
            CHECK_THAT(text_of(failure), ContainsSubstring("parameters"));
            fixture.run(fixture.sessions.execute("SELECT 1"));
            CHECK(fixture.sessions.statistics().opened == 1);
        }
    }
}

TEST_CASE("a value that cannot be sent is refused before anything is", "[bad_input]") {
    ScopeFixture fixture;
    const auto zero = "a\0b"s;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", zero);
    };
    const auto failure = fixture.run(failure_of(fixture.scope(body)));
    CHECK(is<txscope::ValueError>(failure));
    CHECK(is<pqxx::conversion_error>(failure));
    CHECK(text_of(failure).find('\0') == std::string::npos);
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().acquired == 0);
}

TEST_CASE("NULL for a type that has no place for it names the column", "[bad_input]") {
    ScopeFixture fixture;
    for (const std::string& way : ways) {
        CAPTURE(way);
        const auto read = [&]() -> asio::awaitable<void> {
            const txscope::Statement statement{"SELECT NULL::text AS note"};
            const auto result = co_await send(fixture.sessions, way, statement);
            static_cast<void>(result.one().get<std::string>("note"));
        };
        const auto failure = fixture.run(failure_of(read()));
        CHECK(is<txscope::ColumnError>(failure));
        CHECK(is<pqxx::conversion_error>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring("note"));
    }
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a column that is not there, or is of another type, is named without its value",
          "[bad_input]") {
    ScopeFixture fixture;
    const auto result = fixture.run(fixture.sessions.execute("SELECT 'secret' AS note"));
    const auto absent = failure_of([&] { static_cast<void>(result.one().get<int>("name")); });
    CHECK(is<txscope::ColumnError>(absent));
    CHECK_THAT(text_of(absent), ContainsSubstring("name"));
    const auto other = failure_of([&] { static_cast<void>(result.one().get<int>("note")); });
    CHECK(is<txscope::ColumnError>(other));
    CHECK_THAT(text_of(other), ContainsSubstring("note"));
    CHECK(text_of(other).find("secret") == std::string::npos);
}

TEST_CASE("a statement after the end of its scope is refused, and nothing is written",
          "[bad_input]") {
    ScopeFixture fixture;
    std::optional<Session> kept;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        kept = session;
    };
    SECTION("of a transaction") { fixture.run(fixture.scope(body)); }
    SECTION("of a session scope") { fixture.run(fixture.sessions.session_scope(body)); }
    const auto failure =
        fixture.run(failure_of(kept->execute("INSERT INTO entries (name) VALUES ($1)", "late")));
    CHECK(is<txscope::ScopeEnded>(failure));
    CHECK(is<txscope::TransactionError>(failure));
    CHECK(fixture.names().empty());
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("COPY from and to the client is refused, and nothing is sent of it", "[bad_input]") {
    ScopeFixture fixture;
    for (const std::string& way : ways) {
        CAPTURE(way);
        for (const char* sql : {"COPY entries FROM STDIN", "/* all */ copy (SELECT 1) to stdout"}) {
            const txscope::Statement copy{sql};
            const auto failure = fixture.run(failure_of(send(fixture.sessions, way, copy)));
            CHECK(is<pqxx::usage_error>(failure));
            CHECK_THAT(text_of(failure), ContainsSubstring(sql));
            fixture.run(fixture.sessions.execute("SELECT 1"));
        }
    }
    const txscope::TransactionScope scope{fixture.sessions};
    const auto enqueued = fixture.run([&] {
        return failure_of(scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ('one')");
            session.enqueue("COPY entries TO STDOUT");
        }));
    });
    CHECK(is<pqxx::usage_error>(enqueued));
    CHECK(fixture.names().empty());
    CHECK(fixture.sessions.statistics().opened == 1);
    CHECK(fixture.sessions.statistics().discarded == 0);
    // The server's own files are the server's business.
    const auto unreadable =
        fixture.run(failure_of(fixture.sessions.execute("COPY entries FROM '/STDIN'")));
    CHECK(is<txscope::SqlError>(unreadable));
}

TEST_CASE("LISTEN is refused where nobody would hear what comes, and nothing is sent of it",
          "[bad_input]") {
    ScopeFixture fixture;
    for (const std::string& way : ways) {
        CAPTURE(way);
        for (const char* sql :
             {"LISTEN news", "-- hark\n listen \"news\"", "; /* now */ Listen news"}) {
            const txscope::Statement listen{sql};
            const auto failure = fixture.run(failure_of(send(fixture.sessions, way, listen)));
            CHECK(is<pqxx::usage_error>(failure));
            CHECK_THAT(text_of(failure), ContainsSubstring(sql));
        }
    }
    const txscope::TransactionScope scope{fixture.sessions};
    const auto enqueued = fixture.run([&] {
        return failure_of(scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ('one')");
            session.enqueue("LISTEN news");
        }));
    });
    CHECK(is<pqxx::usage_error>(enqueued));
    CHECK(fixture.names().empty());
    // To tell others is no subscription, nor is to end one, or a name.
    for (const char* sql : {"NOTIFY listen, 'LISTEN'", "UNLISTEN *", "SELECT 'LISTEN' AS listen"})
        fixture.run(send(fixture.sessions, "by itself", txscope::Statement{sql}));
    CHECK(fixture.sessions.statistics().discarded == 0);
}

TEST_CASE("bad input from many at once leaves a pool that works", "[bad_input]") {
    ScopeFixture fixture;
    std::vector<std::exception_ptr> failures;
    const auto fail = [&](int number) -> asio::awaitable<void> {
        const std::string& way = ways[static_cast<std::size_t>(number) % ways.size()];
        const std::string sql = number % 2 == 0 ? "SELECT * FROM nowhere" : "SELECT 1 / 0";
        const txscope::Statement statement{sql};
        failures.push_back(co_await failure_of(send(fixture.sessions, way, statement)));
    };
    for (int number = 0; number < 60; ++number)
        asio::co_spawn(fixture.io, fail(number), asio::detached);
    support::run_until(fixture.io, [&] { return failures.size() == 60; });
    for (const auto& failure : failures) CHECK(is<pqxx::sql_error>(failure));
    // One may still be opened, for who has got another one meanwhile.
    support::run_until(fixture.io, [&] {
        const auto now = fixture.sessions.statistics();
        return now.idle == now.size;
    });
    CHECK(fixture.sessions.statistics().discarded == 0);
    CHECK(fixture.in_transaction() == 0);
}

}  // namespace bad_input
