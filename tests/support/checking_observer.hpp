#pragma once

#include "support/catch.hpp"
#include "support/failure.hpp"
#include <txscope/session/observer.hpp>
#include <txscope/session/pool_options.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <forward_list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace support {

/// A value that contains this is a secret: whoever passes it to a statement as a parameter has the
/// observer look for it in all that it is told.
inline constexpr std::string_view secret = "a secret that nobody is to be told";

/// Ends the program, with a word about why, when what it is told of scopes cannot be: in another
/// order than begin, statements, end; a time or an attempt that goes backwards; an event of a scope
/// that has ended, or of none; a parameter's value; a span that begins within one that has ended, or ends
/// twice. And at its own end, when a scope or a span has begun whose end was not told.
///
/// It tells scopes apart by where they were made, their label and their attempt, and counts those
/// that have all in common. To check a scope strictly, a test gives it a label of its own; so does one
/// that opens scopes with and without a transaction at the same place.
class CheckingObserver : public txscope::Observer {
public:
    CheckingObserver() = default;
    CheckingObserver(const CheckingObserver&) = delete;
    ~CheckingObserver() override {
        for (const auto& [key, scopes] : told_)
            if (scopes.open != 0) fail("it has begun, and its end was not told", place(key));
        if (spans_ != 0) fail("spans have begun, and their ends were not told", "spans");
    }

    void notice(const txscope::ScopeEvent& event) noexcept override {
        using Event = txscope::ScopeEvent;
        const std::lock_guard lock{mutex_};
        const auto check = [&](bool holds, const char* rule) {
            if (!holds) fail(rule, place(key_of(event, event.attempt)) + describe(event));
        };
        Scopes& scopes = told_[key_of(event, event.attempt)];
        const bool in_transaction = scopes.begun > 0;  // it is the same for all at that place
        const auto* span = dynamic_cast<const CheckedSpan*>(event.span);
        check(event.span == nullptr || (span != nullptr && !span->ended),
              "what happens to a scope happens within its span");
        check(event.duration.count() >= 0, "a duration is not negative");
        check(event.attempt >= 1, "attempts are counted from 1");
        check_silent(event.sql, event);
        check_silent(event.label, event);
        for (auto error = event.error; error; error = cause_of(error))
            check_silent(text_of(error), event);
        switch (event.kind) {
            case Event::begin:
                check(!scopes.without_begin, "a statement comes after begin");
                ++scopes.begun;
                ++scopes.open;
                check(event.attempt == 1 ||
                          told_[key_of(event, event.attempt - 1)].retried >= scopes.begun,
                      "each attempt but the first was announced");
                break;
            case Event::statement:
                if (!in_transaction) scopes.without_begin = true;
                check(!in_transaction || scopes.open > 0, "a statement comes before the end");
                break;
            case Event::rollback_failure:
                check(scopes.open > 0 && event.error,
                      "a rollback fails before the end, for a reason");
                break;
            case Event::commit:
                check(!event.error, "no error comes of what is committed");
                [[fallthrough]];
            case Event::rollback:
            case Event::in_doubt:
            case Event::leaked:
                check(scopes.open > 0, "an end comes once, after begin");
                --scopes.open;
                break;
            case Event::retry:
                ++scopes.retried;
                [[fallthrough]];
            case Event::hook_failure:
            case Event::statements_unnamed:
                check(event.error != nullptr, "a failure has a reason");
                break;
            case Event::notice:    // also of what is under way when its scope ends
            case Event::overlong:  // also of a scope that waits for its connection
                break;
        }
    }

    void notice_pool(const txscope::PoolEvent& event) noexcept override {
        using Event = txscope::PoolEvent;
        const std::lock_guard lock{mutex_};
        const auto check = [&](bool holds, const char* rule) {
            if (!holds) fail(rule, "the pool, event " + std::to_string(event.kind));
        };
        check(event.duration.count() >= 0, "a duration is not negative");
        check((event.kind == Event::opening_failed) == (event.error != nullptr),
              "what has failed has a reason, and nothing else");
        check((event.kind == Event::retired) == (event.retirement != Event::Retirement::none),
              "what is closed has a reason, and nothing else");
        if (event.kind == Event::opened) ++connections_;
        if (event.kind == Event::retired) --connections_;
        check(connections_ >= 0, "what is closed was opened");
    }

