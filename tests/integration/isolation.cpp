#include "support/catch.hpp"
#include "support/scope_fixture.hpp"
#include "support/stepped_scope.hpp"

#include <pqxx/except>

#include <string>
#include <vector>

// What each isolation level prevents, and what it lets through: the interleavings of Hermitage
// (https://github.com/ept/hermitage), under the names that Adya gave the anomalies.

namespace isolation {

using txscope::AccessMode;
using txscope::IsolationLevel;
using txscope::TransactionScope;
using Values = std::vector<int>;

struct Fixture : support::ScopeFixture {
    explicit Fixture(IsolationLevel isolation)
        : ScopeFixture{{},
                       "CREATE TABLE test (id int PRIMARY KEY, value int);"
                       "INSERT INTO test VALUES (1, 10), (2, 20)"},
          level{isolation} {}

    Values committed() const {
        Values values;
        for (const std::string& value :
             database.query("SELECT value FROM test ORDER BY id").column())
            values.push_back(std::stoi(value));
        return values;
    }

    const IsolationLevel level;
};

/// One of the transactions of an interleaving.
class Transaction {
public:
    explicit Transaction(Fixture& fixture, AccessMode access = AccessMode::server_default)
        : fixture_{fixture},
          scope_{fixture.io, TransactionScope{fixture.sessions,
                                              {.isolation = fixture.level, .access = access}}} {}

    int read(int id) { return values_where("id = " + std::to_string(id)).at(0); }
    Values values_where(const std::string& condition = "true") {
        Values values;
        for (const txscope::Row row :
             scope_.execute("SELECT value FROM test WHERE " + condition + " ORDER BY id"))
            values.push_back(row.get<int>(0));
        return values;
    }
    void write(int id, int value) { scope_.execute(update(id, value)); }
    void execute(const std::string& sql) { scope_.execute(sql); }

    /// Runs into a lock that another transaction holds.
    void start(const std::string& sql) {
        scope_.start(sql);
        support::run_until(fixture_.io, [&] { return fixture_.waiting_for_locks() == 1; });
    }
    void start_write(int id, int value) { start(update(id, value)); }
    void finish() { scope_.finish(); }

    void commit() { scope_.commit(); }
    void roll_back() { scope_.roll_back(); }

private:
    static std::string update(int id, int value) {
        return "UPDATE test SET value = " + std::to_string(value) +
               " WHERE id = " + std::to_string(id);
    }

    Fixture& fixture_;
    support::SteppedScope scope_;
};

TEST_CASE("read committed: writes of two transactions do not mix (G0)", "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    first.write(1, 11);
    second.start_write(1, 12);
    first.write(2, 21);
    first.commit();
    second.finish();
    CHECK(fixture.committed() == Values{11, 21});
    second.write(2, 22);
    second.commit();
    CHECK(fixture.committed() == Values{12, 22});
}

TEST_CASE("read committed: what is rolled back is never read (G1a)", "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    first.write(1, 101);
    CHECK(second.read(1) == 10);
    first.roll_back();
    CHECK(second.read(1) == 10);
    second.commit();
}

TEST_CASE("read committed: what a transaction overwrites itself is never read (G1b)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    first.write(1, 101);
    CHECK(second.read(1) == 10);
    first.write(1, 11);
    first.commit();
    CHECK(second.read(1) == 11);
    second.commit();
}

TEST_CASE("read committed: two transactions do not read from each other (G1c)", "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    first.write(1, 11);
    second.write(2, 22);
    CHECK(first.read(2) == 20);
    CHECK(second.read(1) == 10);
    first.commit();
    second.commit();
    CHECK(fixture.committed() == Values{11, 22});
}

TEST_CASE("read committed: a transaction that was seen does not vanish again (OTV)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    Transaction observer{fixture};
    first.write(1, 11);
    first.write(2, 19);
    second.start_write(1, 12);
    first.commit();
    second.finish();
    CHECK(observer.read(1) == 11);
    second.write(2, 18);
    CHECK(observer.read(2) == 19);
    second.commit();
    CHECK(observer.read(2) == 18);
    CHECK(observer.read(1) == 12);
    observer.commit();
}

TEST_CASE("read committed: an update is lost (P4)", "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    const int seen_by_first = first.read(1);
    const int seen_by_second = second.read(1);
    first.write(1, seen_by_first + 1);
    second.start_write(1, seen_by_second + 1);
    first.commit();
    second.finish();
    second.commit();
    CHECK(fixture.committed() == Values{11, 20});
}

TEST_CASE("read committed: the same question gets another answer (PMP, G-single)", "[isolation]") {
    Fixture fixture{IsolationLevel::read_committed};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.read(1) == 10);
    CHECK(first.values_where("value = 30").empty());
    second.write(2, 18);
    second.execute("INSERT INTO test VALUES (3, 30)");
    second.commit();
    CHECK(first.read(2) == 18);
    CHECK(first.values_where("value = 30") == Values{30});
    first.commit();
}

