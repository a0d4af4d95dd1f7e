#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/postgres/detail/statement_naming.hpp>
#include <txscope/protocol/prepared_statements.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace txscope::detail {

/// By which name a connection has prepared which SQL text.
///
/// Behind a pooler a server's session is one that others use, too, so no name is ever given twice, by
/// any connection: 128 random bits of the connection's own, and a number.
class StatementNames {
public:
    using Clock = std::chrono::steady_clock;

    struct Entry {
        std::string name;
        StatementKind kind;  ///< Of the SQL.
        Clock::time_point named;
        protocol::PreparedStatements::Pin prepared{};  ///< None until it was sent.
    };

    explicit StatementNames(const StatementNaming& naming);

    bool enabled() const noexcept { return enabled_; }
    std::size_t most() const noexcept { return naming_.most(); }
    std::size_t size() const noexcept { return by_sql_.size(); }
    StatementNaming& naming() noexcept { return naming_; }

    /// To be called ahead of what is sent, which is so at that time. True when nothing that was
    /// prepared before is to be used any more: then there are no names.
    bool begin_batch() {
        if (!enabled_) return false;
        now_ = Clock::now();
        if (std::exchange(generation_, naming_.generation()) == generation_) return false;
        enabled_ = !naming_.stopped();
        clear();
        return true;
    }

    /// Null where it has none.
    Entry* find(std::string_view sql) noexcept {
        // To hash a text costs more than to compare a few: most programs repeat a few in turn.
        for (auto* const recent : recent_)
            if (recent != nullptr && recent->first == sql) return &recent->second;
        const auto found = by_sql_.find(sql);
        if (found == by_sql_.end()) return nullptr;
        recent_[next_recent_++ % recent_.size()] = &*found;
        return &found->second;
    }
    Entry& insert(std::string_view sql, StatementKind kind) {
        return by_sql_.emplace(sql, Entry{next_name(), kind, now_, {}}).first->second;
    }
    /// A name that means nothing yet.
    void renew(Entry& entry) { entry = {next_name(), entry.kind, now_}; }
    bool is_too_old(const Entry& entry) const noexcept {
        return now_ - entry.named > naming_.lifetime();
    }

    void clear() noexcept {
        by_sql_.clear();
        recent_ = {};
    }
    template <typename Predicate>
    void erase_if(Predicate predicate) {
        recent_ = {};
        std::erase_if(by_sql_, [&](const auto& each) { return predicate(each.second); });
    }

    /// Whether an error's text names one of the statements, in whatever language it speaks.
    bool is_named_in(std::string_view text) const { return text.find(prefix_) != text.npos; }

private:
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };

    std::string next_name() { return prefix_ + std::to_string(++last_number_); }

    StatementNaming naming_;
    std::uint64_t generation_;  // of what is named here
    bool enabled_;
    Clock::time_point now_{};
    std::string prefix_ = "txscope_";
    std::uint64_t last_number_ = 0;
    using Entries = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;
    Entries by_sql_;
    std::array<Entries::value_type*, 4> recent_{};  // that were found
    std::size_t next_recent_ = 0;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/random.hpp>

namespace txscope::detail {

TXSCOPE_INLINE StatementNames::StatementNames(const StatementNaming& naming)
    : naming_{naming},
      generation_{naming.generation()},
      enabled_{naming.most() > 0 && !naming.stopped()} {
    constexpr std::string_view digits = "0123456789abcdef";
    for (int word = 0; word < 2; ++word) {
        auto bits = random_bits();
        for (int digit = 0; digit < 16; ++digit, bits >>= 4) prefix_ += digits[bits & 15];
    }
    prefix_ += '_';
}

}  // namespace txscope::detail

#endif
