#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/fifo_mutex.hpp>
#include <txscope/net/strand.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/detail/reporter.hpp>
#include <txscope/session/detail/routing.hpp>
#include <txscope/session/detail/session_pool.hpp>
#include <txscope/session/detail/special_execution.hpp>
#include <txscope/session/detail/transaction_machine.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// What a session and the sessions nested in it have in common: one connection, which is borrowed with
/// the first statement, and what goes out over it.
struct SharedConnection {
    /// @param label outlives it
    SharedConnection(std::shared_ptr<SessionPool> from, Strand on, std::source_location where,
                     bool transaction, std::string_view label = {}, int number = 1)
        : pool{std::move(from)},
          strand{std::move(on)},
          attempt{number},
          machine{transaction},
          holder{where, label},
          reporter{.observer = pool->options().observer,
                   .where = where,
                   .label = label,
                   .attempt = number} {}

    ~SharedConnection() { close(); }

    const std::shared_ptr<SessionPool> pool;
    const Strand strand;
    const int attempt;  // of those that the scope's retry policy allows

    TransactionMachine machine;
    Holder holder;
    Reporter reporter;
    Lease lease{};                       // taken with the first statement
    FifoMutex leasing{};                 // parallel first statements take it once
    Connection::Batch outbox{};          // goes out together: see RoundTrip
    Connection::SharedResponse begin{};  // a transaction's first: its BEGIN, once that was sent
    std::uint32_t portals = 0;           // that were opened in this transaction
    std::vector<Portal> left_portals{};  // to be closed with the next statement
    std::unique_ptr<Routing> routing{};  // of a transaction that may read from a replica
    std::string stale{};                 // the text of a statement that failed because it was stale
    std::string_view write_refusal{};    // the SQLSTATE of a server that does not write
    bool read_only = false;              // nothing that it does is to outlive it
    bool own_transactions = false;       // statements may begin and end transactions of their own
    bool wrote_alone = false;            // without a transaction, and the factory has replicas
    bool over = false;                   // whoever would give a connection back has ended

