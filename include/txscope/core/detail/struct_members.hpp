#pragma once

#include <boost/describe/members.hpp>
#include <boost/describe/modifiers.hpp>
#include <boost/mp11/algorithm.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// The members of a struct as a list of types: each has a `name`, and a `pointer` that gives the member by
/// `std::invoke(pointer, object)`. Those of Boost.Describe, and of what else there is a specialisation for.
template <typename T>
struct StructMembers {};

template <typename T>
    requires boost::describe::has_describe_members<T>::value
struct StructMembers<T> {
    using type = boost::describe::describe_members<T, boost::describe::mod_any_access |
                                                          boost::describe::mod_inherited>;
};

template <typename T>
concept HasMembers = requires { typename StructMembers<T>::type; };

/// Of a member in that list.
template <typename T, typename Member>
using struct_member_type =
    std::remove_cvref_t<decltype(std::invoke(Member::pointer, std::declval<T&>()))>;

/// Calls `visit(member)` for each, in the order of the struct, those of bases first.
template <HasMembers T, typename Visit>
constexpr void for_each_member(Visit&& visit) {
    boost::mp11::mp_for_each<typename StructMembers<T>::type>(visit);
}

}  // namespace txscope::detail
