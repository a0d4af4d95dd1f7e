#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/held_part.hpp>
#include <txscope/repository/detail/refusals.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <concepts>
#include <utility>
#include <vector>

namespace txscope {

/// An order that is put together while the program runs, as a user sorts a list; empty, it says nothing.
///
/// ```cpp
/// txscope::Orderings<Project> order;
/// if (sort == "newest") order.add(descending(field<&Project::created_at>));
/// order.add(ascending(field<&Project::id>));
/// auto found = co_await projects.find_all(criteria, order, Page{.limit = 20});
/// ```
///
/// It stands wherever an ordering does, but for beside `after(row)`, which goes by orderings that are known
/// at compile time.
template <typename Model>
class Orderings {
public:
    /// Sorts by this as well, where all before it are equal.
    template <typename Ordering>
    Orderings& add(Ordering ordering) {
        if constexpr (detail::OrderingOn<Ordering, Model>)
            held_.emplace_back(std::move(ordering),
                               [](detail::SqlWriter& out, const Ordering& held) {
                                   Ordering::template write<Model>(out, &held);
                               });
        else
            detail::refuse<detail::Purpose::order, Model, Ordering>();
        return *this;
    }

    static constexpr bool fixed = false;
    template <typename M>
    static constexpr bool applies_to = std::same_as<M, Model>;

    template <typename>
    static void write(detail::SqlWriter& out, const Orderings* self) {
        if (self->held_.empty()) out << "NULL::pg_catalog.bool";
        for (bool first = true; const auto& held : self->held_) {
            if (!std::exchange(first, false)) out << ", ";
            held.write(out);
        }
    }
    void bind(Statement& statement) const {
        for (const auto& held : held_) held.bind(statement);
    }

private:
    std::vector<detail::HeldPart> held_;
};

}  // namespace txscope
