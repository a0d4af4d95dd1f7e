#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace txscope::protocol {

/// Bytes in one block, which grows at its end and is consumed from its front.
///
/// Both cost linear time, however small the pieces. The memory is used again, except for what only
/// something large needed: that is given back once all is consumed.
class Buffer {
public:
    /// What an empty buffer keeps at most, and what it begins with.
    static constexpr std::size_t kept_capacity = 16 * 1024;

    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : memory_{std::move(other.memory_)},
          capacity_{std::exchange(other.capacity_, 0)},
          begin_{std::exchange(other.begin_, 0)},
          end_{std::exchange(other.end_, 0)} {}
    Buffer& operator=(Buffer&& other) noexcept {
        memory_ = std::move(other.memory_);
        capacity_ = std::exchange(other.capacity_, 0);
        begin_ = std::exchange(other.begin_, 0);
        end_ = std::exchange(other.end_, 0);
        return *this;
    }

    [[nodiscard]] std::string_view bytes() const noexcept {
        return {memory_.get() + begin_, size()};
    }
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// How many bytes `prepare` has room for without moving anything.
    [[nodiscard]] std::size_t room() const noexcept { return capacity_ - end_; }

    /// Where the next `count` bytes go; `commit` appends them. What `bytes` returned before may have
    /// moved.
    [[nodiscard]] char* prepare(std::size_t count) {
        if (count > room()) make_room(count);
        return memory_.get() + end_;
    }
    void commit(std::size_t count) noexcept {
        assert(count <= room());
        end_ += count;
    }
    void append(std::string_view text) {
        if (text.empty()) return;
        std::memcpy(prepare(text.size()), text.data(), text.size());
        commit(text.size());
    }

    /// Takes `count` bytes off the front.
    void consume(std::size_t count) noexcept {
        assert(count <= size());
        begin_ += count;
        if (begin_ < end_) return;
        begin_ = end_ = 0;
        if (capacity_ > kept_capacity) *this = Buffer{};
    }
    /// Takes bytes off the end, until `size` are left.
    void truncate(std::size_t size) noexcept {
        assert(size <= end_ - begin_);
        end_ = begin_ + size;
    }

private:
    // Bytes are moved only when at least as many were consumed since, or the block is doubled. What is
    // large the system then gives another address (mremap(2)), without a copy.
    void make_room(std::size_t count) {
        const std::size_t used = size();
        const bool fits = begin_ >= used && count <= capacity_ - used;
        if (begin_ > 0 && used > 0) std::memmove(memory_.get(), memory_.get() + begin_, used);
        begin_ = 0;
        end_ = used;
        if (fits) return;
        const std::size_t capacity = std::max({used + count, 2 * capacity_, kept_capacity});
        void* const larger = std::realloc(memory_.get(), capacity);
        if (larger == nullptr) throw std::bad_alloc{};
        (void)memory_.release();
        memory_.reset(static_cast<char*>(larger));
        capacity_ = capacity;
    }

    struct Free {
        void operator()(char* memory) const noexcept { std::free(memory); }
    };

    std::unique_ptr<char[], Free> memory_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace txscope::protocol
