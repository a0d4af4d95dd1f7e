#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/pgbouncer.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include "support/started.hpp"
#include <txscope/session/notification.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace listening {

namespace asio = boost::asio;

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using support::Gate;
using support::is;
using support::Started;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::ListenOptions;
using txscope::Notification;
using txscope::ScopeEvent;
using txscope::Session;
using txscope::TransactionScope;
using Texts = std::vector<std::string>;

// No pause between attempts is as long as this, so that no test takes long.
constexpr ListenOptions soon{.initial_backoff = 1ms, .max_backoff = 20ms};

/// Keeps why listening was begun again.
class Recorder : public support::CheckingObserver {
public:
    void notice(const ScopeEvent& event) noexcept override {
        CheckingObserver::notice(event);
        if (event.kind != ScopeEvent::retry) return;
        const std::lock_guard lock{mutex_};
        losses_.push_back({event.where.line(), text_of(event.error)});
    }
    std::vector<std::pair<std::uint_least32_t, std::string>> losses() const {
        const std::lock_guard lock{mutex_};
        return losses_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::pair<std::uint_least32_t, std::string>> losses_;
};

struct Fixture : support::ScopeFixture {
    explicit Fixture() : Fixture{std::make_unique<Recorder>()} {}
    explicit Fixture(std::unique_ptr<Recorder> with)
        : ScopeFixture{[&] {
              txscope::PoolOptions options;
              options.observer = with.get();
              return options;
          }()},
          recorder{std::move(with)} {}

    /// A handler that writes down what it is told, as "subscribed" or "channel: payload".
    auto write_down() {
        return [this](const Notification& told) { written.push_back(text(told)); };
    }
    static std::string text(const Notification& told) {
        return told.kind == Notification::subscribed ? "subscribed"
                                                     : told.channel + ": " + told.payload;
    }

    auto subscriptions() const { return std::ranges::count(written, "subscribed"); }
    void run_until_subscribed(int times = 1) {
        support::run_until(io, [&] { return subscriptions() == times; });
    }
    void run_until_told(const std::string& last) {
        support::run_until(io, [&] { return !written.empty() && written.back() == last; });
    }
    void notify(const std::string& channel, const std::string& payload) const {
        database.query("SELECT pg_notify('" + channel + "', '" + payload + "')");
    }

    std::unique_ptr<Recorder> recorder;
    Texts written;
};

TEST_CASE("what a transaction has notified is told once it is committed", "[listening]") {
    Fixture fixture;
    std::vector<Notification> told;
    Started listening{fixture.io, fixture.sessions.listen("jobs", [&](const Notification& one) {
                          told.push_back(one);
                      })};
    support::run_until(fixture.io, [&] { return told.size() == 1; });
    CHECK(told[0].kind == Notification::subscribed);
    CHECK(told[0].channel.empty());

    int process = 0;
    fixture.run(fixture.scope([&](Session& session) -> asio::awaitable<void> {
        const auto found = co_await session.execute("SELECT pg_backend_pid()");
        process = found.one().get<int>(0);
        session.notify("jobs", "first");
        session.notify("jobs");
    }));
    support::run_until(fixture.io, [&] { return told.size() == 3; });
    CHECK(told[1].kind == Notification::received);
    CHECK(told[1].channel == "jobs");
    CHECK(told[1].payload == "first");
    CHECK(told[1].process == process);
    CHECK(told[2].payload.empty());
    CHECK(fixture.sessions.statistics().round_trips == 2);  // they have gone with the COMMIT
    CHECK(fixture.sessions.statistics().size == 1);         // who listens is not of the pool
}

TEST_CASE("what was notified is not told when its scope, or the savepoint around, is undone",
          "[listening]") {
    Fixture fixture;
    Started listening{fixture.io, fixture.sessions.listen("jobs", fixture.write_down())};
    fixture.run_until_subscribed();
    const auto refuse = [](Session& session) -> asio::awaitable<void> {
        session.notify("jobs", "undone");
        co_await session.flush();
        throw support::Refusal{"no"};
    };
    fixture.run([&]() -> asio::awaitable<void> {
        const auto failure = co_await support::failure_of(fixture.scope(refuse));
        CHECK(is<support::Refusal>(failure));
        co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
            const auto inner = co_await support::failure_of(fixture.nested(refuse));
            CHECK(is<support::Refusal>(inner));
            session.notify("jobs", "kept");
        });
    });
    fixture.run_until_told("jobs: kept");
    CHECK(fixture.written == Texts{"subscribed", "jobs: kept"});
}

