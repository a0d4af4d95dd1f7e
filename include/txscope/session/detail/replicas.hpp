#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/pool/lease.hpp>
#include <txscope/pool/pool.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/detail/cluster_identity.hpp>
#include <txscope/session/replicas.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// In which order scopes ask replicas: each begins with the next one, and leaves out those that were no
/// good a moment ago.
class ReplicaOrder {
public:
    /// Of one scope.
    struct Turn {
        std::size_t first = 0;
        std::size_t asked = 0;
    };

    explicit ReplicaOrder(std::size_t count) : back_at_(count, Clock::time_point::min()) {}

    Turn begin() noexcept { return {.first = next_++ % back_at_.size()}; }
    /// Whom to ask next; none when all have been, or are left out.
    std::optional<std::size_t> next(Turn& turn, Clock::time_point now) const noexcept {
        while (turn.asked < back_at_.size()) {
            const auto replica = (turn.first + turn.asked++) % back_at_.size();
            if (now >= back_at_[replica]) return replica;
        }
        return std::nullopt;
    }
    void leave_out(std::size_t replica, Clock::time_point until) noexcept {
        back_at_[replica] = std::max(back_at_[replica], until);
    }

private:
    std::vector<Clock::time_point> back_at_;
    std::size_t next_ = 0;
};

/// How far the log of the primary goes with what was written there, as far as that is known.
class WrittenPosition {
public:
    /// Something was written, who knows where in the log.
    void wrote() noexcept { ++writes_; }
    /// To be told along with the position that is asked for now.
    std::uint64_t writes() const noexcept { return writes_; }
    void learn(const ReadYourWrites& position, std::uint64_t writes) noexcept {
        latest_ = std::max(latest_, position);
        covered_ = std::max(covered_, writes);
    }

    /// Whether it holds all that was written.
    bool known() const noexcept { return covered_ == writes_; }
    const ReadYourWrites& latest() const noexcept { return latest_; }

private:
    ReadYourWrites latest_{};
    std::uint64_t writes_ = 0;
    std::uint64_t covered_ = 0;
};

struct SharedConnection;

/// What `SharedConnection::borrow_from_replica` does.
TXSCOPE_LAZY asio::awaitable<void> borrow_from_replica(SharedConnection& transaction,
                                                       Clock::time_point asked);
/// What `SharedConnection::reroute` does.
TXSCOPE_LAZY asio::awaitable<void> reroute_transaction(SharedConnection& transaction,
                                                       Connection::SharedResponse& response);

/// The replicas of a factory's server. From any thread.
class Replicas {
public:
    using Pools = std::vector<std::shared_ptr<Pool>>;

    TXSCOPE_LAZY Replicas(Pools pools, ClusterIdentity::Shared identity,
                          std::chrono::milliseconds max_lag);

    // Pointers to those, which the constructor sets: so a program without replicas does not compile
    // what finds one.
    asio::awaitable<void> (*const borrow)(SharedConnection&, Clock::time_point);
    asio::awaitable<void> (*const reroute)(SharedConnection&, Connection::SharedResponse&);
    const Pools& pools() const noexcept { return pools_; }
    /// Whether that is a connection to a replica of the primary.
    bool accept(const Lease& found) const { return identity_->accepts(*found.member()); }

    ReplicaOrder::Turn begin() noexcept {
        const std::lock_guard lock{mutex_};
        return order_.begin();
    }
    /// The next to ask; none where it is for the primary to answer.
    std::optional<std::size_t> next(ReplicaOrder::Turn& turn) const noexcept {
        const std::lock_guard lock{mutex_};
        return written_.known() ? order_.next(turn, Clock::now()) : std::nullopt;
    }
    void leave_out(std::size_t replica, std::chrono::milliseconds time) noexcept {
        const std::lock_guard lock{mutex_};
        order_.leave_out(replica, deadline_in(time));
    }
    /// What a replica executes that has all which was written by now, and by `after`; elsewhere it
    /// fails, and what follows it is skipped.
    Statement condition(const ReadYourWrites& after) const;

