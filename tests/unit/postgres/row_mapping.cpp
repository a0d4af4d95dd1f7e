#include "support/catch.hpp"
#include "support/made_result.hpp"
#include <txscope/postgres/row_mapping.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using txscope::ColumnError;

namespace {

struct Project {
    std::int64_t id{};
    std::string name;
    std::optional<std::string> note;
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, note))

struct Entity {
    std::int64_t id{};
};
BOOST_DESCRIBE_STRUCT(Entity, (), (id))

struct Named : Entity {
    std::string name;
};
BOOST_DESCRIBE_STRUCT(Named, (Entity), (name))

struct Workflow : Named {
    std::int64_t project_id{};
};
BOOST_DESCRIBE_STRUCT(Workflow, (Named), (project_id))

class Account {
public:
    [[nodiscard]] double balance() const { return balance_; }

private:
    double balance_ = 0;
    BOOST_DESCRIBE_CLASS(Account, (), (), (), (balance_))
};

}  // namespace

TEST_CASE("members are filled from the columns of their names, in any order", "[row_mapping]") {
    const auto result =
        made_result({"note", "id", "name"}, {{"first", "1", "a"}, {std::nullopt, "2", "b"}});
    const std::vector<Project> projects = result.as<Project>();
    REQUIRE(projects.size() == 2);
    CHECK(projects[0].id == 1);
    CHECK(projects[0].name == "a");
    CHECK(projects[0].note == "first");
    CHECK(projects[1].id == 2);
    CHECK(projects[1].note == std::nullopt);
}

TEST_CASE("columns that no member is named after are left aside", "[row_mapping]") {
    const auto result = made_result({"id", "extra", "name", "note"}, {{"1", "?", "a", "n"}});
    CHECK(result.as<Project>().at(0).name == "a");
}

TEST_CASE("members of bases are members", "[row_mapping]") {
    const auto result = made_result({"id", "project_id", "name"}, {{"1", "7", "build"}});
    const Workflow workflow = result.one().as<Workflow>();
    CHECK(workflow.id == 1);
    CHECK(workflow.name == "build");
    CHECK(workflow.project_id == 7);
}

TEST_CASE("a class may describe its private members", "[row_mapping]") {
    CHECK(made_result({"balance_"}, {{"12.5"}}).one().as<Account>().balance() == 12.5);
}

TEST_CASE("no rows give no structs", "[row_mapping]") {
    CHECK(made_result({"id", "name", "note"}, {}).as<Project>().empty());
}

TEST_CASE("a member without a column is an error, rows or no rows", "[row_mapping]") {
    for (const auto& result :
         {made_result({"id", "note"}, {{"1", "n"}}), made_result({"id", "note"}, {})}) {
        const ColumnError error = column_error_of([&] { (void)result.as<Project>(); });
        CHECK(error.reason() == ColumnError::Reason::no_such_column);
        CHECK(error.column() == "name");
        CHECK_THAT(error.what(), ContainsSubstring("name") && ContainsSubstring("id, note"));
    }
}

TEST_CASE("a member whose name two columns have is an error", "[row_mapping]") {
    const auto result = made_result({"id", "name", "note", "id"}, {{"1", "a", "n", "2"}});
    const ColumnError error = column_error_of([&] { (void)result.as<Project>(); });
    CHECK(error.reason() == ColumnError::Reason::ambiguous_name);
    CHECK(error.column() == "id");
}

TEST_CASE("NULL into a member that is no optional names the column", "[row_mapping]") {
    const auto result =
        made_result({"id", "name", "note"}, {{"1", "a", "n"}, {"2", std::nullopt, "n"}});
    const ColumnError error = column_error_of([&] { (void)result.as<Project>(); });
    CHECK(error.reason() == ColumnError::Reason::unexpected_null);
    CHECK(error.column() == "name");
    CHECK(error.index() == 1);
}

TEST_CASE("a value that does not fit its member names the column and hides the value",
          "[row_mapping]") {
    const auto result = made_result({"id", "name", "note"}, {{"secret", "a", "n"}});
    const ColumnError error = column_error_of([&] { (void)result.one().as<Project>(); });
    CHECK(error.reason() == ColumnError::Reason::wrong_type);
    CHECK(error.column() == "id");
    CHECK_THAT(error.what(), ContainsSubstring("64-bit integer") && !ContainsSubstring("secret"));
}
