#include "support/catch.hpp"
#include <txscope/net/awaiter.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

using txscope::detail::Awaiter;
using txscope::detail::WaitMemory;

namespace {

struct Handler {
    std::unique_ptr<Awaiter> frame;
    std::shared_ptr<std::vector<std::exception_ptr>> told;
    void operator()(std::exception_ptr error) && { told->push_back(std::move(error)); }
};

// In a frame that its handler owns, as a coroutine's does.
Awaiter& awaiting(const std::shared_ptr<std::vector<std::exception_ptr>>& told) {
    auto frame = std::make_unique<Awaiter>();
    Awaiter& awaiter = *frame;
    awaiter.set(Handler{std::move(frame), told});
    return awaiter;
}

}  // namespace

TEST_CASE("who awaits is resumed with an error or none, or destroyed, and the frame is gone then",
          "[awaiter]") {
    const auto told = std::make_shared<std::vector<std::exception_ptr>>();
    const auto error = std::make_exception_ptr(std::runtime_error{"expected"});
    awaiting(told).resume(error);
    awaiting(told).resume(nullptr);
    awaiting(told).destroy();
    CHECK(*told == std::vector{error, std::exception_ptr{}});
    CHECK(told.use_count() == 1);
}

TEST_CASE("the frame has memory for one at a time, and others are allocated", "[awaiter]") {
    struct Operation {
        std::byte content[100];
    };
    WaitMemory memory;
    const auto is_in_frame = [&](const void* place) {
        const auto* const begin = reinterpret_cast<const std::byte*>(&memory);
        return place >= begin && place < begin + sizeof memory;
    };
    WaitMemory::Allocator<Operation> allocator{memory};
    for (int step = 0; step < 2; ++step) {
        Operation* const first = allocator.allocate(1);
        Operation* const second = allocator.allocate(1);
        CHECK(is_in_frame(first));
        CHECK_FALSE(is_in_frame(second));
        allocator.deallocate(step == 0 ? first : second, 1);
        allocator.deallocate(step == 0 ? second : first, 1);
    }
    Operation* const several = allocator.allocate(2);
    CHECK_FALSE(is_in_frame(several));
    allocator.deallocate(several, 2);
    WaitMemory::Allocator<int> other{allocator};
    CHECK(other == allocator);
    int* const small = other.allocate(1);
    CHECK(is_in_frame(small));
    other.deallocate(small, 1);
}
