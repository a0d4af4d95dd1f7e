#pragma once

#include <txscope/repository/detail/sql_writer.hpp>

#include <string_view>

namespace txscope {

namespace detail {

enum class LockStrength {
    update,
    no_key_update,
    share,
    key_share
};

enum class WhenLocked {
    wait,
    skip,
    fail
};

/// The clause of a SELECT that locks the rows it finds.
template <LockStrength Strength, WhenLocked When = WhenLocked::wait>
struct RowLock {
    /// Passes over rows that others have locked, instead of waiting: for queues of work.
    constexpr RowLock<Strength, WhenLocked::skip> skip_locked() const { return {}; }
    /// Fails with a `SqlError` of SQLSTATE 55P03 where others have locked a row, instead of waiting.
    constexpr RowLock<Strength, WhenLocked::fail> no_wait() const { return {}; }

    static constexpr void write(SqlWriter& out) {
        constexpr std::string_view strengths[] = {"UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"};
        constexpr std::string_view otherwise[] = {"", " SKIP LOCKED", " NOWAIT"};
        out << " FOR " << strengths[static_cast<int>(Strength)]
            << otherwise[static_cast<int>(When)];
    }
};

template <typename T>
inline constexpr bool is_row_lock = false;
template <LockStrength Strength, WhenLocked When>
inline constexpr bool is_row_lock<RowLock<Strength, When>> = true;

}  // namespace detail

/// The last argument of `get`, `find` or `find_all`, and of `stream` ahead of what is called: locks the
/// rows that are found until the end of the transaction (PostgreSQL manual, "Row-Level Locks"). In no
/// transaction that is a `PropagationError`, since the lock would be gone with the answer; but outside of
/// any scope `stream` has a transaction of its own.
///
/// ```cpp
/// auto account = co_await accounts.get(id, for_update);
/// auto next = co_await jobs.find_all(field<&Job::state> == "new", ascending(field<&Job::id>),
///                                    Page{.limit = 10}, for_update.skip_locked());
/// ```
inline constexpr detail::RowLock<detail::LockStrength::update> for_update{};
/// For what changes rows, but no column of a key that others refer to: foreign keys to them pass.
inline constexpr detail::RowLock<detail::LockStrength::no_key_update> for_no_key_update{};
/// Others may read and share, but not change.
inline constexpr detail::RowLock<detail::LockStrength::share> for_share{};
/// Others may change all but the key.
inline constexpr detail::RowLock<detail::LockStrength::key_share> for_key_share{};

}  // namespace txscope
