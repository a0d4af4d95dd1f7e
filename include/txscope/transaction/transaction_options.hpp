#pragma once

#include <txscope/session/replicas.hpp>
#include <txscope/transaction/retry_policy.hpp>

#include <chrono>
#include <span>
#include <string_view>

namespace txscope {

/// How a scope relates to a transaction that is already open.
///
/// The names and their meaning are those that Spring made common (Spring Framework reference,
/// "Transaction Propagation").
enum class Propagation {
    required,       ///< Join the ambient transaction; begin one if there is none.
    requires_new,   ///< Set the ambient transaction aside; begin another on a second connection.
    nested,         ///< A savepoint inside the ambient transaction; begin one if there is none.
    mandatory,      ///< Join the ambient transaction; `PropagationError` if there is none.
    supports,       ///< Join the ambient transaction; run without one if there is none.
    not_supported,  ///< Set the ambient transaction aside; run without one.
    never,          ///< Run without a transaction; `PropagationError` if there is one.
};

/// What a transaction sees of others (PostgreSQL manual, "Transaction Isolation").
enum class IsolationLevel {
    server_default,  ///< The server's `default_transaction_isolation`.
    read_committed,
    repeatable_read,
    serializable,
};

/// What a transaction may do (PostgreSQL manual, `SET TRANSACTION`).
enum class AccessMode {
    server_default,  ///< The server's `default_transaction_read_only`.
    read_write,
    read_only,
};

/// Which server a transaction is for, where a factory has replicas (`Servers`).
enum class Route {
    primary,
    /// A replica that has replayed what is to be read, or the primary where none has. What it lacks is
    /// found out along with `BEGIN`, and then all that was sent is asked of the next one: so the scope
    /// waits for another round trip, and knows nothing of it.
    prefer_replica,
};

/// A setting of the server's that a transaction has, such as `{"app.tenant_id", id}`, where `id` is a text.
struct TransactionSetting {
    std::string_view name;   ///< Identifiers, with dots between them.
    std::string_view value;  ///< As `SHOW` writes it; a parameter of the statement that is sent.
};

/// How a scope runs its transaction.
///
/// ```cpp
/// TransactionScope scope{sessions, {.isolation = IsolationLevel::serializable}};
/// ```
///
/// What only a new transaction can have (everything but `propagation` and `timeout`) is looked at
/// when the scope begins one. A scope inside a transaction only must not contradict it: to ask there
/// for another isolation level, for `read_write` where it was begun `read_only`, or for a setting that
/// it was not begun with, is a `PropagationError`.
///
/// What the server has to know goes out with `BEGIN`, in the first statement's round trip.
struct TransactionOptions {
    Propagation propagation = Propagation::required;
    IsolationLevel isolation = IsolationLevel::server_default;
    AccessMode access = AccessMode::server_default;
    /// `prefer_replica` is for scopes that are `read_only`, and not `serializable`, which no standby is.
    Route route = Route::primary;
    /// What a replica has to have replayed besides what this factory has written.
    ReadYourWrites after{};
    /// With `serializable` and `read_only`: wait for a snapshot that cannot fail.
    bool deferrable = false;
    /// Longest time for one statement, in the server (SQLSTATE 57014 after it), up to 24 days. 0: the
    /// server's own setting; `milliseconds::max()` is no limit.
    std::chrono::milliseconds statement_timeout{0};
    /// Longest wait for one lock, in the server (SQLSTATE 55P03 after it), up to 24 days. 0: the server's
    /// own setting; `milliseconds::max()` is no limit.
    std::chrono::milliseconds lock_timeout{0};
    /// Longest time for everything: waiting for a connection, opening it, all statements, retries
    /// and the commit. After it: `TransactionTimeout`, rolled back. 0: `PoolOptions::default_timeout`;
    /// `milliseconds::max()` is no limit. The server ends the transaction by itself, if the client is
    /// gone, after this and the pool's `cleanup_timeout`: from PostgreSQL 17 on in any case, before as
    /// soon as no statement runs. This takes the place of its own `transaction_timeout`, or
    /// `idle_in_transaction_session_timeout`.
    ///
    /// In a scope inside a transaction it narrows the time for that scope's body, 0 being no limit of
    /// its own: what the scope did is undone as by any other error. In one without a transaction it
    /// is the time for its body, too; what that has executed stays.
    std::chrono::milliseconds timeout{0};
    RetryPolicy retry{};
    /// When the connection is lost while `COMMIT` is under way, ask the server on another
    /// connection whether the transaction was committed, instead of throwing `CommitInDoubt`.
    ///
    /// Only what the server that answers can prove is told: the one that the transaction ran on,
    /// also after a restart, or a standby that has streamed from it and was promoted since, whether
    /// the commit had reached it or not. Of a server that has crashed only what it has lost is told:
    /// what it holds may be another transaction's, if it has crashed twice. The doubt stays with any
    /// other (a restored backup, two promotions, another cluster), with one that keeps
    /// `pg_control_system()` or `pg_control_checkpoint()` from the role unless it has neither crashed
    /// nor been restarted, and if no primary answers in time. What is told is so on the server that
    /// answers; that a primary has crashed, gone on, and only then been replaced by the standby, all
    /// before that could be asked, is not seen.
    ///
    /// Makes every transaction of the scope that is not read-only take a transaction id, also one
    /// that only reads, and write an empty logical decoding message of the prefix `txscope`. And it
    /// takes the snapshot of a `repeatable_read` or `serializable` one when that begins: a LOCK TABLE
    /// as the first statement comes too late to be ahead of it.
    bool verify_commit = false;
    /// Longest time to ask that, 0 for no limit; also where the time of the scope is over.
    std::chrono::milliseconds verify_timeout = std::chrono::seconds{10};
    /// What the transaction is for, told to the server. Who looks for the holder of a lock finds it
    /// in `pg_stat_activity.application_name` until the transaction ends: behind the connection's
    /// own, as "shop: monthly import", 63 bytes in all. It is a comment at the head of `BEGIN` as
    /// well, for logs: `pg_stat_activity.query` shows the latest statement only. What is not
    /// printable ASCII is a `?` there. Must outlive the scope, and the copies of its session; a
    /// string literal does.
    std::string_view label{};
    /// What the server's settings are until the transaction ends, for row level security for one: a
    /// policy reads `current_setting('app.tenant_id', true)`, which is empty or NULL where none was set.
    /// Sent with `BEGIN`, at each attempt. They must outlive the scope, with their texts:
    ///
    /// ```cpp
    /// const txscope::TransactionSetting settings[] = {{"app.tenant_id", tenant}};
    /// txscope::TransactionScope scope{sessions, {.settings = settings}};
    /// ```
    ///
    /// A scope inside a transaction may name those that this was begun with, with the same values: any
    /// other is a `PropagationError`, as are settings of a scope without a transaction. See
    /// `Transaction::set` for one that is known later. That the name is unknown to the server fails the
    /// first statement.
    ///
    /// They go by `set_config`, which takes the snapshot of a `repeatable_read` or `serializable`
    /// transaction when that begins, and is not passed on to the workers of Citus: where that matters,
    /// `SET LOCAL` as a statement of the body does neither.
    /// @throws pqxx::argument_error for what is no name; ValueError for a NUL in a value
    std::span<const TransactionSetting> settings{};
};

}  // namespace txscope
