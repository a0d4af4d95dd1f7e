#pragma once

#include <txscope/postgres/connection.hpp>
#include <txscope/transaction/detail/transaction_identity.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// The label as a comment, which it cannot end.
inline std::string begin_comment(std::string_view label) {
    if (label.empty()) return {};
    std::string text;
    for (const char c : label) text += c == '*' || c == '/' || c == '\0' ? ' ' : c;
    return "/* " + text + " */ ";
}

/// Adds the statements that begin a transaction with these options, which the server ends after
/// `life` if that is not 0.
///
/// `transaction_id`, unless null, is where the answer to "which transaction is this?" goes.
inline void begin_transaction(Connection::Batch& batch, const TransactionOptions& options,
                              std::chrono::milliseconds life,
                              std::shared_ptr<Exchange> transaction_id) {
    std::string begin = begin_comment(options.label) + "BEGIN";
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

    batch.push_back({Statement{begin}, nullptr});
    // set_config rather than SET LOCAL: it takes parameters, and so is prepared once.
    const auto set_local = [&](const char* setting, std::chrono::milliseconds value) {
        if (value.count() > 0)
            batch.push_back({Statement{"SELECT set_config($1, $2, true)", setting,
                                       std::to_string(value.count())},
                             nullptr});
    };
    set_local("statement_timeout", options.statement_timeout);
    set_local("lock_timeout", options.lock_timeout);
    set_local("transaction_timeout", life);
    if (transaction_id)
        batch.push_back({TransactionIdentity::question(), std::move(transaction_id)});
}

}  // namespace txscope::detail
