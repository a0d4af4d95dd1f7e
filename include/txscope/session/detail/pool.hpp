#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/notification.hpp>
#include <txscope/session/detail/connector.hpp>
#include <txscope/session/detail/deadline.hpp>
#include <txscope/session/detail/idle_connections.hpp>
#include <txscope/session/detail/lease.hpp>
#include <txscope/session/detail/ticket.hpp>
#include <txscope/session/detail/wait_queue.hpp>
#include <txscope/session/pool_options.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/detached.hpp>
#include <pqxx/except>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// The connections behind an `AsyncSessionFactory`: bounded, lent in strict order of asking.
///
/// Any thread may call it. The coroutines that wait are parked in Asio's timers, not here.
class Pool : public std::enable_shared_from_this<Pool> {
public:
    Pool(asio::any_io_executor executor, std::string conninfo, PoolOptions options);

    /// A clean connection if one is idle and nobody waits; none otherwise.
    Lease acquire_idle(Borrower* borrower = nullptr);

    /// A clean connection, by `deadline` and within `acquire_timeout`. Called on a strand.
    asio::awaitable<Lease> acquire(Demand demand = {},
                                   Clock::time_point deadline = Clock::time_point::max());

    /// Takes a connection back; a dirty one is cleaned up first, or closed.
    void give_back(std::shared_ptr<PooledConnection> member) noexcept;

    /// Opens connections until there are `count`, at most `max_size`. Called on a strand.
    asio::awaitable<void> warm_up(std::size_t count);

    /// Lends no more; waits until every connection is back and closed.
    asio::awaitable<void> close();

    PoolStatistics statistics() const;
    const PoolOptions& options() const noexcept { return options_; }
    Connector& connector() noexcept { return connector_; }
    Clock::time_point cleanup_deadline() const { return deadline_in(options_.cleanup_timeout); }

private:
    using Member = std::shared_ptr<PooledConnection>;
    using Lock = std::lock_guard<std::mutex>;
    friend Ticket;

    bool queue(Ticket& ticket);
    asio::awaitable<void> open(Ticket& ticket, Clock::time_point deadline);
    void withdraw(Ticket& ticket) noexcept;
    static asio::awaitable<void> clean_up(std::shared_ptr<Pool> self, Member member);
    void keep(Member member) noexcept;
    void examine(const Member& member, boost::system::error_code error);

    // With the mutex locked:
    void check_open(const Demand& demand) const {
        if (closed_) throw PoolClosed{"the session factory is closed", demand.scope()};
    }
    void serve() noexcept;
    Member take_idle();
    void watch_soon() noexcept;
    void shrink(Member gone = nullptr) noexcept;

    const PoolOptions options_;
    Connector connector_;

    mutable std::mutex mutex_;
    IdleConnections idle_;
    WaitQueue waiting_;
    std::vector<Notification::Sender> closers_;
    PoolStatistics statistics_;  // `idle` and `waiting` are filled in on demand
    bool watching_soon_ = false;
    bool closed_ = false;
};

inline Lease::~Lease() {
    if (member_) pool_->give_back(std::move(member_));
}

inline Ticket::~Ticket() { pool_.withdraw(*this); }

inline Pool::Pool(asio::any_io_executor executor, std::string conninfo, PoolOptions options)
    : options_{options},
      connector_{std::move(executor),
                 std::move(conninfo),
                 {options.statement_cache_size, options.statement_lifetime}} {
    if (options_.max_size == 0)
        throw pqxx::argument_error{"PoolOptions::max_size must be at least 1"};
    if (options_.acquire_timeout.count() < 0 || options_.cleanup_timeout.count() < 0 ||
        options_.statement_lifetime.count() < 0)
        throw pqxx::argument_error{"PoolOptions: a time must not be negative"};
}

inline Lease Pool::acquire_idle(Borrower* borrower) {
    const Lock lock{mutex_};
    Member member = waiting_.empty() && !closed_ ? take_idle() : nullptr;
    if (!member) return {};
    ++statistics_.acquired;
    waiting_.lend(*member, borrower);
    return Lease{shared_from_this(), std::move(member)};
}

inline asio::awaitable<Lease> Pool::acquire(Demand demand, Clock::time_point deadline) {
    const auto self = shared_from_this();
    deadline = std::min(deadline, deadline_in(options_.acquire_timeout));
    Ticket ticket{*this, std::move(demand)};
    bool answered = queue(ticket);
    if (!answered) answered = co_await ticket.wait(mutex_, deadline);
    if (!answered)
        std::rethrow_exception(
            nest(connector_.last_error(),
                 AcquireTimeout{"no connection became free in time", ticket.demand().scope()}));
    if (ticket.refusal()) std::rethrow_exception(ticket.refusal());
    if (ticket.state() == Ticket::may_open) co_await open(ticket, deadline);
    Lease lease{self, ticket.take()};
    const Lock lock{mutex_};
    check_open(ticket.demand());
    ++statistics_.acquired;
    waiting_.lend(*lease.member(), ticket.demand().borrower);
    waiting_.break_deadlock(statistics_.size);
    co_return std::move(lease);
}

/// True when `ticket` is answered at once.
inline bool Pool::queue(Ticket& ticket) {
    const Lock lock{mutex_};
    check_open(ticket.demand());
    waiting_.push(ticket);
    serve();
    waiting_.break_deadlock(statistics_.size);
    if (ticket.state() != Ticket::waiting) return true;
    if (waiting_.size() <= options_.max_waiters) return false;
    throw PoolExhausted{
        std::to_string(options_.max_waiters) + " coroutines are waiting for a connection already",
        ticket.demand().scope()};
}

