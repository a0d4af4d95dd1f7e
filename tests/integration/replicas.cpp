#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include "support/standby.hpp"
#include "support/started.hpp"
#include <txscope/core/error.hpp>
#include <txscope/pool/pool_observer.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/fault.hpp>
#include <txscope/testing/fault_sweep.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <pqxx/except>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

// Factories with replicas, which stream from a real primary.
namespace replicas {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using support::failure_of;
using support::query;
using support::run_until;
using txscope::AccessMode;
using txscope::ReadYourWrites;
using txscope::Route;
using txscope::Servers;
using txscope::Session;
using txscope::TransactionOptions;
using txscope::TransactionScope;

/// A primary and its standby, with a table `entries`.
struct Cluster {
    Cluster() {
        query(primary.dsn(),
              "CREATE TABLE entries (name text); CREATE ROLE reader LOGIN; "
              "GRANT SELECT ON entries TO reader");
        standby.catch_up();
    }
    const txscope::TemporaryPostgres& replica() const { return standby.server(); }
    Servers servers() const { return {primary.dsn(), {replica().dsn()}}; }

    txscope::TemporaryPostgres primary{};
    support::Standby standby{primary};
};

/// One for the tests that leave it as it was; without entries.
Cluster& shared_cluster() {
    static Cluster cluster;
    query(cluster.primary.dsn(), "TRUNCATE entries");
    cluster.standby.catch_up();
    return cluster;
}

/// Nothing is replayed while it lives.
class ReplayPaused {
public:
    explicit ReplayPaused(const Cluster& of) : cluster_{of} {
        query(cluster_.replica().dsn(), "SELECT pg_wal_replay_pause()");
        support::block_until([&] {
            return query(cluster_.replica().dsn(), "SELECT pg_get_wal_replay_pause_state()")
                       .value() == "paused";
        });
    }
    ReplayPaused(const ReplayPaused&) = delete;
    ~ReplayPaused() { query(cluster_.replica().dsn(), "SELECT pg_wal_replay_resume()"); }

private:
    const Cluster& cluster_;
};

constexpr TransactionOptions from_replica{.access = AccessMode::read_only,
                                          .route = Route::prefer_replica};

struct Fixture {
    enum class Begin {
        warm,
        cold  ///< Nothing is open.
    };
    explicit Fixture(Servers servers, txscope::PoolOptions options = {}, Begin begin = Begin::warm)
        : sessions{io, std::move(servers), support::observed(options)} {
        if (begin == Begin::warm) support::run(io, sessions.warm_up(1));
    }

    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }

    struct Seen {
        bool on_replica;
        std::int64_t entries;
        bool operator==(const Seen&) const = default;
    };
    /// What a scope finds, and where.
    asio::awaitable<Seen> look(TransactionOptions options = from_replica) {
        const TransactionScope scope{sessions, options};
        co_return co_await scope([](Session& session) -> asio::awaitable<Seen> {
            const auto found = co_await session.execute(
                "SELECT pg_is_in_recovery(), (SELECT count(*) FROM entries)");
            co_return Seen{found.one().get<bool>(0), found.one().get<std::int64_t>(1)};
        });
    }
    /// Until a scope reads on a replica, or does not; tells what it has found there.
    Seen until_read(bool on_replica, TransactionOptions options = from_replica) {
        Seen seen{};
        const auto work = [&]() -> asio::awaitable<void> {
            for (seen = co_await look(options); seen.on_replica != on_replica;
                 seen = co_await look(options)) {
                asio::steady_timer timer{io, support::between_looks};
                co_await timer.async_wait(asio::use_awaitable);
            }
        };
        run(work);
        return seen;
    }
    asio::awaitable<void> write() {
        const TransactionScope scope{sessions};
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries VALUES ('one')");
        });
    }

    asio::io_context io{};
    txscope::AsyncSessionFactory sessions;
};

using Seen = Fixture::Seen;

TEST_CASE("a scope that prefers a replica reads there, all others at the primary", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers()};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    CHECK(fixture.run(fixture.look({.access = AccessMode::read_only})) == Seen{false, 0});
    CHECK(fixture.run(fixture.look({})) == Seen{false, 0});
    auto repeatable = from_replica;
    repeatable.isolation = txscope::IsolationLevel::repeatable_read;
    CHECK(fixture.run(fixture.look(repeatable)) == Seen{true, 0});
    CHECK(fixture.run(fixture.sessions.execute("SELECT pg_is_in_recovery()")).one().get<bool>(0) ==
          false);
    fixture.run(fixture.sessions.close());
}

