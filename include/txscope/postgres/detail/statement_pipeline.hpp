#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/detail/failed_statement.hpp>
#include <txscope/postgres/detail/last_sql.hpp>
#include <txscope/postgres/detail/request.hpp>
#include <txscope/postgres/detail/spare_memory.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/postgres/detail/statement_names.hpp>
#include <txscope/postgres/detail/waiting_batches.hpp>
#include <txscope/protocol/pipeline.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Statements that are sent in batches, and their answers: the protocol, with errors that are
/// exceptions, and statements that are prepared when they come again. Without I/O.
class StatementPipeline {
public:
    explicit StatementPipeline(const StatementNaming& naming)
        : pipeline_{{.max_prepared_statements = naming.most()}}, names_{naming} {}

    /// See `protocol::Pipeline`, and `WaitingBatches`.
    void stop_pipelining() noexcept {
        pipelines_ = false;
        pipeline_.stop_pipelining();
    }

    /// Adds `batch` and a Sync to the output. A failure at any statement makes the server skip what
    /// follows in the batch. Leaves `batch` empty, with memory for the next one.
    void submit(Batch&& batch);
    /// An empty batch, with memory of an earlier one; and such a one is given back.
    [[nodiscard]] Batch take_spare_batch() noexcept { return spare_.take_batch(); }
    void keep_batch(Batch&& emptied) noexcept { spare_.keep(std::move(emptied)); }

    [[nodiscard]] std::string_view output() const noexcept { return pipeline_.output(); }
    void sent(std::size_t bytes) noexcept { pipeline_.sent(bytes); }
    [[nodiscard]] std::span<char> space() { return pipeline_.space(); }
    /// Bytes have been put there. True when that completed a response, or the server is gone.
    bool received(std::size_t bytes) {
        pipeline_.received(bytes);
        return take_events();
    }

    [[nodiscard]] UnaskedHandlers& unasked() noexcept { return unasked_; }

    [[nodiscard]] std::shared_ptr<Response> make_response(std::source_location where = {}) {
        return spare_.make_response(where);
    }

    /// Gives the connection up: everything outstanding is answered with `reason`.
    void fail(std::exception_ptr reason) noexcept {
        if (broken()) return;
        failure_ = std::move(reason);
        pipeline_.fail({.reason = protocol::Failure::Reason::closed});
        take_events();
    }

    /// Whether the server may work on `response` now: it answers a batch only at the Sync.
    [[nodiscard]] bool running(const Response& response) noexcept {
        return pipeline_.running(response);
    }
    [[nodiscard]] bool idle() const noexcept { return pipeline_.idle(); }
    [[nodiscard]] bool broken() const noexcept { return failure_ != nullptr; }
    [[nodiscard]] const std::exception_ptr& failure() const noexcept { return failure_; }
    [[nodiscard]] protocol::TransactionStatus transaction_status() const noexcept {
        return pipeline_.transaction_status();
    }
    /// Whether a statement may have left in the session what outlives its transaction.
    [[nodiscard]] bool session_changed() const noexcept { return pipeline_.session_changed(); }
    /// Whether DISCARD ALL was executed since `keep_session`: what a session has then, it is to have.
    [[nodiscard]] bool session_reset() const noexcept { return pipeline_.session_reset(); }
    void keep_session() noexcept { pipeline_.keep_session(); }
    void session_restored() noexcept { pipeline_.session_restored(); }
    /// How many were submitted.
    [[nodiscard]] std::uint64_t batches() const noexcept { return pipeline_.batches(); }
    /// A setting that the server has reported since the connection was opened; null for none.
    [[nodiscard]] const std::string* parameter(std::string_view name) const noexcept {
        const auto found = parameters_.find(name);
        return found == parameters_.end() ? nullptr : &found->second;
    }

    /// The prepared statement that failed last, maybe because it was stale; null for none. Not for
    /// longer than until the next transaction.
    [[nodiscard]] const FailedStatement* failed() const noexcept {
        return failed_ ? &*failed_ : nullptr;
    }
    /// The same, for the caller to examine.
    [[nodiscard]] std::optional<FailedStatement> take_failed() {
        return std::exchange(failed_, std::nullopt);
    }
    /// Prepares it anew.
    [[nodiscard]] std::shared_ptr<Response> prepare_anew(const FailedStatement& failed);
    /// How the server describes a prepared statement, since it was prepared last.
    [[nodiscard]] std::optional<Description> description_of(const Statement& statement);
    /// The statement that was submitted last, but for what goes along with one of the library's.
    [[nodiscard]] LastSql& last_sql() noexcept { return last_sql_; }
    /// What the connection has in common with others.
    [[nodiscard]] StatementNaming& naming() noexcept { return names_.naming(); }

private:
    using Outcome = protocol::Response::Outcome;