    /// To be called when something has failed: the connection may have been lost right behind it.
    void tell_if_lost() noexcept {
        if (lease && lease->broken())
            machine.failed(TransactionMachine::Failure::of_connection, lease->failure());
    }
    /// To be called with a response that has come: its error may be that the server does not write.
    void note_write_refusal(const Response& response);
    /// Whether there is one, or was an idle one to take.
    bool has_connection() noexcept;
    class Borrowing;
    /// Takes a replica's connection, if one is to serve.
    asio::awaitable<void> borrow_from_replica(Clock::time_point asked) {
        return pool->replicas()->borrow(*this, asked);
    }
    /// Has it from now on; its observer is told that the wait has begun when it was `asked`.
    void take(Lease&& found, Clock::time_point asked);
    /// Whether BEGIN is on its way. Nothing goes out behind it: were BEGIN refused, the server would
    /// execute that, and commit it, statement by statement.
    bool beginning() const noexcept {
        return begin && (!begin->done || (routing && routing->has_failed(*begin)));
    }
    /// Whether `response` is, and not to be asked of another server: where what goes out with BEGIN is,
    /// these wait for that answer, and put the new response in the place of the old one.
    bool is_answered(const Connection::SharedResponse& response) const noexcept {
        return response->done && (!routing || !(to_be_rerouted() || routing->has_moved(response)));
    }
    /// Until BEGIN is answered, as below.
    TXSCOPE_LAZY asio::awaitable<void> begun(Clock::time_point deadline = Clock::time_point::max());
    /// Until `response` is, or the caller is cancelled: then the server is made to stop. Returns
    /// whether it was. The caller must not be interruptible.
    TXSCOPE_LAZY asio::awaitable<bool> see_through(Connection::SharedResponse& response);
    /// Until `response` is, which was sent; by `deadline` at most, and once the caller is cancelled
    /// no longer than the cleanup time: then the connection is closed.
    TXSCOPE_LAZY asio::awaitable<void> answered(Connection::SharedResponse& response,
                                                Clock::time_point deadline);
    /// The statement that failed last, if it was stale. The caller must not be interruptible.
    TXSCOPE_LAZY asio::awaitable<std::optional<Statement>> find_stale();
    /// Puts into the outbox that portals end which nobody reads from any more.
    void put_out_left_portals(const Connection::SharedResponse& response);
    /// Sends what is in the outbox, unless it has to wait for BEGIN.
    void send_outbox();
    /// Whoever awaits what is in the outbox gets `error` instead.
    void refuse_outbox(const std::exception_ptr& error) noexcept;
    /// Nobody sees to its end what is under way, or waits to be sent: a branch that is left over may
    /// await it yet.
    void give_up(const std::exception_ptr& why) noexcept {
        refuse_outbox(why);
        if (lease) close_for(*lease, why);
    }
    /// Gives the connection back, and takes no other.
    void close() noexcept {
        over = true;
        if (lease && outbox.empty()) lease->keep_batch(std::move(outbox));
        give_back();
    }
    /// Another one may be taken.
    void give_back() noexcept {
        if (!lease) return;
        if (reporter) lease->unasked() = {};
        const Lease returned = std::move(lease);
    }
    /// Whether what went out with BEGIN has to be asked elsewhere.
    bool to_be_rerouted() const noexcept { return begin && routing->has_failed(*begin); }
    /// To be called when a statement without a transaction was answered, in whatever way.
    void note_write() const noexcept {
        if (wrote_alone) pool->replicas()->wrote();
    }

private:
    /// For a coroutine on `executor`.
    Requester requester(const asio::any_io_executor& executor);
    /// Has what went out with BEGIN asked elsewhere, if need be, and finds the response in its place.
    asio::awaitable<void> reroute(Connection::SharedResponse& response) {
        return pool->replicas()->reroute(*this, response);
    }
    /// There is no descriptor, or no memory, to wait with for what was sent: it might come to be all the
    /// same, after its caller was told that it has failed.
    static void close_for(Connection& connection, const std::exception_ptr& error) noexcept;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/sql_words.hpp>
#include <txscope/session/detail/borrowing.hpp>

#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <iterator>

namespace txscope::detail {

TXSCOPE_INLINE bool SharedConnection::has_connection() noexcept {
    if (lease || !leasing.free()) return static_cast<bool>(lease);
    try {
        Lease found = routing ? routing->acquire_idle() : pool->acquire_idle(&holder);
        if (found) take(std::move(found), reporter ? Clock::now() : Clock::time_point{});
    } catch (...) {  // whoever then waits for one is told why there is none
    }
    return static_cast<bool>(lease);
}

TXSCOPE_INLINE void SharedConnection::note_write_refusal(const Response& response) {
    const auto& said = response.protocol::Response::error();
    if (!said || !lease || read_only) return;  // what is read-only by itself is so on any server
    // This is what a standby says to BEGIN READ WRITE, and to SERIALIZABLE.
    const bool in_recovery = said->sqlstate() == sqlstate::feature_not_supported &&
                             lease->parameter("in_hot_standby") == "on";
    if (!in_recovery && said->sqlstate() != sqlstate::read_only_sql_transaction) return;
    write_refusal =
        in_recovery ? sqlstate::feature_not_supported : sqlstate::read_only_sql_transaction;
    lease.member()->wrong_role = true;
}

TXSCOPE_INLINE void SharedConnection::take(Lease&& found, Clock::time_point asked) {
    found->move_to(strand.state().inner());
    lease = std::move(found);
    if (outbox.empty()) lease->take_spare_batch().swap(outbox);
    if (machine.is_transaction() && !begin) reporter.begin(asked);
    reporter.report_notices(*lease);
}

TXSCOPE_INLINE Requester SharedConnection::requester(const asio::any_io_executor& executor) {
    Requester requester{holder};
    for (const Ambient* around = find_ambient(ambient_of(executor), pool.get()); around != nullptr;
         around = find_ambient(around->outer.get(), pool.get()))
        if (around->session != nullptr && around->holder != &holder)
            requester.within.push_back(around->holder);
    return requester;
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> borrow_from_replica(SharedConnection& transaction,
                                                              Clock::time_point asked) {
    Lease found = co_await transaction.routing->acquire();
    if (found && !transaction.over) transaction.take(std::move(found), asked);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> reroute_transaction(
    SharedConnection& transaction, Connection::SharedResponse& response) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    Routing& routing = *transaction.routing;
    if (!transaction.leasing.free())
        co_await transaction.leasing.pass();  // another branch is at it
    while (transaction.to_be_rerouted()) {
        const auto turn = co_await transaction.leasing.lock();
        if (!transaction.to_be_rerouted()) break;
        try {
            routing.leave_replica(transaction.begin);
            transaction.give_back();
            const auto asked = Clock::now();
            co_await transaction.borrow_from_replica(asked);
            if (!transaction.lease && !transaction.over) {
                SharedConnection::Borrowing borrowing{transaction, executor, asked};
                co_await borrowing.wait();
                borrowing.end();
            }
            if (transaction.over)
                throw ScopeEnded{"the scope of this session has ended", transaction.reporter.where};
            transaction.lease->submit(routing.ask_again(transaction.begin));
        } catch (...) {
            routing.give_up(*transaction.begin, std::current_exception());
        }
    }
    routing.follow(response);
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> SharedConnection::begun(Clock::time_point deadline) {
    auto response = begin;  // another branch may put the next one there
    co_await answered(response, deadline);
}

TXSCOPE_LAZY_INLINE asio::awaitable<bool> SharedConnection::see_through(
    Connection::SharedResponse& response) {
    bool cancelled = false;
    do {
        if (routing) co_await reroute(response);
        // What was put out while BEGIN was under way was not sent, though that may be answered by now.
        if (beginning() && begin != response) co_await begun();
        const auto member = lease.member();  // outlives a loan that ends
        try {
            send_outbox();
            if (!response->done) co_await member->connection->answered(response);
            cancelled = !response->done;
            if (cancelled) co_await member->connection->cancel(response, pool->cleanup_deadline());
        } catch (...) {
            close_for(*member->connection, std::current_exception());
        }
    } while (routing && !cancelled && !is_answered(response));
    co_return cancelled;
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> SharedConnection::answered(
    Connection::SharedResponse& response, Clock::time_point deadline) {
    do {
        if (routing) co_await reroute(response);
        if (response->done) continue;
        const auto member = lease.member();
        try {
            if (deadline == Clock::time_point::max())
                co_await member->connection->answered(response);
            if (!response->done)
                co_await member->connection->settle(response,
                                                    std::min(deadline, pool->cleanup_deadline()));
        } catch (...) {
            close_for(*member->connection, std::current_exception());
        }
    } while (routing && !is_answered(response));
}

TXSCOPE_INLINE void SharedConnection::close_for(Connection& connection,
                                                const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& no_descriptor) {
        connection.close(no_descriptor.what());
    } catch (...) {
        connection.close(error);
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<std::optional<Statement>> SharedConnection::find_stale() {
    const auto member = lease.member();
    auto found = co_await member->connection->find_stale(pool->cleanup_deadline());
    if (!found) co_return std::nullopt;
    if (found->stopped_naming)
        reporter.report(ScopeEvent::statements_unnamed, Clock::duration{}, found->error);
    co_return std::move(found->statement);
}

TXSCOPE_INLINE void SharedConnection::put_out_left_portals(
    const Connection::SharedResponse& response) {
    for (const Portal& portal : std::exchange(left_portals, {})) {
        outbox.emplace_back(Command{}, response).portal = portal;
    }
}

TXSCOPE_INLINE void SharedConnection::send_outbox() {
    if (outbox.empty() || beginning()) return;
    if (machine.is_transaction()) {
        if (!begin) {
            if (routing) routing->keep(outbox);
            begin = outbox.front().response;
        }
        if (begin->error && (!lease || lease->idle())) return refuse_outbox(begin->error);
        return lease->submit(std::move(outbox));
    }
    const auto may_write = [](const Request& request) {
        return !SqlWords::is(SqlWords{request.statement.sql()}.next(), "SELECT");
    };
    if (pool->replicas() != nullptr)
        wrote_alone |= std::any_of(outbox.begin(), outbox.end(), may_write);
    // Statements under one Sync are one implicit transaction: without a scope, branches share none.
    while (!outbox.empty()) try {
            const auto& response = outbox.front().response;
            const auto behind =
                std::find_if(outbox.begin(), outbox.end(),
                             [&](const Request& request) { return request.response != response; });
            if (behind == outbox.end()) return lease->submit(std::move(outbox));
            Connection::Batch batch{std::move_iterator{outbox.begin()}, std::move_iterator{behind}};
            outbox.erase(outbox.begin(), behind);
            lease->submit(std::move(batch));
        } catch (...) {  // no memory: what a caller was told of does not go out later
            refuse_outbox(std::current_exception());
        }
}

TXSCOPE_INLINE void SharedConnection::refuse_outbox(const std::exception_ptr& error) noexcept {
    for (const Request& unsent : std::exchange(outbox, {})) unsent.response->refuse(error);
}

}  // namespace txscope::detail

#endif
