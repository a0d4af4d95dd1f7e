#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/socket_watcher.hpp>
#include <txscope/postgres/detail/statement_pipeline.hpp>
#include <txscope/postgres/detail/transport.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

namespace txscope {

namespace asio = boost::asio;

/// A connection to PostgreSQL that never blocks: libpq opens it, and then our own protocol is spoken
/// over its socket, with Asio waiting.
///
/// For the layers that are built on it, rather than for programs. Obtained by `open`, closed by its
/// destructor.
///
/// ```cpp
/// auto connection = co_await Connection::open(executor, "postgresql:///app", 256, deadline);
/// auto response = std::make_shared<detail::Response>();
/// connection->submit({{Statement{"SELECT 1"}, response}});
/// co_await connection->answered(response);    // response->result, or response->error
/// ```
///
/// **Threads**: none of its own. Used from one strand at a time.
///
/// **Destruction**: closes the socket; the server rolls back what was open. Waits in progress end,
/// with their response answered by an error.
class Connection {
public:
    using Clock = std::chrono::steady_clock;
    using Batch = detail::Batch;
    using SharedResponse = std::shared_ptr<detail::Response>;

    /// Connects to the first server of `conninfo` (URI or keywords) that takes us, by `deadline`.
    ///
    /// Several hosts and `target_session_attrs` mean what libpq says they mean; `connect_timeout`
    /// (or `PGCONNECT_TIMEOUT`) applies to each address. Host names are looked up without blocking,
    /// except by libpq in a service file that the string names (`service=`).
    ///
    /// Settings that change how values and SQL are written or read are the same in every connection:
    /// what differs is set, in a round trip that is taken anyway, or else the opening fails.
    ///
    /// @param naming how many prepared statements to keep, and what it has in common with others
    /// @throws ConnectionFailed
    TXSCOPE_LAZY static asio::awaitable<std::unique_ptr<Connection>> open(
        asio::any_io_executor executor, std::string conninfo, detail::StatementNaming naming,
        Clock::time_point deadline);

    Connection(const asio::any_io_executor& executor, detail::Native<PGconn> native,
               detail::StatementNaming naming);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// See `protocol::Pipeline`.
    void stop_pipelining() noexcept { statements_.stop_pipelining(); }
    /// An empty batch, with memory of an earlier one.
    Batch take_spare_batch() noexcept { return statements_.take_spare_batch(); }
    void keep_batch(Batch&& emptied) noexcept { statements_.keep_batch(std::move(emptied)); }

    /// Adds statements and one Sync to what is sent; whoever waits next sends it. Leaves `batch` empty,
    /// with memory for the next one.
    void submit(Batch&& batch) { statements_.submit(std::move(batch)); }
    /// Sends what is left to send; false when the socket takes no more for now.
    bool flush();

    /// A response for what is to be submitted. `where` is the place that its errors name.
    SharedResponse make_response(std::source_location where = {}) {
        return statements_.make_response(where);
    }

    enum class Interruption {
        none,  ///< Whatever happens to the caller, who must not be interruptible.
        allowed,
    };
    /// Sends what is to be sent, and waits until `response` is done, `deadline` has passed or, if that
    /// is allowed, the caller is cancelled. Returns whether it is done.
    TXSCOPE_LAZY asio::awaitable<bool> answered(
        SharedResponse response, Clock::time_point deadline = Clock::time_point::max(),
        Interruption interruption = Interruption::allowed);
    /// Begins what `answered` does, and says whether only reading is left of it. Where the answer comes
    /// in one piece, its coroutine is then saved by `when_readable`, followed by `poll` if `response`
    /// is not done by then. The connection must outlive that.
    bool only_to_read(const detail::Response& response, const asio::cancellation_state& caller) {
        // Once it is done, the connection may be somebody else's.
        return !response.done && caller.cancelled() == asio::cancellation_type::none && flush() &&
               !response.done;
    }
    /// Calls `handler()` once, when there is something to read or somebody has ended the waits.
    template <typename Handler>
    void when_readable(Handler handler) {
        watcher_.async_wait_readable(std::move(handler));
    }

