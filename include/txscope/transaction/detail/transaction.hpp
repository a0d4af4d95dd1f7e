#pragma once

#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/opening.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// A conversation that is a transaction, with what it was begun with.
struct Transaction : Conversation {
    Transaction(std::shared_ptr<Pool> from, Strand on, std::source_location where,
                const TransactionOptions& with, Clock::time_point until, int number)
        : Conversation{std::move(from), std::move(on), where, true, number},
          options{with},
          deadline{until} {
        reporter.label = options.label;
    }
    Transaction(const Transaction&) = delete;

    ScopeEvent::Kind outcome() const noexcept {
        if (in_doubt) return ScopeEvent::in_doubt;
        return committed ? ScopeEvent::commit : ScopeEvent::rollback;
    }

    const TransactionOptions options;
    const Clock::time_point deadline;
    std::shared_ptr<Exchange> id{};  // the answer to "which transaction is this?", where wanted
    bool committed = false;
};

inline Transaction& transaction_of(const SessionState& session) {
    return static_cast<Transaction&>(session.conversation());
}

/// Tells the observer how a transaction has ended, also when its scope is destroyed before that.
class OutcomeReport {
public:
    explicit OutcomeReport(Transaction& transaction) noexcept : transaction_{transaction} {}
    OutcomeReport(const OutcomeReport&) = delete;
    OutcomeReport& operator=(const OutcomeReport&) = delete;
    ~OutcomeReport() {
        if (told_) return;
        transaction_.reporter.report_since_begin(transaction_.over ? transaction_.outcome()
                                                                   : ScopeEvent::leaked);
        transaction_.over = true;
    }

    /// It has ended, and `error` is what its scope ends with.
    void tell(const std::exception_ptr& error) noexcept {
        told_ = true;
        transaction_.reporter.report_since_begin(transaction_.outcome(), error);
    }

private:
    Transaction& transaction_;
    bool told_ = false;
};

/// How long the server lets a transaction live that begins now, 0 for as long as it likes: for
/// those whose client dies. A client that lives ends it at its deadline, and has its time for that.
///
/// Source: PostgreSQL manual, `transaction_timeout`, which ends the whole session; since 17.
inline std::chrono::milliseconds life_on_server(const Transaction& transaction,
                                                const Connection& connection) {
    using std::chrono::milliseconds;
    if (transaction.deadline == Clock::time_point::max() || connection.server_version() < 170000)
        return milliseconds{0};
    const milliseconds longest{std::numeric_limits<std::int32_t>::max()};
    const auto left = std::chrono::ceil<milliseconds>(transaction.deadline - Clock::now());
    const auto more = std::min(transaction.pool->options().cleanup_timeout, longest);
    return std::clamp(left + more, milliseconds{1}, longest);
}

/// A session whose first statement begins a transaction.
inline std::shared_ptr<SessionState> open_transaction(std::shared_ptr<Pool> pool, Strand strand,
                                                      const TransactionOptions& options,
                                                      Clock::time_point deadline, int attempt,
                                                      std::source_location where) {
    auto transaction = std::make_shared<Transaction>(std::move(pool), std::move(strand), where,
                                                     options, deadline, attempt);
    if (options.verify_commit) transaction->id = std::make_shared<Exchange>();
    const auto begin = [raw = transaction.get()](const Connection& connection,
                                                 Connection::Batch& batch,
                                                 const Connection::Exchange& exchange) {
        begin_transaction(batch, raw->options, life_on_server(*raw, connection), raw->id, exchange);
    };
    return std::make_shared<SessionState>(std::move(transaction), begin, where);
}

}  // namespace txscope::detail
