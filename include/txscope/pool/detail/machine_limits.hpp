#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/pool/detail/connection_node.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace txscope::detail {

/// What a `PoolMachine` keeps to.
struct MachineLimits {
    std::size_t connections;
    std::size_t waiters;       ///< Those for whom a connection is being opened not counted.
    std::size_t openings = 4;  ///< At a time.
    std::size_t idle = 0;      ///< That are opened before somebody asks for them.
    std::chrono::milliseconds idle_timeout = std::chrono::milliseconds::max();
    std::chrono::milliseconds ping_after_idle = std::chrono::milliseconds::max();
    std::chrono::milliseconds queue_target = std::chrono::milliseconds::max();

    bool limit_waits() const noexcept { return queue_target != std::chrono::milliseconds::max(); }
    /// Whether `node`, which is idle, may be lent without a ping.
    bool is_fresh(const ConnectionNode& node, Clock::time_point now) const noexcept {
        return !node.may_be_half_open || now < deadline_in(ping_after_idle, node.heard);
    }
    /// When `node`, one of `count` that are idle, has been so for long enough; for ever where it is to
    /// be kept.
    Clock::time_point end_of(const ConnectionNode& node, std::size_t count) const noexcept {
        return count <= idle ? node.expires
                             : std::min(node.expires, deadline_in(idle_timeout, node.heard));
    }
};

}  // namespace txscope::detail
