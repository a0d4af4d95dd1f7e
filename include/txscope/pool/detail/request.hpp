#pragma once

#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/context_life.hpp>
#include <txscope/pool/pool.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/wait_traits.hpp>
#include <boost/system/error_code.hpp>

#include <exception>
#include <memory>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// A request for a connection, in the frame of the coroutine that awaits the answer. Withdrawn when that
/// is destroyed.
///
/// The coroutine waits in the timer queue of its own execution context: whoever destroys the context
/// destroys the coroutine.
class Pool::Request : public Waiter {
public:
    /// @param pool outlives it
    /// @param executor that of its coroutine
    Request(Pool& pool, Requester requester, const asio::any_io_executor& executor,
            Clock::time_point deadline = Clock::time_point::max())
        : Waiter{std::move(requester)},
          pool_{pool},
          timer_{on_strand(executor), deadline},
          context_{ContextLife::of(asio::query(executor, asio::execution::context))} {}
    ~Request();

    /// An idle connection; or else it waits from now on.
    TXSCOPE_LAZY Lease ask();
    /// Until it is answered, its time is over, or its coroutine is cancelled.
    TXSCOPE_LAZY auto wait() {
        return asio::async_initiate<const asio::deferred_t&, void()>(
            [this](auto handler) {
                const auto slot = asio::get_associated_cancellation_slot(handler);
                // Begun under the lock: an answer comes before the wait, or finds it.
                const Lock lock{pool_.mutex_};
                if (state() != State::waiting) timer_.expires_at(Clock::time_point::min());
                timer_.async_wait(asio::bind_cancellation_slot(
                    slot, [this, handler = std::move(handler)](
                              boost::system::error_code interrupted) mutable {
                        interrupted_ = interrupted.failed();
                        std::move(handler)();
                    }));
            },
            asio::deferred);
    }
    /// What it was granted. An answer that has raced its end counts.
    /// @throws why there is nothing
    Lease take();

    /// It has been granted or has failed, with `error`: its coroutine goes on. The pool is locked.
    void answered(std::exception_ptr error) noexcept {
        error_ = std::move(error);
        context_->unless_over([this] { timer_.cancel(); });
    }

private:
    /// An executor that costs a timer little, where its coroutine runs.
    static AmbientExecutor on_strand(const asio::any_io_executor& executor) {
        const auto* carrier = executor.target<AmbientExecutor>();
        return carrier != nullptr ? carrier->require(asio::execution::outstanding_work.untracked)
                                  : AmbientExecutor{strand_on(executor)};
    }

    static constexpr std::source_location no_place{};

    PoolEvent::Wait outcome_ = PoolEvent::Wait::cancelled;
    bool interrupted_ = false;
    Pool& pool_;
    Clock::time_point asked_{};   // if it had to
    std::exception_ptr error_{};  // why it has failed
    asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, AmbientExecutor> timer_;
    const ContextLife::Shared context_;
};

}  // namespace txscope::detail
