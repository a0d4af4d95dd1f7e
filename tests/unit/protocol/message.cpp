#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/message.hpp>

#include <string>

using namespace txscope::protocol;
namespace server = support::server_message;

TEST_CASE("a body is read value by value", "[protocol]") {
    const std::string bytes =
        "\x07" + server::number16(300) + server::number32(70'000) + server::string("text") + "rest";
    BodyReader body{bytes};
    CHECK(body.byte() == 7);
    CHECK(body.number16() == 300);
    CHECK(body.number32() == 70'000);
    CHECK(body.string() == "text");
    CHECK_FALSE(body.complete());
    CHECK(body.bytes(2) == "re");
    CHECK(body.rest() == "st");
    CHECK(body.complete());
}

TEST_CASE("what reaches beyond a body's end reads as nothing and is remembered", "[protocol]") {
    BodyReader number{"abc"};
    CHECK(number.number32() == 0);
    CHECK_FALSE(number.whole());
    CHECK(number.byte() == 0);
    CHECK_FALSE(number.complete());

    BodyReader string{"no end"};
    CHECK(string.string() == "no end");
    CHECK_FALSE(string.whole());

    BodyReader empty{{}};
    CHECK(empty.complete());
    CHECK(empty.string().empty());
    CHECK_FALSE(empty.complete());
}

TEST_CASE("a message's type is named as in the manual, any other byte by its number",
          "[protocol]") {
    CHECK(words_for(MessageType::data_row) == "DataRow");
    CHECK(words_for(MessageType{'Z'}) == "ReadyForQuery");
    CHECK(words_for(MessageType{'\x7f'}) == "a message of the unknown type 0x7f");
    CHECK(words_for(MessageType{'\xe3'}) == "a message of the unknown type 0xe3");
    int known = 0;
    for (int byte = 0; byte < 256; ++byte)
        known += name_of(MessageType{static_cast<char>(byte)}).empty() ? 0 : 1;
    CHECK(known == 24);
}
