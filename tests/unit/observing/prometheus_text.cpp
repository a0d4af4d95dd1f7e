#include "support/catch.hpp"
#include <txscope/core/error.hpp>
#include <txscope/observing/prometheus_text.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using txscope::MetricsObserver;
using txscope::PoolEvent;
using txscope::ScopeEvent;
using namespace std::chrono_literals;

namespace {

void tell(MetricsObserver& metrics, ScopeEvent::Kind kind, std::chrono::nanoseconds time,
          std::string_view label = {}, std::exception_ptr error = nullptr) {
    metrics.notice({.kind = kind,
                    .where = {},
                    .label = label,
                    .attempt = 1,
                    .duration = time,
                    .error = std::move(error)});
}

std::exception_ptr error_of(const char* sqlstate) {
    return std::make_exception_ptr(txscope::ConnectionFailed{"no", {.sqlstate = sqlstate}});
}

/// One of each that there can be.
void tell_everything(MetricsObserver& metrics) {
    const auto error = std::make_exception_ptr(std::runtime_error{"no"});
    for (int kind = ScopeEvent::begin; kind <= ScopeEvent::notice; ++kind)
        tell(metrics, static_cast<ScopeEvent::Kind>(kind), 3ms, "", error);
    for (int kind = PoolEvent::opened; kind <= PoolEvent::returned; ++kind)
        metrics.notice_pool({.kind = static_cast<PoolEvent::Kind>(kind),
                             .duration = 3ms,
                             .retirement = PoolEvent::Retirement::idle});
}

/// The names of the metrics in a text, as they can be asked for.
std::set<std::string> names_in(const std::string& text) {
    std::set<std::string> names;
    const std::regex sample{"(^|\n)(txscope_[a-z_]+)"};
    for (std::sregex_iterator it{text.begin(), text.end(), sample}, end; it != end; ++it)
        names.insert((*it)[2]);
    return names;
}

std::string contents_of(const std::filesystem::path& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

TEST_CASE("durations are counted in classes, each with those below it", "[prometheus_text]") {
    MetricsObserver metrics;
    for (const auto time : {50us, 1000us, 1001us}) tell(metrics, ScopeEvent::statement, time);
    tell(metrics, ScopeEvent::statement, 2min);
    const auto text = prometheus_text(metrics, {});
    CHECK_THAT(text, ContainsSubstring("# TYPE txscope_statement_duration_seconds histogram\n"));
    for (const auto* line :
         {"_bucket{le=\"0.0001\"} 1\n", "_bucket{le=\"0.001\"} 2\n", "_bucket{le=\"0.0025\"} 3\n",
          "_bucket{le=\"60\"} 3\n", "_bucket{le=\"+Inf\"} 4\n", "_sum 120.002051\n", "_count 4\n"})
        CHECK_THAT(text,
                   ContainsSubstring(std::string{"\ntxscope_statement_duration_seconds"} + line));
}

TEST_CASE("transactions are counted by outcome, by SQLSTATE class, and by labels that were named",
          "[prometheus_text]") {
    MetricsObserver metrics{{"transfer", "a \"quoted\" one", ""}};
    tell(metrics, ScopeEvent::begin, 0ms, "transfer");
    tell(metrics, ScopeEvent::begin, 0ms, "transfer");
    tell(metrics, ScopeEvent::commit, 3ms, "transfer");
    tell(metrics, ScopeEvent::begin, 0ms, "unnamed");
    tell(metrics, ScopeEvent::rollback, 3ms, "unnamed",
         std::make_exception_ptr(std::runtime_error{"no"}));
    tell(metrics, ScopeEvent::rollback, 3ms, "", error_of("53300"));
    tell(metrics, ScopeEvent::retry, 3ms, "a \"quoted\" one", error_of("53300"));
    const auto text = prometheus_text(metrics, {});
    for (const auto* line :
         {"transaction_duration_seconds_count{label=\"transfer\",outcome=\"commit\"} 1\n",
          "transaction_duration_seconds_count{label=\"\",outcome=\"rollback\"} 2\n",
          "transactions_open{label=\"transfer\"} 1\n",
          "transaction_errors_total{label=\"\",sqlstate_class=\"none\"} 1\n",
          "transaction_errors_total{label=\"\",sqlstate_class=\"53\"} 1\n",
          "transaction_retries_total{label=\"a \\\"quoted\\\" one\"} 1\n"})
        CHECK_THAT(text, ContainsSubstring(std::string{"\ntxscope_"} + line));
    CHECK(text.find("unnamed") == std::string::npos);
}

TEST_CASE("an error is counted by its SQLSTATE's class, a lost connection for 08",
          "[prometheus_text]") {
    const auto counted = [](const std::exception_ptr& error) {
        MetricsObserver metrics;
        tell(metrics, ScopeEvent::statement, 1ms, "", error);
        const std::string text = prometheus_text(metrics, {});
        const std::string_view ahead = "\ntxscope_statement_errors_total{sqlstate_class=\"";
        const auto at = text.find(ahead);
        const auto end = text.find('"', at + ahead.size());
        return text.substr(at + ahead.size(), end - at - ahead.size());
    };
    CHECK(counted(error_of("57P03")) == "57");
    CHECK(counted(error_of("P0001")) == "P0");
    CHECK(counted(error_of("")) == "08");
    CHECK(counted(error_of("wh at")) == "none");
    CHECK(counted(std::make_exception_ptr(txscope::ConnectionLost{"gone"})) == "08");
    CHECK(counted(std::make_exception_ptr(std::runtime_error{"no"})) == "none");
    CHECK(counted(std::make_exception_ptr(42)) == "none");
}

TEST_CASE("a pool is counted, and what it holds is told", "[prometheus_text]") {
    MetricsObserver metrics;
    metrics.notice_pool(
        {.kind = PoolEvent::waited, .duration = 2ms, .outcome = PoolEvent::Wait::timed_out});
    metrics.notice_pool({.kind = PoolEvent::retired, .retirement = PoolEvent::Retirement::lost});
    metrics.notice_pool({.kind = PoolEvent::opening_failed, .is_transient = true});
    metrics.notice_pool({.kind = PoolEvent::returned, .duration = 2ms});
    const auto text = prometheus_text(metrics, {.size = 7, .idle = 3, .waiting = 2});
    for (const auto* line : {"pool_wait_duration_seconds_count{outcome=\"timed_out\"} 1\n",
                             "pool_connections_retired_total{reason=\"lost\"} 1\n",
                             "pool_connections_retired_total{reason=\"idle\"} 0\n",
                             "pool_opening_failures_total{transient=\"true\"} 1\n",
                             "pool_loan_duration_seconds_count 1\n", "pool_connections 7\n",
                             "pool_idle_connections 3\n", "pool_waiters 2\n"})
        CHECK_THAT(text, ContainsSubstring(std::string{"\ntxscope_"} + line));
}

TEST_CASE("events of several threads are all counted, while the numbers are read",
          "[prometheus_text][threads]") {
    MetricsObserver metrics;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int turn = 0; turn < 1000; ++turn) tell_everything(metrics);
        });
    for (int i = 0; i < 20; ++i) CHECK(!prometheus_text(metrics, {}).empty());
    for (std::thread& each : threads) each.join();
    CHECK(metrics.numbers().statements.count() == 4000);
    CHECK(metrics.numbers().loans.count() == 4000);
}

