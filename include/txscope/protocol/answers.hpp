#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/error_response.hpp>
#include <txscope/protocol/event.hpp>
#include <txscope/protocol/reader.hpp>
#include <txscope/protocol/requests.hpp>
#include <txscope/protocol/response.hpp>
#include <txscope/protocol/result_builder.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::protocol {

/// As ReadyForQuery tells it.
enum class TransactionStatus : char {
    idle = 'I',
    open = 'T',
    failed = 'E',  ///< Open, and refusing everything but its end.
};

/// What the server says, matched to what was asked. The half of `Pipeline` that receives.
class Answers {
public:
    Answers(Requests& requests, std::size_t max_message, std::size_t max_result)
        : requests_{requests}, reader_{max_message}, builder_{max_result} {}

    [[nodiscard]] std::span<char> space() {
        if (reader_.kept_size() >= Buffer::kept_capacity / 2) collect();
        return reader_.space();
    }
    void received(std::size_t count) noexcept { reader_.received(count); }

    /// Takes messages, until there is an event or an answer to be reported, or no more of them, or a
    /// failure: what is no protocol, or not what was asked for.
    [[nodiscard]] Event next();

    /// The connection is of no use any more: nobody is answered, and nothing more is taken.
    void fail(Failure failure) noexcept;
    [[nodiscard]] bool failed() const noexcept { return failure_.reason != Failure::Reason::none; }
    [[nodiscard]] const Failure& failure() const noexcept { return failure_; }

    /// Those that are answered, or never will be.
    [[nodiscard]] ResponseList& answered() noexcept { return answered_; }
    /// After the last batch that was answered.
    [[nodiscard]] TransactionStatus transaction_status() const noexcept { return status_; }
    /// Whether a statement may have left in the session what outlives its transaction.
    [[nodiscard]] bool session_changed() const noexcept { return session_changed_; }
    /// Whether DISCARD ALL has been executed since `keep_session`.
    [[nodiscard]] bool session_reset() const noexcept { return session_reset_; }
    /// The session is as it was opened: it counts as unchanged.
    void session_restored() noexcept { session_changed_ = false; }
    /// The session as it is counts as unchanged, and not as reset.
    void keep_session() noexcept { session_changed_ = session_reset_ = false; }

private:
    using Awaits = Request::Awaits;
    using Outcome = Response::Outcome;

    enum class Taken {
        well,  // or for a failure
        unexpected,
        malformed,
    };

    void take(const Message& message, Event& event);
    Taken take_asked(const Message& message, Event& event);
    Taken take_unasked(const Message& message, Event& event);
    Taken take_done(const Message& message, Request& request, MessageType awaited);
    // Seldom done, and apart: what asks which message has come is done all the time.
    [[gnu::cold]] Taken take_parameters(const Message& message, Request& request);
    Taken take_columns(const Message& message, Request& request);
    Taken take_execution(const Message& message, Request& request, Event& event);
    Taken take_row(const Message& message, const Request& request);
    void collect();
    void complete(Request& request, std::string_view tag, bool suspended);
    Taken begin_copy(const Message& message, Request& request, Event& event);
    Taken take_copied(const Message& message, Request& request, Event& event);
    Taken take_error(const Message& message);
    Taken take_ready(const Message& message);

    Request& head() noexcept { return requests_.queue().head(); }
    std::shared_ptr<const Columns>& columns_of(const Request& request) noexcept {
        return request.columns != nullptr ? *request.columns : columns_;
    }
    void note_command(std::string_view tag) noexcept;
    void note_error();
    void skip(const Request& request) noexcept;
    void violated(std::string text) noexcept {
        fail({.reason = Failure::Reason::protocol_violation, .text = std::move(text)});
    }
    void refuse(MessageType type, Taken taken);

