#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/observer.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace txscope {

/// Counts events, from any thread and without a lock.
class Counter {
public:
    void add(std::int64_t more = 1) noexcept { count_.fetch_add(more, std::memory_order_relaxed); }
    std::int64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> count_ = 0;
};

/// How long something took, in classes, likewise.
class Histogram {
public:
    /// The classes' upper bounds, in seconds. What is longer than the last one is in a class of its own.
    static constexpr std::array bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                       0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                       1.0,    2.5,     5.0,    10.0,  30.0,   60.0};

    void add(std::chrono::nanoseconds time) noexcept;
    /// Those in one class, without those in the classes below.
    std::int64_t count(std::size_t number) const noexcept { return counts_[number].count(); }
    std::int64_t count() const noexcept;
    /// Of all of them, in seconds.
    double sum() const noexcept { return static_cast<double>(nanoseconds_.count()) / 1e9; }

private:
    std::array<Counter, bounds.size() + 1> counts_;
    Counter nanoseconds_;
};

/// Counts errors by the class of their SQLSTATE, its first two characters.
class ErrorCounter {
public:
    static constexpr std::size_t size = 36 * 36 + 1;

    /// What is no server's error counts for none, but a lost connection for class 08.
    void add(const std::exception_ptr& error) noexcept { counts_[number_of(error)].add(); }
    std::int64_t count(std::size_t number) const noexcept { return counts_[number].count(); }
    /// Such as "40", or "none".
    static std::string name(std::size_t number);

private:
    static std::size_t number_of(const std::exception_ptr& error) noexcept;

    std::array<Counter, size> counts_;
};

/// Counts what happens, for monitoring: see `prometheus_text`.
///
/// ```cpp
/// txscope::MetricsObserver metrics{{"transfer", "monthly import"}};
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &metrics}};
/// …
/// response.body = prometheus_text(metrics, sessions.statistics());
/// ```
///
/// **Threads**: counts without a lock, and may be read meanwhile.
class MetricsObserver : public Observer {
public:
    static constexpr std::array outcomes{ScopeEvent::commit, ScopeEvent::rollback,
                                         ScopeEvent::in_doubt, ScopeEvent::leaked};
    static constexpr std::size_t wait_outcomes =
        static_cast<std::size_t>(PoolEvent::Wait::cancelled) + 1;
    static constexpr std::size_t retirements =
        static_cast<std::size_t>(PoolEvent::Retirement::closed) + 1;

    /// @param labels those of `TransactionOptions::label` whose transactions are counted apart. All others
    ///     are counted as if they had none, so that the number of time series is bounded.
    explicit MetricsObserver(const std::set<std::string>& labels = {});

    void notice(const ScopeEvent& event) noexcept override;
    void notice_pool(const PoolEvent& event) noexcept override;

    /// Those with a label of `labels()`, which is at the same place.
    struct Transactions {
        std::array<Histogram, outcomes.size()>
            ended;            ///< For how long they have held a connection.
        ErrorCounter errors;  ///< That they were rolled back for.
        Counter retries;
        Counter open;
    };
    const std::vector<std::string>& labels() const noexcept { return labels_; }
    const std::vector<Transactions>& transactions() const noexcept { return transactions_; }

    struct Numbers {
        Histogram statements;
        ErrorCounter statement_errors;
        Counter rollback_failures;
        Counter hook_failures;
        Counter overlong_scopes;
        Counter notices;
        std::array<Histogram, wait_outcomes> waits;
        Histogram loans;
        Histogram openings;
        Counter transient_opening_failures;
        Counter lasting_opening_failures;
        std::array<Counter, retirements> retired;
    };
    const Numbers& numbers() const noexcept { return numbers_; }

private:
    Transactions& transactions_of(std::string_view label) noexcept;

