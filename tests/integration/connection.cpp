#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/sanitizers.hpp"
#include "support/started.hpp"
#include "support/wire_connection.hpp"
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/connection.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <pqxx/except>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace connection {

using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
using support::is;
using support::text_of;
using support::WireConnection;
using txscope::ConnectionLost;
using txscope::Statement;
using txscope::detail::Response;

using Names = std::vector<std::string>;

const txscope::SqlDiagnostics& diagnostics(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const txscope::SqlError& error) {
        return error.diagnostics();  // shared by all copies
    }
}

// What the library's connections have prepared on the server, by text, the oldest first.
Names prepared(WireConnection& wire) {
    const auto result = wire.ask(
        "SELECT statement FROM pg_prepared_statements WHERE statement NOT LIKE '%prepared%' "
        "ORDER BY prepare_time, name");
    Names statements;
    for (const auto& [statement] : result.rows<std::string>()) statements.push_back(statement);
    return statements;
}

// Somebody else who holds the advisory lock 1, so that a statement that wants it runs on and on.
class LockHolder {
public:
    explicit LockHolder(const WireConnection& wire) : client_{wire.database.dsn()} {
        client_.query("SELECT pg_advisory_lock(1)");
    }
    void release() { client_.query("SELECT pg_advisory_unlock(1)"); }

private:
    support::Client client_;
};
constexpr auto wait_for_lock = "SELECT pg_advisory_xact_lock(1)";

// Where the server listens.
std::filesystem::path socket_of(const txscope::TemporaryPostgres& server) {
    for (const auto& entry : std::filesystem::directory_iterator{server.socket_directory()})
        if (entry.is_socket()) return entry.path();
    throw std::runtime_error{"no socket"};
}

// What is written to the standard error stream while this lives.
class StandardError {
public:
    StandardError() : before_{::dup(2)}, file_{std::tmpfile()} {
        std::fflush(stderr);
        ::dup2(::fileno(file_), 2);
    }
    StandardError(const StandardError&) = delete;
    StandardError& operator=(const StandardError&) = delete;
    ~StandardError() {
        restore();
        std::fclose(file_);
    }
    std::string restore() {
        if (before_ < 0) return {};
        std::fflush(stderr);
        ::dup2(before_, 2);
        ::close(std::exchange(before_, -1));
        std::rewind(file_);
        std::array<char, 4096> text{};
        return {text.data(), std::fread(text.data(), 1, text.size(), file_)};
    }

private:
    int before_;
    std::FILE* file_;
};

TEST_CASE("the statements of a batch are executed in order, each answer for its own response",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id serial, text text)"};
    const auto responses =
        wire.send({Statement{"INSERT INTO notes (text) VALUES ($1) RETURNING id", "first"},
                   Statement{"INSERT INTO notes (text) VALUES ($1), ($2)", "second", "third"},
                   Statement{"SELECT string_agg(text, ' ' ORDER BY id) FROM notes"}});
    wire.await(responses);

    for (const auto& response : responses) {
        CHECK(response->done);
        CHECK_FALSE(response->error);
    }
    CHECK(responses[0]->result.one().get<int>("id") == 1);
    CHECK(responses[1]->result.affected_rows() == 2);
    CHECK(responses[1]->result.command_tag() == "INSERT 0 2");
    CHECK(responses[2]->result.one().get<std::string>(0) == "first second third");
    CHECK(wire.connection->round_trips() == 1);
    CHECK(wire.connection->clean());
    CHECK(wire.database.count("notes") == 3);
}

TEST_CASE("a response of several statements has the last one's result", "[connection]") {
    WireConnection wire;
    auto response = std::make_shared<Response>();
    txscope::Connection::Batch batch;
    for (const char* sql : {"SELECT 1", "SELECT 2", "SELECT 3"})
        batch.push_back({Statement{sql}, response});
    wire.connection->submit(std::move(batch));
    wire.await(response);
    CHECK_FALSE(response->error);
    CHECK(response->result.one().get<int>(0) == 3);
}

TEST_CASE("many batches may be under way at once, and are answered in the order they were sent",
          "[connection]") {
    WireConnection wire;
    std::vector<WireConnection::SharedResponse> responses;
    for (int i = 0; i < 200; ++i)
        responses.push_back(wire.send({Statement{"SELECT $1::int * 2", i}}).front());
    wire.await(responses.back());
    for (std::size_t i = 0; i < responses.size(); ++i) {
        REQUIRE(responses[i]->done);
        CHECK(responses[i]->result.one().get<std::size_t>(0) == 2 * i);
    }
    CHECK(wire.connection->round_trips() == 200);
}

TEST_CASE("an empty statement is answered like any other", "[connection]") {
    WireConnection wire;
    CHECK(wire.ask("").empty());
    CHECK(wire.ask("-- nothing but a remark").empty());
    CHECK(wire.ask("SELECT 1").one().get<int>(0) == 1);
}

