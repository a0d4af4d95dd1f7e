// The pieces of code that the README shows beside its one whole program. Compiled, never run.

#include <txscope/observing/observer_list.hpp>
#include <txscope/observing/opentelemetry_observer.hpp>
#include <txscope/observing/printing_observer.hpp>
#include <txscope/observing/prometheus_text.hpp>
#include <txscope/txscope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using txscope::field;

namespace readme {

struct Project {
    std::int64_t id{};
    std::string name{};
    std::string status{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status))

class ProjectRepository : public txscope::BaseRepository<ProjectRepository, Project> {
public:
    static constexpr std::string_view table = "projects";
    static constexpr auto generated = txscope::columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

class ProjectCreationError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class TooManyProjects : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class NotFound : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

asio::awaitable<void> one_statement_or_one_transaction(ProjectRepository& projects,
                                                       txscope::AsyncSessionFactory sessions) {
    co_await projects.create(field<&Project::name> = "Apollo");  // by itself: one round trip

    txscope::TransactionScope scope{sessions};
    co_await scope([&]() -> asio::awaitable<void> {
        co_await projects.create(field<&Project::name> = "Gemini");   // the same call:
        co_await projects.create(field<&Project::name> = "Mercury");  // both, or neither
    });
}

struct Patch {
    std::optional<std::string> name{};
    std::optional<std::string> status{};
};

asio::awaitable<void> writes(ProjectRepository& projects, txscope::TransactionScope scope,
                             std::int64_t id, const Patch& patch, const Project& project) {
    using namespace txscope;

    Changes<Project> changes;  // put together at run time, as for HTTP's PATCH
    if (patch.name) changes.set(field<&Project::name> = *patch.name);
    if (patch.status) changes.set(field<&Project::status> = *patch.status);
    co_await projects.update(id, changes);

    co_await projects.save(project, columns<&Project::name>);  // or the one of that name is updated

    co_await scope([&]() -> asio::awaitable<void> {
        const auto mine = co_await projects.find_all(  // others skip these until the commit
            field<&Project::status> == "draft", ascending(field<&Project::id>), Page{.limit = 10},
            for_update.skip_locked());
        for (const Project& draft : mine)
            co_await projects.update(draft.id, field<&Project::status> = "active");
    });
}

asio::awaitable<void> parallel(ProjectRepository& projects, txscope::TransactionScope scope) {
    co_await scope([&]() -> asio::awaitable<void> {
        const auto [drafts, all] = co_await (projects.count(field<&Project::status> == "draft") &&
                                             projects.count());  // one round trip
        std::cout << drafts << " of " << all << '\n';
    });
}

asio::awaitable<void> own_sql(txscope::TransactionScope scope, std::int64_t id) {
    co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
        const auto found = co_await session.execute(
            "SELECT id, name FROM projects WHERE id > $1 ORDER BY name FOR UPDATE", id);
        for (const auto& [key, name] : found.rows<std::int64_t, std::string>())
            session.enqueue("INSERT INTO log (project_id, text) VALUES ($1, $2)", key, name);
    });  // the log entries travel with the COMMIT
}

asio::awaitable<void> savepoint(ProjectRepository& projects,
                                txscope::AsyncSessionFactory sessions) {
    txscope::TransactionScope scope{sessions, {.isolation = txscope::IsolationLevel::serializable}};
    txscope::TransactionScope attempt{sessions, {.propagation = txscope::Propagation::nested}};
    co_await scope([&]() -> asio::awaitable<void> {
        try {
            co_await attempt([&]() -> asio::awaitable<void> {
                co_await projects.create(field<&Project::name> = "Apollo");
            });
        } catch (const pqxx::unique_violation&) {
            // There is one already. Only the savepoint is lost, the transaction goes on.
        }
        co_await projects.create(field<&Project::name> = "Gemini");
    });
}

void announce(int attempt) { std::cout << "active, at attempt " << attempt << '\n'; }

asio::awaitable<void> hooks_and_retries(ProjectRepository& projects,
                                        txscope::AsyncSessionFactory sessions) {
    txscope::TransactionScope scope{
        sessions,
        {.isolation = txscope::IsolationLevel::serializable,
         .timeout = 2s,                   // for everything, the attempts included
         .retry = {.max_attempts = 5}}};  // after a conflict or a lost connection
    co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
        session.before_commit([&]() -> asio::awaitable<void> {  // may refuse, by throwing
            const auto active = co_await projects.count(field<&Project::status> == "active");
            if (active > 10) throw TooManyProjects{"ten at a time"};
        });
        session.after_commit([&, attempt = session.attempt()] { announce(attempt); });
        co_await projects.update(field<&Project::name> == "Apollo",
                                 field<&Project::status> = "active");
    });
}

asio::awaitable<void> in_time(ProjectRepository& projects, txscope::AsyncSessionFactory sessions) {
    txscope::TransactionScope scope{sessions, {.timeout = 2s}};
    co_await scope([&]() -> asio::awaitable<void> {
        co_await projects.remove(field<&Project::status> == "archived");
    });  // what takes longer is rolled back, and throws TransactionTimeout
}

