#pragma once

#include "support/server_messages.hpp"
#include <txscope/core/error.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/protocol/result_builder.hpp>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// A result as a server would send it, made without one.
inline txscope::Result made_result(
    const std::vector<std::string>& columns,
    std::initializer_list<std::vector<std::optional<std::string>>> rows,
    const std::string& tag = "SELECT") {
    namespace server = support::server_message;
    namespace protocol = txscope::protocol;
    std::string bytes;
    for (const auto& row : rows) bytes += server::row({row.begin(), row.end()});
    bytes += server::complete(tag);

    protocol::Reader reader;
    protocol::ResultBuilder builder{bytes.size() + 1};
    for (std::string_view rest = bytes; !rest.empty();) {
        const auto space = reader.space();
        const std::size_t size = std::min(space.size(), rest.size());
        std::memcpy(space.data(), rest.data(), size);
        reader.received(size);
        rest.remove_prefix(size);
    }
    while (reader.next() == protocol::Reader::Status::message &&
           reader.message().type == protocol::MessageType::data_row)
        if (!builder.add_row(reader)) break;
    const auto body = reader.message().body;
    auto described = protocol::Columns::parse(
        server::row_description({columns.begin(), columns.end()}).substr(5));
    return txscope::Result{
        builder.finish(reader, std::move(described), body.substr(0, body.size() - 1))};
}

/// The error that reading a result has met.
template <typename Action>
txscope::ColumnError column_error_of(Action action) {
    try {
        action();
    } catch (const txscope::ColumnError& error) {
        return error;
    }
    throw std::logic_error("no ColumnError");
}
