#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/answers.hpp>
#include <txscope/protocol/event.hpp>
#include <txscope/protocol/requests.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

/// PostgreSQL's protocol, version 3, without I/O: no socket, no thread, no clock.
///
///     requests --> Pipeline ------> bytes for the server
///     events   <--          <------ bytes of the server
///
/// `Requests` writes messages (`Writer`, `Parameters`) and remembers what was asked (`RequestQueue`,
/// `PreparedStatements`). `Answers` cuts the server's bytes into messages (`Reader`) and matches them:
/// a `Response` is what one caller gets, with a `ResultBlock` of rows, or an `ErrorResponse`.
namespace txscope::protocol {

/// PostgreSQL's extended query protocol on one connection that is open already.
///
/// ```cpp
/// Response response;
/// pipeline.execute(response, {.sql = "SELECT 1"});
/// pipeline.sync();                                         // the end of the batch
/// pipeline.sent(send(socket, pipeline.output()));
/// pipeline.received(receive(socket, pipeline.space()));
/// for (Event event = pipeline.next(); event.kind != Event::Kind::none; event = pipeline.next())
///     ...                                                  // answered: response.result()
/// ```
///
/// Requests are answered in order. The first statement of a batch that fails makes the server skip
/// the rest of it; where pipelining is off, that is not sent. Bytes that are no protocol, or that answer what was not asked, lose the
/// connection: every response is done then, and `failure` says why.
///
/// Source: PostgreSQL manual, "Frontend/Backend Protocol", "Message Flow".
class Pipeline {
public:
    struct Options {
        std::size_t max_message = 0x40000000;  ///< Of the server, in bytes.
        std::size_t max_result = 0xffffffff;   ///< Of one statement, in bytes.
        std::size_t max_prepared_statements = 256;
    };

    Pipeline() : Pipeline{Options{}} {}
    explicit Pipeline(const Options& options)
        : requests_{options.max_prepared_statements},
          answers_{requests_, options.max_message, options.max_result} {}
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    // Requests. One that throws has changed nothing: see `Writer` for what it throws. On a connection
    // that is lost, a response is done at once, unsent.

    /// Adds a statement to the batch.
    void execute(Response& response, const Execution& execution) {
        if (failed()) return refuse(response);
        requests_.execute(response, execution);
    }
    /// Adds that `sql` is prepared under `name`, and described; and nothing else.
    void prepare(Response& response, std::string_view name, std::string_view sql) {
        if (failed()) return refuse(response);
        requests_.prepare(response, name, sql);
    }
    /// Adds that a suspended portal goes on for up to `max_rows` rows; 0 for all.
    void fetch(Response& response, std::string_view portal, std::uint32_t max_rows = 0) {
        if (failed()) return refuse(response);
        requests_.fetch(response, portal, max_rows);
    }
    /// Adds that a portal ends; no error where there is none.
    void close_portal(Response& response, std::string_view portal) {
        if (failed()) return refuse(response);
        requests_.close_portal(response, portal);
    }
    /// Ends the batch.
    void sync() {
        if (!failed()) requests_.sync();
    }
    /// A batch by itself of statements without parameters; of their results the last is kept.
    void query(Response& response, std::string_view sql, Copy copy = Copy::none,
               bool changes_session = false) {
        if (failed()) return refuse(response);
        requests_.query(response, sql, copy, changes_session);
    }

    /// While copying in, which `Event::Kind::copy_in` begins; without effect once it has failed.
    void copy_data(std::string_view data) { requests_.copy_data(data); }
    /// All is copied; ends the batch.
    void copy_done() { requests_.copy_done(); }
    /// Makes the COPY fail; ends the batch.
    void copy_fail(std::string_view reason) { requests_.copy_fail(reason); }

    /// From now on a batch goes out one statement at a time, each with a Sync of its own, when what is
    /// ahead of it is answered. To be called while nothing is outstanding.
    void stop_pipelining() noexcept { requests_.stop_pipelining(); }

    /// The last that is sent.
    void terminate() { requests_.terminate(); }

    /// Bytes for the server, as far as they may be sent now.
    [[nodiscard]] std::string_view output() const noexcept {
        return failed() ? std::string_view{} : requests_.output();
    }
    /// The socket has taken the first `count` bytes of `output`.
    void sent(std::size_t count) noexcept { requests_.sent(count); }

    // Answers.

