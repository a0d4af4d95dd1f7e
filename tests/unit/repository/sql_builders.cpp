#include "support/catch.hpp"
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/detail/sql_builders.hpp>
#include <txscope/repository/entity.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace {

using namespace std::string_view_literals;
using namespace txscope::detail;
using txscope::columns;
using txscope::Entity;
using txscope::field;
using txscope::Statement;

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

template <typename E, typename Builder, typename... Parts>
constexpr std::string_view text = fixed_sql<E, Builder, Parts...>;

// Every text here is a constant: the assertions are the compiler's.

TEST_CASE("a model is inserted without the generated columns, and read back with all",
          "[sql_builders]") {
    STATIC_REQUIRE(text<ProjectEntity, Insert<ProjectEntity, true>> ==
                   R"(INSERT INTO "projects" ("name", "status") VALUES ($1, $2))"
                   R"( RETURNING "id", "name", "status")"sv);
    STATIC_REQUIRE(text<ProjectEntity, Insert<ProjectEntity, false>> ==
                   R"(INSERT INTO "projects" ("name", "status") VALUES ($1, $2))"sv);
    const Statement statement = compose_insert<ProjectEntity, false>({7, "txscope", std::nullopt});
    REQUIRE(statement.size() == 2);
    CHECK(statement.parameter(0) == "txscope"sv);
    CHECK(statement.parameter(1) == std::nullopt);
}

TEST_CASE("an insert of fields has just these columns", "[sql_builders]") {
    using Name = decltype(field<&Project::name> = "x");
    using Id = decltype(field<&Project::id> = 1);
    STATIC_REQUIRE(text<ProjectEntity, Insert<ProjectEntity, false>, Name, Id> ==
                   R"(INSERT INTO "projects" ("name", "id") VALUES ($1, $2))"sv);
}

TEST_CASE("changes that are put together at run time are written like assignments",
          "[sql_builders]") {
    using Update = Update<ProjectEntity, true>;
    txscope::Changes<Project> changes;
    CHECK(changes.empty());
    CHECK(compose<ProjectEntity, Insert<ProjectEntity, false>>(changes).sql() ==
          R"(INSERT INTO "projects" DEFAULT VALUES)");
    const Statement read = compose_for<ProjectEntity, Update>(7, changes);
    CHECK(read.sql() == R"(SELECT "id", "name", "status" FROM "projects")"
                        R"( WHERE "id" OPERATOR(pg_catalog.=) $1)");
    CHECK(read.parameter(0) == "7"sv);
    changes.set(field<&Project::name> = "old").set(field<&Project::status> = std::nullopt);
    changes.set(field<&Project::name> = "new");
    CHECK_FALSE(changes.empty());

    const Statement inserted = compose<ProjectEntity, Insert<ProjectEntity, false>>(changes);
    CHECK(inserted.sql() == R"(INSERT INTO "projects" ("name", "status") VALUES ($1, $2))");
    const Statement updated = compose_for<ProjectEntity, Update>(7, changes);
    CHECK(updated.sql() == R"(UPDATE "projects" SET "name" = $1, "status" = $2)"
                           R"( WHERE "id" OPERATOR(pg_catalog.=) $3)"
                           R"( RETURNING "id", "name", "status")");
    REQUIRE(updated.size() == 3);
    CHECK(updated.parameter(0) == "new"sv);
    CHECK(updated.parameter(1) == std::nullopt);
    CHECK(updated.parameter(2) == "7"sv);
}

