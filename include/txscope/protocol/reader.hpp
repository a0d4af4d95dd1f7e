#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/buffer.hpp>
#include <txscope/protocol/message.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace txscope::protocol {

/// Cuts the server's bytes, wherever they are cut on their way, into messages. These are views into
/// the block in which they arrived, until `space` is called.
///
/// Messages that are to stay are kept: `keep` says from which one on, and these then lie in one
/// block, which `take` hands over.
class Reader {
public:
    enum class Status {
        message,     ///< `message()` is the next one.
        incomplete,  ///< Its end has not arrived yet.
        malformed,   ///< What arrived is no message: see `complaint()`.
    };

    /// The longest message that is taken, its length included. The default is PostgreSQL's own limit
    /// for what it composes; no server sends more.
    explicit Reader(std::size_t max_message = 0x40000000) : max_message_{max_message} {}

    /// Where the next bytes go; some room there always is. Memory grows with what has arrived, not
    /// with what a message announces.
    [[nodiscard]] std::span<char> space();
    /// `count` bytes have been put there.
    void received(std::size_t count) noexcept { buffer_.commit(count); }

    Status next() noexcept;
    [[nodiscard]] const Message& message() const noexcept { return message_; }
    /// What is wrong with malformed bytes.
    [[nodiscard]] std::string complaint() const;

    /// From the last message on, all stay.
    void keep() noexcept {
        if (kept_ == nothing) kept_ = message_begin();
    }
    /// What is kept, up to the end of the last message.
    [[nodiscard]] std::string_view kept() const noexcept {
        return kept_ == nothing ? std::string_view{}
                                : buffer_.bytes().substr(kept_, parsed_ - kept_);
    }
    [[nodiscard]] std::size_t kept_size() const noexcept {
        return kept_ == nothing ? 0 : parsed_ - kept_;
    }
    /// Nothing is kept any more.
    void release() noexcept { kept_ = nothing; }
    /// The block with what is kept, and nothing else. What has arrived behind it is copied.
    [[nodiscard]] Buffer take();

    /// Where the last message's body stands in `kept()`.
    [[nodiscard]] std::size_t kept_offset() const noexcept {
        return message_begin() + header_size - kept_;
    }
    /// How much memory holds what has arrived.
    [[nodiscard]] std::size_t capacity() const noexcept { return buffer_.capacity(); }

private:
    static constexpr std::size_t header_size = 5;
    static constexpr std::size_t minimum_space = 4096;  // less is not worth a system call
    static constexpr std::size_t nothing = std::numeric_limits<std::size_t>::max();

    [[nodiscard]] std::size_t message_begin() const noexcept {
        return parsed_ - message_.body.size() - header_size;
    }

    Buffer buffer_;
    std::size_t parsed_ = 0;      // up to the end of the last message, from the buffer's front
    std::size_t kept_ = nothing;  // likewise
    std::size_t max_message_;
    Message message_;
    std::uint32_t length_ = 0;  // as the last message announced it
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <array>
#include <cassert>

namespace txscope::protocol {

/// How long messages of a type may be; 0 for a byte that is none.
///
/// Most are short: libpq, too, takes others of more than 30,000 bytes for a connection out of step,
/// rather than waiting for their ends.
[[nodiscard]] inline std::size_t longest(MessageType type) noexcept {
    static constexpr auto limits = [] {
        std::array<std::uint32_t, 256> table{};
        for (std::size_t byte = 0; byte < table.size(); ++byte)
            if (!name_of(MessageType{static_cast<char>(byte)}).empty()) table[byte] = 30'000;
        for (const char letter : {'d', 'D', 'E', 'N', 'A', 't', 'S', 'T'})
            table[static_cast<std::size_t>(letter)] = std::numeric_limits<std::uint32_t>::max();
        return table;
    }();
    return limits[static_cast<unsigned char>(type)];
}

TXSCOPE_INLINE std::span<char> Reader::space() {
    const std::size_t done = kept_ == nothing ? parsed_ : kept_;
    buffer_.consume(done);
    parsed_ -= done;
    if (kept_ != nothing) kept_ = 0;
    if (buffer_.room() < minimum_space) (void)buffer_.prepare(minimum_space);
    return {buffer_.prepare(0), buffer_.room()};
}

TXSCOPE_INLINE Reader::Status Reader::next() noexcept {
    std::string_view rest = buffer_.bytes();
    rest.remove_prefix(parsed_);
    if (rest.empty()) return Status::incomplete;
    message_.type = static_cast<MessageType>(rest.front());
    const std::size_t limit = longest(message_.type);
    if (limit == 0) return Status::malformed;
    if (rest.size() < header_size) return Status::incomplete;
    length_ = load32(rest.data() + 1);
    if (length_ < 4 || length_ > limit || length_ > max_message_) return Status::malformed;
    const std::size_t size = std::size_t{1} + length_;
    if (rest.size() < size) return Status::incomplete;
    message_.body = {rest.data() + header_size, size - header_size};
    parsed_ += size;
    return Status::message;
}

TXSCOPE_INLINE std::string Reader::complaint() const {
    std::string text = "the server sent " + words_for(message_.type);
    if (!name_of(message_.type).empty())
        text += " of an impossible length: " + std::to_string(static_cast<std::int32_t>(length_));
    return text;
}

TXSCOPE_INLINE Buffer Reader::take() {
    assert(kept_ != nothing);
    Buffer fresh;
    fresh.append(buffer_.bytes().substr(parsed_));
    buffer_.truncate(parsed_);
    if (kept_ > 0) buffer_.consume(kept_);
    parsed_ = 0;
    kept_ = nothing;
    message_.body = {};
    return std::exchange(buffer_, std::move(fresh));
}

}  // namespace txscope::protocol

#endif
