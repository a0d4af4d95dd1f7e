#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace txscope {

/// A throwaway server could not be made, started or stopped; what() says why.
class TemporaryPostgresError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace detail {

/// Throws what the system says of a call that has failed.
[[noreturn]] inline void throw_errno(const std::string& what, int error = errno) {
    throw TemporaryPostgresError{what + ": " + std::generic_category().message(error)};
}

}  // namespace detail
}  // namespace txscope
