#pragma once

#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>

#include <exception>
#include <memory>
#include <source_location>
#include <string>

namespace txscope::detail {

/// What one caller sent and awaits the answer to: one statement, or several of which the last
/// counts.
struct Exchange {
    explicit Exchange(std::source_location where = {}) : scope{where} {}

    const std::source_location scope;  ///< Where the scope that sends it was opened, if any.
    Result result;                     ///< Of the last statement.
    std::exception_ptr error;          ///< Of the first statement that failed.
    bool skipped = false;  ///< `error` is another exchange's: the server skipped this one for it.
    bool unsent = false;   ///< The connection was lost before any of it was sent.
    bool done = false;     ///< The server has answered all of it, and the Sync behind it.
};

/// A statement on its way out, and whom its answer is for.
struct Outgoing {
    Statement statement;
    std::shared_ptr<Exchange> exchange;
    bool own = false;  ///< The connection's: not to be prepared, and no change to undo.
};

/// What was sent to the server and gets an answer of its own.
struct Command {
    enum Kind {
        statement,
        prepare,
        describe,
        close,
        sync
    } kind;
    Outgoing outgoing{Statement{""}, nullptr};  ///< Of `prepare`: the statement that needs it.
    std::string name{};                         ///< Of `prepare` and `close`.
    bool changes_session = false;               ///< See `StatementKind`.
    bool named = false;  ///< Sent by the name of a statement that was prepared before its batch.
    bool alone = false;  ///< All of its exchange.
    bool last = true;    ///< Of its exchange: its result is the one that is wanted.
    bool answered = false;
};

}  // namespace txscope::detail