TEST_CASE("without replicas the primary answers who would prefer one", "[replicas]") {
    Fixture fixture{{shared_cluster().primary.dsn()}};
    CHECK(fixture.run(fixture.look()) == Seen{false, 0});
}

TEST_CASE("what was written is read at the primary until the replica has it", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers()};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    {
        const ReplayPaused paused{cluster};
        SECTION("by a transaction") { fixture.run(fixture.write()); }
        SECTION("behind, by a transaction") {
            const TransactionScope scope{fixture.sessions};
            const auto body = [](Session& session) -> asio::awaitable<void> {
                session.enqueue("INSERT INTO entries VALUES ('behind')");
                co_return;
            };
            fixture.run(scope(body));
        }
        SECTION("by a statement alone") {
            fixture.run(fixture.sessions.execute("INSERT INTO entries VALUES ('alone')"));
        }
        SECTION("behind, in a session without a transaction") {
            const auto body = [](Session& session) -> asio::awaitable<void> {
                session.enqueue("INSERT INTO entries VALUES ('behind')");
                co_return;
            };
            fixture.run(fixture.sessions.session_scope(body));
        }
        for (int i = 0; i < 3; ++i) CHECK(fixture.run(fixture.look()) == Seen{false, 1});
    }
    CHECK(fixture.until_read(true) == Seen{true, 1});
}

TEST_CASE("to read from a replica takes no round trip more than to read from the primary",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy primary{cluster.primary};
    support::FaultProxy replica{cluster.replica()};
    Fixture fixture{{primary.dsn(), {replica.dsn()}}};
    const auto reset = [&] {
        primary.reset_counts();
        replica.reset_counts();
    };
    reset();
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    CHECK(replica.round_trips() == 2);  // with COMMIT
    CHECK(replica.sent('S') == 2);
    CHECK(primary.round_trips() == 0);

    const ReplayPaused paused{cluster};
    reset();
    fixture.run(fixture.write());
    CHECK(primary.round_trips() == 2);
    CHECK(primary.sent('S') == 2);
    CHECK(replica.round_trips() == 0);

    // Asked in vain once, the replica is left alone for a moment.
    reset();
    CHECK(fixture.run(fixture.look()) == Seen{false, 1});
    CHECK(primary.round_trips() == 2);
    CHECK(replica.round_trips() == 1);
}

TEST_CASE("who has a replica's connection is among the holders", "[replicas]") {
    Fixture fixture{shared_cluster().servers(), {.max_size = 1}};
    auto labelled = from_replica;
    labelled.label = "report";
    const auto here = std::source_location::current();
    const TransactionScope report{fixture.sessions, labelled};
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        const auto inner = [&](Session& other) -> asio::awaitable<void> {
            co_await other.execute("SELECT 2");
            const auto holders = fixture.sessions.holders();
            REQUIRE(holders.size() == 2);
            CHECK(holders[0].held >= holders[1].held);
            const auto& of_report = holders[holders[0].sql == "SELECT 1" ? 0 : 1];
            CHECK(of_report.sql == "SELECT 1");
            CHECK(of_report.label == "report");
            CHECK(of_report.where.line() == here.line() + 1);
        };
        co_await fixture.sessions.session_scope(inner);
    };
    fixture.run(report(body));
    CHECK(fixture.sessions.holders().empty());
}

