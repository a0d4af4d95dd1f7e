#pragma once

#include <txscope/postgres/detail/request.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <source_location>
#include <utility>

namespace txscope::detail {

/// Batches and responses that have had their use, for their memory: what a connection sends again and
/// again then allocates nothing.
class SpareMemory {
public:
    /// An empty batch.
    [[nodiscard]] Batch take_batch() noexcept {
        for (Batch& spare : batches_)
            if (spare.capacity() > 0) return std::move(spare);
        return {};
    }
    /// @param emptied is let go of where it is large, or there are enough
    void keep(Batch&& emptied) noexcept {
        constexpr std::size_t large = 64;
        if (emptied.capacity() > large) return;
        for (Batch& spare : batches_)
            if (spare.capacity() == 0) return spare.swap(emptied);
    }

    /// A response, whose memory may have been that of one which nobody has any more.
    [[nodiscard]] std::shared_ptr<Response> make_response(std::source_location where) {
        for (auto& spare : responses_) {
            if (spare.use_count() != 1) continue;
            std::atomic_thread_fence(std::memory_order_acquire);  // behind the last who had it
            Response& reused = *spare;
            std::destroy_at(&reused);
            std::construct_at(&reused, where);
            return std::move(spare);
        }
        return std::make_shared<Response>(where);
    }
    void keep(std::shared_ptr<Response>&& answered) noexcept {
        if (answered == responses_[last_]) return;  // of several statements
        last_ = (last_ + 1) % responses_.size();
        responses_[last_] = std::move(answered);
    }

private:
    std::array<Batch, 3> batches_{};
    std::array<std::shared_ptr<Response>, 4> responses_{};  // maybe somebody else has it, too
    std::size_t last_ = 0;
};

}  // namespace txscope::detail