TEST_CASE("several channels are listened to over one connection, each by its very name",
          "[listening]") {
    Fixture fixture;
    const Texts channels{"Mixed Case", "quote\"d", "'; DROP TABLE entries; --", "ünïcödé",
                         std::string(63, 'x')};
    Started listening{fixture.io, fixture.sessions.listen(channels, fixture.write_down())};
    fixture.run_until_subscribed();
    CHECK(fixture.connected() == 1);
    fixture.run(fixture.scope([&](Session& session) -> asio::awaitable<void> {
        session.notify("mixed case", "another channel");
        for (const std::string& channel : channels) session.notify(channel, "payload");
        co_return;
    }));
    fixture.run_until_told(channels.back() + ": payload");
    Texts expected{"subscribed"};
    for (const std::string& channel : channels) expected.push_back(channel + ": payload");
    CHECK(fixture.written == expected);
}

TEST_CASE("channels may stand in braces", "[listening]") {
    Fixture fixture;
    Started listening{fixture.io, fixture.sessions.listen({"one", "two"}, fixture.write_down())};
    fixture.run_until_subscribed();
    fixture.notify("one", "a");
    fixture.notify("two", "b");
    fixture.run_until_told("two: b");
    CHECK(fixture.written == Texts{"subscribed", "one: a", "two: b"});
}

TEST_CASE("a payload arrives as it was sent, whatever characters it has", "[listening]") {
    Fixture fixture;
    std::string payload = "\x01\t\r\n'\"\\\x7f ";
    for (const char* character :
         {"\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"})
        payload += character;
    payload.resize(7999, '.');
    Started listening{fixture.io, fixture.sessions.listen("jobs", fixture.write_down())};
    fixture.run_until_subscribed();
    fixture.run(fixture.scope([&](Session& session) -> asio::awaitable<void> {
        session.notify("jobs", payload);
        co_return;
    }));
    fixture.run_until_told("jobs: " + payload);
}

TEST_CASE("what no channel can be called, and no payload can be, is refused", "[listening]") {
    Fixture fixture;
    const auto ignore = [](const Notification&) {};
    const std::string with_nul{"a\0b", 3};
    for (const std::string& channel : {std::string{}, std::string(64, 'x'), with_nul}) {
        CAPTURE(channel);
        CHECK_THROWS_AS(fixture.sessions.listen(channel, ignore), pqxx::argument_error);
    }
    CHECK_THROWS_AS(fixture.sessions.listen(Texts{}, ignore), pqxx::argument_error);
    for (ListenOptions options :
         {ListenOptions{.heartbeat = 0ms}, ListenOptions{.heartbeat = -1ms},
          ListenOptions{.initial_backoff = -1ms}, ListenOptions{.max_backoff = -1ms}})
        CHECK_THROWS_AS(fixture.sessions.listen("jobs", ignore, options), pqxx::argument_error);
    fixture.run(fixture.scope([&](Session& session) -> asio::awaitable<void> {
        CHECK_THROWS_AS(session.notify("", "payload"), pqxx::argument_error);
        CHECK_THROWS_AS(session.notify(std::string(64, 'x')), pqxx::argument_error);
        CHECK_THROWS_AS(session.notify(with_nul), pqxx::argument_error);
        CHECK_THROWS_AS(session.notify("jobs", std::string(8000, 'x')), pqxx::argument_error);
        CHECK_THROWS_AS(session.notify("jobs", with_nul), txscope::ValueError);
        co_await fixture.insert("nothing is wrong with the transaction");
    }));
    CHECK(fixture.names().size() == 1);
}

