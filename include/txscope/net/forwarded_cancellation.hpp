#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/asio_internals.hpp>
#include <txscope/net/awaiter.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/net/strand.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// Passes a caller's cancellations on to what it awaits on a strand, whatever their type as one of all
/// types. Asio's `a() && b()` passes on the first one only, which ends no branch unless it is
/// `terminal`: another one that came first would keep the deadline from the branches as well.
///
/// `co_spawn` alone leaves its executor in the caller's slot, for as long as the caller's signal
/// lives, which may outlive the execution context; a strand must not, and neither must what an
/// executor carries. And it lets the strand look into that slot when it gets the message,
/// which the caller has cleared if the work has ended meanwhile (Boost 1.81).
class ForwardedCancellation {
    struct Channel;
    class Return;

public:
    /// @param callers the executor of the coroutine that has this; outlives it
    /// @param executor where the work is to run
    ForwardedCancellation(const asio::cancellation_state& caller,
                          const asio::any_io_executor& callers, AmbientExecutor executor);
    ForwardedCancellation(const ForwardedCancellation&) = delete;
    ForwardedCancellation& operator=(const ForwardedCancellation&) = delete;

    /// Where the work is to listen.
    asio::cancellation_slot slot() const;
    /// Cancels the work at `deadline`, too, if it is not over by then. To be called before that is
    /// spawned.
    TXSCOPE_LAZY void cancel_at(Clock::time_point deadline);
    /// Whether the work was cancelled by that, and not by its caller.
    bool expired() const noexcept;

    /// Like `co_spawn` with that slot, for the coroutine that has this to await, once. It is a
    /// coroutine, too, and keeps its context at work meanwhile: the work does not have to.
    TXSCOPE_LAZY auto spawn(asio::awaitable<void> work) {
        return asio::async_initiate<const asio::deferred_t&, void(std::exception_ptr)>(
            [this](auto handler, asio::awaitable<void> spawned) {
                awaiter_.set(std::move(handler));
                start(std::move(spawned));
            },
            asio::deferred, std::move(work));
    }

private:
    TXSCOPE_LAZY void start(asio::awaitable<void> work);
    TXSCOPE_LAZY void launch(Return back, asio::awaitable<void> work);
#ifdef TXSCOPE_KNOWS_ASIO_INTERNALS
    using EntryPoint = asio::awaitable<asio::detail::awaitable_thread_entry_point>;
    TXSCOPE_LAZY static EntryPoint enter(Return back, asio::awaitable<void> work);
    static void finish(Return back, std::exception_ptr error);
    bool* over_ = nullptr;  // whether the work is, which has not been suspended yet
#endif

    const asio::any_io_executor& callers_;
    AmbientExecutor executor_;                   // until the work begins, which has it from then on
    std::shared_ptr<Channel> channel_;           // null: nobody can cancel the work
    std::unique_ptr<asio::steady_timer> timer_;  // mostly there is none
    Awaiter awaiter_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/require.hpp>
#include <boost/system/error_code.hpp>

#include <atomic>

namespace txscope::detail {

struct ForwardedCancellation::Channel {
    enum class Cancelled {
        no,
        by_caller,
        by_time
    };

    explicit Channel(Strand to) : strand{std::move(to)} {}

    /// From any thread.
    static void cancel(const std::weak_ptr<Channel>& to, Cancelled by) {
        if (const auto channel = to.lock())
            AmbientExecutor{channel->strand}.execute([channel, by] {
                auto first = Cancelled::no;
                channel->cancelled.compare_exchange_strong(first, by);
                channel->signal.emit(asio::cancellation_type::all);
            });
    }

    /// To be called on the strand when the work begins to listen: its time may be over already.
    void repeat() {
        if (cancelled == Cancelled::by_time) signal.emit(asio::cancellation_type::all);
    }

    const Strand strand;
    asio::cancellation_signal signal{};
    std::atomic<Cancelled> cancelled{Cancelled::no};  // first
};

/// Back to the caller, who goes on in the middle of what the work has run.
class ForwardedCancellation::Return {
public:
    using executor_type = asio::any_io_executor;
    using cancellation_slot_type = asio::cancellation_slot;

    explicit Return(ForwardedCancellation& to) : to_{&to} {}

    executor_type get_executor() const noexcept { return to_->callers_; }
    cancellation_slot_type get_cancellation_slot() const noexcept { return to_->slot(); }
    void operator()(std::exception_ptr error) {
        AmbientExecutor::goes_on(to_->callers_);
        to_.release()->awaiter_.resume(std::move(error));
    }

