#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/fault_proxy.hpp"
#include "support/scope_fixture.hpp"
#include "support/standby.hpp"
#include "support/started.hpp"

#include <sys/types.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

/// What `verify_commit` says when the server is not what it was: the truth, or that it does not know.
namespace commit_verification {

namespace asio = boost::asio;
using support::before_answer;
using support::before_statement;
using support::FaultProxy;
using support::is;
using support::Standby;
using txscope::Session;
using txscope::TemporaryPostgres;
using txscope::TransactionScope;

/// What a scope with `verify_commit` ended by.
enum class Told {
    committed,
    aborted,
    in_doubt,
};
std::ostream& operator<<(std::ostream& out, Told told) {
    constexpr const char* names[] = {"committed", "aborted", "in doubt"};
    return out << names[static_cast<int>(told)];
}

Told told_by(const std::exception_ptr& failure) {
    if (failure == nullptr) return Told::committed;
    if (is<txscope::CommitInDoubt>(failure)) return Told::in_doubt;
    REQUIRE(is<txscope::ConnectionLost>(failure));
    return Told::aborted;
}

/// The two primaries of these tests; a test that stops one starts it again.
TemporaryPostgres& primary_with(bool commit_times) {
    static const auto options = [](bool kept) {
        txscope::TemporaryPostgresOptions with;
        if (kept) with.settings = {"track_commit_timestamp = on"};
        return with;
    };
    static TemporaryPostgres without{options(false)};
    static TemporaryPostgres with{options(true)};
    return commit_times ? with : without;
}

/// A connection string of several servers; the one that takes writes is meant.
std::string dsn_of(std::uint16_t first, std::uint16_t second) {
    return "host=127.0.0.1,127.0.0.1 port=" + std::to_string(first) + "," + std::to_string(second) +
           " dbname=postgres user=postgres sslmode=disable gssencmode=disable "
           "target_session_attrs=read-write";
}

/// A service whose connections to the primary break while COMMIT is under way.
struct Fixture {
    explicit Fixture(bool commit_times = false) : primary{primary_with(commit_times)} {
        primary.start();
        // What follows fits into the first page of the log that is switched to, and only whole pages are
        // written unasked: a crash loses what was not committed.
        support::query(primary.dsn(),
                       "SET client_min_messages = warning; DROP TABLE IF EXISTS entries; CREATE "
                       "TABLE entries (name text); CHECKPOINT; INSERT INTO entries VALUES "
                       "('before'); SELECT pg_switch_wal()");
    }

    /// Which servers the service may use: the primary first.
    void use(const TemporaryPostgres& second) {
        sessions = txscope::AsyncSessionFactory{io, dsn_of(proxy.port(), second.port()),
                                                support::observed()};
    }

    /// A scope whose COMMIT gets to the server, and no answer back.
    void lose_answer(const std::string& name) { lose(name, before_answer("COMMIT")); }
    /// A scope whose COMMIT does not get there.
    void lose_commit(const std::string& name) { lose(name, before_statement("COMMIT")); }

    /// From now on nobody gets through to the primary, until the scopes are told.
    void part() { proxy.refuse_connections(); }
    /// The connections break.
    void tell() {
        proxy.accept_connections();
        proxy.cut();
        support::run_until(io, [&] {
            return std::ranges::all_of(scopes,
                                       [](const auto& scope) { return scope.second->done(); });
        });
    }
    /// What the scope was told that wrote the entry of this name.
    Told told(const std::string& name) const { return told_by(scopes.at(name)->failure()); }

    /// Others commit transactions on that server until all ids of ours have been given out. Whether
    /// the last of ours to one of them.
    bool give_out_the_ids(const TemporaryPostgres& server) const {
        std::int64_t given = 0;
        while (given < last_id)
            given = support::query(server.dsn(),
                                   "INSERT INTO entries VALUES ('theirs') RETURNING "
                                   "pg_current_xact_id()")
                        .number();
        return given == last_id;
    }

    /// What that server holds.
    static Told truth(const TemporaryPostgres& server, const std::string& name) {
        const auto found = support::query(
            server.dsn(), "SELECT count(*) FROM entries WHERE name = '" + name + "'");
        return found.number() == 1 ? Told::committed : Told::aborted;
    }