TEST_CASE("the dashboard asks for metrics that are written", "[prometheus_text]") {
    const auto file = std::filesystem::path{__FILE__}.parent_path() / "../../../examples/grafana";
    const std::string dashboard = contents_of(file / "txscope.json");
    MetricsObserver metrics;
    tell_everything(metrics);
    const auto written = names_in(prometheus_text(metrics, {}));
    CHECK(written.size() > 20);
    std::set<std::string> asked;
    const std::regex name{"txscope_[a-z_]+"};
    for (std::sregex_iterator it{dashboard.begin(), dashboard.end(), name}, end; it != end; ++it)
        asked.insert(it->str());
    CHECK(asked.size() > 10);
    for (const std::string& each : asked) {
        CAPTURE(each);
        CHECK(written.contains(each));
    }
}

TEST_CASE("promtool finds nothing wrong with the text", "[prometheus_text]") {
    if (std::system("command -v promtool > /dev/null") != 0) return;  // of Debian's `prometheus`
    MetricsObserver metrics{{"transfer", "a \"quoted\" one, with a \\ and a\nline"}};
    for (int i = 0; i < 2; ++i) {
        std::FILE* const promtool = popen("promtool check metrics >&2", "w");
        REQUIRE(promtool != nullptr);
        std::fputs(prometheus_text(metrics, {}).c_str(), promtool);
        CHECK(pclose(promtool) == 0);
        tell_everything(metrics);
    }
}