    ForwardedCancellation& to() const noexcept { return *to_; }

private:
    struct Destroy {
        void operator()(ForwardedCancellation* left) const noexcept { left->awaiter_.destroy(); }
    };

    std::unique_ptr<ForwardedCancellation, Destroy> to_;
};

TXSCOPE_INLINE ForwardedCancellation::ForwardedCancellation(const asio::cancellation_state& caller,
                                                            const asio::any_io_executor& callers,
                                                            AmbientExecutor executor)
    : callers_{callers}, executor_{std::move(executor)} {
    asio::cancellation_slot slot = caller.slot();
    if (!slot.is_connected()) return;
    channel_ = std::make_shared<Channel>(executor_.strand());
    slot.assign([to = std::weak_ptr{channel_}](asio::cancellation_type) {
        Channel::cancel(to, Channel::Cancelled::by_caller);
    });
}

TXSCOPE_INLINE asio::cancellation_slot ForwardedCancellation::slot() const {
    return channel_ ? channel_->signal.slot() : asio::cancellation_slot{};
}

/// The timer is on no strand: it would count as a branch there, for whose statements others wait.
TXSCOPE_LAZY_INLINE void ForwardedCancellation::cancel_at(Clock::time_point deadline) {
    if (deadline == Clock::time_point::max()) return;
    if (!channel_) channel_ = std::make_shared<Channel>(executor_.strand());
    timer_ = std::make_unique<asio::steady_timer>(executor_.strand().state().inner(), deadline);
    timer_->async_wait([to = std::weak_ptr{channel_}](boost::system::error_code ended) {
        if (!ended) Channel::cancel(to, Channel::Cancelled::by_time);
    });
}

TXSCOPE_INLINE bool ForwardedCancellation::expired() const noexcept {
    return channel_ && channel_->cancelled == Channel::Cancelled::by_time;
}

#ifdef TXSCOPE_KNOWS_ASIO_INTERNALS

/// The first frame of the work's coroutine.
TXSCOPE_LAZY_INLINE ForwardedCancellation::EntryPoint ForwardedCancellation::enter(
    Return back, asio::awaitable<void> work) {
    std::exception_ptr error;
    try {
        co_await std::move(work);
    } catch (...) {
        error = std::current_exception();
    }
    finish(std::move(back), std::move(error));
}

/// The work is over.
TXSCOPE_INLINE void ForwardedCancellation::finish(Return back, std::exception_ptr error) {
    const asio::any_io_executor callers = back.get_executor();
    bool* const over = std::exchange(back.to().over_, nullptr);
    auto resume = [back = std::move(back), error = std::move(error)]() mutable {
        back(std::move(error));
    };
    if (over == nullptr) {
        execute_on(callers, std::move(resume));
    } else {  // or else the stack would grow with every scope that never waits
        *over = true;
        asio::require(callers, asio::execution::blocking.never).execute(std::move(resume));
    }
}

/// What `co_spawn` does, but without a way by the type-erased executor to the strand, where this begins
/// already, and without outstanding work.
TXSCOPE_LAZY_INLINE void ForwardedCancellation::launch(Return back, asio::awaitable<void> work) {
    using Thread = asio::detail::awaitable_thread<asio::any_io_executor>;
    Thread thread{enter(std::move(back), std::move(work)), std::move(executor_), slot(),
                  asio::cancellation_state{slot()}};
    if (channel_) channel_->repeat();
    struct Launch {
        ForwardedCancellation& awaited;
        bool over = false;
        // Also where it is suspended and Asio throws: what is over may be destroyed, with this.
        ~Launch() {
            if (!over) awaited.over_ = nullptr;
        }
    } launch{*this};
    over_ = &launch.over;
    thread.launch();
}

#else

TXSCOPE_INLINE void ForwardedCancellation::launch(Return back, asio::awaitable<void> work) {
    const auto listening = channel_;  // this may be gone
    asio::co_spawn(asio::any_io_executor{std::move(executor_)}, std::move(work), std::move(back));
    if (listening) listening->repeat();
}

#endif

/// On the strand, which may have been told already that its time is over: nobody was listening then, and
/// only there it is safe to begin to listen.
TXSCOPE_LAZY_INLINE void ForwardedCancellation::start(asio::awaitable<void> work) {
    executor_.execute([back = Return{*this}, work = std::move(work)]() mutable {
        back.to().launch(std::move(back), std::move(work));
    });
}

}  // namespace txscope::detail

#endif
