#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/session/observer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace observer {

namespace asio = boost::asio;

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using support::ScopeFixture;
using support::text_of;
using txscope::IsolationLevel;
using txscope::ScopeEvent;
using txscope::Session;
using txscope::TransactionScope;

/// Keeps what it was told, and checks it.
class Recorder : public support::CheckingObserver {
public:
    struct Event {
        ScopeEvent::Kind kind;
        std::uint_least32_t line;
        std::string label;
        int attempt;
        std::chrono::nanoseconds duration;
        std::string sql;
        std::exception_ptr error;
    };

    void notice(const ScopeEvent& event) noexcept override {
        CheckingObserver::notice(event);
        const std::lock_guard lock{mutex_};
        events_.push_back({event.kind, event.where.line(), std::string{event.label}, event.attempt,
                           event.duration, std::string{event.sql}, event.error});
    }

    std::vector<Event> all() const {
        const std::lock_guard lock{mutex_};
        return events_;
    }
    std::vector<ScopeEvent::Kind> kinds() const {
        std::vector<ScopeEvent::Kind> kinds;
        for (const Event& event : all()) kinds.push_back(event.kind);
        return kinds;
    }
    std::vector<Event> of(ScopeEvent::Kind kind) const {
        auto found = all();
        std::erase_if(found, [&](const Event& event) { return event.kind != kind; });
        return found;
    }

private:
    mutable std::mutex mutex_;
    std::vector<Event> events_;
};

using Kinds = std::vector<ScopeEvent::Kind>;

struct ObservedFixture {
    explicit ObservedFixture(txscope::PoolOptions options = {})
        : ObservedFixture{options, std::make_unique<Recorder>()} {}
    ObservedFixture(txscope::PoolOptions options, std::unique_ptr<Recorder> with)
        : recorder{std::move(with)}, scopes{[&] {
              options.observer = recorder.get();
              return options;
          }()} {}

    const std::unique_ptr<Recorder> recorder;
    ScopeFixture scopes;
};

TEST_CASE("an observer is told of begin, each statement, and commit", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    const auto line = std::source_location::current().line() + 1;
    const TransactionScope scope{scopes.sessions, {.label = "import"}};
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            const std::string name = "secret";
            co_await session.execute("INSERT INTO entries (name) VALUES ($1)", name);
            session.enqueue("INSERT INTO entries (name) VALUES ('behind')");
        });
    });
    const auto events = recorder->all();
    CHECK(recorder->kinds() == Kinds{ScopeEvent::begin, ScopeEvent::statement,
                                     ScopeEvent::statement, ScopeEvent::commit});
    REQUIRE(events.size() == 4u);
    CHECK(events[1].sql == "INSERT INTO entries (name) VALUES ($1)");
    CHECK(events[2].sql == "COMMIT");
    CHECK(events[3].duration >= events[1].duration + events[2].duration);
    for (const auto& event : events) {
        CHECK(event.line == line);
        CHECK(event.label == "import");
        CHECK(event.attempt == 1);
        CHECK(event.duration >= 0ns);
        CHECK(!event.error);
    }
}

TEST_CASE("a scope without SQL is nothing to tell of", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scopes.scope([]() -> asio::awaitable<void> { co_return; });
    });
    CHECK(recorder->kinds().empty());
}

TEST_CASE("the wait for a connection is what begin took", "[observer]") {
    using Clock = std::chrono::steady_clock;
    ObservedFixture fixture{{.max_size = 1}};
    auto& [recorder, scopes] = fixture;
    support::Gate gate{scopes.io};
    support::Started first{scopes.io, scopes.scope([&]() -> asio::awaitable<void> {
                               co_await scopes.insert("first");
                               co_await gate.wait();
                           })};
    support::run_until(scopes.io, [&] { return gate.waiting() == 1; });
    const auto asked = Clock::now();
    support::Started second{scopes.io, scopes.insert_alone("second")};
    support::run_until(scopes.io, [&] { return scopes.sessions.statistics().waiting == 1; });
    const auto waiting = Clock::now();
    support::run_until(scopes.io, [&] { return Clock::now() >= waiting + 20ms; });
    const auto let_go = Clock::now();
    gate.open();
    support::run_until(scopes.io, [&] { return first.done() && second.done(); });
    const auto over = Clock::now();
    const auto begins = recorder->of(ScopeEvent::begin);
    REQUIRE(begins.size() == 2u);
    CHECK(begins[1].duration >= let_go - waiting);
    CHECK(begins[1].duration <= over - asked);
    // What the transaction itself took does not include the wait for it.
    const auto commits = recorder->of(ScopeEvent::commit);
    REQUIRE(commits.size() == 2u);
    CHECK(commits[0].duration >= let_go - asked);
    CHECK(commits[1].duration <= over - let_go);
}