    /// The same, until `deadline`.
    TXSCOPE_LAZY asio::awaitable<void> readable(Clock::time_point deadline);
    /// Who is told of notices and notifications, from whatever reads them.
    detail::UnaskedHandlers& unasked() noexcept { return statements_.unasked(); }

    /// From now on whoever waits does so on the execution context of `executor`: destroying that one
    /// destroys the wait. Nothing is awaited meanwhile.
    void move_to(const asio::any_io_executor& executor) { watcher_.move_to(executor); }

    /// Makes the server stop working on `response`, and waits until it has. What is ahead of it in
    /// its batch may be hit in its place: what the server works on shows at the batch's Sync only.
    /// The caller must not be interruptible (`throw_if_cancelled(false)`). Closes the connection at
    /// `deadline`.
    TXSCOPE_LAZY asio::awaitable<void> cancel(SharedResponse response, Clock::time_point deadline);

    /// Waits for the answer whatever happens to the caller, who must not be interruptible. Closes
    /// the connection at `deadline`.
    TXSCOPE_LAZY asio::awaitable<void> settle(SharedResponse response, Clock::time_point deadline);

    /// Brings the connection back to where nothing runs and no transaction is open, or closes it; so
    /// where whoever awaited `cancel` was destroyed. The caller must not be interruptible.
    TXSCOPE_LAZY asio::awaitable<void> recover(Clock::time_point deadline);

    /// Waits until the server has answered to nothing; closes the connection at `deadline`. The caller
    /// must not be interruptible.
    TXSCOPE_LAZY asio::awaitable<void> ping(Clock::time_point deadline) {
        return settle(submit_own(Statement{""}), deadline);
    }

    /// Whether the statement that failed last may have failed because it was stale; where `response`
    /// is given, whether that is all that it asked for, so that it can be asked again.
    bool may_be_stale(const detail::Response* response = nullptr) const noexcept {
        const auto* failed = statements_.failed();
        return failed && idle() && (!response || failed->alone.get() == response);
    }
    /// That statement, if it was stale: then nothing that was prepared before is used again. The
    /// caller must not be interruptible. Closes the connection at `deadline`.
    TXSCOPE_LAZY asio::awaitable<std::optional<detail::FailedStatement>> find_stale(
        Clock::time_point deadline);

    /// Gives it up: all that is outstanding is answered with `reason`.
    void close(std::exception_ptr reason) noexcept;
    /// The same, with `ConnectionLost` for that reason.
    void close(const char* reason) noexcept;

    /// Looks at the socket without waiting; notices a server that has gone away.
    void poll();
    /// The same, unless the server has just answered: that would be a system call for nothing.
    void poll_unless_heard_within(Clock::duration time, Clock::time_point now = Clock::now()) {
        if (now - heard_ > time) poll();
    }
    /// When the last answer came.
    Clock::time_point heard() const noexcept { return heard_; }