TEST_CASE("a failed statement gives libpqxx's class with all that the server said",
          "[connection]") {
    WireConnection wire{
        "CREATE TABLE notes (id int CONSTRAINT ids_are_unique PRIMARY KEY, text text NOT NULL)"};
    wire.ask("INSERT INTO notes VALUES (1, 'one')");

    const auto duplicate = wire.send("INSERT INTO notes VALUES (1, 'two')");
    wire.await(duplicate);
    CHECK(is<pqxx::unique_violation>(duplicate->error));
    CHECK(diagnostics(duplicate->error).sqlstate == txscope::sqlstate::unique_violation);
    CHECK(diagnostics(duplicate->error).constraint == "ids_are_unique");
    CHECK(diagnostics(duplicate->error).table == "notes");
    CHECK(diagnostics(duplicate->error).statement == "INSERT INTO notes VALUES (1, 'two')");

    const auto missing = wire.send("SELECT * FROM nowhere");
    wire.await(missing);
    CHECK(is<pqxx::undefined_table>(missing->error));
    CHECK(diagnostics(missing->error).position == 15);

    const auto null = wire.send("INSERT INTO notes VALUES (2, NULL)");
    wire.await(null);
    CHECK(is<pqxx::not_null_violation>(null->error));
    CHECK(diagnostics(null->error).column == "text");

    CHECK(wire.connection->clean());
}

TEST_CASE("a failure undoes its batch and skips the rest of it, and no other batch",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int PRIMARY KEY)"};
    const auto before = wire.send("INSERT INTO notes VALUES (1)");
    const auto failing = wire.send({Statement{"INSERT INTO notes VALUES (2)"},
                                    Statement{"INSERT INTO notes VALUES (1)"},
                                    Statement{"INSERT INTO notes VALUES (3)"}});
    const auto after = wire.send("INSERT INTO notes VALUES (4)");
    wire.await(after);

    CHECK_FALSE(before->error);
    CHECK_FALSE(after->error);
    CHECK(is<pqxx::unique_violation>(failing[1]->error));
    CHECK(failing[1]->outcome() != Response::Outcome::skipped);
    CHECK(failing[2]->error == failing[1]->error);
    CHECK(failing[2]->outcome() == Response::Outcome::skipped);
    CHECK(wire.database.query("SELECT id FROM notes ORDER BY id").column() == Names{"1", "4"});
}

TEST_CASE("a deferred constraint that fails at the implicit commit fails its statement",
          "[connection]") {
    WireConnection wire{
        "CREATE TABLE parents (id int PRIMARY KEY);"
        "CREATE TABLE children (parent int CONSTRAINT has_a_parent REFERENCES parents "
        "DEFERRABLE INITIALLY DEFERRED)"};

    SECTION("of a statement by itself") {
        const auto orphan = wire.send("INSERT INTO children VALUES (7)");
        wire.await(orphan);
        REQUIRE(orphan->error);
        CHECK(is<pqxx::foreign_key_violation>(orphan->error));
        CHECK(diagnostics(orphan->error).constraint == "has_a_parent");
    }
    SECTION("of several statements: all were undone, so all fail") {
        const auto both = wire.send({Statement{"INSERT INTO children VALUES (7)"},
                                     Statement{"INSERT INTO parents VALUES (8)"}});
        wire.await(both);
        CHECK(is<pqxx::foreign_key_violation>(both[0]->error));
        CHECK(is<pqxx::foreign_key_violation>(both[1]->error));
    }
    SECTION("with other batches around it, which are not concerned") {
        const auto before = wire.send("SELECT 1");
        const auto orphan = wire.send("INSERT INTO children VALUES (7)");
        const auto after = wire.send("SELECT 2");
        wire.await(after);
        CHECK(is<pqxx::foreign_key_violation>(orphan->error));
        CHECK(before->result.one().get<int>(0) == 1);
        CHECK_FALSE(after->error);
        CHECK(after->result.one().get<int>(0) == 2);
    }

    CHECK(wire.connection->clean());
    CHECK(wire.ask("SELECT count(*) FROM children").one().get<int>(0) == 0);
    CHECK(wire.database.count("children") == 0);
    CHECK(wire.database.count("parents") == 0);
}

