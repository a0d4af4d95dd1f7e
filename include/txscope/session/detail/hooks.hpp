#pragma once

#include <txscope/session/detail/ambient.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope::detail {

namespace asio = boost::asio;

template <typename... Args>
using HookOf = std::function<asio::awaitable<void>(Args...)>;
using Hook = HookOf<>;

template <typename Function, typename... Args>
inline constexpr bool is_hook = false;
template <std::copy_constructible Function, typename... Args>
    requires std::invocable<Function&, Args...>
inline constexpr bool is_hook<Function, Args...> =
    std::is_void_v<std::invoke_result_t<Function&, Args...>> ||
    std::is_same_v<std::invoke_result_t<Function&, Args...>, asio::awaitable<void>>;

/// Does not compile where a function is no hook. To be called where one is taken.
template <typename Function, typename... Args>
constexpr void check_hook() {
    constexpr bool fits = is_hook<Function, Args...>;
    static_assert(fits,
                  "txscope: a hook takes nothing, and who listens a `const Notification&`; it "
                  "returns void or asio::awaitable<void>, and can be copied");
}

/// Calls `function`, which may be a coroutine or not.
template <typename... Args, typename Function>
HookOf<Args...> make_hook(Function function) {
    if constexpr (!is_hook<Function, Args...>)
        return {};
    else if constexpr (std::is_void_v<std::invoke_result_t<Function&, Args...>>)
        return [function = std::move(function)](Args... args) mutable -> asio::awaitable<void> {
            function(args...);
            co_return;
        };
    else
        return function;
}

/// What a scope is to do around its end, each list in order of registration.
struct Hooks {
    std::vector<Hook> before_commit;
    std::vector<Hook> after_commit;
    std::vector<Hook> after_rollback;
    /// The list that is being run, after the scope's end: it alone still takes more. Null before.
    const std::vector<Hook>* telling = nullptr;

    // Pointers to what calls them, which are set where a hook is added: so a program without hooks
    // does not compile that.
    asio::awaitable<void> (*call_before_commit)(SessionState&) = nullptr;
    asio::awaitable<void> (*tell_outcome)(SharedSession) = nullptr;

    /// Takes over those of a nested scope that was released.
    void append(Hooks&& nested) {
        const auto move_all = [](std::vector<Hook>& to, std::vector<Hook>& from) {
            for (Hook& hook : from) to.push_back(std::move(hook));
            from.clear();
        };
        move_all(before_commit, nested.before_commit);
        move_all(after_commit, nested.after_commit);
        move_all(after_rollback, nested.after_rollback);
        call_before_commit = nested.call_before_commit;
        tell_outcome = nested.tell_outcome;
    }
};

}  // namespace txscope::detail
