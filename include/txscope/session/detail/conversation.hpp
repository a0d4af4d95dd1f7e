#pragma once

#include <txscope/session/detail/pool.hpp>
#include <txscope/session/detail/strand.hpp>
#include <txscope/session/detail/turnstile.hpp>

#include <algorithm>
#include <exception>
#include <iterator>
#include <memory>
#include <utility>

namespace txscope::detail {

/// What is said over one connection, by a session and the sessions nested in it.
struct Conversation {
    Conversation(std::shared_ptr<Pool> from, Strand on, bool is_transaction, int number = 1)
        : pool{std::move(from)},
          strand{std::move(on)},
          transaction{is_transaction},
          attempt{number} {}

    const std::shared_ptr<Pool> pool;
    const Strand strand;
    const bool transaction;
    const int attempt;  // of those that the scope's retry policy allows

    Lease lease{};                 // taken with the first statement
    Turnstile leasing{};           // parallel first statements take it once
    Connection::Batch outbox{};    // goes out together, at the end of this turn of the strand
    std::exception_ptr failure{};  // why the server refuses statements until a rollback
    bool in_doubt = false;         // COMMIT was sent, and nobody knows whether it was executed

    void send_outbox();
};

inline void Conversation::send_outbox() {
    auto batch = std::exchange(outbox, {});
    if (batch.empty()) return;
    if (transaction) return lease->submit(std::move(batch));
    // Statements under one Sync are one implicit transaction: without a scope, branches share none.
    auto next = batch.begin();
    while (next != batch.end()) {
        const auto exchange = next->exchange;
        const auto last = std::find_if(next, batch.end(), [&](const Outgoing& outgoing) {
            return outgoing.exchange != exchange;
        });
        lease->submit({std::move_iterator{next}, std::move_iterator{last}});
        next = last;
    }
}

}  // namespace txscope::detail