TEST_CASE("a transaction keeps what its batches did until COMMIT", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    wire.await(wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"}}));
    CHECK(wire.connection->in_transaction());
    CHECK_FALSE(wire.connection->clean());
    CHECK(wire.database.count("notes") == 0);
    wire.await(wire.send({Statement{"INSERT INTO notes VALUES (2)"}, Statement{"COMMIT"}}));
    CHECK_FALSE(wire.connection->in_transaction());
    CHECK(wire.connection->clean());
    CHECK(wire.database.count("notes") == 2);
}

TEST_CASE("what is queued with COMMIT is not committed when it fails", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int PRIMARY KEY)"};
    wire.await(wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"}}));
    const auto end = wire.send({Statement{"INSERT INTO notes VALUES (1)"}, Statement{"COMMIT"}});
    wire.await(end);
    CHECK(is<pqxx::unique_violation>(end[0]->error));
    CHECK(end[1]->outcome() == Response::Outcome::skipped);
    CHECK(wire.connection->in_transaction());
    wire.recover();
    CHECK(wire.connection->clean());
    CHECK(wire.database.count("notes") == 0);
}

TEST_CASE("COPY is refused with a clear error, and the connection is given up", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    const std::string sql =
        GENERATE("COPY notes TO STDOUT"s, "COPY notes FROM STDIN"s, "COPY (SELECT 1) TO STDOUT"s);
    CAPTURE(sql);
    const auto before = wire.send("INSERT INTO notes VALUES (1)");
    const auto copy = wire.send(sql);
    const auto after = wire.send("INSERT INTO notes VALUES (2)");
    wire.await(after);
    CHECK_FALSE(before->error);
    CHECK(is<pqxx::usage_error>(copy->error));
    CHECK_THAT(text_of(copy->error), ContainsSubstring("COPY") && ContainsSubstring(sql));
    CHECK(after->error);
    CHECK(wire.connection->broken());
}

TEST_CASE("notices of the server are not printed", "[connection]") {
    WireConnection wire;
    std::string printed;
    {
        StandardError captured;
        wire.ask("DO $$ BEGIN RAISE NOTICE 'hear, hear'; RAISE WARNING 'beware'; END $$");
        wire.ask("ROLLBACK");  // a warning: there is no transaction
        printed = captured.restore();
    }
    CHECK(printed.empty());
}

TEST_CASE("notifications do not disturb the answers they come between", "[connection]") {
    WireConnection wire;
    wire.ask("LISTEN news");
    support::Client other{wire.database.dsn()};
    for (int i = 0; i < 20; ++i) {
        other.query("NOTIFY news, 'extra'");
        CHECK(wire.ask("SELECT $1::int", i).one().get<int>(0) == i);
    }
}

TEST_CASE("notifications that nobody asks for are not kept", "[connection]") {
    WireConnection wire;
    wire.ask("LISTEN news");
    wire.ask("SELECT pg_notify('news', n::text) FROM generate_series(1, 1000) n");
    int kept = 0;
    while (PGnotify* notification = PQnotifies(wire.connection->native())) {
        PQfreemem(notification);
        ++kept;
    }
    CHECK(kept == 0);
}

TEST_CASE("an error that only has the code of a lost connection is none", "[connection]") {
    WireConnection wire;
    // As of another server's, which a foreign table or dblink passes on.
    for (const std::string code : {"57P01", "08006"}) {
        CAPTURE(code);
        const auto failed =
            wire.send("DO $$ BEGIN RAISE 'remote' USING ERRCODE = '" + code + "'; END $$");
        wire.await(failed);
        CHECK(diagnostics(failed->error).sqlstate == code);
        CHECK_FALSE(is<ConnectionLost>(failed->error));
        CHECK(wire.connection->idle());
    }
}

TEST_CASE("over TCP the system looks after a connection that keeps silent", "[connection]") {
    boost::asio::io_context io;
    const auto connection =
        support::run(io, txscope::Connection::open(io.get_executor(), support::server().tcp_dsn(),
                                                   16, support::before_long()));
    const auto option = [&](int level, int name) {
        int value = 0;
        socklen_t size = sizeof value;
        REQUIRE(::getsockopt(PQsocket(connection->native()), level, name, &value, &size) == 0);
        return value;
    };
    CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 30);
    CHECK(option(IPPROTO_TCP, TCP_KEEPINTVL) == 10);
    CHECK(option(IPPROTO_TCP, TCP_KEEPCNT) == 3);
    CHECK(option(IPPROTO_TCP, TCP_USER_TIMEOUT) == 30'000);
}

// UBSan, which runs along with ASan, looks at objects through a pipe: without a descriptor for that,
// it takes them for broken.
#ifndef TXSCOPE_TESTS_ADDRESS_SANITIZER
TEST_CASE("without a descriptor for it a connection fails like any other", "[connection]") {
    WireConnection wire;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next = ::dup(0);
    ::close(next);
    bool opened = false;
    int failures = 0;
    for (; !opened; ++failures) {
        rlimit few = before;
        few.rlim_cur = static_cast<rlim_t>(next + failures);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        const auto failure = support::failure_of([&] {
            support::run(wire.io,
                         txscope::Connection::open(wire.io.get_executor(), wire.database.dsn(), 16,
                                                   support::before_long()));
        });
        ::setrlimit(RLIMIT_NOFILE, &before);
        CAPTURE(failures, text_of(failure));
        opened = !failure;
        CHECK((opened || is<txscope::ConnectionFailed>(failure)));
    }
    CHECK(failures > 2);
}
#endif

TEST_CASE("a terminated backend gives a typed error that says why, to everybody who waits",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    LockHolder holder{wire};
    const auto running = wire.send(wait_for_lock);
    const auto behind = wire.send("INSERT INTO notes VALUES (1)");
    wire.await_lock_wait();
    wire.database.query("SELECT pg_terminate_backend(" + std::to_string(wire.backend_pid()) + ")");
    wire.await(behind);

    CHECK(is<pqxx::broken_connection>(running->error));
    CHECK(is<ConnectionLost>(running->error));
    CHECK_THAT(text_of(running->error),
               ContainsSubstring("terminating connection due to administrator command"));
    CHECK(is<ConnectionLost>(behind->error));
    CHECK(wire.connection->broken());
    CHECK(wire.database.count("notes") == 0);

    const auto late = wire.send("SELECT 1");
    wire.await(late);
    CHECK(is<ConnectionLost>(late->error));
}

TEST_CASE("a batch that libpq takes no more is answered, all of it", "[connection]") {
    WireConnection wire{{}, 0};  // the statements themselves are refused, not their preparation
    PGconn* native = wire.connection->native();
    REQUIRE(::shutdown(PQsocket(native), SHUT_RDWR) == 0);
    PQconsumeInput(native);  // libpq alone gets to know
    REQUIRE(PQstatus(native) == CONNECTION_BAD);
    REQUIRE_FALSE(wire.connection->broken());

    const auto refused = wire.send({Statement{"SELECT 1"}, Statement{"SELECT 2"}});
    for (const auto& response : refused) {
        CHECK(response->done);
        CHECK(is<ConnectionLost>(response->error));
    }
    CHECK(wire.connection->broken());
}

TEST_CASE("a connection that is closed answers all that is outstanding", "[connection]") {
    WireConnection wire;
    LockHolder holder{wire};
    const auto running = wire.send(wait_for_lock);
    const auto behind = wire.send("SELECT 1");
    wire.await_lock_wait();

    SECTION("by its own") {
        wire.connection->close(std::make_exception_ptr(ConnectionLost{"enough"}));
        CHECK(text_of(running->error) == "enough");
        CHECK(text_of(behind->error) == "enough");
    }
    SECTION("by its destructor") {
        wire.connection.reset();
        CHECK(is<ConnectionLost>(running->error));
        CHECK(is<ConnectionLost>(behind->error));
    }
    CHECK(running->done);
    CHECK(behind->done);
}

TEST_CASE("closing wakes those who wait", "[connection]") {
    WireConnection wire;
    LockHolder holder{wire};
    const auto running = wire.send(wait_for_lock);
    int woken = 0;
    const auto waiting = [&]() -> support::asio::awaitable<void> {
        co_await wire.connection->answered(running);
        ++woken;
    };
    for (int i = 0; i < 3; ++i)
        support::asio::co_spawn(wire.io, waiting(), [](const std::exception_ptr& error) {
            if (error) std::rethrow_exception(error);
        });
    wire.await_lock_wait();
    CHECK(woken == 0);
    wire.connection->close(std::make_exception_ptr(ConnectionLost{"enough"}));
    support::run_until(wire.io, [&] { return woken == 3; });
    CHECK(is<ConnectionLost>(running->error));
}

TEST_CASE("a cancelled statement has ended on the server before cancel returns", "[connection]") {
    WireConnection wire;
    LockHolder holder{wire};
    const auto running = wire.send(wait_for_lock);
    wire.await_lock_wait();
    support::run(wire.io, wire.connection->cancel(running, support::before_long()));

    CHECK(running->done);
    CHECK(is<txscope::SqlError>(running->error));
    CHECK(diagnostics(running->error).sqlstate == txscope::sqlstate::query_canceled);
    CHECK(wire.connection->clean());
    // Nothing of the request is left that could hit the next statement.
    for (int i = 0; i < 20; ++i) CHECK(wire.ask("SELECT $1::int", i).one().get<int>(0) == i);
}

TEST_CASE("cancel leaves alone what runs ahead of the statement", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    LockHolder holder{wire};
    const auto ahead =
        wire.send({Statement{wait_for_lock}, Statement{"INSERT INTO notes VALUES (1)"}});
    const auto mine = wire.send("SELECT pg_advisory_xact_lock(2)");
    wire.await_lock_wait();
    support::Client other{wire.database.dsn()};
    other.query("SELECT pg_advisory_lock(2)");

    bool cancelled = false;
    const auto cancelling = [&]() -> support::asio::awaitable<void> {
        co_await wire.connection->cancel(mine, support::before_long());
        cancelled = true;
    };
    support::asio::co_spawn(wire.io, cancelling(), support::asio::detached);
    wire.io.restart();
    wire.io.poll();
    CHECK_FALSE(cancelled);
    holder.release();
    support::run_until(wire.io, [&] { return cancelled; });
    CHECK_FALSE(ahead.back()->error);
    CHECK(wire.database.count("notes") == 1);
    CHECK(diagnostics(mine->error).sqlstate == txscope::sqlstate::query_canceled);
}

TEST_CASE("a statement that is done before it can be cancelled keeps its result", "[connection]") {
    WireConnection wire;
    for (int i = 0; i < 50; ++i) {
        const auto quick = wire.send({Statement{"SELECT $1::int", i}}).front();
        support::run(wire.io, wire.connection->cancel(quick, support::before_long()));
        REQUIRE(quick->done);
        if (quick->error)
            CHECK(diagnostics(quick->error).sqlstate == txscope::sqlstate::query_canceled);
        else
            CHECK(quick->result.one().get<int>(0) == i);
        CHECK(wire.connection->clean());
    }
}

TEST_CASE("a connection is closed while a request to cancel is on its way to what it runs",
          "[connection]") {
    txscope::TemporaryPostgres server;
    support::asio::io_context io;
    const auto connection = support::run(
        io, txscope::Connection::open(io.get_executor(), server.dsn(), 8, support::before_long()));
    support::Client holder{server.dsn()};
    holder.query("SELECT pg_advisory_lock(1)");
    const auto response = std::make_shared<Response>();
    txscope::Connection::Batch batch;
    batch.push_back({Statement{wait_for_lock}, response});
    connection->submit(std::move(batch));
    connection->flush();
    support::run_until(io, [&] {
        return holder.query("SELECT count(*) FROM pg_locks WHERE NOT granted").number() == 1;
    });

    // From here on the server's address takes connections, and does nothing with them.
    using Protocol = support::asio::local::stream_protocol;
    const auto address = socket_of(server);
    std::filesystem::rename(address, address.string() + ".away");
    Protocol::acceptor silent{io, Protocol::endpoint{address.string()}};
    Protocol::socket request{io};
    bool requested = false;
    silent.async_accept(request, [&](const auto& error) { requested = !error; });

    support::Started cancelling{io, connection->cancel(response, std::chrono::steady_clock::now() +
                                                                     std::chrono::seconds{5})};
    support::run_until(io, [&] { return requested; });
    holder.query("SELECT pg_advisory_unlock(1)");
    support::run(io, connection->answered(response));
    CHECK(response->done);
    support::run_until(io, [&] { return cancelling.done(); });
    CHECK(connection->broken());
}

TEST_CASE("recovery brings a connection back to where nothing is open", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int PRIMARY KEY)"};
    LockHolder holder{wire};

    SECTION("from an open transaction") {
        wire.await(wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"}}));
    }
    SECTION("from a failed transaction") {
        wire.await(wire.send({Statement{"BEGIN"}, Statement{"SELECT 1 / 0"}}));
        CHECK(wire.connection->in_transaction());
    }
    SECTION("from a statement that runs") {
        wire.send(wait_for_lock);
        wire.await_lock_wait();
    }
    SECTION("from a statement that runs in a transaction") {
        wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"},
                   Statement{wait_for_lock}});
        wire.await_lock_wait();
    }
    SECTION("from several batches under way") {
        wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"}});
        wire.send(wait_for_lock);
        wire.send("INSERT INTO notes VALUES (2)");
        wire.await_lock_wait();
    }
    SECTION("from a COMMIT that was sent behind a statement that runs") {
        wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"},
                   Statement{wait_for_lock}, Statement{"COMMIT"}});
        wire.await_lock_wait();
    }
    SECTION("from a batch that nobody has read the answer of") {
        wire.send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"}});
    }

    wire.recover();
    CHECK_FALSE(wire.connection->broken());
    CHECK(wire.connection->clean());
    CHECK(wire.database.count("notes") == 0);
    CHECK(wire.ask("SELECT 1").one().get<int>(0) == 1);
}

