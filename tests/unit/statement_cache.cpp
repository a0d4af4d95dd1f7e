#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/postgres/detail/statement_cache.hpp>

#include <chrono>
#include <set>
#include <string>
#include <vector>

using txscope::detail::StatementCache;
using txscope::detail::StatementNaming;

namespace {

using Names = std::vector<std::string>;

// As after a batch whose preparation the server has confirmed.
std::string prepare(StatementCache& cache, const std::string& sql) {
    const std::string name = cache.insert(sql, {}, 1).name;
    cache.confirm(name);
    return name;
}

bool holds(StatementCache& cache, const std::string& sql) { return cache.find(sql) != nullptr; }

}  // namespace

TEST_CASE("a statement cache of capacity 0 is disabled, any other is not", "[statement_cache]") {
    CHECK_FALSE(StatementCache{0}.enabled());
    CHECK(StatementCache{1}.enabled());
}

TEST_CASE("a statement is found by its whole text and no other", "[statement_cache]") {
    StatementCache cache{4};
    const std::string name = prepare(cache, "SELECT 1");

    REQUIRE(cache.find("SELECT 1") != nullptr);
    CHECK(cache.find("SELECT 1")->name == name);
    CHECK(cache.find("SELECT 1 ") == nullptr);
    CHECK(cache.find("select 1") == nullptr);
    CHECK(cache.find("") == nullptr);
}

TEST_CASE("a statement belongs to its batch until the server has confirmed it",
          "[statement_cache]") {
    StatementCache cache{4};
    const std::string name = cache.insert("SELECT 1", {}, 7).name;
    CHECK(cache.find("SELECT 1")->batch == 7);
    cache.confirm(name);
    CHECK(cache.find("SELECT 1")->batch == 0);
}

TEST_CASE("the least recently used statement goes first", "[statement_cache]") {
    StatementCache cache{3};
    prepare(cache, "a");
    const std::string b = prepare(cache, "b");
    prepare(cache, "c");
    CHECK(holds(cache, "a"));  // used again: now b is the oldest

    prepare(cache, "d");
    CHECK(cache.size() == 3);
    CHECK_FALSE(holds(cache, "b"));
    CHECK(holds(cache, "a"));
    CHECK(holds(cache, "c"));
    CHECK(holds(cache, "d"));
    CHECK(cache.take_retired() == Names{b});
}

TEST_CASE("a cache never holds more than its capacity and never uses a name twice",
          "[statement_cache]") {
    StatementCache cache{5};
    std::set<std::string> names;
    for (int i = 0; i < 100; ++i) {
        names.insert(prepare(cache, "SELECT " + std::to_string(i)));
        CHECK(cache.size() <= 5);
    }
    CHECK(names.size() == 100);
    CHECK(cache.take_retired().size() == 95);
}

TEST_CASE("retired names are handed out once, and those given back once more",
          "[statement_cache]") {
    StatementCache cache{1};
    const std::string a = prepare(cache, "a");
    prepare(cache, "b");
    CHECK(cache.take_retired() == Names{a});
    CHECK(cache.take_retired().empty());
    cache.give_back_retired(a);
    CHECK(cache.take_retired() == Names{a});
    CHECK(cache.take_retired().empty());
}

TEST_CASE("a statement that is retired before the server confirmed it is not dropped until then",
          "[statement_cache]") {
    StatementCache cache{1};
    const std::string a = cache.insert("a", {}, 1).name;
    cache.insert("b", {}, 1);

    SECTION("confirmed later, it is there to be dropped") {
        CHECK(cache.take_retired().empty());
        cache.confirm(a);
        CHECK(cache.take_retired() == Names{a});
    }
    SECTION("when its preparation fails there is nothing to drop") {
        cache.forget(a);
        CHECK(cache.take_retired().empty());
        cache.confirm(a);
        CHECK(cache.take_retired().empty());
    }
}

TEST_CASE("a statement that is forgotten is prepared anew and not dropped", "[statement_cache]") {
    StatementCache cache{4};
    const std::string first = prepare(cache, "a");

    cache.forget(first);

    CHECK_FALSE(holds(cache, "a"));
    CHECK(cache.size() == 0);
    CHECK(cache.take_retired().empty());
    CHECK(prepare(cache, "a") != first);
    CHECK(holds(cache, "a"));
}

TEST_CASE("a statement that is retired is prepared anew and dropped", "[statement_cache]") {
    StatementCache cache{4};
    const std::string first = prepare(cache, "a");
    cache.retire("a");
    CHECK_FALSE(holds(cache, "a"));
    CHECK(cache.take_retired() == Names{first});
    CHECK(prepare(cache, "a") != first);
}

