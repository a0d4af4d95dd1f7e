#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/strand.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/query.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <utility>

namespace txscope::detail {

/// The executor that carries what is ambient, on a strand.
///
/// A coroutine hands its executor down to everything it awaits and to every branch of `&&` and
/// `||`, on whichever thread they run: whatever has the executor has what it carries.
///
/// Small enough for an `any_io_executor` not to allocate.
class AmbientExecutor {
    using Blocking = asio::execution::blocking_t;
    using Work = asio::execution::outstanding_work_t;

public:
    /// Carries nothing.
    explicit AmbientExecutor(const Strand& strand) : context_{&strand.state()} {}
    explicit AmbientExecutor(boost::intrusive_ptr<const AmbientContext> context)
        : context_{std::move(context)} {}
    AmbientExecutor(const AmbientExecutor& other) noexcept
        : AmbientExecutor{other, other.posts_, other.works_} {}
    AmbientExecutor(AmbientExecutor&& other) noexcept
        : context_{std::move(other.context_)}, posts_{other.posts_}, works_{other.works_} {}
    AmbientExecutor& operator=(AmbientExecutor other) noexcept {
        context_.swap(other.context_);
        std::swap(posts_, other.posts_);
        std::swap(works_, other.works_);
        return *this;
    }
    ~AmbientExecutor() {
        if (!works_ || !context_) return;
        --context_->outstanding;
        const auto last = context_->strand.finish_work();
        context_.reset();
    }

    /// Null for nothing.
    const AmbientContext* ambient() const noexcept { return context_->said(); }
    const AmbientContext& context() const noexcept { return *context_; }
    Strand strand() const noexcept { return Strand{&context_->strand}; }
    bool is_on(const Strand& strand) const noexcept { return &context_->strand == &strand.state(); }

    template <typename Function>
    void execute(Function&& function) const {
        context_->strand.execute(*context_, std::forward<Function>(function), posts_);
    }

    asio::execution_context& query(asio::execution::context_t property) const noexcept {
        return asio::query(context_->strand.inner(), property);
    }
    Blocking query(Blocking) const noexcept {
        return posts_ ? Blocking{Blocking::never} : Blocking{Blocking::possibly};
    }
    AmbientExecutor require(Blocking::possibly_t) const { return {*this, false, works_}; }
    AmbientExecutor require(Blocking::never_t) const { return {*this, true, works_}; }
    Work query(Work) const noexcept { return works_ ? Work{Work::tracked} : Work{Work::untracked}; }
    AmbientExecutor require(Work::untracked_t) const { return {*this, posts_, false}; }
    AmbientExecutor require(Work::tracked_t) const { return {*this, posts_, true}; }

    friend bool operator==(const AmbientExecutor& a, const AmbientExecutor& b) noexcept {
        return a.context_ == b.context_;
    }

    /// What is ambient for the code that this thread runs right now, null for nothing. For calls
    /// that are not awaited; a coroutine asks its executor.
    static const AmbientContext* running() noexcept { return Running::ambient; }

    /// A coroutine on `executor` goes on in the middle of what another one runs: Asio resumes it
    /// right there where it may. If its executor is not one of these, nothing else says so.
    static void goes_on(const asio::any_io_executor& executor) noexcept;

private:
    AmbientExecutor(const AmbientExecutor& other, bool posts, bool works)
        : context_{other.context_}, posts_{posts}, works_{works} {
        if (!works_) return;
        context_->strand.start_work();
        ++context_->outstanding;
    }

    boost::intrusive_ptr<const AmbientContext> context_;
    bool posts_ = false;
    bool works_ = false;
};

/// Runs it on `executor` as that does, without type erasure where it is one that is common.
template <typename Function>
void execute_on(const asio::any_io_executor& executor, Function&& function) {
    if (const auto* plain = executor.target<asio::io_context::executor_type>())
        plain->execute(std::forward<Function>(function));
    else if (const auto* carrier = executor.target<AmbientExecutor>())
        carrier->execute(std::forward<Function>(function));
    else
        executor.execute(std::forward<Function>(function));
}

/// The strand that `executor` is on already, whoever made it, or a new one on top of it.
Strand strand_on(const asio::any_io_executor& executor);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/detail/concurrency_hint.hpp>
#include <boost/asio/detail/scheduler.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <mutex>

#if __has_include(<boost/asio/config.hpp>)
#include <boost/asio/config.hpp>
#endif

namespace txscope::detail {

TXSCOPE_INLINE void AmbientExecutor::goes_on(const asio::any_io_executor& executor) noexcept {
    const auto* carrier = executor.target<AmbientExecutor>();
    Running::ambient = carrier != nullptr ? carrier->ambient() : nullptr;
}

/// Whether `io` was made for one thread: with 1 for a concurrency hint, or with one that switches
/// locks off (Asio's manual, "Concurrency Hints").
TXSCOPE_INLINE bool is_for_one_thread(asio::io_context& io) {
#if __has_include(<boost/asio/config.hpp>)
    return asio::config(io).get("scheduler", "concurrency_hint", 0) == 1;
#else
    const int hint = asio::use_service<asio::detail::scheduler>(io).concurrency_hint();
    return hint == 1 || !BOOST_ASIO_CONCURRENCY_HINT_IS_LOCKING(SCHEDULER, hint) ||
           !BOOST_ASIO_CONCURRENCY_HINT_IS_LOCKING(REACTOR_IO, hint);
#endif
}

/// The strand that a whole `io_context` is.
class ContextStrand : public asio::execution_context::service {
public:
    /// Null where it is none.
    /// @param executor the context's
    static StrandState::Shared of(asio::io_context& io, const asio::any_io_executor& executor) {
        // To ask the context takes a lock that all its threads want.
        thread_local Found last{};
        const unsigned ended = ended_contexts.load(std::memory_order_acquire);
        if (last.io != &io || last.ended != ended)
            last = {&io, ended, asio::use_service<ContextStrand>(io).state(executor)};
        return last.strand;
    }

    explicit ContextStrand(asio::execution_context& context)
        : service{context}, is_one_{is_for_one_thread(static_cast<asio::io_context&>(context))} {}
    // Not as early as at the shutdown: what that destroys may still ask.
    ~ContextStrand() override { ++ended_contexts; }

    using key_type = ContextStrand;
    inline static asio::execution_context::id id;

private:
    struct Found {
        asio::io_context* io;
        unsigned ended;  // since then no context has: this is the one that was asked
        StrandState* strand;
    };

    void shutdown() noexcept override {}

    StrandState* state(const asio::any_io_executor& executor) {
        const std::lock_guard lock{mutex_};
        if (is_one_ && !state_) state_ = new StrandState{executor, false};
        return state_.get();
    }

    inline static std::atomic<unsigned> ended_contexts = 0;
    const bool is_one_;
    std::mutex mutex_;
    StrandState::Shared state_;
};

TXSCOPE_INLINE Strand strand_on(const asio::any_io_executor& executor) {
    if (const auto* carrier = executor.target<AmbientExecutor>()) return carrier->strand();
    if (const auto* plain = executor.target<asio::io_context::executor_type>())
        if (auto whole = ContextStrand::of(plain->context(), executor))
            return Strand{std::move(whole)};
    const bool is_one = executor.target<asio::strand<asio::any_io_executor>>() != nullptr ||
                        executor.target<asio::strand<asio::io_context::executor_type>>() != nullptr;
    return Strand{new StrandState{executor, !is_one}};
}

}  // namespace txscope::detail

#endif
