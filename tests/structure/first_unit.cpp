#include <txscope/txscope.hpp>

// The other of the two translation units that the program is made of.
int version_seen_by_the_second_unit();

int main() { return version_seen_by_the_second_unit() == TXSCOPE_VERSION ? 0 : 1; }
