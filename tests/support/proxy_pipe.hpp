#pragma once

#include "support/wire.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace support {

/// One direction of a proxied connection: what came in, and where it is on its way out.
struct ProxyPipe {
    using Clock = std::chrono::steady_clock;

    ProxyPipe(const boost::asio::any_io_executor& executor, bool typed)
        : framer{typed}, timer{executor} {}

    /// Let `bytes` go out, `delay` from now and after all that went before.
    void put(std::string_view bytes, std::chrono::milliseconds delay) {
        if (delay.count() == 0 && delayed.empty())
            request += bytes;
        else
            delayed.emplace_back(Clock::now() + delay, bytes);
    }

    /// What was delayed until `now` is delayed no more.
    void release(Clock::time_point now) {
        for (; !delayed.empty() && delayed.front().first <= now; delayed.pop_front())
            request += delayed.front().second;
    }

    /// Nothing is under way.
    bool idle() const { return !writing && request.empty(); }

    /// The reader does not keep up: no more should be read for it.
    bool congested() const { return request.size() > (1 << 20); }

    wire::Framer framer;
    std::string held;  ///< Has been understood, but is not to pass before a `resume`.
    std::deque<std::pair<Clock::time_point, std::string>> delayed;
    std::string request;
    std::string in_flight;  ///< Being written.
    boost::asio::steady_timer timer;
    bool reading = false;
    bool writing = false;
    bool stalled = false;
    bool swallowed = false;
};

}  // namespace support
