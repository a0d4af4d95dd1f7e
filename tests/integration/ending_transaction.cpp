#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/gate.hpp"
#include "support/scope_fixture.hpp"
#include "support/started.hpp"
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/service_coordinator.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>

// Between the return of a body and the answer to COMMIT a transaction is neither open nor over.

namespace ending_transaction {

namespace asio = boost::asio;
using support::failure_of;
using support::is;
using txscope::field;
using txscope::Propagation;
using txscope::ScopeEnded;
using txscope::TransactionScope;
using Names = support::ScopeFixture::Names;

struct Entry {
    std::int64_t id{};
    std::string name{};
};
BOOST_DESCRIBE_STRUCT(Entry, (), (id, name))

class EntryRepository : public txscope::BaseRepository<EntryRepository, Entry> {
public:
    static constexpr std::string_view table = "entries";
    using BaseRepository::BaseRepository;
};

class EntryService : public txscope::ServiceCoordinator<EntryRepository> {
public:
    using ServiceCoordinator::ServiceCoordinator;

    asio::awaitable<void> add(std::string name) {
        co_await transact([&](EntryRepository& entries) -> asio::awaitable<void> {
            co_await entries.create(field<&Entry::name> = name);
        });
    }
};

/// A scope whose COMMIT is held up, and a task that it has left behind.
struct Fixture : support::ScopeFixture {
    using Task = std::function<asio::awaitable<void>()>;

    /// What `task` ends by, which is let go once COMMIT is under way.
    std::exception_ptr failure_during_commit(Task task) {
        proxy.stall(support::before_statement("COMMIT"));
        std::exception_ptr failure;
        bool ended = false;
        const auto left_over = [&]() -> asio::awaitable<void> {
            co_await gate.wait();
            failure = co_await failure_of(task());
            ended = true;
        };
        support::Started work{io, behind_proxy([&]() -> asio::awaitable<void> {
                                  co_await entries.create(field<&Entry::name> = "by the body");
                                  asio::co_spawn(co_await asio::this_coro::executor, left_over(),
                                                 asio::detached);
                              })};
        support::run_until(io, [&] { return proxy.counts().struck == 1; });
        gate.open();
        support::run_until(io, [&] { return ended; });
        CHECK_FALSE(work.done());  // it was COMMIT's time
        proxy.resume();
        support::run_until(io, [&] { return work.done(); });
        CHECK(work.failure() == nullptr);
        return failure;
    }

    support::FaultProxy proxy{support::server()};
    txscope::AsyncSessionFactory proxied{io, proxy.dsn(database.name()), support::observed()};
    const TransactionScope behind_proxy{proxied};
    EntryRepository entries{proxied};
    EntryService service{proxied};
    support::Gate gate{io};
};

TEST_CASE(
    "what a task does that is left over while COMMIT is under way is neither part of the "
    "transaction nor one of its own",
    "[ending_transaction]") {
    Fixture fixture;
    Fixture::Task task;
    bool entered = false;
    const auto open = [&](const TransactionScope& scope) {
        return scope([&]() -> asio::awaitable<void> {
            entered = true;
            co_await fixture.entries.create(field<&Entry::name> = "by the task");
        });
    };
    SECTION("a repository's call") {
        task = [&]() -> asio::awaitable<void> {
            co_await fixture.entries.create(field<&Entry::name> = "by the task");
        };
    }
    SECTION("what a repository writes behind") {
        task = [&]() -> asio::awaitable<void> {
            fixture.entries.add(field<&Entry::name> = "by the task");
            co_return;
        };
    }
    SECTION("a service's transaction") {
        task = [&] { return fixture.service.add("by the task"); };
    }
    SECTION("a scope") {
        task = [&] { return open(fixture.behind_proxy); };
    }
    SECTION("a nested scope") {
        task = [&]() -> asio::awaitable<void> {
            const TransactionScope nested{fixture.proxied, {.propagation = Propagation::nested}};
            co_await open(nested);
        };
    }
    SECTION("a scope that supports a transaction") {
        task = [&]() -> asio::awaitable<void> {
            const TransactionScope supporting{fixture.proxied,
                                              {.propagation = Propagation::supports}};
            co_await open(supporting);
        };
    }
    CHECK(is<ScopeEnded>(fixture.failure_during_commit(task)));
    CHECK_FALSE(entered);
    CHECK(fixture.names() == Names{"by the body"});
    CHECK(fixture.proxy.connections() == 1);
}

}  // namespace ending_transaction
