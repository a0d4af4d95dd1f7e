#pragma once

#include <txscope/repository/detail/ambient_execution.hpp>
#include <txscope/repository/entity.hpp>

#include <utility>

namespace txscope {

/// The table of a repository whose rows are deleted softly, without that: reads and updates find
/// deleted rows, too, `Entity::deleted_at` is a column like others, and `remove` deletes for good. What
/// `with_deleted()` of a repository gives.
///
/// ```cpp
/// auto all = co_await projects.with_deleted().find_all();
/// co_await projects.with_deleted().remove(field<&Project::deleted_at> < a_year_ago);
/// ```
///
/// @tparam Base `ReadRepository` or `BaseRepository`, as of `T`
template <template <typename, typename> typename Base, typename T, typename Model>
class WithDeleted : public Base<WithDeleted<Base, T, Model>, Model> {
public:
    explicit WithDeleted(detail::RepositorySession session)
        : Base<WithDeleted, Model>{std::move(session)} {}
};

template <template <typename, typename> typename Base, typename T, typename Model>
struct Entity<WithDeleted<Base, T, Model>, Model> : Entity<T, Model> {
    static constexpr auto deleted_at() { return columns<>; }
};

namespace detail {

template <typename E>
constexpr void check_deletes_softly() {
    constexpr bool softly = E::deleted_at().size > 0;
    static_assert(softly,
                  "txscope: nothing is deleted softly here: the repository says no `deleted_at`");
}

}  // namespace detail

}  // namespace txscope
