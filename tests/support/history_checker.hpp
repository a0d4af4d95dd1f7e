#pragma once

#include "support/anomaly.hpp"
#include "support/dependency_graph.hpp"
#include "support/history.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace support {

/// Looks through a history of lists for what a serializable database does not show.
class HistoryChecker {
public:
    explicit HistoryChecker(const History& history) : history_{history} {
        note_writers();
        settle_doubts();
        for (Id id = 0; id < history_.size(); ++id)
            if (committed_[id]) check_own_writes(id);
        for_each_committed<Read>([this](Id id, const Read& read) { check_read(id, read); });
        check_order();
        find_cycles();
    }

    /// All that was found; of cycles of one kind, those that have no transaction in common.
    const std::vector<Anomaly>& anomalies() const { return anomalies_; }

private:
    using Id = std::size_t;
    using Values = std::vector<int>;
    struct Writer {
        Id transaction;
        bool last;  // it wrote nothing to that list after it
    };

    /// Calls `visit(id, operation)` for the operations of this kind.
    template <typename Kind, typename Visit>
    void for_each(Id id, Visit visit) const {
        for (const Operation& operation : history_[id].operations)
            if (const auto* wanted = std::get_if<Kind>(&operation)) visit(id, *wanted);
    }
    template <typename Kind, typename Visit>
    void for_each_committed(Visit visit) const {
        for (Id id = 0; id < history_.size(); ++id)
            if (committed_[id]) for_each<Kind>(id, visit);
    }

    const Writer* writer_of(int key, int value) const {
        const auto found = writers_.find({key, value});
        return found == writers_.end() ? nullptr : &found->second;
    }
    bool written_by(Id id, int key, int value) const {
        const Writer* writer = writer_of(key, value);
        return writer != nullptr && writer->transaction == id;
    }

    void report(Phenomenon phenomenon, Id id, int key, const std::string& what) {
        anomalies_.push_back(
            {phenomenon, "T" + std::to_string(id) + ", list " + std::to_string(key) + ": " + what});
    }
    static std::string text(const Values& values) {
        std::string text = "[";
        for (const int value : values) text += " " + std::to_string(value);
        return text + " ]";
    }

    void note_writers();
    void settle_doubts();
    void check_read(Id id, const Read& read);
    void check_own_writes(Id id);
    void check_order();
    DependencyGraph dependencies() const;
    void find_cycles();

    const History& history_;
    std::map<std::pair<int, int>, Writer> writers_;  // by key and value
    std::vector<bool> committed_;
    std::map<int, Values> versions_;  // the longest reading of each list has all its versions
    std::vector<Anomaly> anomalies_;
};

/// `history` has nothing wrong when this is empty.
inline std::vector<Anomaly> find_anomalies(const History& history) {
    return HistoryChecker{history}.anomalies();
}

inline void HistoryChecker::note_writers() {
    for (Id id = 0; id < history_.size(); ++id) {
        std::map<int, Writer*> last;
        for_each<Append>(id, [&](Id, const Append& append) {
            const auto [place, fresh] =
                writers_.try_emplace({append.key, append.value}, Writer{id, true});
            if (!fresh)
                return report(Phenomenon::duplicate, id, append.key,
                              "wrote " + std::to_string(append.value) + " once more");
            if (last[append.key] != nullptr) last[append.key]->last = false;
            last[append.key] = &place->second;
        });
    }
}

/// A transaction in doubt was committed if somebody committed has seen something of it; otherwise
/// nothing depends on it.
inline void HistoryChecker::settle_doubts() {
    std::vector<Id> seeing;
    for (Id id = 0; id < history_.size(); ++id) {
        committed_.push_back(history_[id].fate == Fate::committed);
        if (committed_[id]) seeing.push_back(id);
    }
    while (!seeing.empty()) {
        const Id reader = seeing.back();
        seeing.pop_back();
        for_each<Read>(reader, [&](Id, const Read& read) {
            for (const int value : read.values) {
                const Writer* writer = writer_of(read.key, value);
                if (writer == nullptr || committed_[writer->transaction] ||
                    history_[writer->transaction].fate != Fate::in_doubt)
                    continue;
                committed_[writer->transaction] = true;
                seeing.push_back(writer->transaction);
            }
        });
    }
}

