#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

/// Exceptions as values: what was thrown, of which class, with what nested inside.
namespace support {

namespace asio = boost::asio;

/// What a body throws of its own accord.
struct Refusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What `work` ends by; null when it returns.
///
///     const auto failure = co_await failure_of(scope(body));
///     CHECK(is<txscope::UnexpectedRollback>(failure));
template <typename T>
asio::awaitable<std::exception_ptr> failure_of(asio::awaitable<T> work) {
    std::exception_ptr failure;
    try {
        co_await std::move(work);
    } catch (...) {
        failure = std::current_exception();
    }
    co_return failure;
}

template <typename Function>
    requires std::is_void_v<std::invoke_result_t<Function>>
std::exception_ptr failure_of(Function function) {
    try {
        function();
    } catch (...) {
        return std::current_exception();
    }
    return nullptr;
}

/// Whether it can be caught as an `Error`.
template <typename Error>
bool is(const std::exception_ptr& failure) {
    if (!failure) return false;
    try {
        std::rethrow_exception(failure);
    } catch (const Error&) {
        return true;
    } catch (...) {
        return false;
    }
}

/// Whether it is what a cancelled operation ends by.
inline bool is_abort(const std::exception_ptr& failure) {
    if (!failure) return false;
    try {
        std::rethrow_exception(failure);
    } catch (const boost::system::system_error& error) {
        return error.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

inline std::string text_of(const std::exception_ptr& failure) {
    if (!failure) return "no failure";
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "not a std::exception";
    }
}

/// What is nested inside; null for nothing.
inline std::exception_ptr cause_of(const std::exception_ptr& failure) {
    if (!failure) return nullptr;
    try {
        std::rethrow_exception(failure);
    } catch (const std::nested_exception& error) {
        return error.nested_ptr();
    } catch (...) {
        return nullptr;
    }
}

}  // namespace support
