#include "support/fault_proxy.hpp"

#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/database.hpp"

#include <libpq-fe.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fault_proxy {

using Catch::Matchers::ContainsSubstring;
using support::after_bytes;
using support::before_answer;
using support::before_message;
using support::before_statement;
using support::Client;
using support::Database;
using support::Direction;
using support::FaultProxy;
using support::ProxyCounts;
using support::QueryError;
using Texts = std::vector<std::string>;

/// A connection in pipeline mode, used like the library uses it: batches that end with a Sync.
class Pipeline : public Client {
public:
    explicit Pipeline(const std::string& dsn) : Client{dsn} {
        REQUIRE(PQenterPipelineMode(handle()) == 1);
    }

    void send(const std::string& sql) {
        REQUIRE(PQsendQueryParams(handle(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr,
                                  0) == 1);
        ++statements_;
    }
    void prepare(const std::string& name, const std::string& sql) {
        REQUIRE(PQsendPrepare(handle(), name.c_str(), sql.c_str(), 0, nullptr) == 1);
        ++statements_;
    }
    void send_prepared(const std::string& name) {
        REQUIRE(PQsendQueryPrepared(handle(), name.c_str(), 0, nullptr, nullptr, nullptr, 0) == 1);
        ++statements_;
    }
    void sync() { REQUIRE(PQpipelineSync(handle()) == 1); }
    void flush() {
        REQUIRE(PQsendFlushRequest(handle()) == 1);
        REQUIRE(PQflush(handle()) == 0);
    }

    /// The states of the statements sent so far, and of the sync after them.
    std::vector<ExecStatusType> receive(bool synced = true) {
        std::vector<ExecStatusType> states;
        for (; statements_ > 0; --statements_) {
            states.push_back(PQresultStatus(support::own(PQgetResult(handle())).get()));
            if (PQstatus(handle()) == CONNECTION_BAD) return states;
            while (support::own(PQgetResult(handle()))) {
            }
        }
        if (synced) states.push_back(PQresultStatus(support::own(PQgetResult(handle())).get()));
        return states;
    }

    /// One batch and its answer.
    std::vector<ExecStatusType> batch(const Texts& statements) {
        for (const std::string& sql : statements) send(sql);
        sync();
        return receive();
    }

private:
    int statements_ = 0;
};

const std::string numbers = "CREATE TABLE numbers (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)";

/// The ways in which a COMMIT can reach a server.
struct Way {
    const char* name;
    std::function<void(Client&)> insert_and_commit;  // throws QueryError when it fails
};

void check_alive(const Client& client) {
    if (PQstatus(client.handle()) == CONNECTION_BAD)
        throw QueryError{PQerrorMessage(client.handle()), {}};
}

const std::array<Way, 4> ways{
    Way{"simple queries",
        [](Client& client) {
            client.query("BEGIN");
            client.query("INSERT INTO numbers VALUES (1)");
            client.query("COMMIT");
        }},
    Way{"one simple query",
        [](Client& client) { client.query("BEGIN; INSERT INTO numbers VALUES (1); commit"); }},
    Way{"one pipelined batch",
        [](Client& client) {
            auto& pipeline = static_cast<Pipeline&>(client);
            pipeline.batch({"BEGIN", "INSERT INTO numbers VALUES (1)", "COMMIT"});
            check_alive(client);
        }},
    Way{"a prepared statement",
        [](Client& client) {
            auto& pipeline = static_cast<Pipeline&>(client);
            pipeline.prepare("c", "COMMIT");
            pipeline.sync();
            pipeline.receive();
            pipeline.batch({"BEGIN", "INSERT INTO numbers VALUES (1)"});
            pipeline.send_prepared("c");
            pipeline.sync();
            pipeline.receive();
            check_alive(client);
        }},
};

std::shared_ptr<Client> client_for(const Way& way, const std::string& dsn) {
    const bool simple = std::string{way.name}.find("simple") != std::string::npos;
    if (simple) return std::make_shared<Client>(dsn);
    return std::make_shared<Pipeline>(dsn);
}

/// Wait until the server has noticed the end of all other connections to the database.
void await_disconnection(const Database& database) {
    REQUIRE(txscope::detail::poll_until(support::patience, [&] {
        return database
                   .query(
                       "SELECT count(*) FROM pg_stat_activity WHERE datname = "
                       "current_database() AND pid <> pg_backend_pid()")
                   .number() == 0;
    }));
}

/// The bytes that a client gets from the proxy until the end, having sent only its start-up.
std::size_t bytes_until_end(const FaultProxy& proxy) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(proxy.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const std::string body{"\0\3\0\0user\0postgres\0database\0postgres\0\0", 37};
    const std::string start_up = std::string{"\0\0\0\x29", 4} + body;
    REQUIRE(::send(socket, start_up.data(), start_up.size(), 0) ==
            static_cast<ssize_t>(start_up.size()));
    std::size_t total = 0;
    std::array<char, 4096> buffer;
    ssize_t size = 0;
    while ((size = ::recv(socket, buffer.data(), buffer.size(), 0)) > 0)
        total += static_cast<std::size_t>(size);
    ::close(socket);
    return total;
}

TEST_CASE("each simple query is a round trip, the start-up is none", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    CHECK(proxy.round_trips() == 0);
    CHECK(proxy.connections() == 1);
    client.query("SELECT 1");
    CHECK(proxy.round_trips() == 1);
    client.query("SELECT 2; SELECT 3");
    CHECK(proxy.round_trips() == 2);
    CHECK(proxy.sent('Q') == 2);
    CHECK(proxy.statements() == Texts{"SELECT 1", "SELECT 2; SELECT 3"});
}

TEST_CASE("a batch is one round trip, however many statements it has", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Pipeline pipeline{proxy.dsn(database.name())};
    const Texts statements{"BEGIN", "INSERT INTO numbers VALUES (1)", "COMMIT"};
    CHECK(pipeline.batch(statements) ==
          std::vector{PGRES_COMMAND_OK, PGRES_COMMAND_OK, PGRES_COMMAND_OK, PGRES_PIPELINE_SYNC});
    CHECK(proxy.round_trips() == 1);
    CHECK(proxy.statements() == statements);
    for (const char type : {'P', 'B', 'D', 'E'}) CHECK(proxy.sent(type) == 3);
    CHECK(proxy.sent('S') == 1);
    CHECK(proxy.sent('Q') == 0);
    pipeline.batch(statements);
    CHECK(proxy.round_trips() == 2);
}

TEST_CASE("a batch sent before the answer to the last belongs to its round trip", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    proxy.stall(Direction::to_client);
    for (const char* sql : {"SELECT 1", "SELECT 2", "SELECT 3"}) {
        pipeline.send(sql);
        pipeline.sync();
    }
    proxy.await("three batches",
                [](const ProxyCounts& counts) { return counts.statements.size() == 3; });
    CHECK(proxy.round_trips() == 1);
    proxy.resume();
    for (int i = 0; i < 3; ++i) {
        CHECK(PQresultStatus(support::own(PQgetResult(pipeline.handle())).get()) ==
              PGRES_TUPLES_OK);
        CHECK_FALSE(support::own(PQgetResult(pipeline.handle())));
        CHECK(PQresultStatus(support::own(PQgetResult(pipeline.handle())).get()) ==
              PGRES_PIPELINE_SYNC);
    }
    CHECK(proxy.round_trips() == 1);
    CHECK(proxy.sent('S') == 3);
}

TEST_CASE("two batches that arrive together are one round trip", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    proxy.stall(Direction::to_server);
    pipeline.send("SELECT 1");
    pipeline.sync();
    pipeline.send("SELECT 2");
    pipeline.sync();
    proxy.resume();
    proxy.await("two batches",
                [](const ProxyCounts& counts) { return counts.statements.size() == 2; });
    CHECK(proxy.round_trips() == 1);
}

TEST_CASE("a named statement is known by its text whenever it runs", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    pipeline.prepare("one", "SELECT 1");
    pipeline.prepare("two", "SELECT 2");
    pipeline.sync();
    pipeline.receive();
    CHECK(proxy.statements().empty());
    pipeline.send_prepared("two");
    pipeline.send_prepared("one");
    pipeline.sync();
    pipeline.receive();
    CHECK(proxy.statements() == Texts{"SELECT 2", "SELECT 1"});
    CHECK(proxy.sent('P') == 2);
    CHECK(proxy.sent('B') == 2);
    CHECK(proxy.round_trips() == 2);
}

TEST_CASE("an answer that was asked for by Flush ends a round trip", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    pipeline.send("SELECT 1");
    pipeline.flush();
    CHECK(pipeline.receive(false) == std::vector{PGRES_TUPLES_OK});
    CHECK(proxy.round_trips() == 1);
    pipeline.send("SELECT 2");
    pipeline.flush();
    CHECK(pipeline.receive(false) == std::vector{PGRES_TUPLES_OK});
    CHECK(proxy.round_trips() == 2);
    pipeline.sync();
    CHECK(pipeline.receive() == std::vector{PGRES_PIPELINE_SYNC});
    CHECK(proxy.round_trips() == 3);
}

TEST_CASE("a batch that fails is one round trip, and so is the next", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    CHECK(pipeline.batch({"SELECT 1", "SELECT 1/0", "SELECT 3"}) ==
          std::vector{PGRES_TUPLES_OK, PGRES_FATAL_ERROR, PGRES_PIPELINE_ABORTED,
                      PGRES_PIPELINE_SYNC});
    CHECK(proxy.round_trips() == 1);
    CHECK(pipeline.batch({"no SQL at all", "SELECT 1"}).front() == PGRES_FATAL_ERROR);
    CHECK(proxy.round_trips() == 2);
    CHECK(pipeline.batch({"SELECT 1"}).front() == PGRES_TUPLES_OK);
    CHECK(pipeline.batch({""}).front() == PGRES_EMPTY_QUERY);
    CHECK(proxy.round_trips() == 4);

    // The error reaches the client before the batch is over.
    pipeline.send("SELECT 1/0");
    pipeline.flush();
    CHECK(pipeline.receive(false).front() == PGRES_FATAL_ERROR);
    pipeline.send("SELECT 2");
    pipeline.sync();
    CHECK(pipeline.receive() == std::vector{PGRES_PIPELINE_ABORTED, PGRES_PIPELINE_SYNC});
    pipeline.batch({"SELECT 3"});
    CHECK(proxy.round_trips() == 7);
}

TEST_CASE("COPY into a table is two round trips, out of it one", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Client client{proxy.dsn(database.name())};
    const bool extended = GENERATE(false, true);
    CAPTURE(extended);
    const auto copy = [&](const char* sql) {
        PGconn* connection = client.handle();
        return PQresultStatus(support::own(extended ? PQexecParams(connection, sql, 0, nullptr,
                                                                   nullptr, nullptr, nullptr, 0)
                                                    : PQexec(connection, sql))
                                  .get());
    };
    REQUIRE(copy("COPY numbers FROM STDIN") == PGRES_COPY_IN);
    CHECK(proxy.round_trips() == 1);
    REQUIRE(PQputCopyData(client.handle(), "1\n2\n", 4) == 1);
    REQUIRE(PQputCopyData(client.handle(), "3\n", 2) == 1);
    REQUIRE(PQputCopyEnd(client.handle(), nullptr) == 1);
    client.receive();
    CHECK(proxy.round_trips() == 2);
    CHECK(database.count("numbers") == 3);

    REQUIRE(copy("COPY numbers TO STDOUT") == PGRES_COPY_OUT);
    int rows = 0;
    for (char* row = nullptr; PQgetCopyData(client.handle(), &row, 0) > 0; ++rows) PQfreemem(row);
    CHECK(rows == 3);
    client.receive();
    CHECK(proxy.round_trips() == 3);
    client.query("SELECT 1");
    CHECK(proxy.round_trips() == 4);
}

TEST_CASE("cancel requests pass, and are counted apart", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    client.send("SELECT pg_sleep(3600)");
    proxy.await("the statement",
                [](const ProxyCounts& counts) { return !counts.statements.empty(); });
    const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel{PQgetCancel(client.handle()),
                                                                    &PQfreeCancel};
    std::array<char, 256> error{};
    // One that arrives before the statement has begun is ignored by the server: ask again.
    const auto cancelled = [&] {
        REQUIRE(PQcancel(cancel.get(), error.data(), error.size()) == 1);
        REQUIRE(PQconsumeInput(client.handle()) == 1);
        return PQisBusy(client.handle()) == 0;
    };
    REQUIRE(txscope::detail::poll_until(support::patience, cancelled));
    CHECK_THROWS_WITH(client.receive(), ContainsSubstring("canceling statement"));
    CHECK(proxy.cancel_requests() >= 1);
    CHECK(proxy.connections() == 1);
    CHECK(proxy.round_trips() == 1);
}

TEST_CASE("counts cover all connections and start afresh on request", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    auto one = std::make_unique<Client>(proxy.dsn());
    Client two{proxy.dsn()};
    one->query("SELECT 1");
    two.query("SELECT 2");
    CHECK(proxy.connections() == 2);
    CHECK(proxy.round_trips() == 2);
    CHECK(proxy.counts().open == 2);
    one.reset();
    proxy.await("a client's farewell", [](const ProxyCounts& counts) { return counts.open == 1; });
    CHECK(proxy.sent('X') == 1);
    proxy.reset_counts();
    CHECK(proxy.round_trips() == 0);
    CHECK(proxy.connections() == 0);
    CHECK(proxy.statements().empty());
    two.query("SELECT 3");
    CHECK(proxy.round_trips() == 1);
    CHECK(proxy.counts().open == 1);
}

TEST_CASE("a client that asks for encryption is told that there is none", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn() + " sslmode=prefer"};
    client.query("SELECT 1");
    CHECK(proxy.round_trips() == 1);
}

