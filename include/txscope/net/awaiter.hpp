#pragma once

#include <cstddef>
#include <exception>
#include <new>
#include <utility>

namespace txscope::detail {

/// Who awaits a piece of work: the handler of one coroutine, in whose frame this lies. A type of its own
/// in the place of any handler's, without memory of its own.
class Awaiter {
public:
    Awaiter() = default;
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;

    template <typename Handler>
    void set(Handler&& handler) {
        static_assert(sizeof(Handler) <= sizeof place_ && alignof(Handler) <= alignof(void*));
        new (place_) Handler{std::move(handler)};
        finish_ = &finish<Handler>;
    }
    /// Goes on with that error or null.
    void resume(std::exception_ptr error) { finish_(place_, &error); }
    /// Destroys the coroutine, and this with it.
    void destroy() noexcept { finish_(place_, nullptr); }

private:
    template <typename Handler>
    static void finish(void* place, std::exception_ptr* error) {
        auto* const kept = static_cast<Handler*>(place);
        Handler handler{std::move(*kept)};
        kept->~Handler();
        if (error != nullptr) std::move(handler)(std::move(*error));
    }

    alignas(void*) std::byte place_[4 * sizeof(void*)];
    void (*finish_)(void* place, std::exception_ptr* error) = nullptr;
};

/// Memory for what Asio makes of the steps of an operation, one after another. What does not fit, or
/// comes while another is there, is allocated.
class WaitMemory {
public:
    template <typename T>
    class Allocator {
    public:
        using value_type = T;

        explicit Allocator(WaitMemory& memory) noexcept : memory_{&memory} {}
        template <typename Other>
        Allocator(const Allocator<Other>& other) noexcept : memory_{other.memory_} {}

        T* allocate(std::size_t count) {
            static_assert(alignof(T) <= alignof(std::max_align_t));
            return static_cast<T*>(memory_->allocate(count * sizeof(T)));
        }
        void deallocate(T* taken, std::size_t) noexcept { memory_->deallocate(taken); }

        template <typename Other>
        bool operator==(const Allocator<Other>& other) const noexcept {
            return memory_ == other.memory_;
        }

    private:
        template <typename>
        friend class Allocator;

        WaitMemory* memory_;
    };

    WaitMemory() = default;
    WaitMemory(const WaitMemory&) = delete;
    WaitMemory& operator=(const WaitMemory&) = delete;

private:
    void* allocate(std::size_t size) {
        if (taken_ || size > sizeof place_) return ::operator new(size);
        taken_ = true;
        return place_;
    }
    void deallocate(void* taken) noexcept {
        if (taken == place_)
            taken_ = false;
        else
            ::operator delete(taken);
    }

    alignas(std::max_align_t) std::byte place_[16 * sizeof(void*)];
    bool taken_ = false;
};

}  // namespace txscope::detail
