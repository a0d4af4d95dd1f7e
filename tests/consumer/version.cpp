#include <txscope/txscope.hpp>

int version();

int version() { return TXSCOPE_VERSION; }