TEST_CASE("megabytes pass unchanged in both directions", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Client client{proxy.dsn()};
    std::string text;
    while (text.size() < 8'000'000) text += "line " + std::to_string(text.size()) + "\n";
    const char* values[] = {text.c_str()};
    const auto result = support::own(
        PQexecParams(client.handle(), "SELECT $1 || $1", 1, nullptr, values, nullptr, nullptr, 0));
    REQUIRE(PQresultStatus(result.get()) == PGRES_TUPLES_OK);
    CHECK((PQgetvalue(result.get(), 0, 0) == text + text));
    CHECK(proxy.round_trips() == 1);
}

TEST_CASE("every connection can be cut or reset at once", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database;
    Client one{proxy.dsn(database.name())};
    Client two{proxy.dsn(database.name())};
    proxy.cut();
    CHECK(proxy.counts().open == 0);
    CHECK_THROWS_WITH(one.query("SELECT 1"), ContainsSubstring("closed the connection"));
    CHECK_THROWS_AS(two.query("SELECT 1"), QueryError);
    await_disconnection(database);

    Client three{proxy.dsn(database.name())};
    proxy.reset();
    char byte = 0;
    CHECK(::recv(PQsocket(three.handle()), &byte, 1, 0) < 0);
    CHECK(errno == ECONNRESET);
    CHECK_THROWS_AS(three.query("SELECT 1"), QueryError);
    Client four{proxy.dsn(database.name())};
    CHECK(four.query("SELECT 1").value() == "1");
}