TEST_CASE("parallel first statements share their round trip, also where it is asked again",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy primary{cluster.primary};
    support::FaultProxy replica{cluster.replica()};
    Fixture fixture{{primary.dsn(), {replica.dsn()}}};
    const TransactionScope scope{fixture.sessions, from_replica};
    const TransactionScope nested{fixture.sessions, {.propagation = txscope::Propagation::nested}};
    const auto count = [](Session session) -> asio::awaitable<std::int64_t> {
        const auto found = co_await session.execute("SELECT count(*) FROM entries");
        co_return found.one().template get<std::int64_t>(0);
    };
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        session.enqueue("SELECT 'ahead'");
        const auto within = [&](Session& inner) -> asio::awaitable<std::int64_t> {
            const auto [first, second] = co_await (count(inner) && count(inner));
            CHECK(first == second);
            co_return first;
        };
        const auto [one, two, three] =
            co_await (count(session) && count(session) && nested(within));
        CHECK(one == two);
        CHECK(one == three);
        const auto last = co_await count(session);
        CHECK(last == one);
    };
    const auto trips = [&] {
        primary.reset_counts();
        replica.reset_counts();
        fixture.run(scope(body));
        return std::pair{replica.round_trips(), primary.round_trips()};
    };
    trips();  // prepares what is sent
    const auto [on_replica, none] = trips();
    CHECK(none == 0);

    const ReplayPaused paused{cluster};
    fixture.run(fixture.write());
    const auto [in_vain, on_primary] = trips();
    CHECK(in_vain == 1);
    CHECK(on_primary == on_replica);
}

TEST_CASE("who was told in another process what was written reads it", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture writer{cluster.servers()};
    Fixture reader{cluster.servers()};
    CHECK(writer.run(writer.sessions.written()) == ReadYourWrites{});
    const ReplayPaused paused{cluster};
    SECTION("by a transaction") { writer.run(writer.write()); }
    SECTION("by a statement alone") {
        writer.run(writer.sessions.execute("INSERT INTO entries VALUES ('alone')"));
    }
    const std::string told = writer.run(writer.sessions.written()).text();
    auto options = from_replica;
    options.after = ReadYourWrites{told};
    CHECK(reader.run(reader.look(options)) == Seen{false, 1});
    CHECK(reader.run(reader.look()) == Seen{true, 0});  // what one is told concerns no other
}

TEST_CASE("a factory without replicas tells what was written, for those that have some",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture writer{{cluster.primary.dsn()}};
    Fixture reader{cluster.servers()};
    const ReplayPaused paused{cluster};
    writer.run(writer.write());
    auto options = from_replica;
    options.after = writer.run(writer.sessions.written());
    CHECK(reader.run(reader.look(options)) == Seen{false, 1});
}

TEST_CASE("a commit at the end of a page of the log is waited for no longer than others",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers()};
    int behind_header = 0;
    const auto work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 1000; ++i) {
            co_await fixture.write();
            const ReadYourWrites written = co_await fixture.sessions.written();
            if (written.position % 8192 == 24) ++behind_header;
        }
    };
    fixture.run(work);
    CHECK(behind_header == 0);
}

TEST_CASE("a replica that lags longer than max_lag is not read from", "[replicas]") {
    Cluster& cluster = shared_cluster();
    Servers servers = cluster.servers();
    SECTION("as the owner") {}
    SECTION("as a role that sees little") {
        for (std::string* dsn : {&servers.primary, &servers.replicas[0]}) *dsn += " user=reader";
    }
    servers.max_lag = 1s;
    Fixture fixture{servers};
    fixture.until_read(true);  // however old what was written last: there is nothing newer
    {
        const ReplayPaused paused{cluster};
        query(cluster.primary.dsn(), "INSERT INTO entries VALUES ('by another')");
        CHECK(fixture.until_read(false) == Seen{false, 1});
    }
    CHECK(fixture.until_read(true) == Seen{true, 1});
}

TEST_CASE("a replica that follows no more lags, after max_lag", "[replicas]") {
    Cluster cluster;
    Servers servers = cluster.servers();
    Fixture unbounded{servers};
    servers.max_lag = 1s;
    Fixture fixture{servers};
    fixture.until_read(true);
    cluster.standby.stop_following();
    CHECK(fixture.until_read(false) == Seen{false, 0});
    CHECK(unbounded.until_read(true) == Seen{true, 0});
}

TEST_CASE("a replica that is down is left alone, and used again when it is back", "[replicas]") {
    Cluster cluster;
    Fixture fixture{cluster.servers()};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    cluster.standby.server().stop();
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) CHECK(fixture.run(fixture.look()) == Seen{false, 0});
    const auto seconds =
        std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
    CHECK(fixture.sessions.statistics().failed_openings <=
          5 + 2 * static_cast<std::uint64_t>(seconds.count()));
    cluster.standby.server().start();
    CHECK(fixture.until_read(true) == Seen{true, 0});
}

