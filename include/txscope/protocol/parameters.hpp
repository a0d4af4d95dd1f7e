#pragma once

#include <txscope/protocol/numbers.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txscope::protocol {

/// How a value is written. Source: PostgreSQL manual, "Formats and Format Codes".
enum class Format : std::uint16_t {
    text = 0,
    binary = 1,
};

/// The values of a statement's places `$1`, `$2`, …, encoded as Bind carries them: so that sending
/// them is a copy. A view; `append_parameter` and `append_null` make the bytes.
///
/// ```cpp
/// std::string bytes;
/// append_parameter(bytes, "draft");
/// append_null(bytes);
/// writer.bind("", "update_project", {.count = 2, .bytes = bytes});
/// ```
struct Parameters {
    static constexpr std::size_t max_count = 65535;    ///< The protocol counts them in 16 bits.
    static constexpr std::uint32_t null = 0xffffffff;  ///< The length of SQL's NULL.

    std::size_t count = 0;
    std::string_view bytes{};
    Format format = Format::text;  ///< Of all of them.
};

inline void append_null(std::string& bytes) { bytes.append("\xff\xff\xff\xff", 4); }

inline void append_parameter(std::string& bytes, std::string_view value) {
    char length[4];
    store32(length, static_cast<std::uint32_t>(value.size()));
    bytes.append(length, sizeof length).append(value);
}

/// Calls `visit(std::optional<std::string_view>)` for each in order; NULL is an empty one.
template <typename Visitor>
void for_each_parameter(const Parameters& parameters, Visitor&& visit) {
    const char* at = parameters.bytes.data();
    for (std::size_t i = 0; i < parameters.count; ++i) {
        const std::uint32_t length = load32(at);
        at += sizeof length;
        if (length == Parameters::null) {
            visit(std::optional<std::string_view>{});
        } else {
            visit(std::optional{std::string_view{at, length}});
            at += length;
        }
    }
}

}  // namespace txscope::protocol
