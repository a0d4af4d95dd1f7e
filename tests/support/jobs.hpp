#pragma once

#include <txscope/repository/base_repository.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace support {

/// A queue of work: a table, its rows, and its repository.
inline const std::string jobs_table = R"(
    CREATE TABLE jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL CONSTRAINT one_job_a_name UNIQUE,
        state text NOT NULL DEFAULT 'new',
        note text,
        tries integer NOT NULL DEFAULT 0);)";

struct Job {
    std::int64_t id{};
    std::string name{};
    std::string state{"new"};
    std::optional<std::string> note{};
    int tries{};
    bool operator==(const Job&) const = default;
};
BOOST_DESCRIBE_STRUCT(Job, (), (id, name, state, note, tries))

class Jobs : public txscope::BaseRepository<Jobs, Job> {
public:
    static constexpr std::string_view table = "jobs";
    static constexpr auto generated = txscope::columns<&Job::id>;
    using BaseRepository::BaseRepository;
};

}  // namespace support
