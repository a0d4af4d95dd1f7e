#pragma once

#include <cstdint>

/// Numbers as the protocol writes them: the most significant byte first.
///
/// Source: PostgreSQL manual, "Message Data Types". Compilers make one instruction of each.
namespace txscope::protocol {

[[nodiscard]] constexpr std::uint16_t load16(const char* from) noexcept {
    const auto byte = [&](int i) {
        return static_cast<unsigned>(static_cast<unsigned char>(from[i]));
    };
    return static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
}

[[nodiscard]] constexpr std::uint32_t load32(const char* from) noexcept {
    const auto byte = [&](int i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(from[i]));
    };
    return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

constexpr void store16(char* to, std::uint16_t number) noexcept {
    to[0] = static_cast<char>(number >> 8);
    to[1] = static_cast<char>(number);
}

constexpr void store32(char* to, std::uint32_t number) noexcept {
    to[0] = static_cast<char>(number >> 24);
    to[1] = static_cast<char>(number >> 16);
    to[2] = static_cast<char>(number >> 8);
    to[3] = static_cast<char>(number);
}

}  // namespace txscope::protocol