TEST_CASE("a replica that is lost before it has answered anything is not missed", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy replica{cluster.replica()};
    Fixture fixture{{cluster.primary.dsn(), {replica.dsn()}}};
    fixture.run(fixture.look());
    replica.cut(support::before_answer("BEGIN"));
    CHECK(fixture.run(fixture.look()) == Seen{false, 0});
    replica.await_fault();
}

TEST_CASE("a replica that is lost in the middle loses the scope, which may try again",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy replica{cluster.replica()};
    Fixture fixture{{cluster.primary.dsn(), {replica.dsn()}}};
    auto options = from_replica;
    SECTION("by itself") {}
    SECTION("with a retry") { options.retry = {.max_attempts = 2, .initial_backoff = 1ms}; }
    const TransactionScope scope{fixture.sessions, options};
    std::vector<bool> seen;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const auto first = co_await session.execute("SELECT pg_is_in_recovery()");
        seen.push_back(first.one().get<bool>(0));
        if (session.attempt() == 1) replica.cut();
        co_await session.execute("SELECT 2");
    };
    const auto failure = fixture.run(failure_of(scope(body)));
    if (options.retry.max_attempts == 1) {
        CHECK(support::is<txscope::ConnectionLost>(failure));
        CHECK(seen == std::vector{true});
    } else {
        CHECK(failure == nullptr);
        CHECK(seen.size() == 2);
    }
}

TEST_CASE("a server that was promoted is no replica any more", "[replicas]") {
    Cluster cluster;
    Fixture fixture{cluster.servers()};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    cluster.standby.promote();
    for (int i = 0; i < 3; ++i) CHECK(fixture.run(fixture.look()) == Seen{false, 0});
}

TEST_CASE("after a promotion the replicas of the new primary are read from, and no other",
          "[replicas]") {
    Cluster cluster;
    support::Standby ahead{cluster.primary};
    // Its log goes on with what the one that is promoted does not get.
    cluster.standby.stop_following();
    const std::string both =
        "host=127.0.0.1,127.0.0.1 port=" + std::to_string(cluster.primary.port()) + "," +
        std::to_string(cluster.replica().port()) +
        " dbname=postgres user=postgres target_session_attrs=read-write";
    Fixture fixture{{both, {ahead.server().dsn(), cluster.primary.dsn()}}};
    fixture.run(fixture.write());
    ahead.catch_up();
    CHECK(fixture.until_read(true) == Seen{true, 1});
    query(cluster.primary.dsn(),
          "CREATE TABLE much AS SELECT md5(i::text) FROM generate_series(1, 10000) AS i");
    ahead.catch_up();
    cluster.primary.stop(txscope::StopMode::immediate);
    cluster.standby.promote();

    const TransactionScope scope{fixture.sessions,
                                 {.retry = {.max_attempts = 100, .initial_backoff = 1ms}}};
    const auto body = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries VALUES ('on another timeline')");
    };
    fixture.run(scope(body));
    // The replica that was ahead has a higher position in its log than that write, and not the write.
    for (int i = 0; i < 50; ++i) CHECK(fixture.run(fixture.look()) == Seen{false, 1});
}

TEST_CASE("what was written after a promotion is read from no replica that has not followed it",
          "[replicas]") {
    Cluster cluster;
    support::Standby of_old{cluster.primary};
    cluster.standby.promote();
    const support::Standby of_new{cluster.replica()};
    // The old primary goes on, and takes its replica further than the new one's log goes.
    for (int segments = 0; segments < 5; ++segments) {
        query(cluster.primary.dsn(), "INSERT INTO entries VALUES ('lost')");
        query(cluster.primary.dsn(), "SELECT pg_switch_wal()");
    }
    query(cluster.primary.dsn(), "TRUNCATE entries");
    of_old.catch_up();
    Servers before{cluster.replica().dsn(), {of_old.server().dsn()}};
    Servers after{cluster.replica().dsn(), {of_new.server().dsn()}};
    SECTION("as the owner") {}
    SECTION("as a role that sees little") {
        query(cluster.replica().dsn(), "GRANT INSERT ON entries TO reader");
        for (std::string* dsn :
             {&before.primary, &before.replicas[0], &after.primary, &after.replicas[0]})
            *dsn += " user=reader";
    }
    Fixture writer{before};
    Fixture reader{before};
    Fixture follower{after};
    writer.run(writer.write());
    auto told = from_replica;
    told.after = writer.run(writer.sessions.written());
    REQUIRE(query(of_old.server().dsn(),
                  "SELECT pg_last_wal_replay_lsn() > '" +
                      txscope::detail::log_position_text(told.after.position) + "'")
                .value() == "t");
    for (int i = 0; i < 3; ++i) {
        CHECK(writer.run(writer.look()) == Seen{false, 1});
        CHECK(reader.run(reader.look(told)) == Seen{false, 1});
    }
    CHECK(reader.until_read(true) == Seen{true, 0});  // what it was not told of, it may lack
    CHECK(follower.until_read(true, told) == Seen{true, 1});
}

