#include "support/catch.hpp"
#include <txscope/protocol/parameters.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace txscope::protocol;

TEST_CASE("parameters are encoded with their lengths, and read again", "[protocol]") {
    std::string bytes;
    append_parameter(bytes, "ab");
    append_null(bytes);
    append_parameter(bytes, "");
    append_parameter(bytes, std::string_view{"\0", 1});
    CHECK(bytes == std::string("\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0\0\0\0\1\0", 19));

    std::vector<std::optional<std::string>> values;
    for_each_parameter({.count = 4, .bytes = bytes},
                       [&](std::optional<std::string_view> value) { values.emplace_back(value); });
    CHECK(values ==
          std::vector<std::optional<std::string>>{"ab", std::nullopt, "", std::string(1, '\0')});
}
