#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/silent_server.hpp"
#include "support/started.hpp"
#include <txscope/pool/pool_observer.hpp>
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <mutex>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

// What an observer is told of a pool.
namespace pool_events {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::ScopeFixture;
using txscope::PoolEvent;
using txscope::Session;
using Retirement = PoolEvent::Retirement;
using Wait = PoolEvent::Wait;

/// Keeps what it was told, and looks at the pool meanwhile.
class Recorder : public support::CheckingObserver {
public:
    struct Event {
        PoolEvent::Kind kind;
        std::chrono::nanoseconds duration;
        Retirement retirement;
        Wait outcome;
        bool is_transient;
        std::string server;
        std::uint_least32_t line;
        std::exception_ptr error;
    };

    void notice_pool(const PoolEvent& event) noexcept override {
        CheckingObserver::notice_pool(event);
        if (sessions != nullptr) sessions->statistics();  // would never return with a mutex locked
        const std::lock_guard lock{mutex_};
        events_.push_back({event.kind, event.duration, event.retirement, event.outcome,
                           event.is_transient, std::string{event.server.database},
                           event.where.line(), event.error});
    }
    std::vector<Event> of(PoolEvent::Kind kind) const {
        const std::lock_guard lock{mutex_};
        auto found = events_;
        std::erase_if(found, [&](const Event& event) { return event.kind != kind; });
        return found;
    }
    std::vector<Retirement> retirements() const {
        std::vector<Retirement> why;
        for (const Event& event : of(PoolEvent::retired)) why.push_back(event.retirement);
        return why;
    }
    std::vector<Wait> waits() const {
        std::vector<Wait> outcomes;
        for (const Event& event : of(PoolEvent::waited)) outcomes.push_back(event.outcome);
        return outcomes;
    }

    const txscope::AsyncSessionFactory* sessions = nullptr;

private:
    mutable std::mutex mutex_;
    std::vector<Event> events_;
};

using Retirements = std::vector<Retirement>;
using Waits = std::vector<Wait>;

struct Observed {
    explicit Observed(txscope::PoolOptions options = {})
        : fixture{[&] {
              options.observer = &recorder;
              return options;
          }()} {
        recorder.sessions = &fixture.sessions;
    }
    ~Observed() { recorder.sessions = nullptr; }

    Recorder recorder;
    ScopeFixture fixture;
};

asio::awaitable<void> hold(txscope::AsyncSessionFactory sessions, support::Gate& gate) {
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        co_await gate.wait();
    };
    co_await sessions.session_scope(body);
}

TEST_CASE("an observer is told of connections that are opened, lent and closed, and of waits",
          "[pool_events]") {
    Observed with{{.max_size = 1}};
    auto& [recorder, fixture] = with;
    support::Gate gate{fixture.io};
    support::Started holder{fixture.io, hold(fixture.sessions, gate)};
    support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    const auto opened = recorder.of(PoolEvent::opened);
    REQUIRE(opened.size() == 1);
    CHECK(opened[0].duration > 0ns);
    CHECK(fixture.database.dsn().find(opened[0].server) != std::string::npos);
    CHECK(!opened[0].server.empty());

    const auto line = std::source_location::current().line() + 1;
    const txscope::TransactionScope scope{fixture.sessions};
    support::Started waiter{fixture.io, scope([](Session& session) -> asio::awaitable<void> {
                                co_await session.execute("SELECT 1");
                            })};
    support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
    const auto begun = std::chrono::steady_clock::now();
    support::run_until(fixture.io, [&] { return std::chrono::steady_clock::now() - begun > 10ms; });
    gate.open();
    support::run_until(fixture.io, [&] { return holder.done() && waiter.done(); });
    CHECK(recorder.waits() == Waits{Wait::granted, Wait::granted});  // one for the opening
    const auto waited = recorder.of(PoolEvent::waited);
    CHECK(waited[1].duration >= 10ms);
    CHECK(waited[1].line == line);
    const auto returned = recorder.of(PoolEvent::returned);
    REQUIRE(returned.size() == 2);
    CHECK(returned[0].duration >= 10ms);

    fixture.run(fixture.sessions.close());
    CHECK(recorder.retirements() == Retirements{Retirement::closed});
    CHECK(recorder.of(PoolEvent::retired)[0].server == opened[0].server);
}

TEST_CASE("a connection that is idle is lent without a wait", "[pool_events]") {
    Observed with;
    with.fixture.run(with.fixture.sessions.warm_up(1));
    with.fixture.run(with.fixture.sessions.execute("SELECT 1"));
    CHECK(with.recorder.waits().empty());
    CHECK(with.recorder.of(PoolEvent::returned).size() == 1);
}

TEST_CASE("an observer is told why a connection was not opened, and whether that may pass",
          "[pool_events]") {
    Recorder recorder;
    asio::io_context io;
    const support::DeadPort nobody;
    const support::Database database;
    const auto ask = [&](const std::string& dsn, std::chrono::milliseconds patience) {
        const txscope::AsyncSessionFactory sessions{
            io, dsn, {.acquire_timeout = patience, .observer = &recorder}};
        support::run(io, [&]() -> asio::awaitable<void> {
            co_await support::failure_of(sessions.execute("SELECT 1"));
        });
        support::run_until(io, [&] { return !recorder.of(PoolEvent::opening_failed).empty(); });
    };
    ask(nobody.dsn(), 30ms);
    ask(database.dsn() + " dbname=there_is_none", support::patience);
    const auto failed = recorder.of(PoolEvent::opening_failed);
    REQUIRE(failed.size() >= 2);
    CHECK(failed.front().is_transient);
    CHECK(!failed.back().is_transient);
    CHECK(support::is<txscope::ConnectionFailed>(failed.front().error));
    CHECK(support::text_of(failed.back().error).find("there_is_none") != std::string::npos);
    CHECK(recorder.waits() == Waits{Wait::timed_out, Wait::not_opened});
}

