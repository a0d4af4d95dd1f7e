#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/detail/text_reader.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ratio>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

/// `date`, `timestamptz` and `timestamp`, in the ISO form that PostgreSQL writes unless `DateStyle` was
/// changed (PostgreSQL manual, "Date/Time Output").
namespace txscope {
namespace detail {

/// Year, month and day; the era, which comes at the very end, is looked at first.
[[nodiscard]] std::chrono::year_month_day read_date(TextReader& reader);
/// Hours, minutes, seconds and up to six digits of their fraction.
[[nodiscard]] std::chrono::microseconds read_time(TextReader& reader);
/// What follows the hours: minutes, seconds and up to six digits of their fraction.
[[nodiscard]] std::chrono::microseconds read_minutes(TextReader& reader);
/// `+02`, `-03:30` or `+00:19:32`; nothing is UTC.
[[nodiscard]] std::chrono::seconds read_offset(TextReader& reader);

void append_padded(std::string& out, std::int64_t number, std::size_t width);
/// The date without its era, which PostgreSQL wants at the very end.
void append_date(std::string& out, std::chrono::year_month_day date);
void append_era(std::string& out, std::chrono::year_month_day date);

template <typename Duration>
inline constexpr bool whole_days =
    std::ratio_less_equal_v<std::ratio<86400>, typename Duration::period>;

/// Whether the outermost values of a time stand for PostgreSQL's infinities. Of a narrower one they are
/// times that one may well mean.
template <typename Duration>
inline constexpr bool has_infinity = std::numeric_limits<typename Duration::rep>::digits >= 63;

template <typename T>
inline constexpr bool is_time = false;
template <typename Clock, typename Duration>
inline constexpr bool is_time<std::chrono::time_point<Clock, Duration>> =
    (std::same_as<Clock, std::chrono::system_clock> || std::same_as<Clock, std::chrono::local_t>) &&
    std::signed_integral<typename Duration::rep>;

/// Whether a time is cut off where it is read: what PostgreSQL has is finer.
template <typename T>
inline constexpr bool cuts_time = false;
template <typename Clock, typename Duration>
inline constexpr bool cuts_time<std::chrono::time_point<Clock, Duration>> = std::ratio_greater_v<
    typename Duration::period,
    std::conditional_t<whole_days<Duration>, std::chrono::days::period, std::micro>>;

template <typename T>
inline constexpr bool is_duration = false;
template <std::signed_integral Rep, typename Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

/// Whether `Time` reaches as far as `time`; what it is too coarse for does not count.
template <typename Time, typename Clock, typename From>
constexpr bool has_time(std::chrono::time_point<Clock, From> time) {
    using Rep = typename Time::rep;
    using Period = typename Time::period;
    if constexpr (std::ratio_less_v<Period, typename From::period>) {
        using Wide = std::chrono::duration<std::int64_t, typename From::period>;
        return time >= std::chrono::ceil<Wide>(Time::min()) &&
               time <= std::chrono::floor<Wide>(Time::max());
    } else {
        using Wide = std::chrono::duration<std::int64_t, Period>;
        return std::in_range<Rep>(std::chrono::floor<Wide>(time).time_since_epoch().count());
    }
}

}  // namespace detail

/// `date`.
template <>
struct SqlValue<std::chrono::year_month_day> {
    static std::string to_text(std::chrono::year_month_day date);
    static std::chrono::year_month_day from_text(std::string_view text);
    static constexpr std::uint32_t binary_type = 1082;
    static std::chrono::year_month_day from_binary(std::string_view bytes);
};

/// `date` for `std::chrono::sys_days` and `std::chrono::local_days`. Else a `sys_time` is a `timestamptz`,
/// sent in UTC and read in whatever time zone the session shows it, a `timestamp` without a zone being
/// taken for UTC; a `local_time` is a `timestamp`, and nothing that has a zone is read as one.
///
/// PostgreSQL keeps microseconds: what is finer is cut off. `infinity` and `-infinity` are `Time::max()`
/// and `Time::min()`, where `Duration` has 64 bits. Refused is what `Duration` or the calendar of
/// `std::chrono`, which ends in the years -32767 and 32767, has no room for.
template <typename Clock, typename Duration>
    requires(detail::is_time<std::chrono::time_point<Clock, Duration>>)
struct SqlValue<std::chrono::time_point<Clock, Duration>> {
    using Time = std::chrono::time_point<Clock, Duration>;
    using Micros = std::chrono::microseconds;