TEST_CASE("cut before COMMIT: the server never hears of it", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    const Way& way = ways[GENERATE(range(std::size_t{0}, ways.size()))];
    CAPTURE(way.name);
    const auto client = client_for(way, proxy.dsn(database.name()));
    if (GENERATE(false, true))
        proxy.cut(before_statement("COMMIT"));
    else
        proxy.reset(before_statement("COMMIT"));
    CHECK_THROWS_AS(way.insert_and_commit(*client), QueryError);
    proxy.await_fault();
    for (const std::string& statement : proxy.statements()) CHECK(statement != "COMMIT");
    await_disconnection(database);
    CHECK(database.count("numbers") == 0);
}

TEST_CASE("cut before the answer to COMMIT: it is done, and the client does not know",
          "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    const Way& way = ways[GENERATE(range(std::size_t{0}, ways.size()))];
    CAPTURE(way.name);
    const auto client = client_for(way, proxy.dsn(database.name()));
    if (GENERATE(false, true))
        proxy.cut(before_answer("COMMIT"));
    else
        proxy.reset(before_answer("COMMIT"));
    CHECK_THROWS_AS(way.insert_and_commit(*client), QueryError);
    proxy.await_fault();
    CHECK(database.count("numbers") == 1);
}

TEST_CASE("a lone statement is committed before its answer is cut off", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Pipeline pipeline{proxy.dsn(database.name())};
    proxy.cut(before_answer("INSERT"));
    pipeline.batch({"INSERT INTO numbers VALUES (1)"});
    proxy.await_fault();
    CHECK(PQstatus(pipeline.handle()) == CONNECTION_BAD);
    CHECK(database.count("numbers") == 1);
}

