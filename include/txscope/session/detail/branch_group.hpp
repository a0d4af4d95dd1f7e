#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/notification.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Coroutines that run in parallel on one strand, until all of them have ended. They share it: whoever
/// awaits them may be destroyed first.
class BranchGroup {
public:
    /// Runs them on the strand of the coroutine that awaits this, or on one that it makes.
    /// @throws the error of one that failed; `operation_aborted` if that was since the caller was
    ///     cancelled
    TXSCOPE_LAZY static asio::awaitable<void> run(std::vector<asio::awaitable<void>> branches);

    BranchGroup(std::size_t size, Notification::Sender all_ended)
        : branches_(size), running_{size}, all_ended_{std::move(all_ended)} {}
    BranchGroup(const BranchGroup&) = delete;
    BranchGroup& operator=(const BranchGroup&) = delete;

private:
    using Shared = std::shared_ptr<BranchGroup>;

    struct Branch {
        asio::cancellation_signal signal{};
        bool runs = false;
    };

    TXSCOPE_LAZY static asio::awaitable<void> run_on_strand(
        std::vector<asio::awaitable<void>>& branches);
    TXSCOPE_LAZY static asio::awaitable<void> run_branch(Shared self, Branch& branch,
                                                         asio::awaitable<void> body);
    void cancel();
    void failed(std::exception_ptr error);
    void ended() {
        if (--running_ == 0) all_ended_();
    }

    std::vector<Branch> branches_;
    std::size_t running_;
    bool cancelled_ = false;
    std::exception_ptr error_;
    const Notification::Sender all_ended_;
};

template <typename T>
asio::awaitable<void> run_into(std::shared_ptr<std::vector<std::optional<T>>> results,
                               std::size_t index, asio::awaitable<T> branch) {
    (*results)[index].emplace(co_await std::move(branch));
}

/// Runs all of them, and returns their results in their order.
template <typename T>
    requires(!std::is_void_v<T>)
asio::awaitable<std::vector<T>> run_branches(std::vector<asio::awaitable<T>> branches) {
    const auto results = std::make_shared<std::vector<std::optional<T>>>(branches.size());
    std::vector<asio::awaitable<void>> running;
    running.reserve(branches.size());
    for (auto& branch : branches)
        running.push_back(run_into(results, running.size(), std::move(branch)));
    co_await BranchGroup::run(std::move(running));
    std::vector<T> all;
    all.reserve(results->size());
    for (auto& result : *results) all.push_back(*std::move(result));
    co_return all;
}
TXSCOPE_LAZY inline asio::awaitable<void> run_branches(
    std::vector<asio::awaitable<void>> branches) {
    return BranchGroup::run(std::move(branches));
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/net/ambient_executor.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/forwarded_cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

namespace txscope::detail {

TXSCOPE_LAZY_INLINE asio::awaitable<void> BranchGroup::run(
    std::vector<asio::awaitable<void>> branches) {
    if (branches.empty()) co_return;
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    const auto* const carrier = callers.target<AmbientExecutor>();
    const AmbientExecutor executor =
        carrier != nullptr ? *carrier : AmbientExecutor{strand_on(callers)};
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, callers,
                                       executor};
    co_await cancellation.spawn(run_on_strand(branches));
}

TXSCOPE_LAZY_INLINE asio::awaitable<void> BranchGroup::run_on_strand(
    std::vector<asio::awaitable<void>>& branches) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    Notification all_ended{executor};
    const auto group = std::make_shared<BranchGroup>(branches.size(), all_ended.sender());
    for (std::size_t index = 0; index < branches.size(); ++index) {
        Branch& branch = group->branches_[index];
        asio::co_spawn(
            executor, run_branch(group, branch, std::move(branches[index])),
            asio::bind_cancellation_slot(branch.signal.slot(),
                                         [group](const std::exception_ptr&) { group->ended(); }));
    }
    while (!all_ended.sent()) {
        co_await all_ended.wait();
        if (caller.cancelled() != asio::cancellation_type::none) group->cancel();
    }
    if (!group->error_) co_return;
    check_not_cancelled(caller);
    std::rethrow_exception(group->error_);
}

/// One that is cancelled before it begins does nothing. Nor is it told so: Boost 1.83 would let it throw
/// out of `io_context::run`.
TXSCOPE_LAZY_INLINE asio::awaitable<void> BranchGroup::run_branch(Shared self, Branch& branch,
                                                                  asio::awaitable<void> body) {
    std::exception_ptr error;
    try {
        if (self->cancelled_) throw cancellation_error();
        branch.runs = true;
        co_await std::move(body);
    } catch (...) {
        error = std::current_exception();
    }
    branch.runs = false;
    if (error) self->failed(std::move(error));
}

TXSCOPE_INLINE void BranchGroup::cancel() {
    if (std::exchange(cancelled_, true)) return;
    for (Branch& branch : branches_)
        if (branch.runs) branch.signal.emit(asio::cancellation_type::all);
}

/// Whether another failure is the reason.
TXSCOPE_INLINE bool is_consequence(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const TransactionAborted&) {
        return true;
    } catch (...) {
        return is_cancellation(error);
    }
}

TXSCOPE_INLINE void BranchGroup::failed(std::exception_ptr error) {
    if (!error_ || (is_consequence(error_) && !is_consequence(error))) error_ = std::move(error);
    cancel();
}

}  // namespace txscope::detail

#endif