TEST_CASE("a backend that is terminated is told as a new subscription, and to the observer why",
          "[listening]") {
    Fixture fixture;
    const auto line = std::source_location::current().line() + 1;
    Started listening{fixture.io, fixture.sessions.listen("jobs", fixture.write_down(), soon)};
    fixture.run_until_subscribed();
    fixture.notify("jobs", "before");
    fixture.run_until_told("jobs: before");
    fixture.terminate_backends();
    fixture.run_until_subscribed(2);
    fixture.notify("jobs", "after");
    fixture.run_until_told("jobs: after");
    CHECK(fixture.written == Texts{"subscribed", "jobs: before", "subscribed", "jobs: after"});
    const auto losses = fixture.recorder->losses();
    REQUIRE(losses.size() == 1);
    CHECK(losses[0].first == line);
    CHECK_THAT(losses[0].second, ContainsSubstring("57P01"));
}

TEST_CASE("who listens gets over a server that is stopped and started", "[listening]") {
    Fixture fixture;
    Started listening{fixture.io, fixture.sessions.listen("jobs", fixture.write_down(), soon)};
    fixture.run_until_subscribed();
    support::server().stop();
    support::run_until(fixture.io, [&] { return fixture.recorder->losses().size() > 2; });
    support::server().start();
    fixture.run_until_subscribed(2);
    fixture.notify("jobs", "after");
    fixture.run_until_told("jobs: after");
    CHECK_FALSE(listening.done());
}

TEST_CASE("a notification that comes with the server's last words is told", "[listening]") {
    Fixture fixture;
    Gate gate{fixture.io};
    const auto wait_and_write = [&](const Notification& told) -> asio::awaitable<void> {
        co_await gate.wait();
        fixture.written.push_back(Fixture::text(told));
    };
    Started listening{fixture.io, fixture.sessions.listen("jobs", wait_and_write, soon)};
    support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    fixture.notify("jobs", "last");
    const auto served = [&] {
        return fixture.database
            .query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'txscope' AND "
                "datname = current_database() AND wait_event = 'ClientRead'")
            .number();
    };
    support::block_until([&] { return served() == 1; });
    fixture.terminate_backends();
    gate.open();
    fixture.run_until_subscribed(2);
    CHECK(fixture.written == Texts{"subscribed", "jobs: last", "subscribed"});
}

TEST_CASE("a network that drops everything is noticed by the heartbeat", "[listening]") {
    Fixture fixture;
    support::FaultProxy proxy{support::server()};
    txscope::PoolOptions pool_options;
    pool_options.ping_timeout = 50ms;  // in which a busy machine may not answer, either
    const AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()),
                                       support::observed(pool_options)};
    ListenOptions options = soon;
    options.heartbeat = 50ms;
    Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), options)};
    support::run_until(fixture.io, [&] { return fixture.subscriptions() > 0; });
    proxy.swallow(support::Direction::to_client);
    const auto connections = proxy.connections();
    support::run_until(fixture.io, [&] { return proxy.connections() > connections; });
    const auto subscriptions = fixture.subscriptions();
    proxy.resume();
    proxy.reset();
    support::run_until(fixture.io, [&] { return fixture.subscriptions() > subscriptions; });
}

TEST_CASE("a server that has nothing to say is listened to all the same", "[listening]") {
    Fixture fixture;
    txscope::PoolOptions patient;
    patient.ping_timeout = support::patience;
    support::FaultProxy proxy{support::server()};
    const AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()),
                                       support::observed(patient)};
    ListenOptions options = soon;
    options.heartbeat = 10ms;
    Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), options)};
    const auto asked = [&] {
        const auto statements = proxy.statements();
        return std::ranges::count(statements, "LISTEN \"jobs\"");
    };
    support::run_until(fixture.io, [&] { return asked() > 3; });
    fixture.notify("jobs", "told once");
    fixture.run_until_told("jobs: told once");
    CHECK(fixture.written == Texts{"subscribed", "jobs: told once"});
    CHECK(proxy.connections() == 1);
}

TEST_CASE("who cannot listen from the beginning is told why, if that stays", "[listening]") {
    Fixture fixture;
    const AsyncSessionFactory nowhere{fixture.io, fixture.database.dsn() + " dbname=nowhere",
                                      support::observed()};
    const auto failure =
        fixture.run(support::failure_of(nowhere.listen("jobs", fixture.write_down(), soon)));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("nowhere"));
    CHECK(fixture.written.empty());
}

