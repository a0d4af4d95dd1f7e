#include "support/catch.hpp"
#include <txscope/protocol/numbers.hpp>

#include <string_view>

using namespace txscope::protocol;

TEST_CASE("numbers are written with the most significant byte first", "[protocol]") {
    char bytes[4];
    store16(bytes, 0x01ff);
    CHECK(std::string_view{bytes, 2} == std::string_view{"\x01\xff", 2});
    store32(bytes, 0xfe0203ff);
    CHECK(std::string_view{bytes, 4} == std::string_view{"\xfe\x02\x03\xff", 4});
}

TEST_CASE("what was written is read", "[protocol]") {
    char bytes[4];
    for (const std::uint32_t number : {0u, 1u, 0x7fu, 0x80u, 0xffffu, 0x12345678u, 0xffffffffu}) {
        store32(bytes, number);
        CHECK(load32(bytes) == number);
        store16(bytes, static_cast<std::uint16_t>(number));
        CHECK(load16(bytes) == static_cast<std::uint16_t>(number));
    }
}
