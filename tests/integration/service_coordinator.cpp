#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/service_coordinator.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace service_coordinator {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using txscope::AccessMode;
using txscope::field;
using txscope::Session;

constexpr auto schema = R"(
    CREATE TABLE projects (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        status text NOT NULL DEFAULT 'draft');
    CREATE TABLE workflows (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        project_id bigint NOT NULL REFERENCES projects,
        name text CONSTRAINT a_workflow_has_a_name NOT NULL))";

struct Project {
    std::int64_t id{};
    std::string name{};
    std::string status{"draft"};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status))

struct Workflow {
    std::int64_t id{};
    std::int64_t project_id{};
    std::optional<std::string> name{};
};
BOOST_DESCRIBE_STRUCT(Workflow, (), (id, project_id, name))

class ProjectRepository : public txscope::BaseRepository<ProjectRepository, Project> {
public:
    static constexpr std::string_view table = "projects";
    static constexpr auto generated = txscope::columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

class WorkflowRepository : public txscope::BaseRepository<WorkflowRepository, Workflow> {
public:
    static constexpr std::string_view table = "workflows";
    static constexpr auto generated = txscope::columns<&Workflow::id>;
    using BaseRepository::BaseRepository;
};

class ProjectService : public txscope::ServiceCoordinator<ProjectRepository, WorkflowRepository> {
public:
    using ServiceCoordinator::ServiceCoordinator;

    asio::awaitable<Project> create_project_with_workflows(Project project,
                                                           std::vector<Workflow> workflows) {
        co_return co_await transact([&](ProjectRepository& projects,
                                        WorkflowRepository& flows) -> asio::awaitable<Project> {
            Project created = co_await projects.create(project);
            for (Workflow& flow : workflows) {
                flow.project_id = created.id;
                flows.add(flow);
            }
            co_return created;
        });
    }
};

/// A service that uses another one.
class ImportService : public txscope::ServiceCoordinator<ProjectRepository> {
public:
    explicit ImportService(txscope::AsyncSessionFactory sessions)
        : ServiceCoordinator{sessions}, projects_{sessions} {}

    asio::awaitable<void> import(std::vector<Project> all, std::vector<Workflow> flows) {
        co_await transact([&](ProjectRepository&) -> asio::awaitable<void> {
            for (const Project& each : all)
                co_await projects_.create_project_with_workflows(each, flows);
        });
    }

private:
    ProjectService projects_;
};

Project project(std::string name) {
    Project made;
    made.name = std::move(name);
    return made;
}

std::vector<Workflow> workflows(std::size_t count) {
    std::vector<Workflow> made(count);
    for (std::size_t i = 0; i < count; ++i) made[i].name = "workflow " + std::to_string(i);
    return made;
}

struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }
    bool empty() const { return database.count("projects") + database.count("workflows") == 0; }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    ProjectService service{sessions};
};

TEST_CASE("a project and its workflows are committed together", "[service_coordinator]") {
    Fixture f;
    const Project created =
        f.run(f.service.create_project_with_workflows(project("txscope"), workflows(10)));
    CHECK(created.name == "txscope");
    CHECK(f.database
              .query("SELECT count(*) FROM workflows WHERE project_id = " +
                     std::to_string(created.id))
              .number() == 10);
}

TEST_CASE("a project with ten workflows takes two round trips: its own, and the commit's",
          "[service_coordinator]") {
    const support::Database database{schema};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                                support::observed()};
    support::run(io, sessions.warm_up(1));  // opening a connection takes round trips of its own
    ProjectService service{sessions};
    for (const char* name : {"first", "again, when all is prepared"}) {
        CAPTURE(name);
        proxy.reset_counts();
        support::run(io, service.create_project_with_workflows(project(name), workflows(10)));
        CHECK(proxy.round_trips() == 2);
        const std::vector<std::string> statements = proxy.statements();
        REQUIRE(statements.size() == 13);
        CHECK(statements.front().starts_with("BEGIN"));
        CHECK(statements.back() == "COMMIT");
    }
    CHECK(database.count("workflows") == 20);
}

TEST_CASE("a workflow that violates NOT NULL leaves nothing of its project behind",
          "[service_coordinator]") {
    Fixture f;
    std::vector<Workflow> flows = workflows(10);
    flows[7].name.reset();
    const auto create = [&] {
        return f.service.create_project_with_workflows(project("txscope"), flows);
    };
    CHECK_THROWS_AS(f.run(create()), pqxx::not_null_violation);
    CHECK_THROWS_AS(f.run(create()), txscope::SqlError);
    CHECK_THROWS_AS(f.run(create()), pqxx::integrity_constraint_violation);
    CHECK(f.empty());
    f.run(f.service.create_project_with_workflows(project("txscope"), workflows(1)));
    CHECK(f.database.count("workflows") == 1);
}

