#pragma once

#include <txscope/postgres/result.hpp>

#include <libpq-fe.h>

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

/// A result as libpq would hand it over, made without a server.
inline txscope::Result made_result(
    std::vector<std::string> columns,
    std::initializer_list<std::vector<std::optional<std::string>>> rows) {
    PGresult* result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
    std::vector<PGresAttDesc> descriptions;
    for (std::string& name : columns) descriptions.push_back({name.data(), 0, 0, 0, 25, -1, -1});
    PQsetResultAttrs(result, static_cast<int>(descriptions.size()), descriptions.data());
    int row = 0;
    for (std::vector<std::optional<std::string>> values : rows) {
        int column = 0;
        for (std::optional<std::string>& value : values) {
            PQsetvalue(result, row, column++, value ? value->data() : nullptr,
                       value ? static_cast<int>(value->size()) : -1);
        }
        ++row;
    }
    return txscope::Result(result);
}
