#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <string>
#include <vector>

namespace txscope::detail {

/// The statements that begin a transaction with these options.
inline std::vector<Statement> begin_transaction(const TransactionOptions& options) {
    std::string begin = "BEGIN";
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

    std::vector<Statement> opening;
    opening.emplace_back(std::move(begin));
    // set_config rather than SET LOCAL: it takes parameters, and so is prepared once.
    const auto set_local = [&](const char* setting, std::chrono::milliseconds value) {
        if (value.count() > 0)
            opening.emplace_back("SELECT set_config($1, $2, true)", setting,
                                 std::to_string(value.count()));
    };
    set_local("statement_timeout", options.statement_timeout);
    set_local("lock_timeout", options.lock_timeout);
    return opening;
}

}  // namespace txscope::detail