    std::vector<std::string> labels_{""};
    std::vector<Transactions> transactions_;
    Numbers numbers_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/observing/detail/event_words.hpp>

#include <algorithm>
#include <iterator>
#include <new>

namespace txscope {

TXSCOPE_INLINE void Histogram::add(std::chrono::nanoseconds time) noexcept {
    const double seconds = std::chrono::duration<double>{time}.count();
    const auto first = std::ranges::lower_bound(bounds, seconds);
    counts_[static_cast<std::size_t>(first - bounds.begin())].add();
    nanoseconds_.add(time.count());
}

TXSCOPE_INLINE std::int64_t Histogram::count() const noexcept {
    std::int64_t all = 0;
    for (const Counter& each : counts_) all += each.count();
    return all;
}

namespace detail {

inline constexpr std::string_view sqlstate_characters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

}  // namespace detail

TXSCOPE_INLINE std::string ErrorCounter::name(std::size_t number) {
    constexpr auto characters = detail::sqlstate_characters;
    if (number == size - 1) return "none";
    return {characters[number / characters.size()], characters[number % characters.size()]};
}

TXSCOPE_INLINE std::size_t ErrorCounter::number_of(const std::exception_ptr& error) noexcept try {
    constexpr auto characters = detail::sqlstate_characters;
    std::string sqlstate = detail::sqlstate_of(error);
    if (sqlstate.empty() && detail::is_broken_connection(error)) sqlstate = "08000";
    if (sqlstate.size() != 5) return size - 1;
    const auto first = characters.find(sqlstate[0]);
    const auto second = characters.find(sqlstate[1]);
    const bool valid = std::max(first, second) < characters.size();
    return valid ? first * characters.size() + second : size - 1;
} catch (const std::bad_alloc&) {
    return size - 1;
}

TXSCOPE_INLINE MetricsObserver::MetricsObserver(const std::set<std::string>& labels) {
    std::ranges::copy_if(labels, std::back_inserter(labels_),
                         [](const std::string& label) { return !label.empty(); });
    transactions_ = std::vector<Transactions>(labels_.size());
}

TXSCOPE_INLINE MetricsObserver::Transactions& MetricsObserver::transactions_of(
    std::string_view label) noexcept {
    const auto found = std::ranges::find(labels_, label);
    const auto place = found != labels_.end() ? found - labels_.begin() : 0;
    return transactions_[static_cast<std::size_t>(place)];
}

TXSCOPE_INLINE void MetricsObserver::notice(const ScopeEvent& event) noexcept {
    switch (event.kind) {
        case ScopeEvent::begin:
            return transactions_of(event.label).open.add();
        case ScopeEvent::statement:
            numbers_.statements.add(event.duration);
            if (event.error) numbers_.statement_errors.add(event.error);
            return;
        case ScopeEvent::retry:
            return transactions_of(event.label).retries.add();
        case ScopeEvent::commit:
        case ScopeEvent::rollback:
        case ScopeEvent::in_doubt:
        case ScopeEvent::leaked: {
            const auto outcome = std::ranges::find(outcomes, event.kind) - outcomes.begin();
            Transactions& transactions = transactions_of(event.label);
            transactions.ended[static_cast<std::size_t>(outcome)].add(event.duration);
            transactions.open.add(-1);
            if (event.error) transactions.errors.add(event.error);
            return;
        }
        case ScopeEvent::rollback_failure:
            return numbers_.rollback_failures.add();
        case ScopeEvent::hook_failure:
            return numbers_.hook_failures.add();
        case ScopeEvent::overlong:
            return numbers_.overlong_scopes.add();
        case ScopeEvent::statements_unnamed:
            return;
        case ScopeEvent::notice:
            return numbers_.notices.add();
    }
}

TXSCOPE_INLINE void MetricsObserver::notice_pool(const PoolEvent& event) noexcept {
    switch (event.kind) {
        case PoolEvent::opened:
            return numbers_.openings.add(event.duration);
        case PoolEvent::opening_failed:
            return (event.is_transient ? numbers_.transient_opening_failures
                                       : numbers_.lasting_opening_failures)
                .add();
        case PoolEvent::retired:
            return numbers_.retired[static_cast<std::size_t>(event.retirement)].add();
        case PoolEvent::waited:
            return numbers_.waits[static_cast<std::size_t>(event.outcome)].add(event.duration);
        case PoolEvent::returned:
            return numbers_.loans.add(event.duration);
    }
}

}  // namespace txscope

#endif
