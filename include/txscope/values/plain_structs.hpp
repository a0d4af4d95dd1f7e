#pragma once

#include <txscope/core/detail/struct_members.hpp>
#include <txscope/repository/detail/members.hpp>

#include <boost/describe/members.hpp>
#include <boost/mp11/list.hpp>
#include <boost/pfr/core.hpp>
#include <boost/pfr/tuple_size.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

/// Models without `BOOST_DESCRIBE_STRUCT`: where this header is included, ahead of its models, every
/// aggregate is one that Boost.PFR takes apart: without bases, arrays and bit-fields.
///
/// ```cpp
/// struct Project { std::int64_t id{}; std::string name; };
///
/// class Projects : public txscope::BaseRepository<Projects, Project> { … };
/// ```
///
/// The names of its members are taken from what the compiler calls them. A value of a composite type is
/// described, as is a struct with bases or private members.
namespace txscope::detail {

template <typename T>
concept PlainStruct = std::is_class_v<T> && std::is_aggregate_v<T> &&
                      !boost::describe::has_describe_members<T>::value;

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-internal"
#pragma clang diagnostic ignored "-Wundefined-var-template"
#endif

template <typename T>
struct Imagined {
    T value;
};
/// Never defined: nothing but the addresses of its members is asked for, and that by the compiler.
template <typename T>
extern const Imagined<T> imagined;

/// A member by its place in the struct, as a function.
template <typename T, std::size_t index>
struct PlainPointer {
    template <typename Object>
    constexpr auto& operator()(Object& object) const {
        return boost::pfr::get<index>(object);
    }

    static consteval const auto* address() { return &boost::pfr::get<index>(imagined<T>.value); }

    template <typename Member>
    static consteval bool is(Member T::* member) {
        return static_cast<const void*>(&(imagined<T>.value.*member)) == address();
    }
};

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

template <auto Member, auto Pointer>
    requires requires { Pointer.is(Member); }
inline constexpr bool same_member<Member, Pointer> = Pointer.is(Member);

/// clang takes no pointer to a member of a member for an argument, but a struct with one.
template <typename Pointer>
struct Address {
    Pointer pointer;
};

/// "... {(& imagined<Project>.Imagined<Project>::value.Project::name)}; ...]" says g++,
/// "... {&imagined.value.name}]" says clang++.
template <auto address>
consteval std::string_view name_at() {
    std::string_view text = __PRETTY_FUNCTION__;
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    text = text.substr(0, text.find_last_of(letters, text.rfind('}')) + 1);
    return text.substr(text.find_last_not_of(letters) + 1);
}

template <typename T, std::size_t index>
struct PlainMember {
    static constexpr PlainPointer<T, index> pointer{};
    static constexpr std::string_view name =
        name_at<Address<decltype(pointer.address())>{pointer.address()}>();
};

template <PlainStruct T>
struct StructMembers<T> {
    template <std::size_t... index>
    static boost::mp11::mp_list<PlainMember<T, index>...> list(std::index_sequence<index...>);
    using type = decltype(list(std::make_index_sequence<boost::pfr::tuple_size_v<T>>{}));
};

}  // namespace txscope::detail
