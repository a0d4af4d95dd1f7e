#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/uuid/uuid.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txscope {

/// `uuid` as Boost.Uuid's. Its generators make them (`boost/uuid/random_generator.hpp`).
template <>
struct SqlValue<boost::uuids::uuid> {
    static constexpr std::string_view type_names[] = {"uuid"};

    static std::string to_text(const boost::uuids::uuid& uuid) {
        std::string text;
        for (const std::uint8_t byte : uuid) {
            if (is_dash(text.size())) text += '-';
            text += digits[byte >> 4];
            text += digits[byte & 15];
        }
        return text;
    }

    static boost::uuids::uuid from_text(std::string_view text) {
        if (text.size() != 36) fail();
        boost::uuids::uuid uuid;
        std::size_t at = 0;
        for (std::uint8_t& byte : uuid) {
            if (is_dash(at) && text[at++] != '-') fail();
            const std::size_t high = digits.find(text[at++]);
            const std::size_t low = digits.find(text[at++]);
            if (high > 15 || low > 15) fail();
            byte = static_cast<std::uint8_t>(high << 4 | low);
        }
        return uuid;
    }

    static constexpr std::uint32_t binary_type = 2950;
    static boost::uuids::uuid from_binary(std::string_view bytes) {
        if (bytes.size() != 16) fail();
        boost::uuids::uuid uuid;
        std::ranges::transform(bytes, uuid.begin(),
                               [](char byte) { return static_cast<std::uint8_t>(byte); });
        return uuid;
    }

private:
    static constexpr std::string_view digits = "0123456789abcdef";  // PostgreSQL writes no others

    static bool is_dash(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }
    [[noreturn]] static void fail() { throw ValueError("the text is not a uuid"); }
};

}  // namespace txscope
