#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/core/detail/location_text.hpp>

#include <pqxx/except>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope {

/// The part of every error of this library's that is the same: what happened, in plain parts.
///
/// `what()` is one text for a log, with everything in it: SQL, SQLSTATE, the place in the source where
/// the scope was opened. These are its parts, of which `message()` may be shown to people:
///
/// ```cpp
/// } catch (const txscope::Error& error) {
///     log(error.what());       // … [scope opened at /home/me/app/transfer.cpp:17]
///     reply(error.message());  // duplicate key value violates unique constraint "accounts_pkey"
/// }
/// ```
///
/// All of them derive from it beside libpqxx's class: those declared here, `NotFound`, and a failed
/// statement's, which is a `SqlError` too and has many more parts. Where the library throws a class of
/// libpqxx itself (`pqxx::unexpected_rows`, `pqxx::argument_error`), `what()` is plain as it is.
class Error {
public:
    virtual ~Error() = default;

    /// The whole text, as of the libpqxx side.
    [[nodiscard]] virtual const char* what() const noexcept = 0;
    /// What happened, without a place in the source, without SQL, and without a parameter's value.
    [[nodiscard]] virtual const std::string& message() const noexcept = 0;
    /// Where the scope was opened that it happened in, if it did in one.
    [[nodiscard]] virtual const std::optional<std::source_location>& scope_location()
        const noexcept = 0;

protected:
    Error() = default;
    Error(const Error&) = default;
    Error& operator=(const Error&) = default;
};

namespace detail {

/// An `Error` that is a libpqxx exception of that class.
template <class PqxxError>
class ErrorOf : public PqxxError, public virtual Error {
public:
    [[nodiscard]] const char* what() const noexcept override { return PqxxError::what(); }
    [[nodiscard]] const std::string& message() const noexcept override { return message_; }
    [[nodiscard]] const std::optional<std::source_location>& scope_location()
        const noexcept override {
        return scope_;
    }

protected:
    explicit ErrorOf(const std::string& message,
                     const std::optional<std::source_location>& scope = std::nullopt)
        : ErrorOf(with_scope(message, scope), message, scope) {}
    ErrorOf(const std::string& what, const std::string& message,
            const std::optional<std::source_location>& scope)
        : PqxxError(what), message_(message), scope_(scope) {}

private:
    std::string message_;
    std::optional<std::source_location> scope_;
};

}  // namespace detail

/// What the server said about a statement that failed, field by field as PostgreSQL sends it
/// (PostgreSQL manual, "Error and Notice Message Fields"). A field it did not send is empty.
///
/// `message`, `detail`, `hint` and `context` are the server's own words and may quote values;
/// mind where you print them.
struct SqlDiagnostics {
    std::string severity;    ///< `ERROR`, or `FATAL`/`PANIC` when the session ended with it.
    std::string sqlstate;    ///< Five characters; see `sqlstate.hpp`.
    std::string message;     ///< The primary message, unabridged.
    std::string detail;      ///< Often shows the offending values.
    std::string hint;        ///< What the server suggests.
    std::string context;     ///< Where in server-side code it happened.
    std::string schema;      ///< Schema of the table the error is about.
    std::string table;       ///< Table the error is about.
    std::string column;      ///< Column the error is about.
    std::string datatype;    ///< Data type the error is about.
    std::string constraint;  ///< Constraint that was broken.
    std::string routine;     ///< The function of the server's own code that reported it.
    std::string statement;   ///< The SQL text that was sent, with its `$1` places.
    int position = -1;       ///< Where in `statement`, in characters from 1; -1 if not said.
    std::optional<std::source_location> scope{};  ///< Where the scope was opened that sent it.
};

namespace detail {
struct ServerError {
    SqlDiagnostics diagnostics;
    std::string message;
    std::string what;
};
}  // namespace detail

