#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/event.hpp>

#include <string>

using namespace txscope::protocol;
using namespace std::string_literals;
namespace server = support::server_message;

TEST_CASE("what comes unasked is told by its kind", "[protocol]") {
    const auto parse = [](MessageType type, const std::string& body) {
        CHECK(is_asynchronous(type));
        return parse_asynchronous({.type = type, .body = body});
    };
    const std::string notification =
        server::number32(4711) + server::string("news") + server::string("text");
    const auto news = parse(MessageType::notification_response, notification);
    REQUIRE(news);
    CHECK(news->kind == Event::Kind::notification);
    CHECK(news->process == 4711);
    CHECK(news->name == "news");
    CHECK(news->value == "text");
    CHECK_FALSE(parse(MessageType::notification_response, notification + "x"));
    CHECK_FALSE(parse(MessageType::notification_response, notification.substr(0, 12)));

    const std::string setting = "TimeZone\0UTC\0"s;
    const auto parameter = parse(MessageType::parameter_status, setting);
    REQUIRE(parameter);
    CHECK(parameter->kind == Event::Kind::parameter);
    CHECK(parameter->name == "TimeZone");
    CHECK(parameter->value == "UTC");
    CHECK_FALSE(parse(MessageType::parameter_status, "TimeZone\0UTC"s));

    const std::string process_and_secret = server::number32(7) + "secret";
    const auto key = parse(MessageType::backend_key_data, process_and_secret);
    REQUIRE(key);
    CHECK(key->kind == Event::Kind::backend_key);
    CHECK(key->process == 7);
    CHECK(key->value == "secret");
    CHECK_FALSE(parse(MessageType::backend_key_data, "abc"));

    CHECK(parse(MessageType::notice_response, server::error_body("00000", "a notice"))->kind ==
          Event::Kind::notice);
    CHECK_FALSE(parse(MessageType::notice_response, "no notice"));
    CHECK_FALSE(is_asynchronous(MessageType::error_response));
}