    static std::string to_text(Time time) {
        if constexpr (detail::has_infinity<Duration>) {
            if (time == Time::max()) return "infinity";
            if (time == Time::min()) return "-infinity";
        }
        const Days day = std::chrono::floor<std::chrono::days>(time);
        using std::chrono::year;
        if (day < Days{year::min() / 1 / 1} || day > Days{year::max() / 12 / 31})
            throw ValueError("a parameter is a date outside the years -32767 to 32767");
        const std::chrono::year_month_day date{day};
        std::string text;
        detail::append_date(text, date);
        if constexpr (!detail::whole_days<Duration>) {
            const std::chrono::hh_mm_ss clock{std::chrono::floor<Micros>(time - day)};
            text += ' ';
            detail::append_padded(text, clock.hours().count(), 2);
            text += ':';
            detail::append_padded(text, clock.minutes().count(), 2);
            text += ':';
            detail::append_padded(text, clock.seconds().count(), 2);
            text += '.';
            detail::append_padded(text, clock.subseconds().count(), 6);
            if constexpr (has_zone) text += "+00";
        }
        detail::append_era(text, date);
        return text;
    }

    static Time from_text(std::string_view text) {
        if constexpr (detail::has_infinity<Duration>) {
            if (text == "infinity") return Time::max();
            if (text == "-infinity") return Time::min();
        }
        detail::TextReader reader(text, what);
        const std::chrono::sys_days day{detail::read_date(reader)};
        if constexpr (detail::whole_days<Duration>) {
            reader.end();
            return narrow(day, reader);
        } else {
            reader.expect(" ");
            std::chrono::sys_time<Micros> time = day + detail::read_time(reader);
            if constexpr (has_zone) time -= detail::read_offset(reader);
            reader.end();
            return narrow(time, reader);
        }
    }

    static constexpr std::uint32_t binary_type = detail::whole_days<Duration> ? 1082  // date
                                                 : std::same_as<Clock, std::chrono::system_clock>
                                                     ? 1184   // timestamptz
                                                     : 1114;  // timestamp
    /// Days, or microseconds, since the year 2000; the greatest and the least are the infinities.
    static Time from_binary(std::string_view bytes) {
        constexpr bool date = detail::whole_days<Duration>;
        using Count = std::conditional_t<date, std::int32_t, std::int64_t>;
        using Unit = std::conditional_t<date, std::chrono::days, Micros>;
        const auto since =
            static_cast<Count>(detail::read_big_endian<std::make_unsigned_t<Count>>(bytes));
        if constexpr (detail::has_infinity<Duration>) {
            if (since == std::numeric_limits<Count>::max()) return Time::max();
            if (since == std::numeric_limits<Count>::min()) return Time::min();
        }
        using std::chrono::sys_days, std::chrono::year;
        constexpr sys_days start = year{2000} / 1 / 1;
        constexpr Unit first = sys_days{year::min() / 1 / 1} - start;
        constexpr Unit end = sys_days{year::max() / 12 / 31} + std::chrono::days{1} - start;
        const detail::TextReader reader({}, what);
        if (Unit{since} < first || Unit{since} >= end) reader.fail();
        return narrow(start + Unit{since}, reader);
    }

private:
    static constexpr std::string_view what = detail::whole_days<Duration>
                                                 ? "a date, or out of its range"
                                                 : "a timestamp, or out of its range";
    using Days = std::chrono::time_point<Clock, std::chrono::days>;
    static constexpr bool has_zone = std::same_as<Clock, std::chrono::system_clock>;

