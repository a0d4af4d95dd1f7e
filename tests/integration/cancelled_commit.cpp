#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"

#include <boost/asio/post.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace cancelled_commit {

namespace asio = boost::asio;
using support::Client;
using support::failure_of;
using support::is;
using support::Started;
using txscope::Session;
using Names = support::ScopeFixture::Names;

/// COMMIT checks that the entry of a new part exists, and waits while somebody holds that entry.
struct Fixture : support::ScopeFixture {
    explicit Fixture(txscope::PoolOptions options = {})
        : ScopeFixture{options,
                       "CREATE TABLE parts (entry bigint REFERENCES entries DEFERRABLE INITIALLY "
                       "DEFERRED);"
                       "INSERT INTO entries (name) VALUES ('the only one')"} {}

    std::string hook = "not called";

    std::unique_ptr<Client> hold_the_entry() const {
        auto holder = std::make_unique<Client>(database.dsn());
        holder->query("BEGIN; SELECT FROM entries FOR UPDATE");
        return holder;
    }

    asio::awaitable<void> add_part() {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&] { hook = "committed"; });
            session.after_rollback([&] { hook = "rolled back"; });
            co_await session.execute("INSERT INTO parts (entry) SELECT id FROM entries");
        });
    }

    void run_until_waiting_for_a_lock() {
        support::run_until(io, [&] { return waiting_for_locks() == 1; });
    }
    std::int64_t parts() const { return database.count("parts"); }
};

TEST_CASE("cancelled while COMMIT is under way, a scope waits for the outcome and tells the truth",
          "[cancellation]") {
    Fixture fixture;
    const auto holder = fixture.hold_the_entry();
    Started work{fixture.io, fixture.add_part()};
    fixture.run_until_waiting_for_a_lock();
    work.cancel();
    SECTION("when it commits") {
        fixture.run([&]() -> asio::awaitable<void> {
            for (int i = 0; i < 20; ++i) co_await asio::post(asio::use_awaitable);
        });
        CHECK_FALSE(work.done());
        holder->query("ROLLBACK");
        support::run_until(fixture.io, [&] { return work.done(); });
        CHECK(work.failure() == nullptr);
        CHECK(fixture.parts() == 1);
        CHECK(fixture.hook == "committed");
    }
    SECTION("when it fails") {
        holder->query("DELETE FROM entries; COMMIT");
        support::run_until(fixture.io, [&] { return work.done(); });
        CHECK(is<pqxx::foreign_key_violation>(work.failure()));
        CHECK(fixture.parts() == 0);
        CHECK(fixture.hook == "rolled back");
    }
    CHECK(fixture.in_transaction() == 0);
    fixture.run([&] { return fixture.insert_alone("afterwards"); });
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("when COMMIT outlasts the cleanup time after a cancellation, the outcome is in doubt",
          "[cancellation]") {
    Fixture fixture{{.cleanup_timeout = std::chrono::milliseconds{50}}};
    const auto holder = fixture.hold_the_entry();
    Started work{fixture.io, fixture.add_part()};
    fixture.run_until_waiting_for_a_lock();
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(is<txscope::CommitInDoubt>(work.failure()));
    CHECK(is<pqxx::in_doubt_error>(work.failure()));
    CHECK(fixture.hook == "not called");
    holder->query("ROLLBACK");
    fixture.run([&] { return fixture.insert_alone("afterwards"); });
    CHECK(fixture.sessions.statistics().opened == 2);
}

TEST_CASE(
    "a server that does not heed a cancel request within the cleanup time loses its "
    "connection",
    "[cancellation]") {
    // A function that swallows the cancellation waits for its lock again and again.
    Fixture fixture{{.cleanup_timeout = std::chrono::milliseconds{50}}};
    fixture.database.query(
        "CREATE FUNCTION insist() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP BEGIN "
        "PERFORM FROM entries FOR UPDATE; RETURN; EXCEPTION WHEN query_canceled THEN END; "
        "END LOOP; END $$");
    const auto holder = fixture.hold_the_entry();
    Started work{fixture.io, fixture.scope([](Session& session) -> asio::awaitable<void> {
                     co_await session.execute("INSERT INTO entries (name) VALUES ('undone')");
                     co_await session.execute("SELECT insist()");
                 })};
    fixture.run_until_waiting_for_a_lock();
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(work.aborted());
    holder->query("ROLLBACK");
    fixture.run([&] { return fixture.insert_alone("afterwards"); });
    CHECK(fixture.sessions.statistics().opened == 2);
    support::block_until([&] { return fixture.in_transaction() == 0; });
    CHECK(fixture.names() == Names{"the only one", "afterwards"});
}

TEST_CASE(
    "wherever a cancellation strikes, all of a scope is there or nothing, and its connection "
    "is clean",
    "[cancellation]") {
    Fixture fixture{{.max_size = 1}};
    fixture.run([&] { return fixture.sessions.warm_up(1); });
    int committed = 0;
    for (int turns = 0; committed < 3; turns += 1 + turns / 20) {
        CAPTURE(turns);
        const auto name = std::to_string(turns);
        Started work{fixture.io, fixture.scope([&](Session& session) -> asio::awaitable<void> {
                         co_await session.execute("INSERT INTO entries (name) VALUES ($1)",
                                                  name + ".outer");
                         co_await fixture.nested([&](Session& inner) -> asio::awaitable<void> {
                             co_await inner.execute("INSERT INTO entries (name) VALUES ($1)",
                                                    name + ".nested");
                         });
                         session.enqueue("INSERT INTO entries (name) VALUES ($1)", name + ".last");
                     })};
        fixture.run([&]() -> asio::awaitable<void> {
            for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
        });
        work.cancel();
        support::run_until(fixture.io, [&] { return work.done(); });
        const auto rows =
            fixture.database.query("SELECT name FROM entries WHERE name LIKE '" + name + ".%'")
                .size();
        CHECK((work.failure() == nullptr || work.aborted()));
        CHECK(rows == (work.failure() ? 0u : 3u));
        committed += work.failure() == nullptr;
        CHECK(fixture.in_transaction() == 0);
    }
    CHECK(fixture.sessions.statistics().opened == 1);
    CHECK(fixture.database.count("entries") == 1 + 3 * committed);
}

}  // namespace cancelled_commit
