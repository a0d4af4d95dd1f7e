#pragma once

#include <txscope/net/asio_internals.hpp>

#include <boost/asio/detail/config.hpp>

#if defined(TXSCOPE_KNOWS_ASIO_INTERNALS) && defined(BOOST_ASIO_HAS_EPOLL) && \
    !defined(BOOST_ASIO_HAS_IO_URING_AS_DEFAULT)
#define TXSCOPE_HAS_REACTOR_REGISTRATION

#include <txscope/net/context_life.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/detail/bind_handler.hpp>
#include <boost/asio/detail/fenced_block.hpp>
#include <boost/asio/detail/handler_alloc_helpers.hpp>
#include <boost/asio/detail/handler_work.hpp>
#include <boost/asio/detail/op_queue.hpp>
#include <boost/asio/detail/reactor.hpp>
#include <boost/asio/detail/reactor_op.hpp>
#include <boost/asio/detail/scheduler.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <boost/system/system_error.hpp>

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// A descriptor that Asio's reactor watches until `end()`, so that a wait for it to become readable
/// costs no system call: the way in which Asio itself watches the pipe of its signals.
///
/// The reactor says once that there is something to read (it is edge-triggered), which is remembered
/// until somebody reads. The waits are an atomic list, which is always taken as a whole.
class ReactorRegistration : public boost::intrusive_ref_counter<ReactorRegistration>,
                            private asio::detail::reactor_op {
public:
    using Shared = boost::intrusive_ptr<ReactorRegistration>;

    /// @param descriptor is closed by `end()`, once it is registered
    static Shared make(const asio::any_io_executor& executor, int descriptor) {
        const Shared made{new ReactorRegistration{executor, descriptor}};
        made->begin();
        return made;
    }

    const asio::any_io_executor& executor() const noexcept { return executor_; }
    int descriptor() const noexcept { return descriptor_; }
    ContextLife::State& life() const noexcept { return *life_; }
    /// Whether waits for it belong to `context`.
    bool belongs_to(const asio::execution_context& context) const noexcept {
        return &context == &context_ && !life_->over;
    }

    template <typename Handler>
    void async_wait(Handler& handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        using Operation = WaitOperation<Handler>;
        typename Operation::ptr memory = {std::addressof(handler),
                                          Operation::ptr::allocate(handler), nullptr};
        memory.p = new (memory.v) Operation{handler, executor_};
        if (slot.is_connected())
            slot.assign([self = Shared{this}](asio::cancellation_type) { self->wake(); });
        Wait& wait = *memory.p;
        memory.v = memory.p = nullptr;
        park(wait);
    }

    /// Ends the waits that there are. From any thread.
    void wake() {
        if (!is_wait(waits_.load(std::memory_order_relaxed))) return;
        life_->unless_over([this] { resume(take()); });
    }
    /// The same, and those that come, until somebody reads. Called by what runs in the context.
    void signal() {
        Node* const last = waits_.exchange(&readiness, std::memory_order_acq_rel);
        if (last != &readiness) resume(last);
    }
    /// To be called ahead of reading: what comes from now on is announced again.
    void about_to_read() noexcept {
        Node* expected = &readiness;
        waits_.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel);
    }

    void end() {
        deregister();
        ::close(descriptor_);
    }

