#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/run.hpp"
#include "support/started.hpp"
#include "support/time_enough.hpp"
#include <txscope/postgres/conninfo.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/connection_hooks.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/transaction/ambient.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace connection_hooks {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using support::cause_of;
using support::failure_of;
using support::is;
using support::Started;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::Session;
using txscope::TransactionScope;

/// Does what the test says, by default nothing.
template <typename Base>
struct Recorded : Base {
    asio::awaitable<std::string> before_connect(std::string conninfo) override {
        ++connects;
        if (!connecting) co_return conninfo;
        co_return co_await connecting(std::move(conninfo));
    }
    asio::awaitable<void> after_connect(Session& session) override {
        ++connected;
        if (setting_up) co_await setting_up(session);
    }

    std::function<asio::awaitable<std::string>(std::string)> connecting{};
    std::function<asio::awaitable<void>(Session&)> setting_up{};
    std::atomic<int> connects = 0;
    std::atomic<int> connected = 0;
};
using Hooks = Recorded<txscope::ConnectionHooks>;

struct Loans : Recorded<txscope::LoanHooks> {
    asio::awaitable<bool> before_lend(Session& session) override {
        ++lends;
        if (lending) co_return co_await lending(session);
        co_return true;
    }
    asio::awaitable<bool> after_return(Session& session) override {
        ++returns;
        if (returning) co_return co_await returning(session);
        co_return true;
    }

    std::function<asio::awaitable<bool>(Session&)> lending{};
    std::function<asio::awaitable<bool>(Session&)> returning{};
    std::atomic<int> lends = 0;
    std::atomic<int> returns = 0;
};

asio::awaitable<void> for_ever() {
    asio::steady_timer timer{co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max()};
    co_await timer.async_wait(asio::use_awaitable);
}

template <typename Hooks>
struct Fixture {
    explicit Fixture(txscope::PoolOptions options = {}) {
        options.hooks = &hooks;
        sessions.emplace(io, database.dsn(), support::observed(options));
    }
    template <typename Work>
    auto run(Work work, support::RunOptions options = {}) {
        return support::run(io, std::move(work), options);
    }
    asio::awaitable<std::string> ask(std::string sql) {
        const auto answer = co_await sessions->execute(sql);
        const txscope::Row row = answer.one();
        co_return row.template get<std::string>(0);
    }
    std::string asked(const std::string& sql) { return run(ask(sql)); }
    void execute(const std::string& sql) { run(sessions->execute(sql)); }

    const support::Database database{};
    Hooks hooks{};
    asio::io_context io{};
    std::optional<AsyncSessionFactory> sessions{};
};

TEST_CASE("a password that rotates is asked for ahead of each opening", "[connection_hooks]") {
    const txscope::TemporaryPostgres server{{.password = "first"}};
    const std::string base = "host=" + server.socket_directory().string() +
                             " port=" + std::to_string(server.port()) +
                             " user=postgres dbname=postgres";
    std::string password = "first";
    Hooks hooks;
    hooks.connecting = [&](std::string conninfo) -> asio::awaitable<std::string> {
        co_return txscope::with_parameter(conninfo, "password", password);
    };
    asio::io_context io;
    const AsyncSessionFactory sessions{io, base, {.max_size = 2, .hooks = &hooks}};
    support::run(io, sessions.execute("SELECT 1"));
    password = R"(it's a "second" \ 100% = x' options='-cgeqo=off)";
    support::run(io, sessions.execute("ALTER ROLE postgres PASSWORD $p$" + password + "$p$"));
    sessions.recycle();
    support::run(io, sessions.execute("SELECT 1"));
    CHECK(hooks.connects == 2);

    password = "wrong";
    sessions.recycle();
    const auto failure = support::run(io, failure_of(sessions.ready()));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("28P01") && !ContainsSubstring("wrong"));
    support::run(io, sessions.close());
}