TEST_CASE("an observer is told how a wait has ended that was in vain", "[pool_events]") {
    Observed with{{.max_size = 1, .max_waiters = 1}};
    auto& [recorder, fixture] = with;
    support::Gate gate{fixture.io};
    support::Started holder{fixture.io, hold(fixture.sessions, gate)};
    support::run_until(fixture.io, [&] { return gate.waiting() == 1; });
    const auto before = recorder.waits().size();
    const auto told = [&] { return recorder.waits().size() - before; };
    const auto last = [&] { return recorder.waits().back(); };

    SECTION("its time is over") {
        fixture.sessions.reconfigure({.max_size = 1, .acquire_timeout = 1ms});
        support::Started late{fixture.io, fixture.insert_alone("late")};
        support::run_until(fixture.io, [&] { return late.done(); });
        CHECK(last() == Wait::timed_out);
    }
    SECTION("too many wait") {
        support::Started first{fixture.io, fixture.insert_alone("first")};
        support::Started second{fixture.io, fixture.insert_alone("second")};
        support::run_until(fixture.io, [&] { return told() == 1; });
        CHECK(last() == Wait::exhausted);
        gate.open();
        support::run_until(fixture.io, [&] { return first.done() && second.done(); });
    }
    SECTION("nobody would be served again") {
        support::Started nested{
            fixture.io, fixture.scope([&]() -> asio::awaitable<void> {
                co_await fixture.insert("outer");
                const txscope::TransactionScope apart{
                    fixture.sessions, {.propagation = txscope::Propagation::requires_new}};
                co_await support::failure_of(
                    apart([&]() -> asio::awaitable<void> { co_await fixture.insert("inner"); }));
            })};
        gate.open();
        support::run_until(fixture.io, [&] { return nested.done(); });
        CHECK(last() == Wait::deadlock);
    }
    SECTION("it is cancelled") {
        support::Started waiter{fixture.io, fixture.insert_alone("cancelled")};
        support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
        waiter.cancel();
        support::run_until(fixture.io, [&] { return waiter.done(); });
        CHECK(last() == Wait::cancelled);
    }
    SECTION("the pool is closed") {
        support::Started waiter{fixture.io, fixture.insert_alone("too late")};
        support::run_until(fixture.io, [&] { return fixture.sessions.statistics().waiting == 1; });
        gate.open();
        fixture.run(fixture.sessions.close());
        support::run_until(fixture.io, [&] { return waiter.done(); });
        CHECK(last() == Wait::closed);
    }
    gate.open();
    support::run_until(fixture.io, [&] { return holder.done(); });
}

TEST_CASE("an observer is told why a connection was closed", "[pool_events]") {
    Retirement expected{};
    txscope::PoolOptions options{.max_size = 2};
    const auto retires = [&](auto work) {
        Observed with{options};
        with.fixture.run(with.fixture.sessions.warm_up(1));
        work(with.fixture);
        support::run_until(with.fixture.io, [&] { return !with.recorder.retirements().empty(); });
        CHECK(with.recorder.retirements().front() == expected);
    };
    const auto nothing = [](ScopeFixture&) {};

    SECTION("its life was over") {
        expected = Retirement::lifetime;
        options.max_lifetime = 20ms;
        retires(nothing);
    }
    SECTION("it was idle") {
        expected = Retirement::idle;
        options.idle_timeout = 20ms;
        retires(nothing);
    }
    SECTION("its server has ended it") {
        expected = Retirement::lost;
        retires([](ScopeFixture& fixture) { fixture.terminate_backends(); });
    }
    SECTION("it was to be replaced") {
        expected = Retirement::replaced;
        retires([](ScopeFixture& fixture) { fixture.sessions.recycle(); });
    }
    SECTION("it could not be cleaned in time") {
        expected = Retirement::not_cleaned;
        options.cleanup_timeout = 0ms;
        retires([](ScopeFixture& fixture) {
            fixture.run([&]() -> asio::awaitable<void> {
                co_await fixture.sessions.execute("SET work_mem = '2MB'");
            });
        });
    }
}

TEST_CASE("a pool is observed from several threads", "[pool_events][threads]") {
    const support::Database database;
    Recorder recorder;
    asio::thread_pool threads{4};
    {
        const txscope::AsyncSessionFactory sessions{
            threads.get_executor(), database.dsn(),
            support::observed({.max_size = 3, .max_lifetime = 5ms, .observer = &recorder})};
        recorder.sessions = &sessions;
        const auto client = [&]() -> asio::awaitable<void> {
            for (int i = 0; i < 20; ++i) co_await sessions.execute("SELECT 1");
        };
        std::vector<std::future<void>> clients;
        for (int i = 0; i < 8; ++i)
            clients.push_back(asio::co_spawn(threads, client(), asio::use_future));
        for (auto& each : clients) each.get();
        asio::co_spawn(threads, sessions.close(), asio::use_future).get();
        recorder.sessions = nullptr;
        CHECK(recorder.of(PoolEvent::opened).size() == recorder.of(PoolEvent::retired).size());
        CHECK(recorder.of(PoolEvent::returned).size() == sessions.statistics().acquired);
    }
    threads.join();
}

}  // namespace pool_events
