#pragma once

#include <txscope/net/cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <list>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// Lets the coroutines of one strand through in the order they came, and stops while one is inside.
///
/// `pass()` goes through; `enter()` goes in, and whoever comes later waits until the `Stay` ends.
class Turnstile {
public:
    /// Somebody is inside, until this is destroyed.
    class Stay {
    public:
        Stay() = default;
        Stay(Stay&& other) noexcept : turnstile_{std::exchange(other.turnstile_, nullptr)} {}
        Stay& operator=(Stay&& other) noexcept {
            std::swap(turnstile_, other.turnstile_);
            return *this;
        }
        ~Stay() {
            if (turnstile_ != nullptr) turnstile_->leave();
        }

    private:
        friend Turnstile;
        explicit Stay(Turnstile& turnstile) : turnstile_{&turnstile} {}
        Turnstile* turnstile_ = nullptr;
    };

    Turnstile() = default;
    Turnstile(const Turnstile&) = delete;
    Turnstile& operator=(const Turnstile&) = delete;

    bool free() const noexcept { return !occupied_ && waiting_.empty(); }

    asio::awaitable<void> pass() {
        if (!free()) co_await queue();
        admit_next();
    }

    asio::awaitable<Stay> enter() {
        if (!free()) co_await queue();
        occupied_ = true;
        co_return Stay{*this};
    }

private:
    // A place in the queue; left when the coroutine is admitted, cancelled or destroyed.
    struct Place {
        Turnstile& turnstile;
        asio::steady_timer timer;
        bool admitted = false;
        bool through = false;

        Place(Turnstile& where, const asio::any_io_executor& executor)
            : turnstile{where}, timer{executor, asio::steady_timer::time_point::max()} {
            turnstile.waiting_.push_back(this);
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        ~Place() {
            const bool first = turnstile.waiting_.front() == this;
            turnstile.waiting_.remove(this);
            if (first && !through) turnstile.admit_next();
        }
    };

    asio::awaitable<void> queue() {
        Place place{*this, co_await asio::this_coro::executor};
        while (!place.admitted) {
            co_await place.timer.async_wait(asio::as_tuple(asio::deferred));
            const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
            if (!place.admitted) check_not_cancelled(caller);
        }
        place.through = true;
    }

    void admit_next() {
        if (occupied_ || waiting_.empty()) return;
        waiting_.front()->admitted = true;
        waiting_.front()->timer.cancel();
    }

    void leave() {
        occupied_ = false;
        admit_next();
    }

    std::list<Place*> waiting_;
    bool occupied_ = false;
};

}  // namespace txscope::detail
