#pragma once

#include "support/failure.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace support {

/// Work that was started, can be cancelled, and is looked at from outside.
///
///     Started work{io, scope(body)};
///     run_until(io, [&] { return blocked(); });
///     work.cancel();
///     run_until(io, [&] { return work.done(); });
///     CHECK(work.aborted());
///
/// The `io_context` may be destroyed before it, in the middle of the work.
class Started {
public:
    Started(asio::io_context& io, asio::awaitable<void> work) {
        asio::co_spawn(io, std::move(work),
                       asio::bind_cancellation_slot(state_->signal.slot(),
                                                    [state = state_](std::exception_ptr failure) {
                                                        state->failure = std::move(failure);
                                                        state->done = true;
                                                    }));
    }
    Started(const Started&) = delete;
    Started& operator=(const Started&) = delete;

    /// From the thread that runs the `io_context`.
    void cancel(asio::cancellation_type type = asio::cancellation_type::terminal) {
        state_->signal.emit(type);
    }

    bool done() const { return state_->done; }
    /// What it ended by; null for a return.
    const std::exception_ptr& failure() const { return state_->failure; }

    /// Whether it ended by its cancellation.
    bool aborted() const { return is_abort(failure()); }

private:
    struct State {
        asio::cancellation_signal signal;
        std::exception_ptr failure;
        bool done = false;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace support
