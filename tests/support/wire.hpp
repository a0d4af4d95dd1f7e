#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// PostgreSQL's protocol 3, as far as somebody who listens in on it has to understand it
/// (PostgreSQL manual, "Frontend/Backend Protocol").
namespace support::wire {

/// One message, as long as the framer it came from is left alone.
struct Message {
    char type;               ///< '\0' for the messages before the start-up, which have no type.
    std::string_view bytes;  ///< All of it, header included.
    std::string_view body;   ///< What follows type and length.
};

inline std::uint32_t read_number(std::string_view bytes) {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i)
        number = number << 8 | static_cast<unsigned char>(bytes.at(i));
    return number;
}

/// Take a NUL-terminated string off the front of `body`.
inline std::string take_string(std::string_view& body) {
    const std::size_t end = body.find('\0');
    if (end == std::string_view::npos) throw std::runtime_error{"a string without an end"};
    std::string text{body.substr(0, end)};
    body.remove_prefix(end + 1);
    return text;
}

/// Codes in the place of a protocol version.
inline constexpr std::uint32_t cancel_request = 80877102;
inline constexpr std::uint32_t ssl_request = 80877103;
inline constexpr std::uint32_t gssenc_request = 80877104;

/// Cuts a stream of bytes into messages.
class Framer {
public:
    /// A client's stream begins with messages that have no type.
    explicit Framer(bool typed) : typed_{typed} {}

    void feed(std::string_view bytes) {
        buffer_.erase(0, consumed_);
        consumed_ = 0;
        buffer_ += bytes;
    }

    /// The next message that is there as a whole.
    std::optional<Message> next() {
        const std::string_view rest = std::string_view{buffer_}.substr(consumed_);
        const std::size_t type = typed_ ? 1 : 0;
        if (rest.size() < type + 4) return std::nullopt;
        const std::size_t length = read_number(rest.substr(type));
        if (length < 4) throw std::runtime_error{"a message shorter than its own length"};
        if (rest.size() < type + length) return std::nullopt;
        consumed_ += type + length;
        const std::string_view bytes = rest.substr(0, type + length);
        return Message{typed_ ? bytes[0] : '\0', bytes, bytes.substr(type + 4)};
    }

    /// Give `message`, the last that `next` returned, once more.
    void put_back(const Message& message) { consumed_ -= message.bytes.size(); }

    /// From here on messages have a type.
    void start_up_is_over() { typed_ = true; }

private:
    bool typed_;
    std::string buffer_;
    std::size_t consumed_ = 0;
};

using Text = std::shared_ptr<const std::string>;

/// Who said what on one connection, and what is yet to be answered.
///
/// **A round trip** begins with the first message that the client sends when nothing is left to be
/// answered, and lasts until everything it sent up to its last Sync, Query or Flush has been. What
/// it sends before the end of that belongs to the same round trip: so a batch is one, however many
/// packets carry it, and so are two batches with a Sync each that are written at once.
/// The start-up is none. COPY FROM STDIN is two: the client waits for the server's consent.
class Conversation {
public:
    struct Answered {
        Text completes;      ///< The statement whose outcome, good or bad, this message tells.
        bool ready = false;  ///< The batch is over: what it was to commit is committed.
    };

    /// Whether the start-up is over.
    bool started() const { return started_; }

    /// The statement that a Query or Bind of the client asks to run, else null.
    Text statement_of(const Message& message) const;

    /// How many statements are not answered yet; a Sync that belongs to none is one, too.
    std::int64_t unanswered() const {
        const auto count = [&](auto... types) {
            return std::ranges::count_if(
                pending_, [&](const Pending& each) { return ((each.type == types) || ...); });
        };
        return std::max(count('Q', 'E'), count('Q', 'S'));
    }

    /// Whether a round trip begins.
    bool client_says(const Message& message);
    Answered server_says(const Message& message);

private:
    /// A message of the client that the server has yet to answer.
    struct Pending {
        char type;
        Text statement;
    };

    static bool ends_batch(char type) { return type == 'S' || type == 'Q' || type == 'F'; }

    void skip_to_end_of_batch() {
        while (!pending_.empty() && !ends_batch(pending_.front().type)) pending_.pop_front();
    }

    std::map<std::string, Text> prepared_;
    std::map<std::string, Text> portals_;
    std::deque<Pending> pending_;
    bool started_ = false;
    bool composing_ = false;     // the client is in the middle of a batch
    bool clients_turn_ = false;  // the server waits for the data of a COPY
};

inline Text Conversation::statement_of(const Message& message) const {
    std::string_view body = message.body;
    if (!started_) return nullptr;
    if (message.type == 'Q') return std::make_shared<const std::string>(take_string(body));
    if (message.type != 'B') return nullptr;
    take_string(body);  // the portal
    const auto prepared = prepared_.find(take_string(body));
    return prepared == prepared_.end() ? nullptr : prepared->second;
}

inline bool Conversation::client_says(const Message& message) {
    if (!started_ || message.type == 'X') return false;
    if (message.type == 'd' || message.type == 'c' || message.type == 'f')
        return std::exchange(clients_turn_, false);

    const bool begins = !composing_ && pending_.empty();
    composing_ = !ends_batch(message.type) && message.type != 'H';
    Text statement = statement_of(message);
    std::string_view body = message.body;
    if (message.type == 'P') {
        const std::string name = take_string(body);
        prepared_[name] = std::make_shared<const std::string>(take_string(body));
    } else if (message.type == 'B') {
        portals_[take_string(body)] = statement;
    } else if (message.type == 'E') {
        statement = portals_[take_string(body)];
    }
    if (message.type != 'H') pending_.push_back({message.type, statement});
    return begins;
}

inline Conversation::Answered Conversation::server_says(const Message& message) {
    Answered answered;
    if (!started_) {
        started_ = message.type == 'Z';
        return answered;
    }
    if (pending_.empty()) return answered;  // notices, notifications, a farewell
    const Pending head = pending_.front();
    switch (message.type) {
        case '1':
        case '2':
        case '3':
            pending_.pop_front();
            break;
        case 'T':
        case 'n':
            if (head.type == 'D') pending_.pop_front();
            break;
        case 'C':
        case 'I':
        case 's':
            answered.completes = head.statement;
            if (head.type == 'E') pending_.pop_front();
            break;
        case 'E':
            answered.completes = head.statement;
            // The server ignores what comes before the next Sync; so does the case 'Z'.
            if (!ends_batch(head.type)) skip_to_end_of_batch();
            break;
        case 'G':
            // A Sync that the client sent along is ignored while the server waits for data.
            clients_turn_ = true;
            pending_.erase(pending_.begin() + 1, pending_.end());
            break;
        case 'Z':
            skip_to_end_of_batch();
            if (!pending_.empty()) pending_.pop_front();
            clients_turn_ = false;
            answered.ready = true;
            break;
        default:
            break;
    }
    return answered;
}

}  // namespace support::wire