TEST_CASE("what kept somebody from listening is not why others wait", "[listening]") {
    const support::Database database;
    database.query("CREATE ROLE limited LOGIN SUPERUSER");
    asio::io_context io;
    const AsyncSessionFactory sessions{
        io, database.dsn() + " user=limited",
        support::observed({.max_size = 1, .acquire_timeout = support::patience})};
    Gate gate{io};
    const auto hold = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("ALTER ROLE limited NOLOGIN");
        co_await gate.wait();
    };
    const Started holding{io, sessions.session_scope(hold)};
    support::run_until(io, [&] { return gate.waiting() == 1; });
    const auto not_heard =
        support::run(io, support::failure_of(sessions.listen("jobs", [](const Notification&) {})));
    CHECK(is<txscope::ConnectionFailed>(not_heard));
    sessions.reconfigure({.max_size = 1, .acquire_timeout = 1ms});
    const auto in_vain = support::run(io, support::failure_of(sessions.execute("SELECT 1")));
    CHECK(is<txscope::AcquireTimeout>(in_vain));
    CHECK_FALSE(support::cause_of(in_vain));
    gate.open();
    support::run_until(io, [&] { return holding.done(); });
    database.query("DROP ROLE limited");
}

TEST_CASE("who cannot listen from the beginning for what may pass tries again", "[listening]") {
    Fixture fixture;
    support::FaultProxy proxy{support::server()};
    txscope::PoolOptions options;
    options.observer = fixture.recorder.get();
    SECTION("nobody listens there yet") {
        proxy.refuse_connections();
        const AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()), options};
        Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), soon)};
        support::run_until(fixture.io, [&] { return fixture.recorder->losses().size() > 2; });
        proxy.accept_connections();
        fixture.run_until_subscribed();
    }
    SECTION("the connection is lost before it is asked to listen") {
        proxy.reset(support::before_statement("LISTEN"));
        const AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()), options};
        Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), soon)};
        fixture.run_until_subscribed();
        CHECK(fixture.recorder->losses().size() == 1);
    }
    SECTION("who is there does not answer within opening_timeout") {
        const support::SilentServer silent;
        options.opening_timeout = 10ms;
        const AsyncSessionFactory sessions{fixture.io, silent.dsn(), options};
        Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), soon)};
        support::run_until(fixture.io, [&] { return fixture.recorder->losses().size() > 2; });
    }
}

TEST_CASE("a handler that throws ends the listening with its error", "[listening]") {
    Fixture fixture;
    const std::string when = GENERATE("subscribed", "jobs: bad");
    const bool coroutine = GENERATE(true, false);
    CAPTURE(when, coroutine);
    const auto refuse = [&](const Notification& told) {
        fixture.written.push_back(Fixture::text(told));
        if (fixture.written.back() == when) throw support::Refusal{when};
    };
    const auto refuse_in_coroutine = [&](const Notification& told) -> asio::awaitable<void> {
        refuse(told);
        co_return;
    };
    Started listening{fixture.io, coroutine ? fixture.sessions.listen("jobs", refuse_in_coroutine)
                                            : fixture.sessions.listen("jobs", refuse)};
    fixture.run_until_subscribed();
    fixture.notify("jobs", "bad");
    support::run_until(fixture.io, [&] { return listening.done(); });
    CHECK(is<support::Refusal>(listening.failure()));
    CHECK(fixture.written.back() == when);
    support::run_until(fixture.io, [&] { return fixture.connected() == 0; });
}

