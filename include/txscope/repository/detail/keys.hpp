#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/column_array.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_builders.hpp>
#include <txscope/repository/detail/sql_writer.hpp>
#include <txscope/repository/entity.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <ranges>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope::detail {

/// The rows whose key, of several columns, is one of any number: `EXISTS (SELECT FROM … AS "keys" WHERE
/// "keys"."a" = "table"."a" AND "keys"."b" = "table"."b")`. They are a parameter for each column, so that
/// the text is the same whatever their number: see `ColumnArray`.
template <typename E, auto... Members>
class AmongKeys : public Condition {
public:
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = true;
    template <typename Model>
    static constexpr bool applies_to = std::is_same_v<Model, typename E::Model>;

    template <typename Key>
    void add(const Key& key) {
        add(key, std::make_index_sequence<sizeof...(Members)>{});
    }
    bool empty() const { return columns_.front().empty(); }

    template <typename>
    static constexpr void write(SqlWriter& out, const AmongKeys*) {
        Separator comma{out << "EXISTS (SELECT FROM (SELECT ", ", "};
        (write_key<Members>(comma.next()), ...);
        out << ") AS " << keys_name() << " WHERE ";
        Separator conjunction{out, " AND "};
        (write_equal<Members>(conjunction.next()), ...);
        out << ")";
    }
    void bind(Statement& statement) const {
        for (const ColumnArray& column : columns_) statement.bind(column.text());
    }

private:
    /// What is not the table's own name, which would be hidden.
    static constexpr std::string_view keys_name() {
        return E::table().name == "keys" ? "wanted" : "keys";
    }
    template <auto Member>
    static constexpr void write_key(SqlWriter& out) {
        constexpr std::string_view member = member_name<typename E::Model, Member>;
        write_values_of<E, column_type<Member>>(out, member);
        (out << " AS ").column(member);
    }
    template <auto Member>
    static constexpr void write_equal(SqlWriter& out) {
        constexpr std::string_view member = member_name<typename E::Model, Member>;
        (out << keys_name() << ".").column(member);
        write_operator<column_type<Member>, Equal>(out);
        E::write_table(out);
        (out << ".").column(member);
    }

    template <typename Key, std::size_t... i>
    void add(const Key& key, std::index_sequence<i...>) {
        (columns_[i].add(keep_operand<Members>(std::get<i>(key))), ...);
    }

    std::array<ColumnArray, sizeof...(Members)> columns_;
};

/// A value of each column of a key, in a tuple or a pair.
template <typename Key, typename Columns>
inline constexpr bool is_key_tuple = false;
template <template <typename...> typename Tuple, typename... Values, auto... Members>
    requires(sizeof...(Values) == sizeof...(Members))
inline constexpr bool is_key_tuple<Tuple<Values...>, Columns<Members...>> =
    (OperandFor<Values, Members> && ...);

/// The values of a range as one parameter, an array: made at once, for one statement.
template <auto Member>
class ArrayOperand {
public:
    using Value = std::vector<column_type<Member>>;
    static constexpr bool fixed = true;
    template <typename>
    static constexpr bool applies_to = true;

    template <typename Values>
    explicit ArrayOperand(Values& values) {
        for (auto&& value : values) array_.add(keep_operand<Member>(value));
    }
    bool empty() const { return array_.empty(); }

    template <typename>
    static constexpr void write(SqlWriter& out, const ArrayOperand*) {
        out.placeholder();
    }
    void bind(Statement& statement) const { statement.bind(array_.text()); }

private:
    ColumnArray array_;
};
template <auto Member>
inline constexpr bool is_parameter<ArrayOperand<Member>> = true;

/// The condition that the column is one of the values; nothing for none.
template <auto Member, typename Values>
auto one_of(Values&& values) {
    using Wanted = Comparison<Field<Member>, AnyOf, ArrayOperand<Member>>;
    ArrayOperand<Member> all{values};
    return all.empty() ? std::nullopt : std::optional<Wanted>{Wanted{{}, std::move(all)}};
}

/// Whether a range is one of keys.
template <typename Keys, typename Columns>
inline constexpr bool are_keys =
    is_key_tuple<std::remove_cvref_t<std::ranges::range_reference_t<Keys>>, Columns>;
template <typename Keys, auto Member>
inline constexpr bool are_keys<Keys, Columns<Member>> = OperandsFor<Keys, Member>;

/// Does not compile where it is not.
template <typename Keys, typename Columns>
constexpr void check_keys(Columns) {
    constexpr bool fit = are_keys<Keys, Columns>;
    static_assert(
        fit,
        "txscope: find_all takes a range of keys: of values of the type of the key's "
        "member, or of tuples with one for each column of the key; without a member `id`, "
        "the repository says `static constexpr auto key = columns<…>`");
}

/// The condition that a row's key is one of a range; nothing for an empty one.
template <typename E, auto Member, typename Keys>
auto one_of_keys(Columns<Member>, Keys&& keys) {
    return one_of<Member>(keys);
}
template <typename E, auto... Members, typename Keys>
auto one_of_keys(Columns<Members...>, Keys&& keys) {
    std::optional<AmongKeys<E, Members...>> wanted{std::in_place};
    for (auto&& key : keys) wanted->add(key);
    if (wanted->empty()) wanted.reset();
    return wanted;
}

/// SELECT of the rows that have one of the values in a column, likewise.
template <typename E, auto Member, typename Values, typename... Clauses>
std::optional<Statement> compose_select_among(Values&& values, const Clauses&... clauses) {
    const auto wanted = one_of<Member>(values);
    if (!wanted) return std::nullopt;
    return compose_select<E, Select<E>>(*wanted, clauses...);
}

template <typename T>
concept HasOrder = requires(const T& left, const T& right) { left < right; };

/// PostgreSQL's order of numbers, in which NaN is one value, the largest. In `std::less` it would be the same
/// as any other.
struct NanLast {
    template <typename T>
    constexpr bool operator()(const T& left, const T& right) const {
        return left < right || (left == left && right != right);
    }
};
template <typename T>
using ValueOrder = std::conditional_t<std::numeric_limits<T>::has_quiet_NaN, NanLast, std::less<T>>;

/// Rows by the value of a column.
template <auto Member, typename Model>
using Groups = std::map<column_type<Member>, std::vector<Model>, ValueOrder<column_type<Member>>>;

/// The group of a row, whose column is not NULL.
template <auto Member, typename Model>
std::vector<Model>& group_of(Groups<Member, Model>& groups, const Model& row) {
    if constexpr (Nullable<Member>)
        return groups[(row.*Member).value()];
    else
        return groups[row.*Member];
}

/// SELECT of the rows whose key is one of a range, and that further clauses mean; nothing for an empty
/// one.
template <typename E, typename Keys, typename... Clauses>
std::optional<Statement> compose_select_keys(Keys&& keys, const Clauses&... clauses) {
    const auto wanted = one_of_keys<E>(E::key(), keys);
    if (!wanted) return std::nullopt;
    return compose_select<E, Select<E>>(*wanted, clauses...);
}

}  // namespace txscope::detail
