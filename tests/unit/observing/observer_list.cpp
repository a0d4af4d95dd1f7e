#include "support/catch.hpp"
#include <txscope/observing/observer_list.hpp>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using txscope::ObserverList;
using txscope::PoolEvent;
using txscope::ScopeEvent;
using txscope::Span;
using txscope::SpanStart;
using Words = std::vector<std::string>;

namespace {

/// Tells what it is told, in words.
class Teller : public txscope::Observer {
public:
    explicit Teller(std::string says = {}, std::string ignores = {})
        : traceparent_{std::move(says)}, ignores_{std::move(ignores)} {}

    void notice(const ScopeEvent& event) noexcept override {
        words.push_back("event in " + name_of(event.span));
    }
    void notice_pool(const PoolEvent&) noexcept override { words.emplace_back("pool"); }
    std::unique_ptr<Span> start(const SpanStart& start) noexcept override {
        const std::string name{start.label};
        words.push_back(name + " in " + name_of(start.parent));
        if (name == ignores_) return nullptr;
        return std::make_unique<Named>(*this, name);
    }
    Words words{};

private:
    struct Named : Span {
        Named(Teller& observer, std::string as) : of{observer}, name{std::move(as)} {}
        void end(const std::exception_ptr& error) noexcept override {
            of.words.push_back(name + (error ? " has failed" : " has ended"));
        }
        std::string traceparent() const override {
            if (of.traceparent_ == "throws") throw std::runtime_error{"no"};
            return of.traceparent_;
        }
        Teller& of;
        const std::string name;
    };
    static std::string name_of(const Span* span) {
        return span != nullptr ? static_cast<const Named*>(span)->name : "nothing";
    }

    const std::string traceparent_;
    const std::string ignores_;
};

SpanStart start_of(std::string_view label, Span* parent = nullptr) {
    return {.kind = SpanStart::scope, .label = label, .parent = parent};
}

}  // namespace

TEST_CASE("each observer of a list is told of its own spans", "[observer_list]") {
    Teller first;
    Teller second{"", "inner"};
    ObserverList list{{&first, &second}};
    const auto outer = list.start(start_of("outer"));
    const auto inner = list.start(start_of("inner", outer.get()));
    const auto innermost = list.start(start_of("innermost", inner.get()));
    list.notice(
        {.kind = ScopeEvent::retry, .where = {}, .label = {}, .attempt = 1, .span = inner.get()});
    innermost->end(std::make_exception_ptr(std::runtime_error{"no"}));
    inner->end(nullptr);
    outer->end(nullptr);
    list.notice_pool({.kind = PoolEvent::opened});
    CHECK(first.words == Words{"outer in nothing", "inner in outer", "innermost in inner",
                               "event in inner", "innermost has failed", "inner has ended",
                               "outer has ended", "pool"});
    CHECK(second.words == Words{"outer in nothing", "inner in outer", "innermost in outer",
                                "event in nothing", "innermost has failed", "outer has ended",
                                "pool"});
}

TEST_CASE("a list says the traceparent of the first that has one", "[observer_list]") {
    Teller silent;
    Teller broken{"throws"};
    Teller first{"one"};
    Teller second{"two"};
    ObserverList list{{&silent, &broken, &first, &second}};
    CHECK(list.start(start_of("scope"))->traceparent() == "one");
    ObserverList nobody{{&silent}};
    CHECK(nobody.start(start_of("scope"))->traceparent().empty());
}

TEST_CASE("a list that no observer wants a span of keeps none", "[observer_list]") {
    Teller one{"", "ignored"};
    ObserverList list{{&one}};
    CHECK(list.start(start_of("ignored")) == nullptr);
    CHECK(ObserverList{{}}.start(start_of("scope")) == nullptr);
}
