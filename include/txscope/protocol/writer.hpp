#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/buffer.hpp>
#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/numbers.hpp>
#include <txscope/protocol/parameters.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>

namespace txscope::protocol {

/// Writes requests, one behind another, into one buffer.
///
/// The start-up is not among them. Source: PostgreSQL manual, "Message Formats".
///
/// A message is written whole or, with an exception, not at all.
///
/// @throws std::length_error for a message that the server would close the connection for
/// @throws std::invalid_argument for a NUL character in a name or SQL text, which ends there; and
/// for a name that the server would cut, and take for another of the same beginning
class Writer {
public:
    /// The server's limits, `PQ_LARGE_MESSAGE_LIMIT` and `PQ_SMALL_MESSAGE_LIMIT` in its sources.
    static constexpr std::size_t max_message = 0x3fffffff;
    static constexpr std::size_t max_small_message = 10000;
    static constexpr std::size_t max_name = 63;

    /// Prepares `sql`; a `statement` without a name lasts until the next one without.
    void parse(std::string_view statement, std::string_view sql,
               std::span<const std::uint32_t> parameter_types = {});
    /// Makes a portal of a prepared statement, whose name `parse` has taken, and its parameters.
    void bind(std::string_view portal, std::string_view statement, const Parameters& parameters,
              Format results = Format::text);
    /// Has the rows of the Bind that was written last, from `place` on, come in the formats of these
    /// columns: it has asked for texts.
    void set_result_formats(std::size_t place, const Columns& results);
    void describe_statement(std::string_view statement) { name_message('D', 'S', statement); }
    void describe_portal(std::string_view portal) { name_message('D', 'P', portal); }
    /// Runs a portal, whose name `bind` has taken, until it has given `max_rows` rows; 0 for all.
    void execute(std::string_view portal, std::uint32_t max_rows = 0);
    /// No error where there is no such statement.
    void close_statement(std::string_view statement) { name_message('C', 'S', statement); }
    void close_portal(std::string_view portal) { name_message('C', 'P', portal); }
    /// Ends a batch: commits unless a transaction block is open, and ends skipping after an error.
    void sync() { empty_message('S'); }
    /// Makes the server send what it holds back until a Sync.
    void flush() { empty_message('H'); }
    /// The simple protocol: several statements without parameters, and a Sync.
    void query(std::string_view sql);
    void copy_data(std::string_view data);
    void copy_done() { empty_message('c'); }
    void copy_fail(std::string_view reason);
    void terminate() { empty_message('X'); }

    /// What is yet to be sent. It moves when something is written.
    [[nodiscard]] std::string_view bytes() const noexcept { return buffer_.bytes(); }
    [[nodiscard]] std::size_t size() const noexcept { return buffer_.size(); }
    /// The first `count` of these bytes are on their way.
    void sent(std::size_t count) noexcept { buffer_.consume(count); }
    /// Takes back what was written since `size` was that.
    void truncate(std::size_t size) noexcept { buffer_.truncate(size); }

private:
    static constexpr std::size_t header_size = 5;

    // The place of a new message, whose bytes are all to be put.
    class Body {
    public:
        Body(Buffer& buffer, char type, std::size_t size) : buffer_{buffer} {
            at_ = buffer.prepare(header_size + size);
            size_ = header_size + size;
            byte(type);
            number32(static_cast<std::uint32_t>(4 + size));
        }
        Body(const Body&) = delete;
        Body& operator=(const Body&) = delete;
        ~Body() { buffer_.commit(size_); }

        void byte(char value) noexcept { *at_++ = value; }
        void number16(std::uint16_t value) noexcept {
            store16(at_, value);
            at_ += 2;
        }
        void number32(std::uint32_t value) noexcept {
            store32(at_, value);
            at_ += 4;
        }
        void bytes(std::string_view value) noexcept {
            if (!value.empty()) std::memcpy(at_, value.data(), value.size());
            at_ += value.size();
        }
        void string(std::string_view value) noexcept {
            bytes(value);
            byte('\0');
        }

    private:
        Buffer& buffer_;
        char* at_;
        std::size_t size_;
    };

    // `size` is the body's; a message's length counts its own four bytes, too.
    static void check_size(std::size_t size, std::size_t limit = max_message) {
        if (size > limit - 4) throw std::length_error{"a message is longer than PostgreSQL takes"};
    }
    static void check_text(std::string_view text) {
        check_size(text.size());
        if (text.find('\0') != text.npos)
            throw std::invalid_argument{"a NUL character in SQL text"};
    }
    static void check_name(std::string_view name) {
        if (name.size() > max_name)
            throw std::invalid_argument{"a name of a statement or portal is longer than 63 bytes"};
        if (name.find('\0') != name.npos)
            throw std::invalid_argument{"a NUL character in the name of a statement or portal"};
    }

