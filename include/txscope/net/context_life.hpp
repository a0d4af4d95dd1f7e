#pragma once

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <mutex>

namespace txscope::detail {

namespace asio = boost::asio;

/// Whether the destruction of an execution context has begun.
///
/// From then on Asio goes through the context's timers and descriptors without a lock, since nobody
/// uses what is being destroyed. Whoever may be on another thread looks here first.
class ContextLife : public asio::execution_context::service {
public:
    struct State {
        std::mutex mutex;   ///< While it is held, the context's destruction does not begin.
        bool over = false;  ///< Leave the context alone.
    };

    /// That of the context of `timer`, which it outlives.
    ///
    /// Asked of a timer, not of an executor: a context ends its newest service first, so that only
    /// what there is already may be used under the lock.
    static std::shared_ptr<State> of(asio::steady_timer& timer) {
        auto& context = asio::query(timer.get_executor(), asio::execution::context);
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

    const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace txscope::detail
