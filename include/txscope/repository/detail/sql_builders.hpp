#pragma once

#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/clauses.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/members.hpp>
#include <txscope/repository/detail/sql_writer.hpp>
#include <txscope/repository/row_lock.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

/// The SQL builders of a repository, one a kind of statement. Each has `write(out, parts...)`, where
/// the parts are the assignments, conditions, orderings and the page it was given, in any order; `E`
/// is an `Entity`.
namespace txscope::detail {

/// Writes a text before every item but the first.
class Separator {
public:
    constexpr Separator(SqlWriter& out, std::string_view text) : out_{out}, text_{text} {}
    constexpr SqlWriter& next() {
        if (!std::exchange(first_, false)) out_ << text_;
        return out_;
    }
    constexpr SqlWriter& out() const { return out_; }
    /// Whether there has been none yet.
    constexpr bool first() const { return first_; }

private:
    SqlWriter& out_;
    std::string_view text_;
    bool first_ = true;
};

/// Calls `visit` for each column that an INSERT of a whole model gives the model's value.
template <typename E, typename Visit>
constexpr void for_each_inserted(Visit&& visit) {
    if constexpr (E::is_complete()) {
        using Others =
            decltype(E::generated() + E::created_at() + E::updated_at() + E::deleted_at());
        for_each_column<typename E::Model>([&](auto column) {
            if constexpr (!contains<Others, decltype(column)::pointer>) visit(column);
        });
    }
}

/// Calls `visit` for each column that an UPDATE by a whole model sets.
template <typename E, typename Visit>
constexpr void for_each_updated(Visit&& visit) {
    for_each_inserted<E>([&](auto column) {
        constexpr auto member = decltype(column)::pointer;
        if constexpr (!contains<decltype(E::key()), member> &&
                      !contains<decltype(E::version()), member>)
            visit(column);
    });
}

/// How many they are.
template <typename E>
inline constexpr std::size_t inserted_columns = [] {
    std::size_t count = 0;
    for_each_inserted<E>([&count](auto) { ++count; });
    return count;
}();

/// Whether there is any such column: UPDATE has no form that sets nothing.
template <typename E>
inline constexpr bool has_updated_columns = [] {
    bool any = false;
    for_each_updated<E>([&any](auto) { any = true; });
    return any;
}();

/// Calls `visit(member)` with the name of each of the columns.
template <typename E, auto... Members, typename Visit>
constexpr void for_each_name(Columns<Members...>, [[maybe_unused]] Visit visit) {
    (visit(member_name<typename E::Model, Members>), ...);
}

/// The columns of the entity that are members of `Row`, too. One that is called otherwise than its
/// member is given the member's name, by which rows are read.
template <typename E, typename Row = typename E::Model>
constexpr void write_columns(SqlWriter& out) {
    Separator comma{out, ", "};
    for_each_column<Row>([&](auto column) {
        constexpr std::string_view member = decltype(column)::name;
        comma.next().column(member);
        if (E::column_name(member) != member) (out << " AS ").identifier(member);
    });
}

template <typename E>
constexpr void write_returning(SqlWriter& out) {
    out << " RETURNING ";
    write_columns<E>(out);
}

/// `"deleted_at" IS NULL`, where the entity has that.
template <typename E>
constexpr void write_not_deleted(SqlWriter& out) {
    for_each_name<E>(E::deleted_at(),
                     [&](std::string_view member) { out.column(member) << " IS NULL"; });
}

template <typename E, typename... Parts>
constexpr void write_where(SqlWriter& out, const Parts*... parts) {
    constexpr bool passes_over_deleted = E::deleted_at().size > 0;
    constexpr auto conditions = (int{passes_over_deleted} + ... + int{AnyCondition<Parts>});
    constexpr Precedence outer = conditions > 1 ? Precedence::conjunction : Precedence::disjunction;
    if constexpr (conditions > 0) out << " WHERE ";
    Separator conjunction{out, " AND "};
    [[maybe_unused]] const auto write = [&]<typename Part>(const Part* part) {
        if constexpr (AnyCondition<Part>)
            write_within<outer, typename E::Model>(conjunction.next(), part);
    };
    (write(parts), ...);
    if constexpr (passes_over_deleted) write_not_deleted<E>(conjunction.next());
}

/// The same without those whose names `visit_names` passes to its argument.
template <typename E, typename Set, typename VisitNames, typename Visit>
constexpr void for_each_name_beside(Set set, VisitNames visit_names, Visit visit) {
    for_each_name<E>(set, [&](std::string_view member) {
        bool named = false;
        visit_names([&](std::string_view name, auto) { named = named || name == member; });
        if (!named) visit(member);
    });
}

inline constexpr auto no_names = [](const auto&) {};

inline constexpr std::string_view server_time = "pg_catalog.now()";

inline constexpr auto write_placeholder = [](SqlWriter& out) { out.placeholder(); };

/// `("a", "b") VALUES ($1, $2)` for the members whose names `visit_names` passes to its argument, with what
/// writes their values, and the time for those that have it.
template <typename E, typename VisitNames>
constexpr void write_values(SqlWriter& out, VisitNames visit_names) {
    constexpr auto times = E::created_at() + E::updated_at();
    Separator column_comma{out, ", "};
    const auto write_column = [&](std::string_view member) {
        if (column_comma.first()) out << " (";
        column_comma.next().column(member);
    };
    visit_names([&](std::string_view member, auto) { write_column(member); });
    for_each_name_beside<E>(times, visit_names, write_column);
    if (column_comma.first()) {
        out << " DEFAULT VALUES";
        return;
    }
    Separator value_comma{out << ") VALUES (", ", "};
    visit_names([&](std::string_view, auto write_value) { write_value(value_comma.next()); });
    for_each_name_beside<E>(times, visit_names,
                            [&](std::string_view) { value_comma.next() << server_time; });
    out << ")";
}

/// `"a" = $1, "b" = ("b" + $2)`, likewise.
template <typename VisitNames>
constexpr void write_assignments(Separator& comma, VisitNames visit_names) {
    visit_names([&](std::string_view member, auto write_value) {
        write_value(comma.next().column(member) << " = ");
    });
}

/// `"updated_at" = now()` for each of the columns whose name `visit_names` does not pass.
template <typename E, typename Times, typename VisitNames>
constexpr void write_times(Separator& comma, Times times, VisitNames visit_names) {
    for_each_name_beside<E>(times, visit_names, [&](std::string_view member) {
        comma.next().column(member) << " = " << server_time;
    });
}

/// `"version" = "projects"."version" + 1`, where the entity has one and `visit_names` does not pass it.
template <typename E, typename VisitNames>
constexpr void write_next_version(Separator& comma, VisitNames visit_names) {
    for_each_name_beside<E>(E::version(), visit_names, [&](std::string_view member) {
        E::write_table(comma.next().column(member) << " = ");
        (comma.out() << ".").column(member) << " OPERATOR(pg_catalog.+) 1";
    });
}

/// The names of the members that those among `parts` set which assign, with what writes their values.
template <typename E, typename... Parts>
constexpr auto assigned_names(const Parts*... parts) {
    return [=](auto visit) {
        const auto visit_part = [&]<typename Part>(const Part* part) {
            if constexpr (is_assignment<Part>)
                visit(Part::template name<typename E::Model>(), [part](SqlWriter& out) {
                    Part::template write<typename E::Model>(out, part);
                });
            else if constexpr (is_changes<Part>)
                part->for_each_member(visit);
        };
        (visit_part(parts), ...);
    };
}

/// INSERT of what its parts assign; without any, of a whole model.
template <typename E, bool Returning>
struct Insert {
    template <typename... Parts>
    static constexpr void write(SqlWriter& out, const Parts*... parts) {
        E::write_table(out << "INSERT INTO ");
        if constexpr (sizeof...(Parts) > 0)
            write_values<E>(out, assigned_names<E>(parts...));
        else
            write_values<E>(out, [](auto visit) {
                for_each_inserted<E>(
                    [&](auto column) { visit(decltype(column)::name, write_placeholder); });
            });
        if constexpr (Returning) write_returning<E>(out);
    }
};

/// Writes `ON CONFLICT ("a", "b")`, or by a constraint's name; any conflict where it has no columns.
template <auto... Members, typename E>
constexpr void write_conflict(SqlWriter& out, std::type_identity<E>, const Columns<Members...>*) {
    out << " ON CONFLICT";
    if constexpr (sizeof...(Members) > 0) {
        Separator comma{out << " (", ", "};
        (comma.next().column(member_name<typename E::Model, Members>), ...);
        out << ")";
        // Then a unique index will do that leaves deleted rows aside.
        if constexpr (E::deleted_at().size > 0) write_not_deleted<E>(out << " WHERE ");
    }
}
template <typename E>
constexpr void write_conflict(SqlWriter& out, std::type_identity<E>, const Constraint* target) {
    (out << " ON CONFLICT ON CONSTRAINT ").identifier(target->name);
}

/// INSERT of whole models, as `Inserting` does it, or UPDATE of the rows that are there already.
template <typename E, typename Inserting = Insert<E, false>>
struct Save {
    template <typename Target>
    static constexpr void write(SqlWriter& out, const Target* target) {
        Inserting::write(out);
        write_conflict(out, std::type_identity<E>{}, target);
        out << " DO UPDATE SET ";
        Separator comma{out, ", "};
        const auto take = [&](std::string_view member) {
            (comma.next().column(member) << " = EXCLUDED.").column(member);
        };
        for_each_updated<E>([&](auto column) {
            if constexpr (!contains<Target, decltype(column)::pointer>)
                take(decltype(column)::name);
        });
        write_next_version<E>(comma, no_names);
        write_times<E>(comma, E::updated_at(), no_names);
        for_each_name<E>(E::deleted_at(), [&](std::string_view member) {
            comma.next().column(member) << " = NULL";
        });
        // Something has to be set for the row to be returned.
        if (comma.first()) take_one(take, target);
        write_returning<E>(out);
    }

private:
    template <auto First, auto... Rest, typename Take>
    static constexpr void take_one(Take& take, const Columns<First, Rest...>*) {
        take(member_name<typename E::Model, First>);
    }
    template <typename Take>
    static constexpr void take_one(Take& take, const Constraint*) {
        for_each_inserted<E>([&](auto column) { take(decltype(column)::name); });
    }
};

/// INSERT of a whole model, or nothing where there is such a row already.
template <typename E>
struct CreateUnlessExists {
    template <typename Target>
    static constexpr void write(SqlWriter& out, const Target* target) {
        Insert<E, false>::write(out);
        write_conflict(out, std::type_identity<E>{}, target);
        out << " DO NOTHING";
        write_returning<E>(out);
    }
};

template <typename E, typename Row = typename E::Model>
struct Select {
    template <typename... Parts>
    static constexpr void write(SqlWriter& out, const Parts*... parts) {
        write_columns<E, Row>(out << "SELECT ");
        E::write_table(out << " FROM ");
        write_where<E>(out, parts...);
        if constexpr ((is_ordering<Parts> || ...)) write_order(out, parts...);
        if constexpr ((std::same_as<Parts, Page> || ...))
            ((out << " LIMIT ").placeholder() << " OFFSET ").placeholder();
        (write_lock<Parts>(out), ...);
    }

private:
    /// PostgreSQL takes a bare name in ORDER BY for an output column's first, and those are called like
    /// members: another column's name may be among them.
    template <typename... Parts>
    static constexpr void write_order(SqlWriter& out, const Parts*... parts) {
        Separator comma{out << " ORDER BY ", ", "};
        out.qualify_columns(&E::write_table);
        (write_ordering(comma, parts), ...);
    }
    template <typename Part>
    static constexpr void write_ordering(Separator& comma, const Part* part) {
        if constexpr (is_ordering<Part>)
            Part::template write<typename E::Model>(comma.next(), part);
    }
    template <typename Part>
    static constexpr void write_lock(SqlWriter& out) {
        if constexpr (is_row_lock<Part>) Part::write(out);
    }
};

/// Whether something changes: no empty `Changes` are among the parts.
template <typename... Parts>
constexpr bool any_change([[maybe_unused]] const Parts*... parts) {
    const auto changes = []<typename Part>(const Part* part) {
        if constexpr (is_changes<Part>)
            return !part->empty();
        else
            return true;
    };
    return (changes(parts) && ...);
}

/// UPDATE by what its parts assign; without any that does, by a whole model. Where they are changes, and
/// there are none, SELECT.
template <typename E, bool Returning>
struct Update {
    template <typename... Parts>
    static constexpr void write(SqlWriter& out, const Parts*... parts) {
        if constexpr ((is_changes<Parts> || ...))
            if (!any_change(parts...)) return Select<E>::write(out, parts...);
        E::write_table(out << "UPDATE ");
        Separator comma{out << " SET ", ", "};
        if constexpr ((Assigning<Parts> || ...)) {
            const auto names = assigned_names<E>(parts...);
            write_assignments(comma, names);
            write_times<E>(comma, E::updated_at(), names);
            write_next_version<E>(comma, names);
        } else {
            write_assignments(comma, [](auto visit) {
                for_each_updated<E>(
                    [&](auto column) { visit(decltype(column)::name, write_placeholder); });
            });
            write_times<E>(comma, E::updated_at(), no_names);
            write_next_version<E>(comma, no_names);
        }
        write_where<E>(out, parts...);
        if constexpr (Returning) write_returning<E>(out);
    }
};

template <typename E>
struct Count {
    template <typename... Conditions>
    static constexpr void write(SqlWriter& out, const Conditions*... conditions) {
        E::write_table(out << "SELECT pg_catalog.count(*) FROM ");
        write_where<E>(out, conditions...);
    }
};

struct Sum {
    static constexpr std::string_view name = "sum";
};
struct Average {
    static constexpr std::string_view name = "avg";
};
struct Minimum {
    static constexpr std::string_view name = "min";
};
struct Maximum {
    static constexpr std::string_view name = "max";
};

/// One of these of a column.
template <typename E, typename Function, auto Member>
struct Aggregate {
    template <typename... Conditions>
    static constexpr void write(SqlWriter& out, const Conditions*... conditions) {
        (out << "SELECT pg_catalog." << Function::name << "(")
            .column(member_name<typename E::Model, Member>);
        E::write_table(out << ") FROM ");
        write_where<E>(out, conditions...);
    }
};

/// How many rows there are for each value of a column.
template <typename E, auto Member>
struct CountBy {
    template <typename... Conditions>
    static constexpr void write(SqlWriter& out, const Conditions*... conditions) {
        constexpr std::string_view member = member_name<typename E::Model, Member>;
        (out << "SELECT ").column(member) << ", pg_catalog.count(*) FROM ";
        E::write_table(out);
        write_where<E>(out, conditions...);
        (out << " GROUP BY ").column(member);
        (out << " ORDER BY ").column(member);
    }
};

template <typename E>
struct Exists {
    template <typename... Conditions>
    static constexpr void write(SqlWriter& out, const Conditions*... conditions) {
        E::write_table(out << "SELECT EXISTS (SELECT FROM ");
        write_where<E>(out, conditions...);
        out << ")";
    }
};

/// DELETE, or an UPDATE that says since when the rows count as deleted.
template <typename E>
struct Delete {
    template <typename... Conditions>
    static constexpr void write(SqlWriter& out, const Conditions*... conditions) {
        if constexpr (E::deleted_at().size > 0) {
            E::write_table(out << "UPDATE ");
            Separator comma{out << " SET ", ", "};
            write_times<E>(comma, E::deleted_at() + E::updated_at(), no_names);
            write_next_version<E>(comma, no_names);
        } else {
            E::write_table(out << "DELETE FROM ");
        }
        write_where<E>(out, conditions...);
    }
};

/// The name of the table alone, for messages.
template <typename E>
struct TableOnly {
    static constexpr void write(SqlWriter& out) { E::write_table(out); }
};

}  // namespace txscope::detail
