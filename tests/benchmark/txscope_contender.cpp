#include "contender.hpp"
#include <txscope/txscope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <exception>
#include <vector>

namespace benchmark {
namespace {

namespace asio = boost::asio;

struct Project {
    std::int64_t id{};
    std::string name{};
    std::string status{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status))

struct Workflow {
    std::int64_t id{};
    std::int64_t project_id{};
    std::string name{};
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

/// Runs one worker a connection on one thread; a derived class says what a transaction is.
class Coroutines : public Contender {
public:
    Coroutines(const std::string& dsn, int connections)
        : sessions_{io_, dsn, {.max_size = static_cast<std::size_t>(connections)}},
          steps_(static_cast<std::size_t>(connections)) {
        asio::co_spawn(io_, sessions_.warm_up(steps_.size()), [&](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
            io_.stop();
        });
        io_.run();
    }

    std::int64_t run(Workload workload, Limit limit) override {
        std::int64_t committed = 0;
        std::size_t busy = steps_.size();
        for (std::size_t worker = 0; worker < steps_.size(); ++worker)
            asio::co_spawn(io_, work(worker, workload, limit, committed),
                           [&](std::exception_ptr error) {
                               if (error) std::rethrow_exception(error);
                               if (--busy == 0) io_.stop();  // idle connections go on listening
                           });
        io_.restart();
        io_.run();
        return committed;
    }

protected:
    virtual asio::awaitable<void> transact(Workload workload, const Values& given) = 0;

    txscope::AsyncSessionFactory& sessions() { return sessions_; }

private:
    asio::awaitable<void> work(std::size_t worker, Workload workload, Limit& limit,
                               std::int64_t& committed) {
        do {
            const Values given = values(static_cast<int>(worker), steps_[worker]++);
            co_await transact(workload, given);
            ++committed;
        } while (limit.another());
    }

    asio::io_context io_{1};
    txscope::AsyncSessionFactory sessions_;
    std::vector<std::int64_t> steps_;
};

class Sessions final : public Coroutines {
public:
    Sessions(const std::string& dsn, int connections)
        : Coroutines{dsn, connections}, scope_{sessions()} {}

    std::string_view name() const override { return "txscope"; }

private:
    asio::awaitable<void> transact(Workload workload, const Values& given) override {
        co_await scope_([&](txscope::Session& session) -> asio::awaitable<void> {
            switch (workload) {
                case Workload::insert: {
                    const auto created =
                        co_await session.execute(sql::create_project, given.name, given.status);
                    static_cast<void>(created.one().template get<std::int64_t>("id"));
                    break;
                }
                case Workload::project: {
                    const auto created =
                        co_await session.execute(sql::create_project, given.name, given.status);
                    const auto id = created.one().template get<std::int64_t>("id");
                    for (const std::string& name : workflow_names)
                        session.enqueue(sql::add_workflow, id, name);
                    break;
                }
                case Workload::update: {
                    const auto found = co_await session.execute(sql::find_project, given.id);
                    const auto id = found.one().template get<std::int64_t>("id");
                    co_await session.execute(sql::update_project, given.status, id);
                    break;
                }
            }
        });
    }

    txscope::TransactionScope scope_;
};

class Service : public txscope::ServiceCoordinator<ProjectRepository, WorkflowRepository> {
public:
    using ServiceCoordinator::ServiceCoordinator;

    asio::awaitable<void> run(Workload workload, const Values& given) {
        co_await transact([&](ProjectRepository& projects,
                              WorkflowRepository& workflows) -> asio::awaitable<void> {
            using txscope::field;
            switch (workload) {
                case Workload::insert:
                    co_await projects.create(field<&Project::name> = given.name,
                                             field<&Project::status> = given.status);
                    break;
                case Workload::project: {
                    const Project project = co_await projects.create(
                        field<&Project::name> = given.name, field<&Project::status> = given.status);
                    for (const std::string& name : workflow_names)
                        workflows.add(field<&Workflow::project_id> = project.id,
                                      field<&Workflow::name> = name);
                    break;
                }
                case Workload::update: {
                    const Project project = co_await projects.get(given.id);
                    co_await projects.update(project.id, field<&Project::status> = given.status);
                    break;
                }
            }
        });
    }
};

class Repositories final : public Coroutines {
public:
    Repositories(const std::string& dsn, int connections)
        : Coroutines{dsn, connections}, service_{sessions()} {}

    std::string_view name() const override { return "txscope, with repositories"; }

private:
    asio::awaitable<void> transact(Workload workload, const Values& given) override {
        co_await service_.run(workload, given);
    }

    Service service_;
};

}  // namespace

std::unique_ptr<Contender> make_txscope(const std::string& dsn, int connections) {
    return std::make_unique<Sessions>(dsn, connections);
}

std::unique_ptr<Contender> make_repositories(const std::string& dsn, int connections) {
    return std::make_unique<Repositories>(dsn, connections);
}

}  // namespace benchmark
