#pragma once

#include <boost/asio/execution_context.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <atomic>
#include <mutex>

namespace txscope::detail {

namespace asio = boost::asio;

/// Whether the destruction of an execution context has begun.
///
/// From then on Asio goes through the context's timers and descriptors without a lock, since nobody
/// uses what is being destroyed. Whoever may be on another thread looks here first.
class ContextLife : public asio::execution_context::service {
public:
    struct State : boost::intrusive_ref_counter<State> {
        std::mutex mutex;  ///< While it is held, the context's destruction does not begin.
        std::atomic<bool> over = false;  ///< Leave the context alone.

        /// Does what touches the context, unless that is over.
        template <typename Action>
        void unless_over(Action action) {
            const std::lock_guard lock{mutex};
            if (!over) action();
        }
    };

    using Shared = boost::intrusive_ptr<State>;

    /// That of `context`, which it outlives.
    ///
    /// A context ends its newest service first: what is used under the lock must be there already,
    /// so make the timer or the descriptor before.
    static Shared of(asio::execution_context& context) {
        return asio::use_service<ContextLife>(context).state_;
    }

    explicit ContextLife(asio::execution_context& context) : service{context} {}

    using key_type = ContextLife;
    inline static asio::execution_context::id id;

private:
    void shutdown() noexcept override {
        const std::lock_guard lock{state_->mutex};
        state_->over = true;
    }

    const Shared state_{new State};
};

}  // namespace txscope::detail
