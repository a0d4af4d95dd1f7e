#include "support/catch.hpp"
#include <txscope/postgres/statement.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using txscope::Statement;

namespace {

std::vector<std::optional<std::string>> parameters_of(const Statement& statement) {
    std::vector<std::optional<std::string>> texts;
    statement.for_each_parameter(
        [&](std::optional<std::string_view> text) { texts.emplace_back(text); });
    return texts;
}

}  // namespace

TEST_CASE("a statement without parameters has none", "[statement]") {
    const Statement statement{"SELECT 1"};
    CHECK(statement.sql() == "SELECT 1");
    CHECK(statement.size() == 0);
    CHECK(statement.parameters().bytes.empty());
}

TEST_CASE("a statement keeps copies of its values, in order", "[statement]") {
    std::string name = "a name that does not fit into a small string";
    const Statement statement{"SELECT $1, $2, $3", 42, name, true};
    name = "changed";
    CHECK(statement.size() == 3);
    CHECK(statement.parameter(0) == "42");
    CHECK(statement.parameter(1) == "a name that does not fit into a small string");
    CHECK(statement.parameter(2) == "true");
}

TEST_CASE("what has no value is SQL's NULL, and an empty text is not", "[statement]") {
    const char* no_text = nullptr;
    const Statement statement{"SELECT $1", std::nullopt,         nullptr,
                              no_text,     std::optional<int>{}, std::string{}};
    CHECK(parameters_of(statement) ==
          std::vector<std::optional<std::string>>{std::nullopt, std::nullopt, std::nullopt,
                                                  std::nullopt, ""});
    CHECK(statement.parameter(0) == std::nullopt);
    CHECK(statement.parameter(4) == "");
}

TEST_CASE("an optional that holds a value is that value", "[statement]") {
    const Statement statement{"SELECT $1", std::optional<std::string>{"x"}, std::optional<int>{7}};
    CHECK(parameters_of(statement) == std::vector<std::optional<std::string>>{"x", "7"});
}

TEST_CASE("texts may come as string, view, literal, pointer or buffer", "[statement]") {
    using namespace std::string_view_literals;
    const char buffer[8] = {'b', 'u', 'f', '\0', 'x', 'x', 'x', 'x'};
    const char full[3] = {'a', 'b', 'c'};
    const char* pointer = "pointer";
    char changeable[] = "changeable";
    char* changeable_pointer = changeable;
    const Statement statement{
        "SELECT $1", std::string("string"), "view"sv, "literal", pointer, buffer, full,
        changeable,  changeable_pointer};
    CHECK(parameters_of(statement) ==
          std::vector<std::optional<std::string>>{"string", "view", "literal", "pointer", "buf",
                                                  "abc", "changeable", "changeable"});
}

TEST_CASE("a view into a longer text sends only its own part", "[statement]") {
    const std::string_view whole = "projects and more";
    const Statement statement{"SELECT $1", whole.substr(0, 8)};
    CHECK(statement.parameter(0) == "projects");
}

TEST_CASE("parameters may be bound one after another", "[statement]") {
    Statement statement{"UPDATE projects SET name = $1 WHERE id = $2"};
    statement.bind("name").bind(3);
    CHECK(parameters_of(statement) == std::vector<std::optional<std::string>>{"name", "3"});
}

TEST_CASE("the parameters are encoded as the protocol has them", "[statement]") {
    using namespace std::string_literals;
    const Statement statement{"SELECT $1, $2, $3", "ab", nullptr, ""};
    CHECK(statement.parameters().count == 3);
    CHECK(statement.parameters().bytes == "\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"s);
}

TEST_CASE("a copied or moved statement has its own texts", "[statement]") {
    Statement original{"SELECT $1, $2", "first", nullptr};
    const Statement copy = original;
    const Statement moved = std::move(original);
    for (const Statement* statement : {&copy, &moved}) {
        CHECK(statement->sql() == "SELECT $1, $2");
        CHECK(parameters_of(*statement) ==
              std::vector<std::optional<std::string>>{"first", std::nullopt});
    }
}

TEST_CASE("a NUL character is refused, where the protocol would end the text", "[statement]") {
    using namespace std::string_literals;
    CHECK_THROWS_AS(Statement("SELECT $1", "secret\0tail"s), txscope::ValueError);
    CHECK_THROWS_AS(Statement("SELECT $1", std::string_view("\0", 1)), txscope::ValueError);
    CHECK_THROWS_AS(Statement("SELECT $1", std::optional<std::string>("a\0"s)),
                    pqxx::conversion_error);
    CHECK_THROWS_AS(Statement("DELETE FROM projects\0 WHERE id = 1"s), txscope::ValueError);
    CHECK_THROWS_WITH(Statement("SELECT $1", "secret\0tail"s), !ContainsSubstring("secret"));
}

TEST_CASE("a refused parameter leaves the statement as it was", "[statement]") {
    Statement statement{"SELECT $1, $2", "kept"};
    CHECK_THROWS_AS(statement.bind(std::string(1, '\0')), txscope::ValueError);
    CHECK(statement.size() == 1);
    statement.bind("second");
    CHECK(parameters_of(statement) == std::vector<std::optional<std::string>>{"kept", "second"});
}

TEST_CASE("what is too long for a message to the server is refused", "[statement]") {
    CHECK_NOTHROW(txscope::detail::check_statement_size(1'000'000'000));
    CHECK_THROWS_AS(txscope::detail::check_statement_size(0x3fffffff), txscope::ValueError);
    const std::size_t size = 0x3fffffff;
    const auto never_read = std::make_unique_for_overwrite<char[]>(size);  // takes no memory
    CHECK_THROWS_AS(Statement(std::string_view(never_read.get(), size)), txscope::ValueError);
}

TEST_CASE("so is a parameter of that length", "[.][statement]") {  // takes 2 GB of memory
    Statement statement{"SELECT $1"};
    CHECK_THROWS_AS(statement.bind(std::string(0x3fffffff, 'x')), txscope::ValueError);
    CHECK(statement.size() == 0);
}

TEST_CASE("more parameters than the protocol can count are refused", "[statement]") {
    Statement statement{"SELECT"};
    for (int i = 0; i < 65535; ++i) statement.bind(1);
    CHECK_THROWS_AS(statement.bind(1), txscope::ValueError);
    CHECK(statement.size() == 65535);
}
