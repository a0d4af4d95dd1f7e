#pragma once

#include "../project_service.hpp"

#include <boost/json.hpp>

#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// A line of the input cannot be understood at all; the database never hears of it.
class MalformedProject : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A project as the input has it.
struct ProjectRecord {
    Project project;
    std::vector<Workflow> workflows;
};

namespace detail {

/// The text under `key`; nothing where it is missing or null, for that is the database's to judge.
inline std::optional<std::string> read_text(const boost::json::object& object,
                                            std::string_view what, std::string_view key) {
    const boost::json::value* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    const boost::json::string* text = value->if_string();
    const std::string field = std::string{what} + " " + std::string{key};
    if (text == nullptr) throw MalformedProject{field + " is not text"};
    if (text->find('\0') != boost::json::string::npos)
        throw MalformedProject{field + " holds a NUL character"};
    return std::string{*text};
}

}  // namespace detail

/// Reads `{"name": "…", "status": "…", "workflows": [{"name": "…"}, …]}`.
///
/// Only what has no meaning is refused here. Values that are missing, unknown or too long go
/// through: the rules about them stand in the tables, once.
inline ProjectRecord read_project(std::string_view line) {
    boost::system::error_code error;
    const boost::json::value parsed = boost::json::parse(line, error);
    if (error) throw MalformedProject{"line is not JSON"};
    const boost::json::object* object = parsed.if_object();
    if (object == nullptr) throw MalformedProject{"line is not a JSON object"};

    ProjectRecord record;
    record.project.name = detail::read_text(*object, "project", "name");
    record.project.status = detail::read_text(*object, "project", "status");
    const boost::json::value* workflows = object->if_contains("workflows");
    if (workflows == nullptr) return record;
    if (!workflows->is_array()) throw MalformedProject{"project workflows are not a list"};
    for (const boost::json::value& element : workflows->get_array()) {
        const boost::json::object* workflow = element.if_object();
        if (workflow == nullptr) throw MalformedProject{"workflow is not a JSON object"};
        record.workflows.push_back({.name = detail::read_text(*workflow, "workflow", "name")});
    }
    return record;
}

/// All lines of a file but empty ones.
inline std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file{path};
    if (!file) throw std::runtime_error{"cannot read " + path};
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);)
        if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(line);
    return lines;
}
