#pragma once

#include <txscope/net/descriptor.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <thread>
#include <utility>

namespace txscope::detail {

/// A request to cancel what a connection runs, on its way over a connection of its own.
///
/// While `phase()` is reading or writing, `socket()` is to become ready for that, and then `poll`
/// to be called.
#ifdef LIBPQ_HAS_ASYNC_CANCEL  // libpq 17

class CancelRequest {
public:
    explicit CancelRequest(PGconn* connection)
        : request_{PQcancelCreate(connection), &PQcancelFinish} {
        if (request_ && PQcancelStart(request_.get()) != 0) phase_ = PGRES_POLLING_WRITING;
    }

    PostgresPollingStatusType phase() const noexcept { return phase_; }
    int socket() const noexcept { return PQcancelSocket(request_.get()); }
    void poll() { phase_ = PQcancelPoll(request_.get()); }

private:
    std::unique_ptr<PGcancelConn, decltype(&PQcancelFinish)> request_;
    PostgresPollingStatusType phase_ = PGRES_POLLING_FAILED;
};

#else

// `PQcancel` blocks until the server closes the request's connection, so it has a thread to itself,
// which may outlive this, and the execution context too: all that the two share is a pipe, whose
// end says that the request is done.
class CancelRequest {
public:
    explicit CancelRequest(PGconn* connection) {
        Native<PGcancel> request{PQgetCancel(connection)};
        int ends[2];
        if (!request || ::pipe2(ends, O_CLOEXEC) != 0) return;
        done_ = Descriptor{ends[0]};
        std::thread{[request = std::move(request), working = Descriptor{ends[1]}] {
            std::array<char, 256> ignored{};
            PQcancel(request.get(), ignored.data(), static_cast<int>(ignored.size()));
        }}.detach();
        phase_ = PGRES_POLLING_READING;
    }

    PostgresPollingStatusType phase() const noexcept { return phase_; }
    int socket() const noexcept { return done_.number; }
    void poll() noexcept { phase_ = PGRES_POLLING_OK; }

private:
    struct Descriptor {
        explicit Descriptor(int owned = -1) noexcept : number{owned} {}
        Descriptor(Descriptor&& other) noexcept : number{std::exchange(other.number, -1)} {}
        Descriptor& operator=(Descriptor&& other) noexcept {
            std::swap(number, other.number);
            return *this;
        }
        ~Descriptor() {
            if (number >= 0) ::close(number);
        }
        int number;
    };

    Descriptor done_;
    PostgresPollingStatusType phase_ = PGRES_POLLING_FAILED;
};

#endif

/// Asks the server to cancel what `connection` runs; returns when the server has taken the request
/// or it could not be delivered: true, or at `deadline`: false, and it may take effect later.
TXSCOPE_LAZY inline asio::awaitable<bool> request_cancel(asio::any_io_executor executor,
                                                         PGconn* connection,
                                                         Clock::time_point deadline) {
    CancelRequest request{connection};
    while (request.phase() == PGRES_POLLING_WRITING || request.phase() == PGRES_POLLING_READING) {
        const auto what = request.phase() == PGRES_POLLING_WRITING
                              ? asio::posix::descriptor_base::wait_write
                              : asio::posix::descriptor_base::wait_read;
        const bool ready = co_await wait_until_ready(executor, request.socket(), what, deadline);
        if (!ready && Clock::now() >= deadline) co_return false;
        if (ready) request.poll();
    }
    co_return true;
}

}  // namespace txscope::detail
