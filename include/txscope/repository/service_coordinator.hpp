#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/repository/detail/ambient_execution.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace txscope {

namespace asio = boost::asio;

namespace detail {

template <typename T, typename... Ts>
concept OneOf = (std::same_as<T, Ts> || ...);

/// Calls a body for `ServiceCoordinator::transact` with what it takes.
template <typename Body, typename... Repositories>
auto call_body(Body& body, Transaction& transaction, Repositories&... each) {
    if constexpr (std::invocable<Body&, Transaction&, Repositories&...>)
        return body(transaction, each...);
    else if constexpr (std::invocable<Body&, Repositories&...>)
        return body(each...);
    else if constexpr (std::invocable<Body&, Transaction&>)
        return body(transaction);
    else if constexpr (std::invocable<Body&>)
        return body();
}

/// The awaitable that it gives.
template <typename Body, typename... Repositories>
using TransactedAwaitable = decltype(call_body(std::declval<Body&>(), std::declval<Transaction&>(),
                                               std::declval<Repositories&>()...));

/// What `ServiceCoordinator::transact` takes: a coroutine of the repositories or of none, behind the
/// transaction or without.
template <typename Body, typename... Repositories>
concept TransactedBody =
    is_awaitable<TransactedAwaitable<Body, Repositories...>> &&
    NothrowResult<typename TransactedAwaitable<Body, Repositories...>::value_type>;

/// @param words its class, for the error
/// @throws pqxx::argument_error unless what is executed there joins transactions of `sessions`
void check_joins(const AsyncSessionFactory& sessions, const RepositorySession& session,
                 std::string (*words)());

template <typename Repository>
void check_joins(const AsyncSessionFactory& sessions, const Repository& repository) {
    if constexpr (requires { RepositorySession{repository.session()}; })
        check_joins(sessions, repository.session(), &type_words<Repository>);
}

}  // namespace detail

/// Repositories that work together in one transaction: the base of a service.
///
/// ```cpp
/// class ProjectService
///     : public txscope::ServiceCoordinator<ProjectRepository, WorkflowRepository> {
/// public:
///     using ServiceCoordinator::ServiceCoordinator;
///
///     asio::awaitable<Project> create_with(Project project, std::vector<Workflow> workflows) {
///         co_return co_await transact(
///             [&](ProjectRepository& projects, WorkflowRepository& flows)
///                 -> asio::awaitable<Project> {
///                 Project created = co_await projects.create(project);
///                 for (Workflow& flow : workflows) {
///                     flow.project_id = created.id;
///                     flows.add(flow);
///                 }
///                 co_return created;
///             });
///     }
/// };
/// ```
///
/// What `transact` wraps happens altogether or not at all, as `TransactionScope` says. Services
/// may call each other: an inner `transact` joins the transaction of the outer one.
///
/// **Lifetime**: the coordinator lives until its transactions have ended. The body passed to
/// `transact` is kept by the awaitable, what it captures by reference is not.
///
/// **Threads**: one coordinator serves any number of transactions at once.
template <std::constructible_from<AsyncSessionFactory>... Repositories>
class ServiceCoordinator {
public:
    /// Each repository is made from `sessions`; `options` are those of every `transact`.
    explicit ServiceCoordinator(AsyncSessionFactory sessions, TransactionOptions options = {})
        : repositories_{Repositories(sessions)...},
          sessions_{std::move(sessions)},
          options_{options} {
        check_repositories();
    }

    /// The same with repositories that were made before, of the same factory.
    /// @throws pqxx::argument_error for one of another factory, or that is bound to a session: what it
    ///     does would be no part of the coordinator's transactions
    explicit ServiceCoordinator(AsyncSessionFactory sessions, Repositories... repositories,
                                TransactionOptions options = {})
        requires(sizeof...(Repositories) > 0)
        : repositories_{std::move(repositories)...},
          sessions_{std::move(sessions)},
          options_{options} {
        check_repositories();
    }

    /// Runs `body(repositories...)` or `body(transaction, repositories...)` in a transaction: the
    /// ambient one, or else one of its own. Gives the body's result once that is committed. A body that
    /// takes none of them, `body()` or `body(transaction)`, has `repository<R>()`.
    template <typename Body>
    auto transact(Body&& body, std::source_location where = std::source_location::current()) {
        return transact(options_, std::forward<Body>(body), where);
    }

    /// The same with options of its own instead of the coordinator's.
    template <typename Body>
    auto transact(TransactionOptions options, Body&& body,
                  std::source_location where = std::source_location::current()) {
        constexpr bool is_body = detail::TransactedBody<Body, Repositories...>;
        static_assert(
            is_body,
            "txscope: the body of `transact` is a coroutine, `-> asio::awaitable<…>`, that "
            "takes a reference to each repository, in their order, or to none, behind a "
            "`Transaction&` or alone, and whose result is moved without throwing");
        if constexpr (is_body)
            return run(sessions_, options, where, std::decay_t<Body>(std::forward<Body>(body)),
                       repositories_);
        else
            return detail::RefusedResult<
                std::decay_t<detail::TransactedAwaitable<Body, Repositories...>>>{};
    }

    /// One of the repositories: in a body of `transact` it is in the transaction, as everything is.
    template <detail::OneOf<Repositories...> Repository>
    Repository& repository() {
        return std::get<Repository>(repositories_);
    }

private:
    using Owned = std::tuple<Repositories...>;

    void check_repositories() const {
        std::apply([&](const auto&... each) { (detail::check_joins(sessions_, each), ...); },
                   repositories_);
    }

    // The body is a parameter so that it lives as long as the coroutine that it makes.
    template <typename Body>
    static detail::TransactedAwaitable<Body, Repositories...> run(AsyncSessionFactory sessions,
                                                                  TransactionOptions options,
                                                                  std::source_location where,
                                                                  Body body, Owned& repositories) {
        TransactionScope scope{std::move(sessions), options, where};
        const auto enter = [&](Transaction& transaction) {
            return std::apply(
                [&](Repositories&... each) {
                    return detail::call_body(body, transaction, each...);
                },
                repositories);
        };
        co_return co_await scope(enter);
    }

    Owned repositories_;
    AsyncSessionFactory sessions_;
    TransactionOptions options_;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/session/detail/session_pool.hpp>

#include <pqxx/except>

namespace txscope::detail {

TXSCOPE_INLINE void check_joins(const AsyncSessionFactory& sessions,
                                const RepositorySession& session, std::string (*words)()) {
    const auto refuse = [&](const std::string& why) {
        throw pqxx::argument_error{"txscope: " + words() +
                                   " cannot be in this ServiceCoordinator: it is " + why};
    };
    if (session.sessions.pool() != sessions.pool())
        refuse("of another session factory (" +
               session.sessions.pool()->connector().database_words() +
               ") than the coordinator's transactions (" +
               sessions.pool()->connector().database_words() + ')');
    if (session.bound) refuse("bound to a session, and so joins no other transaction");
}

}  // namespace txscope::detail

#endif
