#pragma once

#include <txscope/postgres/detail/borrowed_socket.hpp>
#include <txscope/postgres/detail/native.hpp>
#include <txscope/postgres/detail/notification.hpp>

#include <array>
#include <thread>

namespace txscope::detail {

#ifdef LIBPQ_HAS_ASYNC_CANCEL  // libpq 17 and later

/// Asks the server to cancel what `connection` runs; returns when the server has taken the request,
/// or it could not be delivered, or at `deadline`.
inline asio::awaitable<void> request_cancel(asio::any_io_executor executor, PGconn* connection,
                                            Clock::time_point deadline) {
    const Native<PGcancelConn> request{PQcancelCreate(connection)};
    if (!request || PQcancelStart(request.get()) == 0) co_return;
    auto phase = PGRES_POLLING_WRITING;
    while (phase == PGRES_POLLING_WRITING || phase == PGRES_POLLING_READING) {
        bool ready = false;
        {
            BorrowedSocket socket{executor, PQcancelSocket(request.get())};
            ready = co_await socket.ready(phase == PGRES_POLLING_WRITING
                                              ? BorrowedSocket::Base::wait_write
                                              : BorrowedSocket::Base::wait_read,
                                          deadline);
        }
        if (!ready && Clock::now() >= deadline) co_return;
        if (ready) phase = PQcancelPoll(request.get());
    }
}

#else

/// Asks the server to cancel what `connection` runs; returns when the server has taken the request,
/// or it could not be delivered, or at `deadline`.
///
/// `PQcancel` blocks until the server closes the request's own connection, so it has a thread to
/// itself, which may outlive the wait: it shares nothing with it but the notification.
inline asio::awaitable<void> request_cancel(asio::any_io_executor executor, PGconn* connection,
                                            Clock::time_point deadline) {
    Native<PGcancel> request{PQgetCancel(connection)};
    if (!request) co_return;
    Notification done{executor};
    std::thread{[request = std::move(request), notify = done.sender()] {
        std::array<char, 256> ignored{};
        PQcancel(request.get(), ignored.data(), static_cast<int>(ignored.size()));
        notify();
    }}.detach();
    while (!done.sent() && Clock::now() < deadline) co_await done.wait(deadline);
}

#endif

}  // namespace txscope::detail
