#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/protocol/request_queue.hpp>

#include <cstddef>

using namespace txscope::protocol;
using Awaits = Request::Awaits;

namespace {

void add(RequestQueue& queue, std::initializer_list<Awaits> requests) {
    queue.reserve(requests.size());
    for (const Awaits awaits : requests) queue.add({.awaits = awaits});
}

}  // namespace

TEST_CASE("requests are answered in order, and stay until their batch is", "[protocol]") {
    RequestQueue queue;
    CHECK(queue.idle());
    add(queue, {Awaits::bind_complete, Awaits::completion, Awaits::ready, Awaits::bind_complete});
    CHECK(queue.head().awaits == Awaits::bind_complete);
    CHECK(queue.batch().size() == 3);
    CHECK(queue.batch_is_ended());
    CHECK_FALSE(queue.in_last_batch());
    queue.pop();
    CHECK(queue.head().awaits == Awaits::completion);
    CHECK(queue.batch().size() == 3);
    CHECK(queue.uncommitted().size() == 1);
    queue.note_commit();
    queue.pop();
    CHECK(queue.uncommitted().empty());
    CHECK(queue.outstanding().size() == 4);
    queue.pop_batch();
    CHECK(queue.outstanding().size() == 1);
    CHECK(queue.batch().size() == 1);
    CHECK_FALSE(queue.batch_is_ended());
    CHECK(queue.in_last_batch());
    queue.pop();
    CHECK(queue.idle());
    CHECK_FALSE(queue.batch_is_ended());
}

TEST_CASE("a batch whose end is answered is no part of what is outstanding", "[protocol]") {
    RequestQueue queue;
    add(queue, {Awaits::ready});
    for (int i = 0; i < 10; ++i) add(queue, {Awaits::completion});
    queue.pop_batch();
    CHECK(queue.outstanding().size() == 10);
}

TEST_CASE("a Query is a batch by itself", "[protocol]") {
    RequestQueue queue;
    queue.reserve(1);
    queue.add({.awaits = Awaits::query, .simple = true});
    CHECK(queue.batch().size() == 1);
    CHECK(queue.batch_is_ended());
    queue.pop_batch();
    CHECK(queue.idle());
}

TEST_CASE("many batches on their way take linear time", "[protocol]") {
    RequestQueue queue;
    queue.reserve(100'000);  // so that only the queue's own work counts
    const auto pass = [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) add(queue, {Awaits::completion, Awaits::ready});
        for (std::size_t i = 0; i < count; ++i) {
            queue.pop();
            queue.pop_batch();
        }
        CHECK(queue.idle());
    };
    CHECK(support::growth(40'000, pass) < 24);  // not with the square
}
