#include "support/catch.hpp"
#include "support/failure.hpp"
#include <txscope/session/detail/replicas.hpp>
#include <txscope/session/replicas.hpp>

#include <pqxx/except>

#include <chrono>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace std::chrono_literals;
using txscope::ReadYourWrites;
using txscope::detail::Clock;
using txscope::detail::ReplicaOrder;
using txscope::detail::WrittenPosition;

const Clock::time_point now = Clock::time_point{} + 1h;

std::vector<std::size_t> asked_by_next(ReplicaOrder& order, Clock::time_point when = now) {
    std::vector<std::size_t> asked;
    auto turn = order.begin();
    for (auto next = order.next(turn, when); next; next = order.next(turn, when))
        asked.push_back(*next);
    return asked;
}

ReadYourWrites at(std::uint64_t timeline, std::uint64_t position) {
    ReadYourWrites written;
    written.timeline = timeline;
    written.position = position;
    return written;
}

}  // namespace

TEST_CASE("each scope begins with the next replica, and asks all of them", "[replicas]") {
    ReplicaOrder order{3};
    using Order = std::vector<std::size_t>;
    CHECK(asked_by_next(order) == Order{0, 1, 2});
    CHECK(asked_by_next(order) == Order{1, 2, 0});
    CHECK(asked_by_next(order) == Order{2, 0, 1});
    CHECK(asked_by_next(order) == Order{0, 1, 2});
}

TEST_CASE("a replica that is left out is asked again when its time is over", "[replicas]") {
    ReplicaOrder order{2};
    using Order = std::vector<std::size_t>;
    order.leave_out(0, now + 1s);
    order.leave_out(0, now);  // a shorter time does not shorten it
    CHECK(asked_by_next(order) == Order{1});
    order.leave_out(1, now + 2s);
    CHECK(asked_by_next(order) == Order{});
    CHECK(asked_by_next(order, now + 1s) == Order{0});
    CHECK(asked_by_next(order, now + 2s) == Order{1, 0});
}

TEST_CASE("what was written nobody knows where is known by a position that was asked for later",
          "[replicas]") {
    WrittenPosition written;
    CHECK(written.known());
    const auto before = written.writes();
    written.wrote();
    CHECK_FALSE(written.known());
    written.learn(at(1, 10), before);  // which may lack the write
    CHECK_FALSE(written.known());
    CHECK(written.latest() == at(1, 10));
    written.learn(at(1, 20), written.writes());
    CHECK(written.known());
    CHECK(written.latest() == at(1, 20));
    written.learn(at(1, 15), before);  // an answer that comes late
    CHECK(written.known());
    CHECK(written.latest() == at(1, 20));
}

TEST_CASE("a position on a later timeline counts, though it be lower", "[replicas]") {
    WrittenPosition written;
    written.learn(at(1, 100), 0);
    written.learn(at(2, 50), 0);
    CHECK(written.latest() == at(2, 50));
    written.learn(at(1, 300), 0);  // by the server that was replaced
    CHECK(written.latest() == at(2, 50));
}

TEST_CASE("what was written goes through a text, and nothing else is taken for one", "[replicas]") {
    for (const auto& written : {at(0, 0), at(1, 0x16'b374'd848), at(0xffff'ffff, ~0ull)})
        CHECK(ReadYourWrites{written.text()} == written);
    CHECK(at(2, 0x16'b374'd848).text() == "2:16/b374d848");
    CHECK(ReadYourWrites{"2:16/B374D848"} == at(2, 0x16'b374'd848));  // as the server writes it
    for (const std::string text : {"", ":", "1", "1:", "1:0", "1:0/", "1:/0", ":0/0", "1:0/0 ",
                                   " 1:0/0", "1:0/0/0", "-1:0/0", "1:0/x", "1:100000000/0",
                                   "01:0/0", "1:0/00", "99999999999999999999:0/0", "1:0/G374D848"})
        CHECK(support::is<pqxx::argument_error>(
            support::failure_of([&] { static_cast<void>(ReadYourWrites{text}); })));
    static_assert(std::is_trivially_destructible_v<ReadYourWrites>);
}
