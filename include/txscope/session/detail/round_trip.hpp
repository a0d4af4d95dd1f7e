#pragma once

#include <txscope/net/ambient_executor.hpp>
#include <txscope/session/detail/shared_connection.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// What goes out in a round trip, and what is awaited of it.
struct RoundTrip {
    SharedConnection& shared;                ///< Whose outbox is sent.
    Response& response;                      ///< Whose answer is awaited.
    const asio::cancellation_state& caller;  ///< Whoever is cancelled does not wait here.
    bool returns = true;                     ///< Whether the answer is awaited here at all.
    /// Whether to look for a lost connection first: on one that was lost, nothing is sent.
    bool checks = false;
    /// Outlives a loan that ends.
    const std::shared_ptr<PooledConnection> member = shared.lease.member();

    /// Whether reading is all that is left to do then.
    bool send() {
        if (response.done) return false;
        Connection& connection = *member->connection;
        if (checks) connection.poll_unless_heard_within(std::chrono::microseconds{100});
        shared.send_outbox();
        const bool sent = !shared.beginning() || shared.begin.get() == &response;
        return returns && sent && connection.only_to_read(response, caller);
    }
    void receive() {
        if (!response.done) member->connection->poll();
    }
};

/// A round trip as an operation, which costs less than a coroutine: this is how every statement
/// goes. All of it runs on the strand of the coroutine that awaits it.
template <typename Handler>
class RoundTripOperation {
public:
    // It returns to its strand by itself, without outstanding work and type erasure.
    using cancellation_slot_type = asio::cancellation_slot;

    RoundTripOperation(RoundTrip& trip, Handler handler)
        : trip_{&trip},
          handler_{std::move(handler)},
          on_{ambient_executor(asio::get_associated_executor(handler_))} {}

    /// All that is ready to run on the strand now, or about to get there, goes first: the other
    /// branches that are under way add what they have to send.
    void start() && {
        const auto on = on_;
        on.post([self = std::move(*this)]() mutable { std::move(self).send(); });
    }

    cancellation_slot_type get_cancellation_slot() const noexcept {
        return asio::get_associated_cancellation_slot(handler_);
    }
    /// The connection can be read.
    void operator()() {
        const auto on = on_;
        on.execute([self = std::move(*this)]() mutable { std::move(self).receive(); });
    }

private:
    void send() && {
        bool to_read = false;
        std::exception_ptr error;
        try {
            to_read = trip_->send();
        } catch (...) {  // no memory
            error = std::current_exception();
        }
        if (to_read)
            trip_->member->connection->readable()(std::move(*this));
        else
            std::move(handler_)(std::move(error));
    }
    void receive() && {
        std::exception_ptr error;
        try {
            trip_->receive();
        } catch (...) {
            error = std::current_exception();
        }
        std::move(handler_)(std::move(error));
    }

    RoundTrip* trip_;  // in the frame of the coroutine that awaits this, which is the handler's
    Handler handler_;
    AmbientExecutor on_;
};

/// Sends at the end of this turn of the caller's strand, and awaits the answer where it comes in one
/// piece. If the response is not done then, there is more to it: see
/// `SharedConnection::see_through`.
inline auto round_trip(RoundTrip& trip) {
    return asio::async_initiate<const asio::deferred_t&, void(std::exception_ptr)>(
        [](auto handler, RoundTrip* started) {
            RoundTripOperation{*started, std::move(handler)}.start();
        },
        asio::deferred, &trip);
}

}  // namespace txscope::detail
