#pragma once

#include <txscope/postgres/detail/borrowed_socket.hpp>
#include <txscope/postgres/detail/libpq_version.hpp>

namespace txscope::detail {

/// Asks the server to cancel what `connection` runs; returns when the server has taken the request
/// or it could not be delivered: true, or at `deadline`: false, and it may strike later.
inline asio::awaitable<bool> request_cancel(asio::any_io_executor executor, PGconn* connection,
                                            Clock::time_point deadline) {
    CancelRequest request{connection};
    while (request.phase() == PGRES_POLLING_WRITING || request.phase() == PGRES_POLLING_READING) {
        bool ready = false;
        {
            // Borrowed anew each time: the socket may be another after every poll.
            BorrowedSocket socket{executor, request.socket()};
            ready = co_await socket.ready(request.phase() == PGRES_POLLING_WRITING
                                              ? BorrowedSocket::Base::wait_write
                                              : BorrowedSocket::Base::wait_read,
                                          deadline);
        }
        if (!ready && Clock::now() >= deadline) co_return false;
        if (ready) request.poll();
    }
    co_return true;
}

}  // namespace txscope::detail