TEST_CASE("an answer that comes early is withheld until its batch is committed", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Client other{database.dsn()};
    other.query("SELECT pg_advisory_lock(1)");
    Pipeline pipeline{proxy.dsn(database.name())};
    proxy.cut(before_answer("INSERT"));
    pipeline.send("INSERT INTO numbers VALUES (1)");
    // So much output flushes the server's buffer, in the middle of the implicit transaction.
    pipeline.send("SELECT repeat('x', 1000000)");
    pipeline.send("SELECT pg_advisory_lock(1)");
    pipeline.sync();
    REQUIRE(txscope::detail::poll_until(support::patience, [&] {
        return other.query("SELECT count(*) FROM pg_locks WHERE NOT granted").number() == 1;
    }));
    CHECK(proxy.counts().struck == 0);
    CHECK(database.count("numbers") == 0);
    other.query("SELECT pg_advisory_unlock(1)");
    proxy.await_fault();
    CHECK(database.count("numbers") == 1);
}

TEST_CASE("an error is an answer that can be cut off as well", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers + "; INSERT INTO numbers VALUES (1)"};
    Pipeline pipeline{proxy.dsn(database.name())};
    proxy.cut(before_answer("COMMIT"));
    const auto states = pipeline.batch({"BEGIN", "INSERT INTO numbers VALUES (1)", "COMMIT"});
    proxy.await_fault();
    CHECK(states == std::vector{PGRES_COMMAND_OK, PGRES_COMMAND_OK, PGRES_FATAL_ERROR});
    CHECK_THAT(PQerrorMessage(pipeline.handle()), ContainsSubstring("closed the connection"));
    CHECK(database.count("numbers") == 1);
}

