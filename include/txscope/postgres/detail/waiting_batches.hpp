#pragma once

#include <txscope/postgres/detail/request.hpp>
#include <txscope/postgres/detail/spare_memory.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/protocol/answers.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace txscope::detail {

/// The batches of a connection that does not pipeline, each of which waits until the one ahead is
/// answered.
///
/// The server takes statements under one Sync for a transaction, outside of any. Each with a Sync of its
/// own they are one by `BEGIN` and `COMMIT`, and `ROLLBACK` where one of them fails.
class WaitingBatches {
public:
    void push(Batch&& batch) { batches_.push_back(std::move(batch)); }
    /// All of them, which are not to be sent; nothing is left.
    std::vector<Batch> take_all() noexcept {
        began_ = false;
        return std::exchange(batches_, {});
    }
    /// Whether nothing may be left to be sent.
    bool empty() const noexcept { return batches_.empty() && !began_; }

    /// What is to be sent now that all is answered; it may be nothing.
    Batch next(protocol::TransactionStatus status, SpareMemory& memory) {
        const bool in_transaction = status != protocol::TransactionStatus::idle;
        Batch next;
        if (std::exchange(began_, false) && in_transaction) {
            next.emplace_back(Command{"ROLLBACK"}, memory.make_response({}));
        } else if (!batches_.empty()) {
            Batch& first = batches_.front();
            if (!in_transaction && is_implicit_transaction(first)) {
                first.emplace(first.begin(), Command{"BEGIN"}, memory.make_response({}));
                first.emplace_back(Command{"COMMIT"}, memory.make_response({}));
                began_ = true;
            }
            next.swap(first);
            batches_.erase(batches_.begin());
        }
        return next;
    }

private:
    static bool is_implicit_transaction(const Batch& batch) {
        const auto decides = [](const Request& each) {
            return each.own || statement_kind(each.statement.sql()).transaction_control;
        };
        return batch.size() > 1 && std::none_of(batch.begin(), batch.end(), decides);
    }

    std::vector<Batch> batches_;
    bool began_ = false;  // the last one, in a transaction of its own
};

}  // namespace txscope::detail
