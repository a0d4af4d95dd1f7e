#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// Passes a caller's cancellations on to what it awaits on another executor.
///
/// `co_spawn` leaves its executor in the slot that it is given. In the caller's own it would stay
/// for as long as the caller's signal, which may outlive the execution context; a strand must not,
/// and neither must the session that an executor carries.
class ForwardedCancellation {
public:
    explicit ForwardedCancellation(const asio::cancellation_state& caller) {
        asio::cancellation_slot slot = caller.slot();
        if (!slot.is_connected()) return;
        signal_ = std::make_shared<asio::cancellation_signal>();
        slot.assign([forward = std::weak_ptr{signal_}](asio::cancellation_type type) {
            if (const auto signal = forward.lock()) signal->emit(type);
        });
    }

    /// Where the work is to listen.
    asio::cancellation_slot slot() const {
        return signal_ ? signal_->slot() : asio::cancellation_slot{};
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
    std::shared_ptr<asio::cancellation_signal> signal_;  // null: nobody can cancel the caller
};

}  // namespace txscope::detail
