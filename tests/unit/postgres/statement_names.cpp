#include "support/catch.hpp"
#include <txscope/postgres/detail/statement_names.hpp>

#include <chrono>
#include <map>
#include <set>
#include <string>

using namespace std::chrono_literals;
using txscope::detail::StatementKind;
using txscope::detail::StatementNames;
using txscope::detail::StatementNaming;

TEST_CASE("a text has the name that it was given, and no other has it", "[statement_names]") {
    StatementNames names{StatementNaming{4}};
    CHECK(names.find("SELECT 1") == nullptr);
    const std::string name = names.insert("SELECT 1", {.changes_session = true}).name;
    names.insert("SELECT 2", {});
    REQUIRE(names.find("SELECT 1") != nullptr);
    CHECK(names.find("SELECT 1")->name == name);
    CHECK(names.find("SELECT 1")->kind.changes_session);
    CHECK(names.find("SELECT 2")->name != name);
    CHECK(names.find("SELECT 3") == nullptr);
}

TEST_CASE("many texts that are found in turn have their own names, until they are erased",
          "[statement_names]") {
    StatementNames names{StatementNaming{16}};
    const auto text = [](int i) { return "SELECT " + std::to_string(i); };
    std::map<int, std::string> given;
    for (int i = 0; i < 10; ++i) given[i] = names.insert(text(i), {}).name;
    for (int round = 0; round < 3; ++round)
        for (const auto& [i, name] : given) {
            REQUIRE(names.find(text(i)) != nullptr);
            CHECK(names.find(text(i))->name == name);
        }
    names.erase_if([&](const auto& entry) { return entry.name == given[9]; });
    CHECK(names.find(text(9)) == nullptr);
    CHECK(names.find(text(8)) != nullptr);
    names.clear();
    CHECK(names.find(text(8)) == nullptr);
}

TEST_CASE("no name is ever given twice, by whatever connection", "[statement_names]") {
    const StatementNaming naming{4};
    std::set<std::string> given;
    for (int connection = 0; connection < 3; ++connection) {
        StatementNames names{naming};
        for (int i = 0; i < 3; ++i) {
            auto& entry = names.insert("SELECT 1", {});
            given.insert(entry.name);
            names.renew(entry);
            given.insert(entry.name);
            names.clear();
        }
    }
    CHECK(given.size() == 18);
    CHECK(given.begin()->size() <= 63);  // what PostgreSQL keeps of a name
}

TEST_CASE("an error's text is known to be about one of the names, in any language",
          "[statement_names]") {
    StatementNames mine{StatementNaming{4}};
    StatementNames others{StatementNaming{4}};
    const std::string name = mine.insert("SELECT 1", {}).name;
    CHECK(mine.is_named_in("die vorbereitete Anweisung »" + name + "« existiert nicht"));
    CHECK_FALSE(others.is_named_in("prepared statement \"" + name + "\" does not exist"));
}

TEST_CASE("a name is too old when its lifetime is over, and not within its batch",
          "[statement_names]") {
    StatementNames names{StatementNaming{4, 0ms}};
    names.begin_batch();
    auto& entry = names.insert("SELECT 1", {});
    CHECK_FALSE(names.is_too_old(entry));
    const auto named = entry.named;
    while (StatementNames::Clock::now() == named) continue;
    names.begin_batch();
    CHECK(names.is_too_old(entry));
    names.renew(entry);
    CHECK_FALSE(names.is_too_old(entry));
}

TEST_CASE("a lifetime may be as long as its type allows", "[statement_names]") {
    StatementNames names{StatementNaming{4, std::chrono::milliseconds::max()}};
    names.begin_batch();
    CHECK_FALSE(names.is_too_old(names.insert("SELECT 1", {})));
}

TEST_CASE("a new generation ends the names of all who share it, from their next batch on",
          "[statement_names]") {
    StatementNaming naming{4};
    StatementNames one{naming};
    StatementNames other{naming};
    one.insert("SELECT 1", {});
    other.insert("SELECT 1", {});
    naming.begin_generation();
    CHECK(one.find("SELECT 1") != nullptr);
    CHECK(one.begin_batch());
    CHECK(other.begin_batch());
    CHECK(one.find("SELECT 1") == nullptr);
    CHECK(other.find("SELECT 1") == nullptr);
    CHECK_FALSE(one.begin_batch());
    CHECK(one.enabled());
}

TEST_CASE("when naming is stopped, there are no names any more", "[statement_names]") {
    StatementNaming naming{4};
    StatementNames names{naming};
    names.insert("SELECT 1", {});
    CHECK(naming.stop());
    CHECK_FALSE(naming.stop());
    CHECK(names.begin_batch());
    CHECK_FALSE(names.enabled());
    CHECK(names.size() == 0);
    CHECK_FALSE(StatementNames{naming}.enabled());
}

TEST_CASE("names that are to be kept by none are not enabled", "[statement_names]") {
    CHECK_FALSE(StatementNames{StatementNaming{0}}.enabled());
    CHECK(StatementNames{StatementNaming{1}}.enabled());
}
