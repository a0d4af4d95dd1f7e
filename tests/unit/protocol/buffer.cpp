#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/protocol/buffer.hpp>

#include <string>
#include <utility>

using txscope::protocol::Buffer;

TEST_CASE("a buffer gives its bytes in the order in which they were appended", "[protocol]") {
    Buffer buffer;
    CHECK(buffer.bytes().empty());
    std::string expected;
    for (int i = 0; i < 5'000; ++i) {
        const std::string piece = "piece " + std::to_string(i);
        buffer.append(piece);
        expected += piece;
        if (i % 3 == 0) {
            buffer.consume(5);
            expected.erase(0, 5);
        }
    }
    CHECK(buffer.bytes() == expected);
}

TEST_CASE("what was prepared counts only when it was committed", "[protocol]") {
    Buffer buffer;
    buffer.append("ab");
    buffer.prepare(100)[0] = 'c';
    CHECK(buffer.bytes() == "ab");
    buffer.commit(1);
    CHECK(buffer.bytes() == "abc");
    buffer.truncate(1);
    CHECK(buffer.bytes() == "a");
}

TEST_CASE("a buffer's memory is used again, except for what was needed once", "[protocol]") {
    Buffer buffer;
    buffer.append("short");
    const char* const place = buffer.bytes().data();
    const std::size_t capacity = buffer.capacity();
    for (int i = 0; i < 100'000; ++i) {
        buffer.append("more");
        buffer.consume(4);
    }
    CHECK(buffer.capacity() == capacity);
    buffer.consume(buffer.size());
    buffer.append("short");
    CHECK(buffer.bytes().data() == place);

    buffer.append(std::string(10 * Buffer::kept_capacity, 'x'));
    CHECK(buffer.capacity() > Buffer::kept_capacity);
    buffer.consume(buffer.size());
    CHECK(buffer.capacity() <= Buffer::kept_capacity);
}

TEST_CASE("a buffer that is moved is empty", "[protocol]") {
    Buffer buffer;
    buffer.append("bytes");
    Buffer other{std::move(buffer)};
    CHECK(other.bytes() == "bytes");
    CHECK(buffer.bytes().empty());  // NOLINT(bugprone-use-after-move)
    buffer.append("new");
    other = std::move(buffer);
    CHECK(other.bytes() == "new");
}

TEST_CASE("appending and consuming in small pieces takes linear time", "[protocol]") {
    const auto append = [](std::size_t count) {
        Buffer buffer;
        for (std::size_t i = 0; i < count; ++i) buffer.append("0123456789");
        for (std::size_t i = 0; i < count; ++i) buffer.consume(10);
    };
    CHECK(support::growth(400'000, append) < 24);  // not with the square
    const auto pass_through = [](std::size_t count) {
        Buffer buffer;
        buffer.append(std::string(count, 'x'));  // never less is in it
        for (std::size_t i = 0; i < count; ++i) {
            buffer.append("0123456789");
            buffer.consume(10);
        }
    };
    CHECK(support::growth(400'000, pass_through) < 24);
}
