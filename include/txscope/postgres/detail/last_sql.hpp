#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

namespace txscope::detail {

/// The text of what one thread has sent last, for any other to read: the beginning of it, so that to
/// keep it costs no allocation.
class LastSql {
public:
    static constexpr std::size_t most = 200;  ///< Bytes that are told.

    void set(std::string_view sql) noexcept {
        const Lock lock{busy_};
        size_ = std::min(sql.size(), text_.size());
        if (size_ > 0) std::memcpy(text_.data(), sql.data(), size_);
    }

    std::string get() const {
        std::array<char, most + 1> text;
        std::size_t size = 0;
        {
            const Lock lock{busy_};
            size = size_;
            text = text_;
        }
        if (size <= most) return std::string{text.data(), size};
        const auto continues = [&](std::size_t at) { return (text[at] & 0xc0) == 0x80; };
        for (size = most; size > 0 && continues(size); --size)
            continue;  // whole characters of UTF-8
        return std::string{text.data(), size} + "…";
    }

private:
    /// For the time of a copy: a mutex would cost more than that.
    class Lock {
    public:
        explicit Lock(std::atomic_flag& busy) noexcept : busy_{busy} {
            while (busy_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
        }
        Lock(const Lock&) = delete;
        ~Lock() { busy_.clear(std::memory_order_release); }

    private:
        std::atomic_flag& busy_;
    };

    mutable std::atomic_flag busy_;
    std::size_t size_ = 0;
    std::array<char, most + 1> text_{};
};

}  // namespace txscope::detail
