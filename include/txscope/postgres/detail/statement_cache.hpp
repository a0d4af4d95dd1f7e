#pragma once

#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/exchange.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/postgres/detail/statement_naming.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Which statements a connection has prepared under which name; the least recently used goes first.
///
/// Prepared statements belong to the server's session: a rollback does not undo them. Behind a
/// pooler that is a session which others use, too, so no name is ever given twice, by any
/// connection: 128 random bits of the connection's own, and a number.
class StatementCache {
public:
    using Clock = std::chrono::steady_clock;

    explicit StatementCache(const StatementNaming& naming)
        : naming_{naming}, generation_{naming.generation()} {
        std::random_device random;
        for (int word = 0; word < 4; ++word) prefix_ += fmt::format("{:08x}", random());
        prefix_ += '_';
        enabled_ = naming.most() > 0 && !naming.stopped();
    }

    struct Entry {
        std::string sql;
        std::string name;
        std::uint64_t batch;  ///< The batch that prepares it; 0 once the server confirmed it.
        StatementKind kind;
        Clock::time_point prepared;
    };

    /// Forgets what is not to be used any more: to be called before statements are sent, which are
    /// so at that time.
    void begin_batch() {
        if (!enabled_) return;
        now_ = Clock::now();
        if (std::exchange(generation_, naming_.generation()) == generation_) return;
        retire_all();
        if (!naming_.stopped()) return;
        enabled_ = false;
        clear();
    }

    /// The statement of that text, now the most recently used; null when there is none.
    Entry* find(std::string_view sql) {
        if (!enabled_) return nullptr;
        const auto found = by_sql_.find(sql);
        if (found == by_sql_.end()) return nullptr;
        if (now_ - found->second->prepared > naming_.lifetime()) {
            retire(found->second);
            return nullptr;
        }
        entries_.splice(entries_.begin(), entries_, found->second);
        return &entries_.front();
    }

    /// A new name for `sql`, to be prepared in `batch`.
    Entry& insert(std::string sql, StatementKind kind, std::uint64_t batch) {
        if (entries_.size() >= naming_.most()) retire(std::prev(entries_.end()));
        entries_.push_front(
            {std::move(sql), prefix_ + std::to_string(++last_number_), batch, kind, now_});
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

    /// The server knows the statement, but it is of no use any more.
    void retire(std::string_view sql) {
        if (const auto found = by_sql_.find(sql); found != by_sql_.end()) retire(found->second);
    }
    void retire_all() {
        while (!entries_.empty()) retire(entries_.begin());
    }
    /// The same, but the server is to keep it until it is confirmed once more. Returns its name,
    /// empty when there is no such statement any more.
    std::string retire_later(std::string_view sql) {
        const auto found = by_sql_.find(sql);
        if (found == by_sql_.end()) return {};
        std::string name = found->second->name;
        retire(found->second);
        retired_.insert_or_assign(name, false);
        return name;
    }

    /// The server has skipped `command`, or failed it with that SQLSTATE.
    void take_failure(const Command& command, std::string_view code = {}) {
        if (command.kind == Command::prepare) forget(command.name);
        if (command.kind == Command::close && code != sqlstate::invalid_sql_statement_name)
            give_back_retired(command.name);
    }

    /// The server's names are all gone.
    void clear() {
        by_sql_.clear();
        entries_.clear();
        retired_.clear();
    }

    bool enabled() const noexcept { return enabled_; }
    std::size_t size() const noexcept { return entries_.size(); }
    /// Whether an error's text names one of the statements, in whatever language it speaks.
    bool is_named_in(std::string_view text) const { return text.find(prefix_) != text.npos; }

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
        by_sql_.erase(entry->sql);
        retired_.emplace(std::move(entry->name), entry->batch == 0);
        entries_.erase(entry);
    }

    StatementNaming naming_;
    std::uint64_t generation_;  // of what is kept here
    bool enabled_;
    Clock::time_point now_{};
    std::string prefix_ = "txscope_";
    std::uint64_t last_number_ = 0;
    std::list<Entry> entries_;
    std::unordered_map<std::string_view, Iterator> by_sql_;  // keys view into entries_
    // Names, and whether the server has confirmed them: to drop what it may never have known would be
    // an error.
    std::map<std::string, bool, std::less<>> retired_;
};

}  // namespace txscope::detail