TEST_CASE("recovery undoes what was changed in the server's session", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    wire.ask("SELECT 1");  // prepared: DISCARD ALL takes that away, too

    SECTION("a setting") {
        wire.ask("SET work_mem = '1234kB'");
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    }
    SECTION("a setting by function") {
        wire.ask("SELECT set_config('work_mem', $1, false)", "1234kB");
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    }
    SECTION("a setting by function, beside a local one") {
        wire.ask("SELECT set_config('work_mem', '1234kB', false), set_config('a.b', 'c', true)");
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    }
    SECTION("a setting by way of the view that shows it") {
        wire.ask("UPDATE pg_settings SET setting = '1234' WHERE name = 'work_mem'");
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    }
    SECTION("whatever a block does") {
        wire.ask("DO $$ BEGIN SET work_mem = '1234kB'; LISTEN news; END $$");
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
        CHECK(wire.ask("SELECT pg_listening_channels()").empty());
    }
    SECTION("a role") {
        wire.ask("SET ROLE pg_monitor");
        wire.recover();
        CHECK(wire.ask("SELECT current_user").one().get<std::string>(0) == "postgres");
    }
    SECTION("LISTEN") {
        wire.ask("LISTEN news");
        wire.recover();
        CHECK(wire.ask("SELECT pg_listening_channels()").empty());
    }
    SECTION("a temporary table") {
        wire.ask("CREATE TEMPORARY TABLE scratch (id int)");
        wire.recover();
        CHECK(wire.ask("SELECT to_regclass('scratch')").one().is_null(0));
    }
    SECTION("a temporary table from a query") {
        wire.ask("CREATE TEMP TABLE scratch AS SELECT 1 AS id");
        wire.recover();
        CHECK(wire.ask("SELECT to_regclass('scratch')").one().is_null(0));
    }
    SECTION("a temporary table that a query is selected into") {
        wire.ask("SELECT 1 AS id INTO TEMP scratch");
        wire.recover();
        CHECK(wire.ask("SELECT to_regclass('scratch')").one().is_null(0));
    }
    SECTION("a temporary table by an explained statement") {
        wire.ask("EXPLAIN ANALYZE CREATE TABLE \"pg_temp\".scratch AS SELECT 1 AS id");
        wire.recover();
        CHECK(wire.ask("SELECT to_regclass('scratch')").one().is_null(0));
    }
    SECTION("a temporary view and a temporary sequence") {
        wire.ask("CREATE TEMP VIEW scratch AS SELECT 1");
        wire.ask("CREATE TEMP SEQUENCE numbers");
        wire.recover();
        CHECK(wire.ask("SELECT to_regclass('scratch')").one().is_null(0));
        CHECK(wire.ask("SELECT to_regclass('numbers')").one().is_null(0));
    }
    SECTION("an advisory lock") {
        wire.ask("SELECT pg_advisory_lock(42)");
        wire.recover();
        CHECK(wire.database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                  .number() == 0);
    }
    SECTION("an advisory lock, behind a text with an odd quote") {
        wire.ask("SELECT $$it's$$, E'it\\'s', pg_advisory_lock(42)");
        wire.recover();
        CHECK(wire.database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                  .number() == 0);
    }
    SECTION("a prepared statement of the program's own") {
        wire.ask("PREPARE mine AS SELECT 1");
        wire.recover();
        CHECK(prepared(wire).empty());
    }
    SECTION("a cursor that outlives its transaction") {
        wire.ask("DECLARE rows CURSOR WITH HOLD FOR SELECT 1");
        wire.recover();
        CHECK(wire.ask("SELECT name FROM pg_cursors WHERE name = 'rows'").empty());
    }
    SECTION("changed in a transaction that was committed") {
        wire.await(wire.send(
            {Statement{"BEGIN"}, Statement{"SET work_mem = '1234kB'"}, Statement{"COMMIT"}}));
        wire.recover();
        CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    }
    CHECK(wire.connection->clean());
}