    TemporaryPostgres& primary;
    FaultProxy proxy{primary};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(), support::observed()};
    std::map<std::string, std::unique_ptr<support::Started>> scopes{};
    std::int64_t last_id = 0;

private:
    void lose(const std::string& name, support::When when) {
        proxy.stall(std::move(when));
        scopes[name] = std::make_unique<support::Started>(io, insert(name));
        const auto all = static_cast<std::int64_t>(scopes.size());
        support::run_until(io, [&] { return proxy.counts().struck == all; });
    }
    asio::awaitable<void> insert(std::string name) {
        const TransactionScope scope{sessions,
                                     {.verify_commit = true, .verify_timeout = support::patience}};
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries VALUES ($1)", name);
            const auto said = co_await session.execute("SELECT pg_current_xact_id()");
            last_id = said.one().get<std::int64_t>(0);
        });
    }
};

TEST_CASE("the server that has stayed what it was tells the truth of a commit",
          "[commit_verification]") {
    Fixture fixture{GENERATE(true, false)};
    fixture.lose_answer("kept");
    fixture.lose_commit("lost");
    fixture.part();
    SECTION("the connection alone is lost") {}
    SECTION("the backend is terminated") {
        support::query(fixture.primary.dsn(),
                       "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> "
                       "pg_backend_pid() AND backend_type = 'client backend'");
    }
    SECTION("its counters are reset") {
        support::query(fixture.primary.dsn(), "SELECT pg_stat_reset_shared('bgwriter')");
    }
    fixture.tell();
    CHECK(fixture.told("kept") == Told::committed);
    CHECK(fixture.told("lost") == Told::aborted);
}

TEST_CASE("after a restart the truth of a commit is told, after a crash only that it was lost",
          "[commit_verification]") {
    Fixture fixture{GENERATE(true, false)};
    TemporaryPostgres& primary = fixture.primary;
    fixture.lose_answer("kept");
    fixture.lose_commit("lost");
    fixture.part();
    bool id_is_kept = false;
    SECTION("a restart") {
        primary.stop();
        primary.start();
        id_is_kept = true;
    }
    SECTION("a server that is killed") {
        primary.kill();
        primary.start();
    }
    SECTION("an immediate stop") {
        primary.stop(txscope::StopMode::immediate);
        primary.start();
    }
    SECTION("a process that is killed, which takes all others with it") {
        const auto replayed = [&] {
            try {
                return support::query(primary.dsn(),
                                      "SELECT coalesce(pg_last_wal_replay_lsn(), "
                                      "'0/0')")
                    .value();
            } catch (const support::QueryError&) {  // it is recovering
                return std::string{};
            }
        };
        const auto before = replayed();
        const auto pid = support::query(primary.dsn(),
                                        "SELECT pid FROM pg_stat_activity WHERE backend_type = "
                                        "'background writer'")
                             .number();
        REQUIRE(::kill(static_cast<pid_t>(pid), SIGKILL) == 0);
        support::block_until([&] {
            const auto now = replayed();
            return !now.empty() && now != before;
        });
    }
    CHECK(fixture.give_out_the_ids(primary) != id_is_kept);
    fixture.tell();
    CHECK(fixture.told("kept") == (id_is_kept ? Told::committed : Told::in_doubt));
    CHECK(fixture.told("lost") == Told::aborted);
    CHECK(fixture.truth(primary, "kept") == Told::committed);
    CHECK(fixture.truth(primary, "lost") == Told::aborted);
}

TEST_CASE("a server that has ended again after a crash does not say whose commit it was",
          "[commit_verification]") {
    Fixture fixture{GENERATE(true, false)};
    fixture.lose_commit("lost");
    fixture.part();
    fixture.primary.kill();
    fixture.primary.start();
    REQUIRE(fixture.give_out_the_ids(fixture.primary));
    support::query(fixture.primary.dsn(), "CHECKPOINT");
    SECTION("by a restart") { fixture.primary.stop(); }
    SECTION("by another crash") { fixture.primary.kill(); }
    fixture.primary.start();
    fixture.tell();
    CHECK(fixture.told("lost") == Told::in_doubt);
}

TEST_CASE("a cold backup that was put back is not taken for the server that it was made of",
          "[commit_verification]") {
    Fixture fixture;
    TemporaryPostgres& primary = fixture.primary;
    const std::string data = primary.data_directory().string();
    const auto copy = [](const std::string& from, const std::string& to) {
        REQUIRE(std::system(("rm -rf " + to + " && cp -a " + from + " " + to).c_str()) == 0);
    };
    primary.stop();
    copy(data, data + ".backup");
    primary.start();
    fixture.lose_answer("undone");
    fixture.part();
    primary.stop();
    copy(data + ".backup", data);
    primary.start();
    REQUIRE(fixture.give_out_the_ids(primary));
    Told expected = Told::aborted;
    SECTION("soon after") {}
    SECTION("after a checkpoint") {
        support::query(primary.dsn(), "CHECKPOINT");
        expected = Told::in_doubt;
    }
    fixture.tell();
    CHECK(fixture.truth(primary, "undone") == Told::aborted);
    CHECK(fixture.told("undone") == expected);
}