/// The part of a failed statement's exception that is ours: everything the server said.
///
/// A failed statement throws an object that is both libpqxx's class for its SQLSTATE (for example
/// `pqxx::unique_violation`) and a `SqlError`. Catch whichever side says what you need:
///
/// ```cpp
/// try {
///     co_await projects.create(project);
/// } catch (const pqxx::unique_violation& error) {          // libpqxx's classes, as ever
///     ...
/// } catch (const txscope::SqlError& error) {               // or any SQL error, with its fields
///     log(error.constraint(), error.what());
/// }
/// ```
///
/// `what()` names the message, the SQLSTATE, the constraint, table and column, the statement's
/// text, and where the scope was opened. It never shows a value: parameters' texts are blotted out
/// of the message as `…`, in data exceptions (class 22, whose messages quote the input) everything
/// quoted and every number is, and DETAIL, HINT and CONTEXT are left out altogether. All of it,
/// unabridged, is in `diagnostics()`. What a function of your own puts into a `RAISE` is searched
/// for the parameters' texts like any other message; what it computes from them, or reads from a
/// table, is its own responsibility. Of a deferred trigger that fails at COMMIT the message is left
/// out altogether: the values that it speaks of were bound by other statements.
///
/// Not every libpqxx class is a `pqxx::sql_error` (class 08 and 53300 are
/// `pqxx::broken_connection`, and in libpqxx 6 class 40 is a plain `pqxx::failure`): `SqlError`
/// catches them all.
class SqlError : public virtual Error {
public:
    [[nodiscard]] const char* what() const noexcept override { return said_->what.c_str(); }
    /// The server's primary message without the parameters' values; `diagnostics().message` is
    /// unabridged.
    [[nodiscard]] const std::string& message() const noexcept override { return said_->message; }
    [[nodiscard]] const SqlDiagnostics& diagnostics() const noexcept { return said_->diagnostics; }
    [[nodiscard]] const std::string& sqlstate() const noexcept { return diagnostics().sqlstate; }
    [[nodiscard]] const std::string& constraint() const noexcept {
        return diagnostics().constraint;
    }
    [[nodiscard]] const std::string& table() const noexcept { return diagnostics().table; }
    [[nodiscard]] const std::string& column() const noexcept { return diagnostics().column; }
    [[nodiscard]] const std::string& statement() const noexcept { return diagnostics().statement; }
    [[nodiscard]] const std::optional<std::source_location>& scope_location()
        const noexcept override {
        return diagnostics().scope;
    }

    explicit SqlError(std::shared_ptr<const detail::ServerError> said) noexcept
        : said_(std::move(said)) {}
    SqlError(const SqlError&) = default;
    SqlError& operator=(const SqlError&) = default;

private:
    std::shared_ptr<const detail::ServerError> said_;  // shared by the copies of an exception
};

/// The exception for what the server said: libpqxx's class for the SQLSTATE and a `SqlError`.
///
/// A session that ended (severity `FATAL` or `PANIC`, or no SQLSTATE at all) gives a `ConnectionLost`
/// that is a `SqlError`, unless the code has a class that says more. `parameters` are the texts to
/// keep out of `what()`.
[[nodiscard]] std::exception_ptr make_sql_error(SqlDiagnostics diagnostics,
                                                std::span<const std::string_view> parameters = {});

/// What the server said, if `error` is a failed statement's or has one nested inside, however
/// deep; null otherwise. It lives as long as `error`.
[[nodiscard]] const SqlDiagnostics* find_diagnostics(const std::exception& error) noexcept;

/// What a transaction or its scope refuses or could not do. The statement failure behind it, where
/// there is one, is nested inside (`std::rethrow_if_nested`).
class TransactionError : public detail::ErrorOf<pqxx::failure> {
public:
    /// `scope` is where the scope was opened; the message says it too.
    explicit TransactionError(const std::string& message,
                              std::optional<std::source_location> scope = std::nullopt)
        : ErrorOf(message, scope) {}
};

/// A body returned, but what it did was rolled back: the error of a statement had been swallowed in
/// it, or a scope that had joined it failed or asked for a rollback, or the server answered COMMIT
/// with ROLLBACK. From a nested scope: its work was undone, the transaction around it goes on.
class UnexpectedRollback : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// A statement or scope was refused because the transaction can only be rolled back: an earlier
/// statement failed, or one that was under way at the same time, or a scope that had joined it. That
/// error is nested inside; PostgreSQL would answer 25P02. A nested scope around what may fail is the
/// way to recover.
class TransactionAborted : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// A session was used after the scope that lent it had ended. Nothing was sent.
class ScopeEnded : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// A scope's `Propagation`, isolation level or access mode does not fit where it was opened; or what
/// needs a scope around it, a repository's `add` or `current_session`, had none.
class PropagationError : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// The time of a scope was over (`TransactionOptions::timeout`, or the pool's `default_timeout`), and
/// what it did is rolled back.
class TransactionTimeout : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// The time of one statement was over (`within`, or the pool's `default_timeout` for one outside of any
/// scope), and it was cancelled. Nothing of it is committed; but outside of a scope that is not known
/// where the server did not answer within the pool's `cleanup_timeout`.
class StatementTimeout : public TransactionTimeout {
public:
    StatementTimeout(const std::string& sql, const std::source_location& scope)
        : TransactionTimeout{"the time of the statement was over: " + sql,
                             scope.line() != 0 ? std::optional{scope} : std::nullopt} {}
};

