// What many rows take: inserted from structs, read into structs, and page by page. Run it with
// `tests/benchmark/rows`.
//
// One throwaway server, one connection each. The contenders take turns in several rounds, so that a
// slow second of the machine hits them alike: a figure is the median of its rounds, and a ratio the
// median of the ratios within each round.

#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/txscope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>
#include <fmt/core.h>
#include <libpq-fe.h>
#include <pqxx/pqxx>

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace benchmark {
namespace {

namespace asio = boost::asio;
using txscope::ascending;
using txscope::field;
using txscope::Page;

constexpr int rounds = 7;
constexpr int inserted_rows = 100'000;
constexpr int read_rows = 1'000'000;
constexpr int page_rows = 50;

// Autovacuum stays away: it would fall into some contender's round, and not into another's.
constexpr const char* schema = R"(
    CREATE TABLE "inserted" (
        "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "name" text NOT NULL,
        "status" text NOT NULL, "stars" integer NOT NULL) WITH (autovacuum_enabled = off);
    CREATE TABLE "read" (LIKE "inserted" INCLUDING ALL) WITH (autovacuum_enabled = off);)";

struct Project {
    std::int64_t id{};
    std::string name{};
    std::string status{};
    int stars{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status, stars))

class Inserted : public txscope::BaseRepository<Inserted, Project> {
public:
    static constexpr std::string_view table = "inserted";
    static constexpr auto generated = txscope::columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

class Read : public txscope::BaseRepository<Read, Project> {
public:
    static constexpr std::string_view table = "read";
    static constexpr auto generated = txscope::columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

std::vector<Project> projects_to_insert() {
    std::vector<Project> projects;
    for (int i = 0; i < inserted_rows; ++i)
        projects.push_back({0, "project " + std::to_string(i), i % 2 ? "draft" : "active", i % 5});
    return projects;
}

/// One way to do a task, with a connection of its own. Returns how many rows it was.
struct Contender {
    std::string_view name;
    std::function<std::size_t()> work;
    std::vector<double> seconds{};
    std::vector<double> cpu_seconds{};  // of this process; the server is another one
};

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// How many times as fast as `reference` it was.
double speed(const Contender& contender, const Contender& reference) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < contender.seconds.size(); ++i)
        ratios.push_back(reference.seconds[i] / contender.seconds[i]);
    return median(std::move(ratios));
}

/// @param before runs ahead of each, outside its time
void take_turns(std::string_view task, std::vector<Contender>& contenders, std::size_t rows,
                const std::function<void()>& before) {
    for (int round = -1; round < rounds; ++round)
        for (Contender& contender : contenders) {
            before();
            const auto start = std::chrono::steady_clock::now();
            const double cpu_before = cpu_seconds();
            const std::size_t done = contender.work();
            const double cpu = cpu_seconds() - cpu_before;
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
            if (done != rows)
                throw std::runtime_error{std::string{contender.name} + " has other rows"};
            if (round < 0) continue;  // which warms up
            contender.seconds.push_back(took.count());
            contender.cpu_seconds.push_back(cpu);
        }
    fmt::print("{}\n", task);
    for (const Contender& contender : contenders)
        fmt::print("  {:36} {:9.2f} ms  {:7.3f} µs a row, of which CPU {:7.3f}\n", contender.name,
                   median(contender.seconds) * 1e3,
                   median(contender.seconds) * 1e6 / static_cast<double>(rows),
                   median(contender.cpu_seconds) * 1e6 / static_cast<double>(rows));
}

bool verdict(std::string_view what, double figure, double target) {
    const bool reached = figure >= target;
    fmt::print("  {:36} {:9.2f}      {} {}\n", what, figure,
               reached ? "reached:" : "MISSED: at least", target);
    return reached;
}

/// txscope with one connection, on this thread.
class Txscope {
public:
    explicit Txscope(const std::string& dsn) : sessions{io, dsn, {.max_size = 1}} {}

    template <typename T>
    T run(asio::awaitable<T> work) {
        auto result = asio::co_spawn(io, std::move(work), asio::use_future);
        while (result.wait_for(std::chrono::seconds{0}) != std::future_status::ready) io.run_one();
        return result.get();
    }

    asio::io_context io{1};
    txscope::AsyncSessionFactory sessions;
    Inserted inserted{sessions};
    Read read{sessions};
};

std::size_t insert_one_by_one(pqxx::connection& connection, const std::vector<Project>& projects) {
    pqxx::work transaction{connection};
    for (const Project& project : projects)
        transaction.exec_prepared("insert", project.name, project.status, project.stars);
    transaction.commit();
    return projects.size();
}

std::size_t insert_by_stream(pqxx::connection& connection, const std::vector<Project>& projects) {
    pqxx::work transaction{connection};
#if PQXX_VERSION_MAJOR >= 7
    auto stream = pqxx::stream_to::table(transaction, {"inserted"}, {"name", "status", "stars"});
#else
    pqxx::stream_to stream{transaction, "inserted",
                           std::vector<std::string>{"name", "status", "stars"}};
#endif
    for (const Project& project : projects)
        stream << std::make_tuple(project.name, project.status, project.stars);
    stream.complete();
    transaction.commit();
    return projects.size();
}

constexpr const char* select_all = R"(SELECT "id", "name", "status", "stars" FROM "read")";

std::size_t read_by_libpqxx(pqxx::connection& connection) {
    pqxx::work transaction{connection};
    const pqxx::result result = transaction.exec(select_all);
    std::vector<Project> projects;
    projects.reserve(static_cast<std::size_t>(result.size()));
    for (const auto& row : result)
        projects.push_back({row[0].as<std::int64_t>(), row[1].as<std::string>(),
                            row[2].as<std::string>(), row[3].as<int>()});
    transaction.commit();
    return projects.size();
}

std::size_t read_by_libpq(PGconn* connection) {
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result{PQexec(connection, select_all),
                                                                &PQclear};
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
        throw std::runtime_error{PQerrorMessage(connection)};
    std::vector<Project> projects(static_cast<std::size_t>(PQntuples(result.get())));
    for (std::size_t i = 0; i < projects.size(); ++i) {
        const auto text = [&](int column) {
            const int row = static_cast<int>(i);
            return std::string_view{
                PQgetvalue(result.get(), row, column),
                static_cast<std::size_t>(PQgetlength(result.get(), row, column))};
        };
        const auto number = [&](int column, auto& to) {
            const std::string_view digits = text(column);
            std::from_chars(digits.data(), digits.data() + digits.size(), to);
        };
        number(0, projects[i].id);
        projects[i].name = text(1);
        projects[i].status = text(2);
        number(3, projects[i].stars);
    }
    return projects.size();
}

bool measure_inserts(const std::string& dsn, pqxx::connection& admin) {
    const std::vector<Project> projects = projects_to_insert();
    pqxx::connection one{dsn};
    one.prepare("insert",
                R"(INSERT INTO "inserted" ("name", "status", "stars") VALUES ($1, $2, $3))");
    Txscope txscope{dsn};
    std::vector<Contender> contenders{
        {"libpqxx, one by one, prepared", [&] { return insert_one_by_one(one, projects); }},
        {"libpqxx, stream_to", [&] { return insert_by_stream(one, projects); }},
        {"txscope, create_all: rows come back",
         [&] { return txscope.run(txscope.inserted.create_all(projects)).size(); }},
        {"txscope, add_all in a scope",
         [&] {
             const txscope::TransactionScope scope{txscope.sessions};
             txscope.run(scope([&]() -> asio::awaitable<void> {
                 txscope.inserted.add_all(projects);
                 co_return;
             }));
             return projects.size();
         }},
    };
    take_turns("100,000 rows from structs", contenders, inserted_rows,
               [&] { pqxx::nontransaction{admin}.exec(R"(TRUNCATE "inserted"; CHECKPOINT)"); });
    return verdict("create_all, × one by one", speed(contenders[2], contenders[0]), 8) &
           verdict("create_all, × stream_to", speed(contenders[2], contenders[1]), 0.5);
}

bool measure_reads(const std::string& dsn) {
    pqxx::connection libpqxx{dsn};
    const std::unique_ptr<PGconn, void (*)(PGconn*)> libpq{PQconnectdb(dsn.c_str()), &PQfinish};
    Txscope txscope{dsn};
    std::vector<Contender> contenders{
        {"raw libpq, to structs", [&] { return read_by_libpq(libpq.get()); }},
        {"libpqxx, to structs", [&] { return read_by_libpqxx(libpqxx); }},
        {"txscope, find_all", [&] { return txscope.run(txscope.read.find_all()).size(); }},
    };
    take_turns("\n1,000,000 rows to structs", contenders, read_rows, [] {});
    return verdict("find_all, × libpqxx", speed(contenders[2], contenders[1]), 1.3);
}

void measure_pages(const std::string& dsn) {
    Txscope txscope{dsn};
    constexpr std::int64_t depth = read_rows * 9 / 10;
    const Project last{depth, {}, {}, {}};
    constexpr auto id = field<&Project::id>;
    std::vector<Contender> contenders{
        {"behind 900,000 rows by OFFSET",
         [&] {
             const Page page{.limit = page_rows, .offset = depth};
             return txscope.run(txscope.read.find_page(ascending(id), page)).rows.size();
         }},
        {"behind the last row, by after()",
         [&] {
             const Page page{.limit = page_rows};
             const auto behind = txscope::after(last);
             return txscope.run(txscope.read.find_page(ascending(id), page, behind)).rows.size();
         }},
    };
    take_turns("\na page of 50 rows", contenders, page_rows, [] {});
    fmt::print("  {:36} {:9.0f}\n", "after(), × OFFSET", speed(contenders[1], contenders[0]));
}

bool run() {
    txscope::TemporaryPostgres server{{.durable = false, .tcp = false}};
    pqxx::connection admin{server.dsn()};
    pqxx::nontransaction{admin}.exec(
        schema + std::string{R"(INSERT INTO "read" ("name", "status", "stars") SELECT
            'project ' || n, CASE n % 2 WHEN 0 THEN 'draft' ELSE 'active' END, n % 5
            FROM generate_series(1, )"} +
        std::to_string(read_rows) + R"() AS n; ANALYZE "read")");
    pqxx::nontransaction{admin}.exec(R"(VACUUM "read")");
    fmt::print("{} rounds, contenders taking turns; medians\n\n", rounds);
    const bool inserts = measure_inserts(server.dsn(), admin);
    const bool reads = measure_reads(server.dsn());
    measure_pages(server.dsn());
    return inserts && reads;
}

}  // namespace
}  // namespace benchmark

int main() try { return benchmark::run() ? 0 : 2; } catch (const std::exception& error) {
    fmt::print(stderr, "rows: {}\n", error.what());
    return 1;
}
