#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/awaiter.hpp>
#include <txscope/net/strand.hpp>
#include <txscope/session/detail/shared_connection.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

struct RoundTrip;

/// A round trip as an operation: this is how every statement goes. It costs less than a coroutine, and
/// allocates nothing: it lies in the frame of the coroutine that awaits it, or in the memory of the
/// response, and runs on that coroutine's strand.
class RoundTripOperation : Task {
public:
    RoundTripOperation() : Task{&finish} {}

    template <typename Handler>
    void start(RoundTrip& trip, Handler handler) {
        trip_ = &trip;
        awaiter_.set(std::move(handler));
        begin();
    }

private:
    struct Readable;

    void begin();
    void step();
    bool send() noexcept;
    void wait();
    static void finish(Task* task, bool runs);

    RoundTrip* trip_ = nullptr;
    bool sent_ = false;
    std::exception_ptr error_;  // there was no memory to send it
    Awaiter awaiter_;
};

/// What goes out in a round trip, and what is awaited of it.
struct RoundTrip {
    const AmbientContext& on;                ///< Which the executor of whoever awaits it carries.
    SharedConnection& shared;                ///< Whose outbox is sent.
    Response& response;                      ///< Whose answer is awaited. Lives as long as this.
    const asio::cancellation_state& caller;  ///< Whoever is cancelled does not wait here.
    bool returns = true;                     ///< Whether the answer is awaited here at all.
    /// Whether to look for a lost connection first: on one that was lost, nothing is sent.
    bool checks = false;
    /// Outlives a loan that ends.
    const std::shared_ptr<PooledConnection> member = shared.lease.member();
    RoundTripOperation operation{};

    /// Whether reading is all that is left to do then.
    bool send();
    void receive() {
        if (!response.done) member->connection->poll();
    }
};

/// Sends, at the end of this turn of the caller's strand where other branches may have something to
/// add, and awaits the answer where it comes in one piece. If the response is not done then, there is
/// more to it: see `SharedConnection::see_through`.
TXSCOPE_LAZY inline auto round_trip(RoundTrip& trip) {
    return asio::async_initiate<const asio::deferred_t&, void(std::exception_ptr)>(
        [](auto handler, RoundTrip* started) {
            started->operation.start(*started, std::move(handler));
        },
        asio::deferred, &trip);
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <chrono>

namespace txscope::detail {

TXSCOPE_INLINE bool RoundTrip::send() {
    if (response.done) return false;
    Connection& connection = *member->connection;
    if (checks) connection.poll_unless_heard_within(std::chrono::microseconds{100});
    shared.send_outbox();
    const bool sent = !shared.beginning() || shared.begin.get() == &response;
    return returns && sent && connection.only_to_read(response, caller);
}

/// What the connection calls when it can be read.
struct RoundTripOperation::Readable {
    // It returns to its strand by itself, without outstanding work and type erasure.
    using cancellation_slot_type = asio::cancellation_slot;
    using allocator_type = WaitMemory::Allocator<std::byte>;

    cancellation_slot_type get_cancellation_slot() const noexcept {
        return awaited().trip_->caller.slot();
    }
    allocator_type get_allocator() const noexcept {
        return allocator_type{awaited().trip_->response.memory};
    }
    void operator()() {
        StrandState& strand = awaited().trip_->on.strand;
        strand.execute(std::move(operation));
    }
    RoundTripOperation& awaited() const noexcept {
        return static_cast<RoundTripOperation&>(*operation);
    }

    Task::Owner operation;
};

/// Where there are other branches, all that is ready to run on the strand now, or about to get there,
/// goes first: they add what they have to send.
TXSCOPE_INLINE void RoundTripOperation::begin() {
    sent_ = trip_->on.outstanding == 0;
    if (sent_ && send()) return wait();
    trip_->on.strand.post(Task::Owner{this}, trip_->response.memory);
}

TXSCOPE_INLINE void RoundTripOperation::step() {
    if (!std::exchange(sent_, true)) {
        if (send()) return wait();
    } else {
        trip_->receive();
    }
    awaiter_.resume(std::move(error_));
}

TXSCOPE_INLINE bool RoundTripOperation::send() noexcept {
    try {
        return trip_->send();
    } catch (...) {
        error_ = std::current_exception();
        return false;
    }
}

TXSCOPE_INLINE void RoundTripOperation::wait() {
    trip_->member->connection->when_readable(Readable{Task::Owner{this}});
}

TXSCOPE_INLINE void RoundTripOperation::finish(Task* task, bool runs) {
    auto* const self = static_cast<RoundTripOperation*>(task);
    if (!runs) return self->awaiter_.destroy();
    const boost::intrusive_ptr<const AmbientContext> kept{&self->trip_->on};
    Running::ambient = kept->said();
    self->step();
}

}  // namespace txscope::detail

#endif
