#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/error_response.hpp>
#include <txscope/protocol/message.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace txscope::protocol {

class Response;

/// What has come of the server's bytes. Its texts are views that end with the next call of the
/// pipeline.
struct Event {
    enum class Kind {
        none,      ///< More bytes are needed.
        answered,  ///< `response` is done.
        notice,    ///< `value` is what `ErrorResponse::parse` takes; `response` was being answered.
        notification,  ///< By the backend `process`, on the channel `name`, with the payload `value`.
        parameter,     ///< The setting `name` is `value` now.
        backend_key,  ///< For cancelling: the backend's `process`, and its secret as `value`.
        copy_in,    ///< `response` may copy data in: `copy_data`, then `copy_done` or `copy_fail`.
        copy_out,   ///< `response` gets data copied out.
        copy_both,  ///< Both.
        copy_data,  ///< `value` is data for `response`.
        copy_done,  ///< There is no more of it.
        lost,       ///< The connection is of no use any more: see `Pipeline::failure`. The last.
    };

    Kind kind = Kind::none;
    Response* response = nullptr;  ///< Null, too, for who does not wait any more.
    std::string_view name{};
    std::string_view value{};
    std::uint32_t process = 0;
    bool binary = false;          ///< Of COPY: the overall format.
    std::uint32_t statement = 0;  ///< Of a notice: which one of the response.
};

/// Why a connection is of no use any more.
struct Failure {
    enum class Reason {
        none,
        protocol_violation,  ///< The server's bytes are no protocol, or answer what was not asked.
        server_ended,        ///< The server has ended the session: `said`.
        copy_not_asked,      ///< COPY was executed like a statement without it.
        out_of_memory,
        closed,  ///< By either side, for what the owner says.
    };

    Reason reason = Reason::none;
    std::string text{};
    std::shared_ptr<const ErrorResponse> said{};
    /// What was to be answered next, and which of its statements; null for nothing.
    const Response* response = nullptr;
    std::uint32_t statement = 0;
};

/// Whether a server may send messages of that type at any time, whatever was asked.
/// Source: PostgreSQL manual, "Asynchronous Operations".
[[nodiscard]] constexpr bool is_asynchronous(MessageType type) noexcept {
    return type == MessageType::notice_response || type == MessageType::notification_response ||
           type == MessageType::parameter_status || type == MessageType::backend_key_data;
}

/// Nothing for a malformed one.
[[nodiscard]] std::optional<Event> parse_asynchronous(const Message& message);

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

namespace txscope::protocol {

TXSCOPE_INLINE std::optional<Event> parse_asynchronous(const Message& message) {
    BodyReader body{message.body};
    Event event;
    switch (message.type) {
        case MessageType::notification_response:
            event.kind = Event::Kind::notification;
            event.process = body.number32();
            event.name = body.string();
            event.value = body.string();
            break;
        case MessageType::parameter_status:
            event.kind = Event::Kind::parameter;
            event.name = body.string();
            event.value = body.string();
            break;
        case MessageType::backend_key_data:
            event.kind = Event::Kind::backend_key;
            event.process = body.number32();
            event.value = body.rest();
            break;
        default:
            event.kind = Event::Kind::notice;
            event.value = body.rest();
            if (!ErrorResponse::is_whole(event.value)) return std::nullopt;
    }
    if (!body.complete()) return std::nullopt;
    return event;
}

}  // namespace txscope::protocol

#endif
