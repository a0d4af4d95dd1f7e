#include "contender.hpp"

#include <pqxx/pqxx>

#include <exception>
#include <thread>
#include <vector>

namespace benchmark {
namespace {

struct Project {
    std::int64_t id;
    std::string name;
    std::string status;
};

Project to_project(const pqxx::row& row) {
    return {row["id"].as<std::int64_t>(), row["name"].as<std::string>(),
            row["status"].as<std::string>()};
}

class Libpqxx final : public Contender {
public:
    Libpqxx(const std::string& dsn, int connections) {
        for (int i = 0; i < connections; ++i) {
            auto& connection = connections_.emplace_back(std::make_unique<pqxx::connection>(dsn));
            connection->prepare("create_project", sql::create_project);
            connection->prepare("add_workflow", sql::add_workflow);
            connection->prepare("find_project", sql::find_project);
            connection->prepare("update_project", sql::update_project);
        }
        steps_.resize(connections_.size());
    }

    std::string_view name() const override { return "libpqxx"; }

    std::int64_t run(Workload workload, Limit limit) override {
        std::vector<std::int64_t> committed(connections_.size());
        std::vector<std::exception_ptr> errors(connections_.size());
        std::vector<std::thread> threads;
        for (std::size_t worker = 0; worker < connections_.size(); ++worker)
            threads.emplace_back([&, worker] {
                try {
                    committed[worker] = work(worker, workload, limit);
                } catch (...) {
                    errors[worker] = std::current_exception();
                }
            });
        for (std::thread& thread : threads) thread.join();
        std::int64_t total = 0;
        for (std::size_t worker = 0; worker < connections_.size(); ++worker) {
            if (errors[worker]) std::rethrow_exception(errors[worker]);
            total += committed[worker];
        }
        return total;
    }

private:
    std::int64_t work(std::size_t worker, Workload workload, Limit& limit) {
        std::int64_t committed = 0;
        do {
            const Values given = values(static_cast<int>(worker), steps_[worker]++);
            pqxx::work transaction{*connections_[worker]};
            switch (workload) {
                case Workload::insert:
                    to_project(transaction.exec_prepared("create_project", given.name, given.status)
                                   .front());
                    break;
                case Workload::project: {
                    const Project project = to_project(
                        transaction.exec_prepared("create_project", given.name, given.status)
                            .front());
                    for (const std::string& name : workflow_names)
                        transaction.exec_prepared("add_workflow", project.id, name);
                    break;
                }
                case Workload::update: {
                    const Project project =
                        to_project(transaction.exec_prepared("find_project", given.id).front());
                    to_project(transaction.exec_prepared("update_project", given.status, project.id)
                                   .front());
                    break;
                }
            }
            transaction.commit();
            ++committed;
        } while (limit.another());
        return committed;
    }

    std::vector<std::unique_ptr<pqxx::connection>> connections_;
    std::vector<std::int64_t> steps_;
};

}  // namespace

std::unique_ptr<Contender> make_libpqxx(const std::string& dsn, int connections) {
    return std::make_unique<Libpqxx>(dsn, connections);
}

}  // namespace benchmark
