#pragma once

#include <txscope/protocol/pipeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Conversations with a server, recorded: what is asked, one request a line; an empty line; and
/// everything that the server said, byte by byte.
///
/// ```
/// execute SELECT $1::int | 42      its parameters, `\N` for NULL; a batch ends with
/// sync
/// prepared NAME SELECT 1           under that name
/// bare BEGIN                       returns no rows, and its result is not wanted
/// portal NAME 2 SELECT ...         up to 2 rows; `fetch NAME 2` goes on
/// query SELECT 1; SELECT 2         the simple protocol
/// copy_in COPY ... FROM STDIN      then, `await copy`ed: `data TEXT`, `copy_done` or `copy_fail WHY`
/// copy_out COPY ... TO STDOUT
/// + execute SELECT 1               for the same response as the request before
/// await                            until all of them are answered
/// abandon                          nobody waits for the last request any more
/// retire NAME                      the prepared statement is stale
/// elsewhere SELECT ...             on another connection; `$pid` is the first one's backend
/// unsent                           the socket takes nothing of what comes behind this
/// ```
namespace support {

struct Conversation {
    std::string requests;
    std::string server;

    static Conversation parse(std::string_view file) {
        const std::size_t end = file.find("\n\n");
        if (end == file.npos) return {std::string{file}, {}};
        return {std::string{file.substr(0, end + 1)}, std::string{file.substr(end + 2)}};
    }
};

/// Asks what a conversation asks, and notes what comes of it.
class Talk {
public:
    using Pipeline = txscope::protocol::Pipeline;
    using Event = txscope::protocol::Event;
    using Response = txscope::protocol::Response;

    /// `elsewhere` runs SQL on another connection. Without, nobody has to send what is asked.
    explicit Talk(std::string_view requests, const Pipeline::Options& options = {},
                  std::function<void(std::string_view sql)> elsewhere = {})
        : pipeline{options}, elsewhere_{std::move(elsewhere)}, rest_{requests} {
        ask();
    }

    /// What the socket is to take.
    std::string_view output() const { return sends_ ? pipeline.output() : std::string_view{}; }

    /// Takes what the server said, and asks what comes next.
    void hear(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto space = pipeline.space();
            const std::size_t size = std::min(space.size(), bytes.size());
            std::memcpy(space.data(), bytes.data(), size);
            pipeline.received(size);
            bytes.remove_prefix(size);
            take_events();
        }
    }
    void take_events() {
        for (;;) {
            const Event event = pipeline.next();
            if (event.kind == Event::Kind::none) return;
            note(event);
            ask();
        }
    }
    /// The server has closed the connection.
    void end() {
        pipeline.fail({.reason = txscope::protocol::Failure::Reason::closed, .text = "the end"});
        take_events();
    }

    /// Everything was asked and answered.
    bool over() const { return rest_.empty() && pipeline.idle(); }
    bool everybody_is_answered() const {
        return std::ranges::all_of(
            asked_, [](const Asked& one) { return one.response.done() || one.abandoned; });
    }
    /// What came of it, line by line.
    const std::string& notes() const { return notes_; }

    Pipeline pipeline;

private:
    struct Asked {
        Response response{};
        bool abandoned = false;
    };

    void ask() {
        while (!rest_.empty() && !pipeline.failed()) {
            const std::size_t end = std::min(rest_.find('\n'), rest_.size());
            std::string_view line = rest_.substr(0, end);
            if (line == "await" && !all_done()) return;
            if (line == "await copy" && !all_done() && !consented_) return;
            rest_.remove_prefix(std::min(end + 1, rest_.size()));
            try {
                ask(line);
            } catch (const std::exception& error) {
                notes_.append("refused: ").append(error.what()) += '\n';
            }
            if (!elsewhere_) pipeline.sent(output().size());
        }
    }

    void ask(std::string_view line) {
        const bool joins = line.starts_with("+ ") && pipeline.in_batch() && !asked_.empty() &&
                           !asked_.back().response.done() && !asked_.back().abandoned;
        if (line.starts_with("+ ")) line.remove_prefix(2);
        const auto verb = take_word(line);
        if (verb == "data") return pipeline.copy_data(unescaped(line));
        if (verb == "copy_done") return pipeline.copy_done();
        if (verb == "copy_fail") return pipeline.copy_fail(line);
        if (verb == "retire") return pipeline.retire(line);
        if (verb == "elsewhere" && elsewhere_) return elsewhere_(line);
        if (verb == "unsent") sends_ = false;
        if (verb == "abandon" && !asked_.empty()) {
            pipeline.abandon(asked_.back().response);
            asked_.back().abandoned = true;
            return;
        }
        if (pipeline.copying_in()) return;
        if (verb == "sync") return pipeline.sync();

        txscope::protocol::Execution execution;
        if (verb == "prepared") {
            execution.name = take_word(line);
        } else if (verb == "bare") {
            execution.keep_result = execution.returns_rows = false;
        } else if (verb == "portal" || verb == "fetch") {
            execution.portal = take_word(line);
            execution.max_rows = number(take_word(line));
        } else if (verb == "copy_in") {
            execution.copy = txscope::protocol::Copy::in;
        } else if (verb == "copy_out") {
            execution.copy = txscope::protocol::Copy::out;
        } else if (verb != "execute" && verb != "query") {
            return;
        }
        if (!joins) asked_.emplace_back();
        consented_ = false;
        Response& response = asked_.back().response;
        try {
            if (verb == "query") {
                if (pipeline.in_batch()) pipeline.sync();
                return pipeline.query(response, line);
            }
            if (verb == "fetch")
                return pipeline.fetch(response, execution.portal, execution.max_rows);
            std::string bytes;
            take_parameters(line, execution, bytes);
            pipeline.execute(response, execution);
        } catch (...) {
            if (!joins) asked_.pop_back();
            throw;
        }
    }

