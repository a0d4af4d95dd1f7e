#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/txscope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <iostream>

namespace asio = boost::asio;
using txscope::field;

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

asio::awaitable<void> run(txscope::AsyncSessionFactory sessions) {
    co_await sessions.execute(R"(CREATE TABLE projects (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE, status text NOT NULL DEFAULT 'draft'))");
    ProjectRepository projects{sessions};
    txscope::TransactionScope scope{sessions};

    // The body returns: both projects are committed, in two round trips.
    co_await scope([&]() -> asio::awaitable<void> {
        co_await projects.create(field<&Project::name> = "Apollo");
        projects.add(field<&Project::name> = "Gemini");  // sent along with the COMMIT
    });

    // The body throws, or here PostgreSQL refuses: nothing that the body did remains.
    try {
        co_await scope([&]() -> asio::awaitable<void> {
            co_await projects.update(field<&Project::name> == "Apollo",
                                     field<&Project::status> = "active");
            projects.add(field<&Project::name> = "Gemini");
        });
    } catch (const pqxx::unique_violation& error) {
        std::cout << error.what() << '\n';
    }

    for (const Project& project : co_await projects.find_all())
        std::cout << project.name << " is " << project.status << '\n';
    co_await sessions.close();
}

int main() {
    txscope::TemporaryPostgres server;  // a throwaway; elsewhere, your connection string
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, server.dsn()};
    asio::co_spawn(io, run(sessions), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    io.run();
}
