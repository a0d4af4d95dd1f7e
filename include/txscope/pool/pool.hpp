#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/net/notification.hpp>
#include <txscope/pool/connector.hpp>
#include <txscope/pool/detail/intrusive_list.hpp>
#include <txscope/pool/detail/pool_machine.hpp>
#include <txscope/pool/holder.hpp>
#include <txscope/pool/lease.hpp>
#include <txscope/pool/pool_hooks.hpp>
#include <txscope/pool/pool_observer.hpp>
#include <txscope/pool/pool_statistics.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Connections, bounded in number, lent in strict order of asking.
///
/// What is decided, `PoolMachine` decides; this gives it a mutex, time, and connections. Any thread
/// may call it. The coroutines that wait do so in Asio's timers, not here. What the pool does
/// by itself, opening connections and cleaning them, belongs to its own execution context.
class Pool : public std::enable_shared_from_this<Pool> {
public:
    struct Limits {
        std::size_t max_size;
        std::size_t max_waiters;
        std::size_t max_opening;
        std::size_t min_idle;
        std::chrono::milliseconds acquire_timeout;
        std::chrono::milliseconds queue_target;
        std::chrono::milliseconds opening_timeout;
        std::chrono::milliseconds max_lifetime;
        std::chrono::milliseconds idle_timeout;
        std::chrono::milliseconds ping_after_idle;
        std::chrono::milliseconds ping_timeout;
        std::chrono::milliseconds cleanup_timeout;
    };

    /// @param observer null for none; outlives whoever uses the pool
    TXSCOPE_LAZY Pool(asio::any_io_executor executor, std::string conninfo, StatementNaming naming,
                      const Limits& limits, PoolObserver* observer, bool pipelines = true);
    ~Pool();

    /// A clean connection if one is idle and nobody waits; none otherwise.
    Lease acquire_idle(Holder* holder = nullptr);

    /// A clean connection, by `deadline` and within `acquire_timeout`.
    /// @param requester outlives the wait
    /// @throws PoolError, ConnectionFailed for what stays
    TXSCOPE_LAZY asio::awaitable<Lease> acquire(
        Requester&& requester = {}, Clock::time_point deadline = Clock::time_point::max());

    /// The same, in the frame of the coroutine that waits: it awaits no other one, which would take more
    /// memory than the request.
    class Request;

    /// The same for who can do without: waits for an idle one to answer a ping, but for none that is on
    /// loan or has to be opened, which is begun where there is room for it. None then.
    /// @throws PoolError
    TXSCOPE_LAZY asio::awaitable<Lease> acquire_soon(Holder& holder);

    /// Takes a connection back; a dirty one is cleaned up first, or closed.
    void give_back(std::shared_ptr<PooledConnection> connection) noexcept;

    enum class OnFailure {
        try_again,  ///< Unless the reason stays.
        give_up
    };
    /// Waits until `count` connections are open, at most `max_size`, or one cannot be. What is being
    /// opened then stays the pool's. Called on a strand.
    /// @throws ConnectionFailed, AcquireTimeout after `acquire_timeout`, PoolClosed
    TXSCOPE_LAZY asio::awaitable<void> warm_up(std::size_t count, OnFailure on_failure);

    /// Begins what it does unasked.
    /// @param hooks null for none
    TXSCOPE_LAZY void start(std::shared_ptr<const PoolHooks> hooks);

    /// Closes the connections that it has now, those on loan when they come back.
    void recycle() noexcept {
        Lock lock{mutex_};
        machine_.recycled();
        carry_out(lock);
    }

    void lend_no_more() noexcept;
    /// Lends no more; waits until every connection is back and closed. Called on a strand.
    TXSCOPE_LAZY asio::awaitable<void> close();

    /// Goes on with other limits, but for `cleanup_timeout`; a connection's life is counted as it was.
    TXSCOPE_LAZY void reconfigure(const Limits& limits) noexcept;

    PoolStatistics statistics() const;
    /// Who has connections on loan, the longest first. From any thread.
    std::vector<ConnectionHolder> holders() const;
    Connector& connector() noexcept { return *connector_; }
    Clock::time_point cleanup_deadline() const { return deadline_in(cleanup_timeout_); }

private:
    using Lock = std::unique_lock<std::mutex>;
    using Shared = std::shared_ptr<Pool>;
    using Condition = PoolMachine::Condition;
    using Reason = PoolMachine::Reason;
    class OpeningWatch;

