#pragma once

#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/exchange.hpp>
#include <txscope/postgres/detail/failed_statement.hpp>
#include <txscope/postgres/detail/libpq_version.hpp>
#include <txscope/postgres/detail/native.hpp>
#include <txscope/postgres/detail/statement_cache.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/postgres/detail/statement_naming.hpp>
#include <txscope/postgres/detail/tls.hpp>

#include <pqxx/except>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
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
    Pipeline(Native<PGconn> connection, StatementNaming naming);
    Pipeline(const Pipeline&) = delete;

    /// Sends `batch` and a Sync, and ahead of them, under a Sync of its own, what closes retired
    /// statements. A failure at any statement makes the server skip what follows in the batch.
    /// Leaves `batch` empty, with its memory for the next one.
    void submit(std::vector<Outgoing>&& batch);

    /// Writes what is left to write; false when the socket takes no more for now.
    bool flush();

    /// Reads what has arrived. True when that completed an exchange.
    bool receive() {
        const bool progress = read();
        return read_decrypted() || progress;
    }

    /// Hands out what has been read already, as writing may do. True when that completed an exchange.
    bool collect() {
        const bool progress = hand_out();
        return read_decrypted() || progress;
    }

    /// Gives the connection up: everything outstanding is answered with `reason`.
    void fail(std::exception_ptr reason);

    /// Whether the server may work on `exchange` now: it answers a batch only at the Sync.
    bool running(const Exchange& exchange) const noexcept;
    bool idle() const noexcept { return oldest_ == commands_.size(); }
    bool broken() const noexcept { return failure_ != nullptr; }
    std::exception_ptr failure() const noexcept { return failure_; }
    /// Whether a statement may have left in the session what outlives its transaction.
    bool session_changed() const noexcept { return session_changed_; }
    /// The prepared statement that failed last, maybe because it was stale; null for none. Not for
    /// longer than until the next transaction.
    const FailedStatement* failed() const noexcept { return failed_ ? &*failed_ : nullptr; }
    /// The same, for the caller to examine.
    std::optional<FailedStatement> take_failed() { return std::exchange(failed_, std::nullopt); }
    /// How the server describes a statement.
    struct Descriptions {
        std::shared_ptr<Exchange> as_prepared = std::make_shared<Exchange>();
        std::shared_ptr<Exchange> anew = std::make_shared<Exchange>();  // the last to be done
    };
    /// Asks how it describes one as it was prepared, and when it is prepared anew. That was all it
    /// was kept for.
    Descriptions describe(const FailedStatement& failed);
    /// What the connection has in common with others.
    StatementNaming& naming() noexcept { return naming_; }
    /// How many were submitted.
    std::uint64_t batches() const noexcept { return next_batch_ - 1; }
    PGTransactionStatusType transaction_status() const noexcept {
        return PQtransactionStatus(connection_.get());
    }
    PGconn* native() const noexcept { return connection_.get(); }

private:
    // False when libpq could not take it.
    bool send(Outgoing&& outgoing, bool last);
    bool send_prepare(const std::string& name, const std::string& sql,
                      const std::shared_ptr<Exchange>& exchange);
    bool send_describe(const std::string& name, const std::shared_ptr<Exchange>& exchange);
    bool close_retired();
    bool send_sync();

    // True when that completed an exchange:
    bool read();
    bool read_decrypted();
    bool hand_out();
    bool take(Native<PGresult> answer);
    void take_sync();
    void take_error(const PGresult* error);
    Staleness staleness(const Command& command, const PGresult* error) const;
    void remember_failed(Staleness why, Command& command, const std::exception_ptr& error);
    void drop_failed();
    void fail_exchange(const std::shared_ptr<Exchange>& exchange);
    std::exception_ptr lost() const { return make_connection_lost(native()); }

    Native<PGconn> connection_;
    StatementNaming naming_;
    StatementCache cache_;
    bool names_moved_ = false;  // in a transaction that may not have ended: see `StatementKind`
    std::optional<FailedStatement> failed_;
    std::vector<Command> commands_;  // sent; those before `oldest_` are answered,
    std::size_t oldest_ = 0;         // and from `batch_` on they wait for their Sync's answer
    std::size_t batch_ = 0;
    std::uint64_t next_batch_ = 1;
    std::exception_ptr batch_error_;  // of the batch whose answers are being read
    std::exception_ptr failure_;
    bool session_changed_ = false;
};

inline Pipeline::Pipeline(Native<PGconn> connection, StatementNaming naming)
    : connection_{std::move(connection)}, naming_{std::move(naming)}, cache_{naming_} {
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
        if (idle() && transaction_status() == PQTRANS_IDLE) {
            names_moved_ = false;
            drop_failed();
        }
        cache_.begin_batch();
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
    const std::string_view sql = statement.sql();
    const StatementCache::Entry* prepared = cache_.find(sql);
    const StatementKind kind = outgoing.own ? StatementKind{.worth_preparing = false}
                               : prepared   ? prepared->kind
                                            : statement_kind(sql);
    if (!prepared && kind.worth_preparing && cache_.enabled() && !names_moved_) {
        prepared = &cache_.insert(std::string{sql}, kind, next_batch_);
        if (!send_prepare(prepared->name, prepared->sql, outgoing.exchange)) return false;
    }
    // What an earlier batch prepares may still fail to be.
    const bool by_name =
        prepared && !names_moved_ && (prepared->batch == 0 || prepared->batch == next_batch_);
    const bool named = by_name && prepared->batch == 0;
    const auto values = statement.parameters();
    const int count = static_cast<int>(values.size());
    const int sent = by_name ? PQsendQueryPrepared(native(), prepared->name.c_str(), count,
                                                   values.data(), nullptr, nullptr, 0)
                             : PQsendQueryParams(native(), sql.data(), count, nullptr,
                                                 values.data(), nullptr, nullptr, 0);
    const bool alone = last && (commands_.size() == batch_ ||
                                commands_.back().outgoing.exchange != outgoing.exchange);
    Command& command = commands_.emplace_back(Command::statement, std::move(outgoing));
    command.changes_session = kind.changes_session;
    command.named = named;
    command.alone = alone;
    command.last = last;
    // Should it be undone, names are back to what they were: nothing is prepared until that is over.
    names_moved_ |= kind.moves_names;
    if (kind.moves_names && kind.changes_session) cache_.retire_all();
    return sent != 0;
}

