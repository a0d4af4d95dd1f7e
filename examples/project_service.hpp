#pragma once

#include <txscope/txscope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>
#include <pqxx/except>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The data layer of `import_projects`: what stands between a program's own words and its tables.
///
/// Read from top to bottom: models, repositories, a domain error, and the service that makes
/// several repositories act as one.

namespace asio = boost::asio;

// Models are plain structs. A member that may be missing is an optional: it travels as NULL, and
// whether NULL will do is for the table to say.

struct Project {
    std::int64_t id{};
    std::optional<std::string> name{};
    std::optional<std::string> status{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status))

struct Workflow {
    std::int64_t id{};
    std::int64_t project_id{};
    std::optional<std::string> name{};
};
BOOST_DESCRIBE_STRUCT(Workflow, (), (id, project_id, name))

/// The tables. Each constraint is named after what is wrong when it is broken, so that its name is
/// a reason one can show (see `reason` below).
inline constexpr const char* project_tables = R"(
    CREATE TABLE txscope_import_projects.projects (
        id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name   text NOT NULL
               CONSTRAINT project_name_is_taken UNIQUE
               CONSTRAINT project_name_is_too_long CHECK (length(name) <= 80),
        status text NOT NULL
               CONSTRAINT project_status_is_unknown
                   CHECK (status IN ('draft', 'active', 'paused', 'archived'))
    );
    CREATE TABLE txscope_import_projects.workflows (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        project_id bigint NOT NULL REFERENCES txscope_import_projects.projects,
        name       text NOT NULL
                   CONSTRAINT workflow_name_is_too_long CHECK (length(name) <= 80),
        CONSTRAINT workflow_name_is_there_twice UNIQUE (project_id, name)
    ))";

// A repository says which table it is, and which columns the database fills in; the rest it
// inherits. It also works on its own: without a scope, each call is a transaction of its own.

class ProjectRepository : public txscope::BaseRepository<ProjectRepository, Project> {
public:
    static constexpr std::string_view table = "txscope_import_projects.projects";
    static constexpr auto generated = txscope::columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

class WorkflowRepository : public txscope::BaseRepository<WorkflowRepository, Workflow> {
public:
    static constexpr std::string_view table = "txscope_import_projects.workflows";
    static constexpr auto generated = txscope::columns<&Workflow::id>;
    using BaseRepository::BaseRepository;
};

/// The domain's own error: a project was refused. The database's error is nested inside, for
/// whoever wants to know more (`std::rethrow_if_nested`).
class ProjectRefused : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// What the server had against a statement, in words: "project name is taken".
inline std::string reason(const pqxx::integrity_constraint_violation& error) {
    const txscope::SqlDiagnostics* said = txscope::find_diagnostics(error);
    if (said == nullptr) return "data constraints";
    if (said->sqlstate == txscope::sqlstate::not_null_violation)
        return said->table.substr(0, said->table.size() - 1) + " has no " + said->column;
    std::string words = said->constraint;
    std::replace(words.begin(), words.end(), '_', ' ');
    return words;
}

/// Several repositories, one transaction.
class ProjectService : public txscope::ServiceCoordinator<ProjectRepository, WorkflowRepository> {
public:
    using ServiceCoordinator::ServiceCoordinator;

    /// Creates the project with all of its workflows, or nothing.
    ///
    /// @throws ProjectRefused where a constraint stands in the way
    asio::awaitable<Project> create_project_with_workflows(Project project,
                                                           std::vector<Workflow> workflows) {
        try {
            co_return co_await transact([&](ProjectRepository& projects,
                                            WorkflowRepository& flows) -> asio::awaitable<Project> {
                // BEGIN travels with this INSERT: the first round trip.
                Project created = co_await projects.create(project);
                for (Workflow& workflow : workflows) {
                    workflow.project_id = created.id;
                    flows.add(workflow);  // written behind: nothing is sent yet
                }
                // All workflows travel with the COMMIT: the second round trip, and the last one.
                co_return created;
            });
        } catch (const pqxx::integrity_constraint_violation& error) {
            // Everything is rolled back by now. What is left is to say it in the domain's words.
            std::throw_with_nested(ProjectRefused{reason(error)});
        }
    }
};
