#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/buffer.hpp>
#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/numbers.hpp>
#include <txscope/protocol/parameters.hpp>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

namespace txscope::protocol {

/// One row, as DataRow brought it: a view into a result.
class RowView {
public:
    /// `fields` is DataRow's body behind the number of its fields.
    RowView(const char* fields, std::size_t size) noexcept : fields_{fields}, size_{size} {}

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// How many bytes its fields take.
    [[nodiscard]] std::size_t bytes() const noexcept {
        return static_cast<std::size_t>(from(size_).fields_ - fields_);
    }
    /// Its fields from that index on.
    [[nodiscard]] RowView from(std::size_t index) const noexcept {
        const char* at = fields_;
        for (std::size_t left = index; left > 0; --left) {
            const std::uint32_t length = load32(at);
            at += 4 + (length == Parameters::null ? 0 : length);
        }
        return {at, size_ - index};
    }
    /// Empty for NULL. Walks over the fields before it: to read several, use a `FieldCursor`.
    [[nodiscard]] std::optional<std::string_view> operator[](std::size_t index) const noexcept {
        assert(index < size_);
        const char* const at = from(index).fields_;
        const std::uint32_t length = load32(at);
        if (length == Parameters::null) return std::nullopt;
        return std::string_view{at + 4, length};
    }

    /// Calls `visit(std::optional<std::string_view>)` for each field in order.
    template <typename Visitor>
    void for_each(Visitor&& visit) const {
        for_each_parameter({.count = size_, .bytes = {fields_, 0}}, visit);  // encoded alike
    }

private:
    const char* fields_;
    std::size_t size_;
};

/// Reads a row's fields by their indices: in rising order, in one walk over the row.
class FieldCursor {
public:
    explicit FieldCursor(RowView row) noexcept : row_{row}, rest_{row} {}