inline void HistoryChecker::check_read(Id id, const Read& read) {
    const auto wrong = [&](Phenomenon phenomenon) {
        report(phenomenon, id, read.key, "read " + text(read.values));
    };
    Values sorted = read.values;
    std::ranges::sort(sorted);
    if (std::ranges::adjacent_find(sorted) != sorted.end()) wrong(Phenomenon::duplicate);
    for (const int value : read.values) {
        const Writer* writer = writer_of(read.key, value);
        if (writer == nullptr)
            wrong(Phenomenon::unknown_value);
        else if (writer->transaction != id && !committed_[writer->transaction])
            wrong(Phenomenon::g1a);
    }
    if (!read.values.empty()) {
        const Writer* writer = writer_of(read.key, read.values.back());
        if (writer != nullptr && writer->transaction != id && !writer->last) wrong(Phenomenon::g1b);
    }
    Values& longest = versions_[read.key];
    if (read.values.size() > longest.size()) longest = read.values;
}

inline void HistoryChecker::check_own_writes(Id id) {
    std::map<int, Values> written;
    for (const Operation& operation : history_[id].operations) {
        if (const auto* append = std::get_if<Append>(&operation)) {
            written[append->key].push_back(append->value);
            continue;
        }
        const Read& read = std::get<Read>(operation);
        Values own;
        std::ranges::copy_if(read.values, std::back_inserter(own),
                             [&](int value) { return written_by(id, read.key, value); });
        if (own != written[read.key])
            report(Phenomenon::own_write_missed, id, read.key,
                   "wrote " + text(written[read.key]) + ", read " + text(read.values));
    }
}

inline void HistoryChecker::check_order() {
    for_each_committed<Read>([this](Id id, const Read& read) {
        const Values& longest = versions_[read.key];
        if (!std::equal(read.values.begin(), read.values.end(), longest.begin()))
            report(Phenomenon::incompatible_order, id, read.key,
                   "read " + text(read.values) + ", elsewhere " + text(longest));
    });
}

inline DependencyGraph HistoryChecker::dependencies() const {
    DependencyGraph graph{history_.size()};
    const auto depend = [&](Id from, Id to, Dependency kind, int key, int value) {
        if (committed_[from] && committed_[to])
            graph.add(from, to, kind, std::to_string(key) + ":" + std::to_string(value));
    };
    // Those who wrote what nobody read come after all that was read.
    std::map<int, std::vector<std::pair<int, Id>>> unread;
    std::set<std::pair<int, int>> seen;
    for (const auto& [key, versions] : versions_)
        for (const int value : versions) seen.insert({key, value});
    for_each_committed<Append>([&](Id id, const Append& append) {
        if (!seen.contains({append.key, append.value}))
            unread[append.key].push_back({append.value, id});
    });

    // What follows for `from`, who wrote or read the version that ends before `next`.
    const auto precedes = [&](Id from, Dependency kind, int key, std::size_t next) {
        const auto found = versions_.find(key);
        if (found != versions_.end() && next < found->second.size()) {
            const int value = found->second[next];
            const Writer* writer = writer_of(key, value);
            if (writer != nullptr) depend(from, writer->transaction, kind, key, value);
        } else if (const auto later = unread.find(key); later != unread.end()) {
            for (const auto& [value, writer] : later->second)
                depend(from, writer, kind, key, value);
        }
    };
    for (const auto& [key, versions] : versions_)
        for (std::size_t place = 0; place < versions.size(); ++place)
            if (const Writer* writer = writer_of(key, versions[place]))
                precedes(writer->transaction, Dependency::write_write, key, place + 1);
    for_each_committed<Read>([&](Id id, const Read& read) {
        precedes(id, Dependency::read_write, read.key, read.values.size());
        if (read.values.empty()) return;
        const Writer* writer = writer_of(read.key, read.values.back());
        if (writer != nullptr)
            depend(writer->transaction, id, Dependency::write_read, read.key, read.values.back());
    });
    return graph;
}

inline void HistoryChecker::find_cycles() {
    const DependencyGraph graph = dependencies();
    const std::pair<Dependency, Phenomenon> kinds[] = {{Dependency::write_write, Phenomenon::g0},
                                                       {Dependency::write_read, Phenomenon::g1c},
                                                       {Dependency::read_write, Phenomenon::g2}};
    for (const auto& [dependency, phenomenon] : kinds)
        for (std::string& cycle : graph.find_cycles(dependency))
            anomalies_.push_back({phenomenon, std::move(cycle)});
}

}  // namespace support
