#pragma once

#include <txscope/repository/arithmetic.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/held_part.hpp>
#include <txscope/repository/detail/keyset.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/refusals.hpp>
#include <txscope/repository/json_text.hpp>
#include <txscope/repository/raw_sql.hpp>
#include <txscope/repository/row_comparison.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

/// The column of a described member, as a word in conditions, assignments and orderings.
///
/// Written as `field<&Model::member>`:
///
/// ```cpp
/// field<&Project::status> == "active" && !field<&Project::name>.like("tmp%")
/// field<&Project::status> = "archived"
/// ```
///
/// A value is taken by copy and always travels as a parameter, never inside the SQL text. It must
/// fit the member's type: text for text, an integer for an integer, any number for a floating
/// point; anything else does not compile. It is turned into one of the member's type first, as by an
/// assignment to the member, so that a row is found by what it was stored with. A fraction is rounded
/// to the member's precision; what the type has no room for is refused where the condition or
/// assignment is made.
/// @throws ValueError for a number or a time that the member's type cannot hold, or an integer that
/// a floating-point member could only have rounded
///
/// Two columns whose values are of one kind are compared in the same way:
/// `field<&Job::done> < field<&Job::total>`.
///
/// **NULL**: a member of type `std::optional` can be compared with `std::nullopt` or an optional:
/// `==` then means IS NULL where there is no value. All else is as in SQL: a comparison with a
/// column that is NULL is not true, nor is its negation. NaN equals NaN there, and is larger than any number.
template <auto Member>
    requires std::is_member_object_pointer_v<decltype(Member)>
class Field : public detail::Expression<Field<Member>> {
public:
    /// What `create`, `add` and `update` write into the column: a value, or in an update what is computed
    /// of the row as it was, `field<&Project::stars> = field<&Project::stars> + 1`.
    template <typename Value>
    constexpr auto operator=(Value&& value) const {
        using T = detail::member_type<Member>;
        using Plain = std::remove_cvref_t<Value>;
        if constexpr (detail::ExpressionFor<Plain, T>) {
            return detail::Assignment<Member, Plain>{std::forward<Value>(value)};
        } else if constexpr (detail::AssignableTo<Value, T>) {
            auto kept = detail::keep_value<T>(std::forward<Value>(value));
            using Kept = detail::Parameter<decltype(kept)>;
            return detail::Assignment<Member, Kept>{Kept(std::move(kept))};
        } else {
            static_assert(
                detail::never<Value>,
                "txscope: this value is not of the member's kind: a text takes a text, an "
                "integer an integer, a time one that is no finer, and only a std::optional NULL");
            return detail::Assignment<Member, detail::Parameter<T>>{detail::Parameter<T>(T{})};
        }
    }

    // As an operand (`detail::Parameter`).
    using Value = detail::member_type<Member>;
    static constexpr bool fixed = true;
    template <typename Model>
    static constexpr bool applies_to = detail::ColumnOf<Model, Member>;
    template <typename Model>
    static constexpr std::string_view name() {
        return detail::member_name<Model, Member>;
    }
    template <typename Model>
    static constexpr void write(detail::SqlWriter& out, const Field*) {
        out.column(name<Model>());
    }
    static void bind(Statement&) {}
};

template <auto Member>
inline constexpr Field<Member> field{};

/// Sorts by a column, or by what is computed of some, smallest first; NULL last, unless
/// `.nulls_first()` says otherwise.
template <typename Operand>
constexpr auto ascending(Operand operand) {
    return detail::order_by<false>(std::move(operand));
}

/// Likewise, largest first; NULL first, unless `.nulls_last()` says otherwise.
template <typename Operand>
constexpr auto descending(Operand operand) {
    return detail::order_by<true>(std::move(operand));
}

/// A part of an ordered result: `Page{.limit = 20, .offset = 40}`.
struct Page {
    std::optional<std::int64_t> limit{};  ///< At most so many rows; all by default.
    std::int64_t offset = 0;              ///< So many rows are passed over.
};

/// What `find_page` gives.
template <typename Model>
struct PageOf {
    std::vector<Model> rows;
    bool more = false;  ///< Whether there are rows behind these.
};

/// Of an ordered result, what comes behind a row, which need not be there any more: for the page
/// behind this one, in the time of the first. What one reads is neither skipped nor read twice,
/// whatever others insert and remove meanwhile.
///
/// ```cpp
/// auto page = co_await projects.find_page(ascending(field<&Project::name>),
///                                         ascending(field<&Project::id>), Page{.limit = 20});
/// auto next = co_await projects.find_page(ascending(field<&Project::name>),
///                                         ascending(field<&Project::id>), Page{.limit = 20},
///                                         after(page.rows.back()));
/// ```
///
/// No two rows may be the same in all that they are ordered by, and none of it may be NULL: a member
/// that is an optional does not compile. Nor may the row have been rounded when it was read: no more
/// does a time that is coarser than microseconds, and a `double` is none for a `numeric`.
template <typename Model>
detail::After<Model> after(Model last) {
    return {std::move(last)};
}

/// A condition that is put together while the program runs; empty, it holds for every row.
///
/// ```cpp
/// txscope::Criteria<Project> criteria;
/// if (wanted) criteria &= field<&Project::status> == *wanted;
/// auto found = co_await projects.find_all(criteria);
/// ```
///
/// Any condition on columns of `Model` converts to it, and it stands wherever one does.
template <typename Model>
class Criteria : public detail::Condition {
public:
    Criteria() = default;

    template <typename C>
        requires(!std::same_as<C, Criteria>) &&
                (detail::AnyCondition<C> || detail::is_assignment<C>)
    Criteria(C condition) {
        if constexpr (detail::ConditionOn<C, Model>)
            held_.emplace_back(std::move(condition), [](detail::SqlWriter& out, const C& held) {
                detail::write_within<detail::Precedence::conjunction, Model>(out, &held);
            });
        else
            detail::refuse<detail::Purpose::narrow, Model, C>();
    }

    /// Narrows to the rows for which `condition` holds as well.
    Criteria& operator&=(const Criteria& condition) {
        const auto more = condition.held_;  // a copy: `criteria &= criteria` is harmless
        for (const detail::HeldPart& part : more) held_.push_back(part);
        return *this;
    }
    /// Does not compile, and says why.
    template <typename Other>
        requires(!std::convertible_to<Other, Criteria>)
    Criteria& operator&=(const Other&) {
        detail::refuse<detail::Purpose::narrow, Model, Other>();
        return *this;
    }

    static constexpr auto precedence = detail::Precedence::conjunction;
    static constexpr bool fixed = false;
    template <typename M>
    static constexpr bool applies_to = std::same_as<M, Model>;

    template <typename>
    static void write(detail::SqlWriter& out, const Criteria* self) {
        if (self->held_.empty()) out << "TRUE";
        for (bool first = true; const auto& held : self->held_) {
            if (!std::exchange(first, false)) out << " AND ";
            held.write(out);
        }
    }

    void bind(Statement& statement) const {
        for (const auto& held : held_) held.bind(statement);
    }

private:
    std::vector<detail::HeldPart> held_;  // all of them must hold
};

}  // namespace txscope