TEST_CASE("a COMMIT that the server skips leaves its fault armed", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Pipeline pipeline{proxy.dsn()};
    proxy.cut(before_answer("COMMIT"));
    CHECK(pipeline.batch({"BEGIN", "SELECT 1/0", "COMMIT"}).back() == PGRES_PIPELINE_SYNC);
    CHECK(proxy.counts().struck == 0);
    pipeline.batch({"COMMIT"});
    proxy.await_fault();
    CHECK(PQstatus(pipeline.handle()) == CONNECTION_BAD);
}

TEST_CASE("a fault strikes once, and can be disarmed", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client one{proxy.dsn()};
    Client two{proxy.dsn()};
    proxy.cut(before_statement("SELECT 1"));
    two.query("SELECT 2");
    CHECK_THROWS_AS(one.query("select 1"), QueryError);
    proxy.await_fault();
    CHECK(two.query("SELECT 1").value() == "1");

    proxy.cut(before_statement("SELECT 1"));
    proxy.disarm();
    proxy.await_fault();
    CHECK(two.query("SELECT 1").value() == "1");
}

TEST_CASE("exactly so many bytes pass before a cut", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    for (const std::int64_t bytes : {1, 2, 5, 9, 10, 11, 100, 257}) {
        proxy.cut(after_bytes(Direction::to_client, bytes));
        CHECK(bytes_until_end(proxy) == static_cast<std::size_t>(bytes));
        proxy.await_fault();
    }
}

TEST_CASE("a client never hangs, wherever its connection is cut", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    const auto direction = GENERATE(Direction::to_server, Direction::to_client);
    bool unscathed = false;
    int cut_off = 0;
    for (std::int64_t bytes = 1; !unscathed; bytes += 7) {
        proxy.reset(after_bytes(direction, bytes));
        try {
            Pipeline pipeline{proxy.dsn(database.name())};
            pipeline.batch({"BEGIN", "TRUNCATE numbers", "INSERT INTO numbers VALUES (1), (2)"});
            check_alive(pipeline);
            unscathed =
                pipeline.batch({"COMMIT"}) == std::vector{PGRES_COMMAND_OK, PGRES_PIPELINE_SYNC};
        } catch (const QueryError&) {
            // Cut off before the COMMIT.
        }
        cut_off += !unscathed;
        await_disconnection(database);
        const auto count = database.count("numbers");
        CHECK((count == 0 || count == 2));
        if (unscathed) CHECK(count == 2);
    }
    CHECK(cut_off > 20);
}

