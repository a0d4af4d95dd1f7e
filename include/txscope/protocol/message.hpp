#pragma once

#include <txscope/protocol/numbers.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txscope::protocol {

/// What a server sends. Source: PostgreSQL manual, "Message Formats".
enum class MessageType : char {
    authentication = 'R',
    backend_key_data = 'K',
    bind_complete = '2',
    close_complete = '3',
    command_complete = 'C',
    copy_both_response = 'W',
    copy_data = 'd',
    copy_done = 'c',
    copy_in_response = 'G',
    copy_out_response = 'H',
    data_row = 'D',
    empty_query_response = 'I',
    error_response = 'E',
    function_call_response = 'V',
    negotiate_protocol_version = 'v',
    no_data = 'n',
    notice_response = 'N',
    notification_response = 'A',
    parameter_description = 't',
    parameter_status = 'S',
    parse_complete = '1',
    portal_suspended = 's',
    ready_for_query = 'Z',
    row_description = 'T',
};

/// The manual's name of a type; empty for a byte that is none.
[[nodiscard]] constexpr std::string_view name_of(MessageType type) noexcept;

/// `DataRow`, or `a message of the unknown type 0x7f`
[[nodiscard]] std::string words_for(MessageType type);

/// A message as it arrived: what follows its type and length.
struct Message {
    MessageType type{};
    std::string_view body{};
};

/// Reads a message's body from its front. What reaches beyond its end reads as nothing, and is
/// remembered: ask `complete` once, when all is read.
class BodyReader {
public:
    explicit BodyReader(std::string_view body) noexcept : rest_{body} {}

    std::uint8_t byte() noexcept {
        const auto taken = bytes(1);
        return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken.front());
    }
    std::uint16_t number16() noexcept {
        const auto taken = bytes(2);
        return taken.empty() ? std::uint16_t{0} : load16(taken.data());
    }
    std::uint32_t number32() noexcept {
        const auto taken = bytes(4);
        return taken.empty() ? 0 : load32(taken.data());
    }
    /// Up to a NUL, which is left out.
    std::string_view string() noexcept {
        const auto text = bytes(std::min(rest_.find('\0'), rest_.size()));
        bytes(1);
        return text;
    }
    std::string_view bytes(std::size_t count) noexcept {
        if (count > rest_.size()) {
            cut_ = true;
            rest_ = {};
            return {};
        }
        const auto taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    /// All that is left.
    std::string_view rest() noexcept { return bytes(rest_.size()); }

    /// Whether everything that was read was there.
    [[nodiscard]] bool whole() const noexcept { return !cut_; }
    /// The same, and nothing is left.
    [[nodiscard]] bool complete() const noexcept { return whole() && rest_.empty(); }

private:
    std::string_view rest_;
    bool cut_ = false;
};

constexpr std::string_view name_of(MessageType type) noexcept {
    switch (type) {
        case MessageType::authentication:
            return "Authentication";
        case MessageType::backend_key_data:
            return "BackendKeyData";
        case MessageType::bind_complete:
            return "BindComplete";
        case MessageType::close_complete:
            return "CloseComplete";
        case MessageType::command_complete:
            return "CommandComplete";
        case MessageType::copy_both_response:
            return "CopyBothResponse";
        case MessageType::copy_data:
            return "CopyData";
        case MessageType::copy_done:
            return "CopyDone";
        case MessageType::copy_in_response:
            return "CopyInResponse";
        case MessageType::copy_out_response:
            return "CopyOutResponse";
        case MessageType::data_row:
            return "DataRow";
        case MessageType::empty_query_response:
            return "EmptyQueryResponse";
        case MessageType::error_response:
            return "ErrorResponse";
        case MessageType::function_call_response:
            return "FunctionCallResponse";
        case MessageType::negotiate_protocol_version:
            return "NegotiateProtocolVersion";
        case MessageType::no_data:
            return "NoData";
        case MessageType::notice_response:
            return "NoticeResponse";
        case MessageType::notification_response:
            return "NotificationResponse";
        case MessageType::parameter_description:
            return "ParameterDescription";
        case MessageType::parameter_status:
            return "ParameterStatus";
        case MessageType::parse_complete:
            return "ParseComplete";
        case MessageType::portal_suspended:
            return "PortalSuspended";
        case MessageType::ready_for_query:
            return "ReadyForQuery";
        case MessageType::row_description:
            return "RowDescription";
    }
    return {};
}

inline std::string words_for(MessageType type) {
    if (const auto name = name_of(type); !name.empty()) return std::string{name};
    constexpr std::string_view digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(type);
    return std::string{"a message of the unknown type 0x"} + digits[byte >> 4] + digits[byte & 15];
}

}  // namespace txscope::protocol
