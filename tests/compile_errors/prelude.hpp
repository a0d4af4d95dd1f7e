// What the cases have in common. Compiled once a compiler: a case then takes a fraction of a second.

#include <txscope/txscope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace asio = boost::asio;
using namespace txscope;

struct OwnerId {
    std::int64_t value{};
};
template <>
struct txscope::SqlValue<OwnerId> : txscope::WrappedValue<&OwnerId::value> {};

struct Project {
    std::int64_t id{};
    std::string name{};
    std::optional<std::string> note{};
    std::vector<std::string> tags{};
    std::chrono::sys_seconds seen{};
    OwnerId owner{};
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name, note, tags, seen, owner))

struct Workflow {
    std::int64_t id{};
    std::int64_t project_id{};
};
BOOST_DESCRIBE_STRUCT(Workflow, (), (id, project_id))

class ProjectRepository : public BaseRepository<ProjectRepository, Project> {
public:
    static constexpr std::string_view table = "projects";
    static constexpr auto generated = columns<&Project::id>;
    using BaseRepository::BaseRepository;
};

class WorkflowRepository : public BaseRepository<WorkflowRepository, Workflow> {
public:
    static constexpr std::string_view table = "workflows";
    using BaseRepository::BaseRepository;
};

/// Nobody has named its key.
struct Tag {
    std::string name{};
    std::string colour{};
};
BOOST_DESCRIBE_STRUCT(Tag, (), (name, colour))
class Tags : public BaseRepository<Tags, Tag> {
public:
    static constexpr std::string_view table = "tags";
    using BaseRepository::BaseRepository;
};