inline bool Pipeline::send_prepare(const std::string& name, const std::string& sql,
                                   const std::shared_ptr<Exchange>& exchange) {
    // Without the parameters, which may be large: preparing knows nothing of them.
    commands_.emplace_back(Command::prepare, Outgoing{Statement{sql}, exchange}, name);
    return PQsendPrepare(native(), name.c_str(), sql.c_str(), 0, nullptr) != 0;
}

inline bool Pipeline::send_describe(const std::string& name,
                                    const std::shared_ptr<Exchange>& exchange) {
    commands_.emplace_back(Command::describe, Outgoing{Statement{""}, exchange});
    return PQsendDescribePrepared(native(), name.c_str()) != 0;
}

inline Pipeline::Descriptions Pipeline::describe(const FailedStatement& failed) {
    Descriptions asked;
    // The new one is the unnamed one, and gone with the next.
    const bool sent = send_describe(failed.name, asked.as_prepared) && send_sync() &&
                      send_prepare("", std::string{failed.statement.sql()}, asked.anew) &&
                      send_describe("", asked.anew) && send_sync();
    cache_.confirm(failed.name);
    ++next_batch_;
    if (!sent) {
        fail(lost());
        fail_exchange(asked.as_prepared);
        fail_exchange(asked.anew);
    }
    return asked;
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

inline bool Pipeline::read() {
    if (broken()) return false;
    const bool open = PQconsumeInput(native()) != 0;
    if (idle()) PQisBusy(native());    // looks at what came unasked
    const bool progress = hand_out();  // what came before the end, say the reason for it
    while (PGnotify* unheard = PQnotifies(native())) PQfreemem(unheard);  // nobody asks for them
    if (open || broken()) return progress;
    fail(lost());
    return true;
}

inline bool Pipeline::read_decrypted() {
    bool progress = false;
    while (!broken() && holds_decrypted(native())) progress = read() || progress;
    return progress;
}

inline bool Pipeline::hand_out() try {
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
            if (command.kind == Command::describe)
                command.outgoing.exchange->result = Result{answer.release()};
            if (command.kind == Command::statement) {
                session_changed_ |= command.changes_session;
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
    Command& command = commands_[oldest_];
    // An error at a Sync comes from the implicit COMMIT there: it is everybody's.
    const std::size_t first = command.kind == Command::sync ? batch_ : oldest_;
    const auto& concerned = commands_[first].outgoing.exchange;
    const auto stale = staleness(command, error);
    const auto failure = make_statement_error(
        error, command.outgoing.statement, concerned ? concerned->scope : std::source_location{},
        stale == Staleness::unknown
            ? "; a pooler does not keep prepared statements, or somebody has dropped them: see "
              "PoolOptions::statement_cache_size"
            : "");
    if (ends_session(error) || PQstatus(native()) == CONNECTION_BAD)
        return fail(failure);  // the server's last word before it closes the connection

    if (!batch_error_) batch_error_ = failure;
    cache_.take_failure(command, own_sqlstate(error));
    session_changed_ |= command.changes_session;  // a session's locks outlive a failure
    for (std::size_t i = first; i <= oldest_; ++i)
        if (const auto& exchange = commands_[i].outgoing.exchange; exchange && !exchange->error)
            exchange->error = failure;
    if (stale != Staleness::none) remember_failed(stale, command, failure);
}

inline Staleness Pipeline::staleness(const Command& command, const PGresult* error) const {
    const auto code = error_field(error, PG_DIAG_SQLSTATE);
    const bool about_names = code == sqlstate::invalid_sql_statement_name ||
                             code == sqlstate::duplicate_prepared_statement;
    if ((command.named || command.kind == Command::prepare) && about_names &&
        cache_.is_named_in(error_field(error, PG_DIAG_MESSAGE_PRIMARY)))
        return Staleness::unknown;
    return command.named ? staleness_told_by(error) : Staleness::none;
}

/// Sees to it that no statement which `command` shows to be stale is used again.
inline void Pipeline::remember_failed(Staleness why, Command& command,
                                      const std::exception_ptr& error) {
    const std::string_view sql = command.outgoing.statement.sql();
    drop_failed();
    std::string name;
    if (why == Staleness::unlikely) return cache_.retire(sql);
    if (why == Staleness::possible) name = cache_.retire_later(sql);
    if (why == Staleness::certain) naming_.begin_generation();
    if (why == Staleness::unknown) cache_.clear();
    auto alone = command.alone && !command.changes_session ? command.outgoing.exchange : nullptr;
    failed_ = FailedStatement{.staleness = why,
                              .statement = std::move(command.outgoing.statement),
                              .name = std::move(name),
                              .error = error,
                              .alone = std::move(alone)};
}

inline void Pipeline::drop_failed() {
    if (failed_) cache_.confirm(failed_->name);
    failed_.reset();
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