    Requests& requests_;
    Reader reader_;
    ResultBuilder builder_;
    std::shared_ptr<const Columns> columns_;      // of a portal whose statement has no name
    std::shared_ptr<const ErrorResponse> error_;  // of the batch; the server skips what follows it
    ResponseList answered_;
    Failure failure_;
    TransactionStatus status_ = TransactionStatus::idle;
    bool session_changed_ = false;
    bool session_reset_ = false;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <txscope/core/sqlstate.hpp>
#include <txscope/protocol/copy.hpp>

namespace txscope::protocol {

TXSCOPE_INLINE Event Answers::next() {
    Event event;
    while (event.kind == Event::Kind::none && answered_.empty() && !failed()) {
        const Reader::Status status = reader_.next();
        if (status == Reader::Status::incomplete) break;
        if (status == Reader::Status::malformed)
            violated(reader_.complaint());
        else
            take(reader_.message(), event);
    }
    return event;
}

TXSCOPE_INLINE void Answers::take(const Message& message, Event& event) {
    const MessageType type = message.type;
    Taken taken = take_asked(message, event);
    if (taken == Taken::unexpected) taken = take_unasked(message, event);
    if (taken != Taken::well) refuse(type, taken);
}

/// What may come at any time.
TXSCOPE_INLINE Answers::Taken Answers::take_unasked(const Message& message, Event& event) {
    if (message.type == MessageType::error_response) return take_error(message);
    if (!is_asynchronous(message.type)) return Taken::unexpected;
    const auto parsed = parse_asynchronous(message);
    if (!parsed) return Taken::malformed;
    event = *parsed;
    if (event.kind == Event::Kind::notice && !requests_.queue().idle()) {
        event.response = head().response;
        event.statement = head().ordinal;
    }
    return Taken::well;
}

/// What was asked for next; nothing is changed by what was not.
TXSCOPE_INLINE Answers::Taken Answers::take_asked(const Message& message, Event& event) {
    RequestQueue& queue = requests_.queue();
    if (queue.idle()) return Taken::unexpected;
    if (error_ != nullptr) {
        if (message.type != MessageType::ready_for_query || !queue.batch_is_ended())
            return Taken::unexpected;
        return take_ready(message);
    }
    Request& request = queue.head();
    switch (request.awaits) {
        case Awaits::parse_complete:
            return take_done(message, request, MessageType::parse_complete);
        case Awaits::parameter_description:
            return take_parameters(message, request);
        case Awaits::statement_columns:
        case Awaits::portal_columns:
            return take_columns(message, request);
        case Awaits::bind_complete:
            return take_done(message, request, MessageType::bind_complete);
        case Awaits::completion:
        case Awaits::query:
            return take_execution(message, request, event);
        case Awaits::copy_in:
            return Taken::unexpected;
        case Awaits::copy_out:
        case Awaits::copy_both:
            return take_copied(message, request, event);
        case Awaits::copy_completion:
            if (message.type != MessageType::command_complete) return Taken::unexpected;
            return take_execution(message, request, event);
        case Awaits::close_complete:
            return take_done(message, request, MessageType::close_complete);
        case Awaits::ready:
            if (message.type != MessageType::ready_for_query) return Taken::unexpected;
            return take_ready(message);
    }
    return Taken::unexpected;
}

/// What says that something is done, and nothing more.
TXSCOPE_INLINE Answers::Taken Answers::take_done(const Message& message, Request& request,
                                                 MessageType awaited) {
    if (message.type != awaited) return Taken::unexpected;
    if (!message.body.empty()) return Taken::malformed;
    if (awaited == MessageType::bind_complete) {
        request.awaits = request.described ? Awaits::portal_columns : Awaits::completion;
    } else if (awaited == MessageType::close_complete) {
        if (request.statement != nullptr) requests_.statements().forget(*request.statement);
        requests_.queue().pop();
    } else if (request.prepares) {
        requests_.statements().confirm(*request.statement);
        request.awaits = Awaits::parameter_description;
    } else {
        request.awaits = Awaits::bind_complete;
    }
    return Taken::well;
}

TXSCOPE_INLINE Answers::Taken Answers::take_parameters(const Message& message, Request& request) {
    if (message.type != MessageType::parameter_description) return Taken::unexpected;
    BodyReader body{message.body};
    std::vector<std::uint32_t> types;
    for (int left = body.number16(); left > 0 && body.whole(); --left)
        types.push_back(body.number32());
    if (!body.complete()) return Taken::malformed;
    request.statement->parameter_types = std::move(types);
    request.awaits = Awaits::statement_columns;
    return Taken::well;
}

TXSCOPE_INLINE Answers::Taken Answers::take_columns(const Message& message, Request& request) {
    if (message.type == MessageType::no_data && request.awaits != Awaits::query) {
        if (!message.body.empty()) return Taken::malformed;
        columns_of(request) = nullptr;
    } else {
        if (message.type != MessageType::row_description) return Taken::unexpected;
        columns_of(request) = Columns::parse(message.body);
        if (columns_of(request) == nullptr) return Taken::malformed;
    }
    if (request.awaits == Awaits::portal_columns)
        request.awaits = Awaits::completion;
    else if (request.awaits == Awaits::statement_columns)
        requests_.queue().pop();
    return Taken::well;
}

TXSCOPE_INLINE Answers::Taken Answers::take_execution(const Message& message, Request& request,
                                                      Event& event) {
    const bool query = request.awaits == Awaits::query;
    std::string_view tag;
    switch (message.type) {
        case MessageType::data_row:
            return take_row(message, request);
        case MessageType::command_complete:
            if (!message.body.ends_with('\0')) return Taken::malformed;
            tag = {message.body.data(), message.body.size() - 1};
            break;
        case MessageType::portal_suspended:
            if (query) return Taken::unexpected;
            [[fallthrough]];
        case MessageType::empty_query_response:
            if (!message.body.empty()) return Taken::malformed;
            break;
        case MessageType::copy_in_response:
        case MessageType::copy_out_response:
        case MessageType::copy_both_response:
            return begin_copy(message, request, event);
        case MessageType::row_description:
            return query ? take_columns(message, request) : Taken::unexpected;
        case MessageType::ready_for_query:
            return query ? take_ready(message) : Taken::unexpected;
        default:
            return Taken::unexpected;
    }
    complete(request, tag, message.type == MessageType::portal_suspended);
    return Taken::well;
}

TXSCOPE_INLINE Answers::Taken Answers::take_row(const Message& message, const Request& request) {
    if (columns_of(request) == nullptr) return Taken::unexpected;
    if (!is_row(message.body, columns_of(request)->size())) return Taken::malformed;
    if (request.keep && !builder_.add_row(reader_))
        violated("the server sent a result that is longer than the limit");
    return Taken::well;
}

/// The rows that have arrived, where they are wanted so. The block with them is used again then before
/// it has left the cache, and they are read while the server is busy with the next ones.
TXSCOPE_INLINE void Answers::collect() {
    const Request& request = head();
    if (!request.keep || request.response->collector_ == nullptr) return;
    Response& response = *request.response;
    response.collector_->add(response.collected_,
                             builder_.finish(reader_, columns_of(request), {}));
}

/// A statement was executed, or has given as many rows as were asked for.
TXSCOPE_INLINE void Answers::complete(Request& request, std::string_view tag, bool suspended) {
    session_changed_ |= request.changes_session;
    if (!tag.empty() && tag.back() > '9') note_command(tag);  // that of a query ends in a number
    if (request.keep)
        request.response->keep(builder_.finish(reader_, columns_of(request), tag, suspended));
    else
        builder_.discard(reader_);
    columns_ = nullptr;
    if (request.simple) {
        request.awaits = Awaits::query;
    } else {
        RequestQueue& queue = requests_.queue();
        queue.pop();
        if (queue.idle()) requests_.end_copy_in_of_batch();  // it was no COPY at all
    }
}

/// What a command without rows means for what comes behind it.
TXSCOPE_INLINE void Answers::note_command(std::string_view tag) noexcept {
    if (tag == "COMMIT" || tag == "PREPARE TRANSACTION") requests_.queue().note_commit();
    if (tag == "DISCARD ALL") session_reset_ = true;
    if (tag == "DISCARD ALL" || tag == "DEALLOCATE ALL") requests_.statements().forget_prepared();
}

TXSCOPE_INLINE Answers::Taken Answers::take_error(const Message& message) {
    auto error = ErrorResponse::parse(message.body);
    if (error == nullptr) return Taken::malformed;
    if (error->ends_session()) {
        std::string text{error->message()};
        fail({Failure::Reason::server_ended, std::move(text), std::move(error)});
        return Taken::well;
    }
    if (requests_.queue().idle() || error_ != nullptr) return Taken::unexpected;
    error_ = std::move(error);
    columns_ = nullptr;
    builder_.discard(reader_);
    note_error();
    requests_.end_copy_in_of_batch();
    return Taken::well;
}

TXSCOPE_INLINE void Answers::note_error() {
    const Request& request = head();
    if (request.awaits == Awaits::ready) {
        // The implicit COMMIT has failed: what it was to commit is undone.
        for (const Request& undone : requests_.queue().uncommitted())
            if (undone.response != nullptr) undone.response->fail(Outcome::failed, error_);
        return;
    }
    if (request.response != nullptr)
        request.response->fail(Outcome::failed, error_, request.ordinal);
    session_changed_ |= request.changes_session;  // a session's locks outlive a failure
    if (request.statement == nullptr) return;
    if (request.awaits != Awaits::parse_complete) {
        const auto code = error_->own_sqlstate();
        if (code == sqlstate::feature_not_supported)  // "cached plan must not change result type"
            requests_.statements().retire(*request.statement);
        if (code == sqlstate::invalid_sql_statement_name)  // somebody deallocated it
            requests_.statements().forget(*request.statement);
    }
    requests_.undo(request);
}

TXSCOPE_INLINE void Answers::skip(const Request& request) noexcept {
    if (request.response != nullptr) request.response->fail(Outcome::skipped, error_);
    requests_.undo(request);
}

TXSCOPE_INLINE Answers::Taken Answers::take_ready(const Message& message) {
    const char status = message.body.size() == 1 ? message.body.front() : '\0';
    if (status != 'I' && status != 'T' && status != 'E') return Taken::malformed;
    if (!requests_.sync_is_sent()) return Taken::unexpected;
    status_ = static_cast<TransactionStatus>(status);
    RequestQueue& queue = requests_.queue();
    if (error_ == nullptr && queue.head().in_between) {
        if (status_ == TransactionStatus::idle) queue.note_commit();
        requests_.pop_sync();
        return Taken::well;
    }
    if (error_ != nullptr) {
        for (; !queue.head().ends_batch(); queue.pop()) skip(queue.head());
        // No transaction has outlived the error: what no COMMIT had made safe is undone.
        if (status_ == TransactionStatus::idle)
            for (const Request& request : queue.uncommitted())
                if (request.response != nullptr)
                    request.response->fail(Outcome::rolled_back, error_);
    }
    for (const Request& request : queue.batch())
        if (request.response != nullptr) answered_.add(*request.response, Outcome::succeeded);
    requests_.pop_batch();
    builder_.discard(reader_);
    columns_ = nullptr;
    error_ = nullptr;
    return Taken::well;
}

TXSCOPE_INLINE void Answers::fail(Failure failure) noexcept {
    if (failed()) return;
    failure_ = std::move(failure);
    if (!requests_.queue().idle()) {
        failure_.response = head().response;
        failure_.statement = head().ordinal;
    }
    for (const Request& request : requests_.queue().outstanding()) {
        if (request.response == nullptr) continue;
        const bool sent = requests_.is_sent(*request.response);
        request.response->fail(sent ? Outcome::lost : Outcome::unsent, failure_.said);
        answered_.add(*request.response, Outcome::lost);
    }
    requests_.drop();
    builder_.discard(reader_);
}

TXSCOPE_INLINE void Answers::refuse(MessageType type, Taken taken) {
    if (taken == Taken::malformed)
        return violated("the server sent a malformed " + words_for(type));
    std::string text = "the server sent " + words_for(type);
    if (requests_.queue().idle())
        text += ", and nothing was asked";
    else if (error_ != nullptr)
        text += " behind an error, where only ReadyForQuery may come";
    else
        text.append(" in answer to ").append(name_of(head()));
    violated(std::move(text));
}

}  // namespace txscope::protocol

#include <txscope/protocol/copy_answers.hpp>

#endif
