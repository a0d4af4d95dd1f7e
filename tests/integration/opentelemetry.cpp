#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include <txscope/observing/opentelemetry_observer.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <source_location>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// Spans as OpenTelemetry has them, kept in memory instead of exported.
namespace opentelemetry_spans {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using support::ScopeFixture;
using txscope::Session;
using txscope::Tracer;
using txscope::TransactionScope;
using Attributes = std::map<std::string, std::string>;

class InMemoryTracer : public Tracer {
public:
    struct Finished {
        std::string name;
        Kind kind;
        std::size_t id;
        std::size_t parent;
        Attributes attributes;
        std::vector<std::string> events{};
        std::string failure{};
    };

    std::unique_ptr<Span> start(std::string_view name, Kind kind,
                                std::span<const Attribute> attributes, Span* parent) override {
        const std::lock_guard lock{mutex_};
        const auto* around = static_cast<const Live*>(parent);
        auto live = std::make_unique<Live>(*this);
        live->told = {std::string{name}, kind, ++started_, around ? around->told.id : 0, {}};
        for (const Attribute& each : attributes) live->set(each);
        return live;
    }
    std::vector<Finished> finished() const {
        const std::lock_guard lock{mutex_};
        return finished_;
    }
    Finished of(const std::string& name) const {
        for (const Finished& each : finished())
            if (each.name == name) return each;
        throw std::out_of_range{name};
    }
    static std::string traceparent_of(std::size_t id) {
        return fmt::format("00-{:032x}-{:016x}-01", 0xabcdef, id);
    }

private:
    struct Live : Span {
        explicit Live(InMemoryTracer& to) : tracer{to} {}
        void set(const Attribute& attribute) override {
            const auto* text = std::get_if<std::string_view>(&attribute.value);
            told.attributes[std::string{attribute.key}] =
                text ? std::string{*text} : std::to_string(std::get<std::int64_t>(attribute.value));
        }
        void add_event(std::string_view name, std::span<const Attribute>) override {
            told.events.emplace_back(name);
        }
        void fail(std::string_view description) override { told.failure = description; }
        void end() override {
            const std::lock_guard lock{tracer.mutex_};
            tracer.finished_.push_back(told);
        }
        std::string traceparent() const override { return traceparent_of(told.id); }
        InMemoryTracer& tracer;
        Finished told{};
    };

    mutable std::mutex mutex_;
    std::size_t started_ = 0;
    std::vector<Finished> finished_;
};

struct Traced {
    InMemoryTracer tracer;
    txscope::OpenTelemetryObserver observer{tracer};
    ScopeFixture fixture{{.observer = &observer}};
};

TEST_CASE("statements and scopes have the names and attributes of the conventions",
          "[opentelemetry]") {
    Traced with;
    const auto line = std::source_location::current().line() + 1;
    const TransactionScope scope{with.fixture.sessions, {.label = "transfer"}};
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            co_await session.execute("  select $1::int", 42);
        });
    });
    const std::string database = with.fixture.database.name();
    const auto select = with.tracer.of("SELECT " + database);
    CHECK(select.kind == Tracer::Kind::client);
    CHECK(select.attributes.at("db.system.name") == "postgresql");
    CHECK(select.attributes.at("db.query.text") == "  select $1::int");
    CHECK(select.attributes.at("db.operation.name") == "SELECT");
    CHECK(select.attributes.at("db.namespace") == database);
    CHECK(!select.attributes.at("server.address").empty());
    CHECK(std::stoi(select.attributes.at("server.port")) > 0);
    CHECK(!select.attributes.contains("error.type"));
    const auto transfer = with.tracer.of("transfer");
    CHECK(transfer.kind == Tracer::Kind::internal);
    CHECK(transfer.parent == 0);
    CHECK(transfer.attributes.at("txscope.outcome") == "commit");
    CHECK(transfer.attributes.at("code.line.number") == std::to_string(line));
    CHECK_THAT(transfer.attributes.at("code.file.path"), ContainsSubstring("opentelemetry.cpp"));
    for (const auto& name : {"SELECT " + database, "COMMIT " + database, std::string{"wait"}})
        CHECK(with.tracer.of(name).parent == transfer.id);
    CHECK(with.tracer.finished().back().name == "transfer");
}