asio::awaitable<Project> create_safely(ProjectRepository& projects, Project project) {
    try {
        co_return co_await projects.create(project);
    } catch (const pqxx::unique_violation& error) {
        const txscope::SqlDiagnostics* said = txscope::find_diagnostics(error);
        std::throw_with_nested(ProjectCreationError{said->constraint});
    }
}

void watch(asio::io_context& io) {
    txscope::PrintingObserver log;
    txscope::AsyncSessionFactory sessions{
        io, "postgresql:///app", {.observer = &log, .overlong_scope = 5s}};
    txscope::TransactionScope scope{sessions, {.label = "monthly import"}};
}

void measure(asio::io_context& io, txscope::PrintingObserver& log, txscope::Tracer& tracer) {
    txscope::MetricsObserver metrics{{"transfer", "monthly import"}};  // labels counted apart
    txscope::OpenTelemetryObserver traces{tracer};
    txscope::ObserverList observers{{&log, &metrics, &traces}};
    txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &observers}};
    const std::string answer = prometheus_text(metrics, sessions.statistics());  // to a scrape
}

struct Vault {
    asio::awaitable<std::string> password();
};

class Hooks : public txscope::ConnectionHooks {
public:
    explicit Hooks(Vault& vault) : vault_{vault} {}
    asio::awaitable<std::string> before_connect(std::string conninfo) override {
        const std::string password = co_await vault_.password();  // the one of the moment
        co_return txscope::with_parameter(conninfo, "password", password);
    }
    asio::awaitable<void> after_connect(txscope::Session& session) override {
        co_await session.execute("SET ROLE app");  // every borrower finds it so
    }

private:
    Vault& vault_;
};

void connect(asio::io_context& io, Vault& vault) {
    Hooks hooks{vault};
    txscope::AsyncSessionFactory sessions{io, "host=db dbname=app user=login", {.hooks = &hooks}};
}

asio::awaitable<void> as_tenant(txscope::AsyncSessionFactory sessions, ProjectRepository& projects,
                                std::string tenant) {
    const txscope::TransactionSetting settings[] = {{"app.tenant_id", tenant}};
    txscope::TransactionScope scope{sessions, {.settings = settings}};  // sent with BEGIN
    co_await scope([&](txscope::Transaction& transaction) -> asio::awaitable<void> {
        const auto visible = co_await projects.count();  // as the policy of the table says
        transaction.set("app.seen", visible);            // from here on
    });
}

asio::awaitable<void> notify(txscope::TransactionScope scope, ProjectRepository& projects,
                             std::string name) {
    co_await scope([&](txscope::Session& session) -> asio::awaitable<void> {
        co_await projects.create(field<&Project::name> = name);
        session.notify("projects", name);  // goes out with the COMMIT
    });
}

asio::awaitable<void> show(std::string name);
asio::awaitable<void> show_all();

asio::awaitable<void> listen(txscope::AsyncSessionFactory sessions) {
    const auto handler = [&](const txscope::Notification& told) -> asio::awaitable<void> {
        if (told.kind == txscope::Notification::subscribed)
            co_await show_all();  // at first, and after a loss: some may have been missed
        else
            co_await show(told.payload);
    };
    co_await sessions.listen("projects", handler);  // until it is cancelled, or the handler throws
}

asio::awaitable<void> from_replicas(asio::io_context& io) {
    txscope::AsyncSessionFactory sessions{
        io,
        {.primary = "host=db1 dbname=app",
         .replicas = {"host=db2 dbname=app", "host=db3 dbname=app"},
         .max_lag = 10s}};

    txscope::ReadScope<ProjectRepository> reading{sessions};
    const auto drafts =
        co_await reading([&](const auto& projects) -> asio::awaitable<std::int64_t> {
            co_return co_await projects.count(field<&Project::status> == "draft");
        });  // with projects.create(…) in it, this would not compile
    std::cout << drafts << '\n';
}

asio::awaitable<std::string> told_to_the_browser(txscope::AsyncSessionFactory sessions) {
    const txscope::ReadYourWrites written = co_await sessions.written();
    co_return written.text();
}

void told_by_the_browser(txscope::AsyncSessionFactory sessions, std::string cookie) {
    txscope::ReadScope<ProjectRepository> reading{
        sessions, {.after = txscope::ReadYourWrites{cookie}}};  // in whatever process
}

asio::awaitable<void> safe_on_gcc_12(ProjectRepository& projects, std::string name,
                                     std::int64_t id) {
    const Project project{.name = name};  // give it a name first, then
    co_await projects.create(project);    // not: create(Project{.name = name})

    co_await projects.create(field<&Project::name> = name);  // this is safe as it stands

    const bool removed = co_await projects.remove(id);  // give this one a name, too,
    if (!removed) throw NotFound{"no such project"};    // not: if (!co_await projects.remove(id))
}

}  // namespace readme