TEST_CASE("messages can be counted out as well", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Pipeline pipeline{proxy.dsn(database.name())};
    // Parse, Bind, Describe, Execute, and before the Sync the end.
    proxy.cut(before_message(Direction::to_server, 5));
    pipeline.batch({"INSERT INTO numbers VALUES (1)"});
    proxy.await_fault();
    CHECK(proxy.sent('E') == 1);
    CHECK(proxy.sent('S') == 0);
    await_disconnection(database);
    CHECK(database.count("numbers") == 0);
}

TEST_CASE("a stall holds everything back, new connections too, until resumed", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const auto direction = GENERATE(Direction::to_server, Direction::to_client);
    Client client{proxy.dsn()};
    proxy.stall(direction);
    client.send("SELECT 42");
    const std::unique_ptr<PGconn, decltype(&PQfinish)> newcomer{PQconnectStart(proxy.dsn().c_str()),
                                                                &PQfinish};
    while (PQconnectPoll(newcomer.get()) == PGRES_POLLING_WRITING) {
    }
    CHECK(PQstatus(newcomer.get()) == CONNECTION_AWAITING_RESPONSE);
    REQUIRE(PQconsumeInput(client.handle()) == 1);
    CHECK(PQisBusy(client.handle()) == 1);
    if (direction == Direction::to_client) {
        proxy.await("the statement",
                    [](const ProxyCounts& counts) { return counts.statements.size() == 1; });
    } else {
        CHECK(proxy.statements().empty());
    }
    proxy.resume();
    CHECK(client.receive().value() == "42");
    Client{proxy.dsn()}.query("SELECT 1");
}

TEST_CASE("stalled before its answer, a COMMIT is seen by others and known when resumed",
          "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Pipeline pipeline{proxy.dsn(database.name())};
    proxy.stall(before_answer("COMMIT"));
    for (const char* sql : {"BEGIN", "INSERT INTO numbers VALUES (1)", "COMMIT"})
        pipeline.send(sql);
    pipeline.sync();
    proxy.await_fault();
    CHECK(database.count("numbers") == 1);
    proxy.resume();
    CHECK(pipeline.receive() ==
          std::vector{PGRES_COMMAND_OK, PGRES_COMMAND_OK, PGRES_COMMAND_OK, PGRES_PIPELINE_SYNC});
    CHECK(pipeline.batch({"SELECT 1"}).front() == PGRES_TUPLES_OK);
}

TEST_CASE("stalled before a statement, it runs when resumed", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Pipeline pipeline{proxy.dsn(database.name())};
    Client other{proxy.dsn(database.name())};
    proxy.stall(before_statement("INSERT"));
    pipeline.send("INSERT INTO numbers VALUES (1)");
    pipeline.sync();
    proxy.await_fault();
    CHECK(other.query("SELECT count(*) FROM numbers").number() == 0);
    proxy.resume();
    CHECK(pipeline.receive() == std::vector{PGRES_COMMAND_OK, PGRES_PIPELINE_SYNC});
    CHECK(other.query("SELECT count(*) FROM numbers").number() == 1);
    CHECK(proxy.statements().size() == 3);
}

