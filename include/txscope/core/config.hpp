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
#define TXSCOPE_LAZY
#define TXSCOPE_LAZY_INLINE
#elif defined(TXSCOPE_SEPARATE_COMPILATION)
#define TXSCOPE_DEFINITIONS 0
#define TXSCOPE_LAZY
#else
#define TXSCOPE_DEFINITIONS 1
#define TXSCOPE_INLINE inline
// Stands before the declaration of a coroutine, and of what calls one: a template is compiled where it is
// called, while g++ compiles any other coroutine, and all that it calls, wherever it is included.
#define TXSCOPE_LAZY template <typename = void>
// Before its definition, where that is elsewhere.
// clang-format off
#define TXSCOPE_LAZY_INLINE template <typename> inline
// clang-format on
#endif