inline asio::awaitable<void> Pool::open(Ticket& ticket, Clock::time_point deadline) {
    auto member = co_await connector_.open(deadline, ticket.demand().scope());
    const Lock lock{mutex_};
    ++statistics_.opened;
    idle_.reserve(statistics_.size);
    ticket.answer(Ticket::granted, std::move(member));
}

/// Gives to those who wait, first come first served, what is there to give.
inline void Pool::serve() noexcept {
    while (!waiting_.empty()) {
        Member member = take_idle();
        if (!member && statistics_.size >= options_.max_size) return;
        if (!member) ++statistics_.size;
        const auto state = member ? Ticket::granted : Ticket::may_open;
        waiting_.pop().answer(state, std::move(member));
    }
}

/// An idle connection whose server is still there, if any.
inline Pool::Member Pool::take_idle() {
    while (Member member = idle_.take()) {
        if (member->usable()) return member;
        ++statistics_.discarded;
        --statistics_.size;
    }
    return nullptr;
}

inline void Pool::withdraw(Ticket& ticket) noexcept {
    std::unique_lock lock{mutex_};
    if (ticket.place) waiting_.remove(ticket);
    if (ticket.state() == Ticket::may_open) shrink();
    Member unused = ticket.take();
    lock.unlock();
    if (unused) give_back(std::move(unused));
}

inline void Pool::give_back(Member member) noexcept {
    const asio::any_io_executor& executor = connector_.executor();
    try {
        member->connection->move_to(executor);
        if (member->connection->dirty()) {
            std::unique_lock lock{mutex_};
            waiting_.take_back(*member);
            lock.unlock();
            // Not on a strand of its own: one that is made while the context is destroyed leaks.
            return asio::co_spawn(executor, clean_up(shared_from_this(), member), asio::detached);
        }
    } catch (...) {  // no memory, or no descriptor, to go on with
        member->connection->close(std::current_exception());
    }
    keep(std::move(member));
}

inline asio::awaitable<void> Pool::clean_up(std::shared_ptr<Pool> self, Member member) {
    try {
        co_await member->connection->recover(self->cleanup_deadline());
    } catch (...) {
        member->connection->close(std::current_exception());
    }
    self->keep(std::move(member));
}

/// Puts one that is clean, or broken, where it belongs.
inline void Pool::keep(Member member) noexcept {
    const Lock lock{mutex_};
    waiting_.take_back(*member);
    statistics_.round_trips += member->new_round_trips();
    const bool broken = member->connection->broken();
    if (broken) ++statistics_.discarded;
    if (closed_ || broken) return shrink(std::move(member));
    idle_.put(member);
    serve();
    if (member->idle) watch_soon();
}

/// One connection fewer, `gone` if it was open: somebody who waits may open another.
inline void Pool::shrink(Member gone) noexcept {
    gone.reset();  // closed before somebody is told that all are
    --statistics_.size;
    serve();
    if (statistics_.size == 0)
        for (const auto& notify : closers_) notify();
}

/// Watches what is idle when this turn is over: under load, most of it is lent again by then.
inline void Pool::watch_soon() noexcept try {
    if (watching_soon_) return;
    asio::defer(connector_.executor(), [pool = weak_from_this()] {
        const auto self = pool.lock();
        if (!self) return;
        const Lock lock{self->mutex_};
        self->watching_soon_ = false;
        self->idle_.watch([pool](const Member& member, boost::system::error_code error) {
            if (const auto still = pool.lock()) still->examine(member, error);
        });
    });
    watching_soon_ = true;
} catch (const std::bad_alloc&) {  // nobody watches then; whoever is lent one has a look at it
}

inline void Pool::examine(const Member& member, boost::system::error_code error) {
    const Lock lock{mutex_};
    member->watched = false;
    if (!member->idle) return;  // lent meanwhile: it was an answer that arrived
    if (error && error != asio::error::operation_aborted)
        member->connection->close(
            std::make_exception_ptr(ConnectionLost{"the socket failed: " + error.message()}));
    member->connection->poll();
    if (!member->connection->broken()) return watch_soon();
    idle_.remove(member);
    ++statistics_.discarded;
    shrink();
}

inline asio::awaitable<void> Pool::warm_up(std::size_t count) {
    const auto self = shared_from_this();
    for (;;) {
        Ticket ticket{*this};
        std::unique_lock lock{mutex_};
        check_open(ticket.demand());
        if (statistics_.size >= std::min(count, options_.max_size)) co_return;
        ++statistics_.size;
        ticket.answer(Ticket::may_open);
        lock.unlock();
        co_await open(ticket, deadline_in(options_.acquire_timeout));
    }
}

inline asio::awaitable<void> Pool::close() {
    const auto self = shared_from_this();
    Notification drained{co_await asio::this_coro::executor};
    std::vector<Member> unused;
    std::unique_lock lock{mutex_};
    closed_ = true;
    while (!waiting_.empty()) waiting_.pop().answer(Ticket::refused);
    unused = idle_.take_all();
    statistics_.size -= unused.size();
    if (statistics_.size == 0) co_return;
    closers_.push_back(drained.sender());
    lock.unlock();
    unused.clear();
    while (!drained.sent()) co_await drained.wait();
}

inline PoolStatistics Pool::statistics() const {
    const Lock lock{mutex_};
    PoolStatistics now = statistics_;
    now.idle = idle_.size();
    now.waiting = waiting_.size();
    return now;
}

}  // namespace txscope::detail
