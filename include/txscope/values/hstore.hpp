#pragma once

#include <txscope/core/detail/text_reader.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace txscope {

/// `hstore`, of the extension of that name, whose values may be NULL (manual, "hstore").
template <>
struct SqlValue<std::map<std::string, std::optional<std::string>>> {
    using Map = std::map<std::string, std::optional<std::string>>;
    static constexpr std::string_view type_names[] = {"hstore"};

    static std::string to_text(const Map& map) {
        std::string text;
        for (const auto& [key, value] : map) {
            if (!text.empty()) text += ',';
            detail::append_quoted(text, key);
            text += "=>";
            if (value)
                detail::append_quoted(text, *value);
            else
                text += "NULL";
        }
        return text;
    }

    static Map from_text(std::string_view text) {
        detail::TextReader reader(text, "an hstore");
        Map map;
        if (reader.at_end()) return map;
        do {
            std::string key{reader.piece("=").text};
            reader.expect("=>");
            const auto [value, quoted] = reader.piece(",");
            if (!quoted && value != "NULL") reader.fail();
            map.insert_or_assign(std::move(key),
                                 quoted ? std::optional<std::string>{value} : std::nullopt);
        } while (reader.take(", "));
        reader.end();
        return map;
    }
};

}  // namespace txscope