    /// Where the server's next bytes go, and how many were put there.
    [[nodiscard]] std::span<char> space() { return answers_.space(); }
    void received(std::size_t count) noexcept { answers_.received(count); }

    /// What comes of them, one after another, until it is `none`.
    [[nodiscard]] Event next() noexcept;

    /// Gives the connection up: what is outstanding is lost, as the next events say.
    void fail(Failure failure) noexcept { answers_.fail(std::move(failure)); }
    /// Nobody waits for `response` any more, and it goes. What it asked for goes on.
    void abandon(Response& response) noexcept;

    // State.

    [[nodiscard]] bool failed() const noexcept { return answers_.failed(); }
    [[nodiscard]] const Failure& failure() const noexcept { return answers_.failure(); }
    /// Everything that was asked is answered.
    [[nodiscard]] bool idle() const noexcept { return requests_.queue().idle() && !in_batch(); }
    /// Something was added to a batch that is not ended yet.
    [[nodiscard]] bool in_batch() const noexcept { return requests_.in_batch(); }
    /// A COPY FROM STDIN was asked for that is not ended yet: only its data and end may be added.
    [[nodiscard]] bool copying_in() const noexcept { return requests_.copying_in(); }
    /// Whether the server may work on it now: what it works on shows at the batch's Sync only.
    [[nodiscard]] bool running(const Response& response) noexcept {
        for (const Request& request : requests_.queue().batch())
            if (request.response == &response) return true;
        return false;
    }
    /// After the last batch that was answered.
    [[nodiscard]] TransactionStatus transaction_status() const noexcept {
        return answers_.transaction_status();
    }
    /// Whether a statement may have left in the session what outlives its transaction.
    [[nodiscard]] bool session_changed() const noexcept { return answers_.session_changed(); }
    /// Whether DISCARD ALL has been executed since `keep_session`: the session as it is then counts as
    /// unchanged.
    [[nodiscard]] bool session_reset() const noexcept { return answers_.session_reset(); }
    void keep_session() noexcept { answers_.keep_session(); }
    /// The session is as it was opened, which the server cannot know.
    void session_restored() noexcept { answers_.session_restored(); }
    /// How many were ended: the round trips, as long as no two are on their way at once. Where
    /// pipelining is off, each statement that was answered counts as one.
    [[nodiscard]] std::uint64_t batches() const noexcept { return requests_.batches(); }

    /// What is prepared under `name`; null when nothing is.
    [[nodiscard]] const PreparedStatement* prepared(std::string_view name) noexcept {
        return requests_.statements().find(name);
    }
    /// The same, which stays where it is for as long as the pin, and no longer than this.
    [[nodiscard]] PreparedStatements::Pin pin(std::string_view name) noexcept {
        auto* const statement = requests_.statements().find(name);
        return statement == nullptr ? PreparedStatements::Pin{}
                                    : PreparedStatements::Pin{requests_.statements(), *statement};
    }
    /// A prepared statement is stale: it is prepared anew when it is executed next.
    void retire(std::string_view name) noexcept {
        if (auto* const statement = requests_.statements().find(name))
            requests_.statements().retire(*statement);
    }
    void retire_all() noexcept { requests_.statements().retire_all(); }

private:
    void refuse(Response& response) noexcept {
        answers_.answered().add(response, Response::Outcome::unsent);
    }

    Requests requests_;
    Answers answers_;
    bool loss_reported_ = false;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <exception>

namespace txscope::protocol {

TXSCOPE_INLINE Event Pipeline::next() noexcept {
    for (;;) {
        if (Response* const response = answers_.answered().take())
            return {.kind = Event::Kind::answered, .response = response};
        if (failed()) {
            const bool again = std::exchange(loss_reported_, true);
            return {.kind = again ? Event::Kind::none : Event::Kind::lost};
        }
        try {
            const Event event = answers_.next();
            if (event.kind != Event::Kind::none) return event;
            if (answers_.answered().empty() && !failed()) return {};
        } catch (const std::exception&) {  // an answer half taken is nobody's
            fail({.reason = Failure::Reason::out_of_memory});
        }
    }
}

TXSCOPE_INLINE void Pipeline::abandon(Response& response) noexcept {
    for (Request& request : requests_.queue().outstanding()) {
        if (request.response != &response) continue;
        request.response = nullptr;
        request.keep = false;
    }
    answers_.answered().remove(response);
}

}  // namespace txscope::protocol

#endif
