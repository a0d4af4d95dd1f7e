#pragma once

#include <cstddef>

namespace support {

/// How many more of this thread's allocations succeed, and one that fails; 0 for all. Only the
/// program of tests/memory has it.
extern thread_local std::size_t until_failure;

}  // namespace support
