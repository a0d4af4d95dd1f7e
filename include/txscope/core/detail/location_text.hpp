#pragma once

#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

/// Where a scope was opened, as an error's text says it.
namespace txscope::detail {

/// "file:line", as compilers and editors write it.
[[nodiscard]] inline std::string location_text(const std::source_location& where) {
    return std::string(where.file_name()) + ':' + std::to_string(where.line());
}

[[nodiscard]] inline std::string with_scope(std::string message,
                                            const std::optional<std::source_location>& scope) {
    if (scope) message += " [scope opened at " + location_text(*scope) + ']';
    return message;
}

[[nodiscard]] inline std::string with_scopes(std::string message,
                                             const std::vector<std::source_location>& scopes) {
    std::string_view separator = " [scopes opened at ";
    for (const std::source_location& scope : scopes) {
        message.append(separator).append(location_text(scope));
        separator = ", ";
    }
    if (!scopes.empty()) message += ']';
    return message;
}

}  // namespace txscope::detail
