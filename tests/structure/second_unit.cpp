#include <txscope/txscope.hpp>

int version_seen_by_the_second_unit();

int version_seen_by_the_second_unit() { return TXSCOPE_VERSION; }