TEST_CASE("no two connections give a statement the same name", "[statement_cache]") {
    std::set<std::string> names;
    for (int i = 0; i < 100; ++i) {
        StatementCache cache{4};
        names.insert(prepare(cache, "a"));
        names.insert(prepare(cache, "b"));
    }
    CHECK(names.size() == 200);
    for (const std::string& name : names)
        CHECK(name.size() < 63);  // the server cuts what is longer
}

TEST_CASE("an error's text is known to be about one of the names, in any language",
          "[statement_cache]") {
    StatementCache cache{4};
    const std::string name = prepare(cache, "a");
    CHECK(cache.is_named_in("vorbereitete Anweisung »" + name + "« existiert nicht"));
    CHECK_FALSE(cache.is_named_in("prepared statement \"txscope_1\" does not exist"));
    CHECK_FALSE(StatementCache{4}.is_named_in(name));
}

TEST_CASE("a statement is prepared anew when its lifetime is over, and not within its batch",
          "[statement_cache]") {
    StatementCache cache{StatementNaming{4, std::chrono::milliseconds{0}}};
    cache.begin_batch();
    const std::string first = prepare(cache, "a");
    CHECK(holds(cache, "a"));
    const auto now = StatementCache::Clock::now();
    while (StatementCache::Clock::now() == now) continue;
    cache.begin_batch();
    CHECK_FALSE(holds(cache, "a"));
    CHECK(cache.take_retired() == Names{first});
}

TEST_CASE("a lifetime may be as long as its type allows", "[statement_cache]") {
    StatementCache cache{StatementNaming{4, std::chrono::milliseconds::max()}};
    cache.begin_batch();
    prepare(cache, "a");
    cache.begin_batch();
    CHECK(holds(cache, "a"));
}

TEST_CASE("a new generation ends the statements of all who share it, from their next batch on",
          "[statement_cache]") {
    StatementNaming naming{4};
    StatementCache one{naming};
    StatementCache other{naming};
    const std::string of_one = prepare(one, "a");
    const std::string of_other = prepare(other, "a");
    naming.begin_generation();
    CHECK(holds(one, "a"));
    one.begin_batch();
    other.begin_batch();
    CHECK_FALSE(holds(one, "a"));
    CHECK_FALSE(holds(other, "a"));
    CHECK(one.take_retired() == Names{of_one});
    CHECK(other.take_retired() == Names{of_other});
    prepare(one, "a");
    one.begin_batch();
    CHECK(holds(one, "a"));
}

TEST_CASE("when naming is stopped there are no names any more, and nothing is dropped",
          "[statement_cache]") {
    StatementNaming naming{4};
    StatementCache cache{naming};
    prepare(cache, "a");
    CHECK(naming.stop());
    CHECK_FALSE(naming.stop());
    cache.begin_batch();
    CHECK_FALSE(cache.enabled());
    CHECK_FALSE(holds(cache, "a"));
    CHECK(cache.take_retired().empty());
    CHECK_FALSE(StatementCache{naming}.enabled());
}

TEST_CASE("a statement that is retired for later is dropped once it is confirmed again",
          "[statement_cache]") {
    StatementCache cache{4};
    const std::string name = prepare(cache, "a");
    CHECK(cache.retire_later("a") == name);
    CHECK(cache.retire_later("a").empty());
    CHECK_FALSE(holds(cache, "a"));
    CHECK(cache.take_retired().empty());
    cache.confirm(name);
    CHECK(cache.take_retired() == Names{name});
}

TEST_CASE("a batch may prepare many times what the cache holds", "[statement_cache]") {
    const auto prepare_and_confirm = [](std::size_t count) {
        StatementCache cache{10};
        Names names;
        for (std::size_t i = 0; i < count; ++i)
            names.push_back(cache.insert("SELECT " + std::to_string(i), {}, 1).name);
        for (const std::string& name : names) cache.confirm(name);
        CHECK(cache.take_retired().size() == count - 10);
    };
    CHECK(support::growth(50'000, prepare_and_confirm) < 24);  // not with the square
}

TEST_CASE("names and texts that a cache does not know change nothing", "[statement_cache]") {
    StatementCache cache{2};
    prepare(cache, "a");
    cache.forget("no such name");
    cache.confirm("no such name");
    cache.retire("no such text");
    CHECK(cache.size() == 1);
    CHECK(holds(cache, "a"));
    CHECK(cache.take_retired().empty());
}

TEST_CASE("a cleared cache has nothing left to use or to drop", "[statement_cache]") {
    StatementCache cache{2};
    for (const char* sql : {"a", "b", "c"}) prepare(cache, sql);
    cache.insert("d", {}, 9);
    cache.clear();
    CHECK(cache.size() == 0);
    CHECK_FALSE(holds(cache, "c"));
    CHECK(cache.take_retired().empty());
    const std::string again = prepare(cache, "c");
    CHECK(cache.find("c")->name == again);
}
