#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/detail/members.hpp>

#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ranges>
#include <ratio>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// Whether a time is finer than another.
template <typename Value, typename Column>
inline constexpr bool is_finer_time = false;
template <typename Value, typename Column>
    requires is_time<Value> && is_time<Column>
inline constexpr bool is_finer_time<Value, Column> =
    std::same_as<typename Value::clock, typename Column::clock> &&
    std::ratio_less_v<typename Value::period, typename Column::period>;

/// Whether a value given as `Value` may stand for one of type `Column`. Kinds are not mixed: no
/// number for a text, no fraction for an integer, nothing but a bool for a bool. A time is cut off behind
/// the microseconds, as PostgreSQL would do, and nowhere else.
template <typename Column, typename Value>
consteval bool may_stand_for() {
    if constexpr (std::same_as<Column, bool> || std::same_as<Value, bool>)
        return std::same_as<Column, Value>;
    else if constexpr (std::same_as<Column, std::string>)
        return std::convertible_to<const Value&, std::string_view> &&
               !std::same_as<Value, std::nullptr_t>;
    else if constexpr (std::floating_point<Column>)
        return Number<Value>;
    else if constexpr (Integer<Column>)
        return Integer<Value>;
    else if constexpr (is_finer_time<Value, Column>)
        return std::ratio_less_equal_v<typename Column::period, std::micro>;
    else
        return std::convertible_to<const Value&, Column>;
}

/// What the values of a column are added up in.
template <auto Member>
using SumOf = std::conditional_t<Integer<column_type<Member>>, std::int64_t, column_type<Member>>;

/// A value that can be compared with those of `T`: of a member's type, an optional where it may be
/// NULL.
template <typename Value, typename T>
concept ComparableWith = may_stand_for<without_optional<T>, std::remove_cvref_t<Value>>();

/// `std::nullopt`, or an optional, where there may be NULL.
template <typename Value, typename T>
concept NullFor = IsOptional<T>::value && std::same_as<std::remove_cvref_t<Value>, std::nullopt_t>;
template <typename Value, typename T>
concept OptionalFor = IsOptional<T>::value && IsOptional<std::remove_cvref_t<Value>>::value &&
                      ComparableWith<without_optional<std::remove_cvref_t<Value>>, T>;

/// A value that a `T` can take.
template <typename Value, typename T>
concept AssignableTo = ComparableWith<Value, T> || OptionalFor<Value, T> || NullFor<Value, T>;

/// A range of values, and not a value itself.
template <typename Values, typename T>
concept AllComparableWith = std::ranges::input_range<Values> && !ComparableWith<Values, T> &&
                            ComparableWith<std::ranges::range_reference_t<Values>, T>;

template <typename Pattern, typename T>
concept PatternFor =
    ComparableWith<Pattern, T> && std::convertible_to<const Pattern&, std::string_view>;

/// The same of the column of a member.
template <typename Value, auto Member>
concept OperandFor = ComparableWith<Value, member_type<Member>>;
template <typename Values, auto Member>
concept OperandsFor = AllComparableWith<Values, member_type<Member>>;

template <auto Member>
concept Nullable = IsOptional<member_type<Member>>::value;

/// Whether `Column`, whose kind the value is of, has that value. What is a fraction already is only
/// rounded, as by an assignment to the member.
template <typename Column, typename Value>
constexpr bool is_value_of(const Value& value) {
    using Date = std::chrono::year_month_day;
    if constexpr (Integer<Column>) {
        return std::in_range<Column>(value);
    } else if constexpr (std::floating_point<Column> && Integer<Value>) {
        // The bits between the outermost ones that are set have to find room.
        auto magnitude = static_cast<std::uint64_t>(value);
        if (value < 0) magnitude = 0 - magnitude;
        const int bits = 64 - std::countl_zero(magnitude) - std::countr_zero(magnitude);
        return bits <= std::numeric_limits<Column>::digits;
    } else if constexpr (std::floating_point<Column>) {
        using Limits = std::numeric_limits<Column>;
        const bool finite = value - value == 0;
        return !finite || (value >= Limits::lowest() && value <= Limits::max());
    } else if constexpr (is_time<Column> && is_time<Value>) {
        return has_time<Column>(value);
    } else if constexpr (is_duration<Column> && is_duration<Value>) {
        return has_time<std::chrono::sys_time<Column>>(std::chrono::sys_time<Value>{value});
    } else if constexpr (std::same_as<Column, Date> && is_time<Value>) {
        return std::chrono::sys_days{Date{value}} == value;
    } else if constexpr (is_time<Column> && std::same_as<Value, Date>) {
        return value.ok();
    } else {
        return true;
    }
}

/// A time without what the member is too coarse for; the infinities stay what they are.
template <typename Column, typename Time>
constexpr Column cut_off(Time time) {
    if (has_infinity<typename Time::duration> && time == Time::max()) return Column::max();
    if (has_infinity<typename Time::duration> && time == Time::min()) return Column::min();
    return std::chrono::floor<typename Column::duration>(time);
}

/// The value as it is kept until it becomes a parameter: as `T`, a member's type, has it, so that it
/// is stored and found in the same form whoever gives it; text copied, so that whatever it came from
/// may go.
/// @throws ValueError for a value that the member's type cannot hold
template <typename T, typename Value>
constexpr auto keep_value(Value&& value) {
    using Plain = std::remove_cvref_t<Value>;
    using Column = without_optional<T>;
    if constexpr (NullFor<Plain, T>) {
        return T{};
    } else if constexpr (OptionalFor<Plain, T>) {
        return value ? std::optional<Column>{keep_value<T>(*std::forward<Value>(value))}
                     : std::optional<Column>{};
    } else {
        if constexpr (std::is_pointer_v<Plain>)
            if (value == nullptr) throw ValueError("a null pointer is no text; say std::nullopt");
        if (!is_value_of<Column>(value))
            throw ValueError("a value is out of the range of its member, " + type_words<Column>());
        if constexpr (is_finer_time<Plain, Column>)
            return cut_off<Column>(value);
        else
            return static_cast<Column>(std::forward<Value>(value));
    }
}

template <auto Member, typename Value>
constexpr auto keep_operand(Value&& value) {
    return keep_value<member_type<Member>>(std::forward<Value>(value));
}

}  // namespace txscope::detail
