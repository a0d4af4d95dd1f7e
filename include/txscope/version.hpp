#pragma once

// The one place of the version: CMake reads these three lines.
#define TXSCOPE_VERSION_MAJOR 0
#define TXSCOPE_VERSION_MINOR 1
#define TXSCOPE_VERSION_PATCH 0

/// The version as one number that preprocessor conditions can compare: 1.2.3 is 10203.
#define TXSCOPE_VERSION \
    (TXSCOPE_VERSION_MAJOR * 10000 + TXSCOPE_VERSION_MINOR * 100 + TXSCOPE_VERSION_PATCH)
