#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/reader.hpp>
#include <txscope/protocol/result_block.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::protocol {

/// Makes a result of the messages in a reader, which stay there until it is finished.
///
/// A large result takes the reader's block with it, and is never copied. A small one is copied out,
/// into one allocation: it would keep the whole block from being freed, or used again.
class ResultBuilder {
public:
    /// Offsets are of 32 bits, so a result is at most of 4 GB.
    explicit ResultBuilder(std::size_t max_size)
        : max_size_{std::min<std::size_t>(max_size, std::numeric_limits<std::uint32_t>::max())} {}

    /// Adds the reader's last message, a valid DataRow. False when the result is longer than allowed.
    [[nodiscard]] bool add_row(Reader& reader) {
        reader.keep();
        rows_.push_back(static_cast<std::uint32_t>(reader.kept_offset()));
        return reader.kept().size() <= max_size_;
    }

    /// The result, which the reader's last message ends. `tag` stands in that.
    [[nodiscard]] ResultBlock finish(Reader& reader, std::shared_ptr<const Columns> columns,
                                     std::string_view tag, bool suspended = false);

    /// Drops what was begun.
    void discard(Reader& reader) noexcept {
        rows_.clear();
        reader.release();
    }

private:
    std::size_t max_size_;
    std::vector<std::uint32_t> rows_;  // used again for the next result
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <cstring>

namespace txscope::protocol {

TXSCOPE_INLINE ResultBlock ResultBuilder::finish(Reader& reader,
                                                 std::shared_ptr<const Columns> columns,
                                                 std::string_view tag, bool suspended) {
    using Data = ResultBlock::Data;
    if (columns == nullptr && !suspended)
        if (Data* const data = Data::of_tag(tag)) return ResultBlock{data};
    const std::string_view bytes = rows_.empty() ? tag : reader.kept();
    // At most half of what a result holds on to is not its own then.
    const bool takes_block = !rows_.empty() && bytes.size() >= reader.capacity() / 2;
    ResultBlock result{Data::create(rows_.size(), takes_block ? 0 : bytes.size())};
    Data& data = *result.data_;
    if (!rows_.empty())
        std::memcpy(data.rows(), rows_.data(), rows_.size() * sizeof(std::uint32_t));
    const std::size_t tag_at =
        tag.empty() ? 0 : static_cast<std::size_t>(tag.data() - bytes.data());
    if (takes_block) {
        data.block = reader.take();
        data.bytes = data.block.bytes().data();
    } else if (!bytes.empty()) {
        std::memcpy(const_cast<char*>(data.bytes), bytes.data(), bytes.size());
    }
    data.tag = {data.bytes + tag_at, tag.size()};
    data.columns = std::move(columns);
    data.suspended = suspended;
    discard(reader);
    constexpr std::size_t kept_rows = 4096;
    if (rows_.capacity() > kept_rows) rows_ = std::vector<std::uint32_t>{};
    return result;
}

}  // namespace txscope::protocol

#endif
