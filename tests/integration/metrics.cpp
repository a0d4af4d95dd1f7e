#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/observing/observer_list.hpp>
#include <txscope/observing/prometheus_text.hpp>

#include <boost/asio/awaitable.hpp>

#include <string>

// What is counted of a pool and its scopes while they run.
namespace metrics {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::ScopeFixture;
using txscope::Session;
using txscope::TransactionScope;

TEST_CASE("all that scopes do is counted once", "[metrics]") {
    txscope::MetricsObserver metrics{{"transfer"}};
    support::CheckingObserver checking;
    txscope::ObserverList observers{{&metrics, &checking}};
    ScopeFixture fixture{{.max_size = 1, .observer = &observers}};
    const TransactionScope scope{fixture.sessions, {.label = "transfer"}};
    const auto inserts = [&]() -> asio::awaitable<void> { co_await fixture.insert("one"); };
    const auto selects = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SELECT 1");
    };
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope(inserts);
        co_await scope(selects);
        co_await support::failure_of(scope(inserts));  // there is one already
        co_await fixture.sessions.execute("SELECT 2");
    });
    const std::string text = prometheus_text(metrics, fixture.sessions.statistics());
    for (const auto* line :
         {"transaction_duration_seconds_count{label=\"transfer\",outcome=\"commit\"} 2\n",
          "transaction_duration_seconds_count{label=\"transfer\",outcome=\"rollback\"} 1\n",
          "transaction_errors_total{label=\"transfer\",sqlstate_class=\"23\"} 1\n",
          "transactions_open{label=\"transfer\"} 0\n", "statement_duration_seconds_count 6\n",
          "statement_errors_total{sqlstate_class=\"23\"} 1\n",
          "pool_wait_duration_seconds_count{outcome=\"granted\"} 1\n",
          "pool_opening_duration_seconds_count 1\n", "pool_loan_duration_seconds_count 4\n",
          "pool_loans_total 4\n", "pool_connections 1\n"})
        CHECK_THAT(text, ContainsSubstring(std::string{"\ntxscope_"} + line));
}

}  // namespace metrics
