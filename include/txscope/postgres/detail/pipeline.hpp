#pragma once

#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/exchange.hpp>
#include <txscope/postgres/detail/libpq_version.hpp>
#include <txscope/postgres/detail/native.hpp>
#include <txscope/postgres/detail/session_effect.hpp>
#include <txscope/postgres/detail/statement_cache.hpp>

#include <pqxx/except>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// libpq's pipeline mode: sends batches, each closed by one Sync, and hands out the answers.
///
/// Does not wait: its owner tells it when the socket is ready. (PostgreSQL manual, "Pipeline Mode".)
class Pipeline {
public:
    Pipeline(Native<PGconn> connection, std::size_t statement_cache_size);
    Pipeline(const Pipeline&) = delete;

    /// Sends `batch` and a Sync, and ahead of them, under a Sync of its own, what closes retired
    /// statements. A failure at any statement makes the server skip what follows in the batch.
    /// Leaves `batch` empty, with its memory for the next one.
    void submit(std::vector<Outgoing>&& batch);

    /// Writes what is left to write; false when the socket takes no more for now.
    bool flush();

    /// Reads what has arrived. True when that completed an exchange.
    bool receive();

    /// Hands out what libpq has read already. True when that completed an exchange.
    bool collect();

    /// Gives the connection up: everything outstanding is answered with `reason`.
    void fail(std::exception_ptr reason);

    /// Whether the server may work on `exchange` now: it answers a batch only at the Sync.
    bool running(const Exchange& exchange) const noexcept;
    bool idle() const noexcept { return oldest_ == commands_.size(); }
    bool broken() const noexcept { return failure_ != nullptr; }
    std::exception_ptr failure() const noexcept { return failure_; }
    /// Whether a statement may have left in the session what outlives its transaction.
    bool session_changed() const noexcept { return session_changed_; }
    /// How many were submitted.
    std::uint64_t batches() const noexcept { return next_batch_ - 1; }
    PGTransactionStatusType transaction_status() const noexcept {
        return PQtransactionStatus(connection_.get());
    }
    PGconn* native() const noexcept { return connection_.get(); }

private:
    // False when libpq could not take it.
    bool send(Outgoing&& outgoing, bool last);
    const StatementCache::Entry* prepare(const Outgoing& outgoing);  // likewise null
    bool close_retired();
    bool send_sync();

    bool take(Native<PGresult> answer);  // true when that completed an exchange
    void take_sync();
    void take_error(const PGresult* error);
    void fail_exchange(const std::shared_ptr<Exchange>& exchange);
    std::exception_ptr lost() const { return make_connection_lost(native()); }

    Native<PGconn> connection_;
    StatementCache cache_;
    std::vector<Command> commands_;  // sent; those before `oldest_` are answered,
    std::size_t oldest_ = 0;         // and from `batch_` on they wait for their Sync's answer
    std::size_t batch_ = 0;
    std::uint64_t next_batch_ = 1;
    std::exception_ptr batch_error_;  // of the batch whose answers are being read
    std::exception_ptr failure_;
    bool session_changed_ = false;
};

inline Pipeline::Pipeline(Native<PGconn> connection, std::size_t statement_cache_size)
    : connection_{std::move(connection)}, cache_{statement_cache_size} {
    if (PQsetnonblocking(connection_.get(), 1) != 0 || PQenterPipelineMode(connection_.get()) != 1)
        throw ConnectionFailed{PQerrorMessage(connection_.get())};
    // While nothing is asked, libpq takes the server's last word for a notice.
    const auto take_notice = [](void* self, const PGresult* notice) {
        if (ends_session(notice))
            static_cast<Pipeline*>(self)->fail(make_statement_error(notice, std::string{}));
    };
    PQsetNoticeReceiver(connection_.get(), take_notice, this);
}

