#pragma once

#include <cstddef>

namespace support {

/// How many more of this thread's allocations succeed, and one that fails; 0 for all. Only the
/// program of tests/memory has it.
extern thread_local std::size_t until_failure;

/// What that program has `realloc` ask (`counted_calls.hpp`); null where nothing fails.
inline bool (*allocation_fails)() = nullptr;

}  // namespace support