    void send(Batch&& batch);
    bool send_waiting() noexcept;
    void send(Request& request, bool last);
    void send_to_portal(Request& request, bool last);
    void move_names(const StatementKind& kind);
    StatementNames::Entry* name_of(std::string_view sql, const StatementKind& kind,
                                   StatementNames::Entry* known);
    void refuse(const Batch& batch) noexcept;

    bool take_events() noexcept;
    void answer(Response& response);
    std::exception_ptr error_of(const Response& response);
    std::exception_ptr make_failure();
    static std::exception_ptr make_error(const protocol::ErrorResponse& said, const Request* sent);
    const Request* find_sent(const protocol::Response* response, std::uint32_t statement) const;
    const Request* find_failed(const Response& response) const;
    Staleness staleness(const Request& sent, const protocol::ErrorResponse& error) const;
    void remember_failed(Staleness why, const Request& sent, const std::exception_ptr& error);
    void release_answered() noexcept;

    protocol::Pipeline pipeline_;
    StatementNames names_;
    bool names_moved_ = false;  // in a transaction that may not have ended: see `StatementKind`
    std::optional<FailedStatement> failed_;
    std::vector<Batch> sent_;  // and not answered
    bool pipelines_ = true;
    WaitingBatches waiting_;  // until these are, where they do not pipeline
    SpareMemory spare_;
    // The last error that was made an exception, for all whom it concerns.
    std::shared_ptr<const protocol::ErrorResponse> error_told_;
    std::exception_ptr error_;
    std::exception_ptr failure_;
    std::map<std::string, std::string, std::less<>> parameters_;
    UnaskedHandlers unasked_;
    LastSql last_sql_;
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>

namespace txscope::detail {

TXSCOPE_INLINE void StatementPipeline::submit(Batch&& batch) {
    try {
        pipelines_ ? send(std::move(batch)) : waiting_.push(std::move(batch));
    } catch (...) {  // no memory for the rest of what was begun
        fail(std::current_exception());
    }
    if (broken())
        refuse(batch);
    else if (!pipelines_)
        take_events();
    take_spare_batch().swap(batch);
}

TXSCOPE_INLINE void StatementPipeline::send(Batch&& batch) {
    if (idle() && transaction_status() == protocol::TransactionStatus::idle) {
        names_moved_ = false;
        failed_.reset();
    }
    if (names_.begin_batch()) pipeline_.retire_all();
    sent_.push_back(std::move(batch));
    Batch& sent = sent_.back();
    for (auto next = sent.begin(); next != sent.end(); ++next)
        send(*next, next + 1 == sent.end() || (next + 1)->response != next->response);
    pipeline_.sync();
    if (!sent.back().own) last_sql_.set(sent.back().statement.sql());
}

/// Sends what has waited, now that all is answered; whether there was something.
TXSCOPE_INLINE bool StatementPipeline::send_waiting() noexcept {
    if (waiting_.empty() || !idle()) return false;
    Batch next;
    try {
        if (!broken()) next = waiting_.next(transaction_status(), spare_);
        if (!next.empty()) send(std::move(next));
    } catch (...) {  // no memory
        failure_ = std::current_exception();
        pipeline_.fail({.reason = protocol::Failure::Reason::out_of_memory});
    }
    if (broken()) refuse(next);
    return true;
}

/// Has them, and those that were not sent whole, answered with why the connection is lost.
TXSCOPE_INLINE void StatementPipeline::refuse(const Batch& batch) noexcept {
    const auto refuse_all = [&](const Batch& requests) {
        for (const Request& each : requests) pipeline_.execute(*each.response, {.sql = {}});
    };
    const std::vector<Batch> waiting = waiting_.take_all();
    for (const Batch& unanswered : sent_) refuse_all(unanswered);
    for (const Batch& unsent : waiting) refuse_all(unsent);
    refuse_all(batch);
    take_events();  // as long as these are there: maybe nobody else has their responses any more
}

/// @param last of its response: its result is the one that is wanted
TXSCOPE_INLINE void StatementPipeline::send(Request& request, bool last) {
    if (request.portal.number != 0) return send_to_portal(request, last);
    const bool own = request.own;
    const std::string_view sql = request.statement.sql();
    auto* const known = own ? nullptr : names_.find(sql);
    const StatementKind scanned = own     ? StatementKind{.worth_preparing = false}
                                  : known ? StatementKind{}
                                          : statement_kind(sql);
    const StatementKind& kind = known ? known->kind : scanned;
    auto* const named = name_of(sql, kind, known);
    auto* const prepared = named != nullptr ? named->prepared.get() : nullptr;
    request.named = prepared && prepared->state == protocol::PreparedStatement::State::prepared;
    request.prepared_now = named != nullptr && prepared == nullptr;
    request.changes_session = kind.changes_session;
    pipeline_.execute(*request.response,
                      {.sql = sql,
                       .name = named != nullptr ? std::string_view{named->name} : "",
                       .prepared = prepared,
                       .parameters = request.statement.parameters(),
                       .keep_result = last || request.response->keeps_all(),
                       .changes_session = kind.changes_session,
                       .returns_rows = request.returns_rows && !kind.transaction_control});
    if (request.prepared_now) named->prepared = pipeline_.pin(named->name);
    if (kind.moves_names) move_names(kind);
}

/// Should it be undone, names are back to what they were: nothing is prepared until that is over.
TXSCOPE_INLINE void StatementPipeline::move_names(const StatementKind& kind) {
    names_moved_ = true;
    if (!kind.changes_session) return;
    names_.clear();
    pipeline_.retire_all();
}

/// Opens a portal, goes on with it, or ends it. What has one takes many round trips, so that parsing is
/// the least of it: it goes without a name, and so is never stale.
TXSCOPE_INLINE void StatementPipeline::send_to_portal(Request& request, bool last) {
    const Portal& portal = request.portal;
    const std::string name = "txscope_" + std::to_string(portal.number);
    if (portal.step == Portal::Step::fetch)
        return pipeline_.fetch(*request.response, name, portal.max_rows);
    if (portal.step == Portal::Step::close) return pipeline_.close_portal(*request.response, name);
    const std::string_view sql = request.statement.sql();
    const StatementKind kind = statement_kind(sql);
    request.changes_session = kind.changes_session;
    pipeline_.execute(*request.response, {.sql = sql,
                                          .parameters = request.statement.parameters(),
                                          .keep_result = last || request.response->keeps_all(),
                                          .changes_session = kind.changes_session,
                                          .returns_rows = !kind.transaction_control,
                                          .portal = name,
                                          .max_rows = portal.max_rows});
    if (kind.moves_names) move_names(kind);
}

/// The name to send `sql` by, which may be new; null where it goes without one.
TXSCOPE_INLINE StatementNames::Entry* StatementPipeline::name_of(std::string_view sql,
                                                                 const StatementKind& kind,
                                                                 StatementNames::Entry* known) {
    if (!kind.worth_preparing || !names_.enabled() || names_moved_) return nullptr;
    if (known == nullptr) {
        if (names_.size() >= 2 * names_.most())
            names_.erase_if([&](const StatementNames::Entry& each) {
                return each.prepared.get() == nullptr || !each.prepared.get()->usable();
            });
        return &names_.insert(sql, kind);
    }
    const auto* const prepared = known->prepared.get();
    if (prepared == nullptr || !prepared->usable() || names_.is_too_old(*known)) {
        pipeline_.retire(known->name);
        names_.renew(*known);
    }
    return known;
}

TXSCOPE_INLINE bool StatementPipeline::take_events() noexcept {
    using Kind = protocol::Event::Kind;
    bool progress = false;
    for (;;) {
        const auto event = pipeline_.next();
        if (event.kind == Kind::none && !send_waiting()) break;
        try {
            if (event.kind == Kind::answered && event.response != nullptr)
                answer(static_cast<Response&>(*event.response));
            if (event.kind == Kind::parameter) parameters_[std::string{event.name}] = event.value;
            if (event.kind == Kind::notice && unasked_.notice)
                unasked_.notice(make_error(*protocol::ErrorResponse::parse(event.value),
                                           find_sent(event.response, event.statement)));
            if (event.kind == Kind::notification && unasked_.notification)
                unasked_.notification(event);
            if (event.kind == Kind::lost && !failure_) failure_ = make_failure();
        } catch (...) {  // no memory for an answer: nobody is to take it for another one
            if (!failure_) failure_ = std::current_exception();
            pipeline_.fail({.reason = protocol::Failure::Reason::out_of_memory});
            if (event.kind == Kind::answered) {
                auto& response = static_cast<Response&>(*event.response);
                if (!response.error) response.error = failure_;
                response.done = true;
            }
        }
        progress |= event.kind == Kind::answered || event.kind == Kind::lost;
    }
    if (progress) release_answered();
    return progress;
}

TXSCOPE_INLINE void StatementPipeline::answer(Response& response) {
    switch (response.outcome()) {
        case Outcome::lost:
        case Outcome::unsent:
            if (!failure_) failure_ = make_failure();
            failure_ = met_in_scope(failure_, response.scope);
            response.error = failure_;
            break;
        case Outcome::failed:
        case Outcome::skipped:
        case Outcome::rolled_back:
            response.error = error_of(response);
            break;
        default:
            response.result = Result{response.take_result()};
    }
    response.done = true;
}

/// The answers of a batch come at its end, to all of it.
TXSCOPE_INLINE void StatementPipeline::release_answered() noexcept {
    auto batch = sent_.begin();
    for (; batch != sent_.end() && batch->back().response->done; ++batch) {
        for (Request& answered : *batch) spare_.keep(std::move(answered.response));
        batch->clear();
        spare_.keep(std::move(*batch));
    }
    sent_.erase(sent_.begin(), batch);
}

}  // namespace txscope::detail

#include <txscope/postgres/detail/statement_errors.hpp>

#endif