TEST_CASE("a lock of the session's that a statement took before it failed goes, too",
          "[connection]") {
    WireConnection wire;
    SECTION("when it failed by itself") {
        const auto failed = wire.send("SELECT pg_advisory_lock(42), 1 / (random() * 0)::int");
        wire.await(failed);
        CHECK(is<pqxx::data_exception>(failed->error));
    }
    SECTION("when it was cancelled") {
        LockHolder holder{wire};
        const auto waiting = wire.send("SELECT pg_advisory_lock(42), pg_advisory_lock(1)");
        wire.await_lock_wait();
        support::run(wire.io, wire.connection->cancel(waiting, support::before_long()));
        CHECK(diagnostics(waiting->error).sqlstate == txscope::sqlstate::query_canceled);
    }
    CHECK(wire.connection->dirty());
    wire.recover();
    CHECK(wire.connection->clean());
    CHECK(
        wire.database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").number() ==
        0);
}

TEST_CASE("what ends with its transaction needs no reset", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)"};
    wire.await(wire.send({Statement{"BEGIN"}, Statement{"SET LOCAL work_mem = '1234kB'"},
                          Statement{"SET CONSTRAINTS ALL DEFERRED"},
                          Statement{"SELECT set_config($1, $2, true)", "lock_timeout", "1s"},
                          Statement{"SELECT pg_advisory_xact_lock(42)"}, Statement{"COMMIT"}}));
    CHECK(wire.connection->clean());
    CHECK(wire.ask("SHOW work_mem").one().get<std::string>(0) != "1234kB");
    CHECK(wire.ask("SHOW lock_timeout").one().get<std::string>(0) == "0");
}

