#pragma once

#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/detail/members.hpp>

#include <concepts>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope::detail {

template <typename T>
concept Number = Integer<T> || std::floating_point<T>;

/// How a column of type `Column` keeps a value given as `Value`; void where it does not fit.
///
/// Numbers keep the type they came with: they travel as text, so nothing is narrowed here, and
/// one that the column cannot hold is refused by the server.
template <typename Column, typename Value>
consteval auto stored_operand() {
    if constexpr (std::same_as<Column, bool> || std::same_as<Value, bool>) {
        if constexpr (std::same_as<Column, Value>) return std::type_identity<bool>{};
    } else if constexpr (std::same_as<Column, std::string>) {
        if constexpr (std::convertible_to<const Value&, std::string_view>)
            return std::type_identity<std::string>{};
    } else if constexpr (std::floating_point<Column>) {
        if constexpr (Number<Value>) return std::type_identity<Value>{};
    } else if constexpr (Integer<Column>) {
        if constexpr (Integer<Value>) return std::type_identity<Value>{};
    } else if constexpr (std::convertible_to<const Value&, Column>) {
        return std::type_identity<Column>{};
    }
}

template <auto Member, typename Value>
using OperandChoice =
    decltype(stored_operand<without_optional<member_type<Member>>, std::remove_cvref_t<Value>>());

/// A value that can be compared with the column of `Member`.
template <typename Value, auto Member>
concept OperandFor = !std::is_void_v<OperandChoice<Member, Value>>;

template <auto Member, typename Value>
using operand_type = typename OperandChoice<Member, Value>::type;

template <auto Member>
concept Nullable = IsOptional<member_type<Member>>::value;

/// `std::nullopt` or an optional, for a column that may be NULL.
template <typename Value, auto Member>
concept NullableOperandFor = Nullable<Member> && IsOptional<std::remove_cvref_t<Value>>::value &&
                             OperandFor<without_optional<std::remove_cvref_t<Value>>, Member>;

template <typename Value, auto Member>
concept NullFor = Nullable<Member> && std::same_as<std::remove_cvref_t<Value>, std::nullopt_t>;

/// A value that the column of `Member` can take.
template <typename Value, auto Member>
concept AssignableTo =
    OperandFor<Value, Member> || NullableOperandFor<Value, Member> || NullFor<Value, Member>;

/// A range of values, and not a value itself.
template <typename Values, auto Member>
concept OperandsFor = std::ranges::input_range<Values> && !OperandFor<Values, Member> &&
                      OperandFor<std::ranges::range_reference_t<Values>, Member>;

template <typename Pattern, auto Member>
concept PatternFor =
    OperandFor<Pattern, Member> && std::convertible_to<const Pattern&, std::string_view>;

/// The value as it is kept until it becomes a parameter: by value, text copied, so that whatever
/// it came from may go.
template <auto Member, typename Value>
constexpr auto keep_operand(Value&& value) {
    using Plain = std::remove_cvref_t<Value>;
    if constexpr (NullFor<Plain, Member>) {
        return member_type<Member>{};
    } else if constexpr (NullableOperandFor<Plain, Member>) {
        using Kept = operand_type<Member, without_optional<Plain>>;
        return value ? std::optional<Kept>{std::in_place, *std::forward<Value>(value)}
                     : std::optional<Kept>{};
    } else {
        if constexpr (std::is_pointer_v<Plain>)
            if (value == nullptr) throw ValueError("a null pointer is no text; say std::nullopt");
        return operand_type<Member, Value>(std::forward<Value>(value));
    }
}

/// The value's SQL text, for an element of an array.
template <auto Member, typename Value>
std::string operand_text(const Value& value) {
    return SqlValue<operand_type<Member, Value>>::to_text(keep_operand<Member>(value));
}

}  // namespace txscope::detail
