#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/random.hpp>
#include <txscope/pool/detail/acquire_errors.hpp>
#include <txscope/pool/pool.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>

/// What a pool does by itself: it opens connections, cleans and pings them, and watches those that are
/// idle.
namespace txscope::detail {

TXSCOPE_INLINE PoolEvent Pool::event_of(PoolEvent::Kind kind,
                                        const PooledConnection& connection) noexcept {
    return {.kind = kind,
            .retirement = connection.retirement,
            .server = server_name(connection.connection->native())};
}

TXSCOPE_INLINE void Pool::tell_opened(const PooledConnection& opened,
                                      Clock::time_point begun) const noexcept {
    if (observer_ == nullptr) return;
    PoolEvent event = event_of(PoolEvent::opened, opened);
    event.duration = Clock::now() - begun;
    observer_->notice_pool(event);
}

TXSCOPE_INLINE void Pool::tell_failed(const std::exception_ptr& error,
                                      Clock::time_point begun) const noexcept {
    if (observer_ != nullptr)
        observer_->notice_pool({.kind = PoolEvent::opening_failed,
                                .duration = Clock::now() - begun,
                                .is_transient = reason_of(error) == Reason::transient,
                                .error = error});
}

TXSCOPE_INLINE void Pool::close(PooledConnection& retired) noexcept {
    if (observer_ != nullptr) observer_->notice_pool(event_of(PoolEvent::retired, retired));
    retired.kept.reset();
}

TXSCOPE_LAZY_INLINE void Pool::begin_opening(std::uint64_t generation) noexcept try {
    const auto stop = std::make_shared<asio::cancellation_signal>();
    Clock::time_point deadline;
    {
        const Lock lock{mutex_};
        deadline = deadline_of(limits_.opening_timeout);
        std::erase_if(openings_, [](const auto& each) { return each.expired(); });
        openings_.push_back(stop);
        if (machine_.is_closed()) throw pool_closed();  // since it was decided
    }
    asio::co_spawn(
        opener_, open(weak_from_this(), connector_, deadline, generation),
        asio::bind_cancellation_slot(stop->slot(), [stop](const std::exception_ptr&) {}));
} catch (...) {
    tell_failed(std::current_exception(), Clock::now());
    Lock lock{mutex_};
    fail_opening(std::current_exception());
    carry_out(lock);
}

/// Keeps neither the pool, which may end meanwhile, nor the execution context longer than needed.
TXSCOPE_LAZY_INLINE asio::awaitable<void> Pool::open(std::weak_ptr<Pool> pool,
                                                     std::shared_ptr<Connector> connector,
                                                     Clock::time_point deadline,
                                                     std::uint64_t generation) {
    const auto begun = Clock::now();
    std::exception_ptr error;
    std::shared_ptr<PooledConnection> opened;
    try {
        opened = co_await connector->open(connector->executor(), deadline);
        const Shared self = pool.lock();
        if (self && self->hooks_) {
            co_await self->hooks_->after_connect(opened, deadline);
            if (self->hooks_->before_lend) co_await self->hooks_->before_lend(opened, deadline);
        }
    } catch (...) {
        error = std::current_exception();
    }
    const Shared self = pool.lock();
    if (!self) co_return;
    if (!error) {
        self->tell_opened(*opened, begun);
        co_return self->put(std::move(opened), generation);
    }
    self->tell_failed(error, begun);
    Lock lock{self->mutex_};
    self->fail_opening(error);
    self->carry_out(lock);
    self->schedule();
}

TXSCOPE_INLINE Pool::Reason Pool::reason_of(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const ConnectionFailed& failure) {
        return failure.is_transient() ? Reason::transient : Reason::lasting;
    } catch (...) {
        return Reason::lasting;
    }
}

TXSCOPE_INLINE void Pool::fail_opening(const std::exception_ptr& error) noexcept {
    ++statistics_.failed_openings;
    opening_error_ = error;
    const double chance = static_cast<double>(random_up_to(1000)) / 1000;
    machine_.opening_failed(reason_of(error), Clock::now(), chance);
    tell_watches(error);
}

/// Is told of the openings that end.
class Pool::OpeningWatch : public ListHook {
public:
    OpeningWatch(Pool& pool, const asio::any_io_executor& executor) : pool_{pool}, end_{executor} {
        const Lock lock{pool_.mutex_};
        pool_.opening_watches_.push_back(*this);
    }
    ~OpeningWatch() {
        const Lock lock{pool_.mutex_};
        pool_.opening_watches_.remove(*this);
    }