TEST_CASE("an observer is told why a transaction was rolled back, and never a value",
          "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    const std::string name = "the secret name";
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scopes.insert_alone(name);
        co_await support::failure_of(scopes.insert_alone(name));
    });
    const auto rollbacks = recorder->of(ScopeEvent::rollback);
    REQUIRE(rollbacks.size() == 1u);
    CHECK_THROWS_AS(std::rethrow_exception(rollbacks[0].error), pqxx::unique_violation);
    const auto statements = recorder->of(ScopeEvent::statement);
    REQUIRE(statements.size() == 3u);
    CHECK(text_of(statements[2].error) == text_of(rollbacks[0].error));
    for (const auto& event : recorder->all()) {
        CHECK(event.sql.find(name) == std::string::npos);
        CHECK(text_of(event.error).find(name) == std::string::npos);
    }
}

TEST_CASE("the body's own exception is the reason of a rollback, and rollback-only is none",
          "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    scopes.run([&]() -> asio::awaitable<void> {
        const auto fails = [&]() -> asio::awaitable<void> {
            co_await scopes.insert("one");
            throw std::runtime_error{"not today"};
        };
        co_await support::failure_of(scopes.scope(fails));
        co_await scopes.scope([&](Session& session) -> asio::awaitable<void> {
            co_await scopes.insert("two");
            session.set_rollback_only();
        });
    });
    const auto rollbacks = recorder->of(ScopeEvent::rollback);
    REQUIRE(rollbacks.size() == 2u);
    CHECK(text_of(rollbacks[0].error) == "not today");
    CHECK(!rollbacks[1].error);
    CHECK(recorder->of(ScopeEvent::commit).empty());
}

TEST_CASE("an observer is told the cause of every attempt that is tried again", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    const TransactionScope scope{
        scopes.sessions,
        {.retry = {.max_attempts = 3, .initial_backoff = 1ms, .max_backoff = 2ms}}};
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            if (session.attempt() < 3)
                co_await session.execute(
                    "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
            co_await scopes.insert("one");
        });
    });
    const auto retries = recorder->of(ScopeEvent::retry);
    REQUIRE(retries.size() == 2u);
    for (int i = 0; i < 2; ++i) {
        const auto& retry = retries[static_cast<std::size_t>(i)];
        CHECK(retry.attempt == i + 1);
        CHECK(retry.duration <= 2ms);
        CHECK_THROWS_AS(std::rethrow_exception(retry.error), pqxx::serialization_failure);
    }
    CHECK(recorder->of(ScopeEvent::rollback).size() == 2u);
    const auto commits = recorder->of(ScopeEvent::commit);
    REQUIRE(commits.size() == 1u);
    CHECK(commits[0].attempt == 3);
}

TEST_CASE("a hook that throws is told to the observer, and the later hooks run", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    bool later = false;
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scopes.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([] { throw std::runtime_error{"no mail today"}; });
            session.after_commit([&] { later = true; });
            co_await scopes.insert("one");
        });
    });
    const auto failures = recorder->of(ScopeEvent::hook_failure);
    REQUIRE(failures.size() == 1u);
    CHECK(text_of(failures[0].error) == "no mail today");
    CHECK(later);
    CHECK(recorder->of(ScopeEvent::commit).size() == 1u);
}

TEST_CASE("a rollback that fails is told to the observer, and does not hide the body's exception",
          "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    scopes.run([&]() -> asio::awaitable<void> {
        const auto fails = [&]() -> asio::awaitable<void> {
            co_await scopes.insert("one");
            scopes.terminate_backends();
            throw std::runtime_error{"first"};
        };
        const auto error = co_await support::failure_of(scopes.scope(fails));
        CHECK(text_of(error) == "first");
    });
    const auto failures = recorder->of(ScopeEvent::rollback_failure);
    REQUIRE(failures.size() == 1u);
    CHECK(text_of(failures[0].error) != "no failure");
    REQUIRE(recorder->of(ScopeEvent::rollback).size() == 1u);
    CHECK(text_of(recorder->of(ScopeEvent::rollback)[0].error) == "first");
}

