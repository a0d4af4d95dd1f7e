#pragma once

#include <txscope/core/detail/struct_members.hpp>
#include <txscope/postgres/detail/field.hpp>
#include <txscope/postgres/detail/sql_words.hpp>

#include <boost/mp11/list.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace txscope {

/// A struct whose members are known through `BOOST_DESCRIBE_STRUCT` or `BOOST_DESCRIBE_CLASS`, or
/// `txscope/values/plain_structs.hpp`.
template <typename T>
concept Described = detail::HasMembers<T>;

/// Which column of a result fills which member of a described struct: the one of the member's
/// name, members of bases included. Columns that no member is named after are left aside.
///
/// Columns are looked up once for a result, and every row is then read by index:
///
/// ```cpp
/// struct Project { std::int64_t id{}; std::string name; std::optional<std::string> note; };
/// BOOST_DESCRIBE_STRUCT(Project, (), (id, name, note))
///
/// std::vector<Project> projects = result.as<Project>();
/// ```
///
/// NULL fills a member that is a `std::optional`; in any other it is an error.
template <Described T>
class RowMapping {
public:
    /// @throws ColumnError when a member has no column of its name, or more than one.
    explicit RowMapping(protocol::ResultBlock result) : result_(std::move(result)) {
        std::size_t next = 0;
        detail::for_each_member<T>([&](auto member) {
            static_assert(
                std::string_view{decltype(member)::name}.size() <= detail::max_name_length,
                "txscope: a member's name is longer than PostgreSQL lets a column's be, 63 bytes");
            columns_[next++] = detail::find_column(result_, member.name);
        });
    }

    /// The row as a struct.
    /// @throws ColumnError for a value that does not fit its member.
    [[nodiscard]] T operator()(std::size_t row) const {
        T object{};
        read(row, object);
        return object;
    }
    /// The same, into one that is there.
    void read(std::size_t row, T& object) const {
        protocol::FieldCursor fields{result_[row]};
        std::size_t next = 0;
        detail::for_each_member<T>([&](auto member) {
            const std::size_t column = columns_[next++];
            read_member(std::invoke(member.pointer, object), column, fields[column]);
        });
    }

private:
    template <typename Member>
    void read_member(Member& member, std::size_t column,
                     std::optional<std::string_view> text) const {
        member = detail::read_field<Member>(result_, column, text);
    }
    // Where it is to be: a text that is made and moved costs twice as much.
    void read_member(std::string& member, std::size_t column,
                     std::optional<std::string_view> text) const {
        if (!text)
            detail::throw_unexpected_null(result_, column, detail::type_words<std::string>());
        member.assign(*text);
    }

    using Members = typename detail::StructMembers<T>::type;

    protocol::ResultBlock result_;
    std::array<std::size_t, boost::mp11::mp_size<Members>::value> columns_{};
};

}  // namespace txscope