TEST_CASE("a promoted standby tells the truth of a commit that has reached it, or has not",
          "[commit_verification]") {
    Fixture fixture{GENERATE(true, false)};
    Standby standby{fixture.primary};
    fixture.use(standby.server());
    fixture.lose_answer("reached it");
    standby.catch_up();
    standby.stop_following();
    fixture.lose_answer("did not");
    fixture.lose_commit("was not committed");
    fixture.part();
    fixture.primary.kill();
    standby.promote();
    CHECK(fixture.give_out_the_ids(standby.server()));
    fixture.tell();
    for (const char* name : {"reached it", "did not", "was not committed"}) {
        CAPTURE(name);
        CHECK(fixture.told(name) == fixture.truth(standby.server(), name));
    }
    CHECK(fixture.told("reached it") == Told::committed);
}

TEST_CASE(
    "a promoted standby that has crashed or was restarted since does not say whose commit it was",
    "[commit_verification]") {
    Fixture fixture{true};
    Standby standby{fixture.primary};
    fixture.use(standby.server());
    fixture.lose_answer("reached it");
    standby.catch_up();
    standby.stop_following();
    fixture.lose_answer("did not");
    fixture.part();
    fixture.primary.kill();
    standby.promote();
    REQUIRE(fixture.give_out_the_ids(standby.server()));
    // Beyond the place in the log where ours stood.
    support::query(standby.server().dsn(), "SELECT pg_switch_wal()");
    support::query(standby.server().dsn(), "INSERT INTO entries VALUES ('theirs')");
    SECTION("crashed") { standby.server().kill(); }
    SECTION("restarted") { standby.server().stop(); }
    standby.server().start();
    fixture.tell();
    CHECK(fixture.told("reached it") == Told::in_doubt);
    CHECK(fixture.told("did not") == Told::in_doubt);
}

TEST_CASE("an old primary that comes back after a crash tells only what it has lost",
          "[commit_verification]") {
    Fixture fixture;
    Standby standby{fixture.primary};
    fixture.use(standby.server());
    fixture.lose_answer("kept");
    fixture.lose_commit("lost");
    fixture.part();
    fixture.primary.kill();
    SECTION("while its standby is still one") {}
    SECTION("beside the standby that was promoted") { standby.promote(); }
    fixture.primary.start();
    fixture.give_out_the_ids(fixture.primary);
    fixture.tell();
    CHECK(fixture.told("kept") == Told::in_doubt);
    CHECK(fixture.told("lost") == Told::aborted);
}

TEST_CASE("another cluster says nothing of a transaction that it cannot know",
          "[commit_verification]") {
    Fixture fixture{true};
    const TemporaryPostgres& other = primary_with(false);
    fixture.use(other);
    fixture.lose_answer("kept");
    fixture.part();
    fixture.primary.kill();
    fixture.tell();
    CHECK(fixture.told("kept") == Told::in_doubt);
}

TEST_CASE("a server that keeps its history from the role runs its transactions as ever",
          "[commit_verification]") {
    Fixture fixture;
    TemporaryPostgres& primary = fixture.primary;
    support::query(primary.dsn(),
                   "SET client_min_messages = warning; REVOKE EXECUTE ON FUNCTION "
                   "pg_control_system(), pg_control_checkpoint(), "
                   "pg_last_wal_replay_lsn() FROM PUBLIC; DROP ROLE IF EXISTS service; "
                   "CREATE ROLE service LOGIN; GRANT ALL ON entries TO service");
    fixture.sessions = txscope::AsyncSessionFactory{
        fixture.io, fixture.proxy.dsn() + " user=service", support::observed()};
    fixture.lose_answer("kept");
    fixture.lose_commit("lost");
    fixture.part();
    SECTION("and tells the truth as long as it stays what it was") {
        fixture.tell();
        CHECK(fixture.told("kept") == Told::committed);
        CHECK(fixture.told("lost") == Told::aborted);
    }
    SECTION("and leaves the doubt otherwise") {
        primary.stop();
        primary.start();
        fixture.tell();
        CHECK(fixture.told("kept") == Told::in_doubt);
        CHECK(fixture.told("lost") == Told::in_doubt);
    }
    support::query(primary.dsn(),
                   "GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint(), "
                   "pg_last_wal_replay_lsn() TO PUBLIC; DROP TABLE entries; DROP ROLE service");
}

}  // namespace commit_verification