TEST_CASE("a column gets what is computed of the row as it was", "[sql_builders]") {
    using Update = Update<ProjectEntity, false>;
    using Next = decltype(field<&Project::id> = field<&Project::id> + 1);
    using Copied = decltype(field<&Project::status> = field<&Project::name>);
    using ByName = decltype(field<&Project::name> == "x");
    STATIC_REQUIRE(text<ProjectEntity, Update, Next, Copied, ByName> ==
                   R"(UPDATE "projects" SET "id" = ("id" OPERATOR(pg_catalog.+) $1), )"
                   R"("status" = "name" WHERE "name" = $2)"sv);

    const auto upper = txscope::sql<std::string>("upper($) || $", field<&Project::name>, "!");
    txscope::Changes<Project> changes;
    changes.set(field<&Project::name> = upper).set(field<&Project::id> = field<&Project::id> - 2);
    const Statement updated = compose<ProjectEntity, Update>(changes, field<&Project::id> == 7);
    CHECK(updated.sql() == R"(UPDATE "projects" SET "name" = (upper("name") || $1), )"
                           R"("id" = ("id" OPERATOR(pg_catalog.-) $2))"
                           R"( WHERE "id" OPERATOR(pg_catalog.=) $3)");
    REQUIRE(updated.size() == 3);
    CHECK(updated.parameter(0) == "!"sv);
    CHECK(updated.parameter(1) == "2"sv);
    CHECK(updated.parameter(2) == "7"sv);

    const Statement inserted = compose<ProjectEntity, Insert<ProjectEntity, false>>(
        field<&Project::name> = txscope::sql<std::string>("lower($)", "X"),
        field<&Project::status> = "new");
    CHECK(inserted.sql() ==
          R"(INSERT INTO "projects" ("name", "status") VALUES ((lower($1)), $2))");
    CHECK(inserted.parameter(0) == "X"sv);
    CHECK(inserted.parameter(1) == "new"sv);
}

TEST_CASE("what differs between two models is neither its key nor generated", "[sql_builders]") {
    const Project before{7, "txscope", "draft"};
    CHECK(changes_between<ProjectEntity>(before, {8, "txscope", "draft"}).empty());
    const auto changes = changes_between<ProjectEntity>(before, {7, "txscope", std::nullopt});
    const Statement updated =
        compose<ProjectEntity, Update<ProjectEntity, false>>(changes, field<&Project::id> == 7);
    CHECK(updated.sql() == R"(UPDATE "projects" SET "status" = $1)"
                           R"( WHERE "id" OPERATOR(pg_catalog.=) $2)");
    CHECK(updated.parameter(0) == std::nullopt);
}

TEST_CASE("rows are locked behind all else that is selected by", "[sql_builders]") {
    using ById = decltype(field<&Project::id> == 1);
    using ByName = decltype(txscope::ascending(field<&Project::name>));
    const auto ends_with = []<typename Lock>(Lock) {
        return text<ProjectEntity, Select<ProjectEntity>, ById, ByName, txscope::Page, Lock>;
    };
    CHECK(
        ends_with(txscope::for_update) ==
        R"(SELECT "id", "name", "status" FROM "projects")"
        R"( WHERE "id" OPERATOR(pg_catalog.=) $1 ORDER BY "projects"."name" LIMIT $2 OFFSET $3 FOR UPDATE)"sv);
    CHECK(ends_with(txscope::for_no_key_update).ends_with(" OFFSET $3 FOR NO KEY UPDATE"));
    CHECK(ends_with(txscope::for_share.skip_locked()).ends_with(" FOR SHARE SKIP LOCKED"));
    CHECK(ends_with(txscope::for_key_share.no_wait()).ends_with(" FOR KEY SHARE NOWAIT"));

    const Statement by_key = compose_select_one<ProjectEntity>(7, txscope::for_update);
    CHECK(by_key.sql() == R"(SELECT "id", "name", "status" FROM "projects")"
                          R"( WHERE "id" OPERATOR(pg_catalog.=) $1 FOR UPDATE)");
    const Statement by_name =
        compose_select_one<ProjectEntity>(field<&Project::name> == "x", txscope::for_update);
    CHECK(by_name.sql() == R"(SELECT "id", "name", "status" FROM "projects")"
                           R"( WHERE "name" = $1 LIMIT $2 OFFSET $3 FOR UPDATE)");
}

