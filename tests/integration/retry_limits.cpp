#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include "support/time_enough.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

// Where trying again ends, and what remains of the attempts that failed.

namespace retry_limits {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::ScopeEvent;
using txscope::Session;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

/// A lost serialization conflict, with a message that tells one from another.
std::string conflict(const std::string& message) {
    return "DO $$ BEGIN RAISE EXCEPTION '" + message + "' USING ERRCODE = '40001'; END $$";
}
std::string conflict_of(const Session& session) {
    return conflict("conflict " + std::to_string(session.attempt()));
}

/// Keeps the retries and rollbacks that it is told of, with their causes.
class Causes : public txscope::Observer {
public:
    void notice(const ScopeEvent& event) noexcept override {
        if (event.kind != ScopeEvent::retry && event.kind != ScopeEvent::rollback) return;
        const std::string what = event.kind == ScopeEvent::retry ? "retry" : "rollback";
        const std::string cause = text_of(event.error);
        const std::lock_guard lock{mutex_};
        told_.push_back(what + " of attempt " + std::to_string(event.attempt) + ": " +
                        cause.substr(0, cause.find(" (")));
    }
    std::vector<std::string> told() const {
        const std::lock_guard lock{mutex_};
        return told_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> told_;
};

TEST_CASE("a pause that would outlast the deadline is not begun: the last error comes out",
          "[retry_limits]") {
    support::ScopeFixture fixture;
    constexpr auto years = 24h * 365 * 100;
    const TransactionScope scope{
        fixture.sessions,
        {.timeout = support::patience * 2,
         .retry = {.max_attempts = 100, .initial_backoff = years, .max_backoff = years}}};
    int attempts = 0;
    const auto failure =
        fixture.run(failure_of(scope([&](Session& session) -> asio::awaitable<void> {
            ++attempts;
            co_await session.execute(conflict_of(session));
        })));
    CHECK(is<pqxx::transaction_rollback>(failure));
    CHECK_FALSE(is<txscope::TransactionTimeout>(failure));
    CHECK(attempts == 1);
}

TEST_CASE("the deadline ends a later attempt too, with TransactionTimeout", "[retry_limits]") {
    support::with_time_enough([](std::chrono::milliseconds limit) {
        support::ScopeFixture fixture;
        const TransactionScope scope{
            fixture.sessions,
            {.timeout = limit,
             .retry = {.max_attempts = 100, .initial_backoff = 1ms, .max_backoff = 1ms}}};
        int attempts = 0;
        const auto failure =
            fixture.run(failure_of(scope([&](Session& session) -> asio::awaitable<void> {
                ++attempts;
                co_await fixture.insert("one");
                if (attempts == 1) co_await session.execute(conflict_of(session));
                asio::steady_timer forever{co_await asio::this_coro::executor,
                                           asio::steady_timer::time_point::max()};
                co_await forever.async_wait(asio::use_awaitable);
            })));
        if (attempts < 2) return false;
        CHECK(is<txscope::TransactionTimeout>(failure));
        CHECK(attempts == 2);  // what the deadline ended was not tried again
        CHECK(fixture.names().empty());
        CHECK(fixture.in_transaction() == 0);
        return true;
    });
}

TEST_CASE("a joined scope with a retry policy of its own does not run again", "[retry_limits]") {
    support::ScopeFixture fixture;
    const TransactionScope retrying{fixture.sessions,
                                    {.retry = {.max_attempts = 5, .initial_backoff = 1ms}}};
    int outer_runs = 0;
    int inner_runs = 0;
    const auto failure = fixture.run(failure_of(fixture.scope([&]() -> asio::awaitable<void> {
        ++outer_runs;
        co_await fixture.insert("one");
        co_await retrying([&](Session& session) -> asio::awaitable<void> {
            ++inner_runs;
            CHECK(session.attempt() == 1);
            co_await session.execute(conflict_of(session));
        });
    })));
    CHECK(is<pqxx::transaction_rollback>(failure));
    CHECK(outer_runs == 1);
    CHECK(inner_runs == 1);
    CHECK(fixture.names().empty());
}

TEST_CASE("of all attempts only the last one's hooks run, whichever way it ends",
          "[retry_limits]") {
    support::ScopeFixture fixture;
    const TransactionScope retrying{fixture.sessions,
                                    {.retry = {.max_attempts = 3, .initial_backoff = 1ms}}};
    Names ran;
    const auto body = [&](Session& session, int failing) -> asio::awaitable<void> {
        const auto note = [&](Session& in, const std::string& scope) {
            const auto by = scope + std::to_string(in.attempt());
            in.before_commit([&ran, by] { ran.push_back("before commit: " + by); });
            in.after_commit([&ran, by] { ran.push_back("committed: " + by); });
            in.after_rollback([&ran, by] { ran.push_back("rolled back: " + by); });
        };
        note(session, "outer ");
        co_await fixture.nested([&](Session& inner) -> asio::awaitable<void> {
            note(inner, "nested ");
            co_await fixture.insert("one");
        });
        if (session.attempt() <= failing) co_await session.execute(conflict_of(session));
    };
    SECTION("committed") {
        fixture.run(retrying([&](Session& session) { return body(session, 2); }));
        CHECK(ran == Names{"before commit: outer 3", "before commit: nested 3",
                           "committed: outer 3", "committed: nested 3"});
        CHECK(fixture.names() == Names{"one"});
    }
    SECTION("or rolled back") {
        const auto failure =
            fixture.run(failure_of(retrying([&](Session& session) { return body(session, 3); })));
        CHECK(is<pqxx::transaction_rollback>(failure));
        CHECK(ran == Names{"rolled back: outer 3", "rolled back: nested 3"});
        CHECK(fixture.names().empty());
    }
}

TEST_CASE("an attempt that a before-commit hook's conflict ends is tried again", "[retry_limits]") {
    support::ScopeFixture fixture;
    const TransactionScope retrying{fixture.sessions,
                                    {.retry = {.max_attempts = 3, .initial_backoff = 1ms}}};
    fixture.run(retrying([&](Session& session) -> asio::awaitable<void> {
        session.before_commit([session]() mutable -> asio::awaitable<void> {
            if (session.attempt() < 3) co_await session.execute(conflict_of(session));
        });
        co_await fixture.insert("attempt " + std::to_string(session.attempt()));
    }));
    CHECK(fixture.names() == Names{"attempt 3"});
}

TEST_CASE("an observer is told the cause of every attempt, also of the last one",
          "[retry_limits]") {
    Causes causes;
    support::ScopeFixture fixture{{.observer = &causes}};
    const TransactionScope retrying{fixture.sessions,
                                    {.retry = {.max_attempts = 3, .initial_backoff = 1ms}}};
    const auto failure =
        fixture.run(failure_of(retrying([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(conflict_of(session));
        })));
    CHECK_THAT(text_of(failure), Catch::Matchers::ContainsSubstring("conflict 3"));
    CHECK(causes.told() == std::vector<std::string>{"rollback of attempt 1: conflict 1",
                                                    "retry of attempt 1: conflict 1",
                                                    "rollback of attempt 2: conflict 2",
                                                    "retry of attempt 2: conflict 2",
                                                    "rollback of attempt 3: conflict 3"});
}

}  // namespace retry_limits