    bool broken() const noexcept { return statements_.broken(); }
    /// Why it is broken.
    std::exception_ptr failure() const noexcept { return statements_.failure(); }
    /// Nothing outstanding and no transaction open.
    bool idle() const noexcept { return !broken() && statements_.idle() && !in_transaction(); }
    /// The same, and as it was opened: ready for somebody else.
    bool clean() const noexcept {
        return idle() && !statements_.session_changed() && cancel_requests_ == 0;
    }
    /// Whether DISCARD ALL has undone what the session had at the last `keep_session`, which makes what
    /// it has part of how it was opened.
    bool session_reset() const noexcept { return statements_.session_reset(); }
    void keep_session() noexcept { statements_.keep_session(); }
    /// It may become clean again: see `recover`.
    bool dirty() const noexcept { return !broken() && !clean(); }
    bool in_transaction() const noexcept {
        return statements_.transaction_status() != protocol::TransactionStatus::idle;
    }
    /// The round trips, as long as nobody submits two batches at once; those of opening it not counted.
    std::uint64_t round_trips() const noexcept { return statements_.batches() - opening_trips_; }
    /// The statement that was submitted last, but for what goes along with one of the library's; until
    /// it is set to nothing.
    detail::LastSql& last_sql() noexcept { return statements_.last_sql(); }
    /// Whether the server is on this machine, over a Unix socket, whose other end cannot be gone without
    /// this one's knowing.
    bool is_local() const noexcept {
        return PQhostaddr(native()) == nullptr || *PQhostaddr(native()) == '\0';
    }
    /// As 160004 for 16.4.
    int server_version() const noexcept { return PQserverVersion(native()); }
    /// A setting that the server reports whenever it changes, such as `application_name`; empty where
    /// it does not report it (PostgreSQL manual, "Asynchronous Operations" of the protocol).
    std::string_view parameter(const char* name) const noexcept {
        if (const std::string* const reported = statements_.parameter(name)) return *reported;
        const char* const value = PQparameterStatus(native(), name);
        return value != nullptr ? value : std::string_view{};
    }
    /// Whether its server was promoted, or has begun or ceased to take transactions for read-only by
    /// itself, since the connection was opened: as far as its last answer tells.
    bool server_changed_role() const noexcept;
    PGconn* native() const noexcept { return transport_.native(); }

private:
    // Reads what has arrived. True when that completed a response.
    bool receive();
    [[gnu::cold]] void lose();
    // Interrupts the server until `response` is done: while it works on it, or on what is ahead.
    enum class Interrupt {
        it,
        what_is_ahead
    };
    TXSCOPE_LAZY asio::awaitable<void> interrupt(Interrupt what, SharedResponse response,
                                                 Clock::time_point deadline);
    template <typename... Statements>
    SharedResponse submit_own(Statements&&... statements);
    Statement fix_settings() const;

