#pragma once

#include <txscope/net/deadline.hpp>
#include <txscope/net/descriptor.hpp>
#include <txscope/net/reactor_registration.hpp>
#ifndef TXSCOPE_HAS_REACTOR_REGISTRATION
#include <txscope/net/descriptor_registration.hpp>
#endif

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/steady_timer.hpp>

#include <unistd.h>

#include <memory>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// A socket that somebody else owns and reads, and that Asio waits on, through a descriptor of its
/// own.
///
/// A wait may end for many reasons (readiness, `wake`, the time, a cancellation of any waiter): the
/// waiter looks again at what it waits for. Read until nothing is left before waiting: what is left
/// over is not announced again.
///
/// **Destruction**: ends the waits.
template <typename Registration>
class BasicSocketWatcher {
public:
    BasicSocketWatcher(const asio::any_io_executor& executor, int socket)
        : registration_{register_duplicate(executor, socket)} {}
    BasicSocketWatcher(const BasicSocketWatcher&) = delete;
    BasicSocketWatcher& operator=(const BasicSocketWatcher&) = delete;
    ~BasicSocketWatcher() { end(); }

    asio::any_io_executor get_executor() const { return registration_->executor(); }

    /// From now on waits belong to the execution context of `executor`. Ends those under way, unless
    /// it is the same.
    void move_to(const asio::any_io_executor& executor) {
        if (registration_->belongs_to(asio::query(executor, asio::execution::context))) return;
        auto next = register_duplicate(executor, registration_->descriptor());
        end();
        registration_ = std::move(next);
    }

    /// Until there is something to read: an operation that completes with `void()`. Costs no system
    /// call and no timer: this is what every statement waits in.
    template <typename Token = asio::deferred_t>
    auto async_wait_readable(Token&& token = {}) {
        return asio::async_initiate<Token, void()>(
            [](auto handler, Registration* registration) { registration->async_wait(handler); },
            token, registration_.get());
    }
    /// The same, until `deadline`.
    asio::awaitable<void> wait_readable(Clock::time_point deadline);

    /// Once the socket takes something, ends the waits that there are, or the next one.
    void wake_when_writable();

    /// To be called ahead of reading: until then, whoever waits is told that there is something to read.
    void about_to_read() noexcept { registration_->about_to_read(); }

    /// Ends the waits that there are. From any thread.
    void wake() { registration_->wake(); }

private:
    using Shared = typename Registration::Shared;

    /// Tells whoever waits, at the end of another wait that was not broken off.
    struct Signal {
        void operator()(boost::system::error_code error) {
            other.reset();  // first, so that who is told may begin it again
            if (!error) waited->signal();
        }
        Shared waited;
        std::shared_ptr<asio::posix::stream_descriptor> other{};
    };

    static Shared register_duplicate(const asio::any_io_executor& executor, int socket) {
        const int copy = duplicate_descriptor(socket);
        try {
            return Registration::make(executor, copy);
        } catch (...) {
            ::close(copy);
            throw;
        }
    }
    void end() {
        registration_->life().unless_over([this] {
            if (const auto waiting = writable_.lock()) waiting->cancel();
        });
        registration_->end();
    }

    Shared registration_;
    std::weak_ptr<asio::posix::stream_descriptor> writable_;  // while it is waited for
};

#ifdef TXSCOPE_HAS_REACTOR_REGISTRATION
using SocketWatcher = BasicSocketWatcher<ReactorRegistration>;
#else
using SocketWatcher = BasicSocketWatcher<DescriptorRegistration>;
#endif

template <typename Registration>
asio::awaitable<void> BasicSocketWatcher<Registration>::wait_readable(Clock::time_point deadline) {
    asio::steady_timer timer{registration_->executor(), deadline};
    timer.async_wait(Signal{registration_});  // which may tell before the wait has begun
    co_await async_wait_readable();
}

template <typename Registration>
void BasicSocketWatcher<Registration>::wake_when_writable() {
    if (!writable_.expired()) return;
    const auto descriptor =
        std::make_shared<asio::posix::stream_descriptor>(registration_->executor());
    descriptor->assign(duplicate_descriptor(registration_->descriptor()));
    writable_ = descriptor;
    descriptor->async_wait(asio::posix::descriptor_base::wait_write,
                           Signal{registration_, descriptor});
}

}  // namespace txscope::detail