    template <typename From>
    static Time narrow(std::chrono::sys_time<From> time, const detail::TextReader& reader) {
        if (!detail::has_time<std::chrono::sys_time<Duration>>(time)) reader.fail();
        return Time{std::chrono::floor<Duration>(time.time_since_epoch())};
    }
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

namespace txscope {
namespace detail {

TXSCOPE_INLINE std::chrono::year_month_day read_date(TextReader& reader) {
    const bool before_christ = reader.take_last(" BC");
    const std::int64_t year = reader.number(4, 7);
    reader.expect("-");
    const auto month = static_cast<unsigned>(reader.number(2, 2));
    reader.expect("-");
    const auto day = static_cast<unsigned>(reader.number(2, 2));
    if (year > static_cast<int>(std::chrono::year::max())) reader.fail();
    const std::chrono::year_month_day date{
        std::chrono::year{static_cast<int>(before_christ ? 1 - year : year)},  // 1 BC is the year 0
        std::chrono::month{month}, std::chrono::day{day}};
    if (!date.ok()) reader.fail();
    return date;
}

TXSCOPE_INLINE std::chrono::microseconds read_time(TextReader& reader) {
    const std::chrono::hours hours{reader.number(2, 2)};
    reader.expect(":");
    return hours + read_minutes(reader);
}

TXSCOPE_INLINE std::chrono::microseconds read_minutes(TextReader& reader) {
    const std::chrono::minutes minutes{reader.number(2, 2)};
    reader.expect(":");
    std::chrono::microseconds time = minutes + std::chrono::seconds{reader.number(2, 2)};
    if (reader.take(".")) {
        std::int64_t unit = 100'000;
        time += std::chrono::microseconds{unit * reader.number(1, 1)};
        while ((unit /= 10) > 0) time += std::chrono::microseconds{unit * reader.number(0, 1)};
    }
    return time;
}

TXSCOPE_INLINE std::chrono::seconds read_offset(TextReader& reader) {
    const bool west = reader.take("-");
    if (!west && !reader.take("+")) return {};
    std::chrono::seconds offset = std::chrono::hours{reader.number(2, 2)};
    if (reader.take(":")) offset += std::chrono::minutes{reader.number(2, 2)};
    if (reader.take(":")) offset += std::chrono::seconds{reader.number(2, 2)};
    return west ? -offset : offset;
}

TXSCOPE_INLINE void append_padded(std::string& out, std::int64_t number, std::size_t width) {
    const std::string digits = std::to_string(number);
    if (digits.size() < width) out.append(width - digits.size(), '0');
    out += digits;
}

TXSCOPE_INLINE void append_date(std::string& out, std::chrono::year_month_day date) {
    const int year = static_cast<int>(date.year());
    append_padded(out, year > 0 ? year : 1 - year, 4);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.month()), 2);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.day()), 2);
}

TXSCOPE_INLINE void append_era(std::string& out, std::chrono::year_month_day date) {
    if (static_cast<int>(date.year()) <= 0) out += " BC";
}

}  // namespace detail

TXSCOPE_INLINE std::string SqlValue<std::chrono::year_month_day>::to_text(
    std::chrono::year_month_day date) {
    if (!date.ok()) throw ValueError("a parameter is a date that does not exist");
    std::string text;
    detail::append_date(text, date);
    detail::append_era(text, date);
    return text;
}

TXSCOPE_INLINE std::chrono::year_month_day SqlValue<std::chrono::year_month_day>::from_text(
    std::string_view text) {
    detail::TextReader reader(text, "a date, or out of its range");
    const auto date = detail::read_date(reader);
    reader.end();
    return date;
}

TXSCOPE_INLINE std::chrono::year_month_day SqlValue<std::chrono::year_month_day>::from_binary(
    std::string_view bytes) {
    // Of 32 bits, so without the infinities.
    using Days = std::chrono::duration<std::int32_t, std::chrono::days::period>;
    return std::chrono::sys_days{SqlValue<std::chrono::sys_time<Days>>::from_binary(bytes)};
}

}  // namespace txscope

#endif
