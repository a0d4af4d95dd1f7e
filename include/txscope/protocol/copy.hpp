#pragma once

#include <txscope/protocol/message.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace txscope::protocol {

/// Which way data is copied. Source: PostgreSQL manual, "COPY Operations".
enum class Copy : std::uint8_t {
    none,
    in,
    out,
    both,  ///< Of the streaming replication protocol.
};

/// The server's consent to copy.
struct CopyResponse {
    Copy copy;
    bool binary;
};

/// Which of the three responses `type` is; `none` for other messages.
[[nodiscard]] constexpr Copy copy_of(MessageType type) noexcept {
    switch (type) {
        case MessageType::copy_in_response:
            return Copy::in;
        case MessageType::copy_out_response:
            return Copy::out;
        case MessageType::copy_both_response:
            return Copy::both;
        default:
            return Copy::none;
    }
}

/// Nothing when it is malformed.
[[nodiscard]] inline std::optional<CopyResponse> parse_copy_response(const Message& message) {
    BodyReader body{message.body};
    const std::uint8_t format = body.byte();
    body.bytes(std::size_t{2} * body.number16());  // a format of each column
    if (!body.complete() || format > 1) return std::nullopt;
    return CopyResponse{copy_of(message.type), format == 1};
}

}  // namespace txscope::protocol
