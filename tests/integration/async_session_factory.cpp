#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include "support/time_enough.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace async_session_factory {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using Catch::Matchers::ContainsSubstring;
using support::cause_of;
using support::eventually;
using support::failure_of;
using support::Gate;
using support::is;
using support::RunOptions;
using support::ScopeFixture;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::Session;

using Clock = std::chrono::steady_clock;
using Names = std::vector<std::string>;

// Runs beside the test; an error of it is the test's.
template <typename Work>
void start(asio::io_context& io, Work work) {
    asio::co_spawn(io, std::move(work), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    });
}

// Holds connections of a pool, each from its `take` until the gate is opened.
class Holder {
public:
    explicit Holder(ScopeFixture& fixture) : fixture_{fixture}, gate_{fixture.io} {}

    void take(int connections = 1) {
        for (int i = 0; i < connections; ++i) start(fixture_.io, hold());
        expected_ += connections;
        support::run_until(fixture_.io, [&] { return gate_.waiting() == expected_; });
    }
    void release() { gate_.open(); }

private:
    asio::awaitable<void> hold() {
        const auto body = [this](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await gate_.wait();
        };
        co_await fixture_.sessions.session_scope(body);
    }

    ScopeFixture& fixture_;
    Gate gate_;
    int expected_ = 0;
};

txscope::PoolOptions of_size(std::size_t max_size) {
    txscope::PoolOptions options;
    options.max_size = max_size;
    return options;
}

// As a coroutine that asks, and writes down when it was served.
asio::awaitable<void> ask(AsyncSessionFactory sessions, std::string name, Names& served) {
    co_await sessions.execute("SELECT 1");
    served.push_back(name);
}

asio::awaitable<void> say(AsyncSessionFactory sessions, std::string name) {
    co_await sessions.execute("INSERT INTO entries (name) VALUES ($1)", name);
}

TEST_CASE("a factory connects when it is first needed, and no more than needed",
          "[async_session_factory]") {
    ScopeFixture fixture;
    CHECK(fixture.sessions.statistics().size == 0);
    CHECK(fixture.connected() == 0);

    fixture.run(say(fixture.sessions, "first"));
    fixture.run(say(fixture.sessions, "second"));
    CHECK(fixture.names() == Names{"first", "second"});
    CHECK(fixture.connected() == 1);
    const auto now = fixture.sessions.statistics();
    CHECK(now.size == 1);
    CHECK(now.idle == 1);
    CHECK(now.waiting == 0);
    CHECK(now.opened == 1);
    CHECK(now.acquired == 2);
    CHECK(now.discarded == 0);
    CHECK(now.round_trips == 2);
}

TEST_CASE("a factory whose connection string is nonsense says so when it is used",
          "[async_session_factory]") {
    asio::io_context io;
    const AsyncSessionFactory sessions{io, "nonsense", support::observed()};
    const auto failure = support::run(io, failure_of(sessions.execute("SELECT 1")));
    CHECK(is<txscope::ConnectionFailed>(failure));
}

TEST_CASE("options out of range are refused", "[async_session_factory]") {
    asio::io_context io;
    txscope::PoolOptions options;
    SECTION("no connections at all") { options.max_size = 0; }
    SECTION("none may be opened") { options.max_opening = 0; }
    SECTION("a negative wait") { options.acquire_timeout = -1ms; }
    SECTION("a negative time to open one") { options.opening_timeout = -1ms; }
    SECTION("a negative life") { options.max_lifetime = -1ms; }
    SECTION("a negative time to be idle") { options.idle_timeout = -1ms; }
    SECTION("a negative time until a ping") { options.ping_after_idle = -1ms; }
    SECTION("a negative time for a ping") { options.ping_timeout = -1ms; }
    SECTION("more idle ones than there may be") { options.min_idle = options.max_size + 1; }
    SECTION("a negative time to clean up") { options.cleanup_timeout = -1ms; }
    SECTION("a negative time of an overlong scope") { options.overlong_scope = -1ms; }
    CHECK_THROWS_AS((AsyncSessionFactory{io, "", options}), pqxx::argument_error);
}

TEST_CASE("times may be as long as their type allows", "[async_session_factory]") {
    txscope::PoolOptions options;
    options.max_size = 1;
    options.acquire_timeout = std::chrono::milliseconds::max();
    options.opening_timeout = std::chrono::milliseconds::max();
    options.max_lifetime = options.idle_timeout = std::chrono::milliseconds::max();
    options.ping_after_idle = options.ping_timeout = std::chrono::milliseconds::max();
    options.cleanup_timeout = std::chrono::milliseconds::max();
    ScopeFixture fixture{options};
    Holder holder{fixture};
    holder.take();
    Names served;
    start(fixture.io, ask(fixture.sessions, "patient", served));
    fixture.run([&]() -> asio::awaitable<void> {
        co_await eventually([&] { return fixture.sessions.statistics().waiting == 1; });
        holder.release();
        co_await eventually([&] { return served.size() == 1; });
        const auto dirty = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("BEGIN");
        };
        const auto left_open = co_await failure_of(fixture.sessions.session_scope(dirty));
        CHECK(is<txscope::UnfinishedWork>(left_open));
        co_await fixture.sessions.execute("SELECT 1");
    });
}

