#include "support/catch.hpp"
#include <txscope/observing/printing_observer.hpp>

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <set>
#include <source_location>
#include <stdexcept>
#include <string>

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

TEST_CASE("the printing observer writes an event as a line", "[printing_observer]") {
    const auto close = [](std::FILE* file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file{std::tmpfile(), close};
    REQUIRE(file);
    PrintingObserver printing{file.get()};
    printing.notice(event(ScopeEvent::begin));
    printing.notice(event(ScopeEvent::in_doubt));
    std::rewind(file.get());
    std::array<char, 1000> text{};
    const auto size = std::fread(text.data(), 1, text.size(), file.get());
    CHECK(std::string(text.data(), size) ==
          "txscope: begin after 0.015 ms\ntxscope: in doubt after 0.015 ms\n");
}
