#pragma once

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope::detail {

namespace asio = boost::asio;

template <typename... Args>
using HookOf = std::function<asio::awaitable<void>(Args...)>;
using Hook = HookOf<>;

/// Calls `function`, which may be a coroutine or not.
template <typename... Args, typename Function>
HookOf<Args...> make_hook(Function function) {
    if constexpr (std::is_void_v<std::invoke_result_t<Function&, Args...>>)
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

    /// Takes over those of a nested scope that was released.
    void append(Hooks&& nested) {
        const auto move_all = [](std::vector<Hook>& to, std::vector<Hook>& from) {
            to.insert(to.end(), std::move_iterator{from.begin()}, std::move_iterator{from.end()});
            from.clear();
        };
        move_all(before_commit, nested.before_commit);
        move_all(after_commit, nested.after_commit);
        move_all(after_rollback, nested.after_rollback);
    }
};

}  // namespace txscope::detail