TEST_CASE("0 is no limit of the time to open a connection", "[async_session_factory]") {
    txscope::PoolOptions options;
    options.opening_timeout = 0ms;
    ScopeFixture fixture{options};
    fixture.run(say(fixture.sessions, "once it was open"));
    const auto refuse = [](const txscope::Notification&) { throw std::domain_error{"listening"}; };
    CHECK(is<std::domain_error>(fixture.run(failure_of(fixture.sessions.listen("news", refuse)))));
    CHECK(fixture.sessions.statistics().failed_openings == 0);
}

TEST_CASE("copies of a factory share one pool", "[async_session_factory]") {
    ScopeFixture fixture;
    const AsyncSessionFactory copy = fixture.sessions;
    fixture.run(say(copy, "by the copy"));
    fixture.run(say(fixture.sessions, "by the original"));
    CHECK(copy.statistics().opened == 1);
    CHECK(fixture.connected() == 1);
}

TEST_CASE("there are never more connections than max_size", "[async_session_factory]") {
    ScopeFixture fixture{of_size(3)};
    std::int64_t most = 0;
    int done = 0;
    const auto look = [&]() -> asio::awaitable<void> {
        const auto seen = co_await fixture.sessions.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'txscope'");
        most = std::max(most, seen.one().get<std::int64_t>(0));
        CHECK(fixture.sessions.statistics().size <= 3);
        ++done;
    };
    for (int i = 0; i < 100; ++i) start(fixture.io, look());
    support::run_until(fixture.io, [&] { return done == 100; });
    CHECK(most <= 3);
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened == 3; });
    CHECK(fixture.connected() == 3);
    CHECK(fixture.sessions.statistics().idle == 3);
}

TEST_CASE("a thousand who ask for four connections are served in the order of asking",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(4)};
    fixture.run(fixture.sessions.warm_up(4));
    std::vector<int> served;
    int returned = 0;
    const auto borrow = [&](int number) -> asio::awaitable<void> {
        {
            const auto lease = co_await fixture.sessions.pool()->acquire();
            served.push_back(number);
            // Hold on to it for a while, some longer than others.
            for (int turn = 0; turn < number % 7; ++turn) co_await asio::post(asio::use_awaitable);
        }
        ++returned;
    };
    for (int number = 0; number < 1000; ++number) start(fixture.io, borrow(number));
    support::run_until(fixture.io, [&] { return returned == 1000; });
    std::vector<int> expected(1000);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(served == expected);
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened == 4; });
    CHECK(fixture.sessions.statistics().acquired == 1000);
}

TEST_CASE("a thousand scopes on four connections all commit, each connection's in order of asking",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(4)};
    fixture.run(fixture.sessions.warm_up(4));
    std::atomic<int> committed = 0;
    const auto enter = [&](int number) -> asio::awaitable<void> {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(
                "INSERT INTO entries (name) VALUES (pg_backend_pid() || ' ' || $1::text)", number);
        };
        co_await fixture.scope(body);
        ++committed;
    };
    const int threads = GENERATE(1, 4);
    CAPTURE(threads);
    for (int number = 0; number < 1000; ++number)
        asio::co_spawn(fixture.io, enter(number), asio::detached);
    fixture.run(eventually([&] { return committed == 1000; }), RunOptions{.threads = threads});
    CHECK(fixture.database.count("entries") == 1000);
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened == 4; });
    CHECK(fixture.in_transaction() == 0);
    if (threads > 1) return;  // who asks first is not known
    const auto out_of_turn = fixture.database.query(
        "SELECT count(*) FROM (SELECT number, lag(number) OVER (PARTITION BY pid ORDER BY id) AS "
        "before FROM (SELECT id, split_part(name, ' ', 1) AS pid, split_part(name, ' ', 2)::int AS "
        "number FROM entries) AS entry) AS pair WHERE number < before");
    CHECK(out_of_turn.number() == 0);
}

