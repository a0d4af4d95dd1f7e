#pragma once

#include <txscope/core/config.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace txscope {

/// A server that writes, and those that replicate it.
///
/// ```cpp
/// txscope::AsyncSessionFactory sessions{io, {.primary = "host=db1 dbname=app",
///                                            .replicas = {"host=db2 dbname=app"},
///                                            .max_lag = 5s}};
/// txscope::ReadScope<ProjectRepository> reading{sessions};
/// ```
///
/// A replica is a standby that streams from the primary, asked by scopes that say so
/// (`TransactionOptions::route`), and only if it has replayed all that this factory has written until
/// then: what its transactions have committed, and what its statements outside of transactions have
/// changed, but for what functions change that a lone `SELECT` calls.
///
/// Where that was written after a promotion, a replica must have followed that as well: a position in
/// the log says nothing of one that has gone on with what the old primary had written last. A role that
/// does not see `pg_stat_wal_receiver` as a member of `pg_read_all_stats` is told so at the replica's
/// next restartpoint only, up to its `checkpoint_timeout` later.
///
/// A server that is no replica of the primary, by its system identifier, is not asked: opening a
/// connection to it fails, which the pool's observer is told. It is believed where the role may not
/// execute `pg_control_system()`, as every role may unless somebody took that away, and for as long as
/// no connection to the primary could be opened.
struct Servers {
    std::string primary;                  ///< As for a factory without replicas.
    std::vector<std::string> replicas{};  ///< A connection string for each, or each group of them.
    /// How old what is read from a replica may be, by its clock and the primary's; default 0, however
    /// old. One that has replayed all that it has received is up to date while it follows the primary.
    /// Where a network drops all between them without a word, it does not know for as long as its
    /// `wal_receiver_timeout`, 60 s by default.
    std::chrono::milliseconds max_lag{0};
};

/// What has been written by now, for those who are to read it from a replica, also by another factory
/// in another process: `TransactionOptions::after`.
///
/// ```cpp
/// const txscope::ReadYourWrites written = co_await sessions.written();
/// response.set_cookie("written", written.text());
/// // and when the browser comes back with it:
/// txscope::ReadScope<ProjectRepository> reading{
///     sessions, {.after = txscope::ReadYourWrites{request.cookie("written")}}};
/// ```
struct ReadYourWrites {
    ReadYourWrites() = default;  ///< Nothing.
    /// @throws pqxx::argument_error for what is not the `text()` of one, but for capital letters, as the
    ///     server itself writes positions
    explicit ReadYourWrites(std::string_view text);

    std::string text() const;

    /// A later timeline holds what was not lost of those before.
    auto operator<=>(const ReadYourWrites&) const = default;

    std::uint64_t timeline = 0;  ///< Of the server's write-ahead log; 0 where nothing was written.
    std::uint64_t position = 0;  ///< Where that ended.
};

namespace detail {

inline std::uint64_t hexadecimal(std::string_view digits) {
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    return number;
}
/// A position in a server's write-ahead log, from its text: two halves, as "16/B374D848".
inline std::uint64_t log_position(std::string_view text) {
    const auto slash = text.find('/');
    return hexadecimal(text.substr(0, slash)) << 32 | hexadecimal(text.substr(slash + 1));
}
std::string log_position_text(std::uint64_t position);

}  // namespace detail

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <pqxx/except>

#include <array>

namespace txscope {

TXSCOPE_INLINE std::string detail::log_position_text(std::uint64_t position) {
    const auto half = [](std::uint64_t number) {
        std::array<char, 8> digits{};
        const auto end =
            std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
        return std::string(digits.data(), end);
    };
    return half(position >> 32) + '/' + half(position & 0xffff'ffff);
}

TXSCOPE_INLINE ReadYourWrites::ReadYourWrites(std::string_view given) {
    const auto colon = std::min(given.find(':'), given.size());
    std::from_chars(given.data(), given.data() + colon, timeline);
    position = detail::log_position(given.substr(colon).substr(colon < given.size()));
    std::string lower{given};
    for (char& c : lower)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (text() != lower)
        throw pqxx::argument_error{"ReadYourWrites: this is not the text() of one"};
}

TXSCOPE_INLINE std::string ReadYourWrites::text() const {
    return std::to_string(timeline) + ':' + detail::log_position_text(position);
}

}  // namespace txscope

#endif
