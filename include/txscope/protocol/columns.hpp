#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/message.hpp>
#include <txscope/protocol/parameters.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace txscope::protocol {

/// What RowDescription says of one column.
struct Column {
    std::string_view name;
    std::uint32_t table;     ///< The table's OID; 0 for no table's column.
    std::uint16_t number;    ///< The column's number in it.
    std::uint32_t type;      ///< The type's OID.
    std::int16_t type_size;  ///< Negative for types of varying size.
    std::int32_t type_modifier;
    Format format;
};

/// The columns of a result. Shared by all results of a prepared statement; never changed.
class Columns {
public:
    /// Null for a body that is not RowDescription's.
    [[nodiscard]] static std::shared_ptr<const Columns> parse(std::string_view body);

    Columns(const Columns&) = delete;
    Columns& operator=(const Columns&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return columns_.size(); }
    [[nodiscard]] const Column& operator[](std::size_t index) const { return columns_[index]; }
    [[nodiscard]] auto begin() const noexcept { return columns_.begin(); }
    [[nodiscard]] auto end() const noexcept { return columns_.end(); }

    /// The same, but in binary where `is_binary(column)`; null where that is nowhere.
    [[nodiscard]] std::shared_ptr<const Columns> in_binary(
        bool (*is_binary)(const Column& column)) const;

private:
    explicit Columns(std::string_view body) : body_{body} {}
    bool read();

    std::string body_;  // with the names
    std::vector<Column> columns_;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <algorithm>

namespace txscope::protocol {

TXSCOPE_INLINE std::shared_ptr<const Columns> Columns::parse(std::string_view body) {
    std::shared_ptr<Columns> columns{new Columns{body}};
    return columns->read() ? columns : nullptr;
}

TXSCOPE_INLINE std::shared_ptr<const Columns> Columns::in_binary(
    bool (*is_binary)(const Column& column)) const {
    std::shared_ptr<Columns> columns{new Columns{body_}};
    columns->read();
    bool any = false;
    for (Column& column : columns->columns_) {
        if (!is_binary(column)) continue;
        column.format = Format::binary;
        any = true;
    }
    return any ? columns : nullptr;
}

TXSCOPE_INLINE bool Columns::read() {
    BodyReader reader{body_};
    const std::size_t count = reader.number16();
    constexpr std::size_t least_size = 19;  // of one: a number beyond what is there is no promise
    columns_.reserve(std::min(count, body_.size() / least_size));
    for (std::size_t i = 0; i < count && reader.whole(); ++i) {
        // In braces the values are read in their order.
        columns_.push_back(Column{.name = reader.string(),
                                  .table = reader.number32(),
                                  .number = reader.number16(),
                                  .type = reader.number32(),
                                  .type_size = static_cast<std::int16_t>(reader.number16()),
                                  .type_modifier = static_cast<std::int32_t>(reader.number32()),
                                  .format = static_cast<Format>(reader.number16())});
        if (columns_.back().format > Format::binary) return false;
    }
    return reader.complete();
}

}  // namespace txscope::protocol

#endif
