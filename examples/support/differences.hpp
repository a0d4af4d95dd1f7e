#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

/// The names of projects, each with the number of its workflows.
using Projects = std::vector<std::pair<std::string, std::int64_t>>;

/// What the projects found in the tables are not that were committed: a line for each one that is
/// missing, or there without having been committed. A wrong number of workflows gives both.
inline std::vector<std::string> differences(Projects committed, Projects found) {
    std::sort(committed.begin(), committed.end());
    std::sort(found.begin(), found.end());
    Projects missing, left_over;
    std::set_difference(committed.begin(), committed.end(), found.begin(), found.end(),
                        std::back_inserter(missing));
    std::set_difference(found.begin(), found.end(), committed.begin(), committed.end(),
                        std::back_inserter(left_over));
    std::vector<std::string> lines;
    for (const auto& [name, workflows] : missing)
        lines.push_back(
            fmt::format("committed, but not there: {} with {} workflows", name, workflows));
    for (const auto& [name, workflows] : left_over)
        lines.push_back(
            fmt::format("there, but not committed: {} with {} workflows", name, workflows));
    return lines;
}