    detail::Transport transport_;
    detail::StatementPipeline statements_;
    detail::SocketWatcher watcher_;
    Clock::time_point heard_{};  // when the last answer came
    std::uint64_t opening_trips_ = 0;
    int cancel_requests_ = 0;  // that may take effect yet; those left behind stay counted
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/connect.hpp>
#include <txscope/postgres/detail/session_settings.hpp>

#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <new>

namespace txscope {

TXSCOPE_LAZY_INLINE asio::awaitable<std::unique_ptr<Connection>> Connection::open(
    asio::any_io_executor executor, std::string conninfo, detail::StatementNaming naming,
    Clock::time_point deadline) {
    try {
        for (bool again = false;; again = true) {
            auto native = co_await detail::connect(executor, conninfo, deadline);
            auto connection = std::make_unique<Connection>(executor, std::move(native), naming);
            const SharedResponse fixed = connection->submit_own(connection->fix_settings());
            const bool answered = co_await connection->answered(fixed, deadline);
            if (!answered) throw detail::no_answer(detail::current_server(connection->native()));
            if (connection->broken() && !again) continue;  // nobody has missed anything of it
            if (const auto failure = detail::settings_failure(*fixed))
                std::rethrow_exception(failure);
            connection->opening_trips_ = connection->round_trips();
            co_return connection;
        }
    } catch (const boost::system::system_error& error) {
        if (error.code() == asio::error::operation_aborted) throw;
        // No descriptor, or no thread to look a name up.
        throw ConnectionFailed{error.what(), {.is_transient = true}};
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> Connection::readable(Clock::time_point deadline) {
    return watcher_.wait_readable(deadline);
}

TXSCOPE_INLINE Connection::Connection(const asio::any_io_executor& executor,
                                      detail::Native<PGconn> native, detail::StatementNaming naming)
    : transport_{std::move(native)},
      statements_{naming},
      watcher_{executor, PQsocket(transport_.native())} {}

TXSCOPE_INLINE Connection::~Connection() {
    if (!broken()) close("the connection was closed");
}

TXSCOPE_INLINE void Connection::close(std::exception_ptr reason) noexcept {
    statements_.fail(std::move(reason));
    watcher_.wake();
}

TXSCOPE_INLINE void Connection::close(const char* reason) noexcept {
    try {
        close(std::make_exception_ptr(ConnectionLost{reason}));
    } catch (const std::bad_alloc&) {
        close(std::current_exception());
    }
}

TXSCOPE_INLINE bool Connection::server_changed_role() const noexcept {
    const auto has_changed = [this](const char* name) {
        const std::string* const now = statements_.parameter(name);
        const char* const before = now != nullptr ? PQparameterStatus(native(), name) : nullptr;
        return before != nullptr && *now != before;
    };
    return has_changed("in_hot_standby") || has_changed("default_transaction_read_only");
}

TXSCOPE_INLINE void Connection::lose() {
    statements_.fail(std::make_exception_ptr(ConnectionLost{transport_.error()}));
}

TXSCOPE_INLINE void Connection::poll() {
    if (!receive()) return;
    heard_ = Clock::now();
    // What others wait for may have come too, and the socket will not say so again.
    watcher_.wake();
}

TXSCOPE_INLINE bool Connection::flush() {
    while (!broken() && !statements_.output().empty()) {
        const auto taken = transport_.send(statements_.output());
        statements_.sent(taken.bytes);
        if (taken.blocked) return false;
        if (!taken.lost) continue;
        receive();  // the server may have said why
        if (!broken()) lose();
        watcher_.wake();
    }
    return broken() || !transport_.wants_to_send();
}

TXSCOPE_INLINE bool Connection::receive() try {
    bool progress = false;
    watcher_.about_to_read();
    while (!broken()) {
        const auto space = statements_.space();
        const auto taken = transport_.receive(space);
        if (taken.bytes > 0) progress = statements_.received(taken.bytes) || progress;
        if (taken.lost && !broken()) {
            lose();
            progress = true;
        }
        // What has no more for now announces what comes next: whoever still waits for something looks
        // all the same.
        if (taken.blocked || (!taken.more && statements_.idle())) break;
    }
    return progress;
} catch (...) {  // no memory for what has arrived
    statements_.fail(std::current_exception());
    return true;
}

TXSCOPE_LAZY_INLINE asio::awaitable<bool> Connection::answered(SharedResponse response,
                                                               Clock::time_point deadline,
                                                               Interruption interruption) {
    while (!response->done && Clock::now() < deadline) {
        if (!flush()) watcher_.wake_when_writable();
        const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
        const bool cancelled = caller.cancelled() != asio::cancellation_type::none;
        if (response->done || (cancelled && interruption == Interruption::allowed)) break;
        if (deadline == Clock::time_point::max())
            co_await watcher_.async_wait_readable();
        else
            co_await watcher_.wait_readable(deadline);
        if (!response->done) poll();  // else another wait has read it, and *this may be gone
    }
    co_return response->done;
}

// g++ 12 miscompiles a `co_await` inside the condition of an `if`: conditions stand by themselves.
TXSCOPE_LAZY_INLINE asio::awaitable<void> Connection::settle(SharedResponse response,
                                                             Clock::time_point deadline) {
    const bool settled = co_await answered(response, deadline, Interruption::none);
    if (!settled) close("the server did not answer within the cleanup time");
}

TXSCOPE_INLINE Statement Connection::fix_settings() const {
    return Statement{detail::fix_session_settings(PQbackendPID(native()))};
}

template <typename... Statements>
Connection::SharedResponse Connection::submit_own(Statements&&... statements) {
    auto response = make_response();
    Batch batch;
    (batch.emplace_back(std::forward<Statements>(statements), response, true), ...);
    submit(std::move(batch));
    return response;
}

}  // namespace txscope

#include <txscope/postgres/detail/recovery.hpp>

#endif
