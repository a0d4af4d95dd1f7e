#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/sanitizers.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace large_transfers {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::failure_of;
using support::is;
using support::ScopeFixture;
using txscope::Session;
using txscope::TransactionScope;

constexpr std::size_t megabyte = 1 << 20;

std::string text_of_size(std::size_t size) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
    return text;
}

TEST_CASE("a result of many rows arrives whole", "[large_transfers]") {
    ScopeFixture fixture;
    const auto result = fixture.run(fixture.sessions.execute(
        "SELECT number, repeat('x', 1000) FROM generate_series(1, 30000) AS number"));
    REQUIRE(result.size() == 30000);
    std::int64_t sum = 0;
    std::size_t bytes = 0;
    for (const auto& [number, text] : result.rows<std::int64_t, std::string>()) {
        sum += number;
        bytes += text.size();
    }
    CHECK(sum == 30000LL * 30001 / 2);
    CHECK(bytes == 30'000'000);
}

TEST_CASE("a parameter and a value of tens of megabytes pass", "[large_transfers]") {
    ScopeFixture fixture;
    const std::string text = text_of_size(24 * megabyte);
    const auto size = fixture.run(fixture.sessions.execute("SELECT length($1::text)", text));
    CHECK(size.one().get<std::size_t>(0) == text.size());
    const auto echo = fixture.run(fixture.sessions.execute("SELECT $1::text", text));
    CHECK(echo.one().get<std::string>(0) == text);
}

TEST_CASE("thousands of enqueued statements go out and come to be", "[large_transfers]") {
    ScopeFixture fixture;
    const std::string filler = text_of_size(500);
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        for (int number = 0; number < 10000; ++number)
            session.enqueue("INSERT INTO entries (name) VALUES ($1)",
                            std::to_string(number) + filler);
        co_await session.flush();
    };
    SECTION("in a session scope") { fixture.run(fixture.sessions.session_scope(body)); }
    SECTION("in a transaction") { fixture.run(fixture.scope(body)); }
    CHECK(fixture.database.count("entries") == 10000);
    CHECK(fixture.sessions.statistics().round_trips <= 2);
}

// The server stops reading while nobody takes its answers: whoever only writes waits for ever.
TEST_CASE("both directions may be full at the same time", "[large_transfers]") {
    ScopeFixture fixture;
    const std::string filler = text_of_size(10'000);
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        for (int number = 0; number < 3000; ++number)
            session.enqueue("SELECT $1::text || $1::text", filler);
        const auto last = co_await session.execute("SELECT 'last'");
        CHECK(last.one().get<std::string>(0) == "last");
    };
    SECTION("in a session scope") { fixture.run(fixture.sessions.session_scope(body)); }
    SECTION("in a transaction") { fixture.run(fixture.scope(body)); }
    SECTION("with what is sent at the end") {
        const auto at_the_end = [&](Session& session) -> asio::awaitable<void> {
            for (int number = 0; number < 3000; ++number)
                session.enqueue("SELECT $1::text || $1::text", filler);
            co_return;
        };
        fixture.run(fixture.scope(at_the_end));
    }
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.sessions.statistics().opened == 1);
}

TEST_CASE("parallel statements may all be large", "[large_transfers]") {
    ScopeFixture fixture;
    const std::string text = text_of_size(6 * megabyte);
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const auto [a, b, c] = co_await (session.execute("SELECT $1::text AS a", text) &&
                                         session.execute("SELECT $1::text AS b", text) &&
                                         session.execute("SELECT $1::text AS c", text));
        CHECK(a.one().get<std::string>("a") == text);
        CHECK(b.one().get<std::string>("b") == text);
        CHECK(c.one().get<std::string>("c") == text);
    };
    SECTION("in a session scope") { fixture.run(fixture.sessions.session_scope(body)); }
    SECTION("in a transaction") { fixture.run(fixture.scope(body)); }
}

TEST_CASE("connections with large transfers do not hold up one another", "[large_transfers]") {
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(8));  // as many as the pool has
    const std::string text = text_of_size(2 * megabyte);
    std::size_t done = 0;
    const auto echo = [&]() -> asio::awaitable<void> {
        const auto result = co_await fixture.sessions.execute("SELECT $1::text", text);
        CHECK(result.one().get<std::string>(0) == text);
        ++done;
    };
    for (int i = 0; i < 12; ++i) asio::co_spawn(fixture.io, echo(), asio::detached);
    support::run_until(fixture.io, [&] { return done == 12; });
    CHECK(fixture.sessions.statistics().opened == 8);
}

TEST_CASE("a failure in the middle of a large batch leaves a connection that works",
          "[large_transfers]") {
    ScopeFixture fixture;
    const std::string filler = text_of_size(2000);
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        for (int number = 0; number < 5000; ++number) {
            if (number == 2500) session.enqueue("SELECT 1 / 0");
            session.enqueue("INSERT INTO entries (name) VALUES ($1)",
                            std::to_string(number) + filler);
        }
        co_await session.flush();
    };
    CHECK(is<txscope::SqlError>(fixture.run(failure_of(fixture.sessions.session_scope(body)))));
    CHECK(is<txscope::SqlError>(fixture.run(failure_of(fixture.scope(body)))));
    CHECK(fixture.database.count("entries") == 0);
    fixture.run(fixture.sessions.execute("SELECT 1"));
    CHECK(fixture.sessions.statistics().opened == 1);
}