TEST_CASE("a scope that runs longer than the pool allows is reported while it runs", "[observer]") {
    ObservedFixture fixture{{.overlong_scope = 1ms}};
    auto& [recorder, scopes] = fixture;
    const auto line = std::source_location::current().line() + 1;
    const TransactionScope scope{scopes.sessions};
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scope([&]() -> asio::awaitable<void> {
            co_await scopes.insert("one");
            co_await support::eventually(
                [&] { return !recorder->of(ScopeEvent::overlong).empty(); });
            CHECK(recorder->of(ScopeEvent::commit).empty());
        });
    });
    const auto overlong = recorder->of(ScopeEvent::overlong);
    REQUIRE(overlong.size() == 1u);
    CHECK(overlong[0].line == line);
    CHECK(overlong[0].duration >= 1ms);
    CHECK(scopes.names() == ScopeFixture::Names{"one"});
}

TEST_CASE("a scope that is destroyed before its end is reported as leaked", "[observer]") {
    Recorder recorder;
    const support::Database database{"CREATE TABLE entries (name text)"};
    std::uint_least32_t line = 0;
    {
        asio::io_context io;
        const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.observer = &recorder}};
        line = std::source_location::current().line() + 1;
        const TransactionScope scope{sessions};
        bool waiting = false;
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("INSERT INTO entries VALUES ('one')");
            waiting = true;
            asio::steady_timer never{io, asio::steady_timer::time_point::max()};
            co_await never.async_wait(asio::use_awaitable);
        };
        asio::co_spawn(io, scope(body), asio::detached);
        support::run_until(io, [&] { return waiting; });
    }
    const auto leaked = recorder.of(ScopeEvent::leaked);
    REQUIRE(leaked.size() == 1u);
    CHECK(leaked[0].line == line);
    CHECK(recorder.of(ScopeEvent::commit).empty());
    CHECK(recorder.of(ScopeEvent::rollback).empty());
}

TEST_CASE("an observer is told of all the statements of a scope, in their order", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scopes.scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await session.execute("SELECT 2");
            co_await scopes.nested([](Session& inner) -> asio::awaitable<void> {
                co_await inner.execute("SELECT 3");
                co_await inner.execute("SELECT 4");
            });
            co_await session.execute("SELECT 5");
        });
        co_await scopes.sessions.session_scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 6");
            co_await session.execute("SELECT 7");
        });
        co_await scopes.sessions.execute("SELECT 8");
        std::vector<txscope::Statement> both;
        both.emplace_back("SELECT 9");
        both.emplace_back("SELECT 10");
        co_await scopes.sessions.execute_all(std::move(both));
    });
    std::vector<std::string> told;
    for (const auto& event : recorder->of(ScopeEvent::statement)) {
        told.push_back(event.sql);
        CHECK(!event.error);
    }
    CHECK(told == std::vector<std::string>{"SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4",
                                           "SELECT 5", "COMMIT", "SELECT 6", "SELECT 7", "SELECT 8",
                                           "SELECT 9", "SELECT 10"});
}

TEST_CASE("of many statements at once an observer is told which failed", "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    const auto all = [&](const std::vector<std::string>& texts) {
        std::vector<txscope::Statement> statements;
        for (const std::string& text : texts) statements.emplace_back(text);
        scopes.run(support::failure_of(scopes.scope([&](Session& session) -> asio::awaitable<void> {
            session.enqueue("SELECT 'ahead'");
            co_await session.execute_all(std::move(statements));
        })));
    };
    const auto told = [&] {
        std::vector<std::string> words;
        for (const auto& event : recorder->of(ScopeEvent::statement))
            words.push_back(event.sql + (event.error ? ", which failed" : ""));
        return words;
    };
    all({"SELECT 1", "SELECT 2", "SELECT 1 / 0", "SELECT 3"});
    // What is behind fails with it, as a branch's does.
    std::vector<std::string> expected{"SELECT 1", "SELECT 2", "SELECT 1 / 0, which failed",
                                      "SELECT 3, which failed"};
    CHECK(told() == expected);
    all({"SELECT 5", "SELECT 6", "SELECT 7"});
    expected.insert(expected.end(), {"SELECT 5", "SELECT 6", "SELECT 7", "COMMIT"});
    CHECK(told() == expected);
}