TEST_CASE("repeatable read: no rows appear that answer an old question anew (PMP)", "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.values_where("value = 30").empty());
    second.execute("INSERT INTO test VALUES (3, 30)");
    second.commit();
    CHECK(first.values_where("value % 3 = 0").empty());
    first.commit();
}

TEST_CASE("repeatable read: a write by a condition that no longer holds is refused (PMP)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    first.execute("UPDATE test SET value = value + 10");
    second.start("DELETE FROM test WHERE value = 20");
    first.commit();
    CHECK_THROWS_AS(second.finish(), pqxx::serialization_failure);
    CHECK(fixture.committed() == Values{20, 30});
}

TEST_CASE("repeatable read: what is read belongs together (G-single)", "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.read(1) == 10);
    CHECK(second.values_where() == Values{10, 20});
    second.write(1, 12);
    second.write(2, 18);
    second.commit();
    CHECK(first.read(2) == 20);
    first.commit();
}

TEST_CASE("repeatable read: a write based on an outdated reading is refused (G-single)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.read(1) == 10);
    CHECK(second.values_where() == Values{10, 20});
    second.write(1, 12);
    second.write(2, 18);
    second.commit();
    CHECK_THROWS_AS(first.execute("DELETE FROM test WHERE value = 20"),
                    pqxx::serialization_failure);
    CHECK(fixture.committed() == Values{12, 18});
}

TEST_CASE("repeatable read: an update that would be lost fails with 40001 (P4)", "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    const int seen_by_first = first.read(1);
    CHECK(second.read(1) == seen_by_first);
    first.write(1, seen_by_first + 1);
    second.start_write(1, 99);
    first.commit();
    CHECK_THROWS_AS(second.finish(), pqxx::serialization_failure);
    CHECK(fixture.committed() == Values{11, 20});
}

TEST_CASE("repeatable read: two transactions break together what neither breaks alone (G2-item)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::repeatable_read};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.values_where() == Values{10, 20});
    CHECK(second.values_where() == Values{10, 20});
    first.write(1, 11);
    second.write(2, 21);
    first.commit();
    second.commit();
    CHECK(fixture.committed() == Values{11, 21});
}

TEST_CASE("serializable: of two transactions with a write skew one fails with 40001 (G2-item)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::serializable};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.values_where() == Values{10, 20});
    CHECK(second.values_where() == Values{10, 20});
    first.write(1, 11);
    second.write(2, 21);
    first.commit();
    CHECK_THROWS_AS(second.commit(), pqxx::serialization_failure);
    CHECK(fixture.committed() == Values{11, 20});
}

TEST_CASE("serializable: rows that answer the other's question make one of two fail (G2)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::serializable};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.values_where("value % 3 = 0").empty());
    CHECK(second.values_where("value % 3 = 0").empty());
    first.execute("INSERT INTO test VALUES (3, 30)");
    second.execute("INSERT INTO test VALUES (4, 42)");
    first.commit();
    CHECK_THROWS_AS(second.commit(), pqxx::serialization_failure);
    CHECK(fixture.committed() == Values{10, 20, 30});
}

TEST_CASE("serializable: a reader that saw half of the past makes the writer fail (Fekete's G2)",
          "[isolation]") {
    Fixture fixture{IsolationLevel::serializable};
    Transaction first{fixture};
    Transaction second{fixture};
    CHECK(first.values_where() == Values{10, 20});
    second.execute("UPDATE test SET value = value + 5 WHERE id = 2");
    second.commit();
    SECTION("with the reader") {
        Transaction reader{fixture, AccessMode::read_only};
        CHECK(reader.values_where() == Values{10, 25});
        reader.commit();
        CHECK_THROWS_AS(first.write(1, 0), pqxx::serialization_failure);
        CHECK(fixture.committed() == Values{10, 25});
    }
    SECTION("and without it, nothing is wrong") {
        first.write(1, 0);
        first.commit();
        CHECK(fixture.committed() == Values{0, 25});
    }
}

}  // namespace isolation
