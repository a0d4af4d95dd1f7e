#pragma once

#include <txscope/core/detail/pqxx_compat.hpp>
#include <txscope/core/detail/struct_members.hpp>
#include <txscope/core/detail/text_reader.hpp>
#include <txscope/core/detail/type_words.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/describe/enumerators.hpp>
#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace txscope {

/// An enumeration described with `BOOST_DESCRIBE_ENUM`: its enumerators' names are the labels of
/// the PostgreSQL enum type, or the texts.
template <typename E>
    requires(std::is_enum_v<E> && boost::describe::has_describe_enumerators<E>::value)
struct SqlValue<E> {
    static std::string to_text(E value) {
        std::string text;
        for_each_enumerator([&](auto enumerator) {
            if (enumerator.value == value) text = enumerator.name;
        });
        if (text.empty()) {
            throw ValueError("a parameter is no enumerator of " + detail::type_words<E>());
        }
        return text;
    }
    static E from_text(std::string_view text) {
        const E* found = nullptr;
        for_each_enumerator([&](auto enumerator) {
            static constexpr E value = decltype(enumerator)::value;
            if (text == enumerator.name) found = &value;
        });
        if (found == nullptr) {
            throw ValueError("the text is no enumerator of " + detail::type_words<E>());
        }
        return *found;
    }

private:
    template <typename Visitor>
    static void for_each_enumerator(Visitor visit) {
        boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>(visit);
    }
};

namespace detail {

template <typename T>
inline constexpr bool is_described_class = false;
template <typename T>
    requires std::is_class_v<T>
inline constexpr bool is_described_class<T> = boost::describe::has_describe_members<T>::value;

}  // namespace detail

/// A struct described with `BOOST_DESCRIBE_STRUCT`, as a value of a composite type whose fields are its
/// members, in their order, those of bases first. In SQL of your own PostgreSQL does not infer the type of
/// one that a column is compared with: `WHERE address = $1::address`. Whoever taught libpqxx the type has it
/// as there.
template <typename T>
    requires(detail::is_described_class<T> && !detail::pqxx_knows<T>())
struct SqlValue<T> {
    static constexpr bool is_composite = true;

    static std::string to_text(const T& value) {
        std::string text = "(";
        std::string scratch;
        bool first = true;
        detail::for_each_member<T>([&](auto member) {
            if (!std::exchange(first, false)) text += ',';
            scratch.clear();
            if (detail::append_parameter(scratch, value.*member.pointer))
                detail::append_quoted(text, scratch);
        });
        return text += ')';
    }

    static T from_text(std::string_view text) {
        const std::string wanted = "a composite like " + detail::type_words<T>();
        detail::TextReader reader{text, wanted};
        T value{};
        char before = '(';
        detail::for_each_member<T>([&](auto member) {
            reader.expect({&before, 1});
            before = ',';
            auto& field = value.*member.pointer;
            const auto [piece, quoted] = reader.piece(",)");
            field = detail::read_inner<std::remove_reference_t<decltype(field)>>(
                piece.empty() && !quoted ? std::nullopt : std::optional{piece},
                "a field of the composite");
        });
        reader.expect(")");
        reader.end();
        return value;
    }
};

}  // namespace txscope