TEST_CASE("a statement that gets a connection after its scope has ended is nothing to tell of",
          "[observer]") {
    ObservedFixture fixture{{.max_size = 1}};
    auto& [recorder, scopes] = fixture;
    support::Gate gate{scopes.io};
    support::Started holder{
        scopes.io, scopes.sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await gate.wait();
        })};
    support::run_until(scopes.io, [&] { return gate.waiting() == 1; });
    bool over = false;
    support::Started left{
        scopes.io, scopes.scope([&](Session& session) -> asio::awaitable<void> {
            const auto late = [](Session used, bool& ended) -> asio::awaitable<void> {
                co_await support::failure_of(used.execute("SELECT 2"));
                ended = true;
            };
            asio::co_spawn(co_await asio::this_coro::executor, late(session, over), asio::detached);
            co_await support::eventually([&] { return scopes.sessions.statistics().waiting == 1; });
        })};
    support::run_until(scopes.io, [&] { return left.done(); });
    CHECK(support::is<txscope::UnfinishedWork>(left.failure()));
    gate.open();
    support::run_until(scopes.io, [&] { return holder.done() && over; });
    CHECK(recorder->kinds() == Kinds{ScopeEvent::statement});
}

TEST_CASE("a scope that has ended is not overlong", "[observer]") {
    constexpr auto limit = 100ms;
    ObservedFixture fixture{{.overlong_scope = limit}};
    auto& [recorder, scopes] = fixture;
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scopes.scope([&](Session& session) -> asio::awaitable<void> {
            session.after_commit([&]() -> asio::awaitable<void> {
                asio::steady_timer longer{scopes.io, 2 * limit};
                co_await longer.async_wait(asio::use_awaitable);
            });
            co_await scopes.insert("one");
        });
    });
    // On a machine that is busy it may have taken so long before.
    CHECK(recorder->kinds().back() == ScopeEvent::commit);
}

/// A scope of a client's own: statements in all the ways that there are, then one of several ends.
asio::awaitable<void> work(txscope::AsyncSessionFactory sessions, int client) {
    const std::string value = std::string{support::secret} + std::to_string(client);
    const std::string label = "the scope of the client with the number " + std::to_string(client);
    const TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};
    const TransactionScope joined{sessions};
    const TransactionScope scope{
        sessions, {.retry = {.max_attempts = 2, .initial_backoff = 1ms}, .label = label}};
    const auto insert = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) VALUES ($1)", value);
        co_await session.execute("SELECT 1");
    };
    const auto select = [&](Session& session) -> asio::awaitable<void> {
        session.enqueue("SELECT 2");
        co_await session.execute("SELECT $1::text", value);
        co_await session.execute("SELECT 3");
    };
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        session.after_commit([] { throw support::Refusal{"a hook's"}; });
        co_await insert(session);
        co_await support::failure_of(nested(insert));  // the same name again
        co_await joined(select);
        co_await (select(session) && nested(select) && nested(select));
        session.enqueue("SELECT $1::text", value);
        if (client % 4 == 1) throw support::Refusal{"the body's"};
        if (client % 4 == 2) session.set_rollback_only();
        if (client % 4 == 3 && session.attempt() == 1)
            co_await session.execute("DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$");
    };
    co_await scope(body);
}

TEST_CASE("on four threads an observer is told of every scope in order, and of no values",
          "[observer]") {
    ObservedFixture fixture{{.max_size = 8}};
    auto& [recorder, scopes] = fixture;
    constexpr int clients = 32;
    std::atomic<int> over = 0;
    const auto client = [&](int number) -> asio::awaitable<void> {
        co_await support::failure_of(work(scopes.sessions, number));
        // Again, and cancelled at one moment or another.
        asio::steady_timer timer{co_await asio::this_coro::executor,
                                 std::chrono::microseconds{number * 300}};
        co_await support::failure_of(work(scopes.sessions, number) ||
                                     timer.async_wait(asio::use_awaitable));
        ++over;
    };
    scopes.run(
        [&]() -> asio::awaitable<void> {
            for (int number = 0; number < clients; ++number)
                asio::co_spawn(asio::make_strand(scopes.io), client(number), asio::detached);
            co_await support::eventually([&] { return over == clients; });
        },
        {.threads = 4});
    CHECK(recorder->of(ScopeEvent::begin).size() >= clients);
    CHECK(recorder->of(ScopeEvent::retry).size() >= clients / 4);
    CHECK(recorder->of(ScopeEvent::commit).size() >= clients / 2);
    CHECK(recorder->of(ScopeEvent::leaked).empty());
}

