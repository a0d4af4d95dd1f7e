#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

/// What every contender has to do, word for word: the same SQL, the same values.
namespace benchmark {

/// The unit of work that is repeated; each is one transaction.
enum class Workload {
    insert,   ///< W1: BEGIN; one INSERT … RETURNING; COMMIT.
    project,  ///< W2: BEGIN; a project; ten workflows that carry the project's id; COMMIT.
    update,   ///< W3: BEGIN; SELECT a project; UPDATE it; COMMIT.
};

inline constexpr std::array workloads{Workload::insert, Workload::project, Workload::update};

constexpr std::string_view label(Workload workload) {
    switch (workload) {
        case Workload::insert:
            return "W1";
        case Workload::project:
            return "W2";
        case Workload::update:
            return "W3";
    }
    return "";
}

constexpr std::string_view description(Workload workload) {
    switch (workload) {
        case Workload::insert:
            return "one INSERT … RETURNING in a transaction";
        case Workload::project:
            return "a project with 10 workflows in a transaction";
        case Workload::update:
            return "SELECT, then UPDATE, in a transaction";
    }
    return "";
}

/// Rows that W3 finds in `projects`; each of up to 16 workers keeps to 64 of its own, so that what
/// is measured is the client, and not the waiting for row locks.
inline constexpr int rows_per_worker = 64;
inline constexpr int prepared_rows = 16 * rows_per_worker;

namespace sql {

// Autovacuum stays away: it would fall into some contender's round, and not into another's.
inline constexpr const char* schema = R"(
    CREATE TABLE "projects" (
        "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "name" text NOT NULL, "status" text NOT NULL
    ) WITH (autovacuum_enabled = off);
    CREATE TABLE "workflows" (
        "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        "project_id" bigint NOT NULL REFERENCES "projects", "name" text NOT NULL
    ) WITH (autovacuum_enabled = off))";

/// Makes the tables what they are before a measurement.
inline const std::string reset = R"(TRUNCATE "projects", "workflows" RESTART IDENTITY;
    INSERT INTO "projects" ("name", "status")
        SELECT 'project ' || n, 'draft' FROM generate_series(1, )" +
                                 std::to_string(prepared_rows) + ") AS n";

inline constexpr const char* create_project =
    R"(INSERT INTO "projects" ("name", "status") VALUES ($1, $2) RETURNING "id", "name", "status")";
inline constexpr const char* add_workflow =
    R"(INSERT INTO "workflows" ("project_id", "name") VALUES ($1, $2))";
inline constexpr const char* find_project =
    R"(SELECT "id", "name", "status" FROM "projects" WHERE "id" OPERATOR(pg_catalog.=) $1)";
inline constexpr const char* update_project =
    R"(UPDATE "projects" SET "status" = $1)"
    R"( WHERE "id" OPERATOR(pg_catalog.=) $2 RETURNING "id", "name", "status")";

}  // namespace sql

inline constexpr int workflows_per_project = 10;
inline const std::array<std::string, workflows_per_project> workflow_names{
    "collect requirements", "estimate costs", "approve budget",
    "order material",       "plan shifts",    "build prototype",
    "test on customers",    "train staff",    "roll out",
    "collect feedback"};

/// The values of one transaction: the `step`th of a worker.
struct Values {
    std::string name;
    std::string status;
    std::int64_t id;
};

inline Values values(int worker, std::int64_t step) {
    return {"project " + std::to_string(step), step % 2 == 0 ? "draft" : "active",
            1 + worker * rows_per_worker + step % rows_per_worker};
}

}  // namespace benchmark