/// The body returned while statements or nested scopes that it had started were still under way;
/// the transaction was rolled back, or without one (`session_scope`) these were broken off. Or, without
/// one, a statement began a transaction (`BEGIN`) that no other ended: that was rolled back.
class UnfinishedWork : public TransactionError {
public:
    using TransactionError::TransactionError;
};

/// The connection was lost after COMMIT was sent and before it was answered: the transaction may
/// or may not have been committed. Never retried by itself.
class CommitInDoubt : public detail::ErrorOf<pqxx::in_doubt_error> {
public:
    explicit CommitInDoubt(const std::string& message,
                           std::optional<std::source_location> scope = std::nullopt)
        : ErrorOf(message, scope) {}
};

/// A connection that was open is gone: the server stopped, the session was terminated, or the
/// network failed. The transaction is rolled back then. Without one, each statement commits by
/// itself: whether one that was under way has been executed is not known.
class ConnectionLost : public detail::ErrorOf<pqxx::broken_connection> {
public:
    /// `scope` is where the scope was opened that met the loss; the message says it too.
    explicit ConnectionLost(const std::string& message,
                            std::optional<std::source_location> scope = std::nullopt)
        : ErrorOf(message, scope) {}
    explicit ConnectionLost(const detail::ServerError& said)
        : ErrorOf(said.what, said.message, said.diagnostics.scope) {}
};

/// No connection could be opened: a malformed connection string, no server, a refused login.
class ConnectionFailed : public detail::ErrorOf<pqxx::broken_connection> {
public:
    struct Cause {
        bool is_transient = false;
        std::string sqlstate{};
    };
    /// `scope` is where the scope was opened that needed it; the message says it too.
    explicit ConnectionFailed(const std::string& message,
                              std::optional<std::source_location> scope = std::nullopt)
        : ErrorOf(message, scope) {}
    ConnectionFailed(const std::string& message, Cause cause,
                     std::optional<std::source_location> scope = std::nullopt)
        : ErrorOf(message, scope), cause_(std::move(cause)) {}

    [[nodiscard]] const Cause& cause() const noexcept { return cause_; }
    /// Whether it may pass by itself: nobody listens or answers, the server starts up or stops, it has
    /// too many connections. A password that is refused, a database that is not there and a
    /// certificate that is not trusted stay.
    [[nodiscard]] bool is_transient() const noexcept { return cause_.is_transient; }
    /// The code with which a server refused the connection; empty where none did.
    [[nodiscard]] const std::string& sqlstate() const noexcept { return cause_.sqlstate; }

private:
    Cause cause_;
};

/// The session factory could not lend a connection.
class PoolError : public detail::ErrorOf<pqxx::failure> {
public:
    /// `scope` is where the scope was opened that asked for it; the message says it too, and who has
    /// connections.
    explicit PoolError(const std::string& message,
                       std::optional<std::source_location> scope = std::nullopt,
                       std::vector<ConnectionHolder> holders = {})
        : PoolError(detail::with_holders(message, holders), message, scope, std::move(holders)) {}

    /// Who had connections on loan then, the longest first; empty of `PoolClosed`.
    [[nodiscard]] const std::vector<ConnectionHolder>& holders() const noexcept { return holders_; }

protected:
    /// `holders` is moved from here only: what is `told` may be made of it as this is called.
    PoolError(const std::string& told, const std::string& message,
              const std::optional<std::source_location>& scope,
              std::vector<ConnectionHolder>&& holders)
        : ErrorOf(detail::with_scope(told, scope), message, scope), holders_(std::move(holders)) {}

private:
    std::vector<ConnectionHolder> holders_;
};