    std::unique_ptr<txscope::Span> start(const txscope::SpanStart& start) noexcept override {
        const auto check = [&](bool holds, const char* rule) {
            if (!holds) fail(rule, "a span of kind " + std::to_string(start.kind));
        };
        const auto* parent = dynamic_cast<const CheckedSpan*>(start.parent);
        check(start.parent == nullptr || (parent != nullptr && &parent->of == this),
              "what a span begins within is this observer's");
        check(parent == nullptr || !parent->ended, "a span begins within what has not ended");
        check(parent == nullptr || parent->kind == txscope::SpanStart::scope,
              "what a span begins within is a scope");
        check(start.kind == txscope::SpanStart::scope || parent != nullptr,
              "waits and statements are a scope's");
        return std::make_unique<CheckedSpan>(*this, start.kind);
    }

private:
    struct CheckedSpan : txscope::Span {
        CheckedSpan(CheckingObserver& observer, txscope::SpanStart::Kind what)
            : of{observer}, kind{what} {
            ++of.spans_;
        }
        ~CheckedSpan() override {
            if (!ended) of.fail("a span is destroyed after its end", "a span");
        }
        void end(const std::exception_ptr& error) noexcept override {
            if (ended.exchange(true)) of.fail("a span ends once", text_of(error));
            --of.spans_;
        }
        CheckingObserver& of;
        const txscope::SpanStart::Kind kind;
        std::atomic<bool> ended = false;
    };

    using Key = std::tuple<std::string, std::uint_least32_t, std::uint_least32_t, std::string, int>;
    struct Scopes {
        int begun = 0;
        int open = 0;
        int retried = 0;
        bool without_begin = false;  // statements without a transaction
    };

    static Key key_of(const txscope::ScopeEvent& event, int attempt) {
        return {event.where.file_name(), event.where.line(), event.where.column(),
                std::string{event.label}, attempt};
    }
    static std::string place(const Key& key) {
        const auto& [file, line, column, label, attempt] = key;
        return "the scope at " + file + ":" + std::to_string(line) + " \"" + label +
               "\", attempt " + std::to_string(attempt);
    }
    static std::string describe(const txscope::ScopeEvent& event) {
        return ", event " + std::to_string(event.kind) + " " + std::string{event.sql} + ": " +
               text_of(event.error);
    }
    void check_silent(std::string_view text, const txscope::ScopeEvent& event) const {
        if (text.find(secret) != std::string_view::npos)
            fail("the values of parameters are not told",
                 place(key_of(event, event.attempt)) + describe(event));
    }
    [[noreturn]] void fail(const char* rule, const std::string& about) const {
        std::fprintf(stderr, "observer of the factory in \"%s\": %s; %s\n", user_.c_str(), rule,
                     about.c_str());
        std::abort();
    }

    const std::string user_ = Catch::getResultCapture().getCurrentTestName();
    std::mutex mutex_;
    std::map<Key, Scopes> told_;
    int connections_ = 0;
    std::atomic<int> spans_ = 0;
};

/// Whether the factories of the tests do not pipeline: if `TXSCOPE_TESTS_WITHOUT_PIPELINING` is set in
/// the environment.
inline bool without_pipelining() {
    static const bool set = std::getenv("TXSCOPE_TESTS_WITHOUT_PIPELINING") != nullptr;
    return set;
}

/// `options` with an observer that checks what it is told, unless they have one already: what the
/// integration tests make every factory with. It is kept until the program ends. None pings what is idle
/// unless it says when.
///
///     txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
inline txscope::PoolOptions observed(txscope::PoolOptions options = {}) {
    static std::mutex mutex;
    static std::forward_list<CheckingObserver> observers;
    const std::lock_guard lock{mutex};
    if (options.observer == nullptr) options.observer = &observers.emplace_front();
    // What a test counts must not depend on how long the machine is busy with something else.
    if (options.ping_after_idle == txscope::PoolOptions{}.ping_after_idle)
        options.ping_after_idle = {};
    if (without_pipelining()) options.pipelining = false;
    return options;
}

}  // namespace support
