#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution/prefer_only.hpp>
#include <boost/asio/execution/relationship.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/strand.hpp>

#include <concepts>
#include <utility>
#include <variant>

namespace txscope::detail {

namespace asio = boost::asio;

/// Whether it is what `any_io_executor` wraps a property in to prefer it. Asio unwraps it for an
/// executor that does not take it so.
template <typename Property>
inline constexpr bool is_prefer_only = false;
template <typename Property>
inline constexpr bool is_prefer_only<asio::execution::prefer_only<Property>> = true;

/// Any executor, made cheap for a strand, which copies it, asks it for properties and executes on
/// it several times for each function that it runs.
///
/// `any_io_executor` allocates for most of that. So an `io_context`'s executor is used as it is,
/// and no executor is asked whether it blocks.
class BaseExecutor {
    using Any = asio::any_io_executor;
    using Context = asio::io_context::executor_type;
    using WorkingContext = decltype(asio::require(std::declval<const Context&>(),
                                                  asio::execution::outstanding_work.tracked));
    using Blocking = asio::execution::blocking_t;

public:
    // A template, since a conversion here would make copying ask whether this is an executor, which
    // asks whether it can be copied.
    template <std::same_as<Any> Inner>
    explicit BaseExecutor(const Inner& inner) : inner_{inner} {
        if (const auto* context = inner.template target<Context>()) inner_ = *context;
    }
    // Executors have to promise it, and a variant of what promises it does not.
    BaseExecutor(const BaseExecutor& other) noexcept = default;
    BaseExecutor& operator=(const BaseExecutor& other) noexcept = default;

    template <typename Function>
    void execute(Function&& function) const {
        std::visit([&](const auto& inner) { inner.execute(std::forward<Function>(function)); },
                   inner_);
    }

    /// Runs it later, behind what is ready to run.
    template <typename Function>
    void post(Function&& function) const {
        std::visit(
            [&](const auto& inner) {
                asio::prefer(asio::require(inner, asio::execution::blocking.never),
                             asio::execution::relationship.continuation)
                    .execute(std::forward<Function>(function));
            },
            inner_);
    }

    Blocking query(Blocking) const noexcept {
        return never_blocks_ ? Blocking{Blocking::never} : Blocking{Blocking::possibly};
    }
    template <typename Property>
        requires(!std::convertible_to<Property, Blocking> &&
                 asio::can_query_v<const Any&, Property>)
    decltype(auto) query(const Property& property) const {
        using Answer = decltype(asio::query(std::declval<const Any&>(), property));
        return std::visit([&](const auto& inner) -> Answer { return asio::query(inner, property); },
                          inner_);
    }

    template <typename Property>
        requires asio::can_require_v<const Any&, Property>
    BaseExecutor require(const Property& property) const {
        return with(property, [&](const auto& inner) { return asio::require(inner, property); });
    }
    template <typename Property>
        requires(asio::can_prefer_v<const Any&, Property> && !is_prefer_only<Property>)
    BaseExecutor prefer(const Property& property) const {
        return with(property, [&](const auto& inner) { return asio::prefer(inner, property); });
    }

    friend bool operator==(const BaseExecutor& a, const BaseExecutor& b) noexcept {
        return a.inner_ == b.inner_;
    }

private:
    using Inner = std::variant<Any, Context, WorkingContext>;
    template <typename Executor>
    static constexpr bool is_known =
        std::same_as<Executor, Any> || std::same_as<Executor, Context> ||
        std::same_as<Executor, WorkingContext>;

    BaseExecutor(Inner inner, bool never_blocks)
        : inner_{std::move(inner)}, never_blocks_{never_blocks} {}

    template <typename Property, typename Change>
    BaseExecutor with(const Property&, Change change) const {
        bool never_blocks = never_blocks_;
        if constexpr (std::same_as<Property, Blocking::never_t>) never_blocks = true;
        if constexpr (std::same_as<Property, Blocking::possibly_t>) never_blocks = false;
        const auto apply = [&](const auto& inner) -> Inner {
            // Other preferences, such as for an allocator, would make it one of another type.
            if constexpr (is_known<decltype(change(inner))>)
                return change(inner);
            else
                return inner;
        };
        return {std::visit(apply, inner_), never_blocks};
    }

    Inner inner_;
    bool never_blocks_ = false;
};

/// What the coroutines of one scope run on, one at a time, whatever runs beneath.
using Strand = asio::strand<BaseExecutor>;

}  // namespace txscope::detail