TEST_CASE("a conflict is one of columns, of a constraint, or any", "[sql_builders]") {
    const Project project{7, "txscope", "draft"};
    const std::string insert = R"(INSERT INTO "projects" ("name", "status") VALUES ($1, $2))"
                               R"( ON CONFLICT)";
    const std::string returning = R"( RETURNING "id", "name", "status")";
    const auto saved = [&](auto target) {
        return compose_upsert<ProjectEntity, Save<ProjectEntity>>(project, target);
    };
    const auto created = [&](auto target) {
        return compose_upsert<ProjectEntity, CreateUnlessExists<ProjectEntity>>(project, target);
    };
    CHECK(saved(columns<&Project::name>).sql() ==
          insert + R"( ("name") DO UPDATE SET "status" = EXCLUDED."status")" + returning);
    CHECK(saved(columns<&Project::name, &Project::status>).sql() ==
          insert + R"( ("name", "status") DO UPDATE SET "name" = EXCLUDED."name")" + returning);
    CHECK(saved(txscope::Constraint{"a \"name\""}).sql() ==
          insert +
              R"( ON CONSTRAINT "a ""name""" DO UPDATE SET "name" = EXCLUDED."name",)"
              R"( "status" = EXCLUDED."status")" +
              returning);
    CHECK(saved(columns<&Project::name>).parameter(0) == "txscope"sv);
    CHECK(created(columns<>).sql() == insert + " DO NOTHING" + returning);
    CHECK(created(columns<&Project::name>).sql() == insert + R"( ("name") DO NOTHING)" + returning);
}

TEST_CASE("rows are selected, counted and deleted by key or by conditions", "[sql_builders]") {
    using ById = decltype(field<&Project::id> == 1);
    STATIC_REQUIRE(text<ProjectEntity, Select<ProjectEntity>> ==
                   R"(SELECT "id", "name", "status" FROM "projects")"sv);
    STATIC_REQUIRE(text<ProjectEntity, Count<ProjectEntity>, ById> ==
                   R"(SELECT pg_catalog.count(*) FROM "projects")"
                   R"( WHERE "id" OPERATOR(pg_catalog.=) $1)"sv);
    STATIC_REQUIRE(text<ProjectEntity, Exists<ProjectEntity>, ById> ==
                   R"(SELECT EXISTS (SELECT FROM "projects")"
                   R"( WHERE "id" OPERATOR(pg_catalog.=) $1))"sv);
    STATIC_REQUIRE(text<ProjectEntity, Delete<ProjectEntity>, ById> ==
                   R"(DELETE FROM "projects" WHERE "id" OPERATOR(pg_catalog.=) $1)"sv);

    const Statement by_key = compose_select_one<ProjectEntity>(7);
    CHECK(by_key.sql() == R"(SELECT "id", "name", "status" FROM "projects")"
                          R"( WHERE "id" OPERATOR(pg_catalog.=) $1)");
    CHECK(by_key.parameter(0) == "7"sv);
    const Statement by_name = compose_select_one<ProjectEntity>(field<&Project::name> == "x");
    CHECK(by_name.sql() == R"(SELECT "id", "name", "status" FROM "projects" WHERE "name" = $1)"
                           R"( LIMIT $2 OFFSET $3)");
    CHECK(by_name.parameter(1) == "2"sv);
}

TEST_CASE("an update numbers its values before its key's", "[sql_builders]") {
    const Statement statement = compose_for<ProjectEntity, Update<ProjectEntity, true>>(
        7, field<&Project::status> = "active", field<&Project::name> = "x");
    CHECK(statement.sql() == R"(UPDATE "projects" SET "status" = $1, "name" = $2)"
                             R"( WHERE "id" OPERATOR(pg_catalog.=) $3)"
                             R"( RETURNING "id", "name", "status")");
    REQUIRE(statement.size() == 3);
    CHECK(statement.parameter(0) == "active"sv);
    CHECK(statement.parameter(2) == "7"sv);
}

TEST_CASE("an update by a model writes what is neither generated nor key", "[sql_builders]") {
    const Statement statement = compose_update<ProjectEntity>({7, "x", std::nullopt});
    CHECK(statement.sql() == R"(UPDATE "projects" SET "name" = $1, "status" = $2)"
                             R"( WHERE "id" OPERATOR(pg_catalog.=) $3)"
                             R"( RETURNING "id", "name", "status")");
    CHECK(statement.parameter(1) == std::nullopt);
    CHECK(statement.parameter(2) == "7"sv);
}

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

TEST_CASE("a key of several columns takes its values in the key's order", "[sql_builders]") {
    const Statement statement = compose_select_one<MembershipEntity>(3, "ann");
    CHECK(statement.sql() == R"(SELECT "team", "member", "role" FROM "app"."memberships")"
                             R"( WHERE "team" OPERATOR(pg_catalog.=) $1 AND "member" = $2)");
    CHECK(statement.parameter(0) == "3"sv);
    CHECK(statement.parameter(1) == "ann"sv);
    const Statement update = compose_for<MembershipEntity, Update<MembershipEntity, true>>(
        3, "ann", field<&Membership::role> = "lead");
    CHECK(update.sql().starts_with(R"(UPDATE "app"."memberships" SET "role" = $1)"
                                   R"( WHERE "team" OPERATOR(pg_catalog.=) $2 AND "member" = $3)"));
    CHECK(compose_update<MembershipEntity>({3, "ann", "lead"}).parameter(0) == "lead"sv);
}

struct Renamed {
    static constexpr std::string_view table = "projects";
    static constexpr std::string_view column(std::string_view member) {
        if (member == "status") return R"(the "state")";
        return member;
    }
};
using RenamedEntity = Entity<Renamed, Project>;

TEST_CASE("a column may be called otherwise than its member, and is read under the member's name",
          "[sql_builders]") {
    const Statement insert = compose_insert<RenamedEntity, true>({7, "x", "draft"});
    CHECK(insert.sql() ==
          R"(INSERT INTO "projects" ("id", "name", "the ""state""") VALUES ($1, $2, $3))"
          R"( RETURNING "id", "name", "the ""state""" AS "status")");
    const Statement select = compose<RenamedEntity, Select<RenamedEntity>>(
        field<&Project::status> == "draft", txscope::ascending(field<&Project::status>));
    CHECK(select.sql() == R"(SELECT "id", "name", "the ""state""" AS "status" FROM "projects")"
                          R"( WHERE "the ""state""" = $1 ORDER BY "projects"."the ""state""")");
    CHECK(compose_for<RenamedEntity, Update<RenamedEntity, true>>(1, field<&Project::status> = "x")
              .sql()
              .starts_with(R"(UPDATE "projects" SET "the ""state""" = $1)"
                           R"( WHERE "id" OPERATOR(pg_catalog.=) $2)"));
    const txscope::Criteria<Project> criteria = field<&Project::status> == "draft";
    CHECK(compose<RenamedEntity, Count<RenamedEntity>>(criteria).sql() ==
          R"(SELECT pg_catalog.count(*) FROM "projects" WHERE "the ""state""" = $1)");
}

