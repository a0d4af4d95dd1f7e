#pragma once

#include <txscope/net/awaiter.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/protocol/event.hpp>
#include <txscope/protocol/response.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// What one caller sent and awaits the answer to: one statement, or several of which the last
/// counts.
struct Response : protocol::Response {
    explicit Response(std::source_location where = {}) : scope{where} {}

    const std::source_location scope;  ///< Where the scope that sends it was opened, if any.
    Result result;                     ///< Of the last statement.
    std::exception_ptr error;          ///< Of whatever failed, by `outcome`.
    bool done = false;  ///< All of it is answered, and the Sync behind it: the above are known.
    WaitMemory memory;  ///< For whoever waits for it.

    /// Answers what is not to be sent: since another's `why` has made it pointless, unless it is its own.
    void refuse(const std::exception_ptr& why, Outcome outcome = Outcome::skipped) noexcept {
        protocol::Response::refuse(outcome);
        error = why;
        done = true;
    }
};

/// Who is told what the server says without being asked; nobody, where it is empty.
struct UnaskedHandlers {
    std::function<void(std::exception_ptr)> notice;  ///< As the error that it would be.
    std::function<void(const protocol::Event&)> notification;
};

/// A portal: what goes on giving rows of a statement until its transaction ends.
struct Portal {
    enum class Step : std::uint8_t {
        open,  ///< For the first rows; all that there is to do with the portal 0, which has no name.
        fetch,  ///< For the next rows.
        close
    };

    std::uint32_t number = 0;
    std::uint32_t max_rows = 0;  ///< At most, for now; 0: all.
    Step step = Step::open;
};

/// A statement of the library's own that gives no rows.
struct Command {
    std::string_view sql;
};

/// A statement on its way out, and whom its answer is for. Kept until it is answered: what went wrong
/// is told with its text.
struct Request {
    Request(Statement&& what, std::shared_ptr<Response> whose, bool ours = false)
        : statement{std::move(what)}, response{std::move(whose)}, own{ours} {}
    Request(Command what, std::shared_ptr<Response> whose)
        : statement{what.sql}, response{std::move(whose)}, own{true}, returns_rows{false} {}

    Statement statement;
    std::shared_ptr<Response> response;
    bool own;  ///< The library's: not to be prepared, and no change to undo.
    bool returns_rows = true;
    Portal portal{};

    // How it was sent.
    bool named = false;  ///< Under a name that was prepared before its batch.
    bool prepared_now = false;
    bool changes_session = false;
};

/// What goes out together. Those of one response may have others between them.
using Batch = std::vector<Request>;

}  // namespace txscope::detail