TEST_CASE("stalled in the middle of a message, the rest of it comes when resumed",
          "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    const auto direction = GENERATE(Direction::to_server, Direction::to_client);
    proxy.stall(after_bytes(direction, 3));
    client.send("SELECT repeat('x', 10000)");
    proxy.await_fault();
    REQUIRE(PQconsumeInput(client.handle()) == 1);
    CHECK(PQisBusy(client.handle()) == 1);
    proxy.resume();
    CHECK(client.receive().value() == std::string(10'000, 'x'));
}

TEST_CASE("a stalled client feels it when it goes on sending", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    REQUIRE(PQsetnonblocking(client.handle(), 1) == 0);
    proxy.stall(Direction::to_server);
    const std::string text(50'000'000, 'x');
    const char* values[] = {text.c_str()};
    REQUIRE(PQsendQueryParams(client.handle(), "SELECT length($1)", 1, nullptr, values, nullptr,
                              nullptr, 0) == 1);
    CHECK(PQflush(client.handle()) == 1);
    proxy.resume();
    CHECK(client.receive().number() == 50'000'000);
}

TEST_CASE("a black hole swallows what is sent for good", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database{numbers};
    Client client{proxy.dsn(database.name())};
    proxy.swallow(before_statement("INSERT"));
    client.send("INSERT INTO numbers VALUES (1)");
    proxy.await_fault();
    REQUIRE(PQconsumeInput(client.handle()) == 1);
    CHECK(PQisBusy(client.handle()) == 1);
    proxy.cut();
    CHECK_THROWS_AS(client.receive(), QueryError);
    CHECK(database.count("numbers") == 0);

    // In the other direction, the server has done it.
    Client another{proxy.dsn(database.name())};
    proxy.swallow(Direction::to_client);
    another.send("INSERT INTO numbers VALUES (1)");
    REQUIRE(txscope::detail::poll_until(support::patience,
                                        [&] { return database.count("numbers") == 1; }));
    CHECK(PQisBusy(another.handle()) == 1);
    proxy.resume();
    proxy.cut();
    CHECK_THROWS_AS(another.receive(), QueryError);
}

TEST_CASE("a delay makes a round trip that much longer", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    using namespace std::chrono_literals;
    proxy.delay(Direction::to_server, 30ms);
    proxy.delay(Direction::to_client, 20ms);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 3; ++i)
        CHECK(client.query("SELECT " + std::to_string(i)).value() == std::to_string(i));
    CHECK(std::chrono::steady_clock::now() - start >= 150ms);
    CHECK(proxy.round_trips() == 3);
    proxy.resume();
    CHECK(client.query("SELECT 1").value() == "1");
}

TEST_CASE("refused connections hurt nobody who is connected", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    const auto port = proxy.port();
    proxy.refuse_connections();
    CHECK_THROWS_WITH(Client{proxy.dsn()}, ContainsSubstring("Connection refused"));
    CHECK(client.query("SELECT 1").value() == "1");
    proxy.accept_connections();
    CHECK(proxy.port() == port);
    CHECK(Client{proxy.dsn()}.query("SELECT 1").value() == "1");
}

TEST_CASE("a server that goes away takes its connections through the proxy along",
          "[fault_proxy]") {
    txscope::TemporaryPostgres server;
    FaultProxy proxy{server};
    Client idle{proxy.dsn()};
    Client busy{proxy.dsn()};
    busy.send("SELECT pg_sleep(3600)");
    server.stop();
    CHECK_THROWS_WITH(busy.receive(), ContainsSubstring("administrator command"));
    CHECK_THROWS_WITH(idle.query("SELECT 1"), ContainsSubstring("administrator command"));
    CHECK_THROWS_AS(Client{proxy.dsn()}, QueryError);
    server.start();
    CHECK(Client{proxy.dsn()}.query("SELECT 1").value() == "1");
}

TEST_CASE("a client that leaves is gone from the server", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    const Database database;
    {
        const Client client{proxy.dsn(database.name())};
    }
    await_disconnection(database);
    auto stalled = std::make_unique<Client>(proxy.dsn(database.name()));
    proxy.stall(Direction::to_server);
    stalled.reset();
    CHECK(proxy.counts().open == 1);  // nobody has told the server
    proxy.resume();
    await_disconnection(database);
}

TEST_CASE("what does not speak the protocol is shown the door", "[fault_proxy]") {
    FaultProxy proxy{support::server()};
    Client client{proxy.dsn()};
    const std::string nonsense{"Q\0\0\0\1", 5};
    REQUIRE(::send(PQsocket(client.handle()), nonsense.data(), nonsense.size(), 0) == 5);
    proxy.await("the end of it", [](const ProxyCounts& counts) { return counts.open == 0; });
    CHECK(Client{proxy.dsn()}.query("SELECT 1").value() == "1");
}

TEST_CASE("waiting in vain is an error that tells what was seen", "[fault_proxy]") {
    support::Tally tally;
    tally.update([](ProxyCounts& counts) { counts.statements.push_back("SELECT 1"); });
    tally.await("a statement",
                [](const ProxyCounts& counts) { return !counts.statements.empty(); });
    CHECK_THROWS_WITH(
        tally.await(
            "Godot", [](const ProxyCounts&) { return false; }, std::chrono::milliseconds{1}),
        ContainsSubstring("Godot") && ContainsSubstring("SELECT 1"));
}

}  // namespace fault_proxy
