#pragma once

/// What headers only declare where `TXSCOPE_SEPARATE_COMPILATION` is defined: to be included by one
/// source file of the program, ahead of every other header of this library. See `core/config.hpp`.

#ifdef TXSCOPE_DEFINITIONS
#error "<txscope/src.hpp> comes before every other header of txscope"
#endif
#define TXSCOPE_SOURCE

#include <txscope/observing/printing_observer.hpp>
#include <txscope/protocol/pipeline.hpp>
#include <txscope/txscope.hpp>
