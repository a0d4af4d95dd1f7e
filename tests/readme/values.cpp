// The pieces of code that the cookbook shows beside its table of values. Compiled, never run.

#include <txscope/txscope.hpp>
#include <txscope/values/plain_structs.hpp>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

struct ProjectId {
    std::int64_t value{};
    auto operator<=>(const ProjectId&) const = default;
};

template <>
struct txscope::SqlValue<ProjectId> : txscope::WrappedValue<&ProjectId::value> {};

struct Project {
    ProjectId id{};
    std::string name{};
};

class Projects : public txscope::BaseRepository<Projects, Project> {
public:
    static constexpr std::string_view table = "projects";
    using BaseRepository::BaseRepository;
};