TEST_CASE("what after_connect sets every borrower finds, also after one that has changed it",
          "[connection_hooks]") {
    Fixture<Hooks> fixture{{.max_size = 1}};
    fixture.database.query(
        "CREATE ROLE hooked; CREATE SCHEMA mine; GRANT USAGE ON SCHEMA mine TO hooked");
    fixture.hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
        session.enqueue("SET search_path = mine, pg_catalog");
        co_await session.execute("SET ROLE hooked");
    };
    const std::string look = "SELECT current_setting('search_path') || ' ' || current_user";
    const std::string set_up = "mine, pg_catalog hooked";
    CHECK(fixture.asked(look) == set_up);
    CHECK(fixture.asked(look) == set_up);
    CHECK(fixture.hooks.connected == 1);
    const auto clean = fixture.sessions->statistics();

    SECTION("by SET") { fixture.execute("SET search_path = public"); }
    SECTION("by RESET ALL") { fixture.execute("RESET ALL"); }
    SECTION("by DISCARD ALL") { fixture.execute("DISCARD ALL"); }
    SECTION("in the middle of something") {
        Started work{fixture.io,
                     fixture.sessions->session_scope([](Session& session) -> asio::awaitable<void> {
                         session.enqueue("SET ROLE postgres");
                         co_await session.execute("SELECT pg_sleep(1000)");
                     })};
        support::run_until(fixture.io, [&] { return fixture.sessions->statistics().idle == 0; });
        work.cancel();
        support::run_until(fixture.io, [&] { return work.done(); });
    }
    CHECK(fixture.asked(look) == set_up);
    CHECK(fixture.hooks.connected == 2);
    CHECK(fixture.sessions->statistics().opened == 1);
    CHECK(fixture.sessions->statistics().discarded == 0);
    CHECK(clean.round_trips == 2);  // the hook's are no loan's
    fixture.run(fixture.sessions->close());
    fixture.database.query("DROP OWNED BY hooked; DROP ROLE hooked");
}

TEST_CASE("what a hook throws is nested in the opening's error", "[connection_hooks]") {
    struct Unavailable : std::runtime_error {
        using std::runtime_error::runtime_error;
    };
    Fixture<Hooks> fixture{{.acquire_timeout = 5min}};
    bool available = false;
    const auto fail = [&] {
        if (!available) throw Unavailable{"the vault is sealed"};
    };
    SECTION("of before_connect") {
        fixture.hooks.connecting = [&](std::string conninfo) -> asio::awaitable<std::string> {
            fail();
            co_return conninfo;
        };
    }
    SECTION("of after_connect") {
        fixture.hooks.setting_up = [&](Session&) -> asio::awaitable<void> {
            fail();
            co_return;
        };
    }
    const auto failure = fixture.run(failure_of(fixture.sessions->ready()));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK(is<Unavailable>(cause_of(failure)));
    CHECK_THAT(text_of(failure), ContainsSubstring("_connect failed: the vault is sealed"));

    // It may pass: who waits is served then.
    const Started work{
        fixture.io, fixture.sessions->session_scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
        })};
    support::run_until(fixture.io,
                       [&] { return fixture.sessions->statistics().failed_openings > 1; });
    CHECK_FALSE(work.done());
    available = true;
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK_FALSE(work.failure());
}

TEST_CASE("a statement of after_connect that the server refuses stays refused",
          "[connection_hooks]") {
    Fixture<Hooks> fixture;
    fixture.hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SET ROLE nobody_has_this_name");
    };
    const auto failure = fixture.run(failure_of(fixture.sessions->execute("SELECT 1")));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK(is<txscope::SqlError>(cause_of(failure)));  // also where it was handed to a waiter
}

TEST_CASE("a hook that does not return is ended with the opening's time", "[connection_hooks]") {
    Fixture<Hooks> fixture{{.opening_timeout = 200ms}};
    SECTION("before_connect") {
        fixture.hooks.connecting = [](std::string conninfo) -> asio::awaitable<std::string> {
            co_await for_ever();
            co_return conninfo;
        };
    }
    SECTION("after_connect") {
        fixture.hooks.setting_up = [](Session&) -> asio::awaitable<void> { co_await for_ever(); };
    }
    SECTION("a statement of after_connect") {
        fixture.hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT pg_sleep(1000)");
        };
    }
    const auto failure = fixture.run(failure_of(fixture.sessions->ready()));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("within the time allowed"));
}

TEST_CASE("a hook is cancelled when the factory is closed", "[connection_hooks]") {
    Fixture<Hooks> fixture;
    bool cancelled = false;
    const auto wait = [&]() -> asio::awaitable<void> {
        const auto failure = co_await failure_of(for_ever());
        cancelled = support::is_abort(failure);
        if (failure) std::rethrow_exception(failure);
    };
    std::atomic<int>* begun = nullptr;
    SECTION("before_connect") {
        begun = &fixture.hooks.connects;
        fixture.hooks.connecting = [&](std::string conninfo) -> asio::awaitable<std::string> {
            co_await wait();
            co_return conninfo;
        };
    }
    SECTION("after_connect") {
        begun = &fixture.hooks.connected;
        fixture.hooks.setting_up = [&](Session&) -> asio::awaitable<void> { co_await wait(); };
    }
    const Started work{fixture.io, fixture.sessions->ready()};
    support::run_until(fixture.io, [&] { return *begun == 1; });
    fixture.run(fixture.sessions->close());
    CHECK(cancelled);
    support::run_until(fixture.io, [&] { return work.done(); });
    CHECK(is<txscope::PoolClosed>(work.failure()));
}

