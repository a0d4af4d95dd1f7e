#pragma once

/// Everything of txscope, by layer, from what a program's data layer derives from down to what
/// knows no I/O. `txscope/testing/` stays outside: it starts servers, and belongs into test suites.

#include <txscope/version.hpp>
