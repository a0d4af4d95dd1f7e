#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/refusals.hpp>

#include <algorithm>
#include <functional>
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
            put(Assignment::template name<Model>(),
                [assignment = std::move(assignment)](Statement& to) { assignment.bind(to); });
        else
            detail::refuse<detail::Purpose::change, Model, Assignment>();
        return *this;
    }
    /// For the layers below: by the name of the member.
    Changes& put(std::string_view member, std::function<void(Statement&)> bind) {
        const auto found = std::ranges::find(changes_, member, &Change::member);
        if (found != changes_.end())
            found->bind = std::move(bind);
        else
            changes_.push_back({member, std::move(bind)});
        return *this;
    }

    [[nodiscard]] bool empty() const noexcept { return changes_.empty(); }

    /// Calls `visit(member)` for each, in the order in which `bind` gives their values.
    template <typename Visit>
    void for_each_member(Visit&& visit) const {
        for (const Change& change : changes_) visit(change.member);
    }
    void bind(Statement& statement) const {
        for (const Change& change : changes_) change.bind(statement);
    }

private:
    struct Change {
        std::string_view member;
        std::function<void(Statement&)> bind;
    };

    std::vector<Change> changes_;
};

}  // namespace txscope