inline void Pipeline::submit(std::vector<Outgoing>&& batch) {
    const bool too_late = broken();
    bool sent = !too_late;
    try {
        sent = sent && close_retired();
        for (auto next = batch.begin(); sent && next != batch.end(); ++next) {
            const bool last = next + 1 == batch.end() || (next + 1)->exchange != next->exchange;
            sent = send(std::move(*next), last);
        }
        sent = sent && send_sync();
    } catch (...) {  // no memory for the rest of what was begun
        fail(std::current_exception());
        sent = false;
    }
    ++next_batch_;
    if (!sent) {
        fail(lost());
        for (const Outgoing& unsent : batch) {
            if (too_late) unsent.exchange->unsent = true;
            fail_exchange(unsent.exchange);
        }
    }
    batch.clear();
}

inline bool Pipeline::running(const Exchange& exchange) const noexcept {
    for (auto i = batch_; i < commands_.size() && commands_[i].kind != Command::sync; ++i)
        if (commands_[i].outgoing.exchange.get() == &exchange) return true;
    return false;
}

inline bool Pipeline::send(Outgoing&& outgoing, bool last) {
    const Statement& statement = outgoing.statement;
    const StatementCache::Entry* prepared = nullptr;
    bool affects_session = false;
    if (!cache_.enabled()) {
        affects_session = has_session_effect(statement.sql());
    } else {
        prepared = cache_.find(statement.sql());
        if (prepared == nullptr) prepared = prepare(outgoing);
        if (prepared == nullptr) return false;
        affects_session = prepared->affects_session;
        if (prepared->batch != 0 && prepared->batch != next_batch_) {
            prepared = nullptr;  // an earlier batch prepares it, and may still fail to
        }
    }
    const auto values = statement.parameters();
    const int count = static_cast<int>(values.size());
    const int sent = prepared != nullptr
                         ? PQsendQueryPrepared(native(), prepared->name.c_str(), count,
                                               values.data(), nullptr, nullptr, 0)
                         : PQsendQueryParams(native(), statement.sql().data(), count, nullptr,
                                             values.data(), nullptr, nullptr, 0);
    Command& command = commands_.emplace_back(Command::statement, std::move(outgoing));
    command.affects_session = affects_session;
    command.last = last;
    return sent != 0;
}

inline const StatementCache::Entry* Pipeline::prepare(const Outgoing& outgoing) {
    const auto& entry = cache_.insert(std::string{outgoing.statement.sql()}, next_batch_);
    // Without the parameters, which may be large: preparing knows nothing of them.
    commands_.emplace_back(Command::prepare, Outgoing{Statement{entry.sql}, outgoing.exchange},
                           entry.name);
    const int sent = PQsendPrepare(native(), entry.name.c_str(), entry.sql.c_str(), 0, nullptr);
    return sent != 0 ? &entry : nullptr;
}

/// Under a Sync of its own, so that an error, when somebody else has dropped it, is nobody's.
inline bool Pipeline::close_retired() {
    if (transaction_status() == PQTRANS_INERROR) return true;  // it would be refused
    auto names = cache_.take_retired();
    for (std::string& name : names) {
        const int sent = send_close(native(), name);
        commands_.push_back({.kind = Command::close, .name = std::move(name)});
        if (sent == 0) return false;
    }
    return names.empty() || send_sync();
}

inline bool Pipeline::send_sync() {
    commands_.emplace_back(Command::sync);
    return PQpipelineSync(native()) != 0;
}

inline bool Pipeline::flush() {
    const int state = broken() ? 0 : PQflush(native());
    if (state < 0) fail(lost());
    return state <= 0;
}

inline bool Pipeline::receive() {
    if (broken()) return false;
    const bool read = PQconsumeInput(native()) != 0;
    if (idle()) PQisBusy(native());   // looks at what came unasked
    const bool progress = collect();  // what came before the end, say the reason for it
    while (PGnotify* unheard = PQnotifies(native())) PQfreemem(unheard);  // nobody asks for them
    if (read || broken()) return progress;
    fail(lost());
    return true;
}