TEST_CASE("a failure is told by its SQLSTATE, or its type, and a retry is an event",
          "[opentelemetry]") {
    Traced with;
    const TransactionScope tried{
        with.fixture.sessions,
        {.retry = {.max_attempts = 2, .initial_backoff = 1ms, .max_backoff = 1ms},
         .label = "tried"}};
    const TransactionScope thrown{with.fixture.sessions, {.label = "thrown"}};
    with.fixture.run([&]() -> asio::awaitable<void> {
        const auto fails = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute(
                "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
        };
        const auto throws = []() -> asio::awaitable<void> {
            throw std::runtime_error{"not today"};
            co_return;
        };
        co_await support::failure_of(tried(fails));
        co_await support::failure_of(thrown(throws));
    });
    for (const auto& each : with.tracer.finished()) {
        if (each.name != "tried" && !each.name.starts_with("DO ")) continue;
        CHECK(each.attributes.at("db.response.status_code") == "40001");
        CHECK(each.attributes.at("error.type") == "40001");
        CHECK_THAT(each.failure, ContainsSubstring("again"));
    }
    CHECK(with.tracer.of("tried").events == std::vector<std::string>{"retry"});
    CHECK(with.tracer.of("tried").attributes.at("txscope.outcome") == "rollback");
    CHECK(with.tracer.of("thrown").attributes.at("error.type") == "std::runtime_error");
    CHECK(!with.tracer.of("thrown").attributes.contains("db.response.status_code"));
    CHECK(with.tracer.of("thrown").failure == "not today");
}

TEST_CASE("the server is told the scope's traceparent behind BEGIN", "[opentelemetry]") {
    Traced with;
    with.fixture.database.query("ALTER DATABASE " + with.fixture.database.name() +
                                " SET log_statement = 'all'");
    const TransactionScope scope{
        with.fixture.sessions,
        {.isolation = txscope::IsolationLevel::serializable, .label = "traced"}};
    with.fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([&]() -> asio::awaitable<void> { co_await with.fixture.insert("one"); });
    });
    const auto id = with.tracer.of("traced").id;
    CHECK_THAT(support::server().log(),
               ContainsSubstring("/* traced */ BEGIN ISOLATION LEVEL SERIALIZABLE /*traceparent='" +
                                 InMemoryTracer::traceparent_of(id) + "'*/"));
}

TEST_CASE("no traceparent breaks out of its comment", "[opentelemetry]") {
    struct Hostile : txscope::Observer {
        struct Said : txscope::Span {
            void end(const std::exception_ptr&) noexcept override {}
            std::string traceparent() const override { return "'*/; DROP TABLE entries; --"; }
        };
        std::unique_ptr<txscope::Span> start(const txscope::SpanStart& start) noexcept override {
            if (start.kind != txscope::SpanStart::scope) return nullptr;
            return std::make_unique<Said>();
        }
        void notice(const txscope::ScopeEvent&) noexcept override {}
    } hostile;
    ScopeFixture fixture{{.observer = &hostile}};
    fixture.run(fixture.insert_alone("one"));
    CHECK(fixture.names() == ScopeFixture::Names{"one"});
}

enum class Call {
    none,
    start,
    set,
    add_event,
    fail,
    end,
    traceparent
};

/// Throws in one of its functions, or traces nothing.
class FailingTracer : public Tracer {
public:
    explicit FailingTracer(Call throws_in) : throws_in_{throws_in} {}

    std::unique_ptr<Span> start(std::string_view, Kind, std::span<const Attribute>,
                                Span*) override {
        call(Call::start);
        if (throws_in_ == Call::none) return nullptr;
        return std::make_unique<Failing>(*this);
    }
    int ends() const { return ends_; }
    int started() const { return started_; }

private:
    struct Failing : Span {
        explicit Failing(FailingTracer& tracer) : of{tracer} { ++of.started_; }
        void set(const Attribute&) override { of.call(Call::set); }
        void add_event(std::string_view, std::span<const Attribute>) override {
            of.call(Call::add_event);
        }
        void fail(std::string_view) override { of.call(Call::fail); }
        void end() override {
            ++of.ends_;
            of.call(Call::end);
        }
        std::string traceparent() const override {
            of.call(Call::traceparent);
            return {};
        }
        FailingTracer& of;
    };
    void call(Call which) const {
        if (which == throws_in_) throw std::runtime_error{"the tracer"};
    }

    const Call throws_in_;
    int started_ = 0;
    int ends_ = 0;
};

TEST_CASE("a tracer that throws or traces nothing changes nothing for a transaction",
          "[opentelemetry]") {
    const auto where = GENERATE(Call::none, Call::start, Call::set, Call::add_event, Call::fail,
                                Call::end, Call::traceparent);
    CAPTURE(static_cast<int>(where));
    FailingTracer tracer{where};
    txscope::OpenTelemetryObserver observer{tracer};
    ScopeFixture fixture{{.observer = &observer}};
    const TransactionScope scope{fixture.sessions};
    fixture.run([&]() -> asio::awaitable<void> {
        co_await scope([](Session& session) -> asio::awaitable<void> {
            session.after_commit([] { throw std::runtime_error{"a hook"}; });
            co_await session.execute("SELECT 1");
        });
        const auto fails = [](Session& session) -> asio::awaitable<void> {
            co_await session.execute("SELECT 1/0");
        };
        CHECK_THROWS_AS(co_await scope(fails), txscope::SqlError);
        CHECK_THROWS_AS(co_await fixture.sessions.execute("SELECT 1/0"), txscope::SqlError);
    });
    CHECK(tracer.ends() == tracer.started());
}

}  // namespace opentelemetry_spans
