#include "../../examples/support/opentelemetry_tracer.hpp"

#include "support/catch.hpp"
#include "support/scope_fixture.hpp"

#include <opentelemetry/exporters/memory/in_memory_span_data.h>
#include <opentelemetry/exporters/memory/in_memory_span_exporter.h>
#include <opentelemetry/nostd/variant.h>
#include <opentelemetry/sdk/trace/simple_processor.h>
#include <opentelemetry/sdk/trace/tracer_provider.h>
#include <opentelemetry/trace/scope.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The spans that opentelemetry-cpp exports. Compiled only where that is installed.
namespace opentelemetry_tracer {

namespace asio = boost::asio;
namespace sdk = opentelemetry::sdk::trace;
using Catch::Matchers::ContainsSubstring;
using opentelemetry::trace::SpanKind;
using opentelemetry::trace::StatusCode;
using support::ScopeFixture;
using txscope::Session;
using txscope::TransactionScope;
using Exported = std::vector<std::unique_ptr<sdk::SpanData>>;

struct Traced {
    Exported exported() const { return exporter->GetData()->GetSpans(); }

    // The provider owns it.
    opentelemetry::exporter::memory::InMemorySpanExporter* exporter =
        new opentelemetry::exporter::memory::InMemorySpanExporter;
    sdk::TracerProvider provider{
        std::make_unique<sdk::SimpleSpanProcessor>(std::unique_ptr<sdk::SpanExporter>{exporter})};
    OpenTelemetryTracer tracer{provider.GetTracer("txscope")};
    txscope::OpenTelemetryObserver observer{tracer};
    ScopeFixture fixture{{.observer = &observer}};
};

const sdk::SpanData& find(const Exported& spans, std::string_view name) {
    for (const auto& each : spans)
        if (std::string_view{each->GetName().data(), each->GetName().size()} == name) return *each;
    throw std::out_of_range{std::string{name}};
}
template <typename T = std::string>
T attribute(const sdk::SpanData& of, const std::string& key) {
    return opentelemetry::nostd::get<T>(of.GetAttributes().at(key));
}
template <typename Id>
std::string hexadecimal(const Id& id) {
    std::string digits(2 * Id::kSize, '0');
    id.ToLowerBase16(opentelemetry::nostd::span<char, 2 * Id::kSize>{digits.data(), digits.size()});
    return digits;
}

TEST_CASE("opentelemetry-cpp exports a scope, its wait and its statements as one trace",
          "[opentelemetry_tracer]") {
    Traced with;
    const std::string database = with.fixture.database.name();
    with.fixture.database.query("ALTER DATABASE " + database + " SET log_statement = 'all'");
    const TransactionScope scope{with.fixture.sessions, {.label = "transfer"}};
    const auto request = with.provider.GetTracer("program")->StartSpan("request");
    {
        const opentelemetry::trace::Scope active{request};
        with.fixture.run([&]() -> asio::awaitable<void> {
            co_await scope([](Session& session) -> asio::awaitable<void> {
                co_await session.execute("SELECT $1::int", 42);
            });
        });
    }
    request->End();

    const Exported spans = with.exported();
    const auto& transfer = find(spans, "transfer");
    CHECK(transfer.GetSpanKind() == SpanKind::kInternal);
    CHECK(transfer.GetParentSpanId() == request->GetContext().span_id());
    CHECK(transfer.GetStatus() == StatusCode::kUnset);
    CHECK(attribute(transfer, "txscope.outcome") == "commit");
    CHECK(attribute<std::int64_t>(transfer, "code.line.number") > 0);
    for (const auto& name : {"SELECT " + database, "COMMIT " + database, std::string{"wait"}}) {
        CHECK(find(spans, name).GetParentSpanId() == transfer.GetSpanId());
        CHECK(find(spans, name).GetTraceId() == request->GetContext().trace_id());
    }
    const auto& select = find(spans, "SELECT " + database);
    CHECK(select.GetSpanKind() == SpanKind::kClient);
    CHECK(attribute(select, "db.query.text") == "SELECT $1::int");
    CHECK_THAT(support::server().log(),
               ContainsSubstring("traceparent='00-" + hexadecimal(transfer.GetTraceId()) + "-" +
                                 hexadecimal(transfer.GetSpanId()) + "-01'"));
}

TEST_CASE("opentelemetry-cpp exports what has failed as an error, and what happened as events",
          "[opentelemetry_tracer]") {
    Traced with;
    const TransactionScope scope{with.fixture.sessions,
                                 {.retry = {.max_attempts = 2}, .label = "tried"}};
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await support::failure_of(scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute(
                "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
        }));
    });
    const Exported spans = with.exported();
    const auto& tried = find(spans, "tried");
    CHECK(tried.GetStatus() == StatusCode::kError);
    CHECK_THAT(std::string{tried.GetDescription()}, ContainsSubstring("again"));
    CHECK(attribute(tried, "error.type") == "40001");
    REQUIRE(tried.GetEvents().size() == 1);
    CHECK(tried.GetEvents().front().GetName() == "retry");
    CHECK(find(spans, "DO " + with.fixture.database.name()).GetStatus() == StatusCode::kError);
}

}  // namespace opentelemetry_tracer
