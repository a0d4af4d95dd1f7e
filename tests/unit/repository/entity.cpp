#include "support/catch.hpp"
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/describe/class.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace {

using namespace txscope::detail;
using txscope::columns;
using txscope::Entity;

struct Project {
    std::int64_t id{};
    std::string name{};
    std::optional<std::string> status{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, status))

struct Projects {
    static constexpr std::string_view table = "projects";
    static constexpr auto generated = columns<&Project::id>;
};
using ProjectEntity = Entity<Projects, Project>;

struct Membership {
    std::int32_t team{};
    std::string member{};
    std::string role{};
};
BOOST_DESCRIBE_STRUCT(Membership, (), (team, member, role))

struct Memberships {
    static constexpr std::string_view table = "app.memberships";
    static constexpr auto key = columns<&Membership::team, &Membership::member>;
};
using MembershipEntity = Entity<Memberships, Membership>;

using ProjectEntity = Entity<Projects, Project>;
using MembershipEntity = Entity<Memberships, Membership>;

template <auto... Members>
constexpr bool are(txscope::Columns<Members...>, txscope::Columns<Members...>) {
    return true;
}
constexpr bool are(auto, auto) { return false; }

TEST_CASE("the key is the member id unless the repository says otherwise", "[entity]") {
    STATIC_REQUIRE(are(ProjectEntity::key(), columns<&Project::id>));
    STATIC_REQUIRE(are(MembershipEntity::key(), columns<&Membership::team, &Membership::member>));
}

TEST_CASE("no column is generated unless the repository says so", "[entity]") {
    STATIC_REQUIRE(are(ProjectEntity::generated(), columns<&Project::id>));
    STATIC_REQUIRE(are(MembershipEntity::generated(), columns<>));
}

TEST_CASE("a table's name is split at its dot", "[entity]") {
    STATIC_REQUIRE(ProjectEntity::table().schema.empty());
    STATIC_REQUIRE(ProjectEntity::table().name == "projects");
    STATIC_REQUIRE(MembershipEntity::table().schema == "app");
    STATIC_REQUIRE(MembershipEntity::table().name == "memberships");
}

using MembershipKey = decltype(MembershipEntity::key());
static_assert(is_key_of<MembershipKey, int, std::string_view>);
static_assert(!is_key_of<MembershipKey, int>, "half a key selects more than a row");
static_assert(!is_key_of<MembershipKey, int, std::string, int>);
static_assert(!is_key_of<MembershipKey, std::string, int>, "the other way round");
static_assert(!is_key_of<MembershipKey, int, std::optional<std::string>>, "a key is never NULL");

template <typename Repository>
std::string table_of() {
    return table_text<Entity<Repository, Project>>();
}

struct Literal {
    static constexpr const char* table = "projects";
};
struct Qualified {
    static constexpr std::string_view table = "app.projects";
};
struct MixedCase {
    static constexpr std::string_view table = "Order";
};
struct Quoted {
    static constexpr std::string_view table = R"(a"; DROP TABLE projects; --)";
};
struct Dotted {
    static constexpr txscope::TableName table{.name = "v1.projects"};
};
struct DottedSchema {
    static constexpr txscope::TableName table{.schema = "my.app", .name = "projects"};
};

TEST_CASE("a table's name is quoted part by part, whatever it holds", "[entity]") {
    CHECK(table_of<Literal>() == R"("projects")");
    CHECK(table_of<Qualified>() == R"("app"."projects")");
    CHECK(table_of<MixedCase>() == R"("Order")");
    CHECK(table_of<Quoted>() == R"("a""; DROP TABLE projects; --")");
    CHECK(table_of<Dotted>() == R"("v1.projects")");
    CHECK(table_of<DottedSchema>() == R"("my.app"."projects")");
}

struct Lengthy {
    std::int64_t id{};
    int name_of_63_bytes_123456789_123456789_123456789_123456789_123456{};
};
BOOST_DESCRIBE_STRUCT(Lengthy, (),
                      (id, name_of_63_bytes_123456789_123456789_123456789_123456789_123456))
struct TooLengthy {
    int name_of_64_bytes_123456789_123456789_123456789_123456789_1234567{};
};
BOOST_DESCRIBE_STRUCT(TooLengthy, (),
                      (name_of_64_bytes_123456789_123456789_123456789_123456789_1234567))

template <std::size_t letters>
struct Cyrillic {
    static constexpr std::string_view table = "projects";
    static constexpr std::array<char, 2 * letters> text = [] {
        std::array<char, 2 * letters> name{};
        for (std::size_t i = 0; i < letters; ++i) {
            name[2 * i] = '\xd0';
            name[2 * i + 1] = '\xb0';
        }
        return name;
    }();
    static constexpr std::string_view column(std::string_view) {
        return {text.data(), text.size()};
    }
};

template <std::size_t length>
struct LongTable {
    static constexpr std::string_view table = std::string_view{Cyrillic<32>::text.data(), length};
};
struct LongSchema {
    static constexpr txscope::TableName table{.schema = LongTable<64>::table, .name = "projects"};
};

template <std::size_t size>
struct Text {
    consteval Text(const char (&from)[size]) { std::copy_n(from, size, text); }
    char text[size]{};
};
template <Text name>
struct Named {
    static constexpr std::string_view table{name.text, sizeof(name.text) - 1};
};

TEST_CASE("a name that PostgreSQL would cut does not fit, in bytes and not in letters",
          "[entity]") {
    STATIC_REQUIRE(Entity<Projects, Lengthy>::names_fit());
    STATIC_REQUIRE_FALSE(Entity<Projects, TooLengthy>::names_fit());
    STATIC_REQUIRE(Entity<Cyrillic<31>, Project>::names_fit());
    STATIC_REQUIRE_FALSE(Entity<Cyrillic<32>, Project>::names_fit());
    STATIC_REQUIRE(Entity<LongTable<63>, Project>::names_fit());
    STATIC_REQUIRE_FALSE(Entity<LongTable<64>, Project>::names_fit());
    STATIC_REQUIRE_FALSE(Entity<LongSchema, Project>::names_fit());
}

TEST_CASE("a table is one name, or two with a dot between", "[entity]") {
    STATIC_REQUIRE(Entity<Named<"a">, Project>::has_table());
    STATIC_REQUIRE(Entity<Named<"a.b">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<"">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<".">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<"a.">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<".a">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<"a.b.c">, Project>::has_table());
    STATIC_REQUIRE_FALSE(Entity<Named<"a\0b">, Project>::has_table());
}

}  // namespace
