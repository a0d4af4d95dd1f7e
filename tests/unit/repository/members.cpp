#include "support/catch.hpp"
#include <txscope/repository/detail/members.hpp>

#include <boost/describe/class.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace txscope::detail;

namespace {

struct Base {
    int id{};
};
BOOST_DESCRIBE_STRUCT(Base, (), (id))

struct Model : Base {
    const std::string name{};
    std::optional<int> parent{};
    int undescribed{};

    int secret() const { return secret_; }

private:
    int secret_{};
    BOOST_DESCRIBE_CLASS(Model, (Base), (name, parent), (), (secret_))
};

struct Other {
    int id{};
};
BOOST_DESCRIBE_STRUCT(Other, (), (id))

template <auto... Members>
struct List {};

}  // namespace

TEST_CASE("columns are the described members, in their order, inherited and private ones included",
          "[members]") {
    std::vector<std::string_view> names;
    for_each_column<Model>([&](auto column) { names.push_back(decltype(column)::name); });
    CHECK(names == std::vector<std::string_view>{"id", "name", "parent", "secret_"});
    CHECK(Model{}.secret() == 0);
}

TEST_CASE("a member has a name where it is a column of the model", "[members]") {
    STATIC_REQUIRE(member_name<Model, &Model::name> == "name");
    STATIC_REQUIRE(member_name<Model, &Base::id> == "id");
    STATIC_REQUIRE(ColumnOf<Model, &Model::parent>);
    STATIC_REQUIRE_FALSE(ColumnOf<Model, &Model::undescribed>);
    STATIC_REQUIRE_FALSE(ColumnOf<Model, &Other::id>);
    STATIC_REQUIRE_FALSE(ColumnOf<std::string, &Other::id>);
}

TEST_CASE("a column's type is the member's, without const and optional", "[members]") {
    STATIC_REQUIRE(std::same_as<member_type<&Model::name>, std::string>);
    STATIC_REQUIRE(std::same_as<member_type<&Model::parent>, std::optional<int>>);
    STATIC_REQUIRE(std::same_as<column_type<&Model::parent>, int>);
}

TEST_CASE("a set of members is asked for one of them, of whatever type", "[members]") {
    STATIC_REQUIRE(contains<List<&Base::id, &Model::name>, &Model::name>);
    STATIC_REQUIRE_FALSE(contains<List<&Base::id, &Model::name>, &Model::parent>);
    STATIC_REQUIRE_FALSE(contains<List<>, &Base::id>);
}