/// Keeps why connections could not be opened.
class OpeningFailures : public support::CheckingObserver {
public:
    void notice_pool(const txscope::PoolEvent& event) noexcept override {
        CheckingObserver::notice_pool(event);
        if (event.kind == txscope::PoolEvent::opening_failed) all.push_back(event.error);
    }

    std::vector<std::exception_ptr> all{};
};

TEST_CASE("a standby of another server is not read from, and the observer is told why",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    const Cluster other;
    for (int segments = 0; segments < 5; ++segments) {  // its log goes further than the primary's
        query(other.primary.dsn(), "INSERT INTO entries VALUES ('of another')");
        query(other.primary.dsn(), "SELECT pg_switch_wal()");
    }
    other.standby.catch_up();
    OpeningFailures failures;
    Fixture fixture{{cluster.primary.dsn(), {other.replica().dsn()}}, {.observer = &failures}};
    CHECK(fixture.run(fixture.look()) == Seen{false, 0});
    fixture.run(fixture.write());
    CHECK(fixture.run(fixture.look()) == Seen{false, 1});
    REQUIRE(!failures.all.empty());
    CHECK(support::text_of(failures.all[0]).find("is no replica of the primary: its system") !=
          std::string::npos);
    CHECK(support::is<txscope::ConnectionFailed>(failures.all[0]));
}

TEST_CASE("a standby that was met before its primary is read from until that is another's",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    const Cluster other;
    query(other.primary.dsn(), "INSERT INTO entries VALUES ('of another')");
    other.standby.catch_up();
    support::FaultProxy primary{cluster.primary};
    primary.refuse_connections();
    const bool its_own = GENERATE(true, false);
    const auto& met = its_own ? cluster.replica() : other.replica();
    Fixture fixture{{primary.dsn(), {met.dsn()}}, {}, Fixture::Begin::cold};
    const auto look = [&]() -> asio::awaitable<void> { co_await fixture.look(); };
    support::Started first{fixture.io, look()};  // has it opened, and waits for the primary
    run_until(fixture.io, [&] { return fixture.sessions.statistics().idle == 1; });
    first.cancel();
    run_until(fixture.io, [&] { return first.done(); });
    CHECK(fixture.run(fixture.look()) == Seen{true, std::int64_t{its_own ? 0 : 1}});
    primary.accept_connections();
    fixture.run(fixture.sessions.warm_up(1));
    CHECK(fixture.run(fixture.look()) == Seen{its_own, 0});
}

TEST_CASE("where a role may not ask of which cluster a server is, replicas are read from",
          "[replicas]") {
    const Cluster cluster;
    query(cluster.primary.dsn(), "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public");
    cluster.standby.catch_up();
    Servers servers = cluster.servers();
    for (std::string* dsn : {&servers.primary, &servers.replicas[0]}) *dsn += " user=reader";
    Fixture fixture{servers};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
}

TEST_CASE("scopes go on where the primary is lost and a replica is there", "[replicas]") {
    Cluster cluster;
    Fixture fixture{cluster.servers()};
    fixture.run(fixture.write());
    cluster.standby.catch_up();
    fixture.until_read(true);
    cluster.primary.stop();
    CHECK(fixture.run(fixture.look()) == Seen{true, 1});
}