TEST_CASE("a factory that goes while a hook runs leaves nothing behind", "[connection_hooks]") {
    Fixture<Hooks> fixture{{.opening_timeout = 200ms, .min_idle = 2}};
    std::atomic<int>* begun = nullptr;
    SECTION("before_connect") {
        begun = &fixture.hooks.connects;
        fixture.hooks.connecting = [](std::string conninfo) -> asio::awaitable<std::string> {
            co_await for_ever();
            co_return conninfo;
        };
    }
    SECTION("after_connect") {
        begun = &fixture.hooks.connected;
        fixture.hooks.setting_up = [](Session&) -> asio::awaitable<void> { co_await for_ever(); };
    }
    SECTION("a statement of after_connect") {
        begun = &fixture.hooks.connected;
        fixture.hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT pg_sleep(1000)");
        };
    }
    support::run_until(fixture.io, [&] { return *begun == 2; });
    fixture.sessions.reset();
    const support::Watchdog watchdog{"an io_context whose factory is gone"};
    fixture.io.restart();
    fixture.io.run();
}

TEST_CASE("a context that goes while a hook runs takes it along", "[connection_hooks]") {
    const support::Database database;
    Hooks hooks;
    std::optional<AsyncSessionFactory> sessions;
    {
        asio::io_context io;
        sessions.emplace(io, database.dsn(), txscope::PoolOptions{.min_idle = 1, .hooks = &hooks});
        hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1");
            co_await for_ever();
        };
        support::run_until(io, [&] { return hooks.connected == 1; });
        sessions.reset();
    }
    CHECK(hooks.connected == 1);
}

TEST_CASE("twenty scopes wait for two connections whose hooks take their time",
          "[connection_hooks]") {
    Fixture<Loans> fixture{{.max_size = 2, .acquire_timeout = 5min}};
    const auto takes_time = [](Session& session) -> asio::awaitable<bool> {
        co_await session.execute("SELECT pg_sleep(0.001)");
        co_return true;
    };
    fixture.hooks.setting_up = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SET search_path = pg_catalog");
    };
    fixture.hooks.lending = takes_time;
    fixture.hooks.returning = takes_time;
    std::atomic<int> served = 0;
    const TransactionScope scope{*fixture.sessions};
    const auto work = [&](int number) -> asio::awaitable<void> {
        co_await scope([&](Session& session) -> asio::awaitable<void> {
            const auto path = co_await session.execute("SELECT current_setting('search_path')");
            if (number % 4 == 0) co_await session.execute("SET search_path = public");
            if (path.one().get<std::string>(0) == "pg_catalog") ++served;
        });
    };
    for (int number = 0; number < 20; ++number)
        asio::co_spawn(fixture.io, work(number), [](const std::exception_ptr&) {});
    const auto all_served = [&]() -> asio::awaitable<void> {
        co_await support::eventually([&] { return served == 20; });
    };
    fixture.run(all_served(), {.threads = 2});
    CHECK(fixture.hooks.lends >= 20);
    fixture.run(fixture.sessions->close());
    CHECK(fixture.hooks.returns >= 18);  // but for those that come back to a closed pool
    CHECK(fixture.sessions->statistics().discarded == 0);
}

TEST_CASE("a connection that before_lend refuses is closed, and the next one taken",
          "[connection_hooks]") {
    Fixture<Loans> fixture{{.max_size = 2}};
    fixture.run(fixture.sessions->warm_up(2));
    int refusals = 1;
    const auto refuse_once = [&](Session& session) -> asio::awaitable<bool> {
        co_await session.execute("SELECT 1");
        const bool refuses = refusals-- > 0;
        co_return !refuses;
    };
    const auto refuse_by_throwing = [&](Session& session) -> asio::awaitable<bool> {
        const bool fit = co_await refuse_once(session);
        if (!fit) throw std::runtime_error{"not this one"};
        co_return true;
    };
    SECTION("by its answer") { fixture.hooks.lending = refuse_once; }
    SECTION("by throwing") { fixture.hooks.lending = refuse_by_throwing; }
    SECTION("by changing it") {
        fixture.hooks.lending = [&](Session& session) -> asio::awaitable<bool> {
            if (refusals-- > 0) co_await session.execute("SET search_path = public");
            co_return true;
        };
    }
    CHECK(fixture.asked("SELECT 'served'") == "served");
    CHECK(fixture.sessions->statistics().retired == 1);
    CHECK(fixture.sessions->statistics().discarded == 0);
}

TEST_CASE("where before_lend refuses every connection, who waits is told", "[connection_hooks]") {
    Fixture<Loans> fixture;
    fixture.hooks.lending = [](Session&) -> asio::awaitable<bool> { co_return false; };
    const auto failure = fixture.run(failure_of(fixture.sessions->ready()));
    CHECK(is<txscope::ConnectionFailed>(failure));
    CHECK_THAT(text_of(failure), ContainsSubstring("before_lend"));
}

