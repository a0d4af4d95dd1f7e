#include "projects.hpp"

// Nobody calls it: it is checked all the same.
txscope::Statement titles_like(std::string_view beginning) {
    return txscope::sql<"SELECT title FROM projects WHERE title ^@ $1">(beginning);
}
