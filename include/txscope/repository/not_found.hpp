#pragma once

#include <pqxx/except>

#include <string>

namespace txscope {

/// The row that `get` asked for is not there.
class NotFound : public pqxx::unexpected_rows {
public:
    explicit NotFound(const std::string& table)
        : pqxx::unexpected_rows("there is no such row in " + table) {}
};

}  // namespace txscope
