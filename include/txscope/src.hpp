#pragma once

/// What headers only declare where `TXSCOPE_SEPARATE_COMPILATION` is defined: to be included by one
/// source file of the program, ahead of every other header of this library. See `core/config.hpp`.

#ifdef TXSCOPE_DEFINITIONS
#error "<txscope/src.hpp> comes before every other header of txscope"
#endif
#define TXSCOPE_SOURCE

// The lambdas of a coroutine that is not inline look to g++ as if others might include them, too.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

#include <txscope/observing/observer_list.hpp>
#include <txscope/observing/opentelemetry_observer.hpp>
#include <txscope/observing/printing_observer.hpp>
#include <txscope/observing/prometheus_text.hpp>
#include <txscope/protocol/pipeline.hpp>
#include <txscope/txscope.hpp>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
