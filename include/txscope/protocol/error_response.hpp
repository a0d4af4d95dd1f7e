#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/message.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace txscope::protocol {

/// What an error or a notice tells. Source: PostgreSQL manual, "Error and Notice Message Fields".
enum class ErrorField : char {
    column = 'c',
    constraint = 'n',
    context = 'W',
    datatype = 'd',
    detail = 'D',
    file = 'F',
    hint = 'H',
    internal_position = 'p',
    internal_query = 'q',
    line = 'L',
    localized_severity = 'S',
    message = 'M',
    position = 'P',
    routine = 'R',
    schema = 's',
    severity = 'V',
    sqlstate = 'C',
    table = 't',
};

/// An ErrorResponse or NoticeResponse, field by field.
class ErrorResponse {
public:
    /// Whether a body is of either.
    [[nodiscard]] static bool is_whole(std::string_view body) noexcept;
    /// Null for a body that is not.
    [[nodiscard]] static std::shared_ptr<const ErrorResponse> parse(std::string_view body);

    /// Empty for a field that was not sent.
    [[nodiscard]] std::string_view operator[](ErrorField field) const noexcept;

    /// `ERROR`, `FATAL`, …: poolers send only the one that a server translates.
    [[nodiscard]] std::string_view severity() const noexcept {
        const std::string_view severity = (*this)[ErrorField::severity];
        return severity.empty() ? (*this)[ErrorField::localized_severity] : severity;
    }
    [[nodiscard]] std::string_view sqlstate() const noexcept {
        return (*this)[ErrorField::sqlstate];
    }
    [[nodiscard]] std::string_view message() const noexcept { return (*this)[ErrorField::message]; }
    /// Where in the statement, in characters from 1; -1 if not said.
    [[nodiscard]] int position() const noexcept;

    /// Whether these are the server's last words before it closes the connection.
    [[nodiscard]] bool ends_session() const noexcept {
        return severity() == "FATAL" || severity() == "PANIC";
    }
    /// The SQLSTATE of an error of the statement itself; empty where it came from within a function
    /// that the statement called, and so says nothing of it.
    [[nodiscard]] std::string_view own_sqlstate() const noexcept {
        return (*this)[ErrorField::context].empty() ? sqlstate() : std::string_view{};
    }

private:
    explicit ErrorResponse(std::string_view body) : body_{body} {}

    std::string body_;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <charconv>

namespace txscope::protocol {

TXSCOPE_INLINE bool ErrorResponse::is_whole(std::string_view body) noexcept {
    BodyReader reader{body};
    while (reader.whole() && reader.byte() != 0) reader.string();
    return reader.complete();
}

TXSCOPE_INLINE std::shared_ptr<const ErrorResponse> ErrorResponse::parse(std::string_view body) {
    if (!is_whole(body)) return nullptr;
    return std::shared_ptr<const ErrorResponse>{new ErrorResponse{body}};
}

TXSCOPE_INLINE std::string_view ErrorResponse::operator[](ErrorField field) const noexcept {
    BodyReader reader{body_};
    for (char code = static_cast<char>(reader.byte()); code != '\0';
         code = static_cast<char>(reader.byte())) {
        const std::string_view text = reader.string();
        if (code == static_cast<char>(field)) return text;
    }
    return {};
}

TXSCOPE_INLINE int ErrorResponse::position() const noexcept {
    const std::string_view text = (*this)[ErrorField::position];
    int position = -1;
    std::from_chars(text.data(), text.data() + text.size(), position);
    return position;
}

}  // namespace txscope::protocol

#endif
