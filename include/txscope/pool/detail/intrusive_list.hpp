#pragma once

#include <cstddef>

namespace txscope::detail {

/// What an element of an `IntrusiveList` derives from: it is in one such list at a time, or in none.
class ListHook {
public:
    ListHook() = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;

private:
    template <typename>
    friend class IntrusiveList;

    ListHook* previous_ = nullptr;
    ListHook* next_ = nullptr;
};

/// A doubly linked list of what others own: nothing is allocated, and an element is removed from
/// the middle as quickly as from an end.
template <typename T>
class IntrusiveList {
public:
    IntrusiveList() noexcept { end_.previous_ = end_.next_ = &end_; }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }
    T& front() noexcept { return static_cast<T&>(*end_.next_); }
    T& back() noexcept { return static_cast<T&>(*end_.previous_); }

    void push_back(T& element) noexcept {
        ListHook& hook = element;
        hook.previous_ = end_.previous_;
        hook.next_ = &end_;
        hook.previous_->next_ = end_.previous_ = &hook;
        ++size_;
    }
    void remove(T& element) noexcept {
        ListHook& hook = element;
        hook.previous_->next_ = hook.next_;
        hook.next_->previous_ = hook.previous_;
        --size_;
    }
    T& pop_front() noexcept {
        T& first = front();
        remove(first);
        return first;
    }
    T& pop_back() noexcept {
        T& last = back();
        remove(last);
        return last;
    }

    class Iterator {
    public:
        explicit Iterator(ListHook* at) noexcept : at_{at} {}
        T& operator*() const noexcept { return static_cast<T&>(*at_); }
        Iterator& operator++() noexcept {
            at_ = at_->next_;
            return *this;
        }
        bool operator==(const Iterator&) const = default;

    private:
        ListHook* at_;
    };
    Iterator begin() const noexcept { return Iterator{end_.next_}; }
    Iterator end() const noexcept { return Iterator{&end_}; }

private:
    mutable ListHook end_;  // before the first and after the last
    std::size_t size_ = 0;
};

}  // namespace txscope::detail
