#pragma once

#include <txscope/txscope.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <string>
#include <string_view>

struct Project {
    std::int64_t id{};
    std::string name;
};
BOOST_DESCRIBE_STRUCT(Project, (), (id, name))

class Projects : public txscope::BaseRepository<Projects, Project> {
public:
    static constexpr std::string_view table = "projects";
    using BaseRepository::BaseRepository;
};