TEST_CASE("a server that does not answer is given up at the deadline", "[connection]") {
    txscope::TemporaryPostgres server;
    support::asio::io_context io;
    const auto connection = support::run(
        io, txscope::Connection::open(io.get_executor(), server.dsn(), 8, support::before_long()));
    const auto response = std::make_shared<Response>();
    server.pause();
    txscope::Connection::Batch batch;
    batch.push_back({Statement{"SELECT 1"}, response});
    connection->submit(std::move(batch));
    connection->flush();

    const auto begun = std::chrono::steady_clock::now();
    const std::chrono::milliseconds limit{300};
    SECTION("in recovery") { support::run(io, connection->recover(begun + limit)); }
    SECTION("in cancellation") { support::run(io, connection->cancel(response, begun + limit)); }
    SECTION("in waiting for the answer") {
        support::run(io, connection->settle(response, begun + limit));
    }
    CHECK(std::chrono::steady_clock::now() - begun >= limit);
    CHECK(connection->broken());
    CHECK(response->done);
    CHECK(is<ConnectionLost>(response->error));
    server.resume();
}

TEST_CASE("a statement is prepared once, and used by name from then on", "[connection]") {
    WireConnection wire;
    for (int i = 0; i < 3; ++i) wire.ask("SELECT $1::int", i);
    CHECK(prepared(wire) == Names{"SELECT $1::int"});
    CHECK(wire.ask("SELECT generic_plans + custom_plans AS times FROM pg_prepared_statements "
                   "WHERE statement = 'SELECT $1::int'")
              .one()
              .get<int>(0) == 3);
}

TEST_CASE("the least recently used prepared statement is dropped on the server, too",
          "[connection]") {
    WireConnection wire{{}, 4};  // one place is for the question in `prepared`
    for (const char* sql : {"SELECT 1", "SELECT 2", "SELECT 3"}) wire.ask(sql);
    CHECK(prepared(wire) == Names{"SELECT 1", "SELECT 2", "SELECT 3"});
    wire.ask("SELECT 1");
    wire.ask("SELECT 4");
    CHECK(prepared(wire) == Names{"SELECT 1", "SELECT 3", "SELECT 4"});
    CHECK(wire.ask("SELECT 2").one().get<int>(0) == 2);
    CHECK(prepared(wire) == Names{"SELECT 1", "SELECT 4", "SELECT 2"});
}