TEST_CASE("a handler that takes its time is told one after another, in order", "[listening]") {
    Fixture fixture;
    constexpr int count = 2000;
    int expected = 0;
    bool busy = false;
    const auto handle = [&](const Notification& told) -> asio::awaitable<void> {
        if (told.kind == Notification::subscribed) co_return;
        CHECK_FALSE(std::exchange(busy, true));
        if (expected % 100 == 0) co_await fixture.sessions.execute("SELECT 1");
        CHECK(std::stoi(told.payload) == expected);
        ++expected;
        busy = false;
    };
    Gate gate{fixture.io};
    const auto wait_and_handle = [&](const Notification& told) -> asio::awaitable<void> {
        co_await gate.wait();
        co_await handle(told);
    };
    Started listening{fixture.io, fixture.sessions.listen("jobs", wait_and_handle)};
    support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    fixture.database.query(
        "SELECT pg_notify('jobs', rpad(i || ' ', 7999, '.')) FROM generate_series(0, " +
        std::to_string(count - 1) + ") i");
    gate.open();
    support::run_until(fixture.io, [&] { return expected == count; });
}

TEST_CASE("what a handler does is no part of the scope that listens", "[listening]") {
    Fixture fixture;
    const auto handle = [&](const Notification&) -> asio::awaitable<void> {
        co_await fixture.insert_alone("by the handler");
        throw support::Refusal{"enough"};
    };
    fixture.run([&]() -> asio::awaitable<void> {
        const auto body = [&]() -> asio::awaitable<void> {
            co_await fixture.insert("by the scope");
            co_await fixture.sessions.listen("jobs", handle);
        };
        const auto failure = co_await support::failure_of(fixture.scope(body));
        CHECK(is<support::Refusal>(failure));
    });
    CHECK(fixture.names() == Texts{"by the handler"});
}

TEST_CASE("listening can be cancelled, whatever it is at", "[listening]") {
    Fixture fixture;
    SECTION("while it waits") {
        Started listening{fixture.io, fixture.sessions.listen("jobs", fixture.write_down())};
        fixture.run_until_subscribed();
        listening.cancel();
        support::run_until(fixture.io, [&] { return listening.done(); });
        CHECK(listening.aborted());
    }
    SECTION("while its handler waits") {
        Gate gate{fixture.io};
        Started listening{fixture.io, fixture.sessions.listen("jobs", [&](const Notification&) {
                              return gate.wait();
                          })};
        support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
        listening.cancel();
        support::run_until(fixture.io, [&] { return listening.done(); });
        CHECK(listening.aborted());
    }
    SECTION("while it connects") {
        const support::SilentServer silent;
        const AsyncSessionFactory sessions{fixture.io, silent.dsn(), support::observed()};
        Started listening{fixture.io, sessions.listen("jobs", fixture.write_down())};
        fixture.io.restart();
        fixture.io.poll();
        CHECK_FALSE(listening.done());
        listening.cancel();
        support::run_until(fixture.io, [&] { return listening.done(); });
        CHECK(listening.aborted());
    }
    SECTION("while it is asked to listen, or asks again") {
        support::FaultProxy proxy{support::server()};
        const AsyncSessionFactory sessions{fixture.io, proxy.dsn(fixture.database.name()),
                                           support::observed()};
        const bool again = GENERATE(false, true);
        if (!again) proxy.stall(support::before_statement("LISTEN"));
        ListenOptions options = soon;
        options.heartbeat = again ? 10ms : 30s;
        Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), options)};
        if (again) {
            fixture.run_until_subscribed();
            proxy.stall(support::before_statement("LISTEN"));
        }
        support::run_until(fixture.io, [&] { return proxy.counts().struck == 1; });
        listening.cancel();
        support::run_until(fixture.io, [&] { return listening.done(); });
        CHECK(listening.aborted());
    }
    SECTION("in the pause before it tries again") {
        ListenOptions options;
        options.initial_backoff = options.max_backoff = std::chrono::hours{1000};
        Started listening{fixture.io,
                          fixture.sessions.listen("jobs", fixture.write_down(), options)};
        fixture.run_until_subscribed();
        fixture.terminate_backends();
        support::run_until(fixture.io, [&] { return fixture.recorder->losses().size() == 1; });
        listening.cancel();
        support::run_until(fixture.io, [&] { return listening.done(); });
        CHECK(listening.aborted());
    }
    support::run_until(fixture.io, [&] { return fixture.connected() == 0; });
}

