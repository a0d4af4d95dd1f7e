#pragma once

#include <chrono>
#include <source_location>
#include <string>

namespace txscope {

/// Who has one of a pool's connections, as `AsyncSessionFactory::holders` tells, and the errors of
/// those who get none.
struct ConnectionHolder {
    std::source_location where{};       ///< Of its scope; line 0 for a statement without one.
    std::string label{};                ///< `TransactionOptions::label`.
    std::chrono::milliseconds held{0};  ///< How long it had the connection by then.
    /// The statement that it has awaited last, the beginning of a long one: with its `$1`, and never with
    /// the values of these. Empty when it has awaited none yet. `COMMIT`, and what is sent along with
    /// that, does not count.
    std::string sql{};
};

}  // namespace txscope