    PoolMachine::Limits limits_of_machine(const Limits& limits) const noexcept;
    static Reason reason_of(const std::exception_ptr& error) noexcept;
    static PoolEvent event_of(PoolEvent::Kind kind, const PooledConnection& connection) noexcept;
    static PooledConnection& pooled(ConnectionNode& node) {
        return static_cast<PooledConnection&>(node);
    }
    TXSCOPE_LAZY static asio::awaitable<void> open(std::weak_ptr<Pool> pool,
                                                   std::shared_ptr<Connector> connector,
                                                   Clock::time_point deadline,
                                                   std::uint64_t generation);
    TXSCOPE_LAZY static asio::awaitable<void> clean(Shared self,
                                                    std::shared_ptr<PooledConnection> connection);
    TXSCOPE_LAZY static asio::awaitable<void> keep_up(std::weak_ptr<Pool> pool,
                                                      asio::any_io_executor executor);
    void tell_opened(const PooledConnection& opened, Clock::time_point begun) const noexcept;
    void tell_failed(const std::exception_ptr& error, Clock::time_point begun) const noexcept;
    void close(PooledConnection& retired) noexcept;
    TXSCOPE_LAZY void begin_opening(std::uint64_t generation) noexcept;
    TXSCOPE_LAZY bool begin_cleaning(PooledConnection& connection) noexcept;
    void put(std::shared_ptr<PooledConnection> opened, std::uint64_t generation) noexcept;
    void examine(const std::shared_ptr<PooledConnection>& connection);

    // With the mutex locked:
    Lease lend_idle(Lock& lock, Holder* holder);
    Lease lease(PooledConnection& connection);
    bool before_lend() const noexcept { return hooks_ && hooks_->before_lend; }
    /// Whether there is something to do with one that is clean.
    bool has_to_call_hooks(const PooledConnection& returned) const noexcept {
        return hooks_->after_return || before_lend() || returned.connection->session_reset();
    }
    /// How `connection` comes back.
    Condition look_at(PooledConnection& connection) noexcept;
    void cleaned(PooledConnection& connection, bool refused = false) noexcept;
    Clock::time_point end_of_life() noexcept;
    std::vector<ConnectionHolder> list_holders() const;
    void answer(Waiter& waiter) noexcept;
    std::exception_ptr why_none_is_open() const noexcept;
    void fail_opening(const std::exception_ptr& error) noexcept;
    void tell_watches(const std::exception_ptr& error) noexcept;
    TXSCOPE_LAZY void schedule() noexcept;
    void watch_soon() noexcept {
        if (!watching_soon_) (this->*begin_watching_)();
    }
    TXSCOPE_LAZY void begin_watching() noexcept;
    TXSCOPE_LAZY void watch_idle();
    /// Does what the machine has decided, some of it with the mutex unlocked.
    void carry_out(Lock& lock) noexcept {
        if (machine_.has_actions()) (this->*act_)(lock);
    }
    TXSCOPE_LAZY void act(Lock& lock) noexcept;
    TXSCOPE_LAZY void act_once(Lock& lock) noexcept;
    void stop_openings() noexcept;

    // By pointers: a destructor that gives a connection back does not compile all that this may lead to.
    void (Pool::* const act_)(Lock&) noexcept;
    void (Pool::* const begin_watching_)() noexcept;

    const std::chrono::milliseconds cleanup_timeout_;
    PoolObserver* observer_;
    std::shared_ptr<const PoolHooks> hooks_;  // mostly there are none
    const std::shared_ptr<Connector> connector_;
    // Where connections are opened. Made here, since one that is made while the context is destroyed
    // leaks.
    const asio::any_io_executor opener_{AmbientExecutor{strand_on(connector_->executor())}};

