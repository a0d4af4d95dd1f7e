#pragma once

#include <txscope/session/session.hpp>
#include <txscope/transaction/detail/settings.hpp>

#include <pqxx/except>

#include <string_view>
#include <utility>

namespace txscope {

/// The session of a transaction: what a function takes that needs one.
///
/// ```cpp
/// void note(txscope::Transaction& transaction, std::string what) {
///     transaction.after_commit([what] { std::cout << what; });  // there will be a commit to wait for
/// }
///
/// co_await scope([&](txscope::Transaction& transaction) -> asio::awaitable<void> { ... });
/// ```
///
/// Hooks, `set_rollback_only`, `attempt` and `set` are for transactions only. A plain `Session` refuses them
/// when the program runs, where it has none; a body that takes a `Transaction&` is refused by the
/// compiler in `AsyncSessionFactory::session_scope`. In a scope whose `Propagation` may leave it
/// without a transaction (`supports`, `not_supported`, `never`) it is refused as in a plain session.
class Transaction : public Session {
public:
    using Session::Session;

    /// Gives a setting of the server's a value until the transaction ends, as `TransactionOptions::settings`
    /// do for what is known before: it is queued, as by `enqueue`, and goes ahead of the next statement.
    ///
    /// ```cpp
    /// transaction.set("app.tenant_id", tenant);  // policies read current_setting('app.tenant_id')
    /// ```
    ///
    /// In a nested scope it is undone with its savepoint, and else lasts beyond that scope; in one that has
    /// joined it is the whole transaction's, from here on.
    /// @param value what `SqlValue` can write, as `SHOW` would; an empty `std::optional` for the default
    /// @throws pqxx::argument_error for what is no name; ValueError for a NUL in the value
    /// @throws pqxx::usage_error in a session without a transaction
    template <typename T>
    void set(std::string_view name, const T& value) {
        if (!in_transaction()) throw pqxx::usage_error{"there is no transaction to set that for"};
        Statement setting = detail::setting_statement(name);
        setting.bind(value);
        enqueue(std::move(setting));
    }
};

}  // namespace txscope