TEST_CASE("a newcomer does not overtake those who wait", "[async_session_factory]") {
    ScopeFixture fixture{of_size(1)};
    Holder holder{fixture};
    holder.take();
    Names served;
    for (const char* name : {"a", "b", "c"}) start(fixture.io, ask(fixture.sessions, name, served));
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 3; });
    holder.release();
    start(fixture.io, ask(fixture.sessions, "newcomer", served));
    support::run_until(fixture.io, [&] { return served.size() == 4; });
    CHECK(served == Names{"a", "b", "c", "newcomer"});
}

TEST_CASE("one more than max_waiters is turned away at once", "[async_session_factory]") {
    txscope::PoolOptions options;
    options.max_size = 1;
    options.max_waiters = 2;
    ScopeFixture fixture{options};
    Holder holder{fixture};
    holder.take();
    Names served;
    for (const char* name : {"a", "b"}) start(fixture.io, ask(fixture.sessions, name, served));
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 2; });

    const auto failure = fixture.run(failure_of(ask(fixture.sessions, "c", served)));
    CHECK(is<txscope::PoolExhausted>(failure));
    CHECK(is<txscope::PoolError>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("2"));

    holder.release();
    support::run_until(fixture.io, [&] { return served.size() == 2; });
    CHECK(served == Names{"a", "b"});
    fixture.run(ask(fixture.sessions, "c", served));
}

TEST_CASE("nobody waits longer than acquire_timeout", "[async_session_factory]") {
    support::with_time_enough([](std::chrono::milliseconds limit) {
        ScopeFixture fixture{{.max_size = 1, .acquire_timeout = limit}};
        if (!fixture.warmed_up()) return false;
        Holder holder{fixture};
        holder.take();
        const auto begun = Clock::now();
        const auto failure = fixture.run(failure_of(fixture.sessions.execute("SELECT 1")));
        CHECK(Clock::now() - begun >= limit);
        CHECK(is<txscope::AcquireTimeout>(failure));
        CHECK_FALSE(cause_of(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring("[scopes opened at ") &&
                                         ContainsSubstring("async_session_factory.cpp:"));
        CHECK(fixture.sessions.statistics().waiting == 0);

        holder.release();
        support::run_until(fixture.io, [&] { return fixture.sessions.statistics().idle == 1; });
        fixture.run(fixture.sessions.execute("SELECT 1"));
        return true;
    });
}

TEST_CASE("a wait that ends because no connection can be opened has the reason nested inside",
          "[async_session_factory]") {
    const support::SilentServer silent;
    asio::io_context io;
    txscope::PoolOptions options;
    options.max_size = 1;
    options.acquire_timeout = options.opening_timeout = 200ms;
    const AsyncSessionFactory sessions{io, silent.dsn(), support::observed(options)};
    std::vector<std::exception_ptr> failures;
    const auto ask_in_vain = [&]() -> asio::awaitable<void> {
        failures.push_back(co_await failure_of(sessions.execute("SELECT 1")));
    };
    // Once an attempt has failed, all know of it, also those who time out during the next one.
    start(io, ask_in_vain());
    support::run_until(io, [&] { return failures.size() == 1; });
    for (int i = 0; i < 3; ++i) start(io, ask_in_vain());
    support::run_until(io, [&] { return failures.size() == 4; });
    for (const auto& failure : failures) {
        CHECK(is<txscope::AcquireTimeout>(failure));
        CHECK(is<txscope::ConnectionFailed>(cause_of(failure)));
        CHECK_THAT(text_of(cause_of(failure)), ContainsSubstring(std::to_string(silent.port())));
    }
    CHECK(sessions.statistics().waiting == 0);
    support::run_until(io, [&] { return sessions.statistics().size == 0; });  // the attempt ends
}

TEST_CASE("who waits for a server that refuses is told so when its time is over",
          "[async_session_factory]") {
    const support::DeadPort nobody;
    asio::io_context io;
    const AsyncSessionFactory sessions{
        io, nobody.dsn(), support::observed({.max_size = 2, .acquire_timeout = 100ms})};
    int failed = 0;
    const auto ask_in_vain = [&]() -> asio::awaitable<void> {
        const auto failure = co_await failure_of(sessions.execute("SELECT 1"));
        CHECK(is<txscope::AcquireTimeout>(failure));
        CHECK(is<txscope::ConnectionFailed>(cause_of(failure)));
        CHECK_THAT(text_of(cause_of(failure)), ContainsSubstring("Connection refused"));
        ++failed;
    };
    for (int i = 0; i < 20; ++i) start(io, ask_in_vain());
    support::run_until(io, [&] { return failed == 20; });
    // One more attempt may be under way by then.
    support::run_until(io, [&] { return sessions.statistics().size == 0; });
}

TEST_CASE("somebody who is cancelled while waiting leaves the queue, the others keep their order",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(1)};
    Holder holder{fixture};
    holder.take();
    Names served;
    asio::cancellation_signal signal;
    std::exception_ptr cancelled;
    bool ended = false;
    start(fixture.io, ask(fixture.sessions, "a", served));
    asio::co_spawn(fixture.io, ask(fixture.sessions, "b", served),
                   asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error) {
                       cancelled = std::move(error);
                       ended = true;
                   }));
    start(fixture.io, ask(fixture.sessions, "c", served));
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 3; });

    signal.emit(asio::cancellation_type::terminal);
    support::run_until(fixture.io, [&] { return ended; });
    CHECK(is<boost::system::system_error>(cancelled));
    CHECK(fixture.sessions.statistics().waiting == 2);

    holder.release();
    support::run_until(fixture.io, [&] { return served.size() == 2; });
    CHECK(served == Names{"a", "c"});
    CHECK(fixture.sessions.statistics().idle == 1);
}

