#pragma once

#include <txscope/postgres/detail/borrowed_socket.hpp>
#include <txscope/postgres/detail/native.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/connect_pipe.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/readable_pipe.hpp>
#include <boost/asio/writable_pipe.hpp>

#include <unistd.h>

#include <array>
#include <memory>
#include <thread>
#include <utility>

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
/// itself, which may outlive the wait, and the execution context too: all that the two share is a
/// pipe, whose end says that the request is done.
inline asio::awaitable<void> request_cancel(asio::any_io_executor executor, PGconn* connection,
                                            Clock::time_point deadline) {
    Native<PGcancel> request{PQgetCancel(connection)};
    if (!request) co_return;
    asio::readable_pipe done{executor};
    asio::writable_pipe working{executor};
    asio::connect_pipe(done, working);
    const auto close_pipe = [](const int* end) {
        ::close(*end);
        delete end;
    };
    std::shared_ptr<const int> end{new int{working.release()}, close_pipe};
    std::thread{[request = std::move(request), end = std::move(end)] {
        std::array<char, 256> ignored{};
        PQcancel(request.get(), ignored.data(), static_cast<int>(ignored.size()));
    }}.detach();

    asio::steady_timer timer{executor, deadline};
    std::array<char, 1> nothing{};
    boost::system::error_code outcome = asio::error::operation_aborted;
    while (outcome == asio::error::operation_aborted && Clock::now() < deadline) {
        const auto [order, read_error, size, timer_error] =
            co_await asio::experimental::make_parallel_group(
                done.async_read_some(asio::buffer(nothing), asio::deferred),
                timer.async_wait(asio::deferred))
                .async_wait(asio::experimental::wait_for_one(), asio::deferred);
        outcome = read_error;
    }
}

#endif

}  // namespace txscope::detail
