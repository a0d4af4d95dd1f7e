#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/copy.hpp>

#include <string>

using namespace txscope::protocol;
using namespace std::string_literals;

TEST_CASE("a response to COPY says which way, and in which format", "[protocol]") {
    const auto parse = [](MessageType type, const std::string& body) {
        return parse_copy_response({.type = type, .body = body});
    };
    const auto in = parse(MessageType::copy_in_response, "\0\0\2\0\0\0\0"s);
    REQUIRE(in);
    CHECK(in->copy == Copy::in);
    CHECK_FALSE(in->binary);
    CHECK(parse(MessageType::copy_out_response, "\1\0\1\0\1"s)->binary);
    CHECK(parse(MessageType::copy_both_response, "\0\0\0"s)->copy == Copy::both);
    CHECK(copy_of(MessageType::data_row) == Copy::none);
    for (const std::string& body : {""s, "\0\0"s, "\2\0\0"s, "\0\0\1"s, "\0\0\1\0\0x"s})
        CHECK_FALSE(parse(MessageType::copy_in_response, body));
}
