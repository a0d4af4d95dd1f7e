#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What a server sends, byte by byte (PostgreSQL manual, "Message Formats").
namespace support::server_message {

inline std::string number16(std::size_t number) {
    return {static_cast<char>(number >> 8), static_cast<char>(number)};
}
inline std::string number32(std::size_t number) {
    return number16(number >> 16 & 0xffff) + number16(number & 0xffff);
}
inline std::string string(std::string_view text) { return std::string{text} + '\0'; }

inline std::string message(char type, std::string_view body = {}) {
    return type + number32(body.size() + 4) + std::string{body};
}

inline std::string parse_complete() { return message('1'); }
inline std::string bind_complete() { return message('2'); }
inline std::string close_complete() { return message('3'); }
inline std::string no_data() { return message('n'); }
inline std::string complete(std::string_view tag) { return message('C', string(tag)); }
inline std::string ready(char status = 'I') { return message('Z', {&status, 1}); }

using Texts = std::vector<std::optional<std::string_view>>;

inline std::string row_description(const std::vector<std::string_view>& names) {
    std::string body = number16(names.size());
    for (const auto name : names)
        body += string(name) + number32(16384) + number16(1) + number32(25) + number16(0xffff) +
                number32(0xffffffff) + number16(0);
    return message('T', body);
}
inline std::string row_body(const Texts& fields) {
    std::string body = number16(fields.size());
    for (const auto& field : fields)
        body += field ? number32(field->size()) + std::string{*field} : number32(0xffffffff);
    return body;
}
inline std::string row(const Texts& fields) { return message('D', row_body(fields)); }

inline std::string error_body(std::string_view code, std::string_view text,
                              std::string_view severity = "ERROR") {
    return "S" + string(severity) + "V" + string(severity) + "C" + string(code) + "M" +
           string(text) + '\0';
}
inline std::string error(std::string_view code, std::string_view text = "it failed") {
    return message('E', error_body(code, text));
}
inline std::string fatal(std::string_view code, std::string_view text) {
    return message('E', error_body(code, text, "FATAL"));
}

inline std::string parameter_description(std::initializer_list<std::uint32_t> types) {
    std::string body = number16(types.size());
    for (const auto type : types) body += number32(type);
    return message('t', body);
}
/// The beginning of COPY: `type` is G, H or W.
inline std::string copy_response(char type, std::size_t columns = 2) {
    std::string body = '\0' + number16(columns);
    for (; columns > 0; --columns) body += number16(0);
    return message(type, body);
}

}  // namespace support::server_message
