#pragma once

#include "support/client.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// Clients that move money between accounts, one transfer after another, whatever happens to the
/// servers, and know what became of each.
///
///     query(primary.dsn(), Transfers::schema);
///     Transfers transfers{sessions};
///     transfers.start(threads, 16);
///     transfers.await_more(100);
///     primary.kill();
///     ...
///     transfers.stop();
///     CHECK(transfers.mistakes(standby.server().dsn()) == Transfers::Texts{});
class Transfers {
public:
    using Texts = std::vector<std::string>;
    static constexpr const char* schema =
        "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);"
        "INSERT INTO accounts SELECT id, 0 FROM generate_series(1, 1000) AS id;"
        "CREATE TABLE ledger (transfer int, debtor int, creditor int, amount int);"
        "CREATE INDEX ON ledger (transfer)";  // not unique: what is there twice is to be seen

    /// For at most `most` transfers, whose fates have their place from the beginning: what grows later
    /// is somebody else's.
    explicit Transfers(txscope::AsyncSessionFactory sessions, std::size_t most = 1'000'000)
        : scope_{std::move(sessions),
                 {.retry = {.max_attempts = 100'000,
                            .initial_backoff = std::chrono::milliseconds{1},
                            .max_backoff = std::chrono::milliseconds{100}},
                  .verify_commit = true,
                  .verify_timeout = patience}},
          fates_(most) {}

    void start(asio::thread_pool& threads, int clients) {
        for (int number = 0; number < clients; ++number)
            working_.push_back(asio::co_spawn(
                asio::make_strand(threads), work(static_cast<unsigned>(number)), asio::use_future));
    }
    /// Until so many more are acknowledged.
    void await_more(int some) const {
        const int enough = acknowledged_ + some;
        block_until([&] { return acknowledged_ >= enough; });
    }
    /// Until the transfers that are under way have ended.
    void stop() {
        over_ = true;
        for (auto& client : working_) client.get();
        working_.clear();
    }

    int acknowledged() const { return acknowledged_; }
    int in_doubt() const { return in_doubt_; }
    int most_attempts() const { return most_attempts_; }
    /// Since the last time that this was asked.
    std::chrono::milliseconds longest_gap() {
        const std::lock_guard lock{mutex_};
        return std::chrono::duration_cast<std::chrono::milliseconds>(
            std::exchange(longest_gap_, {}));
    }
    /// Why others have failed, and how many.
    std::map<std::string, int> failures() const {
        const std::lock_guard lock{mutex_};
        return failures_;
    }

    /// Where the tables differ from what the clients were told. After `stop`.
    Texts mistakes(const std::string& dsn) const;

private:
    using Clock = std::chrono::steady_clock;
    enum class Outcome : std::uint8_t {
        aborted,
        committed,
        in_doubt
    };

    asio::awaitable<void> work(unsigned number);
    void note(int transfer, const std::exception_ptr& failure);

    const txscope::TransactionScope scope_;
    std::vector<Outcome> fates_;
    std::atomic<int> last_ = 0;
    std::atomic<int> acknowledged_ = 0;
    std::atomic<int> in_doubt_ = 0;
    std::atomic<int> most_attempts_ = 0;
    std::atomic<bool> over_ = false;
    std::vector<std::future<void>> working_;
    mutable std::mutex mutex_;
    std::map<std::string, int> failures_;
    Clock::time_point latest_ = Clock::now();
    Clock::duration longest_gap_{};
};

inline asio::awaitable<void> Transfers::work(unsigned number) {
    std::mt19937 random{number};
    const auto pick = [&](int least, int most) {
        return std::uniform_int_distribution{least, most}(random);
    };
    while (!over_) {
        const int transfer = ++last_;
        // In the order of their numbers, so that there are no deadlocks.
        const int debtor = pick(1, 999);
        const int creditor = pick(debtor + 1, 1000);
        const int amount = pick(-100, 100);
        const auto failure =
            co_await failure_of(scope_([&](txscope::Session& session) -> asio::awaitable<void> {
                for (int most = most_attempts_;
                     most < session.attempt() &&
                     !most_attempts_.compare_exchange_weak(most, session.attempt());) {
                }
                co_await session.execute("UPDATE accounts SET balance = balance - $2 WHERE id = $1",
                                         debtor, amount);
                session.enqueue("UPDATE accounts SET balance = balance + $2 WHERE id = $1",
                                creditor, amount);
                session.enqueue("INSERT INTO ledger VALUES ($1, $2, $3, $4)", transfer, debtor,
                                creditor, amount);
            }));
        note(transfer, failure);
    }
}

inline void Transfers::note(int transfer, const std::exception_ptr& failure) {
    Outcome& fate = fates_.at(static_cast<std::size_t>(transfer));
    if (!failure) {
        fate = Outcome::committed;
        const std::lock_guard lock{mutex_};
        const auto now = Clock::now();
        longest_gap_ = std::max(longest_gap_, now - std::exchange(latest_, now));
        ++acknowledged_;
    } else if (is<txscope::CommitInDoubt>(failure)) {
        fate = Outcome::in_doubt;
        ++in_doubt_;
    } else {
        const std::lock_guard lock{mutex_};
        ++failures_[text_of(failure)];
    }
}

inline Transfers::Texts Transfers::mistakes(const std::string& dsn) const {
    Texts found;
    Client client{dsn};
    constexpr int some = 100'000;  // at a time
    for (int first = 1; first <= last_; first += some) {
        std::map<int, int> booked;
        for (const auto& row :
             client.query("SELECT transfer, count(*) FROM ledger WHERE transfer BETWEEN " +
                          std::to_string(first) + " AND " + std::to_string(first + some - 1) +
                          " GROUP BY transfer"))
            booked[std::stoi(*row[0])] = std::stoi(*row[1]);
        for (int transfer = first; transfer < first + some && transfer <= last_; ++transfer) {
            const int times = booked[transfer];
            const Outcome fate = fates_[static_cast<std::size_t>(transfer)];
            const char* mistake = times > 1                                  ? " is there twice"
                                  : fate == Outcome::committed && times == 0 ? " is lost"
                                  : fate == Outcome::aborted && times > 0 ? " is there all the same"
                                                                          : nullptr;
            if (mistake != nullptr) found.push_back(std::to_string(transfer) + mistake);
        }
    }
    for (const std::string& account :
         client
             .query("SELECT accounts.id FROM accounts LEFT JOIN "
                    "(SELECT creditor AS id, amount FROM ledger UNION ALL "
                    "SELECT debtor, -amount FROM ledger) AS booked USING (id) "
                    "GROUP BY accounts.id HAVING balance <> coalesce(sum(amount), 0)")
             .column())
        found.push_back("the balance of account " + account + " is wrong");
    return found;
}

}  // namespace support