TEST_CASE(
    "who waits for the primary in a replica's place can be cancelled, and told why it is down",
    "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers(), {.max_size = 1, .acquire_timeout = 60s}};
    CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    const ReplayPaused paused{cluster};
    fixture.run(fixture.write());

    const TransactionScope holder{fixture.sessions};
    bool held = false;
    const auto hold = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        held = true;
        asio::steady_timer timer{fixture.io, asio::steady_timer::time_point::max()};
        co_await timer.async_wait(asio::use_awaitable);
    };
    support::Started holding{fixture.io, holder(hold)};
    run_until(fixture.io, [&] { return held; });

    const TransactionScope reading{fixture.sessions, from_replica};
    const auto read = [](Session& session) -> asio::awaitable<void> {
        co_await (session.execute("SELECT 1") && session.execute("SELECT 2"));
    };
    support::Started waiting{fixture.io, reading(read)};
    run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
    waiting.cancel();
    run_until(fixture.io, [&] { return waiting.done(); });
    CHECK(waiting.aborted());
    holding.cancel();
    run_until(fixture.io, [&] { return holding.done(); });
    CHECK(fixture.run(fixture.look()) == Seen{false, 1});
    fixture.run(fixture.sessions.close());
}

TEST_CASE("where no server is left, a scope is told why as it would be without replicas",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy primary{cluster.primary};
    Fixture fixture{{primary.dsn(), {cluster.replica().dsn()}}, {.acquire_timeout = 500ms}};
    const ReplayPaused paused{cluster};
    fixture.run(fixture.write());
    primary.refuse_connections();
    primary.cut();
    const TransactionScope scope{fixture.sessions, from_replica};
    const auto one = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
    };
    CHECK(support::is<txscope::AcquireTimeout>(fixture.run(failure_of(scope(one)))));
    const auto enqueued = [](Session& session) -> asio::awaitable<void> {
        session.enqueue("SELECT 1");
        co_return;
    };
    CHECK(support::is<txscope::AcquireTimeout>(fixture.run(failure_of(scope(enqueued)))));
}

TEST_CASE("several replicas are read from in turn", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy first{cluster.replica()};
    support::FaultProxy second{cluster.replica()};
    Fixture fixture{{cluster.primary.dsn(), {first.dsn(), second.dsn()}}};
    first.reset_counts();
    second.reset_counts();
    for (int i = 0; i < 4; ++i) CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    CHECK(first.round_trips() == 4);
    CHECK(second.round_trips() == 4);
    second.cut();
    second.refuse_connections();
    for (int i = 0; i < 4; ++i) CHECK(fixture.run(fixture.look()) == Seen{true, 0});
    CHECK(first.round_trips() == 12);
}

TEST_CASE("a connection to a replica that has been idle is used when it answers a ping",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    support::FaultProxy replica{cluster.replica()};
    Fixture fixture{{cluster.primary.dsn(), {replica.dsn()}},
                    {.ping_after_idle = 1ms, .ping_timeout = 50ms}};
    const auto look = [&] {
        const auto idle_since = std::chrono::steady_clock::now();
        run_until(fixture.io, [&] { return std::chrono::steady_clock::now() >= idle_since + 2ms; });
        replica.reset_counts();
        return fixture.run(fixture.look());
    };
    Seen seen = look();
    while (!seen.on_replica) seen = look();  // the ping takes too long on a machine that is busy
    CHECK(replica.round_trips() == 3);
    replica.swallow(support::Direction::to_client);
    CHECK(look() == Seen{false, 0});
    replica.resume();
}

TEST_CASE("a scope that has the only connection is told that none is left for what it would read",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers(), {.max_size = 1}};
    auto alone = from_replica;
    alone.propagation = txscope::Propagation::requires_new;
    const ReplayPaused paused{cluster};
    fixture.run(fixture.write());
    const TransactionScope scope{fixture.sessions};
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        const auto failure = co_await failure_of(fixture.look(alone));
        CHECK(support::is<txscope::PoolDeadlock>(failure));
    };
    fixture.run(scope(body));
}

TEST_CASE("what a scope has read from a replica holds nothing that the primary waits for",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{cluster.servers(), {.max_size = 1}};
    const TransactionScope reading{fixture.sessions, from_replica};
    const TransactionScope apart{fixture.sessions,
                                 {.propagation = txscope::Propagation::requires_new}};
    const auto write = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries VALUES ('apart')");
    };
    const auto read = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        co_await apart(write);
        co_await session.execute("SELECT 2");
    };
    fixture.run(reading(read));
    CHECK(query(cluster.primary.dsn(), "SELECT count(*) FROM entries").number() == 1);
}

