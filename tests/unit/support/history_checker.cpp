#include "support/history_checker.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

using support::Append;
using support::Fate;
using support::History;
using support::Operation;
using support::Phenomenon;
using support::Read;
using Phenomena = std::vector<Phenomenon>;

namespace {

constexpr Fate committed = Fate::committed;
constexpr Fate aborted = Fate::aborted;
constexpr Fate in_doubt = Fate::in_doubt;

Phenomena phenomena(const History& history) {
    Phenomena found;
    for (const support::Anomaly& anomaly : support::find_anomalies(history)) {
        UNSCOPED_INFO(anomaly);
        found.push_back(anomaly.phenomenon);
    }
    return found;
}

constexpr int x = 1;
constexpr int y = 2;

/// A database of lists that runs one transaction after another, and takes them down.
class SerialDatabase {
public:
    explicit SerialDatabase(unsigned seed) : random{seed} {}

    void run_one() {
        const int kind = pick(0, 9);
        const Fate fate = kind == 0 ? aborted : kind == 1 ? in_doubt : committed;
        const bool takes_place = fate == committed || (fate == in_doubt && pick(0, 1) == 0);
        std::map<int, std::vector<int>> state = lists;
        std::vector<Operation> operations;
        for (int count = pick(1, 5); count > 0; --count) {
            const int key = pick(1, 20);
            if (pick(0, 1) == 0) {
                operations.push_back(Read{key, state[key]});
            } else {
                state[key].push_back(++last_value);
                operations.push_back(Append{key, last_value});
            }
        }
        if (takes_place) lists = std::move(state);
        history.push_back({fate, std::move(operations)});
    }
    int pick(int least, int most) { return std::uniform_int_distribution{least, most}(random); }

    std::mt19937 random;
    std::map<int, std::vector<int>> lists;
    int last_value = 0;
    History history;
};

}  // namespace

TEST_CASE("a history in which nothing happened has nothing wrong", "[history]") {
    CHECK(phenomena({}).empty());
    CHECK(phenomena({{committed, {}}, {aborted, {}}, {in_doubt, {}}}).empty());
}

TEST_CASE("transactions that could have run one after another have nothing wrong", "[history]") {
    CHECK(phenomena({
                        {committed, {Append{x, 1}, Append{y, 1}, Read{x, {1}}}},
                        {aborted, {Read{x, {1}}, Append{x, 2}}},
                        {committed, {Read{x, {1}}, Append{x, 3}, Append{x, 4}, Read{x, {1, 3, 4}}}},
                        {committed, {Read{y, {1}}, Read{x, {1, 3, 4}}}},
                    })
              .empty());
}

TEST_CASE("the order in which they were recorded does not matter", "[history]") {
    CHECK(phenomena({
                        {committed, {Read{x, {1, 2}}, Read{y, {}}}},
                        {committed, {Read{x, {1}}, Append{x, 2}}},
                        {committed, {Append{y, 3}}},
                        {committed, {Append{x, 1}}},
                    })
              .empty());
}

TEST_CASE("one value twice is seen", "[history]") {
    CHECK(phenomena({{committed, {Append{x, 1}}}, {committed, {Read{x, {1, 1}}}}}) ==
          Phenomena{Phenomenon::duplicate});
    CHECK(phenomena({{committed, {Append{x, 1}}}, {committed, {Append{x, 1}}}}) ==
          Phenomena{Phenomenon::duplicate});
}

TEST_CASE("a value from nowhere is seen", "[history]") {
    CHECK(phenomena({{committed, {Append{y, 1}}}, {committed, {Read{x, {1}}}}}) ==
          Phenomena{Phenomenon::unknown_value});
}

TEST_CASE("a transaction that does not read its own writes is seen", "[history]") {
    CHECK(phenomena({{committed, {Append{x, 1}, Read{x, {}}}}}) ==
          Phenomena{Phenomenon::own_write_missed});
    CHECK(phenomena({{committed, {Read{x, {1}}, Append{x, 1}}}}) ==
          Phenomena{Phenomenon::own_write_missed});
    CHECK(phenomena({{committed, {Append{x, 1}, Append{x, 2}, Read{x, {2, 1}}}}}) ==
          Phenomena{Phenomenon::own_write_missed});
}

TEST_CASE("readings of which neither begins with the other are seen", "[history]") {
    CHECK(phenomena({
              {committed, {Append{x, 1}}},
              {committed, {Append{x, 2}}},
              {committed, {Append{x, 3}}},
              {committed, {Read{x, {1, 2, 3}}}},
              {committed, {Read{x, {2}}}},
          }) == Phenomena{Phenomenon::incompatible_order, Phenomenon::g2});
}

