#pragma once

#include "contender.hpp"

#include <array>

namespace benchmark {

/// Whose transactions `cost` takes apart.
inline constexpr std::array<Maker, 3> measured_contenders{make_libpq, make_txscope,
                                                          make_repositories};

/// Rounds of all connections that a contender goes through before it is measured.
inline constexpr int warm_up_rounds = 20;

/// Opening this file fails: a call that shows in the log of system calls what was measured.
inline constexpr const char* mark = "/txscope-benchmark/mark";

}  // namespace benchmark
