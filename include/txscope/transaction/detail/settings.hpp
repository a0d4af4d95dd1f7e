#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <string_view>

namespace txscope::detail {

/// Gives a setting the value that is bound to it, until the transaction ends. The name stands in it, so
/// that its text tells whether names mean something else behind it: see `StatementKind`.
/// @throws pqxx::argument_error for what is no name
Statement setting_statement(std::string_view name);
Statement setting_statement(const TransactionSetting& setting);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <pqxx/except>

#include <algorithm>
#include <string>

namespace txscope::detail {

/// Whether PostgreSQL may have a setting of that name: identifiers with dots between them.
constexpr bool is_setting_name(std::string_view name) {
    const auto begins = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
    };
    const auto goes_on = [&](char c) { return begins(c) || (c >= '0' && c <= '9') || c == '$'; };
    for (;;) {
        const auto end = std::min(name.find('.'), name.size());
        const auto part = name.substr(0, end);
        if (part.empty() || !begins(part.front()) ||
            !std::all_of(part.begin(), part.end(), goes_on))
            return false;
        if (end == name.size()) return true;
        name.remove_prefix(end + 1);
    }
}

TXSCOPE_INLINE Statement setting_statement(std::string_view name) {
    if (!is_setting_name(name))
        throw pqxx::argument_error{
            "the name of a setting is made of identifiers, with dots between them"};
    return Statement{"SELECT pg_catalog.set_config('" + std::string{name} + "', $1, true)"};
}

TXSCOPE_INLINE Statement setting_statement(const TransactionSetting& setting) {
    Statement statement = setting_statement(setting.name);
    statement.bind(setting.value);
    return statement;
}

}  // namespace txscope::detail

#endif
