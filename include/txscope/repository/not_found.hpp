#pragma once

#include <txscope/core/error.hpp>

#include <pqxx/except>

#include <string>

namespace txscope {

/// The row that `get` asked for is not there.
class NotFound : public detail::ErrorOf<pqxx::unexpected_rows> {
public:
    explicit NotFound(const std::string& table) : ErrorOf("there is no such row in " + table) {}
};

}  // namespace txscope
