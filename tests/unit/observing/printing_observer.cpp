#include "support/catch.hpp"
#include <txscope/observing/printing_observer.hpp>

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <set>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

using txscope::PoolEvent;
using txscope::PrintingObserver;
using txscope::ScopeEvent;
using namespace std::chrono_literals;

namespace {

ScopeEvent event(ScopeEvent::Kind kind) {
    return {.kind = kind, .where = {}, .label = {}, .attempt = 1, .duration = 15us};
}

}  // namespace

TEST_CASE("an event is told in one line: what, how long, and where", "[printing_observer]") {
    const auto where = std::source_location::current();
    ScopeEvent commit = event(ScopeEvent::commit);
    CHECK(fmt::format("{}", commit) == "commit after 0.015 ms");
    commit.where = where;
    commit.label = "transfer";
    commit.attempt = 2;
    commit.duration = 1'274'000ns;
    CHECK(fmt::format("{}", commit) == "commit after 1.274 ms, attempt 2, \"transfer\" at " +
                                           std::string{where.file_name()} + ":" +
                                           std::to_string(where.line()));
}

TEST_CASE("a statement is told with its text, and an error with what it says",
          "[printing_observer]") {
    ScopeEvent statement = event(ScopeEvent::statement);
    statement.sql = "SELECT $1";
    CHECK(fmt::format("{}", statement) == "statement after 0.015 ms: SELECT $1");
    statement.error = std::make_exception_ptr(std::runtime_error{"the reason"});
    CHECK(fmt::format("{}", statement) == "statement after 0.015 ms: SELECT $1: the reason");
    statement.error = std::make_exception_ptr(42);
    CHECK(fmt::format("{}", statement) ==
          "statement after 0.015 ms: SELECT $1: an exception of unknown type");
}

TEST_CASE("each kind of event has a name of its own", "[printing_observer]") {
    std::set<std::string> names;
    for (int kind = ScopeEvent::begin; kind <= ScopeEvent::notice; ++kind)
        names.insert(fmt::format("{}", event(static_cast<ScopeEvent::Kind>(kind))));
    CHECK(names.size() == ScopeEvent::notice + 1);
    CHECK_FALSE(names.contains("? after 0.015 ms"));
}

TEST_CASE("an event of a pool is told in one line", "[printing_observer]") {
    const auto told = [](PoolEvent event) { return fmt::format("{}", event); };
    const txscope::ServerName server{.host = "db", .port = "5432", .database = "shop"};
    CHECK(told({.kind = PoolEvent::opened, .duration = 15us, .server = server}) ==
          "connection opened after 0.015 ms: db, port 5432");
    CHECK(told({.kind = PoolEvent::retired,
                .retirement = PoolEvent::Retirement::lifetime,
                .server = server}) == "connection retired (lifetime): db, port 5432");
    CHECK(
        told(
            {.kind = PoolEvent::waited, .duration = 15us, .outcome = PoolEvent::Wait::timed_out}) ==
        "connection waited for after 0.015 ms (timed_out)");
    CHECK(told({.kind = PoolEvent::opening_failed,
                .error = std::make_exception_ptr(std::runtime_error{"no"})}) ==
          "connection not opened after 0.000 ms: no");
}

TEST_CASE("each reason to retire a connection and each end of a wait has a name of its own",
          "[printing_observer]") {
    std::set<std::string_view> names;
    const auto last_retirement = static_cast<int>(PoolEvent::Retirement::closed);
    for (int why = 0; why <= last_retirement; ++why)
        names.insert(to_string(static_cast<PoolEvent::Retirement>(why)));
    CHECK(names.size() == static_cast<std::size_t>(last_retirement) + 1);
    names.clear();
    const auto last_wait = static_cast<int>(PoolEvent::Wait::cancelled);
    for (int outcome = 0; outcome <= last_wait; ++outcome)
        names.insert(to_string(static_cast<PoolEvent::Wait>(outcome)));
    CHECK(names.size() == static_cast<std::size_t>(last_wait) + 1);
}

TEST_CASE("the printing observer writes an event as a line", "[printing_observer]") {
    const auto close = [](std::FILE* file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file{std::tmpfile(), close};
    REQUIRE(file);
    PrintingObserver printing{file.get()};
    printing.notice(event(ScopeEvent::begin));
    printing.notice(event(ScopeEvent::in_doubt));
    printing.notice_pool({.kind = PoolEvent::returned});
    printing.notice_pool({.kind = PoolEvent::opened});
    std::rewind(file.get());
    std::array<char, 1000> text{};
    const auto size = std::fread(text.data(), 1, text.size(), file.get());
    CHECK(std::string(text.data(), size) ==
          "txscope: begin after 0.015 ms\ntxscope: in doubt after 0.015 ms\n"
          "txscope: connection opened after 0.000 ms\n");
}
