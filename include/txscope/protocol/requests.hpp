#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/execution.hpp>
#include <txscope/protocol/prepared_statements.hpp>
#include <txscope/protocol/request_queue.hpp>
#include <txscope/protocol/response.hpp>
#include <txscope/protocol/writer.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace txscope::protocol {

/// What is asked: written for the server, and remembered until it is answered. The half of
/// `Pipeline` that sends.
///
/// A call that throws, as `Writer` does, has changed nothing.
class Requests {
public:
    explicit Requests(std::size_t max_prepared_statements) : statements_{max_prepared_statements} {}
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;

    // See `Pipeline` for what these do.
    void execute(Response& response, const Execution& execution);
    void prepare(Response& response, std::string_view name, std::string_view sql);
    void fetch(Response& response, std::string_view portal, std::uint32_t max_rows);
    void close_portal(Response& response, std::string_view portal);
    void sync();
    void query(Response& response, std::string_view sql, Copy copy, bool changes_session);
    void copy_data(std::string_view data) {
        if (copy_in_ == CopyIn::open) writer_.copy_data(data);
    }
    void copy_done();
    void copy_fail(std::string_view reason);
    void terminate() { writer_.terminate(); }
    void stop_pipelining() noexcept { pipelines_ = false; }

    [[nodiscard]] std::string_view output() const noexcept {
        const Request* const sync = pipelines_ ? nullptr : queue_.next_sync();
        return sync == nullptr ? writer_.bytes() : writer_.bytes().substr(0, sync->end - sent_);
    }
    void sent(std::size_t count) noexcept {
        writer_.sent(count);
        sent_ += count;
    }
    /// Whether the socket has taken any of what `response` asks for.
    [[nodiscard]] bool is_sent(const Response& response) const noexcept {
        return response.first_byte_ < sent_;
    }

    [[nodiscard]] bool in_batch() const noexcept { return in_batch_; }
    [[nodiscard]] bool copying_in() const noexcept { return copy_in_ != CopyIn::none; }
    [[nodiscard]] std::uint64_t batches() const noexcept { return batches_; }

    // What the answers change.

    [[nodiscard]] RequestQueue& queue() noexcept { return queue_; }
    [[nodiscard]] const RequestQueue& queue() const noexcept { return queue_; }
    [[nodiscard]] PreparedStatements& statements() noexcept { return statements_; }
    /// The server has not done what `request` asks for, and will not.
    void undo(const Request& request) noexcept;
    /// Whether all has been sent that ReadyForQuery answers next.
    [[nodiscard]] bool sync_is_sent() const noexcept {
        return pipelines_ || queue_.next_sync()->end <= sent_;
    }
    /// The head, a Sync in between, is answered.
    void pop_sync() noexcept {
        queue_.pop();
        ++batches_;
    }
    /// The head ends its batch, which is done with. What was not sent of it is not.
    void pop_batch() noexcept;

    /// Nothing is answered any more.
    void drop() noexcept;

    /// The server consents to COPY FROM STDIN.
    void begin_copy_in() noexcept { copy_in_ = CopyIn::open; }
    /// There is nothing to copy in any more, be it that all is copied, or that it failed. A batch
    /// that was held open for it is ended.
    void end_copy_in();
    /// The same, where it was asked for in the batch that is being answered, or in none.
    void end_copy_in_of_batch() {
        if (copy_in_ != CopyIn::none && queue_.in_last_batch()) end_copy_in();
    }

private:
    using Awaits = Request::Awaits;

    enum class CopyIn {
        none,
        asked,  // the server has not consented yet
        open,
    };

    template <typename Add>
    void add_to_batch(Response& response, Add add_requests);
    void add(const Request& request);
    void add_sync(bool in_between);
    void add_execution(Request& request, const Execution& execution);
    PreparedStatement& add_preparation(Request request, std::string_view name,
                                       std::string_view sql);
    void close_retired();
    void unpin(std::span<const Request> requests) noexcept;
    std::uint32_t next_statement(Response& response, std::size_t bytes_before) const noexcept;