TEST_CASE("a thousand different statements leave no more than the cache holds on the server",
          "[connection]") {
    WireConnection wire{{}, 10};
    SECTION("one by one") {
        for (int i = 0; i < 1000; ++i)
            REQUIRE(wire.ask("SELECT " + std::to_string(i)).one().get<int>(0) == i);
    }
    SECTION("in batches larger than the cache") {
        for (int batch = 0; batch < 20; ++batch) {
            std::vector<Statement> statements;
            for (int i = 0; i < 50; ++i)
                statements.emplace_back("SELECT " + std::to_string(50 * batch + i));
            const auto responses = wire.send(std::move(statements));
            wire.await(responses);
            for (std::size_t i = 0; i < 50; ++i) REQUIRE_FALSE(responses[i]->error);
        }
    }
    SECTION("in batches that are under way at the same time") {
        std::vector<WireConnection::SharedResponse> responses;
        for (int i = 0; i < 1000; ++i)
            responses.push_back(wire.send("SELECT " + std::to_string(i)));
        wire.await(responses);
        for (const auto& response : responses) REQUIRE_FALSE(response->error);
    }
    SECTION("in one transaction") {
        wire.ask("BEGIN");
        for (int i = 0; i < 1000; ++i) wire.ask("SELECT " + std::to_string(i));
        wire.ask("COMMIT");
    }
    wire.ask("SELECT count(*) FROM pg_prepared_statements");
    // What that has retired goes with the next batch.
    CHECK(wire.ask("SELECT count(*) FROM pg_prepared_statements").one().get<int>(0) <= 10);
    CHECK(wire.connection->clean());
}

TEST_CASE("without a statement cache nothing is prepared by name", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)", 0};
    for (int i = 0; i < 3; ++i) {
        wire.ask("INSERT INTO notes VALUES ($1)", i);
        CHECK(wire.ask("SELECT count(*) FROM notes WHERE id <= $1", i).one().get<int>(0) == i + 1);
    }
    wire.recover();
    CHECK(wire.ask("SELECT * FROM pg_prepared_statements").empty());
    wire.ask("SET work_mem = '1234kB'");
    CHECK_FALSE(wire.connection->clean());
}

TEST_CASE("a statement deallocated behind our back fails once and works the next time",
          "[connection]") {
    WireConnection wire{
        "CREATE TABLE notes (id int);"
        "CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql AS $$ DECLARE one text; BEGIN "
        "SELECT name INTO one FROM pg_prepared_statements WHERE statement LIKE 'INSERT%';"
        "EXECUTE 'DEALLOCATE ' || one; END $$"};
    wire.ask("INSERT INTO notes VALUES ($1)", 1);
    wire.ask("SELECT forget()");
    const auto stale = wire.send({Statement{"INSERT INTO notes VALUES ($1)", 2}}).front();
    wire.await(stale);
    REQUIRE(stale->error);
    CHECK(diagnostics(stale->error).sqlstate == txscope::sqlstate::invalid_sql_statement_name);
    CHECK(wire.ask("INSERT INTO notes VALUES ($1)", 3).affected_rows() == 1);
    CHECK(wire.database.query("SELECT id FROM notes ORDER BY id").column() == Names{"1", "3"});
}

TEST_CASE("a statement is prepared no more often for what its functions say", "[connection]") {
    WireConnection wire{
        "CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN RAISE 'not mine' USING ERRCODE = '26000'; END$$"};
    for (int i = 0; i < 5; ++i) wire.await(wire.send("SELECT fail()"));
    CHECK(prepared(wire) == Names{"SELECT fail()"});
}

TEST_CASE("DEALLOCATE ALL and DISCARD ALL are noticed, and cost no failure", "[connection]") {
    WireConnection wire;
    const std::string sql = GENERATE("DEALLOCATE ALL"s, "DISCARD ALL"s);
    CAPTURE(sql);
    for (int i = 0; i < 3; ++i) wire.ask("SELECT $1::int", i);
    wire.ask(sql);
    CHECK(wire.ask("SELECT $1::int", 7).one().get<int>(0) == 7);
    wire.ask(sql);  // not a stale one, either
    CHECK(wire.ask("SELECT $1::int", 8).one().get<int>(0) == 8);
}

TEST_CASE("a plan that cannot change its result type is dropped, and works the next time",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)"};
    CHECK(wire.ask("SELECT * FROM notes").columns() == 1);
    wire.database.query("ALTER TABLE notes ADD text text DEFAULT 'new'");

    const auto stale = wire.send("SELECT * FROM notes");
    wire.await(stale);
    REQUIRE(stale->error);
    CHECK(diagnostics(stale->error).sqlstate == txscope::sqlstate::feature_not_supported);
    CHECK(wire.ask("SELECT * FROM notes").columns() == 2);
    CHECK(wire.ask("SELECT * FROM notes").one().get<std::string>("text") == "new");
    CHECK(prepared(wire) == Names{"SELECT * FROM notes"});
}

