#include "support/catch.hpp"
#include "support/growth.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/reader.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace txscope::protocol;
namespace server = support::server_message;

namespace {

void hear(Reader& reader, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto space = reader.space();
        if (space.empty()) FAIL("no room for more");
        const std::size_t size = std::min(space.size(), bytes.size());
        std::memcpy(space.data(), bytes.data(), size);
        reader.received(size);
        bytes.remove_prefix(size);
    }
}

std::vector<std::string> messages(Reader& reader) {
    std::vector<std::string> found;
    while (reader.next() == Reader::Status::message)
        found.push_back(static_cast<char>(reader.message().type) +
                        std::string{reader.message().body});
    return found;
}

std::string complaint_about(std::string_view bytes, std::size_t limit = 0x40000000) {
    Reader reader{limit};
    hear(reader, bytes);
    return reader.next() == Reader::Status::malformed ? reader.complaint() : "";
}

}  // namespace

TEST_CASE("bytes cut anywhere are the same messages", "[protocol]") {
    const std::string bytes = server::bind_complete() + server::complete("SELECT 1") +
                              server::row({"a field"}) + server::ready();
    Reader whole;
    hear(whole, bytes);
    const auto expected = messages(whole);
    CHECK(expected.size() == 4);
    CHECK(expected[1] == "C" + server::string("SELECT 1"));
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        Reader reader;
        hear(reader, bytes.substr(0, cut));
        auto found = messages(reader);
        hear(reader, bytes.substr(cut));
        const auto rest = messages(reader);
        found.insert(found.end(), rest.begin(), rest.end());
        CHECK(found == expected);
    }
}

TEST_CASE("what is no message is told from one that is not there yet", "[protocol]") {
    const auto with_length = [](char type, std::uint32_t length) {
        return type + server::number32(length);
    };
    CHECK(complaint_about("") == "");
    CHECK(complaint_about("Z") == "");
    CHECK(complaint_about(with_length('D', 0x40000000)) == "");
    CHECK(complaint_about("\x15") == "the server sent a message of the unknown type 0x15");
    CHECK(complaint_about(with_length('D', 0)) ==
          "the server sent DataRow of an impossible length: 0");
    CHECK(complaint_about(with_length('D', 3)) ==
          "the server sent DataRow of an impossible length: 3");
    CHECK(complaint_about(with_length('D', 0xffffffff)) ==
          "the server sent DataRow of an impossible length: -1");
    CHECK(complaint_about(with_length('D', 0x40000001)) ==
          "the server sent DataRow of an impossible length: 1073741825");
    CHECK(complaint_about(with_length('D', 101), 100) ==
          "the server sent DataRow of an impossible length: 101");
    CHECK(complaint_about(with_length('Z', 30'001)) ==
          "the server sent ReadyForQuery of an impossible length: 30001");
}

TEST_CASE("a length that is announced takes no memory before the bytes come", "[protocol]") {
    Reader reader;
    hear(reader, 'D' + server::number32(1'000'000'000) + std::string(50'000, 'x'));
    CHECK(reader.next() == Reader::Status::incomplete);
    CHECK(reader.space().size() < 200'000);
}

TEST_CASE("messages that are kept lie in one block, however much arrives", "[protocol]") {
    Reader reader;
    const std::string row = server::row({"some field of a row"});
    std::string expected;
    hear(reader, server::bind_complete() + row);
    REQUIRE(messages(reader).size() == 2);
    reader.keep();
    expected += row;
    for (int i = 0; i < 10'000; ++i) {
        hear(reader, row);
        REQUIRE(reader.next() == Reader::Status::message);
        if (reader.kept().substr(reader.kept_offset()) != row.substr(5))
            FAIL("not where it is said");
        expected += row;
    }
    CHECK(reader.kept() == expected);

    hear(reader, server::ready() + "Z");
    const Buffer block = reader.take();
    CHECK(block.bytes() == expected);
    CHECK(reader.kept().empty());
    CHECK(messages(reader) == std::vector<std::string>{"ZI"});
    hear(reader, server::ready().substr(1));
    CHECK(messages(reader) == std::vector<std::string>{"ZI"});
}

TEST_CASE("the memory of what was long and is over is given back", "[protocol]") {
    Reader reader;
    hear(reader, server::row({std::string(1'000'000, 'x')}));
    REQUIRE(messages(reader).size() == 1);
    CHECK(reader.capacity() > 1'000'000);
    (void)reader.space();
    CHECK(reader.capacity() < 100'000);
}

TEST_CASE("reading takes linear time, kept or not", "[protocol]") {
    for (const bool keep : {false, true}) {
        CHECK(support::growth(80'000, [&](std::size_t count) {
                  Reader reader;
                  const std::string row = server::row({"some field of a row"});
                  for (std::size_t i = 0; i < count; ++i) {
                      hear(reader, row);
                      (void)reader.next();
                      if (keep) reader.keep();
                  }
              }) < 24);  // not with the square
    }
}
