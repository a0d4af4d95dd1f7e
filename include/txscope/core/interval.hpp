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

namespace txscope {

/// PostgreSQL's `interval`, exactly: a month and a day have no fixed length, so what is added to a date
/// is kept in three parts. `std::chrono`'s durations are intervals of a fixed length.
///
/// ```cpp
/// const Interval quarter{.months = 3};
/// co_await session.execute("UPDATE licences SET ends = ends + $1::interval", quarter);
/// ```
///
/// Equal is what has the same parts, where PostgreSQL compares a month with 30 days, and a day with 24
/// hours. The infinities, which PostgreSQL has since version 17, are its own largest and smallest parts.
struct Interval {
    std::int32_t months = 0;  ///< Of a year, 12.
    std::int32_t days = 0;
    std::int64_t microseconds = 0;

    bool operator==(const Interval&) const = default;

    [[nodiscard]] static constexpr Interval infinity() noexcept {
        using Part = std::numeric_limits<std::int32_t>;
        return {Part::max(), Part::max(), std::numeric_limits<std::int64_t>::max()};
    }
    [[nodiscard]] static constexpr Interval minus_infinity() noexcept {
        using Part = std::numeric_limits<std::int32_t>;
        return {Part::min(), Part::min(), std::numeric_limits<std::int64_t>::min()};
    }
};

template <>
struct SqlValue<Interval> {
    static constexpr std::string_view type_names[] = {"interval"};

    static std::string to_text(const Interval& interval);
    static Interval from_text(std::string_view text);
};

namespace detail {

/// Days of 24 hours.
/// @throws ValueError for months, and for more than fits
[[nodiscard]] std::chrono::microseconds fixed_length(const Interval& interval);

}  // namespace detail

/// A duration is an interval of hours, minutes, seconds and microseconds: what is finer is cut off. One
/// that was read may have days, of 24 hours each; one with months is refused.
template <std::signed_integral Rep, typename Period>
struct SqlValue<std::chrono::duration<Rep, Period>> {
    using Duration = std::chrono::duration<Rep, Period>;
    static_assert(std::ratio_less_equal_v<Period, std::chrono::weeks::period>,
                  "a month has no fixed length for PostgreSQL: say txscope::Interval");

    static std::string to_text(Duration duration) {
        if (!detail::has_time<Micros>(Time{duration}))
            throw ValueError("a parameter is a duration that is too long for an interval");
        return SqlValue<Interval>::to_text(
            {.microseconds = std::chrono::floor<std::chrono::microseconds>(duration).count()});
    }

    static Duration from_text(std::string_view text) {
        const auto length = detail::fixed_length(SqlValue<Interval>::from_text(text));
        if (!detail::has_time<Time>(Micros{length}))
            throw ValueError("the interval is too long for the duration");
        return std::chrono::floor<Duration>(length);
    }

private:
    using Time = std::chrono::sys_time<Duration>;
    using Micros = std::chrono::sys_time<std::chrono::microseconds>;
};

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <cstdlib>
#include <utility>

namespace txscope {

/// Every part with its sign: how far a leading one reaches depends on `IntervalStyle`.
TXSCOPE_INLINE std::string SqlValue<Interval>::to_text(const Interval& interval) {
    if (interval == Interval::infinity()) return "infinity";
    if (interval == Interval::minus_infinity()) return "-infinity";
    std::string text;
    const auto append = [&text](bool negative, std::int64_t number) {
        text += negative ? '-' : '+';
        text += std::to_string(std::abs(number));
    };
    append(interval.months < 0, interval.months);
    text += " mons ";
    append(interval.days < 0, interval.days);
    text += " days ";
    constexpr std::int64_t second = 1'000'000;
    const std::int64_t hours = interval.microseconds / (3600 * second);
    const std::int64_t rest = interval.microseconds % (3600 * second);
    append(hours < 0, hours);
    text += " hours ";
    append(rest < 0, rest / second);
    text += '.';
    detail::append_padded(text, std::abs(rest % second), 6);
    return text += " secs";
}

/// As PostgreSQL writes it unless `IntervalStyle` was changed: `-1 years -2 mons +3 days -04:05:06.7`
/// (manual, "Interval Output").
TXSCOPE_INLINE Interval SqlValue<Interval>::from_text(std::string_view text) {
    if (text == "infinity") return Interval::infinity();
    if (text == "-infinity") return Interval::minus_infinity();
    detail::TextReader reader(text, "an interval");
    std::int64_t months = 0;
    std::int64_t days = 0;
    std::uint64_t microseconds = 0;
    bool negative = false;
    do {
        negative = reader.take("-");
        (void)reader.take("+");
        const std::int64_t number = reader.number(1, 10);
        if (reader.take(":")) {
            if (number > 2'562'047'788) reader.fail();  // hours that 64 bits of microseconds hold
            microseconds = static_cast<std::uint64_t>(number) * 3'600'000'000 +
                           static_cast<std::uint64_t>(detail::read_minutes(reader).count());
            break;
        }
        const std::int64_t part = negative ? -number : number;
        if (reader.take(" year"))
            months += 12 * part;
        else if (reader.take(" mon"))
            months += part;
        else if (reader.take(" day"))
            days += part;
        else
            reader.fail();
        (void)reader.take("s");
        negative = false;
    } while (reader.take(" "));
    reader.end();
    constexpr std::uint64_t limit = std::uint64_t{1} << 63;
    if (!std::in_range<std::int32_t>(months) || !std::in_range<std::int32_t>(days) ||
        microseconds > (negative ? limit : limit - 1))
        reader.fail();
    return {static_cast<std::int32_t>(months), static_cast<std::int32_t>(days),
            static_cast<std::int64_t>(negative ? 0 - microseconds : microseconds)};
}

namespace detail {

TXSCOPE_INLINE std::chrono::microseconds fixed_length(const Interval& interval) {
    using namespace std::chrono;
    if (interval == Interval::infinity() || interval == Interval::minus_infinity())
        throw ValueError("an infinite interval is no duration; ask for a txscope::Interval");
    if (interval.months != 0)
        throw ValueError("a month has no fixed length; ask for a txscope::Interval");
    const std::chrono::days whole{interval.days};
    const std::chrono::microseconds rest{interval.microseconds};
    constexpr std::chrono::days room = floor<std::chrono::days>(microseconds::max());
    if (interval.days != 0 && abs(whole + floor<std::chrono::days>(rest)) >= room)
        throw ValueError("the interval is too long for a duration");
    return whole + rest;
}

}  // namespace detail
}  // namespace txscope

#endif
