#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/detail/hooks.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/observer.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

/// How the hooks around a transaction's end are called.
namespace txscope::detail {

/// Runs the hooks in their order, and those that they register after them, for as long as there is
/// something to be committed.
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> call_before_commit(SessionState& session) {
    const auto& hooks = session.hooks()->before_commit;
    const auto would_be_kept = [&] { return session.machine().keeps(session) && !session.busy(); };
    for (std::size_t next = 0; next < hooks.size() && would_be_kept(); ++next) {
        const Hook hook = hooks[next];
        co_await hook();
    }
}

/// Runs those that wait for the outcome, one after another; what they throw changes nothing any more.
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> call_outcome_hooks(SharedSession session) {
    co_await asio::this_coro::throw_if_cancelled(false);
    auto& hooks = *session->outcome_hooks();
    session->hooks()->telling = &hooks;
    for (std::size_t next = 0; next < hooks.size(); ++next) {
        const Hook hook = std::move(hooks[next]);  // to copy it might throw
        const auto started = Clock::now();
        try {
            co_await hook();
        } catch (...) {  // the transaction has ended as it has
            session->shared().reporter.report(ScopeEvent::hook_failure, Clock::now() - started,
                                              std::current_exception());
        }
    }
    session->hooks()->telling = nullptr;
}

/// Runs them where no session of the pool is ambient: what they do there is part of no transaction,
/// also when the one that has ended was opened inside of another. The caller must not be
/// interruptible.
TXSCOPE_LAZY TXSCOPE_INLINE asio::awaitable<void> tell_outcome(SharedSession session) {
    const SharedConnection& shared = session->shared();
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    const boost::intrusive_ptr<Ambient> set_aside{
        new Ambient{shared.strand, shared.pool.get(), ambient_of(callers)}};
    set_aside->span = session->span;
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, callers,
                                       AmbientExecutor{set_aside}};
    co_await cancellation.spawn(call_outcome_hooks(session));
}

}  // namespace txscope::detail
