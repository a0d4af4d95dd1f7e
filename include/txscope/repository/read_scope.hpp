#pragma once

#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_options.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <pqxx/except>

#include <concepts>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

namespace txscope {

namespace detail {

/// What of a repository only reads: one that cannot write, whole.
template <typename T, typename Model>
const T& reading_part(const ReadRepository<T, Model>& repository) {
    return static_cast<const T&>(repository);
}
template <typename T, typename Model>
const ReadRepository<T, Model>& reading_part(const BaseRepository<T, Model>& repository) {
    return repository;
}
template <typename Repository>
using ReadingPart = decltype(reading_part(std::declval<const Repository&>()));

/// What `ReadScope` takes: a coroutine of what the repositories have that reads.
template <typename Body, typename... Repositories>
concept ReadBody =
    is_awaitable<std::invoke_result_t<Body&, ReadingPart<Repositories>...>> &&
    NothrowResult<typename std::invoke_result_t<Body&, ReadingPart<Repositories>...>::value_type>;

}  // namespace detail

/// Reads in one transaction, from a replica where the factory has one that is up to date
/// (`Route::prefer_replica`). Nothing is written: the body is handed repositories that cannot, and what
/// it asks of the session by other ways is refused by the server.
///
/// ```cpp
/// txscope::ReadScope<ProjectRepository, WorkflowRepository> reading{sessions};
/// const auto drafts = co_await reading([&](const auto& projects, const auto& flows)
///                                          -> asio::awaitable<std::vector<Project>> {
///     if (co_await flows.count() == 0) co_return std::vector<Project>{};
///     co_return co_await projects.find_all(field<&Project::status> == "draft");
/// });
/// ```
///
/// A body gets `const ReadRepository<T, Model>&` for what derives from `BaseRepository`, and for what
/// derives from `ReadRepository` that itself, with finders of its own.
///
/// All else is as for a `TransactionScope`: it joins a transaction that is open, and may be called again.
template <std::constructible_from<AsyncSessionFactory>... Repositories>
class ReadScope {
public:
    /// @param options but for `access` and `route`, which this says
    /// @throws pqxx::argument_error for `AccessMode::read_write`
    explicit ReadScope(AsyncSessionFactory sessions, TransactionOptions options = {},
                       std::source_location where = std::source_location::current())
        : scope_{sessions, reading(options), where}, sessions_{std::move(sessions)} {}

    /// Runs `body(repositories...)`, and gives its result.
    template <detail::ReadBody<Repositories...> Body>
    [[nodiscard]] auto operator()(Body body) const {
        return run(scope_, sessions_, std::move(body));
    }
    /// Does not compile. Its type is deduced, so that compilers say why ahead of anything else.
    template <typename Body>
    auto operator()(Body) const {
        static_assert(
            detail::never<Body>,
            "txscope: the body of a ReadScope is a coroutine, `-> asio::awaitable<…>`, that takes "
            "of each of its repositories what reads, `const auto&`, and whose result is moved "
            "without throwing");
        if constexpr (std::invocable<Body&, detail::ReadingPart<Repositories>...>)
            return detail::RefusedResult<
                std::decay_t<std::invoke_result_t<Body&, detail::ReadingPart<Repositories>...>>>{};
        else
            return asio::awaitable<void>{};
    }

private:
    static TransactionOptions reading(TransactionOptions options) {
        if (options.access == AccessMode::read_write)
            throw pqxx::argument_error{"a ReadScope writes nothing"};
        options.access = AccessMode::read_only;
        options.route = Route::prefer_replica;
        return options;
    }

    template <typename Body>
    static std::invoke_result_t<Body&, detail::ReadingPart<Repositories>...> run(
        TransactionScope scope, AsyncSessionFactory sessions, Body body) {
        const std::tuple<Repositories...> repositories{Repositories(sessions)...};
        const auto read = [&] {
            return std::apply(
                [&](const Repositories&... each) { return body(detail::reading_part(each)...); },
                repositories);
        };
        co_return co_await scope(read);
    }

    TransactionScope scope_;
    AsyncSessionFactory sessions_;
};

}  // namespace txscope
