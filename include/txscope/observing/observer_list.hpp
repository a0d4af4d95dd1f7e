#pragma once

#include <txscope/core/config.hpp>
#include <txscope/session/observer.hpp>

#include <memory>
#include <vector>

namespace txscope {

/// Several observers, which are told one after another.
///
/// ```cpp
/// txscope::ObserverList observers{{&log, &metrics, &traces}};
/// txscope::AsyncSessionFactory sessions{io, "postgresql:///app", {.observer = &observers}};
/// ```
///
/// The server is told the `traceparent` of the first one that has one.
class ObserverList : public Observer {
public:
    /// @param observers outlive this
    explicit ObserverList(std::vector<Observer*> observers) noexcept;

    void notice(const ScopeEvent& event) noexcept override;
    void notice_pool(const PoolEvent& event) noexcept override;
    std::unique_ptr<Span> start(const SpanStart& start) noexcept override;

private:
    class Spans;

    const std::vector<Observer*> observers_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <cstddef>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace txscope {

TXSCOPE_INLINE ObserverList::ObserverList(std::vector<Observer*> observers) noexcept
    : observers_{std::move(observers)} {}

/// What each of them keeps.
class ObserverList::Spans : public Span {
public:
    struct Of {
        std::unique_ptr<Span> own{};
        Span* innermost = nullptr;  // that observer's, of this or what is around
    };

    explicit Spans(std::size_t count) : each(count) {}

    void end(const std::exception_ptr& error) noexcept override {
        for (const Of& of : each)
            if (of.own) of.own->end(error);
    }
    std::string traceparent() const override {
        for (const Of& of : each) try {
                if (std::string said = of.own ? of.own->traceparent() : ""; !said.empty())
                    return said;
            } catch (...) {  // the next may have one
            }
        return {};
    }

    std::vector<Of> each;
};

TXSCOPE_INLINE void ObserverList::notice(const ScopeEvent& event) noexcept {
    const auto* spans = static_cast<const Spans*>(event.span);
    for (std::size_t i = 0; i < observers_.size(); ++i) {
        ScopeEvent told = event;
        if (spans != nullptr) told.span = spans->each[i].own.get();
        observers_[i]->notice(told);
    }
}

TXSCOPE_INLINE void ObserverList::notice_pool(const PoolEvent& event) noexcept {
    for (Observer* const observer : observers_) observer->notice_pool(event);
}

TXSCOPE_INLINE std::unique_ptr<Span> ObserverList::start(const SpanStart& start) noexcept try {
    const auto* around = static_cast<const Spans*>(start.parent);
    auto spans = std::make_unique<Spans>(observers_.size());
    bool wanted = false;
    for (std::size_t i = 0; i < observers_.size(); ++i) {
        SpanStart told = start;
        told.parent = around != nullptr ? around->each[i].innermost : nullptr;
        Spans::Of& of = spans->each[i];
        of.own = observers_[i]->start(told);
        of.innermost = of.own ? of.own.get() : told.parent;
        wanted = wanted || of.own;
    }
    if (!wanted) return nullptr;
    return spans;
} catch (const std::bad_alloc&) {
    return nullptr;
}

}  // namespace txscope

#endif
