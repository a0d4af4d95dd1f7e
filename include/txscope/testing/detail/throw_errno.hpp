#pragma once

#include <txscope/testing/temporary_postgres_error.hpp>

#include <cerrno>
#include <string>
#include <system_error>

namespace txscope::detail {

/// Throws what the system says of a call that has failed.
[[noreturn]] inline void throw_errno(const std::string& what, int error = errno) {
    throw TemporaryPostgresError{what + ": " + std::generic_category().message(error)};
}

}  // namespace txscope::detail