TEST_CASE("on several threads, who writes and then reads finds what it has written", "[replicas]") {
    const Cluster& cluster = shared_cluster();
    Fixture fixture{{cluster.primary.dsn(), {cluster.replica().dsn(), cluster.replica().tcp_dsn()}},
                    {.max_size = 4, .acquire_timeout = support::patience}};
    const TransactionScope writing{fixture.sessions};
    const auto work = [&](int which) -> asio::awaitable<void> {
        for (int i = 0; i < 20; ++i) {
            const std::string name = std::to_string(which) + "." + std::to_string(i);
            const auto write = [&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("INSERT INTO entries VALUES ($1)", name);
            };
            const bool in_transaction = i % 4 != 0;
            if (in_transaction)
                co_await writing(write);
            else
                co_await fixture.sessions.execute("INSERT INTO entries VALUES ($1)", name);
            auto options = from_replica;
            if (i % 3 == 0) options.isolation = txscope::IsolationLevel::repeatable_read;
            const TransactionScope reading{fixture.sessions, options};
            const auto read = [&](Session& session) -> asio::awaitable<bool> {
                const auto found = co_await session.execute(
                    "SELECT count(*), pg_is_in_recovery() FROM entries WHERE name = $1", name);
                if (found.one().get<int>(0) != 1) throw support::Refusal{name + " is not there"};
                co_return found.one().get<bool>(1);
            };
            bool on_replica = co_await reading(read);
            while (i == 19 && !on_replica) on_replica = co_await reading(read);
        }
    };
    const auto all = [&]() -> asio::awaitable<void> {
        co_await (work(0) && work(1) && work(2) && work(3) && work(4) && work(5) && work(6));
    };
    support::run(fixture.io, all(), {.threads = 4});
}

TEST_CASE("a scope that is asked elsewhere is whole wherever it is cancelled or destroyed",
          "[replicas]") {
    const Cluster& cluster = shared_cluster();
    txscope::FaultSweep sweep{
        cluster.primary.dsn(),
        {.reset = "TRUNCATE entries", .state = "SELECT count(*) FROM entries"}};
    auto beyond = from_replica;
    beyond.after = ReadYourWrites{"1:ffffffff/0"};  // which no replica has
    const auto body = [&](txscope::AsyncSessionFactory writing) -> asio::awaitable<void> {
        const txscope::AsyncSessionFactory sessions{co_await asio::this_coro::executor,
                                                    cluster.servers(), support::observed()};
        co_await sessions.warm_up(1);
        const TransactionScope scope{sessions, beyond};
        const TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};
        const auto inner = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 3");
        };
        const auto read = [&](Session& session) -> asio::awaitable<void> {
            co_await (session.execute("SELECT 1") && nested(inner) && session.execute("SELECT 2"));
        };
        co_await scope(read);
        co_await writing.execute("INSERT INTO entries VALUES ('one')");
    };
    for (const auto fault : {txscope::Fault::cancel, txscope::Fault::abandon})
        CHECK(sweep.run(fault, body).points > 20);
}

TEST_CASE("servers and options that cannot be are refused", "[replicas]") {
    asio::io_context io;
    const auto refused = [&](const Servers& servers) {
        return support::is<pqxx::argument_error>(
            failure_of([&] { const txscope::AsyncSessionFactory sessions(io, servers); }));
    };
    CHECK(refused({"", {"host=replica"}}));
    CHECK(refused({"host=primary", {""}}));
    CHECK(refused({"host=primary", {"host=primary"}}));
    CHECK(refused({"host=primary", {"host=replica"}, -1ms}));
    CHECK_FALSE(refused({"host=primary", {"host=replica"}, 1ms}));

    Fixture fixture{shared_cluster().servers()};
    const auto refuses = [&](const TransactionOptions& options) {
        return support::is<pqxx::argument_error>(fixture.run(failure_of(fixture.look(options))));
    };
    CHECK(refuses({.route = Route::prefer_replica}));
    CHECK(refuses({.access = AccessMode::read_write, .route = Route::prefer_replica}));
    CHECK(refuses({.isolation = txscope::IsolationLevel::serializable,
                   .access = AccessMode::read_only,
                   .route = Route::prefer_replica}));
    CHECK(refuses({.access = AccessMode::read_only, .route = static_cast<Route>(7)}));
}

}  // namespace replicas