inline bool Pipeline::collect() try {
    bool progress = false;
    while (!broken() && !idle() && PQisBusy(native()) == 0) {
        Native<PGresult> answer{PQgetResult(native())};
        if (answer) {
            progress = take(std::move(answer)) || progress;
        } else if (PQstatus(native()) == CONNECTION_BAD) {
            fail(lost());
            progress = true;
        } else if (commands_[oldest_].answered && commands_[oldest_].kind != Command::sync) {
            ++oldest_;  // libpq ends every command's results with a null
        }
    }
    // libpq counts itself idle only once it was asked for more than there is.
    if (progress && !broken() && idle()) PQclear(PQgetResult(native()));
    if (batch_ > commands_.size() / 2) {
        commands_.erase(commands_.begin(), commands_.begin() + static_cast<std::ptrdiff_t>(batch_));
        oldest_ -= std::exchange(batch_, 0);
    }
    return progress;
} catch (...) {  // no memory for an answer: nobody is to take it for another one
    fail(std::current_exception());
    return true;
}

inline bool Pipeline::take(Native<PGresult> answer) {
    Command& command = commands_[oldest_];
    command.answered = true;
    switch (PQresultStatus(answer.get())) {
        case PGRES_PIPELINE_SYNC:
            take_sync();
            return true;
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
        case PGRES_EMPTY_QUERY:
            if (command.kind == Command::prepare) cache_.confirm(command.name);
            if (command.kind == Command::statement) {
                session_changed_ |= command.affects_session;
                const std::string_view tag = PQcmdStatus(answer.get());
                if (tag == "DISCARD ALL") session_changed_ = false;
                if (tag == "DISCARD ALL" || tag == "DEALLOCATE ALL") cache_.clear();
                if (command.last) command.outgoing.exchange->result = Result{answer.release()};
            }
            return false;
        case PGRES_PIPELINE_ABORTED:
            cache_.take_failure(command);
            if (command.kind == Command::statement && !command.outgoing.exchange->error) {
                command.outgoing.exchange->error = batch_error_;
                command.outgoing.exchange->skipped = true;
            }
            return false;
        case PGRES_FATAL_ERROR:
            take_error(answer.get());
            return broken();
        default:  // COPY, which would leave the connection in the middle of it
            const std::string sql{command.outgoing.statement.sql()};
            fail(std::make_exception_ptr(pqxx::usage_error{"COPY cannot be executed: " + sql}));
            return true;
    }
}

inline void Pipeline::take_sync() {
    batch_error_ = nullptr;
    for (++oldest_; batch_ < oldest_; ++batch_)
        if (const auto& exchange = commands_[batch_].outgoing.exchange) exchange->done = true;
}

inline void Pipeline::take_error(const PGresult* error) {
    const Command& command = commands_[oldest_];
    // An error at a Sync comes from the implicit COMMIT there: it is everybody's.
    const std::size_t first = command.kind == Command::sync ? batch_ : oldest_;
    const auto& concerned = commands_[first].outgoing.exchange;
    const auto failure = make_statement_error(
        error, command.outgoing.statement, concerned ? concerned->scope : std::source_location{});
    if (ends_session(error) || PQstatus(native()) == CONNECTION_BAD)
        return fail(failure);  // the server's last word before it closes the connection

    if (!batch_error_) batch_error_ = failure;
    cache_.take_failure(command, own_sqlstate(error));
    session_changed_ |= command.affects_session;  // a session's locks outlive a failure
    for (std::size_t i = first; i <= oldest_; ++i)
        if (const auto& exchange = commands_[i].outgoing.exchange; exchange && !exchange->error)
            exchange->error = failure;
}

inline void Pipeline::fail(std::exception_ptr reason) {
    if (broken()) return;
    failure_ = std::move(reason);
    const auto commands = std::exchange(commands_, {});
    oldest_ = 0;
    for (std::size_t i = std::exchange(batch_, 0); i < commands.size(); ++i)
        fail_exchange(commands[i].outgoing.exchange);
}

inline void Pipeline::fail_exchange(const std::shared_ptr<Exchange>& exchange) {
    if (!exchange || exchange->done) return;
    failure_ = met_in_scope(failure_, exchange->scope);
    if (!exchange->error) exchange->error = failure_;
    exchange->done = true;
}

}  // namespace txscope::detail
