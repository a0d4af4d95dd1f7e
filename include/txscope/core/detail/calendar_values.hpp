#pragma once

#include <txscope/core/config.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <ratio>
#include <string>
#include <string_view>
#include <utility>

/// `date` and `timestamptz`, in the ISO form that PostgreSQL writes unless `DateStyle` was changed
/// (PostgreSQL manual, "Date/Time Output").
namespace txscope {
namespace detail {

/// Reads a text from left to right; anything unexpected is a `ValueError` naming what was wanted.
class CalendarReader {
public:
    CalendarReader(std::string_view text, std::string_view wanted) : rest_(text), wanted_(wanted) {}

    [[nodiscard]] bool take(char c) noexcept;
    void expect(char c) {
        if (!take(c)) fail();
    }
    /// A number of so many digits.
    [[nodiscard]] int number(std::size_t min_digits, std::size_t max_digits);
    /// Year, month and day; the era, which comes at the very end, is looked at first.
    [[nodiscard]] std::chrono::year_month_day date();
    /// Hours, minutes, seconds and up to six digits of their fraction.
    [[nodiscard]] std::chrono::microseconds time();
    /// `+02`, `-03:30` or `+00:19:32`; nothing is UTC.
    [[nodiscard]] std::chrono::seconds offset();
    void end() {
        if (!rest_.empty()) fail();
    }
    [[noreturn]] void fail() const;

private:
    std::string_view rest_;
    std::string_view wanted_;
};

void append_padded(std::string& out, std::int64_t number, std::size_t width);
/// The date without its era, which PostgreSQL wants at the very end.
void append_date(std::string& out, std::chrono::year_month_day date);
void append_era(std::string& out, std::chrono::year_month_day date);

template <typename Duration>
inline constexpr bool whole_days =
    std::ratio_less_equal_v<std::ratio<86400>, typename Duration::period>;

template <typename T>
inline constexpr bool is_time = false;
template <typename Duration>
inline constexpr bool is_time<std::chrono::sys_time<Duration>> =
    std::signed_integral<typename Duration::rep>;

/// Whether `Time` reaches as far as `time`; what it is too coarse for does not count.
template <typename Time, typename From>
constexpr bool has_time(std::chrono::sys_time<From> time) {
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
};

/// `date` for `std::chrono::sys_days`, else `timestamptz`, sent in UTC and read in whatever time
/// zone the session shows it; a `timestamp` without a zone is taken for UTC. PostgreSQL keeps
/// microseconds: what is finer is cut off. `infinity` is refused, and so is what `Duration` or the
/// calendar of `std::chrono`, which ends in the years -32767 and 32767, has no room for.
template <typename Duration>
    requires std::signed_integral<typename Duration::rep>
struct SqlValue<std::chrono::time_point<std::chrono::system_clock, Duration>> {
    using Time = std::chrono::time_point<std::chrono::system_clock, Duration>;
    using Micros = std::chrono::microseconds;

    static std::string to_text(Time time) {
        const auto day = std::chrono::floor<std::chrono::days>(time);
        using std::chrono::year;
        if (day < std::chrono::sys_days{year::min() / 1 / 1} ||
            day > std::chrono::sys_days{year::max() / 12 / 31})
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
            text += "+00";
        }
        detail::append_era(text, date);
        return text;
    }

    static Time from_text(std::string_view text) {
        detail::CalendarReader reader(text,
                                      detail::whole_days<Duration> ? "a date" : "a timestamp");
        const std::chrono::sys_days day{reader.date()};
        if constexpr (detail::whole_days<Duration>) {
            reader.end();
            return narrow(day, reader);
        } else {
            reader.expect(' ');
            std::chrono::sys_time<Micros> time = day + reader.time();
            time -= reader.offset();
            reader.end();
            return narrow(time, reader);
        }
    }

private:
    template <typename From>
    static Time narrow(std::chrono::sys_time<From> time, const detail::CalendarReader& reader) {
        if (!detail::has_time<Time>(time)) reader.fail();
        return std::chrono::floor<Duration>(time);
    }
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

namespace txscope {
namespace detail {

TXSCOPE_INLINE bool CalendarReader::take(char c) noexcept {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
}

TXSCOPE_INLINE int CalendarReader::number(std::size_t min_digits, std::size_t max_digits) {
    int value = 0;
    std::size_t digits = 0;
    while (digits < max_digits && digits < rest_.size() && rest_[digits] >= '0' &&
           rest_[digits] <= '9') {
        value = value * 10 + (rest_[digits++] - '0');
    }
    if (digits < min_digits) fail();
    rest_.remove_prefix(digits);
    return value;
}

TXSCOPE_INLINE std::chrono::year_month_day CalendarReader::date() {
    const bool before_christ = rest_.ends_with(" BC");
    if (before_christ) rest_.remove_suffix(3);
    const int year = number(4, 7);
    expect('-');
    const int month = number(2, 2);
    expect('-');
    const int day = number(2, 2);
    if (year > static_cast<int>(std::chrono::year::max())) fail();
    const std::chrono::year_month_day date{
        std::chrono::year{before_christ ? 1 - year : year},  // 1 BC is the year 0
        std::chrono::month{static_cast<unsigned>(month)},
        std::chrono::day{static_cast<unsigned>(day)}};
    if (!date.ok()) fail();
    return date;
}

TXSCOPE_INLINE std::chrono::microseconds CalendarReader::time() {
    const int hours = number(2, 2);
    expect(':');
    const int minutes = number(2, 2);
    expect(':');
    const int seconds = number(2, 2);
    int fraction = 0;
    if (take('.')) {
        const std::size_t before = rest_.size();
        fraction = number(1, 6);
        for (std::size_t digits = before - rest_.size(); digits < 6; ++digits) fraction *= 10;
    }
    return std::chrono::hours{hours} + std::chrono::minutes{minutes} +
           std::chrono::seconds{seconds} + std::chrono::microseconds{fraction};
}

TXSCOPE_INLINE std::chrono::seconds CalendarReader::offset() {
    const bool west = take('-');
    if (!west && !take('+')) return {};
    std::chrono::seconds offset = std::chrono::hours{number(2, 2)};
    if (take(':')) offset += std::chrono::minutes{number(2, 2)};
    if (take(':')) offset += std::chrono::seconds{number(2, 2)};
    return west ? -offset : offset;
}

TXSCOPE_INLINE void CalendarReader::fail() const {
    throw ValueError("the text is not " + std::string(wanted_) + ", or out of its range");
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
    detail::CalendarReader reader(text, "a date");
    const auto date = reader.date();
    reader.end();
    return date;
}

}  // namespace txscope

#endif
