// Imports projects with their workflows from newline-delimited JSON into PostgreSQL: each project
// in a transaction of its own, 64 transactions in flight on 8 connections and one thread.
//
//     import_projects [file]        the file is examples/data/projects.ndjson by default
//
// About one project in ten is broken, the way imports are: the name is taken, the status unknown,
// a workflow has no name. Such a project must leave nothing behind, and the others must be there
// with all they have. At the end the program counts, over a plain libpqxx connection that knows
// nothing of txscope, and fails where that is not so.
//
// It runs against a throwaway server of its own, or against the one that TXSCOPE_DATABASE_URL
// names. There it creates the schema `txscope_import_projects`, removes it at the end, and
// touches nothing else.

#include "project_service.hpp"
#include "support/differences.hpp"
#include "support/progress_bar.hpp"
#include "support/project_reader.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json/src.hpp>  // Boost.JSON without its library, once a program
#include <fmt/core.h>
#include <pqxx/pqxx>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int connections = 8;
constexpr int scopes_in_flight = 64;

/// What became of the input.
struct Outcome {
    Projects committed;
    std::map<std::string, int> refused_by_database;  ///< reason → number of projects
    std::map<std::string, int> refused_unread;       ///< reason → number of lines
};

/// One of the 64: takes line after line until none is left.
///
/// All of them run on one thread, so that they share `next` and `outcome` without a lock.
asio::awaitable<void> import_lines(ProjectService& service, const std::vector<std::string>& lines,
                                   std::size_t& next, Outcome& outcome, ProgressBar& progress) {
    while (next < lines.size()) {
        const std::string& line = lines[next++];
        try {
            const ProjectRecord record = read_project(line);
            const Project created =
                co_await service.create_project_with_workflows(record.project, record.workflows);
            outcome.committed.emplace_back(created.name.value(), record.workflows.size());
        } catch (const MalformedProject& error) {
            ++outcome.refused_unread[error.what()];
        } catch (const ProjectRefused& error) {
            ++outcome.refused_by_database[error.what()];
        }
        // Whatever else is thrown (a lost connection, say) ends the program: it is not the input's
        // fault, and the table at the end would lie about it.
        progress.advance();
    }
}

/// The example's own schema, there for as long as this object is. Plain, blocking libpqxx.
class ImportSchema {
public:
    explicit ImportSchema(const std::string& dsn) : connection_{dsn} {
        pqxx::work transaction{connection_};
        // No IF NOT EXISTS: a schema of that name that is there already is somebody else's.
        transaction.exec("CREATE SCHEMA txscope_import_projects");
        transaction.exec(project_tables);
        transaction.commit();
    }
    ImportSchema(const ImportSchema&) = delete;

    ~ImportSchema() {
        try {
            pqxx::work transaction{connection_};
            transaction.exec("SET LOCAL lock_timeout = '10s'");  // waits for the last rollbacks
            transaction.exec("DROP SCHEMA txscope_import_projects CASCADE");
            transaction.commit();
        } catch (const std::exception& error) {
            fmt::print(stderr, "the schema txscope_import_projects is left: {}\n", error.what());
        }
    }

    /// What really is in the tables.
    Projects projects() {
        pqxx::work transaction{connection_};
        Projects found;
        for (const auto& row : transaction.exec(R"(
                 SELECT project.name, count(workflow.id)
                 FROM txscope_import_projects.projects AS project
                 LEFT JOIN txscope_import_projects.workflows AS workflow
                     ON workflow.project_id = project.id
                 GROUP BY project.id)"))
            found.emplace_back(row[0].as<std::string>(), row[1].as<std::int64_t>());
        return found;
    }

private:
    pqxx::connection connection_;
};

void print_refused(std::string_view by, const std::map<std::string, int>& reasons) {
    int total = 0;
    for (const auto& [reason, count] : reasons) total += count;
    fmt::print("  {:6}  refused by the {}\n", total, by);
    for (const auto& [reason, count] : reasons) fmt::print("  {:14}  {}\n", count, reason);
}

void print_report(const Outcome& outcome, const txscope::PoolStatistics& statistics,
                  std::chrono::duration<double> took) {
    std::int64_t workflows = 0;
    for (const auto& [name, count] : outcome.committed) workflows += count;
    fmt::print("  {:6}  committed, with {} workflows\n", outcome.committed.size(), workflows);
    print_refused("database", outcome.refused_by_database);
    print_refused("reader", outcome.refused_unread);
    if (statistics.acquired == 0) return;
    const auto transactions = static_cast<double>(statistics.acquired);
    fmt::print("\n  {:6.2f}  round trips a transaction\n  {:6.0f}  transactions a second\n",
               static_cast<double>(statistics.round_trips) / transactions,
               transactions / took.count());
}

/// Imports all lines; false where the user has interrupted it.
bool import_all(asio::io_context& io, ProjectService& service,
                const std::vector<std::string>& lines, Outcome& outcome) {
    std::size_t next = 0;
    ProgressBar progress{lines.size()};
    int importing = scopes_in_flight;
    for (int i = 0; i < scopes_in_flight; ++i)
        asio::co_spawn(io, import_lines(service, lines, next, outcome, progress),
                       [&](std::exception_ptr error) {
                           if (error) std::rethrow_exception(error);  // out of io.run()
                           if (--importing == 0) io.stop();
                       });
    asio::signal_set interrupt{io, SIGINT, SIGTERM};
    interrupt.async_wait([&](boost::system::error_code, int) { io.stop(); });
    io.run();
    return importing == 0;
}

int run(const std::string& path) {
    const std::vector<std::string> lines = read_lines(path);
    std::optional<txscope::TemporaryPostgres> server;
    const char* given = std::getenv("TXSCOPE_DATABASE_URL");
    const std::string dsn = given != nullptr ? given : server.emplace().dsn();
    ImportSchema schema{dsn};

    Outcome outcome;
    // Ctrl-C leaves scopes under way behind. They are destroyed with the io_context, and what is
    // destroyed is rolled back: txscope commits in no destructor.
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, dsn, {.max_size = connections}};
    ProjectService service{sessions};
    const auto start = std::chrono::steady_clock::now();
    const bool complete = import_all(io, service, lines, outcome);
    const auto took = std::chrono::steady_clock::now() - start;

    fmt::print("{} lines of {}{}\n\n", lines.size(), path, complete ? "" : " (interrupted)");
    print_report(outcome, sessions.statistics(), took);
    if (!complete) return 130;
    const std::vector<std::string> wrong = differences(outcome.committed, schema.projects());
    for (const std::string& line : wrong) fmt::print(stderr, "WRONG: {}\n", line);
    if (!wrong.empty()) return 1;
    fmt::print("\nCounted again over a plain connection: all of it is there, and nothing else.\n");
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    // The data lies beside this source file.
    const auto examples = std::filesystem::path{__FILE__}.parent_path();
    return run(argc > 1 ? argv[1] : (examples / "data" / "projects.ndjson").string());
} catch (const std::exception& error) {
    fmt::print(stderr, "import_projects: {}\n", error.what());
    return 1;
}
