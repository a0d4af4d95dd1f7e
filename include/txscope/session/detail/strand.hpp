#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/strand.hpp>

#include <concepts>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

/// Any executor, whose blocking property is known without asking it: a strand asks with every
/// function it runs, and `any_io_executor` allocates each answer.
class BaseExecutor {
    using Blocking = asio::execution::blocking_t;

public:
    // A template, since a conversion here would make copying ask whether this is an executor, which
    // asks whether it can be copied.
    template <std::same_as<asio::any_io_executor> Inner>
    explicit BaseExecutor(Inner inner, bool never_blocks = false)
        : inner_{std::move(inner)}, never_blocks_{never_blocks} {}

    template <typename Function>
    void execute(Function&& function) const {
        inner_.execute(std::forward<Function>(function));
    }

    Blocking query(Blocking) const noexcept {
        return never_blocks_ ? Blocking{Blocking::never} : Blocking{Blocking::possibly};
    }
    template <typename Property>
        requires(!std::convertible_to<Property, Blocking> &&
                 asio::can_query_v<const asio::any_io_executor&, Property>)
    decltype(auto) query(const Property& property) const {
        return asio::query(inner_, property);
    }

    template <typename Property>
        requires asio::can_require_v<const asio::any_io_executor&, Property>
    BaseExecutor require(const Property& property) const {
        return BaseExecutor{asio::require(inner_, property), blocks_never_with(property)};
    }
    template <typename Property>
        requires asio::can_prefer_v<const asio::any_io_executor&, Property>
    BaseExecutor prefer(const Property& property) const {
        return BaseExecutor{asio::prefer(inner_, property), blocks_never_with(property)};
    }

    friend bool operator==(const BaseExecutor& a, const BaseExecutor& b) noexcept {
        return a.inner_ == b.inner_;
    }

private:
    template <typename Property>
    bool blocks_never_with(const Property&) const noexcept {
        if constexpr (std::same_as<Property, Blocking::never_t>) return true;
        if constexpr (std::same_as<Property, Blocking::possibly_t>) return false;
        return never_blocks_;
    }

    asio::any_io_executor inner_;
    bool never_blocks_;
};

/// What the coroutines of one scope run on, one at a time, whatever runs beneath.
using Strand = asio::strand<BaseExecutor>;

}  // namespace txscope::detail