/// A transfer that is held up half-way: the other end takes, or gives, no more.
struct HeldTransfer {
    enum class Stage {
        sending,
        receiving
    };

    explicit HeldTransfer(Stage stage) {
        support::run(io, sessions.warm_up(1));
        if (stage == Stage::sending)  // far more is left than fits into the sockets' buffers
            proxy.stall(support::before_message(support::Direction::to_server, 20));
        else
            proxy.stall(support::after_bytes(support::Direction::to_client, 8 * megabyte));
    }

    asio::awaitable<void> transfer() {
        const TransactionScope scope{sessions};
        const auto body = [&](Session& session) -> asio::awaitable<void> {
            const std::string text = text_of_size(megabyte);
            for (int number = 0; number < 32; ++number)
                session.enqueue("INSERT INTO entries VALUES ($1)", text);
            co_await session.execute("SELECT string_agg(name, '') FROM entries");
            returned = true;
        };
        co_await scope(body);
    }

    void run_until_held() {
        support::run_until(io, [&] {
            const auto counts = proxy.counts();
            return counts.struck == counts.armed;
        });
    }

    const support::Database database{"CREATE TABLE entries (name text)"};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                                support::observed({.max_size = 1})};
    bool returned = false;
};

TEST_CASE("a large transfer that is cancelled half-way leaves a pool that works",
          "[large_transfers]") {
    const auto stage = GENERATE(HeldTransfer::Stage::sending, HeldTransfer::Stage::receiving);
    HeldTransfer held{stage};
    support::Started work{held.io, held.transfer()};
    held.run_until_held();
    CHECK_FALSE(held.returned);
    work.cancel();
    support::run_until(held.io, [&] { return held.proxy.cancel_requests() == 1; });
    CHECK_FALSE(work.done());
    held.proxy.resume();
    support::run_until(held.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(held.database.count("entries") == 0);
    support::run(held.io, held.sessions.execute("SELECT 1"));
    CHECK(held.sessions.statistics().opened == 1);
    CHECK(held.sessions.statistics().waiting == 0);
}

TEST_CASE("a context destroyed in the middle of a large transfer leaks nothing",
          "[large_transfers]") {
    const auto stage = GENERATE(HeldTransfer::Stage::sending, HeldTransfer::Stage::receiving);
    HeldTransfer held{stage};
    asio::co_spawn(held.io, held.transfer(), asio::detached);
    held.run_until_held();
    CHECK_FALSE(held.returned);
}

// UBSan, which runs along with ASan, needs a descriptor itself.
#ifndef TXSCOPE_TESTS_ADDRESS_SANITIZER
/// As long as it lives, this process opens no more files and sockets.
class NoDescriptors {
public:
    /// @param left so many it may still open
    explicit NoDescriptors(int left = 0) {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const int next = ::dup(0);
        ::close(next);
        rlimit few = before_;
        few.rlim_cur = static_cast<rlim_t>(next + left);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    }
    NoDescriptors(const NoDescriptors&) = delete;
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

// It takes a descriptor to wait until a socket takes more, and to ask for a cancellation.
TEST_CASE("without a descriptor to wait with none is executed behind its caller's back",
          "[large_transfers]") {
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(1));
    support::Client blocker{fixture.database.dsn()};
    blocker.query("SELECT pg_advisory_lock(1)");
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) VALUES ('first')");
        const std::string text = text_of_size(16 * megabyte);
        session.enqueue("SELECT pg_advisory_xact_lock(1)");  // meanwhile the server reads nothing
        std::exception_ptr failure;
        {
            const NoDescriptors none;
            failure = co_await failure_of(
                session.execute("INSERT INTO entries (name) VALUES (left($1, 9))", text));
        }
        CHECK(is<txscope::ConnectionLost>(failure));
    };
    CHECK(is<txscope::UnexpectedRollback>(fixture.run(failure_of(fixture.scope(body)))));
    blocker.query("SELECT pg_advisory_unlock(1)");
    CHECK(fixture.names().empty());
    fixture.run(fixture.sessions.execute("SELECT 1"));
}

TEST_CASE("without a descriptor to cancel with none is executed behind its caller's back",
          "[large_transfers]") {
    const int left = GENERATE(0, 1, 2, 3);  // a request to cancel takes several
    ScopeFixture fixture;
    fixture.run(fixture.sessions.warm_up(1));
    bool executed = false;
    const auto insert = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO entries (name) SELECT 'slow' FROM pg_sleep(0.5)");
        executed = true;
    };
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
        asio::steady_timer timer{fixture.io, std::chrono::milliseconds{50}};
        const NoDescriptors none{left};
        co_await (insert(session) || timer.async_wait(asio::use_awaitable));
    };
    const auto failure = fixture.run(failure_of(fixture.scope(body)));
    CAPTURE(left, support::text_of(failure));
    CHECK(executed == !failure);
    CHECK(executed == !fixture.names().empty());
    fixture.run(fixture.sessions.execute("SELECT 1"));
}
#endif

}  // namespace large_transfers
