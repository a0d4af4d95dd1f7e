#include "contender.hpp"

#include <libpq-fe.h>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <vector>

namespace benchmark {
namespace {

[[noreturn]] void fail(PGconn* connection, const char* what) {
    throw std::runtime_error{std::string{"libpq: "} + what + ": " + PQerrorMessage(connection)};
}

struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
    void operator()(PGresult* result) const { PQclear(result); }
};

/// One connection and the transaction that it is in.
///
/// A transaction is a few batches, each closed by one Sync; the answer to a batch sends the next.
class Link {
public:
    Link(const std::string& dsn, int worker)
        : connection_{PQconnectdb(dsn.c_str())}, worker_{worker} {
        if (PQstatus(raw()) != CONNECTION_OK) fail(raw(), "connect");
        prepare("begin", "BEGIN");
        prepare("commit", "COMMIT");
        prepare("create_project", sql::create_project);
        prepare("add_workflow", sql::add_workflow);
        prepare("find_project", sql::find_project);
        prepare("update_project", sql::update_project);
        if (PQsetnonblocking(raw(), 1) != 0) fail(raw(), "non-blocking mode");
        if (PQenterPipelineMode(raw()) != 1) fail(raw(), "pipeline mode");
    }

    int socket() const { return PQsocket(raw()); }

    void begin(Workload workload) {
        workload_ = workload;
        batch_ = 0;
        values_ = values(worker_, step_++);
        send_batch();
    }

    /// Reads what has arrived; true when that has completed the transaction.
    bool receive() {
        if (PQconsumeInput(raw()) != 1) fail(raw(), "receive");
        while (PQisBusy(raw()) == 0) {
            const std::unique_ptr<PGresult, Finish> result{PQgetResult(raw())};
            if (!result) continue;  // the mark between two statements of a batch
            switch (PQresultStatus(result.get())) {
                case PGRES_TUPLES_OK:
                    read_project(result.get());
                    break;
                case PGRES_COMMAND_OK:
                    break;
                case PGRES_PIPELINE_SYNC:
                    if (batch_ == last_batch()) return true;
                    ++batch_;
                    send_batch();
                    return false;
                default:
                    fail(raw(), PQresultErrorMessage(result.get()));
            }
        }
        return false;
    }

private:
    PGconn* raw() const { return connection_.get(); }

    int last_batch() const { return workload_ == Workload::update ? 2 : 1; }

    void read_project(const PGresult* result) {
        if (PQntuples(result) != 1) throw std::runtime_error{"libpq: no row"};
        project_id_ = std::strtoll(PQgetvalue(result, 0, 0), nullptr, 10);
    }

    void prepare(const char* name, const char* text) {
        const std::unique_ptr<PGresult, Finish> result{PQprepare(raw(), name, text, 0, nullptr)};
        if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) fail(raw(), "prepare");
    }

    void send(const char* name, std::initializer_list<const char*> parameters = {}) {
        if (PQsendQueryPrepared(raw(), name, static_cast<int>(parameters.size()),
                                parameters.begin(), nullptr, nullptr, 0) != 1)
            fail(raw(), "send");
    }

    void send_batch() {
        switch (workload_) {
            case Workload::insert:
                if (batch_ == 0) {
                    send("begin");
                    send("create_project", {values_.name.c_str(), values_.status.c_str()});
                } else {
                    send("commit");
                }
                break;
            case Workload::project:
                if (batch_ == 0) {
                    send("begin");
                    send("create_project", {values_.name.c_str(), values_.status.c_str()});
                } else {
                    const std::string id = std::to_string(project_id_);
                    for (const std::string& name : workflow_names)
                        send("add_workflow", {id.c_str(), name.c_str()});
                    send("commit");
                }
                break;
            case Workload::update: {
                const std::string id = std::to_string(values_.id);
                if (batch_ == 0) {
                    send("begin");
                    send("find_project", {id.c_str()});
                } else if (batch_ == 1) {
                    send("update_project", {values_.status.c_str(), id.c_str()});
                } else {
                    send("commit");
                }
                break;
            }
        }
        if (PQpipelineSync(raw()) != 1) fail(raw(), "sync");  // it flushes, too
        while (const int left = PQflush(raw())) {
            if (left < 0) fail(raw(), "flush");
            pollfd writable{socket(), POLLOUT, 0};  // a full socket buffer: never seen here
            poll(&writable, 1, -1);
        }
    }

    std::unique_ptr<PGconn, Finish> connection_;
    int worker_;
    std::int64_t step_ = 0;
    Workload workload_{};
    int batch_ = 0;
    Values values_{};
    std::int64_t project_id_ = 0;
};

class Libpq final : public Contender {
public:
    Libpq(const std::string& dsn, int connections) : epoll_{epoll_create1(EPOLL_CLOEXEC)} {
        if (epoll_ < 0) throw std::runtime_error{"libpq: epoll_create1"};
        links_.reserve(static_cast<std::size_t>(connections));
        for (int worker = 0; worker < connections; ++worker) {
            links_.emplace_back(dsn, worker);
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u32 = static_cast<std::uint32_t>(worker);
            if (epoll_ctl(epoll_, EPOLL_CTL_ADD, links_.back().socket(), &event) != 0)
                throw std::runtime_error{"libpq: epoll_ctl"};
        }
    }
    Libpq(const Libpq&) = delete;
    ~Libpq() override { close(epoll_); }

    std::string_view name() const override { return "raw libpq"; }

    std::int64_t run(Workload workload, Limit limit) override {
        std::int64_t committed = 0;
        std::size_t busy = links_.size();
        for (Link& link : links_) link.begin(workload);
        while (busy > 0) {
            epoll_event events[16];
            const int ready = epoll_wait(epoll_, events, 16, -1);
            for (int i = 0; i < ready; ++i) {
                Link& link = links_[events[i].data.u32];
                if (!link.receive()) continue;
                ++committed;
                if (limit.another())
                    link.begin(workload);
                else
                    --busy;
            }
        }
        return committed;
    }

private:
    int epoll_;
    std::vector<Link> links_;
};

}  // namespace

std::unique_ptr<Contender> make_libpq(const std::string& dsn, int connections) {
    return std::make_unique<Libpq>(dsn, connections);
}

}  // namespace benchmark
