#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/awaiter.hpp>
#include <txscope/net/strand.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// Passes a caller's cancellations on to what it awaits on a strand.
///
/// `co_spawn` alone leaves its executor in the caller's slot, for as long as the caller's signal
/// lives, which may outlive the execution context; a strand must not, and neither must what an
/// executor carries. And it lets the strand look into that slot when it gets the message,
/// which the caller has cleared if the work has ended meanwhile (Boost 1.81).
class ForwardedCancellation {
    struct Channel;
    struct Return;

public:
    ForwardedCancellation(const asio::cancellation_state& caller, Strand strand);
    ForwardedCancellation(const ForwardedCancellation&) = delete;
    ForwardedCancellation& operator=(const ForwardedCancellation&) = delete;

    /// Where the work is to listen.
    asio::cancellation_slot slot() const;
    /// Cancels the work as well. To be called on its strand, once it runs.
    class Canceller {
    public:
        void operator()() const;

    private:
        friend ForwardedCancellation;
        explicit Canceller(std::weak_ptr<Channel> to) : channel_{std::move(to)} {}
        std::weak_ptr<Channel> channel_;
    };
    /// To be asked for before the work is spawned.
    Canceller canceller();

    /// `co_spawn` with that slot, for the coroutine that has this to await, once. (With Boost 1.81
    /// `bind_cancellation_slot` takes no `deferred`.)
    auto spawn(asio::any_io_executor executor, asio::awaitable<void> work) {
        return asio::async_initiate<const asio::deferred_t&, void(std::exception_ptr)>(
            [this, executor = std::move(executor)](auto handler, asio::awaitable<void> spawned) {
                const asio::any_io_executor callers = asio::get_associated_executor(handler);
                awaiter_.set(std::move(handler));
                start(executor, std::move(spawned), callers);
            },
            asio::deferred, std::move(work));
    }

private:
    void start(const asio::any_io_executor& executor, asio::awaitable<void> work,
               const asio::any_io_executor& callers);

    const Strand strand_;
    std::shared_ptr<Channel> channel_;  // null: nobody can cancel the work
    Awaiter awaiter_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/ambient_executor.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>

namespace txscope::detail {

struct ForwardedCancellation::Channel {
    explicit Channel(Strand to) : strand{std::move(to)} {}
    const Strand strand;
    asio::cancellation_signal signal{};
};

/// Back to the caller, who goes on in the middle of what the work has run.
struct ForwardedCancellation::Return {
    struct Destroy {
        void operator()(Awaiter* left) const noexcept { left->destroy(); }
    };
    using executor_type = asio::any_io_executor;
    using cancellation_slot_type = asio::cancellation_slot;

    executor_type get_executor() const noexcept { return callers; }
    cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
    void operator()(std::exception_ptr error) {
        AmbientExecutor::goes_on(callers);
        awaiter.release()->resume(std::move(error));
    }

    asio::any_io_executor callers;
    cancellation_slot_type slot;
    std::unique_ptr<Awaiter, Destroy> awaiter;
};

TXSCOPE_INLINE ForwardedCancellation::ForwardedCancellation(const asio::cancellation_state& caller,
                                                            Strand strand)
    : strand_{std::move(strand)} {
    asio::cancellation_slot slot = caller.slot();
    if (!slot.is_connected()) return;
    channel_ = std::make_shared<Channel>(strand_);
    slot.assign([to = std::weak_ptr{channel_}](asio::cancellation_type type) {
        if (const auto channel = to.lock())
            asio::dispatch(AmbientExecutor{channel->strand},
                           [channel, type] { channel->signal.emit(type); });
    });
}

TXSCOPE_INLINE asio::cancellation_slot ForwardedCancellation::slot() const {
    return channel_ ? channel_->signal.slot() : asio::cancellation_slot{};
}

TXSCOPE_INLINE ForwardedCancellation::Canceller ForwardedCancellation::canceller() {
    if (!channel_) channel_ = std::make_shared<Channel>(strand_);
    return Canceller{channel_};
}

TXSCOPE_INLINE void ForwardedCancellation::Canceller::operator()() const {
    if (const auto channel = channel_.lock()) channel->signal.emit(asio::cancellation_type::all);
}

TXSCOPE_INLINE void ForwardedCancellation::start(const asio::any_io_executor& executor,
                                                 asio::awaitable<void> work,
                                                 const asio::any_io_executor& callers) {
    asio::co_spawn(executor, std::move(work),
                   Return{callers, slot(), std::unique_ptr<Awaiter, Return::Destroy>{&awaiter_}});
}

}  // namespace txscope::detail

#endif
