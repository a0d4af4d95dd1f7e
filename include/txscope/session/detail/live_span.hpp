#pragma once

#include <txscope/net/cancellation.hpp>
#include <txscope/session/observer.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace txscope::detail {

/// What an observer keeps of something under way, if anything: ended once, at last by the destructor.
class LiveSpan {
public:
    LiveSpan() = default;
    LiveSpan(const Observer* of, std::unique_ptr<Span> started) noexcept
        : observer_{of}, span_{std::move(started)} {}
    LiveSpan(LiveSpan&& other) noexcept
        : observer_{other.observer_}, span_{std::move(other.span_)}, ended_{other.ended_} {}
    LiveSpan& operator=(LiveSpan&&) = delete;
    ~LiveSpan() { abandon(); }

    explicit operator bool() const noexcept { return span_ != nullptr; }
    Span* get() const noexcept { return span_.get(); }
    const Observer* observer() const noexcept { return observer_; }

    void end(const std::exception_ptr& error) noexcept {
        if (span_ && !std::exchange(ended_, true)) span_->end(error);
    }
    /// Whoever would have ended it was destroyed.
    void abandon() noexcept {
        if (span_ && !ended_) end(std::make_exception_ptr(cancellation_error()));
    }

private:
    const Observer* observer_ = nullptr;
    std::unique_ptr<Span> span_{};
    bool ended_ = false;
};

}  // namespace txscope::detail