TEST_CASE("somebody who is cancelled while connecting lets the next one connect",
          "[async_session_factory]") {
    const support::SilentServer silent;
    asio::io_context io;
    const AsyncSessionFactory sessions{io, silent.dsn(), support::observed(of_size(1))};
    asio::cancellation_signal signal;
    bool ended = false;
    Names served;
    asio::co_spawn(
        io, ask(sessions, "a", served),
        asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& error) {
            CHECK(is<boost::system::system_error>(error));
            ended = true;
        }));
    asio::co_spawn(io, ask(sessions, "b", served), asio::detached);
    support::run_until(io, [&] { return sessions.statistics().waiting == 1; });
    signal.emit(asio::cancellation_type::terminal);
    support::run_until(io, [&] { return ended; });
    CHECK(sessions.statistics().waiting == 0);
    CHECK(sessions.statistics().size == 1);
}

TEST_CASE("a grant that races a time-out or a cancellation is never lost",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(2)};
    fixture.run(fixture.sessions.warm_up(2));
    constexpr int borrowers = 16;
    constexpr int rounds = 300;
    std::atomic<int> ended = 0;
    std::atomic<int> granted = 0;
    std::atomic<int> given_up = 0;
    const auto hold = [&](const txscope::detail::Lease& lease, int turns) -> asio::awaitable<void> {
        if (!lease) throw std::logic_error{"an empty loan"};
        ++granted;
        for (int turn = 0; turn < turns; ++turn) co_await asio::post(asio::use_awaitable);
    };
    const auto borrow = [&](unsigned seed) -> asio::awaitable<void> {
        std::minstd_rand random{seed};
        const auto& pool = fixture.sessions.pool();
        for (int round = 0; round < rounds; ++round) {
            const auto patience = std::chrono::microseconds{random() % 200};
            const int turns = static_cast<int>(random() % 4);
            const auto how = random() % 3;
            bool in_vain = false;
            try {
                if (how == 0) {  // the time runs out
                    const auto lease = co_await pool->acquire({}, Clock::now() + patience);
                    co_await hold(lease, turns);
                } else if (how == 1) {  // somebody loses interest
                    asio::steady_timer timer{co_await asio::this_coro::executor, patience};
                    const auto first =
                        co_await (pool->acquire() || timer.async_wait(asio::use_awaitable));
                    if (first.index() == 0) co_await hold(std::get<0>(first), turns);
                } else {
                    const auto lease = co_await pool->acquire();
                    co_await hold(lease, turns);
                }
            } catch (const txscope::AcquireTimeout&) {
                in_vain = true;
            }
            if (in_vain) ++given_up;
        }
        ++ended;
    };
    for (unsigned seed = 1; seed <= borrowers; ++seed)
        asio::co_spawn(asio::make_strand(fixture.io), borrow(seed), asio::detached);
    fixture.run(eventually([&] { return ended == borrowers; }), RunOptions{.threads = 4});

    const auto now = fixture.sessions.statistics();
    CHECK(now.size == 2);
    CHECK(now.idle == 2);
    CHECK(now.waiting == 0);
    CHECK(now.opened == 2);
    CHECK(granted > 0);
    CHECK(given_up > 0);
    CHECK(now.acquired >= static_cast<std::uint64_t>(granted));
}

TEST_CASE("the end of an idle connection is noticed at once, by nobody's asking",
          "[async_session_factory]") {
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(3));
    CHECK(fixture.sessions.statistics().idle == 3);
    fixture.database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'txscope' ORDER BY pid LIMIT 1");
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().size == 2; });
    CHECK(fixture.sessions.statistics().idle == 2);
    CHECK(fixture.sessions.statistics().discarded == 1);

    fixture.run(say(fixture.sessions, "still there"));
    fixture.database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'txscope'");
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().size == 0; });
    CHECK(fixture.sessions.statistics().discarded == 3);
    fixture.run(say(fixture.sessions, "back again"));
    CHECK(fixture.sessions.statistics().opened == 4);
}

