#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/repository/read_scope.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/transaction.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <optional>
#include <string_view>
#include <vector>

namespace bound_repository {

namespace asio = boost::asio;
using support::Job;
using support::Jobs;
using txscope::field;
using txscope::for_update;
using txscope::Propagation;
using txscope::Session;
using txscope::Transaction;
using txscope::TransactionScope;

class JobReader : public txscope::ReadRepository<JobReader, Job> {
public:
    static constexpr std::string_view table = "jobs";
    using ReadRepository::ReadRepository;
};

struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }

    support::Database database{support::jobs_table};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    Jobs jobs{sessions};
    TransactionScope scope{sessions};
    TransactionScope apart{sessions, {.propagation = Propagation::requires_new}};
    TransactionScope nested{sessions, {.propagation = Propagation::nested}};
};

constexpr auto name = field<&Job::name>;

TEST_CASE("a repository that is bound to a transaction writes there, whatever is ambient",
          "[repository]") {
    Fixture f;
    const auto outer = [&](Transaction& transaction) -> asio::awaitable<void> {
        const Jobs bound{transaction};
        const auto inner = [&](Transaction& other) -> asio::awaitable<void> {
            co_await bound.create(name = "of the outer one");
            bound.add(name = "behind");
            co_await f.jobs.create(name = "of the inner one");
            other.set_rollback_only();
        };
        co_await f.apart(inner);
        const auto locked = co_await bound.find_all(for_update);
        CHECK(locked.size() == 2);
    };
    f.run(f.scope(outer));
    CHECK(f.run(f.jobs.count()) == 2);
    CHECK_FALSE(f.run(f.jobs.exists(name == "of the inner one")));
}

TEST_CASE("a repository that is bound writes within the savepoint that is open", "[repository]") {
    Fixture f;
    const auto outer = [&](Transaction& transaction) -> asio::awaitable<void> {
        const Jobs bound{transaction};
        co_await bound.create(name = "kept");
        const auto inner = [&](Transaction& savepoint) -> asio::awaitable<void> {
            co_await bound.create(name = "gone");
            savepoint.set_rollback_only();
        };
        co_await f.nested(inner);
    };
    f.run(f.scope(outer));
    CHECK(f.run(f.jobs.get(name == "kept")).id == 1);
    CHECK(f.run(f.jobs.count()) == 1);
}

TEST_CASE("a repository is bound to a session without a transaction", "[repository]") {
    Fixture f;
    const auto body = [&](Session& session) -> asio::awaitable<std::string> {
        co_await session.execute("SET search_path = 'elsewhere', public");
        const Jobs bound{session};
        co_await bound.create(name = "one");
        const auto rows = co_await JobReader{session}.find_all();
        REQUIRE(rows.size() == 1);
        co_return rows[0].name;
    };
    CHECK(f.run(f.sessions.session_scope(body)) == "one");
}

TEST_CASE("a repository that is bound ends with its session", "[repository]") {
    Fixture f;
    std::optional<Jobs> kept;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        kept.emplace(session);
        co_await kept->create(name = "one");
    };
    f.run(f.scope(body));
    CHECK_THROWS_AS(f.run(kept->count()), txscope::ScopeEnded);
    CHECK_THROWS_AS(kept->add(name = "two"), txscope::ScopeEnded);
    kept.reset();
    CHECK(f.run(f.jobs.count()) == 1);
}

TEST_CASE("a repository is bound to the session of a ReadScope, which writes nothing",
          "[repository]") {
    Fixture f;
    const txscope::ReadScope<JobReader> reading{f.sessions};
    const auto body = [&](const JobReader&) -> asio::awaitable<void> {
        auto session = co_await txscope::current_session(f.sessions);
        const auto count = co_await JobReader{session}.count();
        CHECK(count == 0);
        co_await Jobs{session}.create(name = "one");
    };
    CHECK_THROWS_AS(f.run(reading(body)), txscope::SqlError);
}

}  // namespace bound_repository
