#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/protocol/prepared_statements.hpp>

#include <string>
#include <vector>

using namespace txscope::protocol;
using State = PreparedStatement::State;

namespace {

PreparedStatement& prepare(PreparedStatements& statements, const std::string& name) {
    PreparedStatement& statement = statements.insert(name, 1);
    statements.confirm(statement);
    return statement;
}

// Everything that is to be closed, as if the server had answered at once.
std::vector<std::string> close_all(PreparedStatements& statements) {
    std::vector<std::string> names;
    while (PreparedStatement* const statement = statements.next_to_close()) {
        names.push_back(statement->name);
        statements.forget(*statement);
    }
    return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a statement is found by its name from the time it is inserted", "[protocol]") {
    PreparedStatements statements{4};
    CHECK(statements.find("a") == nullptr);
    PreparedStatement& a = statements.insert("a", 7);
    CHECK(statements.find("a") == &a);
    CHECK(a.state == State::preparing);
    CHECK(a.batch == 7);
    statements.confirm(a);
    CHECK(a.state == State::prepared);
    CHECK(statements.find("b") == nullptr);
}

TEST_CASE("the least recently used statement is retired for a new one", "[protocol]") {
    PreparedStatements statements{3};
    for (const char* const name : {"a", "b", "c"}) prepare(statements, name);
    CHECK(statements.find("a") != nullptr);  // used again: now b is the oldest
    prepare(statements, "d");
    CHECK(statements.size() == 3);
    CHECK_FALSE(statements.find("b")->usable());
    CHECK(close_all(statements) == Names{"b"});
    CHECK(statements.find("b") == nullptr);
    CHECK(statements.find("a")->usable());
}

TEST_CASE("a retired statement keeps its name until it is being closed", "[protocol]") {
    PreparedStatements statements{4};
    statements.retire(prepare(statements, "a"));
    REQUIRE(statements.find("a") != nullptr);
    CHECK(statements.find("a")->state == State::retired);
    PreparedStatement* const closing = statements.next_to_close();
    REQUIRE(closing != nullptr);
    CHECK(closing->state == State::closing);
    CHECK(statements.next_to_close() == nullptr);
    CHECK(statements.find("a") == nullptr);
    PreparedStatement& again = prepare(statements, "a");
    CHECK(statements.find("a") == &again);
    statements.forget(*closing);
    CHECK(statements.find("a") == &again);
}

TEST_CASE("what could not be closed is closed another time", "[protocol]") {
    PreparedStatements statements{4};
    statements.retire(prepare(statements, "a"));
    statements.give_back(*statements.next_to_close());
    CHECK(close_all(statements) == Names{"a"});
    CHECK(close_all(statements).empty());
}

TEST_CASE("a statement that requests point to stays where it is", "[protocol]") {
    PreparedStatements statements{4};
    PreparedStatement& a = statements.insert("a", 1);
    statements.pin(a);
    statements.pin(a);
    statements.forget(a);
    CHECK(statements.find("a") == nullptr);
    CHECK(a.state == State::gone);
    statements.confirm(a);  // it is too late for that
    statements.retire(a);
    statements.give_back(a);
    CHECK(a.state == State::gone);
    statements.unpin(a);
    CHECK(a.name == "a");
    statements.unpin(a);  // AddressSanitizer knows the rest
    CHECK(close_all(statements).empty());
}

TEST_CASE("when the server has dropped all, what it is yet to prepare remains", "[protocol]") {
    PreparedStatements statements{4};
    prepare(statements, "a");
    statements.retire(prepare(statements, "b"));
    statements.insert("c", 1);
    statements.forget_prepared();
    CHECK(statements.find("a") == nullptr);
    CHECK(statements.find("b") == nullptr);
    CHECK(statements.find("c") != nullptr);
    CHECK(close_all(statements).empty());
    statements.retire_all();
    CHECK(close_all(statements) == Names{"c"});
}

TEST_CASE("a batch may prepare many times what is kept", "[protocol]") {
    const auto prepare_many = [](std::size_t count) {
        PreparedStatements statements{10};
        for (std::size_t i = 0; i < count; ++i) prepare(statements, std::to_string(i));
        CHECK(close_all(statements).size() == count - 10);
    };
    CHECK(support::growth(20'000, prepare_many) < 24);  // not with the square
}
