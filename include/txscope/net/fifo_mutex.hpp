#pragma once

#include <txscope/core/config.hpp>

#include <boost/asio/awaitable.hpp>

#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// A mutex for the coroutines of one strand, who get it in the order in which they asked. A wait ends
/// with the caller's cancellation, unless that must not interrupt it (`throw_if_cancelled(false)`).
class FifoMutex {
public:
    /// The mutex is locked until this is destroyed.
    class Lock {
    public:
        Lock() = default;
        Lock(Lock&& other) noexcept : mutex_{std::exchange(other.mutex_, nullptr)} {}
        Lock& operator=(Lock&& other) noexcept {
            std::swap(mutex_, other.mutex_);
            return *this;
        }
        ~Lock() {
            if (mutex_ != nullptr) mutex_->unlock();
        }

    private:
        friend FifoMutex;
        explicit Lock(FifoMutex& mutex) : mutex_{&mutex} {}
        FifoMutex* mutex_ = nullptr;
    };

    FifoMutex() = default;
    FifoMutex(const FifoMutex&) = delete;
    FifoMutex& operator=(const FifoMutex&) = delete;

    /// Whether nobody has it or waits for it.
    bool free() const noexcept { return !locked_ && first_ == nullptr; }

    TXSCOPE_LAZY asio::awaitable<Lock> lock();
    /// Waits until whoever asked before is through, and keeps nobody waiting.
    TXSCOPE_LAZY asio::awaitable<void> pass();

private:
    struct Waiter;

    TXSCOPE_LAZY asio::awaitable<void> wait();
    void admit_next();
    void unlock() {
        locked_ = false;
        admit_next();
    }

    Waiter* first_ = nullptr;  // who has waited longest
    Waiter** end_ = &first_;   // where the next one is put
    bool locked_ = false;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/net/cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

namespace txscope::detail {

/// A place in the queue; left when the coroutine is admitted, cancelled or destroyed.
struct FifoMutex::Waiter {
    FifoMutex& mutex;
    asio::steady_timer timer;
    Waiter* next = nullptr;
    bool admitted = false;
    bool through = false;

    Waiter(FifoMutex& awaited, const asio::any_io_executor& executor)
        : mutex{awaited}, timer{executor, asio::steady_timer::time_point::max()} {
        *mutex.end_ = this;
        mutex.end_ = &next;
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() {
        Waiter** place = &mutex.first_;
        while (*place != this) place = &(*place)->next;
        *place = next;
        if (next == nullptr) mutex.end_ = place;
        if (place == &mutex.first_ && !through) mutex.admit_next();
    }
};

TXSCOPE_LAZY_INLINE asio::awaitable<FifoMutex::Lock> FifoMutex::lock() {
    if (!free()) co_await wait();
    locked_ = true;
    co_return Lock{*this};
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> FifoMutex::pass() {
    if (!free()) co_await wait();
    admit_next();
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> FifoMutex::wait() {
    Waiter waiter{*this, co_await asio::this_coro::executor};
    const bool interruptible = co_await asio::this_coro::throw_if_cancelled();
    while (!waiter.admitted) {
        co_await waiter.timer.async_wait(asio::as_tuple(asio::deferred));
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        if (!waiter.admitted && interruptible) check_not_cancelled(caller);
    }
    waiter.through = true;
}

TXSCOPE_INLINE void FifoMutex::admit_next() {
    if (locked_ || first_ == nullptr) return;
    first_->admitted = true;
    first_->timer.cancel();
}

}  // namespace txscope::detail

#endif
