#pragma once

#include <txscope/transaction/detail/transaction.hpp>

#include <boost/asio/steady_timer.hpp>

#include <memory>

namespace txscope::detail {

/// Tells the observer when a scope still runs after the time that its pool allows.
class OverlongAlarm {
public:
    explicit OverlongAlarm(const std::shared_ptr<SessionState>& session) {
        const SharedConnection& shared = session->shared();
        const auto limit = shared.pool->options().overlong_scope;
        if (!shared.reporter || limit.count() <= 0) return;
        const auto started = Clock::now();  // before the limit begins: what is reported exceeds it
        timer_ = std::make_unique<asio::steady_timer>(AmbientExecutor{shared.strand},
                                                      deadline_in(limit));
        timer_->async_wait(
            [watched = std::weak_ptr{session}, started](boost::system::error_code cancelled) {
                const auto still = watched.lock();
                if (still && !still->shared().over && !cancelled)
                    still->shared().reporter.report(ScopeEvent::overlong, Clock::now() - started);
            });
    }

private:
    std::unique_ptr<asio::steady_timer> timer_;  // its end cancels the wait; mostly there is none
};

}  // namespace txscope::detail