TEST_CASE("connections that ended while nobody was looking are lent to nobody",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(4)};
    fixture.run(fixture.sessions.warm_up(4));
    fixture.database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'txscope'");
    support::block_until([&] { return fixture.connected() == 0; });  // io does not run meanwhile

    int done = 0;
    const auto insert = [&](int number) -> asio::awaitable<void> {
        co_await say(fixture.sessions, std::to_string(number));
        ++done;
    };
    for (int number = 0; number < 12; ++number) start(fixture.io, insert(number));
    support::run_until(fixture.io, [&] { return done == 12; });
    CHECK(fixture.database.count("entries") == 12);
    // Those that were begun to be opened are, whether they are needed by now or not.
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().idle == 4; });
    const auto now = fixture.sessions.statistics();
    CHECK(now.size == 4);
    CHECK(now.opened == 8);
    CHECK(now.discarded == 4);
}

TEST_CASE("what the server says unasked does not end an idle connection",
          "[async_session_factory]") {
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(1));
    // A setting that the server reports to its clients when it changes.
    fixture.database.query("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'");
    fixture.database.query("SELECT pg_reload_conf()");
    fixture.run([&]() -> asio::awaitable<void> {
        std::string zone;
        while (zone != "Asia/Tokyo") {
            const auto seen = co_await fixture.sessions.execute("SHOW TimeZone");
            zone = seen.one().get<std::string>(0);
        }
    });
    fixture.database.query("ALTER SYSTEM RESET TimeZone");
    fixture.database.query("SELECT pg_reload_conf()");
    CHECK(fixture.sessions.statistics().opened == 1);
    CHECK(fixture.sessions.statistics().discarded == 0);
}

TEST_CASE("after a server was stopped and started, old connections are gone and new scopes work",
          "[async_session_factory]") {
    txscope::TemporaryPostgres server;
    support::query(server.dsn(), "CREATE TABLE entries (name text)");
    asio::io_context io;
    const AsyncSessionFactory sessions{io, server.dsn(), support::observed()};
    const txscope::TransactionScope scope{sessions};
    support::run(io, sessions.warm_up(3));

    const std::string how = GENERATE("in order", "at once", "by a pulled plug");
    CAPTURE(how);
    const auto go_down = [&] {
        if (how == "in order")
            server.stop();
        else if (how == "at once")
            server.stop(txscope::StopMode::immediate);
        else
            server.kill();
    };
    const auto insert = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries VALUES ('one')");
    };
    const auto interrupted = [&](Session& session) -> asio::awaitable<void> {
        co_await insert(session);
        go_down();
        co_await insert(session);
    };
    const auto failure = support::run(io, failure_of(scope(interrupted)));
    CHECK(is<pqxx::broken_connection>(failure));
    CHECK(is<txscope::ConnectionLost>(failure));

    support::run_until(io, [&] { return sessions.statistics().size == 0; });
    CHECK(sessions.statistics().discarded == 3);
    CHECK(is<txscope::ConnectionFailed>(support::run(io, failure_of(sessions.ready()))));

    server.start();
    for (int i = 0; i < 3; ++i) support::run(io, scope(insert));
    CHECK(support::query(server.dsn(), "SELECT count(*) FROM entries").number() == 3);
    CHECK(sessions.statistics().opened == 4);
}

TEST_CASE("a server that was stopped and started while nobody was looking costs no failure",
          "[async_session_factory]") {
    txscope::TemporaryPostgres server;
    asio::io_context io;
    const AsyncSessionFactory sessions{io, server.dsn(), support::observed()};
    support::run(io, sessions.warm_up(3));
    server.stop();
    server.start();
    support::run(io, sessions.execute("SELECT 1"));
    CHECK(sessions.statistics().opened == 4);
}

