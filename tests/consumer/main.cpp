#include <txscope/txscope.hpp>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <pqxx/strconv>

// Calls into every library that txscope brings along, so that linking proves they came.
int main() {
    fmt::print("txscope {}, libpq {}\n", TXSCOPE_VERSION, pqxx::to_string(PQlibVersion()));
}
