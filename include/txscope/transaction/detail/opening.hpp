#pragma once

#include <txscope/postgres/connection.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/transaction/detail/settings.hpp>
#include <txscope/transaction/detail/transaction_identity.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// `text` with a question mark for each of those characters, and for each byte that is not printable
/// ASCII: the server's encoding may lack it, and the server itself shows it so in `application_name`.
inline std::string printable(std::string_view text, std::string_view except = {}) {
    std::string printed{text};
    for (char& c : printed)
        if (c < ' ' || c > '~' || except.find(c) != except.npos) c = '?';
    return printed;
}

/// Adds the statements that begin a transaction on `connection` with these options, which the server
/// ends after `life` if that is not 0.
///
/// Settings of our own go by SET LOCAL. What distributes a transaction over several servers passes that
/// on, and not `set_config()`; and it takes no snapshot, which a body may want to take behind a lock.
/// Those of the program go by `set_config()`, which takes their values for parameters.
///
/// `traceparent`, unless empty, goes as a comment in the form of sqlcommenter: `BEGIN` is not prepared, so
/// that it may be another text each time.
///
/// `transaction_id`, unless null, is where the answer to "which transaction is this?" goes; all
/// others are for `response`.
inline void begin_transaction(Connection::Batch& batch, const TransactionOptions& options,
                              std::chrono::milliseconds life, const Connection& connection,
                              std::string_view traceparent,
                              const Connection::SharedResponse& transaction_id,
                              const Connection::SharedResponse& response) {
    const bool labelled = !options.label.empty();
    std::string begin = "BEGIN";  // behind a comment that the label cannot end
    if (labelled) begin.insert(0, "/* " + printable(options.label, "*/") + " */ ");
    switch (options.isolation) {
        case IsolationLevel::server_default:
            break;
        case IsolationLevel::read_committed:
            begin += " ISOLATION LEVEL READ COMMITTED";
            break;
        case IsolationLevel::repeatable_read:
            begin += " ISOLATION LEVEL REPEATABLE READ";
            break;
        case IsolationLevel::serializable:
            begin += " ISOLATION LEVEL SERIALIZABLE";
            break;
    }
    switch (options.access) {
        case AccessMode::server_default:
            break;
        case AccessMode::read_write:
            begin += " READ WRITE";
            break;
        case AccessMode::read_only:
            begin += " READ ONLY";
            break;
    }
    if (options.deferrable) begin += " DEFERRABLE";
    if (!traceparent.empty()) begin += " /*traceparent='" + printable(traceparent, "*/'") + "'*/";

    batch.emplace_back(Command{begin}, response);
    if (labelled) {
        std::string name{connection.parameter("application_name")};
        if (!name.empty()) name += ": ";
        name += printable(options.label);
        std::string set = "SET LOCAL application_name = ";
        write_string_constant(name, [&set](char c) { set += c; });
        batch.emplace_back(Command{set}, response);
    }
    const auto limit = [&](const char* setting, std::chrono::milliseconds time) {
        if (time.count() <= 0) return;
        const auto value = time == std::chrono::milliseconds::max() ? 0 : time.count();
        batch.emplace_back(
            Command{"SET LOCAL " + std::string{setting} + " = " + std::to_string(value)}, response);
    };
    limit("statement_timeout", options.statement_timeout);
    limit("lock_timeout", options.lock_timeout);
    // Before 17 it is ended where it is idle: a client that is gone sends no further statement.
    limit(connection.server_version() < 170000 ? "idle_in_transaction_session_timeout"
                                               : "transaction_timeout",
          life);
    for (const TransactionSetting& setting : options.settings)
        batch.emplace_back(setting_statement(setting), response);
    if (transaction_id) batch.emplace_back(TransactionIdentity::question(), transaction_id);
}

}  // namespace txscope::detail
