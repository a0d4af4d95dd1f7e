#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/detail/statement_text.hpp>
#include <txscope/protocol/parameters.hpp>
#include <txscope/protocol/result_block.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace txscope {

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
    explicit Statement(std::string_view sql, const Args&... args)
        : sql_size_(static_cast<std::uint32_t>(sql.size())) {
        detail::check_statement_size(sql.size());
        text_ += sql;
        check_sql();
        (bind(args), ...);
    }
    /// For the layers above: SQL of so many bytes, which `write(char*)` writes.
    template <std::invocable<char*> Write>
    Statement(std::size_t size, Write write) : sql_size_(static_cast<std::uint32_t>(size)) {
        detail::check_statement_size(size);
        write(text_.append(size));
        check_sql();
    }

    /// Gives the next place its value.
    /// @throws ValueError when the value's text holds a NUL character, beyond 1 GB, or for a 65536th
    /// parameter.
    template <typename T>
    Statement& bind(const T& value);

    /// It lives until the statement is changed, moved or gone.
    [[nodiscard]] std::string_view sql() const noexcept { return {text_.data(), sql_size_}; }

    /// How many parameters there are.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// The text of parameter `index`, counted from 0; nothing for SQL's NULL. It lives until the
    /// statement is changed, moved or gone. Linear in `index`: for all, `for_each_parameter`.
    [[nodiscard]] std::optional<std::string_view> parameter(std::size_t index) const noexcept;

    /// Calls `visit(std::optional<std::string_view>)` for each parameter in order; nothing stands for
    /// SQL's NULL.
    template <typename Visitor>
    void for_each_parameter(Visitor&& visit) const {
        protocol::for_each_parameter(parameters(), visit);
    }

    /// All of them as they are sent. They live until the statement is changed, moved or gone.
    [[nodiscard]] protocol::Parameters parameters() const noexcept {
        return {.count = size_, .bytes = {text_.data() + sql_size_, text_.size() - sql_size_}};
    }

    /// For the layers above: what has its rows while they arrive. Null: the result, in the end.
    void collect_by(const protocol::Collector* collector) noexcept { collector_ = collector; }
    [[nodiscard]] const protocol::Collector* collector() const noexcept { return collector_; }

private:
    /// The protocol ends it with a NUL: what stands before would be executed, silently.
    void check_sql() const {
        if (sql().find('\0') != std::string_view::npos)
            throw ValueError("a NUL character in SQL text");
    }
    void close(std::size_t start, bool has_value);

    detail::StatementText text_;  // the SQL, and the parameters as they are sent
    std::uint32_t sql_size_;
    std::uint32_t size_ = 0;
    const protocol::Collector* collector_ = nullptr;
};

template <typename T>
Statement& Statement::bind(const T& value) {
    if (size_ == protocol::Parameters::max_count) {
        throw ValueError("a statement takes at most 65535 parameters");
    }
    static_assert(
        !detail::CharacterType<T>,
        "txscope: a character may be a number or a text: say an integer type or std::string");
    static_assert(detail::is_writable<T> || detail::CharacterType<T>,
                  "txscope: no SQL text for this type: specialise txscope::SqlValue or "
                  "pqxx::string_traits for it");
    if constexpr (detail::is_writable<T>) {
        const std::size_t start = text_.size();
        try {
            text_ += std::string_view{"\0\0\0\0", 4};  // until the length is known
            close(start, detail::append_parameter(text_, value));
        } catch (...) {
            text_.truncate(start);
            throw;
        }
    }
    return *this;
}

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <cassert>

namespace txscope {

TXSCOPE_INLINE void Statement::close(std::size_t start, bool has_value) {
    detail::check_statement_size(text_.size());
    const std::size_t size = text_.size() - start - 4;
    protocol::store32(text_.data() + start,
                      has_value ? static_cast<std::uint32_t>(size) : protocol::Parameters::null);
    ++size_;
}

TXSCOPE_INLINE std::optional<std::string_view> Statement::parameter(
    std::size_t index) const noexcept {
    assert(index < size_);
    std::optional<std::string_view> found;
    for_each_parameter([&, i = std::size_t{0}](std::optional<std::string_view> text) mutable {
        if (i++ == index) found = text;
    });
    return found;
}

}  // namespace txscope

#endif
