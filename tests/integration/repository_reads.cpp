#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/jobs.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace repository_reads {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::Job;
using support::Jobs;
using txscope::after;
using txscope::ascending;
using txscope::descending;
using txscope::field;
using txscope::Page;

const std::string schema = support::jobs_table + R"(
    INSERT INTO jobs (name, state, note, tries) VALUES
        ('build', 'done', 'x', 1), ('test', 'new', NULL, 2), ('ship', 'new', 'x', 2),
        ('clean', 'done', NULL, 0), ('sign', 'new', 'y', 1))";

struct Summary {
    std::string name{};
    int tries{};
    bool operator==(const Summary&) const = default;
};
BOOST_DESCRIBE_STRUCT(Summary, (), (name, tries))

struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    Jobs jobs{sessions};
};

constexpr auto tries = field<&Job::tries>;
constexpr auto name = field<&Job::name>;

std::string names_of(const std::vector<Job>& jobs) {
    std::string names;
    for (const Job& job : jobs) names += job.name + ' ';
    return names;
}

TEST_CASE("pages go on behind the last row of the one before", "[repository]") {
    Fixture f;
    const auto pages = [&](auto... orderings) {
        std::string names;
        auto page = f.run(f.jobs.find_page(orderings..., Page{.limit = 2}));
        for (;; names += "| ") {
            names += names_of(page.rows);
            if (!page.more) return names;
            page = f.run(f.jobs.find_page(orderings..., Page{.limit = 2}, after(page.rows.back())));
        }
    };
    CHECK(pages(ascending(name)) == "build clean | ship sign | test ");
    CHECK(pages(descending(name)) == "test sign | ship clean | build ");
    CHECK(pages(ascending(tries), ascending(name)) == "clean build | sign ship | test ");
    CHECK(pages(descending(tries), ascending(name)) == "ship test | build sign | clean ");
    CHECK(pages(ascending(tries), descending(name)) == "clean sign | build test | ship ");
    CHECK(pages(ascending(field<&Job::state>), descending(tries), ascending(name)) ==
          "build clean | ship test | sign ");
}

TEST_CASE("a page that was read goes on where it ended, whatever comes and goes before it",
          "[repository]") {
    Fixture f;
    const auto first = f.run(f.jobs.find_page(ascending(name), Page{.limit = 2}));
    f.run(f.jobs.remove(name == "clean"));
    f.run(f.jobs.create(name = "a new one"));
    CHECK(names_of(f.run(f.jobs.find_all(ascending(name), after(first.rows.back()),
                                         field<&Job::state> == "new"))) == "ship sign test ");
}

TEST_CASE("whether there is another page is known from the page itself", "[repository]") {
    Fixture f;
    const auto page = [&](std::int64_t limit) {
        return f.run(f.jobs.find_page(ascending(name), Page{.limit = limit}));
    };
    CHECK(page(4).more);
    CHECK(page(4).rows.size() == 4);
    CHECK_FALSE(page(5).more);
    CHECK(page(0).more);
    CHECK_FALSE(f.run(f.jobs.find_page(name == "none", Page{.limit = 0})).more);
    CHECK_THROWS_AS(f.jobs.find_page(Page{}), pqxx::argument_error);
    CHECK_THROWS_AS(f.jobs.find_page(Page{.limit = -1}), pqxx::argument_error);
    CHECK_THROWS_AS(page(std::numeric_limits<std::int64_t>::max()), pqxx::argument_error);
}

TEST_CASE("a part of the columns is read into a struct of its own", "[repository]") {
    Fixture f;
    const auto summaries =
        f.run(f.jobs.select<Summary>(field<&Job::state> == "done", descending(tries)));
    CHECK(summaries == std::vector<Summary>{{"build", 1}, {"clean", 0}});
}

TEST_CASE("columns are added up, and their smallest and largest values found", "[repository]") {
    Fixture f;
    const auto is_new = field<&Job::state> == "new";
    const auto none = name == "none";
    CHECK(f.run(f.jobs.sum(tries)) == 6);
    CHECK(f.run(f.jobs.sum(tries, is_new)) == 5);
    CHECK(f.run(f.jobs.sum(tries, none)) == std::nullopt);
    CHECK(f.run(f.jobs.average(tries)) == 1.2);
    CHECK(f.run(f.jobs.average(tries, none)) == std::nullopt);
    CHECK(f.run(f.jobs.min(name)) == "build");
    CHECK(f.run(f.jobs.max(tries, field<&Job::state> == "done")) == 1);
    CHECK(f.run(f.jobs.max(field<&Job::note>)) == "y");
    CHECK(f.run(f.jobs.max(field<&Job::note>, is_new, tries == 0)) == std::nullopt);
}

TEST_CASE("rows are counted by the values of a column", "[repository]") {
    Fixture f;
    using Counts = std::vector<std::pair<std::optional<std::string>, std::int64_t>>;
    CHECK(f.run(f.jobs.count_by(field<&Job::note>)) ==
          Counts{{"x", 2}, {"y", 1}, {std::nullopt, 2}});
    CHECK(f.run(f.jobs.count_by(tries, field<&Job::state> == "new")) ==
          std::vector<std::pair<int, std::int64_t>>{{1, 1}, {2, 2}});
}

}  // namespace repository_reads
