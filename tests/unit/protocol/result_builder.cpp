#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/result_builder.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

using namespace txscope::protocol;
namespace server = support::server_message;

namespace {

// A server's answer on its way into results.
struct Answer {
    void hear(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto space = reader.space();
            const std::size_t size = std::min(space.size(), bytes.size());
            std::memcpy(space.data(), bytes.data(), size);
            reader.received(size);
            bytes.remove_prefix(size);
        }
    }
    // Everything up to CommandComplete, which has to be there.
    ResultBlock finish() {
        while (reader.next() == Reader::Status::message) {
            if (reader.message().type == MessageType::data_row) CHECK(builder.add_row(reader));
            if (reader.message().type != MessageType::command_complete) continue;
            const auto body = reader.message().body;
            return builder.finish(reader, columns, body.substr(0, body.size() - 1));
        }
        FAIL("no CommandComplete");
        return {};
    }

    Reader reader;
    ResultBuilder builder{1'000'000};
    std::shared_ptr<const Columns> columns =
        Columns::parse(server::row_description({"id", "name"}).substr(5));
};

}  // namespace

TEST_CASE("a small result is copied out, and the reader's block used again", "[protocol]") {
    Answer answer;
    answer.hear(server::row({"1", "one"}) + server::row({"2", std::nullopt}) +
                server::complete("SELECT 2"));
    const std::size_t capacity = answer.reader.capacity();
    const ResultBlock result = answer.finish();
    answer.hear(std::string(1'000, 'x'));  // over where the rows were
    CHECK(answer.reader.capacity() == capacity);
    REQUIRE(result.size() == 2);
    CHECK(result[0][1] == "one");
    CHECK(result[1][0] == "2");
    CHECK(result[1][1] == std::nullopt);
    CHECK(result.tag() == "SELECT 2");
    REQUIRE(result.columns() != nullptr);
    CHECK((*result.columns())[1].name == "name");
}

TEST_CASE("a large result takes the block with it, and leaves what came behind", "[protocol]") {
    Answer answer;
    const std::string text(20'000, 'x');
    answer.hear(server::bind_complete() + server::row({"1", text}));
    CHECK(answer.reader.next() == Reader::Status::message);
    answer.hear(server::message('N', "a notice in between") + server::row({"2", text}) +
                server::complete("SELECT 2") + server::ready());
    const ResultBlock result = answer.finish();
    REQUIRE(answer.reader.next() == Reader::Status::message);
    CHECK(answer.reader.message().type == MessageType::ready_for_query);
    CHECK(answer.reader.capacity() <= Buffer::kept_capacity);
    answer.hear(std::string(1'000, 'x'));
    REQUIRE(result.size() == 2);
    CHECK(result[0][1] == text);
    CHECK(result[1][0] == "2");
    CHECK(result.tag() == "SELECT 2");
}

TEST_CASE("copies of a result share it, and the last one ends it", "[protocol]") {
    Answer answer;
    answer.hear(server::row({"1", "one"}) + server::complete("SELECT 1"));
    ResultBlock copy;
    {
        ResultBlock result = answer.finish();
        copy = result;
        CHECK(copy[0][1]->data() == result[0][1]->data());
        ResultBlock moved = std::move(result);
        CHECK(moved.size() == 1);
        const ResultBlock& same = moved;
        moved = same;
        CHECK(moved.size() == 1);
    }
    CHECK(copy[0][1] == "one");
    CHECK(answer.columns.use_count() == 2);
    copy = {};
    CHECK(answer.columns.use_count() == 1);
}

TEST_CASE("a result without rows has its tag, and the next one nothing of it", "[protocol]") {
    Answer answer;
    answer.hear(server::complete("INSERT 0 1") + server::row({"1", "one"}) +
                server::complete("SELECT 1") + server::complete(""));
    const ResultBlock insert = answer.finish();
    CHECK(insert.empty());
    CHECK(insert.tag() == "INSERT 0 1");
    CHECK(answer.finish().size() == 1);
    CHECK(answer.finish().tag().empty());
}

TEST_CASE("a result that is begun can be dropped", "[protocol]") {
    Answer answer;
    answer.hear(server::row({"1", "one"}));
    CHECK(answer.reader.next() == Reader::Status::message);
    CHECK(answer.builder.add_row(answer.reader));
    answer.builder.discard(answer.reader);
    CHECK(answer.reader.kept().empty());
    answer.hear(server::row({"2", "two"}) + server::complete("SELECT 1"));
    const ResultBlock result = answer.finish();
    REQUIRE(result.size() == 1);
    CHECK(result[0][0] == "2");
}

TEST_CASE("a result that is longer than the limit is refused", "[protocol]") {
    Answer answer;
    const std::string text(600'000, 'x');
    answer.hear(server::row({"1", text}) + server::row({"2", text}));
    CHECK(answer.reader.next() == Reader::Status::message);
    CHECK(answer.builder.add_row(answer.reader));
    CHECK(answer.reader.next() == Reader::Status::message);
    CHECK_FALSE(answer.builder.add_row(answer.reader));
}