TEST_CASE("no borrower gets a connection whose session before_lend has changed",
          "[connection_hooks]") {
    const std::string change = GENERATE("SET app.before = 'changed'", "SELECT pg_advisory_lock(7)");
    CAPTURE(change);
    Fixture<Loans> fixture{{.max_size = 1}};
    const std::string ask =
        "SELECT coalesce(current_setting('app.before', true), '') || pg_backend_pid()";
    const std::string pid = fixture.asked(ask);
    bool changes = true;
    fixture.hooks.lending = [&](Session& session) -> asio::awaitable<bool> {
        if (changes) co_await session.execute(change);
        co_return true;
    };
    support::with_time_enough([&](std::chrono::milliseconds limit) {
        fixture.sessions->reconfigure({.max_size = 1, .acquire_timeout = limit});
        const auto refused =
            failure_of([&] { fixture.asked(ask); });  // the idle one, then new ones
        CHECK(is<txscope::AcquireTimeout>(refused));
        const auto cause = cause_of(refused);
        if (!cause) return false;
        CHECK_THAT(text_of(cause), ContainsSubstring("before_lend changed the session"));
        return true;
    });
    changes = false;
    fixture.sessions->reconfigure({.max_size = 1});
    const std::string another = fixture.asked(ask);
    CHECK(another != pid);
    CHECK(another.find_first_not_of("0123456789") == std::string::npos);
}

TEST_CASE("a connection that after_return refuses is not kept", "[connection_hooks]") {
    Fixture<Loans> fixture{{.max_size = 1}};
    fixture.hooks.returning = [](Session&) -> asio::awaitable<bool> { co_return false; };
    fixture.execute("SELECT 1");
    fixture.execute("SELECT 2");
    CHECK(fixture.sessions->statistics().opened == 2);
    CHECK(fixture.hooks.lends == 2);
}

TEST_CASE("who listens has before_connect called, and nothing else", "[connection_hooks]") {
    Fixture<Hooks> fixture;
    bool told = false;
    Started work{fixture.io, fixture.sessions->listen(
                                 "news", [&](const txscope::Notification&) { told = true; })};
    support::run_until(fixture.io, [&] { return told; });
    CHECK(fixture.hooks.connects == 1);
    CHECK(fixture.hooks.connected == 0);
    work.cancel();
    support::run_until(fixture.io, [&] { return work.done(); });
}

TEST_CASE("who looks up a COMMIT has before_connect called, and nothing else",
          "[connection_hooks]") {
    const support::Database database{"CREATE TABLE entries (name text)"};
    support::FaultProxy proxy{support::server()};
    Loans hooks;
    asio::io_context io;
    const AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                       support::observed({.max_size = 1, .hooks = &hooks})};
    proxy.cut(support::before_answer("COMMIT"));
    const TransactionScope scope{sessions, {.verify_commit = true}};
    support::run(io, scope([&](Session& session) -> asio::awaitable<void> {
                     co_await session.execute("INSERT INTO entries VALUES ('lost and found')");
                 }));
    CHECK(database.query("SELECT name FROM entries").value() == "lost and found");
    CHECK(hooks.connects == 2);
    CHECK(hooks.connected == 1);
    CHECK(hooks.lends == 1);
}

TEST_CASE("hooks are called for replicas, too, with their connection strings",
          "[connection_hooks]") {
    const support::Database database;
    const support::Database other;
    Hooks hooks;
    std::set<std::string> asked;
    hooks.connecting = [&](std::string conninfo) -> asio::awaitable<std::string> {
        asked.insert(conninfo);
        co_return conninfo;
    };
    asio::io_context io;
    const AsyncSessionFactory sessions{
        io, txscope::Servers{.primary = database.dsn(), .replicas = {other.dsn()}},
        support::observed({.min_idle = 1, .hooks = &hooks})};
    support::run_until(io, [&] { return sessions.statistics().idle == 2; });
    CHECK(asked == std::set{database.dsn(), other.dsn()});
    CHECK(hooks.connected == 2);
    support::run(io, sessions.close());
}

TEST_CASE("what is ambient in after_connect is the hook's session", "[connection_hooks]") {
    Fixture<Hooks> fixture{{.max_size = 1}};
    bool found = false;
    fixture.hooks.setting_up = [&](Session&) -> asio::awaitable<void> {
        const auto ambient = co_await txscope::ambient_session(*fixture.sessions);
        found = ambient.has_value();
    };
    fixture.execute("SELECT 1");
    CHECK(found);
}

}  // namespace connection_hooks