private:
    struct Node {
        Node* next;
    };
    // In the list's place: there is something that nobody has read. Whoever waits is told, and not only
    // the first: who was told may have had no use for it.
    static inline Node readiness{nullptr};

    struct Wait : asio::detail::scheduler_operation, Node {
        explicit Wait(func_type complete_or_destroy)
            : scheduler_operation{complete_or_destroy}, Node{nullptr} {}
    };

    // Written as Asio writes its own operations.
    template <typename Handler>
    struct WaitOperation : Wait {
        using Work = asio::detail::handler_work<Handler, asio::any_io_executor>;
        BOOST_ASIO_DEFINE_HANDLER_PTR(WaitOperation);

        WaitOperation(Handler& completion, const asio::any_io_executor& executor)
            : Wait{&WaitOperation::complete_or_destroy},
              handler{std::move(completion)},
              work{handler, executor} {}

        static void complete_or_destroy(void* owner, asio::detail::scheduler_operation* base,
                                        const boost::system::error_code&, std::size_t) {
            auto* const self = static_cast<WaitOperation*>(base);
            ptr memory = {std::addressof(self->handler), self, self};
            Work left{std::move(self->work)};
            // The memory may belong to the handler, and is free again when the handler runs.
            asio::detail::binder0<Handler> completion{0, std::move(self->handler)};
            memory.h = std::addressof(completion.handler_);
            memory.reset();
            if (owner == nullptr) return;
            const asio::detail::fenced_block fence{asio::detail::fenced_block::half};
            left.complete(completion, completion.handler_);
        }

        Handler handler;
        Work work;
    };

    ReactorRegistration(const asio::any_io_executor& executor, int descriptor)
        : reactor_op{boost::system::error_code{}, &ReactorRegistration::on_readiness,
                     &ReactorRegistration::on_removal},
          executor_{executor},
          context_{asio::query(executor, asio::execution::context)},
          scheduler_{asio::use_service<asio::detail::scheduler>(context_)},
          reactor_{asio::use_service<asio::detail::reactor>(context_)},
          life_{ContextLife::of(context_)},
          descriptor_{descriptor} {}

    void begin() {
        reactor_.init_task();
        intrusive_ptr_add_ref(this);  // for the reactor, until `on_removal`
        const int error = reactor_.register_internal_descriptor(asio::detail::reactor::read_op,
                                                                descriptor_, data_, this);
        if (error == 0) return;
        deregister();
        throw boost::system::system_error{error, boost::system::system_category(),
                                          "a connection's socket cannot be watched"};
    }

    void deregister() {
        life_->unless_over([this] {
            resume(take());
            reactor_.deregister_internal_descriptor(descriptor_, data_);
            reactor_.cleanup_descriptor_data(data_);
        });
    }

    static status on_readiness(reactor_op* base) {
        static_cast<ReactorRegistration*>(base)->signal();
        return not_done;  // and so it stays registered
    }
    // By `end()` or with the context, whose waits are destroyed.
    static void on_removal(void*, asio::detail::scheduler_operation* base,
                           const boost::system::error_code&, std::size_t) {
        const Shared self{static_cast<ReactorRegistration*>(base), false};
        Operations destroyed;
        put_in_order(self->take(), destroyed);
    }

    static bool is_wait(const Node* node) noexcept { return node != nullptr && node != &readiness; }

    void park(Wait& wait) {
        scheduler_.work_started();
        Node* first = waits_.load(std::memory_order_acquire);
        while (first != &readiness) {
            wait.next = first;
            if (waits_.compare_exchange_weak(first, &wait, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
                return;
        }
        scheduler_.post_deferred_completion(&wait);
    }

    // All that wait, the last one first; null for none.
    Node* take() {
        Node* first = waits_.load(std::memory_order_acquire);
        while (is_wait(first))
            if (waits_.compare_exchange_weak(first, nullptr, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
                return first;
        return nullptr;
    }
    using Operations = asio::detail::op_queue<asio::detail::scheduler_operation>;
    // Whatever stays in there is destroyed.
    static void put_in_order(Node* last, Operations& operations) {
        Node* first = nullptr;
        while (last != nullptr) {
            Node* const before = std::exchange(last->next, first);
            first = std::exchange(last, before);
        }
        for (; first != nullptr; first = first->next) operations.push(static_cast<Wait*>(first));
    }
    void resume(Node* last) {
        if (last == nullptr) return;
        Operations operations;
        put_in_order(last, operations);
        scheduler_.post_deferred_completions(operations);
    }

    const asio::any_io_executor executor_;
    asio::execution_context& context_;
    asio::detail::scheduler& scheduler_;
    asio::detail::reactor& reactor_;
    const ContextLife::Shared life_;  // newer than the reactor: see there
    asio::detail::reactor::per_descriptor_data data_{};
    const int descriptor_;
    std::atomic<Node*> waits_ = nullptr;
};

}  // namespace txscope::detail

#endif
