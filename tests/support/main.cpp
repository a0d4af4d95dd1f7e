#define CATCH_CONFIG_RUNNER  // Catch2 2 compiles itself here; Catch2 3 comes compiled
#include "support/catch.hpp"

int main(int argc, char* argv[]) { return Catch::Session().run(argc, argv); }
