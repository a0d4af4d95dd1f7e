#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/transaction_identity.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// What the sessions of one transaction share, with what it was begun with.
struct TransactionState : SharedConnection {
    /// @param with outlives the scope
    TransactionState(std::shared_ptr<SessionPool> from, Strand on, std::source_location where,
                     const TransactionOptions& with, int number)
        : SharedConnection{std::move(from), std::move(on), where, true, with.label, number},
          options{with} {
        read_only = options.access == AccessMode::read_only;
    }
    TransactionState(const TransactionState&) = delete;

    ScopeEvent::Kind outcome() const noexcept {
        using Phase = TransactionMachine::Phase;
        if (machine.phase() == Phase::in_doubt) return ScopeEvent::in_doubt;
        return machine.phase() == Phase::committed ? ScopeEvent::commit : ScopeEvent::rollback;
    }

    const TransactionOptions& options;
    // The answers to "which transaction is this?" and "what has its server come of?", where wanted.
    Connection::SharedResponse id{};
    Connection::SharedResponse history{};
};

inline TransactionState& transaction_of(const SessionState& session) {
    return static_cast<TransactionState&>(session.shared());
}

/// Whether it is known to have written nothing that outlives it.
inline bool is_read_only(const TransactionState& transaction) {
    if (transaction.read_only) return true;
    const auto& id = transaction.id;
    return id && id->done && !id->error && TransactionIdentity::is_read_only(id->result.one());
}

/// The longest time that a setting of the server's can have.
inline constexpr std::chrono::milliseconds longest_on_server{
    std::numeric_limits<std::int32_t>::max()};

/// How long the server lets a transaction live that begins now and is to end by `deadline`, 0 for as
/// long as it likes: for those whose client dies. A client that lives ends it at its deadline, and has
/// its time for that.
inline std::chrono::milliseconds life_on_server(const TransactionState& transaction,
                                                Clock::time_point deadline) {
    using std::chrono::milliseconds;
    if (deadline == Clock::time_point::max()) return milliseconds{0};
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    const auto more = std::min(transaction.pool->options().cleanup_timeout, longest_on_server);
    return std::clamp(left + more, milliseconds{1}, longest_on_server);
}

/// Asks what the server of its connection has come of, once a connection, ahead of BEGIN and in the
/// same round trip. Under a Sync of its own: a server that refuses it refuses nothing else.
inline void ask_history(TransactionState& transaction) {
    PooledConnection& member = *transaction.lease.member();
    if (!member.about_server) {
        member.about_server = std::make_shared<Response>();
        Connection::Batch question;
        question.emplace_back(ServerHistory::question(), member.about_server);
        member.connection->submit(std::move(question));
        ++member.round_trips_counted;
    }
    transaction.history = member.about_server;
}

/// The answer to how far the log of a server goes, which was asked after so many writes.
struct PositionAsked {
    Connection::SharedResponse response{};
    std::uint64_t writes = 0;
};

/// Asks that behind COMMIT, where what the transaction may have written, or others before it, is to be
/// read from replicas.
inline PositionAsked ask_position(TransactionState& transaction) {
    const Replicas* const replicas = transaction.pool->replicas();
    if (replicas == nullptr || (transaction.routing && transaction.routing->on_replica()))
        return {};
    const WrittenPosition written = replicas->written();
    if (transaction.read_only && written.known()) return {};
    PositionAsked asked{transaction.lease->make_response(), written.writes()};
    transaction.outbox.emplace_back(Replicas::position_question(), asked.response);
    return asked;
}

inline void learn_position(TransactionState& transaction, const PositionAsked& asked) {
    Replicas& replicas = *transaction.pool->replicas();
    const Response& answer = *asked.response;
    if (answer.done && !answer.error)
        replicas.learn(Replicas::position_of(answer.result.one()), asked.writes);
    else if (!transaction.read_only)
        replicas.wrote();  // maybe
}

}  // namespace txscope::detail
