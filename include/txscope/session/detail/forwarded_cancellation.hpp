#pragma once

#include <txscope/session/detail/strand.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// Passes a caller's cancellations on to what it awaits on a strand.
///
/// `co_spawn` alone leaves its executor in the caller's slot, for as long as the caller's signal
/// lives, which may outlive the execution context; a strand must not, and neither must the session
/// that an executor carries. And it lets the strand look into that slot when it gets the message,
/// which the caller has cleared if the work has ended meanwhile (Boost 1.81).
class ForwardedCancellation {
    struct Channel {
        explicit Channel(Strand to) : strand{std::move(to)} {}
        const Strand strand;
        asio::cancellation_signal signal{};
    };

public:
    ForwardedCancellation(const asio::cancellation_state& caller, const Strand& strand) {
        asio::cancellation_slot slot = caller.slot();
        if (!slot.is_connected()) return;
        channel_ = std::make_shared<Channel>(strand);
        slot.assign([to = std::weak_ptr{channel_}](asio::cancellation_type type) {
            if (const auto channel = to.lock())
                asio::dispatch(channel->strand, [channel, type] { channel->signal.emit(type); });
        });
    }

    /// Where the work is to listen.
    asio::cancellation_slot slot() const {
        return channel_ ? channel_->signal.slot() : asio::cancellation_slot{};
    }

    /// `co_spawn` with that slot, for tokens to which Boost 1.81 can bind none (`deferred`).
    template <typename Executor, typename Token>
    auto spawn(Executor executor, asio::awaitable<void> work, Token token) const {
        return asio::async_initiate<Token, void(std::exception_ptr)>(
            [executor = std::move(executor), slot = slot()](auto handler,
                                                            asio::awaitable<void> spawned) {
                asio::co_spawn(executor, std::move(spawned),
                               asio::bind_cancellation_slot(slot, std::move(handler)));
            },
            token, std::move(work));
    }

private:
    std::shared_ptr<Channel> channel_;  // null: nobody can cancel the caller
};

}  // namespace txscope::detail