TEST_CASE("a caller can wrap the database's error in one of its own", "[service_coordinator]") {
    Fixture f;
    f.run(f.service.create_project_with_workflows(project("txscope"), {}));
    const auto create_safely = [&]() -> asio::awaitable<void> {
        try {
            Project duplicate = project("txscope");
            co_await f.service.create_project_with_workflows(std::move(duplicate), {});
        } catch (const pqxx::integrity_constraint_violation&) {
            std::throw_with_nested(std::runtime_error{"data constraints"});
        }
    };
    try {
        f.run(create_safely);
        FAIL("a duplicate was created");
    } catch (const std::runtime_error& error) {
        CHECK(error.what() == std::string{"data constraints"});
        CHECK_THROWS_AS(std::rethrow_if_nested(error), pqxx::unique_violation);
    }
}

TEST_CASE("a service within a service joins its transaction", "[service_coordinator]") {
    Fixture f;
    ImportService importer{f.sessions};
    f.run(importer.import({project("asio"), project("beast")}, workflows(2)));
    CHECK(f.database.count("projects") == 2);
    CHECK(f.database.count("workflows") == 4);
    CHECK(f.database.query("SELECT count(DISTINCT xmin::text) FROM projects").number() == 1);
}

TEST_CASE("a failure of the inner service takes the outer one's work with it",
          "[service_coordinator]") {
    Fixture f;
    ImportService importer{f.sessions};
    CHECK_THROWS_AS(f.run(importer.import({project("asio"), project("asio")}, workflows(2))),
                    pqxx::unique_violation);
    CHECK(f.empty());
}

TEST_CASE("whatever the body throws rolls back and comes out as it is", "[service_coordinator]") {
    Fixture f;
    const auto throwing = [&] {
        return f.service.transact(
            [&](ProjectRepository& projects, WorkflowRepository&) -> asio::awaitable<void> {
                const Project one = project("txscope");
                co_await projects.create(one);
                throw std::string{"no exception class at all"};
            });
    };
    CHECK_THROWS_AS(f.run(throwing), std::string);
    CHECK(f.empty());
}

TEST_CASE("the options of a coordinator are those of its transactions", "[service_coordinator]") {
    Fixture f;
    const auto create = [](ProjectRepository& projects,
                           WorkflowRepository&) -> asio::awaitable<void> {
        const Project one = project("txscope");
        co_await projects.create(one);
    };
    ProjectService reader{f.sessions, {.access = AccessMode::read_only}};
    CHECK_THROWS_WITH(f.run(reader.transact(create)), ContainsSubstring("read-only"));
    CHECK(f.empty());
    f.run(reader.transact({.access = AccessMode::read_write}, create));
    CHECK(f.database.count("projects") == 1);
}

TEST_CASE("a body that asks for the session gets it, before the repositories",
          "[service_coordinator]") {
    Fixture f;
    const std::int64_t counted =
        f.run(f.service.transact([](Session& session, ProjectRepository& projects,
                                    WorkflowRepository&) -> asio::awaitable<std::int64_t> {
            session.enqueue("INSERT INTO projects (name) VALUES ($1)", "txscope");
            const std::int64_t count = co_await projects.count();
            session.set_rollback_only();
            co_return count;
        }));
    CHECK(counted == 1);
    CHECK(f.empty());
}

TEST_CASE("a body may return what can only be moved", "[service_coordinator]") {
    Fixture f;
    const std::unique_ptr<Project> made = f.run(
        f.service.transact([](ProjectRepository& projects,
                              WorkflowRepository&) -> asio::awaitable<std::unique_ptr<Project>> {
            const Project one = project("txscope");
            co_return std::make_unique<Project>(co_await projects.create(one));
        }));
    CHECK(made->name == "txscope");
}

TEST_CASE("a stored transaction keeps its body", "[service_coordinator]") {
    Fixture f;
    const auto stored = [&] {
        auto name =
            std::make_shared<const std::string>("a name that is too long to be kept inside");
        auto body = [name](ProjectRepository& projects,
                           WorkflowRepository&) -> asio::awaitable<Project> {
            co_return co_await projects.create(field<&Project::name> = *name);
        };
        return f.service.transact(std::move(body));
    };
    asio::awaitable<Project> transaction = stored();
    CHECK(f.empty());
    CHECK(f.run(std::move(transaction)).name.starts_with("a name"));
}

TEST_CASE("one coordinator serves transactions at the same time", "[service_coordinator]") {
    using namespace asio::experimental::awaitable_operators;
    Fixture f;
    f.run([&]() -> asio::awaitable<void> {
        Project first = project("first");
        Project second = project("second");
        std::vector<Workflow> flows = workflows(3);
        auto one = f.service.create_project_with_workflows(first, flows);
        auto two = f.service.create_project_with_workflows(second, flows);
        const auto [a, b] = co_await (std::move(one) && std::move(two));
        CHECK(a.id != b.id);
    });
    CHECK(f.database.count("workflows") == 6);
    CHECK(f.database.query("SELECT count(DISTINCT xmin::text) FROM projects").number() == 2);
}

