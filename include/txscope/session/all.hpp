#pragma once

#include <txscope/session/detail/branch_group.hpp>
#include <txscope/session/detail/run_session.hpp>

#include <boost/asio/awaitable.hpp>

#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace asio = boost::asio;

namespace detail {

template <typename Branches>
concept BranchesToTake =
    std::ranges::input_range<Branches> && is_awaitable<std::ranges::range_value_t<Branches>> &&
    std::is_constructible_v<std::ranges::range_value_t<Branches>,
                            std::remove_reference_t<std::ranges::range_reference_t<Branches>>&&>;

}  // namespace detail

/// Runs any number of branches in parallel, and returns their results, in the order of the branches: a
/// `std::vector<T>` of a range of `asio::awaitable<T>`, nothing of `asio::awaitable<void>`.
///
/// ```cpp
/// const auto found = co_await txscope::all(
///     names | std::views::transform([&](const std::string& name) {
///         return projects.find(field<&Project::name> == name);
///     }));  // in a scope: one round trip, however many names there are
/// ```
///
/// What is ambient here is so in each branch, and their statements share round trips, as those of
/// `a() && b()` do. They run one at a time, on one strand. Memory and time are linear in their number.
/// Outside of a scope, each takes a connection of its own.
///
/// The first branch that fails cancels the others; when all have ended, its error is thrown: as long as
/// there is another one, not one that says that it was cancelled, or that another's failure is the
/// reason (`TransactionAborted`).
///
/// **Cancellation**: cancels all, and throws `operation_aborted` when they have ended.
///
/// The awaitables are taken from the range before this returns.
template <typename Branches>
auto all(Branches&& branches) {
    if constexpr (detail::BranchesToTake<Branches>) {
        std::vector<std::ranges::range_value_t<Branches>> taken;
        if constexpr (std::ranges::sized_range<Branches>)
            taken.reserve(std::ranges::size(branches));
        for (auto&& branch : branches) taken.push_back(std::move(branch));
        return detail::run_branches(std::move(taken));
    } else {
        static_assert(detail::never<Branches>,
                      "txscope: all takes a range of asio::awaitable<T>, which it moves from");
        return asio::awaitable<void>{};
    }
}

}  // namespace txscope
