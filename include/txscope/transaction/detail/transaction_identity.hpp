#pragma once

#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/replicas.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txscope::detail {

/// When a server's main process was started, and when its counters: a mere restart keeps these, a
/// recovery from a crash starts them anew, also under the same main process (PostgreSQL manual,
/// "The Cumulative Statistics System"). Both together are of one run of one server only.
struct ServerRun {
    // As numbers, which no setting of a session writes differently.
    static constexpr std::string_view columns =
        "extract(epoch FROM pg_catalog.pg_postmaster_start_time()), "
        "extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time())";

    /// From the first two columns.
    explicit ServerRun(const Row& answer)
        : started{answer.get<std::string>(0)},
          counting_since{answer.get<std::optional<std::string>>(1)} {}

    bool operator==(const ServerRun&) const = default;

    std::string started;
    std::optional<std::string> counting_since;
};

/// Which transaction of a server this is. The id alone does not say it: a server that has lost the
/// end of its log, in a crash or as a standby that was promoted, gives out ids once more.
struct TransactionIdentity {
    /// What a transaction asks about itself: only what every server answers that is no standby.
    ///
    /// The message is read by nobody. With its record the id is in the log: a server that has replayed
    /// its log up to there has not given the id to anybody else.
    /// Source: PostgreSQL manual, `pg_logical_emit_message`.
    static Statement question() {
        static const std::string sql =
            "SELECT " + std::string{ServerRun::columns} +
            ", CASE WHEN writable THEN pg_catalog.pg_current_xact_id() END, "
            "CASE WHEN writable THEN pg_catalog.pg_logical_emit_message(true, "
            "'txscope'::pg_catalog.text, ''::pg_catalog.text) END FROM (SELECT "
            "pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool IS FALSE "
            "AS writable) AS transaction";
        return Statement{sql};
    }
    explicit TransactionIdentity(const Row& answer)
        : run{answer}, id{answer.get<std::string>(2)}, logged{log_position(*answer.text(3))} {}

    /// Whether the transaction that answered can write nothing: after this question it stays so.
    static bool is_read_only(const Row& answer) { return answer.is_null(2); }

    ServerRun run;
    std::string id;
    std::uint64_t logged;  ///< Where the log's record ends that is the first with the id.
};

/// What a server's state has come of: how its present run began.
struct ServerHistory {
    /// Not every server answers it: some keep these functions from some roles, or have them not.
    static Statement question() {
        static const std::string sql =
            "SELECT " + std::string{ServerRun::columns} +
            ", system_identifier, "
            "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), "
            "pg_catalog.pg_last_wal_replay_lsn(), "
            "CASE WHEN redo_lsn OPERATOR(pg_catalog.=) checkpoint_lsn AND checkpoint_time "
            "OPERATOR(pg_catalog.<=) pg_catalog.pg_postmaster_start_time() THEN checkpoint_lsn "
            "END, "
            "pg_catalog.pg_last_wal_receive_lsn() IS NOT NULL "
            "FROM pg_catalog.pg_control_system(), pg_catalog.pg_control_checkpoint()";
        return Statement{sql};
    }
    explicit ServerHistory(const Row& answer)
        : run{answer},
          system{answer.get<std::string>(2)},
          timeline{hexadecimal(answer.text(3)->substr(0, 8))},
          streamed{answer.get<bool>(6)} {
        if (const auto position = answer.text(4)) replayed = log_position(*position);
        if (const auto position = answer.text(5)) shut_down = log_position(*position);
    }

    ServerRun run;
    std::string system;
    std::uint64_t timeline;
    /// Where the log ended that this run has replayed, if it began by that: after a crash, from a
    /// backup or as a standby. No two runs of a server have the same.
    std::optional<std::uint64_t> replayed{};
    /// Where the log ended when the server was shut down in good order before this run; known until
    /// the run's first checkpoint.
    std::optional<std::uint64_t> shut_down{};
    bool streamed;  ///< Whether this run has been a standby's.
};

}  // namespace txscope::detail
