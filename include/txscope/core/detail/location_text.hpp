#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/connection_holder.hpp>

#include <cstddef>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

/// Where a scope was opened, as an error's text says it.
namespace txscope::detail {

/// "file:line", as compilers and editors write it.
[[nodiscard]] std::string location_text(const std::source_location& where);
[[nodiscard]] std::string with_scope(std::string message,
                                     const std::optional<std::source_location>& scope);
[[nodiscard]] std::string with_scopes(std::string message,
                                      const std::vector<std::source_location>& scopes);

/// Those who hold connections from one place in the source, of which there may be many.
struct PlaceOfHolders {
    const ConnectionHolder* first;  ///< In the order given.
    std::size_t count = 1;
};

[[nodiscard]] std::vector<PlaceOfHolders> places_of(const std::vector<ConnectionHolder>& holders);
/// @param holders the longest first
[[nodiscard]] std::string with_holders(std::string message,
                                       const std::vector<ConnectionHolder>& holders);

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <algorithm>
#include <string_view>
#include <utility>

namespace txscope::detail {

TXSCOPE_INLINE std::string location_text(const std::source_location& where) {
    return std::string(where.file_name()) + ':' + std::to_string(where.line());
}

TXSCOPE_INLINE std::string with_scope(std::string message,
                                      const std::optional<std::source_location>& scope) {
    if (scope) message += " [scope opened at " + location_text(*scope) + ']';
    return message;
}

TXSCOPE_INLINE std::string with_places(std::string message,
                                       const std::vector<std::string>& places) {
    std::string_view separator = " [scopes opened at ";
    for (const std::string& place : places) {
        message.append(separator).append(place);
        separator = ", ";
    }
    if (!places.empty()) message += ']';
    return message;
}

TXSCOPE_INLINE std::string with_scopes(std::string message,
                                       const std::vector<std::source_location>& scopes) {
    std::vector<std::string> places;
    for (const std::source_location& scope : scopes) places.push_back(location_text(scope));
    return with_places(std::move(message), places);
}

/// What is told of them.
TXSCOPE_INLINE std::string details_of(const PlaceOfHolders& place) {
    const ConnectionHolder& first = *place.first;
    std::string text = " (";
    if (!first.label.empty()) text += '"' + first.label + "\", ";
    if (place.count > 1) text += std::to_string(place.count) + " times, first ";
    text += "for " + std::to_string(first.held.count()) + " ms";
    if (!first.sql.empty()) text += ": " + first.sql;
    return text += ')';
}

TXSCOPE_INLINE std::vector<PlaceOfHolders> places_of(const std::vector<ConnectionHolder>& holders) {
    std::vector<PlaceOfHolders> places;
    for (const ConnectionHolder& holder : holders) {
        const auto known =
            std::find_if(places.begin(), places.end(), [&](const PlaceOfHolders& place) {
                return location_text(place.first->where) == location_text(holder.where);
            });
        if (known != places.end())
            ++known->count;
        else
            places.push_back({&holder});
    }
    return places;
}

TXSCOPE_INLINE std::string with_holders(std::string message,
                                        const std::vector<ConnectionHolder>& holders) {
    std::vector<std::string> scopes;
    std::string elsewhere;
    for (const PlaceOfHolders& place : places_of(holders))
        if (place.first->where.line() != 0)
            scopes.push_back(location_text(place.first->where) + details_of(place));
        else
            elsewhere = " [statements without a scope" + details_of(place) + ']';
    return with_places(std::move(message), scopes) + elsewhere;
}

}  // namespace txscope::detail

#endif