/// `acquire_timeout` passed before a connection was free. Its text names those who hold connections.
/// The last error of connecting, if that was why, is nested inside.
class AcquireTimeout : public PoolError {
public:
    using PoolError::PoolError;
};

/// Too many coroutines were waiting for a connection already (`max_waiters`). Its text names those who
/// hold connections. The last error of connecting, if that was why, is nested inside.
class PoolExhausted : public PoolError {
public:
    using PoolError::PoolError;
};

/// The session factory was closed.
class PoolClosed : public PoolError {
public:
    using PoolError::PoolError;
};

/// Every connection was held by scopes that themselves waited for one; one of them got this error
/// so that the others could go on.
///
/// A wait keeps from their ends all the scopes that it is asked from within; a task that was
/// detached in a scope counts as part of it. What waits in a roundabout way, through another
/// factory or a coroutine spawned outside of the scope, is not seen, and has `acquire_timeout`.
class PoolDeadlock : public PoolError {
public:
    explicit PoolDeadlock(const std::string& message,
                          const std::vector<std::source_location>& scopes = {},
                          std::optional<std::source_location> scope = std::nullopt,
                          std::vector<ConnectionHolder> holders = {})
        : PoolError(detail::with_scopes(message, scopes), message, scope, std::move(holders)),
          scopes_(scopes) {}

    /// Where the scopes were opened that held every connection, each place once.
    [[nodiscard]] const std::vector<std::source_location>& scope_locations() const noexcept {
        return scopes_;
    }

private:
    std::vector<std::source_location> scopes_;
};

/// A value could not be written or read: the text is not one of the type, or a parameter's text
/// holds a NUL character. Says what was wanted, never the text itself.
class ValueError : public detail::ErrorOf<pqxx::conversion_error> {
public:
    explicit ValueError(const std::string& message) : ErrorOf(message) {}
};

/// A result's column is not what was asked for. Names the column, never shows its value.
class ColumnError : public detail::ErrorOf<pqxx::conversion_error> {
public:
    enum class Reason {
        no_such_column,   ///< No column has the name, or the index is past the last.
        ambiguous_name,   ///< More than one column has the name.
        unexpected_null,  ///< NULL, and the type has no place for it: ask for a `std::optional`.
        wrong_type,       ///< The value's text is not one of the type.
        wrong_count,      ///< Another number of columns was asked for than there are.
    };
    /// The index of a column that does not exist.
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    ColumnError(Reason reason, std::string column, std::size_t index, const std::string& message)
        : ErrorOf(message), reason_(reason), column_(std::move(column)), index_(index) {}

    [[nodiscard]] Reason reason() const noexcept { return reason_; }
    /// The column's name; empty if it was asked for by an index that does not exist.
    [[nodiscard]] const std::string& column() const noexcept { return column_; }
    /// The column's index, counted from 0, or `none`.
    [[nodiscard]] std::size_t index() const noexcept { return index_; }

private:
    Reason reason_;
    std::string column_;
    std::size_t index_;
};

/// The row that was asked for is not there.
class NotFound : public detail::ErrorOf<pqxx::unexpected_rows> {
public:
    explicit NotFound(const std::string& table) : ErrorOf("there is no such row in " + table) {}
};

/// The row is not there any more in the version that was to be changed or removed.
class StaleEntity : public detail::ErrorOf<pqxx::unexpected_rows> {
public:
    explicit StaleEntity(const std::string& table)
        : ErrorOf("somebody else has changed or removed this row meanwhile in " + table) {}
};

namespace detail {

/// The same loss of a connection, which names the scope that met it, unless it names one or there
/// is none (line 0).
[[nodiscard]] std::exception_ptr met_in_scope(std::exception_ptr loss,
                                              const std::source_location& scope);

}  // namespace detail

/// `error` with `cause` nested inside, for `std::rethrow_if_nested`. Without a cause, just `error`.
template <class E>
[[nodiscard]] std::exception_ptr nest(std::exception_ptr cause, E error) {
    if (!cause) return std::make_exception_ptr(std::move(error));
    try {
        try {
            std::rethrow_exception(std::move(cause));
        } catch (...) {
            std::throw_with_nested(std::move(error));
        }
    } catch (const E&) {
        return std::current_exception();
    }
}

}  // namespace txscope

#if TXSCOPE_DEFINITIONS
#include <txscope/core/detail/sql_error_classes.hpp>
#endif
