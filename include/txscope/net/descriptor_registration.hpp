#pragma once

#include <txscope/net/context_life.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associator.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/query.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <boost/system/error_code.hpp>

#include <atomic>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// A descriptor that is registered with Asio's reactor anew for each wait: what
/// `ReactorRegistration` does, by means that every Asio has.
class DescriptorRegistration : public boost::intrusive_ref_counter<DescriptorRegistration> {
public:
    using Shared = boost::intrusive_ptr<DescriptorRegistration>;

    static Shared make(const asio::any_io_executor& executor, int descriptor) {
        return new DescriptorRegistration{executor, descriptor};
    }

    const asio::any_io_executor& executor() const noexcept { return executor_; }
    int descriptor() { return descriptor_.native_handle(); }
    ContextLife::State& life() const noexcept { return *life_; }
    bool belongs_to(const asio::execution_context& context) noexcept {
        return &context == &context_ && !life_->over;
    }

    template <typename Handler>
    void async_wait(Handler& handler) {
        descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                               Completion<Handler>{std::move(handler), this});
        if (signalled_) wake();
    }
    void wake() {
        life_->unless_over([this] {
            boost::system::error_code ignored;
            descriptor_.cancel(ignored);
        });
    }
    void about_to_read() noexcept { signalled_ = false; }
    void signal() {
        signalled_ = true;
        wake();
    }
    void end() {
        life_->unless_over([this] {
            boost::system::error_code ignored;
            descriptor_.close(ignored);
        });
    }

    /// Whoever waits looks again, whatever the error. Until then Asio's cancellation needs the
    /// descriptor, which therefore lives that long.
    template <typename Handler>
    struct Completion {
        void operator()(boost::system::error_code) {
            auto slot = asio::get_associated_cancellation_slot(handler);
            if (slot.is_connected()) slot.clear();
            std::move(handler)();
        }

        Handler handler;
        Shared registration;
    };

private:
    DescriptorRegistration(const asio::any_io_executor& executor, int descriptor)
        : executor_{executor},
          descriptor_{executor, descriptor},
          context_{asio::query(executor, asio::execution::context)},
          life_{ContextLife::of(context_)} {}

    const asio::any_io_executor executor_;
    asio::posix::stream_descriptor descriptor_;
    asio::execution_context& context_;
    const ContextLife::Shared life_;  // newer than the descriptor: see there
    std::atomic<bool> signalled_ = false;
};

}  // namespace txscope::detail

/// The handler within says which executor, allocator and cancellation slot are its.
template <template <typename, typename> class Associator, typename Handler, typename Candidate>
struct boost::asio::associator<
    Associator, txscope::detail::DescriptorRegistration::Completion<Handler>, Candidate>
    : Associator<Handler, Candidate> {
    using Completion = txscope::detail::DescriptorRegistration::Completion<Handler>;

    static auto get(const Completion& completion) noexcept {
        return Associator<Handler, Candidate>::get(completion.handler);
    }
    static auto get(const Completion& completion, const Candidate& candidate) noexcept {
        return Associator<Handler, Candidate>::get(completion.handler, candidate);
    }
};
