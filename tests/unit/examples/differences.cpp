#include "../../../examples/support/differences.hpp"

#include "support/catch.hpp"

#include <string>
#include <vector>

using Lines = std::vector<std::string>;

TEST_CASE("the example finds nothing wrong where the tables hold what was committed",
          "[import_projects]") {
    CHECK(differences({}, {}) == Lines{});
    CHECK(differences({{"Apollo", 2}, {"Gemini", 0}}, {{"Gemini", 0}, {"Apollo", 2}}) == Lines{});
}

TEST_CASE("the example says which project is missing, left over, or has other workflows",
          "[import_projects]") {
    CHECK(differences({{"Apollo", 2}, {"Gemini", 0}}, {{"Gemini", 0}}) ==
          Lines{"committed, but not there: Apollo with 2 workflows"});
    CHECK(differences({{"Gemini", 0}}, {{"Apollo", 2}, {"Gemini", 0}}) ==
          Lines{"there, but not committed: Apollo with 2 workflows"});
    CHECK(differences({{"Apollo", 2}}, {{"Apollo", 1}}) ==
          Lines{"committed, but not there: Apollo with 2 workflows",
                "there, but not committed: Apollo with 1 workflows"});
    CHECK(differences({{"Apollo", 2}}, {{"Apollo", 2}, {"Apollo", 2}}) ==
          Lines{"there, but not committed: Apollo with 2 workflows"});
}
