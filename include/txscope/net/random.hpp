#pragma once

#include <txscope/core/config.hpp>

#include <cstdint>

namespace txscope::detail {

/// 64 bits that nobody has had before, and nobody can guess: the operating system's. For what is done
/// seldom: it is a system call.
/// @throws std::system_error where it has none
std::uint64_t random_bits();

/// Any number from 0 to `most`.
inline std::int64_t random_up_to(std::int64_t most) {
    return static_cast<std::int64_t>(random_bits() % (static_cast<std::uint64_t>(most) + 1));
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <sys/random.h>

#include <cerrno>
#include <system_error>

namespace txscope::detail {

// All of <random> takes a twentieth of a second to compile.
TXSCOPE_INLINE std::uint64_t random_bits() {
    std::uint64_t bits = 0;
    if (::getentropy(&bits, sizeof bits) != 0)
        throw std::system_error{errno, std::system_category(), "no random numbers"};
    return bits;
}

}  // namespace txscope::detail

#endif