TEST_CASE("G0: a cycle of writes is seen", "[history]") {
    CHECK(phenomena({
              {committed, {Append{x, 1}, Append{y, 1}}},
              {committed, {Append{x, 2}, Append{y, 2}}},
              {committed, {Read{x, {1, 2}}}},
              {committed, {Read{y, {2, 1}}}},
          }) == Phenomena{Phenomenon::g0});
    CHECK(phenomena({
              {committed, {Append{x, 1}, Append{x, 3}}},
              {committed, {Append{x, 2}}},
              {committed, {Read{x, {1, 2, 3}}}},
          }) == Phenomena{Phenomenon::g0});
}

TEST_CASE("G1a: reading what was aborted is seen", "[history]") {
    CHECK(phenomena({{aborted, {Append{x, 1}}}, {committed, {Read{x, {1}}}}}) ==
          Phenomena{Phenomenon::g1a});
}

TEST_CASE("an aborted transaction may have read anything", "[history]") {
    CHECK(phenomena({{aborted, {Append{x, 1}}}, {aborted, {Read{x, {1, 2}}}}}).empty());
}

TEST_CASE("G1b: reading what its writer went on to change is seen", "[history]") {
    CHECK(phenomena({
              {committed, {Append{x, 1}, Append{x, 2}}},
              {committed, {Read{x, {1}}}},
              {committed, {Read{x, {1, 2}}}},
          }) == Phenomena{Phenomenon::g1b, Phenomenon::g2});
    CHECK(phenomena({{committed, {Append{x, 1}, Append{x, 2}}}, {committed, {Read{x, {1}}}}}) ==
          Phenomena{Phenomenon::g1b, Phenomenon::g2});
}

TEST_CASE("G1c: information that flows in a circle is seen", "[history]") {
    CHECK(phenomena({
              {committed, {Append{x, 1}, Read{y, {2}}}},
              {committed, {Append{y, 2}, Read{x, {1}}}},
          }) == Phenomena{Phenomenon::g1c});
    // One wrote before the other, and read from it.
    CHECK(phenomena({
              {committed, {Append{x, 1}, Read{y, {2}}}},
              {committed, {Append{x, 2}, Append{y, 2}}},
              {committed, {Read{x, {1, 2}}}},
          }) == Phenomena{Phenomenon::g1c});
}

TEST_CASE("G2: a write skew is seen", "[history]") {
    const History skew{
        {committed, {Read{x, {}}, Read{y, {}}, Append{x, 1}}},
        {committed, {Read{x, {}}, Read{y, {}}, Append{y, 2}}},
    };
    CHECK(phenomena(skew) == Phenomena{Phenomenon::g2});
    History seen = skew;
    seen.push_back({committed, {Read{x, {1}}, Read{y, {2}}}});
    CHECK(phenomena(seen) == Phenomena{Phenomenon::g2});
}

TEST_CASE("G2: a lost update is seen", "[history]") {
    CHECK(phenomena({
              {committed, {Read{x, {}}, Append{x, 1}}},
              {committed, {Read{x, {}}, Append{x, 2}}},
              {committed, {Read{x, {1, 2}}}},
          }) == Phenomena{Phenomenon::g2});
}

TEST_CASE("G2: a reading that does not belong together is seen", "[history]") {
    CHECK(phenomena({
              {committed, {Append{x, 1}, Append{y, 1}}},
              {committed, {Read{x, {}}, Read{y, {1}}}},
          }) == Phenomena{Phenomenon::g2});
    CHECK(phenomena({
              {committed, {Append{x, 1}}},
              {committed, {Read{x, {}}, Read{x, {1}}}},
          }) == Phenomena{Phenomenon::g2});
}

TEST_CASE("G2: Fekete's reader of half of the past is seen", "[history]") {
    const History without_reader{
        {committed, {Read{x, {}}, Read{y, {}}, Append{x, 1}}},
        {committed, {Append{y, 2}}},
    };
    CHECK(phenomena(without_reader).empty());
    History with_reader = without_reader;
    with_reader.push_back({committed, {Read{x, {}}, Read{y, {2}}}});
    CHECK(phenomena(with_reader) == Phenomena{Phenomenon::g2});
}

TEST_CASE("a transaction in doubt may have taken place or not", "[history]") {
    const History history{{in_doubt, {Append{x, 1}}}, {committed, {Append{x, 2}}}};
    History seen = history;
    seen.push_back({committed, {Read{x, {1, 2}}}});
    CHECK(phenomena(seen).empty());
    History unseen = history;
    unseen.push_back({committed, {Read{x, {2}}}});
    CHECK(phenomena(unseen).empty());
}