    /// Empty for NULL.
    [[nodiscard]] std::optional<std::string_view> operator[](std::size_t index) noexcept {
        if (index < before_) {
            rest_ = row_;
            before_ = 0;
        }
        rest_ = rest_.from(index - std::exchange(before_, index));
        return rest_[0];
    }

private:
    RowView row_;
    RowView rest_;
    std::size_t before_ = 0;  // how many fields come ahead of `rest_`
};

/// Whether a DataRow's body is whole, and of that many fields.
[[nodiscard]] inline bool is_row(std::string_view body, std::size_t columns) noexcept {
    if (body.size() < 2 || load16(body.data()) != columns) return false;
    std::size_t at = 2;
    for (std::size_t i = 0; i < columns; ++i) {
        if (body.size() - at < 4) return false;
        const std::uint32_t length = load32(body.data() + at);
        at += 4;
        if (length == Parameters::null) continue;
        if (length > body.size() - at) return false;
        at += length;
    }
    return at == body.size();
}

class ResultBlock;

/// What was made of the first rows of a result while more of them were on their way.
struct Collected {
    Collected() = default;
    Collected(const Collected&) = delete;
    Collected& operator=(const Collected&) = delete;
    virtual ~Collected() = default;
};
/// What makes it.
struct Collector {
    /// Adds the rows of `part` to what was made of those before, which is null at first.
    void (*add)(std::unique_ptr<Collected>& made, const ResultBlock& part);
    /// Whether it reads that column in binary.
    bool (*reads_binary)(const Column& column);
};

/// What one statement gave: the server's bytes, from its first DataRow to its CommandComplete, and
/// where in there each row begins. No row and no field is allocated or copied.
///
/// A handle of one pointer: copies share the block, on whichever threads they are.
class ResultBlock {
public:
    /// No rows, no columns, no tag.
    ResultBlock() = default;
    ResultBlock(const ResultBlock& other) noexcept : data_{other.data_} {
        if (data_ != nullptr && !data_->lasts)
            data_->owners.fetch_add(1, std::memory_order_relaxed);
    }
    ResultBlock(ResultBlock&& other) noexcept : data_{std::exchange(other.data_, nullptr)} {}
    ResultBlock& operator=(ResultBlock other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    ~ResultBlock() {
        if (data_ != nullptr && !data_->lasts &&
            data_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1)
            Data::destroy(data_);
    }

    [[nodiscard]] std::size_t size() const noexcept { return data_ == nullptr ? 0 : data_->size; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] RowView operator[](std::size_t index) const noexcept {
        assert(index < size());
        const char* body = data_->bytes + data_->rows()[index];
        return {body + 2, load16(body)};
    }

    /// How many bytes the rows take, as the server has sent them.
    [[nodiscard]] std::size_t bytes() const noexcept {
        return empty() ? 0 : data_->rows()[size() - 1] + (*this)[size() - 1].bytes();
    }
    /// Null where there are none.
    [[nodiscard]] const Columns* columns() const noexcept {
        return data_ == nullptr ? nullptr : data_->columns.get();
    }
    /// The server's command tag: `INSERT 0 1`; empty for an empty statement.
    [[nodiscard]] std::string_view tag() const noexcept {
        return data_ == nullptr ? std::string_view{} : data_->tag;
    }
    /// Of the rows ahead of these, where they were collected; else null.
    [[nodiscard]] Collected* collected() const noexcept {
        return data_ == nullptr ? nullptr : data_->collected.get();
    }
    /// Whether the portal has more rows than were asked for.
    [[nodiscard]] bool suspended() const noexcept { return data_ != nullptr && data_->suspended; }

    /// Gives them to a result of rows.
    void carry(std::unique_ptr<Collected>&& collected) noexcept {
        assert(columns() != nullptr);
        data_->collected = std::move(collected);
    }

private:
    friend class ResultBuilder;

    struct Data {
        std::atomic<std::uint32_t> owners{1};
        bool lasts = false;  // for the whole program, and nobody counts its owners
        bool suspended = false;
        std::size_t size = 0;         // rows
        const char* bytes = nullptr;  // behind `rows()`, or in `block`
        std::string_view tag{};       // likewise
        std::shared_ptr<const Columns> columns{};
        std::unique_ptr<Collected> collected{};
        Buffer block{};

        // Where in `bytes` the rows' bodies begin: behind this object, in the same allocation.
        std::uint32_t* rows() noexcept { return reinterpret_cast<std::uint32_t*>(this + 1); }

        static Data* create(std::size_t rows, std::size_t bytes);
        // What has nothing but one of the commonest tags; null for another one.
        static Data* of_tag(std::string_view tag) noexcept;
        static void destroy(Data* data) noexcept {
            data->~Data();
            ::operator delete(data);
        }
    };

    explicit ResultBlock(Data* data) noexcept : data_{data} {}

    Data* data_ = nullptr;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <algorithm>
#include <array>

namespace txscope::protocol {

TXSCOPE_INLINE ResultBlock::Data* ResultBlock::Data::create(std::size_t rows, std::size_t bytes) {
    const std::size_t size = sizeof(Data) + rows * sizeof(std::uint32_t) + bytes;
    auto* data = ::new (::operator new(size)) Data;
    data->size = rows;
    data->bytes = reinterpret_cast<char*>(data->rows() + rows);
    return data;
}

TXSCOPE_INLINE ResultBlock::Data* ResultBlock::Data::of_tag(std::string_view tag) noexcept {
    static constexpr std::array<std::string_view, 8> tags{
        "COMMIT", "INSERT 0 1", "UPDATE 1", "UPDATE 0", "DELETE 1", "DELETE 0", "ROLLBACK", "SET"};
    static union Results {  // never destroyed: there may be results until the very end
        std::array<Data, tags.size()> of;
        Results() : of{} {
            for (std::size_t i = 0; i < tags.size(); ++i) {
                of[i].lasts = true;
                of[i].tag = tags[i];
            }
        }
        ~Results() {}
    } results;
    const auto found = std::find(tags.begin(), tags.end(), tag);
    return found == tags.end() ? nullptr
                               : &results.of[static_cast<std::size_t>(found - tags.begin())];
}

}  // namespace txscope::protocol

#endif
