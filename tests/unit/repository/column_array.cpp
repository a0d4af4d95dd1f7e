#include "support/catch.hpp"
#include <txscope/repository/detail/column_array.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace std::string_view_literals;
using txscope::columns;
using txscope::Entity;
using txscope::detail::compose_insert_all;

namespace {

struct Project {
    std::int64_t id{};
    std::string name{};
    std::optional<int> stars{};
    std::vector<std::string> tags{};
    int changed{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, stars, tags, changed))

struct Projects {
    static constexpr std::string_view table = "app.projects";
    static constexpr auto generated = columns<&Project::id>;
    static constexpr auto updated_at = columns<&Project::changed>;
    static constexpr std::string_view column(std::string_view member) {
        return member == "tags" ? "it's" : member;
    }
};
using E = Entity<Projects, Project>;

TEST_CASE("many rows are a parameter for each column, of no type that is named", "[column_array]") {
    const auto insert = compose_insert_all<E, false>(
        std::list<Project>{{1, "a \"b\"", 5, {}}, {2, "NULL", {}, {"x", "y"}}});
    REQUIRE(insert);
    CHECK(insert->sql() ==
          R"(INSERT INTO "app"."projects" ("name", "stars", "it's", "changed") SELECT )"
          R"(pg_catalog.unnest(COALESCE($1, ARRAY[(NULL::"app"."projects")."name"])), )"
          R"(pg_catalog.unnest(COALESCE($2, ARRAY[(NULL::"app"."projects")."stars"])), )"
          R"((pg_catalog.json_populate_record(ROW((NULL::"app"."projects").*)::"app"."projects", )"
          R"(pg_catalog.json_build_object(E'it''s', pg_catalog.unnest($3::pg_catalog.text[])))))"
          R"(."it's", pg_catalog.now())");
    REQUIRE(insert->size() == 3);
    CHECK(insert->parameter(0) == R"({"a \"b\"","NULL"})"sv);
    CHECK(insert->parameter(1) == R"({"5",NULL})"sv);
    CHECK(insert->parameter(2) == R"({"{}","{\"x\",\"y\"}"})"sv);
    CHECK_FALSE(compose_insert_all<E, true>(std::list<Project>{}));
}

}  // namespace
