#pragma once

/// Whether this library is header-only, which it is by default, or compiled apart.
///
/// With `TXSCOPE_SEPARATE_COMPILATION` defined for the whole program, headers declare only, which
/// makes them quicker to compile, and one source file of the program defines all the rest:
///
/// ```cpp
/// #include <txscope/src.hpp>
/// ```
///
/// CMake's target `txscope::compiled` does both.

#if defined(TXSCOPE_SOURCE)  // src.hpp
#define TXSCOPE_DEFINITIONS 1
#define TXSCOPE_INLINE
#elif defined(TXSCOPE_SEPARATE_COMPILATION)
#define TXSCOPE_DEFINITIONS 0
#else
#define TXSCOPE_DEFINITIONS 1
#define TXSCOPE_INLINE inline
#endif
