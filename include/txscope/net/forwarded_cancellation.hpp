#pragma once

#include <txscope/net/ambient_executor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/dispatch.hpp>

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
    struct Channel {
        explicit Channel(Strand to) : strand{std::move(to)} {}
        const Strand strand;
        asio::cancellation_signal signal{};
    };

    /// Back to the caller, who goes on in the middle of what the work has run.
    template <typename Handler>
    struct Return {
        using executor_type = asio::associated_executor_t<Handler>;
        using cancellation_slot_type = asio::cancellation_slot;

        executor_type get_executor() const noexcept {
            return asio::get_associated_executor(handler);
        }
        cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
        void operator()(std::exception_ptr error) {
            AmbientExecutor::goes_on(get_executor());
            std::move(handler)(std::move(error));
        }

        Handler handler;
        cancellation_slot_type slot;
    };

public:
    ForwardedCancellation(const asio::cancellation_state& caller, const Strand& strand) {
        asio::cancellation_slot slot = caller.slot();
        if (!slot.is_connected()) return;
        channel_ = std::make_shared<Channel>(strand);
        slot.assign([to = std::weak_ptr{channel_}](asio::cancellation_type type) {
            if (const auto channel = to.lock())
                asio::dispatch(AmbientExecutor{channel->strand},
                               [channel, type] { channel->signal.emit(type); });
        });
    }

    /// Where the work is to listen.
    asio::cancellation_slot slot() const {
        return channel_ ? channel_->signal.slot() : asio::cancellation_slot{};
    }

    /// `co_spawn` with that slot, for a coroutine to await. (With Boost 1.81 `bind_cancellation_slot`
    /// takes no `deferred`.)
    auto spawn(asio::any_io_executor executor, asio::awaitable<void> work) const {
        return asio::async_initiate<const asio::deferred_t&, void(std::exception_ptr)>(
            [executor = std::move(executor), slot = slot()](auto handler,
                                                            asio::awaitable<void> spawned) {
                asio::co_spawn(executor, std::move(spawned), Return{std::move(handler), slot});
            },
            asio::deferred, std::move(work));
    }

private:
    std::shared_ptr<Channel> channel_;  // null: nobody can cancel the caller
};

}  // namespace txscope::detail
