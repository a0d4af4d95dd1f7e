#pragma once

#include <atomic>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

namespace support {

/// `value` was put at the end of the list under `key`. No value is ever put there twice.
struct Append {
    int key;
    int value;
};

/// The list under `key` was this.
struct Read {
    int key;
    std::vector<int> values;
};

using Operation = std::variant<Append, Read>;

/// What its client knows of a transaction's end.
enum class Fate {
    committed,
    aborted,
    in_doubt,  ///< It may be either.
};

struct RecordedTransaction {
    Fate fate;
    std::vector<Operation> operations;
};

using History = std::vector<RecordedTransaction>;

/// Takes down what clients did, for `find_anomalies`; from any thread.
///
/// Lists that only grow tell what was before what: every reading shows all the writes before it, in
/// their order (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
/// Observations", 2020).
class HistoryRecorder {
public:
    /// A value that nobody else gets.
    int new_value() { return ++values_; }

    void add(Fate fate, std::vector<Operation> operations) {
        const std::lock_guard lock{mutex_};
        history_.push_back({fate, std::move(operations)});
    }

    History history() const {
        const std::lock_guard lock{mutex_};
        return history_;
    }

private:
    std::atomic<int> values_ = 0;
    mutable std::mutex mutex_;
    History history_;
};

}  // namespace support