TEST_CASE("what a loan leaves behind is gone for the next borrower", "[async_session_factory]") {
    ScopeFixture fixture{of_size(1)};
    const auto leave = [&](const std::string& what) {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(what);
        };
        fixture.run(fixture.sessions.session_scope(body));
    };
    const auto see = [&](const std::string& question) {
        return fixture.run(fixture.sessions.execute(question)).one().get<std::string>(0);
    };

    SECTION("an open transaction") {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("BEGIN");
            co_await session.execute("INSERT INTO entries (name) VALUES ('lost')");
        };
        CHECK(is<txscope::UnfinishedWork>(
            fixture.run(failure_of(fixture.sessions.session_scope(body)))));
        CHECK(see("SELECT count(*) FROM entries") == "0");
    }
    SECTION("a failed transaction") {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("BEGIN");
            co_await session.execute("SELECT 1 / 0");
        };
        CHECK_THROWS(fixture.run(fixture.sessions.session_scope(body)));
        CHECK(see("SELECT 1") == "1");
    }
    SECTION("a setting") {
        leave("SET work_mem = '1234kB'");
        CHECK(see("SHOW work_mem") != "1234kB");
    }
    SECTION("a subscription") {
        leave("DO $$BEGIN LISTEN news; END$$");
        CHECK(see("SELECT count(*) FROM pg_listening_channels()") == "0");
    }
    SECTION("a temporary table") {
        leave("CREATE TEMP TABLE scratch AS SELECT 1");
        CHECK(see("SELECT to_regclass('scratch') IS NULL") == "t");
    }
    SECTION("a lock") {
        leave("SELECT pg_advisory_lock(1)");
        CHECK(see("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0");
    }
    SECTION("by one statement on its own") {
        fixture.run(fixture.sessions.execute("SET work_mem = '1234kB'"));
        CHECK(see("SHOW work_mem") != "1234kB");
    }
    CHECK(fixture.sessions.statistics().opened == 1);
    CHECK(fixture.sessions.statistics().discarded == 0);
    CHECK(fixture.in_transaction() == 0);
}

// An operation that never ends; dropping it destroys the coroutines that wait in it.
class Never {
public:
    asio::awaitable<void> wait() {
        co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
            [this](auto handler) {
                waiting_ = std::make_shared<decltype(handler)>(std::move(handler));
            },
            asio::use_awaitable);
    }
    bool somebody_waits() const { return waiting_ != nullptr; }
    void drop() { waiting_.reset(); }

private:
    std::shared_ptr<void> waiting_;
};

TEST_CASE(
    "a coroutine destroyed in the middle of its transaction commits nothing, and its "
    "connection is used again",
    "[async_session_factory]") {
    ScopeFixture fixture{of_size(1)};
    Never never;
    const auto abandoned = [&]() -> asio::awaitable<void> {
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries (name) VALUES ('lost')");
            co_await never.wait();
        };
        co_await fixture.scope(body);
    };
    start(fixture.io, abandoned());
    support::run_until(fixture.io, [&] { return never.somebody_waits(); });
    CHECK(fixture.in_transaction() == 1);

    never.drop();
    fixture.run(say(fixture.sessions, "next"));
    CHECK(fixture.names() == Names{"next"});
    CHECK(fixture.in_transaction() == 0);
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("a server that does not answer holds no place longer than cleanup_timeout",
          "[async_session_factory]") {
    txscope::TemporaryPostgres server;
    support::query(server.dsn(), "CREATE TABLE entries (name text)");
    asio::io_context io;
    txscope::PoolOptions options;
    options.max_size = 1;
    options.cleanup_timeout = 200ms;
    const AsyncSessionFactory sessions{io, server.dsn(), support::observed(options)};
    const txscope::TransactionScope scope{sessions};
    asio::cancellation_signal signal;
    bool inserted = false;
    bool ended = false;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries VALUES ('lost')");
        inserted = true;
        server.pause();
        co_await session.execute("SELECT 1");
    };
    asio::co_spawn(
        io, scope(body),
        asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& error) {
            CHECK(is<boost::system::system_error>(error));
            ended = true;
        }));
    support::run_until(io, [&] { return inserted; });
    const auto begun = Clock::now();
    signal.emit(asio::cancellation_type::terminal);
    support::run_until(io, [&] { return ended && sessions.statistics().size == 0; });
    CHECK(Clock::now() - begun >= options.cleanup_timeout);
    CHECK(sessions.statistics().discarded == 1);

    server.resume();
    support::run(io, sessions.execute("SELECT 1"));
    CHECK(support::query(server.dsn(), "SELECT count(*) FROM entries").number() == 0);
}

TEST_CASE("close waits for what is on loan, and turns everybody else away",
          "[async_session_factory]") {
    ScopeFixture fixture{of_size(3)};
    fixture.run(fixture.sessions.warm_up(3));
    Holder holder{fixture};
    holder.take(2);
    Holder last{fixture};
    last.take(1);
    std::exception_ptr waiting;
    bool closed = false;
    const auto wait_in_vain = [&]() -> asio::awaitable<void> {
        waiting = co_await failure_of(fixture.sessions.execute("SELECT 1"));
    };
    const auto close = [&]() -> asio::awaitable<void> {
        co_await fixture.sessions.close();
        closed = true;
    };
    start(fixture.io, wait_in_vain());
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
    last.release();
    start(fixture.io, close());
    support::run_until(fixture.io, [&] { return waiting != nullptr; });
    CHECK(is<txscope::PoolClosed>(waiting));
    CHECK(is<txscope::PoolClosed>(fixture.run(failure_of(fixture.sessions.execute("SELECT 1")))));
    CHECK(is<txscope::PoolClosed>(fixture.run(failure_of(fixture.sessions.warm_up(1)))));
    // What is idle goes at once, what is on loan stays and works.
    support::run_until(fixture.io, [&] { return fixture.connected() == 2; });
    CHECK_FALSE(closed);

    holder.release();
    support::run_until(fixture.io, [&] { return closed; });
    CHECK(fixture.sessions.statistics().size == 0);
    support::run_until(fixture.io, [&] { return fixture.connected() == 0; });
    fixture.run(fixture.sessions.close());  // again: nothing left to do
}

