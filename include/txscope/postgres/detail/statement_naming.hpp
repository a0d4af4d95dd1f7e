#pragma once

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace txscope::detail {

/// Whether and for how long the connections of a pool keep prepared statements: what they have in
/// common. A handle, whose copies share that. From any thread.
class StatementNaming {
public:
    using Duration = std::chrono::steady_clock::duration;

    /// @param most of each connection; 0 names none at all, as old poolers need
    StatementNaming(std::size_t most, std::chrono::milliseconds lifetime = longest)
        : most_{most}, lifetime_{std::min(lifetime, longest)} {}

    std::size_t most() const noexcept { return most_; }
    /// After that a statement is prepared anew.
    Duration lifetime() const noexcept { return lifetime_; }

    /// Another one than before: what was prepared until now is not to be used any more.
    std::uint64_t generation() const noexcept { return shared_->generation; }
    bool stopped() const noexcept { return shared_->stopped; }

    /// All statements are prepared anew from now on.
    void begin_generation() noexcept { ++shared_->generation; }
    /// From now on no statement gets a name. False when that was so already.
    bool stop() noexcept {
        if (shared_->stopped.exchange(true)) return false;
        begin_generation();
        return true;
    }

private:
    static constexpr auto longest = std::chrono::floor<std::chrono::milliseconds>(Duration::max());
    struct Shared : boost::intrusive_ref_counter<Shared> {
        std::atomic<std::uint64_t> generation = 0;
        std::atomic<bool> stopped = false;
    };

    std::size_t most_;
    Duration lifetime_;
    boost::intrusive_ptr<Shared> shared_{new Shared};
};

}  // namespace txscope::detail
