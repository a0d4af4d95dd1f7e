#pragma once

#include <txscope/core/detail/struct_members.hpp>
#include <txscope/core/detail/type_words.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace txscope::detail {

template <typename Model>
inline constexpr bool is_described = HasMembers<Model>;

/// Calls `visit(descriptor)` for each column of a model, in the order it was described. A model that is
/// not has none: `check_repository` says so.
template <typename Model, typename Visit>
constexpr void for_each_column(Visit&& visit) {
    if constexpr (is_described<Model>) for_each_member<Model>(visit);
}

template <auto Left, auto Right>
inline constexpr bool same_member = false;
template <auto Member>
inline constexpr bool same_member<Member, Member> = true;

template <typename Columns, auto Member>
inline constexpr bool contains = false;
template <template <auto...> typename Columns, auto... Members, auto Member>
inline constexpr bool contains<Columns<Members...>, Member> = (same_member<Members, Member> || ...);

/// The name under which `Model` describes a member; empty when it does not.
template <typename Model, auto Member>
inline constexpr std::string_view member_name = [] {
    std::string_view name;
    if constexpr (is_described<Model>)
        for_each_column<Model>([&name](auto column) {
            if constexpr (same_member<Member, decltype(column)::pointer>)
                name = decltype(column)::name;
        });
    return name;
}();

template <typename Model, auto Member>
concept ColumnOf = !member_name<Model, Member>.empty();

/// Whether each member of a struct is called like one of a model.
template <typename Row, typename Model>
inline constexpr bool is_part_of = [] {
    bool part = is_described<Row>;
    if constexpr (is_described<Row> && is_described<Model>)
        for_each_column<Row>([&](auto wanted) {
            bool found = false;
            for_each_column<Model>([&](auto column) {
                found = found || std::string_view{decltype(column)::name} == decltype(wanted)::name;
            });
            part = part && found;
        });
    return part;
}();

template <typename Pointer>
struct MemberType;
template <typename Class, typename T>
struct MemberType<T Class::*> {
    using type = std::remove_cv_t<T>;
};
template <auto Member>
using member_type = typename MemberType<std::remove_const_t<decltype(Member)>>::type;

/// The type of the values in the column of `Member`.
template <auto Member>
using column_type = without_optional<member_type<Member>>;

}  // namespace txscope::detail