    void wrote() noexcept {
        const std::lock_guard lock{mutex_};
        written_.wrote();
    }
    WrittenPosition written() const noexcept {
        const std::lock_guard lock{mutex_};
        return written_;
    }
    void learn(const ReadYourWrites& position, std::uint64_t writes) noexcept {
        const std::lock_guard lock{mutex_};
        written_.learn(position, writes);
    }

    /// What a primary answers with how far its log goes.
    static Statement position_question();
    static ReadYourWrites position_of(const Row& answer);

private:
    const Pools pools_;
    const ClusterIdentity::Shared identity_;
    const std::string condition_;  // up to where more may be added
    mutable std::mutex mutex_;
    ReplicaOrder order_{pools_.size()};
    WrittenPosition written_{};
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

namespace txscope::detail {

/// The end of what was received may belong to a record that is not complete yet. Source: PostgreSQL
/// manual, "Recovery Information Functions" and `pg_stat_wal_receiver`, of which every role sees whether
/// there is one.
TXSCOPE_INLINE std::string replica_condition(std::chrono::milliseconds max_lag) {
    std::string condition =
        "SELECT 1 OPERATOR(pg_catalog./) CASE WHEN pg_catalog.pg_is_in_recovery() AND "
        "pg_catalog.pg_last_wal_replay_lsn() OPERATOR(pg_catalog.>=) $1::pg_catalog.pg_lsn";
    if (max_lag.count() > 0)
        condition += " AND (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '" +
                     std::to_string(max_lag.count()) +
                     " milliseconds'::pg_catalog.interval OPERATOR(pg_catalog.<=) "
                     "pg_catalog.pg_last_xact_replay_timestamp() OR "
                     "(pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.<=) "
                     "pg_catalog.pg_last_wal_replay_lsn() AND "
                     "EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)))";
    return condition;
}

TXSCOPE_LAZY_INLINE Replicas::Replicas(Pools pools, ClusterIdentity::Shared identity,
                                       std::chrono::milliseconds max_lag)
    : borrow{&borrow_from_replica},
      reroute{&reroute_transaction},
      pools_{std::move(pools)},
      identity_{std::move(identity)},
      condition_{replica_condition(max_lag)} {}

TXSCOPE_INLINE Statement Replicas::condition(const ReadYourWrites& after) const {
    const auto least = std::max(after, written().latest());
    const auto position = log_position_text(least.position);
    const std::string end = " THEN 1 ELSE 0 END";
    if (least.timeline <= 1)
        return Statement{condition_ + end, position};  // none has an earlier one
    // A standby may have gone on with the log of a primary that was replaced, beyond where the new one
    // took over: then its position does not say what it has. What it has received of a timeline is of
    // that one, whatever it had before. Of which it last has put down everything, every role is told,
    // but some time later.
    return Statement{
        condition_ +
            " AND GREATEST((SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver), "
            "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())) "
            "OPERATOR(pg_catalog.>=) $2::pg_catalog.int8" +
            end,
        position, std::to_string(least.timeline)};
}

/// Behind the record of any commit, also of one that the server has not written to disk yet. But where a
/// page has just begun, it is not behind the page's header of 24 bytes, into which no record fits: a
/// standby comes there with the next record only.
TXSCOPE_INLINE Statement Replicas::position_question() {
    return Statement{
        "SELECT CASE WHEN inserted OPERATOR(pg_catalog.-) flushed OPERATOR(pg_catalog.=) 24 "
        "THEN flushed ELSE inserted END, pg_catalog.pg_walfile_name(inserted) FROM (SELECT "
        "pg_catalog.pg_current_wal_insert_lsn() AS inserted, "
        "pg_catalog.pg_current_wal_flush_lsn() AS flushed) AS log"};
}

TXSCOPE_INLINE ReadYourWrites Replicas::position_of(const Row& answer) {
    ReadYourWrites position;
    position.timeline = hexadecimal(answer.text(1)->substr(0, 8));
    position.position = log_position(*answer.text(0));
    return position;
}

}  // namespace txscope::detail

#endif