    /// With the pool's mutex locked.
    void tell(const std::exception_ptr& error) {
        if (error) error_ = error;
        end_.sender()();
    }
    const std::exception_ptr& error() const noexcept { return error_; }
    auto wait(Clock::time_point deadline) { return end_.wait(deadline); }

private:
    Pool& pool_;
    Notification end_;
    std::exception_ptr error_{};
};

TXSCOPE_INLINE void Pool::tell_watches(const std::exception_ptr& error) noexcept {
    for (OpeningWatch& watch : opening_watches_) watch.tell(error);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Pool::warm_up(std::size_t count, OnFailure on_failure) {
    const auto self = shared_from_this();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const auto begun = Clock::now();
    for (;;) {
        OpeningWatch watch{*this, executor};
        Lock lock{mutex_};
        const auto deadline = deadline_in(limits_.acquire_timeout, begun);
        count = std::min(count, limits_.max_size);
        if (machine_.is_closed()) throw pool_closed();
        machine_.wanted(count, Clock::now());
        carry_out(lock);
        if (machine_.size() - machine_.openings() >= count) co_return;
        if (Clock::now() >= deadline)
            std::rethrow_exception(
                nest(why_none_is_open(), AcquireTimeout{"no connection could be opened in time"}));
        const auto until = std::min(deadline, machine_.may_open_at());
        lock.unlock();
        co_await watch.wait(until);
        check_not_cancelled(co_await asio::this_coro::cancellation_state);
        lock.lock();
        const auto error = watch.error();
        lock.unlock();
        if (error && (on_failure == OnFailure::give_up || reason_of(error) == Reason::lasting))
            std::rethrow_exception(error);
    }
}

/// Nobody will be lent what is being opened.
TXSCOPE_INLINE void Pool::stop_openings() noexcept try {
    for (const auto& opening : openings_)
        if (auto stop = opening.lock())
            asio::post(opener_, [stop] { stop->emit(asio::cancellation_type::terminal); });
} catch (const std::bad_alloc&) {  // then they end by themselves, at their deadline
}

/// Puts one that was opened where it belongs.
TXSCOPE_INLINE void Pool::put(std::shared_ptr<PooledConnection> opened,
                              std::uint64_t generation) noexcept {
    Lock lock{mutex_};
    ++statistics_.opened;
    opening_error_ = nullptr;
    PooledConnection& connection = *opened;
    connection.kept = std::move(opened);
    connection.generation = generation;
    // One for which there is a hook is looked at like one that may be half-open.
    connection.may_be_half_open = !connection.connection->is_local() || before_lend();
    connection.heard = connection.connection->heard();
    connection.expires = end_of_life();
    machine_.opened(connection);
    tell_watches(nullptr);
    carry_out(lock);
    if (!machine_.idle().empty()) watch_soon();
}

/// By chance up to a tenth sooner or later than `max_lifetime`, lest those that were opened together end
/// together.
TXSCOPE_INLINE Clock::time_point Pool::end_of_life() noexcept {
    using std::chrono::milliseconds;
    const auto life = limits_.max_lifetime;
    const auto longest = life + std::min(life / 10, milliseconds::max() - life);
    const auto shortest = life - life / 10;
    return deadline_in(shortest + milliseconds{random_up_to((longest - shortest).count())});
}

TXSCOPE_LAZY_INLINE bool Pool::begin_cleaning(PooledConnection& connection) noexcept {
    auto owner = std::move(connection.kept);
    try {
        // Not on a strand of its own: one that is made while the context is destroyed leaks.
        asio::co_spawn(connector_->executor(), clean(shared_from_this(), owner), asio::detached);
        return true;
    } catch (...) {
        connection.connection->close(std::current_exception());
        connection.kept = std::move(owner);
        return false;
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Pool::clean(
    Shared self, std::shared_ptr<PooledConnection> connection) {
    Connection& server = *connection->connection;
    const bool returned = connection->state == ConnectionNode::State::cleaning;
    Lock lock{self->mutex_};
    const Limits limits = self->limits_;
    const bool calls_hooks = self->hooks_ && !self->machine_.is_closed();
    lock.unlock();
    const auto deadline = returned ? self->cleanup_deadline() : deadline_in(limits.ping_timeout);
    const auto silent_at = deadline_in(limits.ping_after_idle, server.heard());
    try {
        if (returned) {
            co_await server.recover(deadline);
        } else if (!server.is_local() && Clock::now() >= silent_at) {
            co_await server.ping(deadline);
            connection->new_round_trips();  // no loan's
        }
    } catch (...) {
        server.close(std::current_exception());
    }
    bool refused = false;
    if (calls_hooks) refused = co_await self->hooks_->refuse(*self->hooks_, connection, deadline);
    lock.lock();
    PooledConnection& cleaned = *connection;
    cleaned.kept = std::move(connection);
    self->cleaned(cleaned, refused);
    self->carry_out(lock);
    if (!self->machine_.idle().empty()) self->watch_soon();
}

/// Or pinged.
TXSCOPE_INLINE void Pool::cleaned(PooledConnection& connection, bool refused) noexcept {
    auto condition = look_at(connection);
    if (condition == Condition::dirty || (refused && condition == Condition::clean))
        condition = Condition::refused;  // dirty it is where a hook has changed it
    if (connection.state == ConnectionNode::State::pinging)
        machine_.pinged(connection, condition);
    else
        machine_.cleaned(connection, condition);
}

/// Sees to it that the machine is told the time when it is to be.
TXSCOPE_LAZY_INLINE void Pool::schedule() noexcept try {
    const auto next = machine_.wake_at();
    // With nothing left to wait for, the wait must not keep the execution context running.
    const bool over = machine_.size() == 0 && next == Clock::time_point::max();
    if (next >= wake_at_ && !(over && keeping_up_)) return;
    wake_at_ = next;
    if (sooner_) (*std::exchange(sooner_, std::nullopt))();
    if (keeping_up_) return;
    asio::co_spawn(connector_->executor(), keep_up(weak_from_this(), connector_->executor()),
                   asio::detached);
    keeping_up_ = true;
} catch (...) {  // no memory for it: the next event is the next occasion
    wake_at_ = Clock::time_point::max();
}

/// Tells the machine the time, as long as it wants to know it.
TXSCOPE_LAZY_INLINE asio::awaitable<void> Pool::keep_up(std::weak_ptr<Pool> pool,
                                                        asio::any_io_executor executor) {
    co_await asio::post(executor, asio::deferred);  // not under the lock of whoever began it
    for (;;) {
        Notification sooner{executor};
        Clock::time_point next;
        {
            const Shared self = pool.lock();
            if (!self) co_return;
            Lock lock{self->mutex_};
            self->machine_.time_passed(Clock::now());
            self->carry_out(lock);
            next = self->wake_at_ = self->machine_.wake_at();
            self->keeping_up_ = next != Clock::time_point::max();
            if (!self->keeping_up_) co_return;
            self->sooner_ = sooner.sender();
        }
        co_await sooner.wait(next);
    }
}

/// Watches what is idle when this turn is over: under load, most of it is lent again by then.
TXSCOPE_LAZY_INLINE void Pool::begin_watching() noexcept try {
    asio::defer(connector_->executor(), [pool = weak_from_this()] {
        if (const auto self = pool.lock()) self->watch_idle();
    });
    watching_soon_ = true;
} catch (const std::bad_alloc&) {  // nobody watches then; whoever is lent one has a look at it
}

/// Arms the reads that notice when a server ends an idle connection.
TXSCOPE_LAZY_INLINE void Pool::watch_idle() {
    const Lock lock{mutex_};
    watching_soon_ = false;
    for (ConnectionNode& node : machine_.idle()) {
        PooledConnection& connection = pooled(node);
        if (std::exchange(connection.watched, true)) continue;
        connection.connection->when_readable(
            [pool = weak_from_this(), watched = std::weak_ptr{connection.kept}] {
                const auto still = watched.lock();
                const auto self = pool.lock();
                if (still && self) self->examine(still);
            });
        // The end may have come with the last answer: it is not announced once more.
        connection.connection->poll();
    }
    schedule();
}

TXSCOPE_INLINE void Pool::examine(const std::shared_ptr<PooledConnection>& watched) {
    Lock lock{mutex_};
    watched->watched = false;
    if (watched->state != ConnectionNode::State::idle) return;  // lent, and this was an answer
    Connection& connection = *watched->connection;
    connection.poll();
    if (!connection.broken()) return watch_soon();
    ++statistics_.discarded;
    machine_.lost(*watched);
    carry_out(lock);
}

}  // namespace txscope::detail