    void empty_message(char type) { Body{buffer_, type, 0}; }
    void name_message(char type, char of_what, std::string_view name);

    Buffer buffer_;
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

#include <limits>

namespace txscope::protocol {

TXSCOPE_INLINE void Writer::parse(std::string_view statement, std::string_view sql,
                                  std::span<const std::uint32_t> parameter_types) {
    check_name(statement);
    check_text(sql);
    if (parameter_types.size() > Parameters::max_count)
        throw std::length_error{"a statement takes at most 65535 parameters"};
    const std::size_t size = statement.size() + 1 + sql.size() + 1 + 2 + 4 * parameter_types.size();
    check_size(size);
    Body body{buffer_, 'P', size};
    body.string(statement);
    body.string(sql);
    body.number16(static_cast<std::uint16_t>(parameter_types.size()));
    for (const std::uint32_t type : parameter_types) body.number32(type);
}

TXSCOPE_INLINE void Writer::bind(std::string_view portal, std::string_view statement,
                                 const Parameters& parameters, Format results) {
    if (!portal.empty()) check_name(portal);
    if (parameters.count > Parameters::max_count)
        throw std::length_error{"a statement takes at most 65535 parameters"};
    check_size(parameters.bytes.size());
    // No format codes stand for text, one for all.
    const std::size_t formats = parameters.format == Format::text ? 0 : 1;
    const std::size_t result_formats = results == Format::text ? 0 : 1;
    const std::size_t size = portal.size() + 1 + statement.size() + 1 + 2 + 2 * formats + 2 +
                             parameters.bytes.size() + 2 + 2 * result_formats;
    check_size(size);
    Body body{buffer_, 'B', size};
    body.string(portal);
    body.string(statement);
    body.number16(static_cast<std::uint16_t>(formats));
    if (formats > 0) body.number16(static_cast<std::uint16_t>(parameters.format));
    body.number16(static_cast<std::uint16_t>(parameters.count));
    body.bytes(parameters.bytes);
    body.number16(static_cast<std::uint16_t>(result_formats));
    if (result_formats > 0) body.number16(static_cast<std::uint16_t>(results));
}

TXSCOPE_INLINE void Writer::set_result_formats(std::size_t place, const Columns& results) {
    constexpr std::size_t no_formats = 2;  // their number, 0, ends a Bind
    buffer_.truncate(buffer_.size() - no_formats);
    const std::size_t size = 2 + 2 * results.size();
    check_size(buffer_.size() - place + size);
    char* at = buffer_.prepare(size);
    store16(at, static_cast<std::uint16_t>(results.size()));
    for (const Column& column : results)
        store16(at += 2, static_cast<std::uint16_t>(column.format));
    buffer_.commit(size);
    const std::size_t written = buffer_.size() - place;
    store32(buffer_.prepare(0) - written + 1, static_cast<std::uint32_t>(written - 1));
}

TXSCOPE_INLINE void Writer::execute(std::string_view portal, std::uint32_t max_rows) {
    // The server takes the number for a signed one, and a negative one for no limit.
    if (max_rows > std::numeric_limits<std::int32_t>::max())
        throw std::length_error{"more rows are asked for than PostgreSQL can count"};
    Body body{buffer_, 'E', portal.size() + 1 + 4};
    body.string(portal);
    body.number32(max_rows);
}

TXSCOPE_INLINE void Writer::query(std::string_view sql) {
    check_text(sql);
    check_size(sql.size() + 1);
    Body{buffer_, 'Q', sql.size() + 1}.string(sql);
}

TXSCOPE_INLINE void Writer::copy_data(std::string_view data) {
    check_size(data.size());
    Body{buffer_, 'd', data.size()}.bytes(data);
}

TXSCOPE_INLINE void Writer::copy_fail(std::string_view reason) {
    check_text(reason);
    check_size(reason.size() + 1, max_small_message);
    Body{buffer_, 'f', reason.size() + 1}.string(reason);
}

TXSCOPE_INLINE void Writer::name_message(char type, char of_what, std::string_view name) {
    check_name(name);
    Body body{buffer_, type, 1 + name.size() + 1};
    body.byte(of_what);
    body.string(name);
}

}  // namespace txscope::protocol

#endif
