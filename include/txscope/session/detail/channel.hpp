#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/statement.hpp>

#include <string>
#include <string_view>

namespace txscope::detail {

/// SQL that has this session told what is notified on `channel`.
/// @throws pqxx::argument_error where no channel can have that name
std::string listen_sql(std::string_view channel);

/// Notifies all that listen to `channel` once the transaction is committed.
/// @throws pqxx::argument_error where no channel can have that name, or the payload is too long
/// @throws ValueError for a payload with a NUL character
Statement notify_statement(std::string_view channel, std::string_view payload);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/postgres/detail/sql_words.hpp>

#include <pqxx/except>

#include <cstddef>

namespace txscope::detail {

/// A longer name `LISTEN` would cut, and then listen to another channel.
inline void check_channel(std::string_view channel) {
    if (channel.empty() || channel.size() > max_name_length || channel.find('\0') != channel.npos)
        throw pqxx::argument_error{"a channel's name has 1 to 63 bytes, and no NUL among them"};
}

TXSCOPE_INLINE std::string listen_sql(std::string_view channel) {
    check_channel(channel);
    std::string sql = "LISTEN ";
    write_quoted(channel, [&](char c) { sql += c; });
    return sql;
}

TXSCOPE_INLINE Statement notify_statement(std::string_view channel, std::string_view payload) {
    constexpr std::size_t limit = 8000;  // the server's NOTIFY_PAYLOAD_MAX_LENGTH, with its end
    check_channel(channel);
    if (payload.size() >= limit)
        throw pqxx::argument_error{"a notification's payload has less than 8000 bytes"};
    return Statement{"SELECT pg_catalog.pg_notify($1, $2)", channel, payload};
}

}  // namespace txscope::detail

#endif
