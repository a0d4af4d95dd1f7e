#include "support/catch.hpp"
#include <txscope/values/uuid.hpp>

#include <boost/uuid/uuid.hpp>

#include <cstdint>
#include <string>

using boost::uuids::uuid;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("a uuid is written and read as PostgreSQL writes it", "[uuid]") {
    uuid made;
    std::uint8_t next = 0;
    for (std::uint8_t& byte : made) byte = static_cast<std::uint8_t>(17 * next++);
    const std::string text = "00112233-4455-6677-8899-aabbccddeeff";
    CHECK(SqlValue<uuid>::to_text(made) == text);
    CHECK(SqlValue<uuid>::from_text(text) == made);
}

TEST_CASE("a text that is no uuid is refused", "[uuid]") {
    for (const char* text :
         {"", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
          "00112233445566778899aabbccddeeff    ", "00112233-4455-6677-8899-aabbccddeefg",
          "00112233-4455-6677-8899aabbccddee-ff"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<uuid>::from_text(text), ValueError);
    }
}
