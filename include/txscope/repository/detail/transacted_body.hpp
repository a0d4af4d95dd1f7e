#pragma once

#include <txscope/session/session.hpp>

#include <concepts>
#include <type_traits>

namespace txscope::detail {

template <typename T, typename... Ts>
concept OneOf = (std::same_as<T, Ts> || ...);

template <typename Body, typename... Repositories>
struct TransactedResult : std::invoke_result<Body&, Repositories&...> {};
template <typename Body, typename... Repositories>
    requires std::invocable<Body&, Session&, Repositories&...>
struct TransactedResult<Body, Repositories...>
    : std::invoke_result<Body&, Session&, Repositories&...> {};

/// The awaitable that a body for `ServiceCoordinator::transact` gives.
template <typename Body, typename... Repositories>
using TransactedAwaitable = typename TransactedResult<Body, Repositories...>::type;

/// What `ServiceCoordinator::transact` takes: a coroutine of the repositories, or of the session
/// and the repositories.
template <typename Body, typename... Repositories>
concept TransactedBody =
    requires { typename TransactedAwaitable<Body, Repositories...>::value_type; };

}  // namespace txscope::detail
