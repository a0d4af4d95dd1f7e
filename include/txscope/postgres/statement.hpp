#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace txscope {

class ParameterTexts;

namespace detail {

/// The server refuses messages of 1 GB (its `PQ_LARGE_MESSAGE_LIMIT`) by closing the connection,
/// which would look like a loss.
/// @throws ValueError when a statement of that many bytes, its values included, does not fit in one
constexpr void check_statement_size(std::size_t bytes) {
    constexpr std::size_t limit = 0x3fffffff - 4096;  // room for what the protocol adds
    if (bytes > limit) throw ValueError("a statement with its values is longer than 1 GB");
}

}  // namespace detail

/// SQL text and the values of its `$1`, `$2`, … places, ready to be sent.
///
/// Values are copied as text when they are given (see `SqlValue`), so nothing they came from needs
/// to live on. The server infers each place's type from the SQL, as in `PREPARE`. It takes 1 GB at
/// most, the SQL and all values together.
///
/// ```cpp
/// Statement insert{"INSERT INTO projects (name, status) VALUES ($1, $2)", name, status};
///
/// Statement update{"UPDATE projects SET status = $1 WHERE id = $2"};
/// update.bind(status).bind(id);
/// ```
class Statement {
public:
    /// @throws ValueError when the SQL or a value's text holds a NUL character, or beyond 1 GB.
    template <typename... Args>
    explicit Statement(std::string_view sql, const Args&... args) : sql_size_(sql.size()) {
        detail::check_statement_size(sql.size());
        // libpq takes C strings: it would send what stands before the NUL, silently.
        if (sql.find('\0') != sql.npos) throw ValueError("a NUL character in SQL text");
        // With the values of most statements: one allocation; none for COMMIT and the like.
        if (sql.size() >= text_.capacity()) text_.reserve(sql.size() + 64);
        text_.append(sql).push_back('\0');
        (bind(args), ...);
    }

    /// Gives the next place its value.
    /// @throws ValueError when the value's text holds a NUL character, beyond 1 GB, or for a 65536th
    /// parameter.
    template <typename T>
    Statement& bind(const T& value);

    /// Followed by a NUL. It lives until the statement is changed, moved or gone.
    [[nodiscard]] std::string_view sql() const noexcept { return {text_.data(), sql_size_}; }

    /// How many parameters there are.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// The text of parameter `index`, counted from 0; null for SQL's NULL. It lives until the
    /// statement is changed, moved or gone. Linear in `index`: for all of them, `parameters()`.
    [[nodiscard]] const char* parameter(std::size_t index) const noexcept;

    /// All of them as libpq wants them. Points into the statement, which must stay as it is.
    [[nodiscard]] ParameterTexts parameters() const;

    /// Calls `visit(const char* text, std::size_t length)` for each parameter in order; `text` is
    /// null for SQL's NULL, and ends in a NUL that `length` does not count.
    template <typename Visitor>
    void for_each_parameter(Visitor&& visit) const;

private:
    using Length = std::uint32_t;
    static constexpr Length null = std::numeric_limits<Length>::max();
    static constexpr std::size_t max_parameters = 65535;  // the protocol counts them in 16 bits

    void close(std::size_t start, bool has_value);

    // One block: the SQL and a NUL; then for each parameter its length or `null`, its bytes, a NUL.
    std::string text_;
    std::size_t sql_size_;
    std::size_t size_ = 0;
};

/// A statement's parameters as libpq wants them, an array of C strings (`const char* const*`);
/// without an allocation for up to 32 of them.
class ParameterTexts {
public:
    explicit ParameterTexts(const Statement& statement) {
        if (statement.size() > few_.size()) many_.resize(statement.size());
        const char** next = many_.empty() ? few_.data() : many_.data();
        statement.for_each_parameter([&](const char* text, std::size_t) { *next++ = text; });
        size_ = statement.size();
    }
    ParameterTexts(const ParameterTexts&) = delete;
    ParameterTexts& operator=(const ParameterTexts&) = delete;

    [[nodiscard]] const char* const* data() const noexcept {
        return many_.empty() ? few_.data() : many_.data();
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::array<const char*, 32> few_;
    std::vector<const char*> many_;
    std::size_t size_ = 0;
};

template <typename T>
Statement& Statement::bind(const T& value) {
    if (size_ == max_parameters) {
        throw ValueError("a statement takes at most 65535 parameters");
    }
    const std::size_t start = text_.size();
    try {
        static_assert(sizeof(Length) == 4);
        text_.append("\0\0\0\0", 4);  // until the length is known
        close(start, detail::append_parameter(text_, value));
    } catch (...) {
        text_.resize(start);
        throw;
    }
    return *this;
}

inline void Statement::close(std::size_t start, bool has_value) {
    detail::check_statement_size(text_.size());
    const auto size = static_cast<Length>(text_.size() - start - sizeof(Length));
    const Length length = has_value ? size : null;
    text_ += '\0';
    std::memcpy(text_.data() + start, &length, sizeof length);
    ++size_;
}

template <typename Visitor>
void Statement::for_each_parameter(Visitor&& visit) const {
    const char* at = text_.data() + sql_size_ + 1;
    for (std::size_t i = 0; i < size_; ++i) {
        Length length;
        std::memcpy(&length, at, sizeof length);
        at += sizeof length;
        const std::size_t size = length == null ? 0 : length;
        visit(length == null ? nullptr : at, size);
        at += size + 1;
    }
}

inline ParameterTexts Statement::parameters() const { return ParameterTexts(*this); }

inline const char* Statement::parameter(std::size_t index) const noexcept {
    assert(index < size_);
    const char* found = nullptr;
    for_each_parameter([&, i = std::size_t{0}](const char* text, std::size_t) mutable {
        if (i++ == index) found = text;
    });
    return found;
}

}  // namespace txscope