TEST_CASE("a transaction in doubt of which something was seen has taken place as a whole",
          "[history]") {
    // Seen by one that is in doubt itself, and seen.
    CHECK(phenomena({
              {in_doubt, {Append{x, 1}, Append{y, 1}}},
              {in_doubt, {Read{x, {1}}, Append{x, 2}}},
              {committed, {Read{x, {1, 2}}, Read{y, {}}}},
          }) == Phenomena{Phenomenon::g2});
    CHECK(phenomena({
                        {in_doubt, {Append{x, 1}, Append{y, 1}}},
                        {in_doubt, {Read{x, {1}}, Append{x, 2}}},
                        {committed, {Read{x, {}}, Read{y, {}}}},
                    })
              .empty());
}

TEST_CASE("what is found is told with the transactions and lists it is about", "[history]") {
    const auto anomalies = support::find_anomalies({
        {committed, {Append{7, 1}, Read{8, {2}}}},
        {committed, {Append{8, 2}, Read{7, {1}}}},
    });
    REQUIRE(anomalies.size() == 1);
    CHECK(anomalies[0].description == "T0 -wr 7:1-> T1 -wr 8:2-> T0");
}

TEST_CASE("a long history of transactions one after another has nothing wrong", "[history]") {
    const unsigned seed = GENERATE(1U, 2U, 3U);
    CAPTURE(seed);
    SerialDatabase database{seed};
    for (int count = 0; count < 2000; ++count) database.run_one();
    std::shuffle(database.history.begin(), database.history.end(), database.random);
    CHECK(phenomena(database.history).empty());
}

TEST_CASE("one wrong transaction in a long history is found", "[history]") {
    const unsigned seed = GENERATE(1U, 2U, 3U);
    CAPTURE(seed);
    SerialDatabase database{seed};
    for (int count = 0; count < 1000; ++count) database.run_one();
    auto& lists = database.lists;
    Phenomena expected;
    SECTION("a write skew") {
        database.history.push_back({committed, {Read{1, lists[1]}, Append{2, -1}}});
        database.history.push_back({committed, {Read{2, lists[2]}, Append{1, -2}}});
        lists[2].push_back(-1);
        lists[1].push_back(-2);
        expected = {Phenomenon::g2};
    }
    SECTION("a lost update") {
        database.history.push_back({committed, {Read{1, lists[1]}, Append{1, -1}}});
        database.history.push_back({committed, {Read{1, lists[1]}, Append{1, -2}}});
        lists[1].insert(lists[1].end(), {-1, -2});
        expected = {Phenomenon::g2};
    }
    SECTION("half of a transaction") {
        database.history.push_back({committed, {Append{1, -1}, Append{2, -1}}});
        lists[1].push_back(-1);
        database.history.push_back({committed, {Read{1, lists[1]}, Read{2, lists[2]}}});
        lists[2].push_back(-1);
        expected = {Phenomenon::g2};
    }
    SECTION("something aborted") {
        database.history.push_back({aborted, {Append{1, -1}}});
        lists[1].push_back(-1);
        database.history.push_back({committed, {Read{1, lists[1]}}});
        expected = {Phenomenon::g1a};
    }
    for (int count = 0; count < 1000; ++count) database.run_one();
    std::shuffle(database.history.begin(), database.history.end(), database.random);
    const Phenomena found = phenomena(database.history);
    for (const Phenomenon phenomenon : expected) CHECK(std::ranges::count(found, phenomenon) > 0);
    for (const Phenomenon phenomenon : found) CHECK(std::ranges::count(expected, phenomenon) > 0);
}

TEST_CASE("a circle of a hundred transactions is found, and its opening closes the case",
          "[history]") {
    constexpr int length = 100;
    History chain;
    // Each has read the list that the next one writes to.
    for (int number = 0; number < length; ++number)
        chain.push_back({committed, {Append{number, 1}, Read{number + 1, {}}}});
    chain.push_back({committed, {Read{length, {}}}});
    CHECK(phenomena(chain).empty());
    chain.push_back({committed, {Append{length, 1}, Read{0, {}}}});
    CHECK(phenomena(chain) == Phenomena{Phenomenon::g2});
}

TEST_CASE("of cycles that have nothing in common each is found", "[history]") {
    History skews;
    for (int list = 0; list < 10; list += 2) {
        skews.push_back({committed, {Append{list, 1}, Read{list + 1, {}}}});
        skews.push_back({committed, {Append{list + 1, 1}, Read{list, {}}}});
        skews.push_back({committed, {Read{list, {1}}, Read{list + 1, {1}}}});
    }
    CHECK(phenomena(skews) == Phenomena(5, Phenomenon::g2));
}