    static std::string_view take_word(std::string_view& line) {
        const std::size_t end = std::min(line.find(' '), line.size());
        const auto word = line.substr(0, end);
        line.remove_prefix(std::min(end + 1, line.size()));
        return word;
    }
    static std::uint32_t number(std::string_view word) {
        std::uint32_t value = 0;
        for (const char c : word.substr(0, 9))
            value = value * 10 + static_cast<std::uint32_t>(c >= '0' && c <= '9' ? c - '0' : 0);
        return value;
    }
    static std::string unescaped(std::string_view text) {
        std::string result;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool newline = text.substr(i, 2) == "\\n";
            result += newline ? '\n' : text[i];
            if (newline) ++i;
        }
        return result;
    }
    static void take_parameters(std::string_view line, txscope::protocol::Execution& execution,
                                std::string& bytes) {
        std::size_t end = line.find(" | ");
        execution.sql = line.substr(0, end);
        while (end != line.npos) {
            line.remove_prefix(end + 3);
            end = line.find(" | ");
            const auto value = line.substr(0, end);
            if (value == "\\N")
                txscope::protocol::append_null(bytes);
            else
                txscope::protocol::append_parameter(bytes, value);
            ++execution.parameters.count;
        }
        execution.parameters.bytes = bytes;
    }

    bool all_done() const { return pipeline.idle() && everybody_is_answered(); }

    void note(const Event& event) {
        using Kind = Event::Kind;
        switch (event.kind) {
            case Kind::none:
                return;
            case Kind::answered:
                note(*event.response);
                break;
            case Kind::notice: {
                const auto notice = txscope::protocol::ErrorResponse::parse(event.value);
                notes_ += "notice " + words(*notice);
                break;
            }
            case Kind::notification:
                notes_.append("notification ").append(event.name) += ' ';
                notes_ += event.value;
                break;
            case Kind::parameter:
                notes_.append("parameter ").append(event.name) += '=';
                notes_ += event.value;
                break;
            case Kind::backend_key:
                notes_ += "backend key";
                break;
            case Kind::copy_in:
            case Kind::copy_out:
            case Kind::copy_both:
                consented_ = true;
                notes_ += event.kind == Kind::copy_in    ? "copy in"
                          : event.kind == Kind::copy_out ? "copy out"
                                                         : "copy both";
                if (event.binary) notes_ += ", binary";
                break;
            case Kind::copy_data:
                notes_ += "data " + shown(event.value);
                break;
            case Kind::copy_done:
                notes_ += "copy done";
                break;
            case Kind::lost:
                notes_ += "lost: " + pipeline.failure().text;
                break;
        }
        notes_ += '\n';
    }

    void note(const Response& response) {
        using Outcome = Response::Outcome;
        static const std::map<Outcome, std::string> names{
            {Outcome::pending, "pending"}, {Outcome::succeeded, "succeeded"},
            {Outcome::failed, "failed"},   {Outcome::skipped, "skipped"},
            {Outcome::lost, "lost"},       {Outcome::rolled_back, "rolled back"},
            {Outcome::unsent, "unsent"}};
        const auto found = std::ranges::find_if(
            asked_, [&](const Asked& one) { return &one.response == &response; });
        notes_ += std::to_string(found - asked_.begin()) + ' ' + names.at(response.outcome());
        if (response.failed_statement() != Response::none)
            notes_ += " at " + std::to_string(response.failed_statement());
        if (response.error()) notes_ += ": " + words(*response.error());
        const auto& result = response.result();
        if (!result.tag().empty()) notes_.append(" ").append(result.tag());
        if (result.suspended()) notes_ += " suspended";
        if (result.columns() != nullptr) {
            notes_ += " [";
            for (const auto& column : *result.columns())
                notes_.append(column.name)
                    .append(&column == &*(result.columns()->end() - 1) ? "" : ", ");
            notes_ += ']';
        }
        std::string rows;
        for (std::size_t i = 0; i < result.size(); ++i) rows += row_words(result[i]);
        constexpr std::size_t few = 10;
        notes_ += result.size() <= few
                      ? rows
                      : ' ' + std::to_string(result.size()) + " rows: " + shown(rows);
        notes_.append(" -> ") += static_cast<char>(pipeline.transaction_status());
    }

    static std::string row_words(const txscope::protocol::RowView& row) {
        std::string text = " (";
        std::size_t column = 0;
        row.for_each([&](std::optional<std::string_view> field) {
            if (field != row[column]) text += "found otherwise by its index: ";
            if (column++ > 0) text += ", ";
            text += field ? shown(*field) : "NULL";
        });
        return text + ')';
    }
    static std::string words(const txscope::protocol::ErrorResponse& error) {
        return std::string{error.severity()}.append(" ").append(error.sqlstate()).append(" ") +
               std::string{error.message()};
    }
    // What is long is told by its size and a checksum.
    static std::string shown(std::string_view text) {
        if (text.size() <= 40) return '\'' + std::string{text} + '\'';
        std::uint32_t sum = 0;
        for (const char c : text) sum = sum * 31 + static_cast<unsigned char>(c);
        return '\'' + std::string{text.substr(0, 10)} + "...' " + std::to_string(text.size()) +
               " bytes, sum " + std::to_string(sum);
    }

    std::function<void(std::string_view sql)> elsewhere_;
    std::string_view rest_;  // of the requests
    std::deque<Asked> asked_;
    std::string notes_;
    bool consented_ = false;  // to copy
    bool sends_ = true;
};

}  // namespace support
