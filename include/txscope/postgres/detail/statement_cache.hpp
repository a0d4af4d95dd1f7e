#pragma once

#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/exchange.hpp>
#include <txscope/postgres/detail/session_effect.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Which statements a connection has prepared under which name; the least recently used goes first.
///
/// Prepared statements belong to the server's session: a rollback does not undo them.
class StatementCache {
public:
    /// `capacity` 0 means no names at all, as old poolers need.
    explicit StatementCache(std::size_t capacity) : capacity_{capacity} {}

    struct Entry {
        std::string sql;
        std::string name;
        std::uint64_t batch;   ///< The batch that prepares it; 0 once the server confirmed it.
        bool affects_session;  ///< See `has_session_effect`.
    };

    /// The statement of that text, now the most recently used; null when there is none.
    Entry* find(std::string_view sql) {
        const auto found = by_sql_.find(sql);
        if (found == by_sql_.end()) return nullptr;
        entries_.splice(entries_.begin(), entries_, found->second);
        return &entries_.front();
    }

    /// A new name for `sql`, to be prepared in `batch`.
    Entry& insert(std::string sql, std::uint64_t batch) {
        if (entries_.size() >= capacity_) retire(std::prev(entries_.end()));
        const bool affects_session = has_session_effect(sql);
        entries_.push_front(
            {std::move(sql), "txscope_" + std::to_string(++last_name_), batch, affects_session});
        by_sql_.emplace(entries_.front().sql, entries_.begin());
        return entries_.front();
    }

    /// The server has prepared the statement `name`.
    void confirm(std::string_view name) {
        if (const auto retired = retired_.find(name); retired != retired_.end())
            retired->second = true;
        else if (const auto found = find_name(name); found != entries_.end())
            found->batch = 0;
    }

    /// The server does not know `name` (any more).
    void forget(std::string_view name) {
        if (const auto found = find_name(name); found != entries_.end()) erase(found);
        if (const auto retired = retired_.find(name); retired != retired_.end())
            retired_.erase(retired);
    }

    void forget_sql(std::string_view sql) {
        if (const auto found = by_sql_.find(sql); found != by_sql_.end()) erase(found->second);
    }

    /// The server knows the statement, but it is of no use any more.
    void retire(std::string_view sql) {
        if (const auto found = by_sql_.find(sql); found != by_sql_.end()) retire(found->second);
    }

    /// The server has skipped `command`, or failed it with that SQLSTATE; none for an error that came
    /// from within, of a function that it called.
    void take_failure(const Command& command, std::string_view code = {}) {
        if (command.kind == Command::prepare) forget(command.name);
        if (command.kind == Command::close && code != sqlstate::invalid_sql_statement_name)
            give_back_retired(command.name);
        if (command.kind != Command::statement) return;
        if (code == sqlstate::feature_not_supported)
            retire(command.outgoing.statement.sql());  // "cached plan must not change result type"
        if (code == sqlstate::invalid_sql_statement_name)
            forget_sql(command.outgoing.statement.sql());  // somebody deallocated it
    }

    /// The server's names are all gone.
    void clear() {
        by_sql_.clear();
        entries_.clear();
        retired_.clear();
    }

    bool enabled() const noexcept { return capacity_ > 0; }
    std::size_t size() const noexcept { return entries_.size(); }

    /// Names the server may drop; the caller takes them, and gives back those it could not drop.
    std::vector<std::string> take_retired() {
        std::vector<std::string> names;
        std::erase_if(retired_, [&](const auto& retired) {
            if (retired.second) names.push_back(retired.first);
            return retired.second;
        });
        return names;
    }
    void give_back_retired(std::string name) { retired_.emplace(std::move(name), true); }

private:
    using Iterator = std::list<Entry>::iterator;

    Iterator find_name(std::string_view name) {
        auto entry = entries_.begin();
        while (entry != entries_.end() && entry->name != name) ++entry;
        return entry;
    }
    void erase(Iterator entry) {
        by_sql_.erase(entry->sql);
        entries_.erase(entry);
    }
    void retire(Iterator entry) {
        retired_.emplace(std::move(entry->name), entry->batch == 0);
        erase(entry);
    }

    std::size_t capacity_;
    std::list<Entry> entries_;
    std::unordered_map<std::string_view, Iterator> by_sql_;  // keys view into entries_
    // Names, and whether the server has confirmed them: to drop what it may never have known would be
    // an error.
    std::map<std::string, bool, std::less<>> retired_;
    std::uint64_t last_name_ = 0;
};

}  // namespace txscope::detail