struct Identified {
    std::int64_t id{};
};
BOOST_DESCRIBE_STRUCT(Identified, (), (id))
struct Document : Identified {
    std::string title{};
};
BOOST_DESCRIBE_STRUCT(Document, (Identified), (title))

struct Documents {
    static constexpr std::string_view table = "documents";
    static constexpr auto generated = columns<&Document::id>;
};
using DocumentEntity = Entity<Documents, Document>;

TEST_CASE("inherited members are columns too", "[sql_builders]") {
    STATIC_REQUIRE(text<DocumentEntity, Insert<DocumentEntity, false>> ==
                   R"(INSERT INTO "documents" ("title") VALUES ($1))"sv);
    CHECK(compose_select_one<DocumentEntity>(field<&Document::id> == 1)
              .sql()
              .starts_with(R"(SELECT "id", "title" FROM "documents")"
                           R"( WHERE "id" OPERATOR(pg_catalog.=) $1)"));
}

struct Event {
    std::int64_t id{};
};
BOOST_DESCRIBE_STRUCT(Event, (), (id))
struct Events {
    static constexpr std::string_view table = "events";
    static constexpr auto generated = columns<&Event::id>;
};
using EventEntity = Entity<Events, Event>;

TEST_CASE("a model whose columns are all generated is inserted by default values",
          "[sql_builders]") {
    STATIC_REQUIRE(text<EventEntity, Insert<EventEntity, true>> ==
                   R"(INSERT INTO "events" DEFAULT VALUES RETURNING "id")"sv);
}

TEST_CASE("only a model with a column beside its key can update a row", "[sql_builders]") {
    STATIC_REQUIRE(has_updated_columns<ProjectEntity>);
    STATIC_REQUIRE(has_updated_columns<DocumentEntity>);
    STATIC_REQUIRE_FALSE(has_updated_columns<EventEntity>);
}

}  // namespace