    Writer writer_;
    RequestQueue queue_;
    PreparedStatements statements_;
    std::uint64_t sent_ = 0;     // bytes
    std::uint64_t batches_ = 0;  // ended, and Syncs in between answered
    CopyIn copy_in_ = CopyIn::none;
    bool in_batch_ = false;  // what was added last is not ended yet
    bool pipelines_ = true;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

namespace txscope::protocol {

TXSCOPE_INLINE void Requests::execute(Response& response, const Execution& execution) {
    add_to_batch(response, [&](Request& request) {
        request.copy = execution.copy;
        request.keep = execution.keep_result;
        request.changes_session = execution.changes_session;
        add_execution(request, execution);
        if (execution.copy == Copy::in) copy_in_ = CopyIn::asked;
    });
}

TXSCOPE_INLINE void Requests::prepare(Response& response, std::string_view name,
                                      std::string_view sql) {
    add_to_batch(response, [&](Request& request) {
        queue_.reserve(1);
        add_preparation(request, name, sql);
    });
}

TXSCOPE_INLINE void Requests::fetch(Response& response, std::string_view portal,
                                    std::uint32_t max_rows) {
    add_to_batch(response, [&](Request& request) {
        queue_.reserve(1);
        request.awaits = Awaits::portal_columns;
        request.keep = true;
        writer_.describe_portal(portal);
        writer_.execute(portal, max_rows);
        add(request);
    });
}

TXSCOPE_INLINE void Requests::close_portal(Response& response, std::string_view portal) {
    add_to_batch(response, [&](Request& request) {
        queue_.reserve(1);
        request.awaits = Awaits::close_complete;
        writer_.close_portal(portal);
        add(request);
    });
}

TXSCOPE_INLINE void Requests::sync() {
    assert(copy_in_ == CopyIn::none);
    add_sync(false);
    in_batch_ = false;
    ++batches_;
}

TXSCOPE_INLINE void Requests::add_sync(bool in_between) {
    queue_.reserve(1);
    writer_.sync();
    add({.awaits = Awaits::ready, .in_between = in_between, .end = sent_ + writer_.size()});
}

TXSCOPE_INLINE void Requests::query(Response& response, std::string_view sql, Copy copy,
                                    bool changes_session) {
    assert(copy_in_ == CopyIn::none && !in_batch_);
    queue_.reserve(1);
    Request request{.awaits = Awaits::query, .copy = copy, .simple = true, .keep = true};
    request.changes_session = changes_session;
    const std::size_t before = writer_.size();
    writer_.query(sql);
    request.response = &response;
    request.ordinal = next_statement(response, before);
    request.end = sent_ + writer_.size();
    add(request);
    ++batches_;
    if (copy == Copy::in || copy == Copy::both) copy_in_ = CopyIn::asked;
}

TXSCOPE_INLINE void Requests::copy_done() {
    if (copy_in_ != CopyIn::open) return;
    writer_.copy_done();
    Request& request = queue_.head();
    if (request.awaits == Awaits::copy_both)
        request.awaits = Awaits::copy_out;
    else
        request.awaits = request.after_copy();
    end_copy_in();
}

TXSCOPE_INLINE void Requests::copy_fail(std::string_view reason) {
    if (copy_in_ != CopyIn::open) return;
    writer_.copy_fail(reason);  // which the server answers with an error
    end_copy_in();
}

TXSCOPE_INLINE void Requests::end_copy_in() {
    copy_in_ = CopyIn::none;
    if (in_batch_) sync();
}

template <typename Add>
void Requests::add_to_batch(Response& response, Add add_requests) {
    assert(copy_in_ == CopyIn::none);
    const std::size_t requests = queue_.size();
    const std::size_t bytes = writer_.size();
    const std::uint32_t statements = response.statements_;
    const bool in_batch = in_batch_;
    try {
        if (!in_batch_)
            close_retired();
        else if (!pipelines_)
            add_sync(true);
        in_batch_ = true;
        Request request{.ordinal = next_statement(response, writer_.size()), .response = &response};
        add_requests(request);
    } catch (...) {
        for (const Request& request : queue_.from(requests)) undo(request);
        unpin(queue_.from(requests));
        queue_.truncate(requests);
        writer_.truncate(bytes);
        response.statements_ = statements;
        in_batch_ = in_batch;
        throw;
    }
}

TXSCOPE_INLINE void Requests::add_execution(Request& request, const Execution& execution) {
    queue_.reserve(2);
    PreparedStatement* statement = nullptr;
    if (!execution.name.empty() && statements_.capacity() > 0) {
        statement = execution.prepared;
        if (statement != nullptr)
            statements_.use(*statement);
        else
            statement = statements_.find(execution.name);
        if (statement == nullptr)
            statement = &add_preparation(request, execution.name, execution.sql);
        // What an earlier batch prepares may still fail to be.
        const bool is_there = statement->state == PreparedStatement::State::prepared ||
                              (statement->usable() && statement->batch == batches_);
        if (!is_there) statement = nullptr;
    }
    request.statement = statement;
    request.described = statement == nullptr && execution.returns_rows;
    request.awaits = statement == nullptr ? Awaits::parse_complete : Awaits::bind_complete;
    if (statement == nullptr) writer_.parse({}, execution.sql);
    const std::size_t place = writer_.size();
    writer_.bind(execution.portal, statement == nullptr ? std::string_view{} : statement->name,
                 execution.parameters);
    if (statement != nullptr) {
        request.columns = &statement->columns;
        if (request.keep && request.response->collector_ != nullptr) {
            request.columns = &statement->columns_for(*request.response->collector_);
            if (request.columns != &statement->columns)
                writer_.set_result_formats(place, **request.columns);
        }
    }
    if (request.described) writer_.describe_portal(execution.portal);
    writer_.execute(execution.portal, execution.max_rows);
    if (execution.copy == Copy::in) writer_.flush();  // Sync comes when all is copied
    add(request);
}

TXSCOPE_INLINE PreparedStatement& Requests::add_preparation(Request request, std::string_view name,
                                                            std::string_view sql) {
    PreparedStatement& statement = statements_.insert(name, batches_);
    request.changes_session = false;
    request.awaits = Awaits::parse_complete;
    request.prepares = true;
    request.statement = &statement;
    request.columns = &statement.columns;
    add(request);  // before what may throw: undone, the statement is forgotten
    writer_.parse(name, sql);
    writer_.describe_statement(name);
    return statement;
}

TXSCOPE_INLINE void Requests::close_retired() {
    for (;;) {
        queue_.reserve(1);
        PreparedStatement* const statement = statements_.next_to_close();
        if (statement == nullptr) return;
        add({.awaits = Awaits::close_complete, .statement = statement});
        writer_.close_statement(statement->name);
    }
}

TXSCOPE_INLINE void Requests::add(const Request& request) {
    if (request.statement != nullptr) statements_.pin(*request.statement);
    queue_.add(request);
}

TXSCOPE_INLINE std::uint32_t Requests::next_statement(Response& response,
                                                      std::size_t bytes_before) const noexcept {
    assert(response.stage_ == Response::Stage::outstanding);
    if (response.statements_ == 0) response.first_byte_ = sent_ + bytes_before;
    return response.statements_++;
}

TXSCOPE_INLINE void Requests::undo(const Request& request) noexcept {
    if (request.statement == nullptr) return;
    switch (request.awaits) {
        case Awaits::parse_complete:
            return statements_.forget(*request.statement);
        case Awaits::parameter_description:
        case Awaits::statement_columns:
            return statements_.retire(
                *request.statement);  // prepared it may be, described it is not
        case Awaits::close_complete:
            return statements_.give_back(*request.statement);
        default:
            return;
    }
}

TXSCOPE_INLINE void Requests::pop_batch() noexcept {
    unpin(queue_.batch());
    if (!pipelines_) sent(queue_.head().end - sent_);
    queue_.pop_batch();
    if (queue_.idle() && !in_batch_) copy_in_ = CopyIn::none;
}

TXSCOPE_INLINE void Requests::drop() noexcept {
    unpin(queue_.outstanding());
    queue_ = {};
    copy_in_ = CopyIn::none;
    in_batch_ = false;
}

TXSCOPE_INLINE void Requests::unpin(std::span<const Request> requests) noexcept {
    for (const Request& request : requests)
        if (request.statement != nullptr) statements_.unpin(*request.statement);
}

}  // namespace txscope::protocol

#endif
