// The tasks of examples/README.md, one after another, against a throwaway server.

#include <txscope/testing/check.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/txscope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using namespace boost::asio::experimental::awaitable_operators;
using txscope::after;
using txscope::ascending;
using txscope::columns;
using txscope::descending;
using txscope::field;
using txscope::for_update;
using txscope::Page;
using txscope::row;
using txscope::sql;

namespace {

constexpr std::string_view jobs_table = R"(
    CREATE TABLE jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        state text NOT NULL DEFAULT 'new',
        note text))";
constexpr std::string_view runs_table = R"(
    CREATE TABLE runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job_id bigint NOT NULL REFERENCES jobs,
        seconds double precision NOT NULL))";

struct Job {
    std::int64_t id{};
    std::string name{};
    std::string state{"new"};
    std::optional<std::string> note{};
};
BOOST_DESCRIBE_STRUCT(Job, (), (id, name, state, note))

// Some of a job's columns.
struct JobState {
    std::string name{};
    std::string state{};
};
BOOST_DESCRIBE_STRUCT(JobState, (), (name, state))

// A row of a query of one's own.
struct JobTime {
    std::string name{};
    double seconds{};
};
BOOST_DESCRIBE_STRUCT(JobTime, (), (name, seconds))

class Jobs : public txscope::BaseRepository<Jobs, Job> {
public:
    static constexpr std::string_view table = "jobs";
    static constexpr auto generated = columns<&Job::id>;
    using BaseRepository::BaseRepository;

    asio::awaitable<std::vector<JobTime>> slowest(int limit) const {
        const auto result =
            co_await query(sql<"SELECT j.name, sum(r.seconds) AS seconds FROM jobs j JOIN runs r"
                               " ON r.job_id = j.id GROUP BY j.name ORDER BY seconds DESC LIMIT $1",
                               JobTime>(limit));
        co_return result.as<JobTime>();
    }
};

// What a PATCH request carries: a member that is not set is left as it is.
struct JobPatch {
    std::optional<std::string> state{};
    std::optional<std::string> note{};
};

asio::awaitable<std::optional<Job>> patch(Jobs jobs, std::int64_t id, JobPatch request) {
    txscope::Changes<Job> changes;
    if (request.state) changes.set(field<&Job::state> = *request.state);
    if (request.note) changes.set(field<&Job::note> = *request.note);
    co_return co_await jobs.update(id, changes);  // nothing, when there is no such job
}

asio::awaitable<void> upsert(Jobs jobs) {
    Job job;
    job.name = "build";
    job = co_await jobs.save(job, columns<&Job::name>);  // inserted, or updated by its name
    const auto created = co_await jobs.create_unless_exists(job, columns<&Job::name>);
    if (!created) std::cout << job.name << " was there\n";
}

asio::awaitable<void> every_page(Jobs jobs) {
    auto page = co_await jobs.find_page(ascending(field<&Job::name>), Page{.limit = 2});
    while (page.more) {
        for (const Job& job : page.rows) std::cout << job.name << ' ';
        page = co_await jobs.find_page(ascending(field<&Job::name>), Page{.limit = 2},
                                       after(page.rows.back()));
    }
    for (const Job& job : page.rows) std::cout << job.name << '\n';
}

// What a user asks for: the jobs of a state, if one is given, by name or the latest first.
struct JobList {
    std::optional<std::string> state{};
    std::string part_of_name{};
    bool by_name = false;
    std::int64_t page = 0;
};

asio::awaitable<void> list(txscope::TransactionScope scope, Jobs jobs, JobList wanted) {
    txscope::Criteria<Job> criteria =
        field<&Job::name>.ilike('%' + txscope::escape_like(wanted.part_of_name) + '%');
    if (wanted.state) criteria &= field<&Job::state> == *wanted.state;
    txscope::Orderings<Job> order;
    if (wanted.by_name) order.add(ascending(field<&Job::name>));
    order.add(descending(field<&Job::id>));
    const Page page{.limit = 2, .offset = 2 * wanted.page};
    const auto [found, all] = co_await scope([&] {
        return jobs.find_all(criteria, order, page) && jobs.count(criteria);  // one round trip
    });
    for (const Job& job : found) std::cout << job.name << ' ';
    std::cout << "of " << all << '\n';
}

// Any number of workers may do this at the same time: each gets jobs that no other has.
asio::awaitable<bool> work_on_one(txscope::TransactionScope scope, Jobs jobs) {
    co_return co_await scope([&]() -> asio::awaitable<bool> {
        const auto next =
            co_await jobs.find_all(field<&Job::state> == "new", ascending(field<&Job::id>),
                                   Page{.limit = 1}, for_update.skip_locked());
        for (const Job& job : next)
            co_await jobs.update(job.id, field<&Job::state> = "done");  // unlocked by the commit
        co_return !next.empty();
    });
}