TEST_CASE("a coordinator's repository also works outside its transactions",
          "[service_coordinator]") {
    Fixture f;
    f.run(f.service.create_project_with_workflows(project("txscope"), workflows(2)));
    CHECK(f.run(f.service.repository<ProjectRepository>().count()) == 1);
    CHECK(f.run(
        f.service.repository<WorkflowRepository>().exists(field<&Workflow::name> == "workflow 1")));
}

TEST_CASE("a body that takes no repositories has those of the coordinator",
          "[service_coordinator]") {
    Fixture f;
    auto& projects = f.service.repository<ProjectRepository>();
    f.run(f.service.transact([&]() -> asio::awaitable<void> {
        projects.add(project("one"));
        co_return;
    }));
    const auto found =
        f.run(f.service.transact([&](txscope::Transaction& it) -> asio::awaitable<std::int64_t> {
            projects.add(project("two"));
            it.set_rollback_only();
            co_return co_await projects.count();
        }));
    CHECK(found == 2);
    CHECK(f.run(projects.count()) == 1);
}

TEST_CASE("a coordinator takes repositories that were made before", "[service_coordinator]") {
    Fixture f;
    ProjectService service{f.sessions, ProjectRepository{f.sessions},
                           WorkflowRepository{f.sessions}};
    f.run(service.create_project_with_workflows(project("txscope"), workflows(2)));
    CHECK(f.database.count("workflows") == 2);
}

/// A repository of a factory that it has from elsewhere.
class Elsewhere : public txscope::BaseRepository<Elsewhere, Project> {
public:
    static constexpr std::string_view table = "projects";
    explicit Elsewhere(const txscope::AsyncSessionFactory&) : BaseRepository{*other} {}
    static inline const txscope::AsyncSessionFactory* other = nullptr;
};

TEST_CASE("a repository of another factory is refused by the coordinator, which names both",
          "[service_coordinator]") {
    Fixture f;
    const support::Database elsewhere{schema};
    const txscope::AsyncSessionFactory others{f.io, elsewhere.dsn(), support::observed()};
    const auto refused = [&](auto make) {
        try {
            make();
        } catch (const pqxx::argument_error& error) {
            return std::string{error.what()};
        }
        return std::string{"nothing"};
    };
    const auto wrong = refused([&] {
        ProjectService{f.sessions, ProjectRepository{f.sessions}, WorkflowRepository{others}};
    });
    CHECK_THAT(wrong, ContainsSubstring("txscope: ") && ContainsSubstring("WorkflowRepository") &&
                          ContainsSubstring(f.database.name()) &&
                          ContainsSubstring(elsewhere.name()));
    Elsewhere::other = &others;
    CHECK_THAT(refused([&] { txscope::ServiceCoordinator<Elsewhere>{f.sessions}; }),
               ContainsSubstring("Elsewhere"));
    Elsewhere::other = nullptr;
}

TEST_CASE("a repository that is bound to a session is refused by a coordinator",
          "[service_coordinator]") {
    Fixture f;
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        const ProjectRepository bound{session};
        CHECK_THROWS_WITH(
            (txscope::ServiceCoordinator<ProjectRepository>{f.sessions, bound}),
            ContainsSubstring("ProjectRepository") && ContainsSubstring("bound to a session"));
        co_return;
    };
    f.run(f.sessions.session_scope(body));
}

// What must not compile.

template <typename Coordinator, typename Body>
inline constexpr bool transacts = false;
template <typename... Repositories, typename Body>
inline constexpr bool transacts<txscope::ServiceCoordinator<Repositories...>, Body> =
    txscope::detail::TransactedBody<Body, Repositories...>;
template <typename Service, typename Body>
concept Transacts = transacts<typename Service::ServiceCoordinator, Body>;
template <typename Coordinator, typename Repository>
concept Has = requires(Coordinator coordinator) { coordinator.template repository<Repository>(); };

using Void = asio::awaitable<void>;
static_assert(Transacts<ProjectService, Void (*)(ProjectRepository&, WorkflowRepository&)>);
static_assert(
    Transacts<ProjectService, Void (*)(Session&, ProjectRepository&, WorkflowRepository&)>);
static_assert(!Transacts<ProjectService, Void (*)(WorkflowRepository&, ProjectRepository&)>);
static_assert(!Transacts<ProjectService, Void (*)(ProjectRepository&)>);
static_assert(!Transacts<ProjectService, void (*)(ProjectRepository&, WorkflowRepository&)>,
              "a body is a coroutine");
static_assert(Has<ProjectService, WorkflowRepository>);
static_assert(!Has<ImportService, WorkflowRepository>);

}  // namespace service_coordinator
