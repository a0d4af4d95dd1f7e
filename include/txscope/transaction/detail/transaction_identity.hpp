#pragma once

#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>

#include <string>
#include <string_view>

namespace txscope::detail {

/// When the server's counters were started: a recovery from a crash starts them anew, a mere
/// restart does not (PostgreSQL manual, "The Cumulative Statistics System").
inline constexpr std::string_view server_life =
    "SELECT coalesce(extract(epoch FROM stats_reset)::text, '') AS life FROM pg_stat_bgwriter";

/// Which transaction of a server this is. The id alone does not say it: a server that has crashed
/// gives out the ids once more that had not reached its log.
struct TransactionIdentity {
    /// What a transaction asks about itself.
    static Statement question() {
        return Statement{"SELECT pg_current_xact_id(), (" + std::string{server_life} + ")"};
    }
    explicit TransactionIdentity(const Row& answer)
        : id{answer.get<std::string>(0)}, life{answer.get<std::string>(1)} {}

    std::string id;
    std::string life;
};

}  // namespace txscope::detail
