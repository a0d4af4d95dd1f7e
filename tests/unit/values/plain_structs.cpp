#include "support/catch.hpp"
#include "support/made_result.hpp"
#include <txscope/repository/detail/members.hpp>
#include <txscope/values/json.hpp>
#include <txscope/values/plain_structs.hpp>

#include <boost/describe/class.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using txscope::detail::ColumnOf;
using txscope::detail::member_name;

namespace {

struct Project {
    std::int64_t id{};
    std::string name;
    std::optional<std::string> note_2;
};

enum class Kind {
    small
};

/// Members of types that are made of nearly everything.
struct Wide {
    bool b;
    std::vector<std::optional<std::string>> texts;
    boost::json::value payload;
    std::optional<boost::json::value> other;
    std::chrono::sys_seconds at;
    Kind kind;
    Project inner;
    double last;
};

struct Described {
    int id{};
};
BOOST_DESCRIBE_STRUCT(Described, (), (id))

struct Base {
    int id{};
};
class Hidden {
    [[maybe_unused]] int id_{};
};

template <typename Model>
std::vector<std::string_view> names() {
    std::vector<std::string_view> all;
    txscope::detail::for_each_column<Model>(
        [&](auto column) { all.push_back(decltype(column)::name); });
    return all;
}

}  // namespace

TEST_CASE("a plain struct has its members' names, in their order", "[plain_structs]") {
    CHECK(names<Project>() == std::vector<std::string_view>{"id", "name", "note_2"});
    CHECK(names<Wide>() == std::vector<std::string_view>{"b", "texts", "payload", "other", "at",
                                                         "kind", "inner", "last"});
    CHECK(names<Described>() == std::vector<std::string_view>{"id"});
}

TEST_CASE("a pointer to a member of a plain struct is that member", "[plain_structs]") {
    STATIC_REQUIRE(member_name<Project, &Project::id> == "id");
    STATIC_REQUIRE(member_name<Project, &Project::note_2> == "note_2");
    STATIC_REQUIRE(member_name<Wide, &Wide::last> == "last");
    STATIC_REQUIRE(ColumnOf<Wide, &Wide::payload>);
    STATIC_REQUIRE_FALSE(ColumnOf<Project, &Wide::last>);
    STATIC_REQUIRE_FALSE(ColumnOf<Project, &Base::id>);
    STATIC_REQUIRE_FALSE(txscope::detail::HasMembers<Hidden>);
    STATIC_REQUIRE_FALSE(txscope::detail::HasMembers<int>);
}

TEST_CASE("rows become plain structs by the names of their columns", "[plain_structs]") {
    const auto result = made_result({"note_2", "id", "name"}, {{std::nullopt, "7", "a"}});
    const Project project = result.one().as<Project>();
    CHECK(project.id == 7);
    CHECK(project.name == "a");
    CHECK(project.note_2 == std::nullopt);
    CHECK(column_error_of([&] { (void)made_result({"id"}, {}).as<Project>(); }).column() == "name");
}
