#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>
#include <txscope/postgres/detail/statement_pipeline.hpp>

#include <pqxx/except>

#include <new>

/// Which exception an error of the server's is, and whether it came of a statement that was prepared for
/// what is no more.
namespace txscope::detail {

/// The exception for the error that `response` has met, the same for all whom it concerns.
TXSCOPE_INLINE std::exception_ptr StatementPipeline::error_of(const Response& response) {
    const auto& error = response.protocol::Response::error();
    if (error_told_ == error) return error_;
    const Request* const failed = find_failed(response);
    if (failed == nullptr) {  // at the Sync, which commits
        error_ = make_statement_error(*error, Statement{""}, response.scope);
    } else {
        const auto stale = staleness(*failed, *error);
        error_ = make_statement_error(
            *error, failed->statement, failed->response->scope,
            stale == Staleness::unknown
                ? "; a pooler does not keep prepared statements, or somebody has dropped them: see "
                  "PoolOptions::statement_cache_size"
                : "");
        if (stale != Staleness::none) remember_failed(stale, *failed, error_);
    }
    error_told_ = error;
    return error_;
}

TXSCOPE_INLINE const Request* StatementPipeline::find_sent(const protocol::Response* response,
                                                           std::uint32_t statement) const {
    for (const Batch& batch : sent_)
        for (const Request& sent : batch)
            if (sent.response.get() == response && statement-- == 0) return &sent;
    return nullptr;
}

/// The statement that has failed in the batch of `response`; null for none.
TXSCOPE_INLINE const Request* StatementPipeline::find_failed(const Response& response) const {
    for (const Batch& batch : sent_) {
        bool asked = false;
        const Response* failed = nullptr;
        for (const Request& sent : batch) {
            asked = asked || sent.response.get() == &response;
            if (failed == nullptr && sent.response->outcome() == Outcome::failed)
                failed = sent.response.get();
        }
        if (asked && failed != nullptr) return find_sent(failed, failed->failed_statement());
    }
    return nullptr;
}

TXSCOPE_INLINE std::exception_ptr StatementPipeline::make_failure() {
    using Reason = protocol::Failure::Reason;
    const protocol::Failure& failure = pipeline_.failure();
    const Request* const sent = find_sent(failure.response, failure.statement);
    switch (failure.reason) {
        case Reason::server_ended:
            return make_error(*failure.said, sent);
        case Reason::copy_not_asked:
            return std::make_exception_ptr(
                pqxx::usage_error{"COPY cannot be executed: " +
                                  std::string{sent != nullptr ? sent->statement.sql() : ""}});
        case Reason::out_of_memory:
            return std::make_exception_ptr(std::bad_alloc{});
        default:
            return std::make_exception_ptr(ConnectionLost{failure.text});
    }
}

/// @param sent which it is about, or null
TXSCOPE_INLINE std::exception_ptr StatementPipeline::make_error(const protocol::ErrorResponse& said,
                                                                const Request* sent) {
    return sent != nullptr ? make_statement_error(said, sent->statement, sent->response->scope)
                           : make_statement_error(said, Statement{""});
}

TXSCOPE_INLINE Staleness StatementPipeline::staleness(const Request& sent,
                                                      const protocol::ErrorResponse& error) const {
    const bool about_names = error.sqlstate() == sqlstate::invalid_sql_statement_name ||
                             error.sqlstate() == sqlstate::duplicate_prepared_statement;
    if ((sent.named || sent.prepared_now) && about_names && names_.is_named_in(error.message()))
        return Staleness::unknown;
    return sent.named ? staleness_told_by(error) : Staleness::none;
}

/// Sees to it that no statement which `sent` shows to be stale is used again.
TXSCOPE_INLINE void StatementPipeline::remember_failed(Staleness why, const Request& sent,
                                                       const std::exception_ptr& error) {
    failed_.reset();
    std::optional<Description> description;
    if (why == Staleness::unlikely || why == Staleness::possible)
        description = description_of(sent.statement);
    if (description) pipeline_.retire(names_.find(sent.statement.sql())->name);
    if (why == Staleness::unlikely) return;
    if (why == Staleness::certain) naming().begin_generation();
    if (why == Staleness::unknown) {
        names_.clear();
        pipeline_.retire_all();
    }
    const bool alone = find_sent(sent.response.get(), 1) == nullptr && !sent.changes_session;
    failed_ = FailedStatement{.staleness = why,
                              .statement = sent.statement,
                              .description = std::move(description),
                              .error = error,
                              .alone = alone ? sent.response : nullptr};
}

TXSCOPE_INLINE std::shared_ptr<Response> StatementPipeline::prepare_anew(
    const FailedStatement& failed) {
    auto response = make_response();
    const std::string_view sql = failed.statement.sql();
    try {
        Batch batch;
        batch.emplace_back(Statement{sql}, response);
        sent_.push_back(std::move(batch));
        StatementNames::Entry* entry = names_.find(sql);
        if (entry == nullptr)
            entry = &names_.insert(sql, statement_kind(sql));
        else
            names_.renew(*entry);
        pipeline_.prepare(*response, entry->name, sql);
        entry->prepared = pipeline_.pin(entry->name);
        pipeline_.sync();
    } catch (...) {
        fail(std::current_exception());
    }
    if (broken()) pipeline_.execute(*response, {.sql = {}});
    take_events();
    return response;
}

TXSCOPE_INLINE std::optional<Description> StatementPipeline::description_of(
    const Statement& statement) {
    const auto* const entry = names_.find(statement.sql());
    const auto* const prepared = entry != nullptr ? entry->prepared.get() : nullptr;
    return prepared != nullptr ? std::optional{Description{*prepared}} : std::nullopt;
}

}  // namespace txscope::detail
