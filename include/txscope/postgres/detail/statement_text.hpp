#pragma once

#include <txscope/core/config.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace txscope::detail {

/// A text that grows, with room for that of most statements in itself: these are allocated nowhere.
class StatementText {
public:
    StatementText() = default;
    StatementText(const StatementText& other) { *this += other; }
    StatementText(StatementText&& other) noexcept { *this = std::move(other); }
    StatementText& operator=(const StatementText& other) { return *this = StatementText{other}; }
    StatementText& operator=(StatementText&& other) noexcept {
        size_ = std::exchange(other.size_, 0);
        capacity_ = std::exchange(other.capacity_, sizeof(inside_));
        outside_ = std::move(other.outside_);
        data_ = outside_ ? outside_.get() : inside_;
        if (!outside_) std::memcpy(inside_, other.inside_, size_);
        other.data_ = other.inside_;
        return *this;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] char* data() noexcept { return data_; }
    [[nodiscard]] const char* data() const noexcept { return data_; }
    operator std::string_view() const noexcept { return {data_, size_}; }

    StatementText& operator+=(std::string_view text) {
        if (text.size() > capacity_ - size_) make_room(text.size());
        if (!text.empty()) std::memcpy(data_ + size_, text.data(), text.size());
        size_ += text.size();
        return *this;
    }
    /// Makes it longer by so many bytes, which are there to be written.
    char* append(std::size_t count) {
        if (count > capacity_ - size_) make_room(count);
        size_ += count;
        return data_ + size_ - count;
    }
    void truncate(std::size_t size) noexcept { size_ = size; }

private:
    void make_room(std::size_t count);

    char* data_ = inside_;
    std::size_t size_ = 0;
    std::size_t capacity_ = sizeof(inside_);
    std::unique_ptr<char[]> outside_;  // null for a text that fits in
    char inside_[160];
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <algorithm>

namespace txscope::detail {

/// Called by few: what calls it stays short enough to be inlined.
[[gnu::noinline]] TXSCOPE_INLINE void StatementText::make_room(std::size_t count) {
    constexpr std::size_t few_values = 64;
    const std::size_t capacity = std::max(size_ + count + few_values, 2 * capacity_);
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    std::memcpy(larger.get(), data_, size_);
    outside_ = std::move(larger);
    data_ = outside_.get();
    capacity_ = capacity;
}

}  // namespace txscope::detail

#endif
