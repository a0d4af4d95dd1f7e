#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/held_part.hpp>
#include <txscope/repository/detail/refusals.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <string_view>
#include <utility>
#include <vector>

namespace txscope {

/// Assignments that are put together while the program runs: for a request that changes some columns
/// and leaves the others (HTTP's `PATCH`).
///
/// ```cpp
/// txscope::Changes<Project> changes;
/// if (patch.name) changes.set(field<&Project::name> = *patch.name);
/// if (patch.status) changes.set(field<&Project::status> = *patch.status);
/// auto now = co_await projects.update(id, changes);
/// ```
template <typename Model>
class Changes {
public:
    /// Gives a column a value, in the place of what it was given before.
    template <typename Assignment>
    Changes& set(Assignment assignment) {
        if constexpr (detail::AssignmentOn<Assignment, Model>)
            put(Assignment::template name<Model>(), std::move(assignment).operand());
        else
            detail::refuse<detail::Purpose::change, Model, Assignment>();
        return *this;
    }
    /// For the layers below: by the name of the member, what it gets.
    template <typename Operand>
    void put(std::string_view member, Operand operand) {
        detail::HeldPart held{std::move(operand), [](detail::SqlWriter& out, const Operand& part) {
                                  Operand::template write<Model>(out, &part);
                              }};
        for (Change& change : changes_)
            if (change.member == member) {
                change.operand = std::move(held);
                return;
            }
        changes_.push_back({member, std::move(held)});
    }

    [[nodiscard]] bool empty() const noexcept { return changes_.empty(); }

    /// Calls `visit(member, write)` for each, in the order in which `bind` gives their values, with what
    /// writes these.
    template <typename Visit>
    void for_each_member(Visit&& visit) const {
        for (const Change& change : changes_)
            visit(change.member, [&change](detail::SqlWriter& out) { change.operand.write(out); });
    }
    void bind(Statement& statement) const {
        for (const Change& change : changes_) change.operand.bind(statement);
    }

private:
    struct Change {
        std::string_view member;
        detail::HeldPart operand;
    };

    std::vector<Change> changes_;
};

}  // namespace txscope