    mutable std::mutex mutex_;
    Limits limits_;
    PoolMachine machine_;
    std::exception_ptr opening_error_;  // of the last one; null when it succeeded
    std::vector<std::weak_ptr<asio::cancellation_signal>> openings_;  // to be emitted on `opener_`
    IntrusiveList<OpeningWatch> opening_watches_;
    std::vector<Notification::Sender> closers_;
    PoolStatistics statistics_;  // but for what the machine knows
    bool watching_soon_ = false;
    bool keeping_up_ = false;                               // `keep_up` runs
    std::optional<Notification::Sender> sooner_;            // ends its wait
    Clock::time_point wake_at_ = Clock::time_point::max();  // which ends then
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/this_coro.hpp>

namespace txscope::detail {

TXSCOPE_LAZY_INLINE Pool::Pool(asio::any_io_executor executor, std::string conninfo,
                               StatementNaming naming, const Limits& limits, PoolObserver* observer,
                               bool pipelines)
    : act_{&Pool::act},
      begin_watching_{&Pool::begin_watching},
      cleanup_timeout_{limits.cleanup_timeout},
      observer_{observer},
      connector_{std::make_shared<Connector>(std::move(executor), std::move(conninfo),
                                             std::move(naming), pipelines)},
      limits_{limits},
      machine_{limits_of_machine(limits)} {}

TXSCOPE_INLINE PoolMachine::Limits Pool::limits_of_machine(const Limits& limits) const noexcept {
    return {
        .connections = limits.max_size,
        .waiters = limits.max_waiters,
        .openings = limits.max_opening,
        .idle = limits.min_idle,
        .idle_timeout = limits.idle_timeout,
        .ping_after_idle = before_lend() ? std::chrono::milliseconds{0} : limits.ping_after_idle,
        .queue_target = limits.queue_target};
}

TXSCOPE_LAZY_INLINE void Pool::start(std::shared_ptr<const PoolHooks> hooks) {
    hooks_ = std::move(hooks);
    if (hooks_) connector_->ask_before(hooks_->before_connect);
    reconfigure(limits_);
}

TXSCOPE_LAZY_INLINE void Pool::reconfigure(const Limits& limits) noexcept {
    Lock lock{mutex_};
    limits_ = limits;
    machine_.reconfigured(limits_of_machine(limits));
    carry_out(lock);
    schedule();
}

TXSCOPE_INLINE Pool::~Pool() {
    // It may be gone, if what the pool does by itself has kept the pool until now.
    observer_ = nullptr;
    Lock lock{mutex_};
    machine_.closed();
    carry_out(lock);  // those that are idle own themselves
    stop_openings();
    if (sooner_) (*sooner_)();
}

TXSCOPE_LAZY_INLINE void Pool::act(Lock& lock) noexcept {
    while (machine_.has_actions()) act_once(lock);
    schedule();
}

TXSCOPE_LAZY_INLINE void Pool::act_once(Lock& lock) noexcept {
    using Kind = PoolMachine::Action::Kind;
    IntrusiveList<ConnectionNode> dirty;
    IntrusiveList<ConnectionNode> retired;
    std::size_t openings = 0;
    bool drained = false;
    std::uint64_t generation = 0;
    for (auto next = machine_.next_action(); next.kind != Kind::none; next = machine_.next_action())
        switch (next.kind) {
            case Kind::answer:
                answer(*next.waiter);
                break;
            case Kind::ping:
            case Kind::clean:
                dirty.push_back(*next.connection);
                break;
            case Kind::close:
                if (!machine_.is_closed() && !pooled(*next.connection).connection->broken())
                    ++statistics_.retired;
                retired.push_back(*next.connection);
                break;
            case Kind::drained:
                drained = true;
                break;
            case Kind::open:
                ++openings;
                generation = next.generation;
                break;
            case Kind::none:
                break;
        }
    if (dirty.empty() && retired.empty() && openings == 0 && !drained) return;

    // Coroutines run at once where they may, and come back here; so may an observer.
    lock.unlock();
    while (!retired.empty()) close(pooled(retired.pop_front()));
    IntrusiveList<ConnectionNode> not_cleaned;
    while (!dirty.empty()) {
        ConnectionNode& connection = dirty.pop_front();
        if (!begin_cleaning(pooled(connection))) not_cleaned.push_back(connection);
    }
    for (; openings > 0; --openings) begin_opening(generation);
    lock.lock();
    while (!not_cleaned.empty()) cleaned(pooled(not_cleaned.pop_front()));
    if (drained)
        for (const auto& notify : std::exchange(closers_, {})) notify();
}

TXSCOPE_INLINE void Pool::lend_no_more() noexcept {
    Lock lock{mutex_};
    machine_.closed();
    carry_out(lock);
    stop_openings();
    tell_watches(nullptr);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Pool::close() {
    const auto self = shared_from_this();
    Notification drained{co_await asio::this_coro::executor};
    lend_no_more();
    Lock lock{mutex_};
    if (machine_.size() == 0) co_return;
    closers_.push_back(drained.sender());
    lock.unlock();
    while (!drained.sent()) co_await drained.wait();
}

TXSCOPE_INLINE PoolStatistics Pool::statistics() const {
    const Lock lock{mutex_};
    PoolStatistics now = statistics_;
    now.size = machine_.size();
    now.idle = machine_.idle().size();
    now.waiting = machine_.waiting();
    return now;
}

}  // namespace txscope::detail

#include <txscope/pool/detail/lending.hpp>
#include <txscope/pool/detail/pool_upkeep.hpp>

#endif
