#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/connection.hpp>
#include <txscope/postgres/detail/cancel_request.hpp>
#include <txscope/postgres/detail/session_settings.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

/// How a connection gets back to where nothing runs, after a cancellation or a failure.
namespace txscope {

TXSCOPE_LAZY_INLINE asio::awaitable<void> Connection::cancel(SharedResponse response,
                                                             Clock::time_point deadline) {
    co_await interrupt(Interrupt::it, response, deadline);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Connection::interrupt(Interrupt what,
                                                                SharedResponse response,
                                                                Clock::time_point deadline) {
    // A request that overtakes its statement is lost on the server, hence the repetition.
    for (auto patience = std::chrono::milliseconds{100}; !response->done; patience *= 2) {
        if (Clock::now() >= deadline) {
            co_await settle(response, deadline);
            break;
        }
        flush();
        if (statements_.running(*response) == (what == Interrupt::it)) {
            ++cancel_requests_;
            const bool over =
                co_await detail::request_cancel(watcher_.get_executor(), native(), deadline);
            --cancel_requests_;
            if (!over)  // it could hit a statement of whoever has the connection by then
                co_return close(
                    "the request to cancel a statement was not taken within the cleanup time");
        }
        const auto until = std::min(deadline, Clock::now() + patience);
        co_await answered(response, until, Interruption::none);
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Connection::recover(Clock::time_point deadline) {
    if (cancel_requests_ > 0) co_return close("a request to cancel a statement was left behind");
    // Twice: a cancel request that comes late may hit the first ROLLBACK.
    for (int attempt = 0; attempt < 2 && !broken() && (in_transaction() || !statements_.idle());
         ++attempt) {
        const bool busy = !statements_.idle();
        const SharedResponse rollback = submit_own(Statement{"ROLLBACK"});
        if (busy)
            co_await interrupt(Interrupt::what_is_ahead, rollback, deadline);
        else
            co_await settle(rollback, deadline);
    }
    if (!broken() && statements_.session_changed() && !in_transaction()) {
        // The server takes the first statement of a batch for one outside of a transaction.
        const SharedResponse reset = submit_own(Statement{"DISCARD ALL"}, fix_settings());
        co_await settle(reset, deadline);
        if (const auto failure = detail::settings_failure(*reset))
            close(failure);
        else
            statements_.session_restored();
    }
    if (!clean()) close("the connection could not be reset");
}

TXSCOPE_LAZY_INLINE asio::awaitable<std::optional<detail::FailedStatement>> Connection::find_stale(
    Clock::time_point deadline) {
    using detail::Staleness;
    auto failed = statements_.take_failed();
    if (failed && failed->staleness == Staleness::possible && failed->description) {
        const SharedResponse anew = statements_.prepare_anew(*failed);
        co_await settle(anew, deadline);
        // What cannot be prepared anew has been its caller's fault.
        if (anew->error) co_return std::nullopt;
        if (statements_.description_of(failed->statement) == failed->description)
            co_return std::nullopt;
        statements_.naming().begin_generation();
    }
    if (failed && failed->staleness == Staleness::unknown) {
        // A pooler makes up what it calls the server's process.
        const SharedResponse process = submit_own(Statement{"SELECT pg_catalog.pg_backend_pid()"});
        co_await settle(process, deadline);
        if (!process->error && process->result.one().get<int>(0) != PQbackendPID(native()))
            failed->stopped_naming = statements_.naming().stop();
    }
    co_return failed;
}

}  // namespace txscope
