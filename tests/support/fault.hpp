#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

enum class Direction {
    to_server,
    to_client
};

inline Direction opposite(Direction way) {
    return way == Direction::to_server ? Direction::to_client : Direction::to_server;
}

/// What a `FaultProxy` does to a connection.
enum class Deed {
    cut,      ///< Close both sides in an orderly way, after what has passed until then.
    reset,    ///< The same, but the client sees "connection reset by peer".
    stall,    ///< Pass nothing on any more; what is sent waits, in the network as it were.
    swallow,  ///< Read and discard what is sent: a black hole.
};

/// The moment at which a fault strikes. Each strikes once, on the connection that gets there first.
struct When {
    enum class Event {
        statement,
        answer,
        message,
        bytes
    };

    Event event;
    std::string text{};
    Direction direction = Direction::to_server;
    std::int64_t count = 0;

    /// Whether `statement` holds the text, in whatever case its keywords are written.
    bool concerns(std::string_view statement) const {
        const auto same = [](char left, char right) {
            return std::toupper(static_cast<unsigned char>(left)) ==
                   std::toupper(static_cast<unsigned char>(right));
        };
        return std::search(statement.begin(), statement.end(), text.begin(), text.end(), same) !=
               statement.end();
    }
};

/// Before the message that runs a statement with this text in it reaches the server: what the
/// client sent before it has passed, it has not. A named statement runs when it is bound, under
/// the text with which it was once prepared.
inline When before_statement(std::string text) { return {When::Event::statement, std::move(text)}; }

/// When the server has run a statement with this text in it, and its whole batch up to
/// ReadyForQuery, so that what was to be committed is; of the answer, the client gets what came
/// before the statement's outcome (CommandComplete, ErrorResponse), and no more.
inline When before_answer(std::string text) { return {When::Event::answer, std::move(text)}; }

/// Before the `number`th message from now on, the next one being the first; start-up included.
inline When before_message(Direction direction, std::int64_t number) {
    return {When::Event::message, {}, direction, number};
}

/// When `bytes` more have passed, wherever in a message that is; start-up included.
inline When after_bytes(Direction direction, std::int64_t bytes) {
    return {When::Event::bytes, {}, direction, bytes};
}

/// A fault that waits for its moment.
struct Fault {
    Deed deed;
    When when;
};

/// What is to go wrong in a proxy, on whichever connection; used in the proxy's thread only.
class FaultPlan {
public:
    void arm(Fault fault) { armed_.push_back(std::move(fault)); }
    std::size_t disarm() { return std::exchange(armed_, {}).size(); }

    /// The deed that is due before this statement is run, or in the place of its answer.
    std::optional<Deed> due(When::Event event, const std::string& statement) {
        return take([&](const Fault& fault) {
            return fault.when.event == event && fault.when.concerns(statement);
        });
    }

    /// The deed that is due before the next message.
    std::optional<Deed> due_before_message(Direction direction) {
        return take([&](Fault& fault) {
            return fault.when.event == When::Event::message && fault.when.direction == direction &&
                   --fault.when.count <= 0;
        });
    }

    /// The deed that is due as `size` bytes pass; of them, `size` becomes those that still do.
    std::optional<Deed> due_within(Direction direction, std::size_t& size) {
        const auto all = static_cast<std::int64_t>(size);
        return take([&](Fault& fault) {
            if (fault.when.event != When::Event::bytes || fault.when.direction != direction)
                return false;
            const std::int64_t passing = std::min(all, fault.when.count);
            fault.when.count -= passing;
            if (fault.when.count > 0) return false;
            size = static_cast<std::size_t>(passing);
            return true;
        });
    }

    /// What holds for all connections, also future ones.
    struct Conditions {
        bool stalled = false;
        bool swallowed = false;
        std::chrono::milliseconds delay{0};
    };
    /// Nothing passes any more, either way, once a statement comes before the last one is answered.
    bool pipelines_stall = false;
    /// Statements that end like this are garbled, for the server to refuse them; empty for none.
    std::string garbled{};

    /// The last character of such a statement in a message; `npos` for none.
    std::size_t find_garbled(std::string_view message) const {
        if (garbled.empty()) return std::string_view::npos;
        const std::size_t at = message.find(garbled + '\0');
        return at == std::string_view::npos ? at : at + garbled.size() - 1;
    }

    Conditions& conditions(Direction direction) {
        return conditions_[static_cast<std::size_t>(direction)];
    }

private:
    template <class Predicate>
    std::optional<Deed> take(Predicate is_due) {
        const auto found = std::find_if(armed_.begin(), armed_.end(), is_due);
        if (found == armed_.end()) return std::nullopt;
        const Deed deed = found->deed;
        armed_.erase(found);
        return deed;
    }

    std::vector<Fault> armed_;
    std::array<Conditions, 2> conditions_;
};

}  // namespace support