TEST_CASE("close is refused where it would wait for the scope that calls it",
          "[async_session_factory]") {
    ScopeFixture fixture;
    std::exception_ptr refusal;
    fixture.run([&] {
        return fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.insert("one");
            refusal = co_await failure_of(fixture.nested(
                [&]() -> asio::awaitable<void> { co_await fixture.sessions.close(); }));
        });
    });
    CHECK(is<pqxx::usage_error>(refusal));
    CHECK(fixture.names() == Names{"one"});
    // A scope that has none yet is not waited for, but gets none.
    const auto failure = fixture.run([&] {
        return failure_of(fixture.scope([&]() -> asio::awaitable<void> {
            co_await fixture.sessions.close();
            co_await fixture.insert("two");
        }));
    });
    CHECK(is<txscope::PoolClosed>(failure));
}

TEST_CASE("a closed factory keeps no context running", "[async_session_factory]") {
    ScopeFixture fixture;
    const auto work = [&]() -> asio::awaitable<void> {
        co_await fixture.sessions.execute("SELECT 1");
        co_await fixture.sessions.close();
    };
    start(fixture.io, work());
    const support::Watchdog watchdog{"an io_context whose factory was closed"};
    fixture.io.run();
    CHECK(fixture.sessions.statistics().size == 0);
}

TEST_CASE("warm_up opens what is asked for, within max_size", "[async_session_factory]") {
    ScopeFixture fixture{of_size(4)};
    fixture.run(fixture.sessions.warm_up(2));
    CHECK(fixture.connected() == 2);
    fixture.run(fixture.sessions.warm_up(1));
    CHECK(fixture.connected() == 2);
    fixture.run(fixture.sessions.warm_up(100));
    CHECK(fixture.connected() == 4);
    const auto now = fixture.sessions.statistics();
    CHECK(now.size == 4);
    CHECK(now.idle == 4);
    CHECK(now.opened == 4);
    CHECK(now.acquired == 0);
    fixture.run(say(fixture.sessions, "at once"));
    CHECK(fixture.sessions.statistics().opened == 4);
}

TEST_CASE("warm_up says when it cannot connect", "[async_session_factory]") {
    const support::DeadPort nobody;
    asio::io_context io;
    const AsyncSessionFactory sessions{io, nobody.dsn(),
                                       support::observed({.acquire_timeout = 100ms})};
    const auto failure = support::run(io, failure_of(sessions.warm_up(2)));
    CHECK(is<txscope::AcquireTimeout>(failure));
    CHECK(is<txscope::ConnectionFailed>(cause_of(failure)));
    // One more attempt may be under way by then.
    support::run_until(io, [&] { return sessions.statistics().size == 0; });
}

TEST_CASE("ready says at once whether a connection can be opened", "[async_session_factory]") {
    asio::io_context io;
    const auto check = [&](const std::string& dsn, bool is_transient, const std::string& sqlstate) {
        const AsyncSessionFactory sessions{io, dsn, support::observed()};
        try {
            support::run(io, sessions.ready());
            FAIL("a connection was opened");
        } catch (const txscope::ConnectionFailed& failure) {
            CHECK(failure.is_transient() == is_transient);
            CHECK(failure.sqlstate() == sqlstate);
        }
        CHECK(sessions.statistics().size == 0);
    };
    check(support::DeadPort{}.dsn(), true, "");
    check(support::server().dsn("no_such_database"), false, "3D000");

    const AsyncSessionFactory sessions{io, support::server().dsn(), support::observed()};
    support::run(io, sessions.ready());
    CHECK(sessions.statistics().idle == 1);
    support::run(io, sessions.ready());
    CHECK(sessions.statistics().opened == 1);
}

