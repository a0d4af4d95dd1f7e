#pragma once

#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/keyset.hpp>
#include <txscope/repository/detail/operand.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

/// `text` as a pattern of `like` and `ilike` that only it fits: `like('%' + escape_like(part) + '%')`.
std::string escape_like(std::string_view text);

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
/// column that is NULL is not true, nor is its negation.
template <auto Member>
    requires std::is_member_object_pointer_v<decltype(Member)>
class Field {
public:
    /// What `create`, `add` and `update` write into the column.
    template <detail::AssignableTo<Member> Value>
    constexpr auto operator=(Value&& value) const {
        auto kept = detail::keep_operand<Member>(std::forward<Value>(value));
        return detail::Assignment<Member, decltype(kept)>{std::move(kept)};
    }

    constexpr auto is_null() const { return detail::NullTest<Member, true>{}; }
    constexpr auto is_not_null() const { return detail::NullTest<Member, false>{}; }

    /// Matches a pattern in which `%` and `_` are wildcards and `\` takes their meaning away.
    template <detail::PatternFor<Member> Pattern>
    constexpr auto like(const Pattern& pattern) const {
        return compare<detail::Like>(pattern);
    }

    /// The same, with capital letters and small ones alike.
    template <detail::PatternFor<Member> Pattern>
    constexpr auto ilike(const Pattern& pattern) const {
        return compare<detail::LikeInAnyCase>(pattern);
    }
    /// Begins with this text, whatever characters are in it.
    template <detail::PatternFor<Member> Text>
    auto starts_with(const Text& text) const {
        return like(escape_like(text) + '%');
    }

    /// Lies between the two, or is one of them.
    template <detail::OperandFor<Member> Low, detail::OperandFor<Member> High>
    constexpr auto between(const Low& low, const High& high) const {
        return *this >= low && *this <= high;
    }

    /// Has another value than this one, or none: true also of NULL, where `!=` is not.
    template <detail::OperandFor<Member> Value>
    constexpr auto is_distinct_from(const Value& value) const {
        return compare<detail::DistinctFrom>(value);
    }

    /// Equals one of the values; with an empty range, nothing does.
    template <detail::OperandsFor<Member> Values>
    auto in(Values&& values) const {
        std::vector<detail::column_type<Member>> kept;
        for (auto&& value : values) kept.push_back(detail::keep_operand<Member>(value));
        return one_of(std::move(kept));
    }

    /// Equals one of the values: `in("draft", "active")`.
    template <detail::OperandFor<Member> First, detail::OperandFor<Member>... Rest>
    auto in(const First& first, const Rest&... rest) const {
        return one_of({detail::keep_operand<Member>(first), detail::keep_operand<Member>(rest)...});
    }

    template <detail::AssignableTo<Member> Value>
    friend constexpr auto operator==(Field field, const Value& value) {
        if constexpr (detail::NullFor<Value, Member>)
            return field.is_null();
        else
            return field.compare<detail::Equal>(value);
    }
    template <detail::AssignableTo<Member> Value>
    friend constexpr auto operator!=(Field field, const Value& value) {
        if constexpr (detail::NullFor<Value, Member>)
            return field.is_not_null();
        else
            return field.compare<detail::NotEqual>(value);
    }
    template <detail::OperandFor<Member> Value>
    friend constexpr auto operator<(Field field, const Value& value) {
        return field.compare<detail::Less>(value);
    }
    template <detail::OperandFor<Member> Value>
    friend constexpr auto operator<=(Field field, const Value& value) {
        return field.compare<detail::LessEqual>(value);
    }
    template <detail::OperandFor<Member> Value>
    friend constexpr auto operator>(Field field, const Value& value) {
        return field.compare<detail::Greater>(value);
    }
    template <detail::OperandFor<Member> Value>
    friend constexpr auto operator>=(Field field, const Value& value) {
        return field.compare<detail::GreaterEqual>(value);
    }

private:
    template <typename Operator, typename Value>
    static constexpr auto compare(const Value& value) {
        auto kept = detail::keep_operand<Member>(value);
        return detail::Comparison<Member, Operator, decltype(kept)>{std::move(kept)};
    }

    static auto one_of(std::vector<detail::column_type<Member>> values) {
        return detail::Comparison<Member, detail::AnyOf, decltype(values)>{std::move(values)};
    }
};

template <auto Member>
inline constexpr Field<Member> field{};

template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator==(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::Equal, Right>{};
}
template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator!=(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::NotEqual, Right>{};
}
template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator<(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::Less, Right>{};
}
template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator<=(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::LessEqual, Right>{};
}
template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator>(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::Greater, Right>{};
}
template <auto Left, auto Right>
    requires detail::ComparableColumns<Left, Right>
constexpr auto operator>=(Field<Left>, Field<Right>) {
    return detail::ColumnComparison<Left, detail::GreaterEqual, Right>{};
}

/// Sorts by a column, smallest first; NULL last, unless `.nulls_first()` says otherwise.
template <auto Member>
constexpr auto ascending(Field<Member>) {
    return detail::Ordering<Member, false>{};
}

/// Sorts by a column, largest first; NULL first, unless `.nulls_last()` says otherwise.
template <auto Member>
constexpr auto descending(Field<Member>) {
    return detail::Ordering<Member, true>{};
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
/// that is an optional does not compile.
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
        requires(!std::same_as<C, Criteria>) && detail::ConditionOn<C, Model>
    Criteria(C condition) {
        held_.push_back(std::make_shared<const Holding<C>>(std::move(condition)));
    }

    /// Narrows to the rows for which `condition` holds as well.
    Criteria& operator&=(const Criteria& condition) {
        auto more = condition.held_;  // a copy: `criteria &= criteria` is harmless
        held_.insert(held_.end(), more.begin(), more.end());
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
            held->write(out);
        }
    }

    void bind(Statement& statement) const {
        for (const auto& held : held_) held->bind(statement);
    }

private:
    struct Held {
        virtual ~Held() = default;
        virtual void write(detail::SqlWriter& out) const = 0;
        virtual void bind(Statement& statement) const = 0;
    };

    template <typename C>
    struct Holding final : Held {
        explicit Holding(C held) : condition{std::move(held)} {}
        void write(detail::SqlWriter& out) const override {
            detail::write_within<detail::Precedence::conjunction, Model>(out, &condition);
        }
        void bind(Statement& statement) const override { condition.bind(statement); }
        C condition;
    };

    std::vector<std::shared_ptr<const Held>> held_;  // all of them must hold
};

inline std::string escape_like(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern;
}

}  // namespace txscope