TEST_CASE("the same within a transaction: it works in the next one", "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)"};
    wire.ask("SELECT * FROM notes");
    wire.database.query("ALTER TABLE notes ADD text text DEFAULT 'new'");
    wire.ask("BEGIN");
    const auto stale = wire.send("SELECT * FROM notes");
    wire.await(stale);
    CHECK(stale->error);
    wire.recover();
    CHECK(wire.connection->clean());
    wire.await(wire.send({Statement{"BEGIN"}, Statement{"SELECT 1"}}));
    CHECK(wire.ask("SELECT * FROM notes").columns() == 2);
    wire.ask("COMMIT");
    CHECK(wire.connection->clean());
    CHECK(wire.ask("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%notes'")
              .one()
              .get<int>(0) == 1);
}

TEST_CASE("prepared statements survive the rollback of the transaction they were made in",
          "[connection]") {
    WireConnection wire;
    wire.await(
        wire.send({Statement{"BEGIN"}, Statement{"SELECT $1::int", 1}, Statement{"ROLLBACK"}}));
    CHECK(wire.ask("SELECT $1::int", 2).one().get<int>(0) == 2);
    wire.await(wire.send({Statement{"SELECT $1::text", "x"}, Statement{"SELECT 1 / 0"}}));
    CHECK(wire.ask("SELECT $1::text", "y").one().get<std::string>(0) == "y");
}

TEST_CASE("a statement whose preparation fails is prepared anew the next time", "[connection]") {
    WireConnection wire;
    CHECK_THROWS_AS(wire.ask("SELECT * FROM notes"), pqxx::undefined_table);
    CHECK_THROWS_AS(wire.ask("SELECT * FROM notes"), pqxx::undefined_table);
    wire.database.query("CREATE TABLE notes (id int)");
    CHECK(wire.ask("SELECT * FROM notes").columns() == 1);
    wire.await(wire.send({Statement{"SELECT * FROM nowhere"}, Statement{"SELECT 'skipped'"}}));
    CHECK(wire.ask("SELECT 'skipped'").one().get<std::string>(0) == "skipped");
}

// A DEALLOCATE that fails must never take a batch with it: its statements have been answered
// already, and their rollback would go unnoticed.
TEST_CASE("dropping a statement that the server does not know undoes nobody's work",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)", 1};
    SECTION("because its preparation failed") {
        wire.await(wire.send({Statement{"SELECT * FROM nowhere"}, Statement{"SELECT 1"}}));
    }
    SECTION("because its preparation was skipped") {
        wire.await(wire.send({Statement{"SELECT 1 / 0"}, Statement{"SELECT 1"},
                              Statement{"SELECT 2"}, Statement{"SELECT 3"}}));
    }
    SECTION("because it fails while the next batch is under way") {
        const auto failing = wire.send("SELECT * FROM nowhere");
        const auto evicting = wire.send("SELECT 1");
        wire.await(evicting);
        CHECK(failing->error);
        CHECK_FALSE(evicting->error);
    }
    SECTION("because somebody dropped it behind our back") {
        wire.ask("SELECT 1");
        wire.ask(
            "DO $$ DECLARE one text; BEGIN FOR one IN SELECT name FROM pg_prepared_statements "
            "LOOP EXECUTE 'DEALLOCATE ' || one; END LOOP; END $$");
    }
    for (int i = 0; i < 3; ++i) {
        CHECK(wire.ask("INSERT INTO notes VALUES ($1)", i).affected_rows() == 1);
        CHECK(wire.ask("INSERT INTO notes VALUES ($1 + 10)", i).affected_rows() == 1);
    }
    CHECK(wire.database.count("notes") == 6);
    CHECK(wire.ask("SELECT count(*) FROM pg_prepared_statements").one().get<int>(0) <= 2);
}

TEST_CASE("a transaction may begin with any isolation level behind a statement that is dropped",
          "[connection]") {
    WireConnection wire{"CREATE TABLE notes (id int)", 1};
    wire.ask("SELECT 1");
    wire.ask("SELECT 2");
    const auto begin = wire.send({Statement{"BEGIN ISOLATION LEVEL SERIALIZABLE"},
                                  Statement{"INSERT INTO notes VALUES (1)"}, Statement{"COMMIT"}});
    wire.await(begin);
    for (const auto& response : begin) CHECK_FALSE(response->error);
    CHECK(wire.database.count("notes") == 1);
}

TEST_CASE("the same new statement in two batches under way is answered in both", "[connection]") {
    WireConnection wire;
    const auto first = wire.send({Statement{"SELECT $1::int", 1}}).front();
    const auto second = wire.send({Statement{"SELECT $1::int", 2}}).front();
    wire.await(second);
    CHECK(first->result.one().get<int>(0) == 1);
    CHECK(second->result.one().get<int>(0) == 2);

    const auto failing = wire.send({Statement{"SELECT 1 / 0"}, Statement{"SELECT $1::text", "x"}});
    const auto other = wire.send({Statement{"SELECT $1::text", "y"}}).front();
    wire.await(other);
    CHECK(failing[1]->outcome() == Response::Outcome::skipped);
    CHECK(other->result.one().get<std::string>(0) == "y");
}

}  // namespace connection
