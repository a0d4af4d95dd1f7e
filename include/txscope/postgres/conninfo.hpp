#pragma once

#include <txscope/core/config.hpp>

#include <string>
#include <string_view>

namespace txscope {

/// A connection string that says what `conninfo` says, but for one parameter, whose value may be any
/// text: quotes, spaces and `%` in it are no more than that.
///
/// ```cpp
/// co_return txscope::with_parameter(conninfo, "password", co_await vault_.password());
/// ```
///
/// @param conninfo a URI or a list of keywords; what is returned is a list of keywords
/// @param keyword one of libpq's (PostgreSQL manual, "Parameter Key Words")
/// @throws ConnectionFailed for a string that libpq cannot read, a keyword that it does not know,
///     and a NUL character; its text shows nothing of the values
std::string with_parameter(const std::string& conninfo, std::string_view keyword,
                           std::string_view value);

namespace detail {

/// A value of a list of keywords (PostgreSQL manual, "Keyword/Value Connection Strings").
std::string quote_conninfo(std::string_view value);

}  // namespace detail

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/postgres/detail/conninfo.hpp>

namespace txscope {

TXSCOPE_INLINE std::string detail::quote_conninfo(std::string_view value) {
    std::string quoted = "'";
    for (const char c : value) {
        if (c == '\'' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + "'";
}

TXSCOPE_INLINE std::string with_parameter(const std::string& conninfo, std::string_view keyword,
                                          std::string_view value) {
    const auto parameters = detail::read_conninfo(conninfo);
    if (value.find('\0') != value.npos)
        throw detail::malformed_conninfo("a NUL character in a value");
    std::string text;
    const auto add = [&text](std::string_view key, std::string_view of_key) {
        text.append(text.empty() ? "" : " ").append(key) += "=" + detail::quote_conninfo(of_key);
    };
    bool known = false;
    for (const PQconninfoOption* option = parameters.get(); option->keyword != nullptr; ++option) {
        if (option->keyword == keyword) {
            known = true;
            add(keyword, value);
        } else if (option->val != nullptr) {
            add(option->keyword, option->val);
        }
    }
    if (!known) throw detail::malformed_conninfo("a keyword that libpq does not know");
    return text;
}

}  // namespace txscope

#endif
