#include "support/haproxy.hpp"

#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include "support/standby.hpp"
#include "support/transfers.hpp"
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

// HAProxy between us and a primary with its standby, as an operator has it.

namespace haproxy {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::failure_of;
using support::HaProxy;
using support::is;
using support::query;
using support::run;
using support::Transfers;
using txscope::Session;
using txscope::TransactionScope;

void set(const txscope::TemporaryPostgres& server, const std::string& what) {
    support::Client client{server.dsn()};
    client.query("ALTER SYSTEM SET " + what);
    client.query("SELECT pg_reload_conf()");
}

TEST_CASE("scopes go on behind HAProxy at the standby that is promoted, with nothing lost",
          "[haproxy]") {
    txscope::TemporaryPostgres primary;
    query(primary.dsn(), Transfers::schema);
    support::Standby standby{primary};
    set(primary, "synchronous_standby_names = '*'");  // what is acknowledged is in both
    HaProxy::Options options;
    bool demoted = false;
    SECTION("the primary is gone") {}
    SECTION("the primary is gone, and HAProxy takes any server that answers") {
        options.check = HaProxy::Check::answers;
    }
    SECTION("the primary is demoted") { demoted = true; }
    SECTION("the primary is demoted, and keeps its connections") {
        demoted = true;
        options.closes_sessions = false;
    }
    HaProxy proxy{{primary.port(), standby.server().port()}, options};

    asio::thread_pool threads{2};
    txscope::AsyncSessionFactory sessions{
        threads, proxy.dsn() + " target_session_attrs=read-write",
        support::observed({.max_size = 4, .acquire_timeout = support::patience})};
    Transfers transfers{sessions};
    transfers.start(threads, 16);
    transfers.await_more(100);
    transfers.longest_gap();

    if (demoted) {
        set(primary, "default_transaction_read_only = on");
        support::block_until([&] {  // nobody is left who may still write there
            return query(primary.dsn(),
                         "SELECT 1 FROM pg_stat_activity WHERE application_name = 'txscope' AND "
                         "backend_type = 'client backend'")
                .empty();
        });
        standby.catch_up();
    } else {
        primary.kill();
    }
    const auto begun = std::chrono::steady_clock::now();
    standby.promote();
    const std::chrono::duration<double, std::milli> promotion =
        std::chrono::steady_clock::now() - begun;
    transfers.await_more(1);
    const std::chrono::duration<double, std::milli> gap = std::chrono::steady_clock::now() - begun;
    transfers.await_more(100);
    transfers.stop();

    INFO("promotion: " << promotion.count()
                       << " ms; to the first acknowledged transfer: " << gap.count()
                       << " ms; longest gap: " << transfers.longest_gap().count() << " ms");
    CHECK(gap <= 2s);  // ten times what it takes
    CHECK(transfers.failures() == std::map<std::string, int>{});
    CHECK(transfers.in_doubt() == 0);
    CHECK(transfers.most_attempts() <= 5);
    CHECK(transfers.mistakes(standby.server().dsn()) == Transfers::Texts{});
}

/// A server behind an HAProxy that closes what is silent.
struct Fixture {
    explicit Fixture(const HaProxy::Options& options) : proxy{{server.port()}, options} {
        query(server.dsn(), "CREATE TABLE entries (name text)");
    }
    std::int64_t entries() const {
        return query(server.dsn(), "SELECT count(*) FROM entries").number();
    }
    txscope::TemporaryPostgres server{};
    HaProxy proxy;
    asio::io_context io{};
    txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(), support::observed({.max_size = 4, .ping_after_idle = 1ms})};
};

/// Whether the other end says no more.
bool has_ended(const support::Client& idle) {
    char byte = 0;
    return ::recv(PQsocket(idle.handle()), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

TEST_CASE("a connection that HAProxy has closed while it was idle is not lent", "[haproxy]") {
    HaProxy::Options options;
    SECTION("altogether") { options.client_timeout = "200ms"; }
    SECTION("half of it") { options.server_timeout = "200ms"; }
    Fixture fixture{options};
    const TransactionScope scope{fixture.sessions};  // it has one attempt
    for (int round = 1; round <= 3; ++round) {
        run(fixture.io, fixture.sessions.warm_up(4));
        // Nothing runs meanwhile that could notice it before the scope does. A later one is closed last.
        const support::Client later{fixture.proxy.dsn()};
        support::block_until([&] { return has_ended(later); });
        run(fixture.io, scope([](Session& session) -> asio::awaitable<void> {
                co_await session.execute("INSERT INTO entries VALUES ('after the silence')");
            }));
        CHECK(fixture.entries() == round);
    }
}

TEST_CASE("a statement that takes longer than HAProxy's patience loses its connection",
          "[haproxy]") {
    HaProxy::Options options;
    options.server_timeout = "200ms";
    Fixture fixture{options};
    const TransactionScope scope{fixture.sessions};
    const TransactionScope retrying{fixture.sessions, {.retry = {.max_attempts = 2}}};
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries VALUES ('long')");
        if (session.attempt() == 1) co_await session.execute("SELECT pg_sleep(10)");
    };
    CHECK(is<txscope::ConnectionLost>(run(fixture.io, failure_of(scope(body)))));
    run(fixture.io, retrying(body));
    CHECK(fixture.entries() == 1);
}

}  // namespace haproxy