TEST_CASE("a context that is destroyed ends the listening, and leaves nothing", "[listening]") {
    enum class At {
        beginning,
        connecting,
        waiting,
        handler,
        pause
    };
    const auto at = GENERATE(At::beginning, At::connecting, At::waiting, At::handler, At::pause);
    const support::Database database;
    const support::SilentServer silent;
    Recorder recorder;
    txscope::PoolOptions pool_options;
    pool_options.observer = &recorder;
    ListenOptions options;
    options.initial_backoff = options.max_backoff = std::chrono::hours{1000};
    auto io = std::make_unique<asio::io_context>();
    auto sessions = std::make_unique<AsyncSessionFactory>(
        *io, at == At::connecting ? silent.dsn() : database.dsn(), pool_options);
    bool told = false;
    const auto handle = [&](const Notification&) -> asio::awaitable<void> {
        told = true;
        if (at != At::handler) co_return;
        asio::steady_timer never{*io, asio::steady_timer::time_point::max()};
        co_await never.async_wait(asio::use_awaitable);
    };
    Started listening{*io, sessions->listen("jobs", handle, options)};
    const auto backends = [&](const std::string& what) {
        return database.query("SELECT " + what +
                              " FROM pg_stat_activity WHERE datname = current_database() AND "
                              "application_name = 'txscope'");
    };
    if (at == At::connecting) io->poll();
    if (at > At::connecting) support::run_until(*io, [&] { return told; });
    if (at == At::pause) {
        backends("pg_terminate_backend(pid, 60000)");
        support::run_until(*io, [&] { return recorder.losses().size() == 1; });
    }
    CHECK_FALSE(listening.done());
    sessions.reset();
    io.reset();
    support::block_until([&] { return backends("count(*)").number() == 0; });
}

TEST_CASE("many listen and notify on four threads", "[listening]") {
    Fixture fixture;
    constexpr int listeners = 4;
    constexpr int notifications = 100;
    std::atomic<int> subscribed = 0;
    std::atomic<int> complete = 0;
    std::atomic<int> ended = 0;
    const auto listener = [&](std::string channel) -> asio::awaitable<void> {
        Texts told;  // by a handler that needs no lock
        const auto handle = [&](const Notification& one) -> asio::awaitable<void> {
            if (one.kind == Notification::subscribed) {
                ++subscribed;
                co_return;
            }
            told.push_back(one.payload);
            if (told.size() % 10 == 0) co_await fixture.sessions.execute("SELECT 1");
            if (told.size() == notifications) throw support::Refusal{"enough"};
        };
        const auto failure =
            co_await support::failure_of(fixture.sessions.listen(channel, handle, soon));
        std::ranges::sort(told);
        if (is<support::Refusal>(failure) && std::ranges::unique(told).empty()) ++complete;
        ++ended;
    };
    const auto notifier = [&](std::string channel, int first) -> asio::awaitable<void> {
        for (int number = first; number < notifications; number += 2) {
            co_await fixture.scope([&](Session& session) -> asio::awaitable<void> {
                session.notify(channel, std::to_string(number));
                co_return;
            });
        }
    };
    for (int i = 0; i < listeners; ++i)
        asio::co_spawn(fixture.io, listener("channel " + std::to_string(i)), asio::detached);
    fixture.run(support::eventually([&] { return subscribed == listeners; }), {.threads = 4});
    for (int i = 0; i < 2 * listeners; ++i)
        asio::co_spawn(fixture.io, notifier("channel " + std::to_string(i / 2), i % 2),
                       asio::detached);
    fixture.run(support::eventually([&] { return ended == listeners; }), {.threads = 4});
    CHECK(complete == listeners);
}

TEST_CASE("a pooler that lends by sessions can be listened through", "[listening]") {
    Fixture fixture;
    const support::PgBouncer bouncer{fixture.database, {.pool_mode = "session", .pool_size = 2}};
    const AsyncSessionFactory sessions{fixture.io, bouncer.dsn(), support::observed()};
    Started listening{fixture.io, sessions.listen("jobs", fixture.write_down(), soon)};
    fixture.run_until_subscribed();
    fixture.notify("jobs", "one");
    fixture.run_until_told("jobs: one");
}

}  // namespace listening
