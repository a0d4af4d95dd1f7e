#pragma once

#include <txscope/pool/detail/request.hpp>
#include <txscope/session/detail/live_span.hpp>
#include <txscope/session/detail/shared_connection.hpp>

#include <exception>
#include <utility>

namespace txscope::detail {

/// Takes a connection of the primary's pool, when one comes free; in the frame of the coroutine that
/// awaits it.
class SharedConnection::Borrowing {
public:
    /// @param executor that of the coroutine, which outlives this
    /// @param asked when the wait began, for a replica's at first
    TXSCOPE_LAZY Borrowing(SharedConnection& to, const asio::any_io_executor& executor,
                           Clock::time_point asked)
        : to_{to},
          asked_{asked},
          span_{to.reporter.start({.kind = SpanStart::wait, .where = to.reporter.where},
                                  to.reporter.scope)},
          request_{*to.pool, to.requester(executor), executor} {
        Lease idle = request_.ask();
        if (idle) take(std::move(idle));
    }

    TXSCOPE_LAZY auto wait() { return request_.wait(); }
    /// To be called after that.
    /// @throws why there is none
    void end() {
        try {
            if (!to_.lease) take(request_.take());
        } catch (...) {
            span_.end(std::current_exception());
            throw;
        }
    }

private:
    void take(Lease&& found) {
        span_.end(nullptr);
        if (!to_.over) to_.take(std::move(found), asked_);
    }

    SharedConnection& to_;
    const Clock::time_point asked_;
    LiveSpan span_;
    Pool::Request request_;
};

}  // namespace txscope::detail
