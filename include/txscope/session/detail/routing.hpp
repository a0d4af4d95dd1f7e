#pragma once

#include <txscope/core/config.hpp>
#include <txscope/pool/holder.hpp>
#include <txscope/pool/pool.hpp>
#include <txscope/postgres/connection.hpp>
#include <txscope/session/detail/replicas.hpp>

#include <boost/asio/awaitable.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// How a transaction that may read from a replica finds its server: one replica after another, and then
/// the primary.
///
/// What goes out with BEGIN is led by a condition. A replica that does not meet it executes nothing, and
/// the same is asked elsewhere; so is what one leaves unanswered.
class Routing {
public:
    /// Adds to a batch what begins the transaction on the connection that it has by then.
    using Opening = std::function<void(Connection::Batch&, const Connection::SharedResponse&)>;

    /// @param where what holds the connection, for those who look; `label` outlives it
    Routing(Replicas& replicas, const ReadYourWrites& after, const std::source_location& where,
            std::string_view label, Opening opening)
        : replicas_{replicas},
          holder_{where, label},
          after_{after},
          opening_{std::move(opening)},
          turn_{replicas.begin()} {}

    bool on_replica() const noexcept { return replica_.has_value(); }

    /// A connection of a replica that has an idle one; none where one has to be waited for.
    Lease acquire_idle();
    /// A connection of the next replica that soon has one; none where the primary is to serve.
    TXSCOPE_LAZY asio::awaitable<Lease> acquire();

    /// Adds to an empty batch what begins the transaction, and what a replica has to meet before.
    void begin(Connection::Batch& batch, const Connection::SharedResponse& response);
    /// This is going out with BEGIN.
    void keep(const Connection::Batch& batch) {
        if (on_replica()) first_.assign(batch.begin() + opening_size_, batch.end());
    }
    /// Whether all that has to be asked elsewhere, going by the answer to BEGIN.
    bool has_failed(const Response& begin) const noexcept;
    /// It is going to be asked elsewhere, for new responses; that of BEGIN becomes the new one.
    void leave_replica(Connection::SharedResponse& begin);
    /// The same, to go out over the connection that was taken since.
    Connection::Batch ask_again(const Connection::SharedResponse& begin);
    /// Nobody is to be asked, for that reason.
    void give_up(Response& begin, const std::exception_ptr& why) noexcept;

    /// Whether a new response has taken the place of that one.
    bool has_moved(const Connection::SharedResponse& response) const noexcept {
        return std::any_of(moved_.begin(), moved_.end(),
                           [&](const Moved& moved) { return moved.first == response; });
    }
    /// The response that is in its place now.
    void follow(Connection::SharedResponse& response) const noexcept {
        for (const auto& [old, now] : moved_)
            if (response == old) response = now;
    }

private:
    using Moved = std::pair<Connection::SharedResponse, Connection::SharedResponse>;

    Replicas& replicas_;
    Holder holder_;  // of replicas' connections: the primary's pool accounts for another one
    const ReadYourWrites after_;
    const Opening opening_;
    ReplicaOrder::Turn turn_;
    std::optional<std::size_t> replica_{};  // whose connection it has; none: the primary's
    std::ptrdiff_t opening_size_ = 0;
    Connection::Batch first_{};  // what went out with BEGIN, but for that
    // Responses and those that have taken their place. The old ones stay as they are: who waits for them
    // may not have noticed yet that they are done.
    std::vector<Moved> moved_{};
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/sqlstate.hpp>
#include <txscope/net/cancellation.hpp>

#include <chrono>

namespace txscope::detail {

TXSCOPE_INLINE Lease Routing::acquire_idle() {
    for (auto turn = turn_; const auto replica = replicas_.next(turn);) {
        Lease found = replicas_.pools()[*replica]->acquire_idle(&holder_);
        if (!found || !replicas_.accept(found)) continue;
        turn_ = turn;
        replica_ = replica;
        return found;
    }
    return {};
}

TXSCOPE_LAZY_INLINE asio::awaitable<Lease> Routing::acquire() {
    for (;;) {
        replica_ = replicas_.next(turn_);
        if (!replica_) co_return Lease{};
        try {
            Lease found = co_await replicas_.pools()[*replica_]->acquire_soon(holder_);
            if (found && replicas_.accept(found)) co_return found;
        } catch (...) {
            if (is_cancellation(std::current_exception())) throw;
            replicas_.leave_out(*replica_, std::chrono::seconds{1});
        }
    }
}

/// What has been replayed is looked at before the transaction takes its snapshot: in one of its own,
/// which ends with COMMIT, without the warning that it would cause without BEGIN.
TXSCOPE_INLINE void Routing::begin(Connection::Batch& batch,
                                   const Connection::SharedResponse& response) {
    if (on_replica()) {
        batch.emplace_back(replicas_.condition(after_), response);
        batch.emplace_back(Command{"BEGIN"}, response);
        batch.emplace_back(Command{"COMMIT"}, response);
    }
    opening_(batch, response);
    opening_size_ = static_cast<std::ptrdiff_t>(batch.size());
}

TXSCOPE_INLINE bool Routing::has_failed(const Response& begin) const noexcept {
    using Outcome = Response::Outcome;
    if (!on_replica() || !begin.done) return false;
    if (begin.outcome() != Outcome::failed)
        return begin.outcome() == Outcome::lost || begin.outcome() == Outcome::unsent;
    return begin.failed_statement() == 0 &&
           begin.protocol::Response::error()->sqlstate() != sqlstate::query_canceled;
}

TXSCOPE_INLINE void Routing::leave_replica(Connection::SharedResponse& begin) {
    const auto& said = begin->protocol::Response::error();
    const bool behind = said && said->sqlstate() == sqlstate::division_by_zero;
    // That it lacks what was written elsewhere concerns nobody else.
    if (!behind || after_ <= replicas_.written().latest())
        replicas_.leave_out(*replica_, std::chrono::milliseconds{behind ? 10 : 1000});

    const auto renew = [&](Connection::SharedResponse& response) {
        if (!has_moved(response)) {
            moved_.emplace_back(response, std::make_shared<Response>(response->scope));
            if (response->keeps_all()) moved_.back().second->keep_all();
        }
        follow(response);
    };
    renew(begin);
    for (Request& unanswered : first_) renew(unanswered.response);
}

TXSCOPE_INLINE Connection::Batch Routing::ask_again(const Connection::SharedResponse& response) {
    Connection::Batch batch;
    begin(batch, response);
    for (const Request& unanswered : first_) batch.push_back(unanswered);
    return batch;
}

TXSCOPE_INLINE void Routing::give_up(Response& begin, const std::exception_ptr& why) noexcept {
    replica_.reset();
    if (!begin.done) begin.refuse(why, Response::Outcome::failed);
    for (const Request& unanswered : first_)
        if (!unanswered.response->done) unanswered.response->refuse(why);
}

}  // namespace txscope::detail

#endif