asio::awaitable<void> search(Jobs jobs, std::string beginning) {
    const auto wanted =
        sql("starts_with(lower($), $)", field<&Job::name>, beginning) &&
        row(field<&Job::state>, field<&Job::id>) > row("done", 2) &&
        sql("$ IN (SELECT job_id FROM runs WHERE seconds > $)", field<&Job::id>, 0.5);
    const auto longest_first = descending(sql<int>("length($)", field<&Job::name>));
    for (const Job& job : co_await jobs.find_all(wanted, longest_first, Page{.limit = 3}))
        std::cout << job.name << '\n';
}

asio::awaitable<void> parts_and_sums(Jobs jobs) {
    const auto by_name = ascending(field<&Job::name>);
    for (const JobState& job : co_await jobs.select<JobState>(by_name))  // these columns alone
        std::cout << job.name << " is " << job.state << '\n';
    for (const auto& [state, count] : co_await jobs.count_by(field<&Job::state>))
        std::cout << count << ' ' << state << '\n';
    for (const JobTime& job : co_await jobs.slowest(3))  // a join, in the repository's own SQL
        std::cout << job.name << " took " << job.seconds << " s\n";
}

// In one transaction, whose memory is that of a batch, however many jobs there are.
asio::awaitable<void> note_all(Jobs jobs) {
    const auto note = [&](Job job) -> asio::awaitable<void> {  // or a function that returns void
        co_await jobs.update(job.id, field<&Job::note> = "seen " + job.name);
    };
    co_await jobs.stream(field<&Job::state> == "done", ascending(field<&Job::id>), note);
}

asio::awaitable<void> rename_all(txscope::AsyncSessionFactory sessions, std::vector<Job> renamed) {
    std::vector<txscope::Statement> statements;
    for (const Job& job : renamed)
        statements.emplace_back("UPDATE jobs SET name = $1 WHERE id = $2", job.name, job.id);
    co_await sessions.execute_all(std::move(statements));  // one round trip: all of them, or none
}

asio::awaitable<std::size_t> count_found(txscope::TransactionScope scope, Jobs jobs,
                                         std::vector<std::string> names) {
    co_return co_await scope([&]() -> asio::awaitable<std::size_t> {
        const auto find = [&](const std::string& name) {
            return jobs.find(field<&Job::name> == name);
        };
        const auto found = co_await txscope::all(names | std::views::transform(find));
        co_return std::size_t(std::ranges::count_if(  // one round trip, in the names' order
            found, [](const std::optional<Job>& job) { return job.has_value(); }));
    });
}

void expect(bool holds, const char* what) {
    if (!holds) throw std::logic_error{what};
}

// As a test of the program's own would.
void check_sql(const std::string& dsn) {
    const auto mismatches = txscope::testing::check<Jobs>(dsn);
    for (const std::string& one : mismatches) std::cout << one << '\n';
    expect(mismatches.empty(), "the program and its schema fit together");
}

asio::awaitable<void> run(txscope::AsyncSessionFactory sessions) {
    co_await sessions.execute(jobs_table);
    co_await sessions.execute(runs_table);
    const Jobs jobs{sessions};
    const txscope::TransactionScope scope{sessions};

    co_await upsert(jobs);
    std::vector<Job> more(4);
    for (std::size_t i = 0; i < more.size(); ++i) more[i].name = "test " + std::to_string(i);
    more = co_await jobs.create_all(more);

    const JobPatch request{.state = "stopped", .note = std::nullopt};
    const auto patched = co_await patch(jobs, more[0].id, request);
    expect(patched && patched->state == "stopped" && !patched->note, "a job is patched");

    co_await every_page(jobs);
    const JobList wanted{.state = "new", .part_of_name = "TEST", .by_name = true, .page = 0};
    co_await list(scope, jobs, wanted);
    int done = 0;
    for (bool worked = true; worked; done += worked) worked = co_await work_on_one(scope, jobs);
    expect(done == 4, "every new job is worked on");

    co_await note_all(jobs);
    for (Job& job : more) job.name += '\'';
    co_await rename_all(sessions, more);
    std::vector<std::string> names{"build", "none"};
    for (const Job& job : more) names.push_back(job.name);
    const auto found = co_await count_found(scope, jobs, names);
    expect(found == 5, "all but one are found");

    co_await sessions.execute("INSERT INTO runs (job_id, seconds) SELECT id, id FROM jobs");
    co_await search(jobs, "te");
    co_await parts_and_sums(jobs);
    co_await sessions.close();
}

}  // namespace

int main() {
    txscope::TemporaryPostgres server;
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, server.dsn()};
    asio::co_spawn(io, run(sessions), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    io.run();
    check_sql(server.dsn());
}
