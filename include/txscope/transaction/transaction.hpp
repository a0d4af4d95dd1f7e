#pragma once

#include <txscope/session/session.hpp>

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
/// Hooks, `set_rollback_only` and `attempt` are for transactions only. A plain `Session` refuses them
/// when the program runs, where it has none; a body that takes a `Transaction&` is refused by the
/// compiler in `AsyncSessionFactory::session_scope`. In a scope whose `Propagation` may leave it
/// without a transaction (`supports`, `not_supported`, `never`) it is refused as in a plain session.
class Transaction : public Session {
public:
    using Session::Session;
};

}  // namespace txscope
