#pragma once

#include <chrono>
#include <string>

namespace txscope {

/// What the handler of `AsyncSessionFactory::listen` is told.
struct Notification {
    enum Kind {
        subscribed,  ///< What is notified from now on will be told; what was before, maybe not. The
                     ///< first, and again whenever the connection was lost and another one listens.
        received,    ///< `NOTIFY` has been committed.
    };
    Kind kind;
    std::string channel{};  ///< Of `received`.
    std::string payload{};  ///< Of `received`; empty for `NOTIFY` without one.
    int process = 0;        ///< Of `received`: the server process that has notified.
};

/// How `AsyncSessionFactory::listen` keeps its connection.
struct ListenOptions {
    /// A server that has said nothing for so long is asked to. Where no answer comes within
    /// `PoolOptions::ping_timeout`, as where a network drops what is sent without a word, the
    /// connection is lost.
    std::chrono::milliseconds heartbeat = std::chrono::seconds{30};
    /// The pause before the n-th attempt to listen again is random between 0 and
    /// min(`max_backoff`, `initial_backoff` · 2ⁿ⁻¹).
    std::chrono::milliseconds initial_backoff{100};
    std::chrono::milliseconds max_backoff = std::chrono::seconds{5};
};

}  // namespace txscope
