#pragma once

#include <txscope/protocol/copy.hpp>
#include <txscope/protocol/parameters.hpp>

#include <cstdint>
#include <string_view>

namespace txscope::protocol {

struct PreparedStatement;

/// One statement to be executed.
struct Execution {
    std::string_view sql;
    /// To be prepared under this name, which stands for this SQL and no other; empty to be parsed
    /// just for now. What gives other columns from time to time (FETCH, EXECUTE, CALL) takes no name:
    /// a prepared statement's columns are asked for once.
    std::string_view name{};
    /// The statement of that name, where it is at hand: spares looking it up.
    PreparedStatement* prepared = nullptr;
    Parameters parameters{};
    bool keep_result = true;
    bool changes_session = false;  ///< Whether it may leave there what outlives its transaction.
    /// Whether its columns are asked for; without, rows are an error. For BEGIN and the like.
    bool returns_rows = true;
    /// `in`: a COPY FROM STDIN, the last of its batch, which `copy_done` or `copy_fail` ends.
    /// `out`: a COPY TO STDOUT.
    Copy copy = Copy::none;
    /// With a name, it may go on by `fetch` until its transaction ends.
    std::string_view portal{};
    std::uint32_t max_rows = 0;  ///< 0 for all.
};

}  // namespace txscope::protocol
