#pragma once

#include <txscope/core/connection_holder.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
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

[[nodiscard]] inline std::vector<std::string> location_texts(
    const std::vector<std::source_location>& places) {
    std::vector<std::string> texts;
    for (const std::source_location& place : places) texts.push_back(location_text(place));
    return texts;
}

[[nodiscard]] inline std::string with_scopes(std::string message,
                                             const std::vector<std::string>& scopes) {
    std::string_view separator = " [scopes opened at ";
    for (const std::string& scope : scopes) {
        message.append(separator).append(scope);
        separator = ", ";
    }
    if (!scopes.empty()) message += ']';
    return message;
}

/// Those who hold connections from one place in the source, of which there may be many.
struct PlaceOfHolders {
    const ConnectionHolder* first;  ///< In the order given.
    std::size_t count = 1;

    [[nodiscard]] std::string details() const {
        std::string text = " (";
        if (!first->label.empty()) text += '"' + first->label + "\", ";
        if (count > 1) text += std::to_string(count) + " times, first ";
        text += "for " + std::to_string(first->held.count()) + " ms";
        if (!first->sql.empty()) text += ": " + first->sql;
        return text += ')';
    }
};

[[nodiscard]] inline std::vector<PlaceOfHolders> places_of(
    const std::vector<ConnectionHolder>& holders) {
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

/// @param holders the longest first
[[nodiscard]] inline std::string with_holders(std::string message,
                                              const std::vector<ConnectionHolder>& holders) {
    std::vector<std::string> scopes;
    std::string elsewhere;
    for (const PlaceOfHolders& place : places_of(holders))
        if (place.first->where.line() != 0)
            scopes.push_back(location_text(place.first->where) + place.details());
        else
            elsewhere = " [statements without a scope" + place.details() + ']';
    return with_scopes(std::move(message), scopes) + elsewhere;
}

}  // namespace txscope::detail