TEST_CASE("a factory serves coroutines on any number of threads", "[async_session_factory]") {
    ScopeFixture fixture{of_size(3)};
    std::atomic<int> done = 0;
    const auto insert = [&](int number) -> asio::awaitable<void> {
        const std::string name = std::to_string(number);
        if (number % 2 == 0) {
            co_await say(fixture.sessions, name);
        } else {
            const auto body = [&](Session& session) -> asio::awaitable<void> {
                session.enqueue("SELECT 1");
                co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
            };
            co_await fixture.sessions.session_scope(body);
        }
        ++done;
    };
    for (int number = 0; number < 400; ++number)
        asio::co_spawn(fixture.io, insert(number), asio::detached);
    fixture.run(eventually([&] { return done == 400; }), RunOptions{.threads = 4});
    CHECK(fixture.database.query("SELECT count(DISTINCT name) FROM entries").number() == 400);
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().opened == 3; });
    CHECK(fixture.sessions.statistics().idle == 3);
}

TEST_CASE("the last handle closes the pool's connections", "[async_session_factory]") {
    const support::Database database;
    const auto connected = [&] {
        return database
            .query(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                "application_name = 'txscope'")
            .number();
    };
    asio::io_context io;
    auto sessions = std::make_unique<AsyncSessionFactory>(io, database.dsn(), support::observed());
    auto copy = std::make_unique<AsyncSessionFactory>(*sessions);
    support::run(io, sessions->warm_up(2));
    sessions.reset();
    CHECK(connected() == 2);
    SECTION("while nobody uses them") {
        copy.reset();
        support::block_until([&] { return connected() == 0; });
    }
    SECTION("once what is under way has ended") {
        Gate gate{io};
        int executed = 0;
        const auto work = [&]() -> asio::awaitable<void> {
            const auto body = [&](Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT 1");
                co_await gate.wait();
                co_await session.execute("SELECT 2");
                ++executed;
            };
            co_await copy->session_scope(body);
        };
        start(io, work());
        support::run_until(io, [&] { return gate.waiting() == 1; });
        copy.reset();
        gate.open();
        support::run_until(io, [&] { return executed == 1; });
        support::run_until(io, [&] { return connected() == 0; });
    }
}

// Everything a context may hold when it is destroyed. A leak here is LeakSanitizer's to report.
TEST_CASE("a context destroyed with everything in flight leaks nothing and commits nothing",
          "[async_session_factory]") {
    const support::SilentServer silent;
    const support::Database database{"CREATE TABLE entries (name text)"};
    support::Client blocker{database.dsn()};
    blocker.query("SELECT pg_advisory_lock(1)");
    const int threads = GENERATE(1, 4);
    {
        asio::io_context io;
        const AsyncSessionFactory sessions{io, database.dsn(), support::observed(of_size(4))};
        const AsyncSessionFactory mute{io, silent.dsn(), support::observed(of_size(2))};
        const AsyncSessionFactory idle{io, database.dsn(), support::observed()};
        support::run(io, sessions.warm_up(4));
        support::run(io, idle.warm_up(2));

        const auto blocked = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries VALUES ('lost')");
            co_await session.execute("SELECT pg_advisory_xact_lock(1)");
        };
        const auto resting = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries VALUES ('lost')");
            asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
            co_await timer.async_wait(asio::use_awaitable);
        };
        const auto branching = [&](Session& session) -> asio::awaitable<void> {
            co_await (session.execute("SELECT pg_advisory_xact_lock(1)") &&
                      session.execute("SELECT 2"));
        };
        const txscope::TransactionScope scope{sessions};
        asio::co_spawn(io, scope(blocked), asio::detached);
        asio::co_spawn(io, scope(resting), asio::detached);
        asio::co_spawn(io, scope(branching), asio::detached);
        asio::co_spawn(io, sessions.session_scope(branching), asio::detached);
        const auto all_lent = [&] {
            return database
                       .query(
                           "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                           "'txscope' AND datname = current_database() AND (wait_event_type "
                           "= 'Lock' OR state = 'idle in transaction')")
                       .number() == 4;
        };
        support::run(io, eventually(all_lent), RunOptions{.threads = threads});
        for (int i = 0; i < 5; ++i) {
            asio::co_spawn(io, sessions.execute("SELECT 1"), asio::detached);  // these wait
            asio::co_spawn(io, mute.execute("SELECT 1"), asio::detached);  // these connect, or wait
        }
        const auto all_asked = [&] {
            return sessions.statistics().waiting == 5 && mute.statistics().waiting == 3;
        };
        support::run(io, eventually(all_asked), RunOptions{.threads = threads});
    }
    blocker.query("SELECT pg_advisory_unlock(1)");
    support::block_until([&] {
        return database
                   .query(
                       "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                       "'txscope' AND datname = current_database()")
                   .number() == 0;
    });
    CHECK(database.count("entries") == 0);
}

}  // namespace async_session_factory