TEST_CASE("destroyed at any moment of its life, a scope is told of in order", "[observer]") {
    const support::Database database{
        "CREATE TABLE entries (name text CONSTRAINT names_are_unique UNIQUE)"};
    Recorder recorder;
    int ended = 0;
    for (int turns = 0; ended < 3; turns += 1 + turns / 10) {
        CAPTURE(turns);
        asio::io_context io;
        const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.observer = &recorder}};
        const auto client = [&]() -> asio::awaitable<void> {
            co_await work(sessions, 4 * turns);
            ++ended;
        };
        asio::co_spawn(io, client(), asio::detached);
        support::run(io, [&]() -> asio::awaitable<void> {
            for (int i = 0; i < turns; ++i) co_await asio::post(asio::use_awaitable);
        });
    }
    CHECK(recorder.of(ScopeEvent::commit).size() >= 3);
}

TEST_CASE("what the server notices is told with its statement, and without parameters' values",
          "[observer]") {
    ObservedFixture fixture;
    auto& [recorder, scopes] = fixture;
    scopes.database.query(
        "CREATE FUNCTION remark(text, level text) RETURNS void LANGUAGE plpgsql AS $$BEGIN "
        "IF level = 'notice' THEN RAISE NOTICE 'a remark about %', $1 USING HINT = 'a hint'; "
        "ELSE RAISE WARNING 'a warning'; END IF; END$$");
    const auto line = std::source_location::current().line() + 1;
    const TransactionScope scope{scopes.sessions, {.label = "noticed"}};
    scopes.run([&]() -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            const std::string secret{support::secret};
            session.enqueue("SELECT remark($1, 'notice')", secret);
            co_await session.execute("SELECT remark($1, 'warning')", secret);
        });
        co_await scopes.sessions.execute("DROP TABLE IF EXISTS nothing");
    });
    const auto notices = recorder->of(ScopeEvent::notice);
    REQUIRE(notices.size() == 3);
    CHECK(notices[0].line == line);
    CHECK(notices[0].label == "noticed");
    CHECK_THAT(text_of(notices[0].error), ContainsSubstring("a remark about"));
    CHECK_THAT(text_of(notices[0].error), ContainsSubstring("SELECT remark($1, 'notice')"));
    CHECK_THAT(text_of(notices[1].error), ContainsSubstring("a warning (SQLSTATE 01000"));
    CHECK_THAT(text_of(notices[1].error), ContainsSubstring("SELECT remark($1, 'warning')"));
    CHECK(notices[2].line == 0);
    CHECK_THAT(text_of(notices[2].error), ContainsSubstring("\"nothing\" does not exist"));
    try {
        std::rethrow_exception(notices[0].error);
    } catch (const txscope::SqlError& notice) {
        CHECK(notice.diagnostics().severity == "NOTICE");
        CHECK(notice.diagnostics().hint == "a hint");
    }
    CHECK(recorder->of(ScopeEvent::commit).size() == 1);
}

TEST_CASE("who has let go of a connection is told no more of its notices", "[observer]") {
    Recorder recorder;
    ScopeFixture with{{.observer = &recorder}};
    with.run([&]() -> asio::awaitable<void> {
        const auto body = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SET client_min_messages = debug5");  // the reset is noticed
        };
        co_await with.sessions.session_scope(body);
    });
    const auto told = recorder.of(ScopeEvent::notice).size();
    with.run([&]() -> asio::awaitable<void> {
        co_await support::eventually([&] { return with.sessions.statistics().idle == 1; });
    });
    CHECK(recorder.of(ScopeEvent::notice).size() == told);
}

TEST_CASE("a scope that is destroyed in its middle is told of as leaked", "[observer]") {
    const support::Database database;
    Recorder recorder;
    {
        asio::io_context io;
        const txscope::AsyncSessionFactory sessions{io, database.dsn(), {.observer = &recorder}};
        bool in_its_middle = false;
        const auto client = [&]() -> asio::awaitable<void> {
            const txscope::TransactionScope scope{sessions};
            co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT 1");
                asio::steady_timer timer{io, asio::steady_timer::time_point::max()};
                in_its_middle = true;
                co_await timer.async_wait(asio::use_awaitable);
            });
        };
        asio::co_spawn(io, client(), asio::detached);
        support::run_until(io, [&] { return in_its_middle; });
    }
    CHECK(recorder.of(ScopeEvent::leaked).size() == 1);
}

}  // namespace observer
