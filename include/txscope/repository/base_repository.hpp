#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/ambient_execution.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/detail/refusals.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/repository/row_lock.hpp>
#include <txscope/repository/with_deleted.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

/// Rows of one table as objects of a described struct. A repository class derives from it and says
/// which table; `Entity` lists what else it may say.
///
/// ```cpp
/// class ProjectRepository : public txscope::BaseRepository<ProjectRepository, Project> {
/// public:
///     static constexpr std::string_view table = "projects";
///     static constexpr auto generated = txscope::columns<&Project::id>;
///     using BaseRepository::BaseRepository;
///
///     auto with_status(std::string_view status) {
///         return find_all(field<&Project::status> == status);
///     }
/// };
/// ```
///
/// A row is selected by its primary key or by conditions (`criteria.hpp`), several of which must
/// all hold:
///
/// ```cpp
/// co_await projects.find(id);
/// co_await projects.find(field<&Project::name> == "txscope");
/// co_await projects.update(id, field<&Project::status> = "active");
/// co_await projects.find_all(field<&Project::status> != "archived",
///                            ascending(field<&Project::name>), Page{.limit = 20});
/// ```
///
/// **Transactions**: every call joins the ambient transaction of the coroutine that awaits it.
/// Without one it is a transaction of its own, in one round trip. A repository that was made of a
/// session is bound to that.
///
/// **Lifetime**: arguments are copied before a call returns its awaitable, which needs neither them
/// nor the repository afterwards. Repositories are cheap handles, to be copied at will.
///
/// **Errors**: a failed statement throws libpqxx's class for its SQLSTATE, which is also a
/// `SqlError`; a key or a value that the member's type cannot hold, a `ValueError`, before anything is
/// sent; a row that does not fit the struct, a `ColumnError` with the column's name. A row
/// arrives with the answer to its statement: without a scope `create` and `update` throw that
/// although the row is stored.
template <typename T, typename Model>
class BaseRepository : public ReadRepository<T, Model> {
    using Reads = ReadRepository<T, Model>;

public:
    using Reads::find;
    using Reads::find_all;
    using Reads::get;
    using Reads::stream;

    explicit BaseRepository(AsyncSessionFactory sessions)
        : BaseRepository{detail::RepositorySession{std::move(sessions)}} {
        detail::check_repository<BaseRepository, T, Model>();
    }

    /// For calls that are always made in this session, whatever is ambient:
    ///
    /// ```cpp
    /// co_await sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
    ///     co_await ProjectRepository{session}.create(project);
    /// });
    /// ```
    ///
    /// It ends with its scope, as the session does: `ScopeEnded`.
    explicit BaseRepository(const Session& session)
        : BaseRepository{detail::RepositorySession{session}} {
        detail::check_repository<BaseRepository, T, Model>();
    }

    /// Inserts every column that the database does not generate; the row as it was stored.
    asio::awaitable<Model> create(const Model& model) const {
        return answer(detail::compose_insert<Mapping, true>(model), &read_stored);
    }

    /// Inserts just these columns, the others get the table's defaults; the row as it was stored. Also
    /// with assignments that were put together before (`changes.hpp`).
    template <typename... Assignments>
    asio::awaitable<Model> create(const Assignments&... assignments) const
        requires detail::AssignmentsOf<Model, Assignments...> ||
                 detail::ChangesAlone<Model, Assignments...>
    {
        return answer(detail::compose<Mapping, detail::Insert<Mapping, true>>(assignments...),
                      &read_stored);
    }

    /// Inserts all models of a range by one statement, in one round trip, however many they are (up to
    /// 1 GB); the rows as they were stored, in the same order. Every column that the database does not
    /// generate is taken from them. Without any, nothing is sent.
    ///
    /// A column's values go as an array of its type. The server refuses one of a type that is an array
    /// itself, unless the member is a `std::vector` or wraps one, and one of a type whose arrays have no
    /// commas (`box`, PostGIS's `geometry`), unless `SqlValue<T>::delimiter` says so (`core/value.hpp`).
    template <detail::ModelsOf<Model> Models = std::vector<Model>>
    asio::awaitable<std::vector<Model>> create_all(Models&& models) const {
        return answer_any(detail::compose_insert_all<Mapping, true>(models));
    }

    /// Inserts every column that the database does not generate, or updates the row that has the same
    /// key; the row as it is now. Compiles where the key is not generated. It is no update of what was
    /// read: the row is updated in whatever `version` it is.
    asio::awaitable<Model> save(const Model& model) const {
        return answer(detail::compose_upsert<Mapping, detail::Save<Mapping>>(model, Mapping::key()),
                      &read_stored);
    }
    /// The same with the row that is the same in the columns of another unique constraint,
    /// `save(project, columns<&Project::name>)`, or by the constraint's name, which is not known at
    /// compile time: `save(project, Constraint{"one_project_a_name"})`.
    template <detail::ConflictTargetOn<Model> Target>
    asio::awaitable<Model> save(const Model& model, const Target& target) const {
        return answer(detail::compose_upsert<Mapping, detail::Save<Mapping>>(model, target),
                      &read_stored);
    }

    /// The same with all models of a range, by one statement, in one round trip: the rows as they are now,
    /// in the same order. No two of them may be the same row (21000). Without any, nothing is sent.
    template <detail::ModelsOf<Model> Models = std::vector<Model>>
    asio::awaitable<std::vector<Model>> save_all(Models&& models) const {
        return answer_any(
            detail::compose_upsert<Mapping, detail::SaveAll<Mapping>>(models, Mapping::key()));
    }
    template <detail::ConflictTargetOn<Model> Target,
              detail::ModelsOf<Model> Models = std::vector<Model>>
    asio::awaitable<std::vector<Model>> save_all(Models&& models, const Target& target) const {
        return answer_any(
            detail::compose_upsert<Mapping, detail::SaveAll<Mapping>>(models, target));
    }

    /// Inserts every column that the database does not generate: the row as it was stored, or nothing
    /// when there is one already that a unique constraint, or the one meant by `target`, would not
    /// have beside it.
    asio::awaitable<std::optional<Model>> create_unless_exists(const Model& model) const {
        return create_unless_exists(model, columns<>);
    }
    template <detail::ConflictTargetOn<Model> Target>
    asio::awaitable<std::optional<Model>> create_unless_exists(const Model& model,
                                                               const Target& target) const {
        return answer(
            detail::compose_upsert<Mapping, detail::CreateUnlessExists<Mapping>>(model, target),
            &read_one_or_none);
    }

    /// Inserts behind: sent with the next awaited statement of the ambient transaction, or with its
    /// COMMIT, in the same round trip. That is where a violated constraint is thrown. In a scope
    /// without a transaction (`session_scope`) it commits with that statement.
    ///
    /// A call that is not awaited knows the scope by the code that is running: what a body spawns on
    /// another executor (`co_spawn(io, …)`) is started in the middle of it, and so adds to the body's
    /// transaction until it first waits. Let such a task begin with a scope or an awaited call.
    /// @throws PropagationError in no scope of the factory: nothing would follow that sends it
    void add(const Model& model) const {
        detail::enqueue_ambient(session_, detail::compose_insert<Mapping, false>(model));
    }
    template <typename... Assignments>
    void add(const Assignments&... assignments) const
        requires detail::AssignmentsOf<Model, Assignments...>
    {
        detail::enqueue_ambient(
            session_, detail::compose<Mapping, detail::Insert<Mapping, false>>(assignments...));
    }

    /// The same with all models of a range, by one statement.
    template <detail::ModelsOf<Model> Models = std::vector<Model>>
    void add_all(Models&& models) const {
        auto statement = detail::compose_insert_all<Mapping, false>(models);
        if (statement) detail::enqueue_ambient(session_, *std::move(statement));
    }

    /// The same as `get`, `find` and `find_all`, with a lock on the rows as the last argument
    /// (`row_lock.hpp`).
    /// @throws PropagationError in no scope of the factory
    template <typename... Selector>
    asio::awaitable<Model> get(const Selector&... selector) const
        requires detail::LockedSelectorOf<Model, Selector...>
    {
        return answer_in_scope(detail::compose_select_one<Mapping>(selector...), &read_one);
    }
    template <typename... Selector>
    asio::awaitable<std::optional<Model>> find(const Selector&... selector) const
        requires detail::LockedSelectorOf<Model, Selector...>
    {
        return answer_in_scope(detail::compose_select_one<Mapping>(selector...), &read_one_or_none);
    }
    template <typename... Clauses>
    asio::awaitable<std::vector<Model>> find_all(const Clauses&... clauses) const
        requires detail::LockedClausesOf<Model, Clauses...>
    {
        return answer_all(detail::compose_select<Mapping, detail::Select<Mapping>>(clauses...),
                          detail::Where::in_scope);
    }

    template <std::ranges::input_range Keys, typename... Clauses>
    asio::awaitable<std::vector<Model>> find_all(Keys&& keys, const Clauses&... clauses) const
        requires detail::LockedClausesOf<Model, Clauses...>
    {
        detail::check_keys<Keys>(Mapping::key());
        if constexpr (detail::are_keys<Keys, decltype(Mapping::key())>)
            return answer_any(detail::compose_select_keys<Mapping>(keys, clauses...),
                              detail::Where::in_scope);
        return {};
    }

    /// The same as `stream`, with a lock ahead of what is called with each row: the rows of a batch are
    /// locked when the server makes them.
    template <typename... Args>
    asio::awaitable<std::uint64_t> stream(Args&&... clauses_lock_and_on_row) const
        requires detail::LockedStreamOf<Model, Args...>
    {
        detail::check_on_row<StreamedRows, Args...>();
        return stream_rows(std::forward<Args>(clauses_lock_and_on_row)...);
    }

    /// Changes columns of the row with this key: `update(id, field<&Project::name> = "txscope")`, or
    /// by changes that were put together before (`changes.hpp`). Without any of those, the row is read.
    /// The row as it is now, or nothing when there is none.
    template <typename... Arguments>
    asio::awaitable<std::optional<Model>> update(const Arguments&... arguments) const
        requires detail::KeyAndAssignmentsOf<Model, Arguments...> ||
                 detail::KeyAndChangesOf<Model, Arguments...>
    {
        return answer(detail::compose_for<Mapping, detail::Update<Mapping, true>>(arguments...),
                      &read_one_or_none);
    }

    /// Writes the columns in which `after` differs from `before` to the row with their key; those that
    /// others have changed meanwhile stay. As above.
    /// @throws StaleEntity where the entity has a `version`, and the row another one than `before`
    /// @throws pqxx::argument_error where their keys differ: a key is changed by an assignment
    asio::awaitable<std::optional<Model>> update(const Model& before, const Model& after) const {
        return answer(detail::compose_update<Mapping>(before, after), &read_updated);
    }

    /// Writes every column that the database does not generate to the row with the model's key. The
    /// row as it is now, or nothing when there is none. Compiles where there is such a column
    /// beside the key.
    /// @throws StaleEntity where the entity has a `version`, and the row another one than the model,
    ///     or none
    asio::awaitable<std::optional<Model>> update(const Model& model) const {
        return answer(detail::compose_update<Mapping>(model), &read_updated);
    }

    /// Changes columns of all rows for which the conditions hold; how many they were.
    template <typename... Arguments>
    asio::awaitable<std::int64_t> update(const Arguments&... arguments) const
        requires detail::ConditionsAndAssignmentsOf<Model, Arguments...>
    {
        return answer(detail::compose<Mapping, detail::Update<Mapping, false>>(arguments...),
                      &read_affected);
    }

    /// The same with changes that were put together before. Without any, nothing is sent.
    template <typename... Arguments>
    asio::awaitable<std::int64_t> update(const Arguments&... arguments) const
        requires detail::ConditionsAndChangesOf<Model, Arguments...>
    {
        if (!detail::any_change(&arguments...)) return no_rows();
        return answer(detail::compose<Mapping, detail::Update<Mapping, false>>(arguments...),
                      &read_affected);
    }

    /// Deletes the row with this key; whether there was one. A repository with a `deleted_at` keeps it,
    /// and says there since when it counts as deleted (`with_deleted.hpp`).
    template <typename... Key>
    asio::awaitable<bool> remove(const Key&... key) const
        requires detail::KeyOf<Model, Key...>
    {
        return answer(detail::compose_for<Mapping, detail::Delete<Mapping>>(key...),
                      &read_whether_affected);
    }

    /// Deletes the row with the model's key; whether there was one.
    /// @throws StaleEntity as by `update`
    asio::awaitable<bool> remove(const Model& model) const {
        return answer(detail::compose_remove<Mapping>(model), &read_removed);
    }

    /// Deletes all rows for which the conditions hold; how many they were.
    template <typename... Conditions>
    asio::awaitable<std::int64_t> remove(const Conditions&... conditions) const
        requires detail::ConditionsOf<Model, Conditions...>
    {
        return answer(detail::compose<Mapping, detail::Delete<Mapping>>(conditions...),
                      &read_affected);
    }

    /// The same table with the rows that count as deleted, where the repository has `deleted_at`.
    auto with_deleted() const {
        detail::check_deletes_softly<Mapping>();
        return WithDeleted<txscope::BaseRepository, T, Model>{session_};
    }

    /// Makes an end of the deletion of the row with this key. The row as it is now, or nothing when
    /// there is no such row that was deleted.
    template <typename... Key>
    asio::awaitable<std::optional<Model>> restore(const Key&... key) const
        requires detail::KeyOf<Model, Key...>
    {
        return answer(detail::compose_restore<All, true>(Mapping::deleted_at(), key...),
                      &read_one_or_none);
    }

    /// The same with all rows that were deleted and for which the conditions hold; how many they were.
    template <typename... Conditions>
    asio::awaitable<std::int64_t> restore(const Conditions&... conditions) const
        requires detail::ConditionsOf<Model, Conditions...>
    {
        return answer(detail::compose_restore<All, false>(Mapping::deleted_at(), conditions...),
                      &read_affected);
    }

    // Whatever else: what derives from a model, or why it does not compile.
    template <typename... Arguments>
    asio::awaitable<Model> create(const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 1, Arguments...>)
            return create(static_cast<const Model&>(arguments)...);
        else
            detail::refuse<detail::Purpose::insert, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    void add(const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 1, Arguments...>)
            add(static_cast<const Model&>(arguments)...);
        else
            detail::refuse<detail::Purpose::insert, Model, Arguments...>();
    }
    template <typename... Arguments>
    asio::awaitable<std::vector<Model>> create_all(const Arguments&...) const {
        detail::refuse<detail::Purpose::insert_all, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    void add_all(const Arguments&...) const {
        detail::refuse<detail::Purpose::insert_all, Model, Arguments...>();
    }
    template <typename... Arguments>
    asio::awaitable<Model> save(const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 1, Arguments...>)
            return save(static_cast<const Model&>(arguments)...);
        else
            detail::refuse<detail::Purpose::save, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    asio::awaitable<std::vector<Model>> save_all(const Arguments&...) const {
        detail::refuse<detail::Purpose::save, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    asio::awaitable<std::optional<Model>> create_unless_exists(
        const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 1, Arguments...>)
            return create_unless_exists(static_cast<const Model&>(arguments)...);
        else
            detail::refuse<detail::Purpose::save, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    auto update(const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 2, Arguments...>) {
            return update(static_cast<const Model&>(arguments)...);
        } else {
            detail::refuse<detail::Purpose::update, Model, Arguments...>();
            return detail::RefusedUpdate<Model, (detail::KeyValueFor<Arguments, Model> || ...)>{};
        }
    }
    template <typename... Arguments>
    asio::awaitable<bool> remove(const Arguments&... arguments) const {
        if constexpr (detail::are_models<Model, 1, Arguments...>)
            return remove(static_cast<const Model&>(arguments)...);
        else
            detail::refuse<detail::Purpose::select_row, Model, Arguments...>();
        return {};
    }
    template <typename... Arguments>
    auto restore(const Arguments&...) const {
        detail::refuse<detail::Purpose::select_row, Model, Arguments...>();
        return asio::awaitable<std::optional<Model>>{};
    }

protected:
    explicit BaseRepository(detail::RepositorySession session) : Reads{std::move(session)} {}

private:
    using Reads::answer;
    using Reads::answer_all;
    using Reads::answer_any;
    using Reads::read_one;
    using Reads::read_one_or_none;
    using Reads::read_stored;
    using Reads::session_;
    using Reads::stream_rows;
    using typename Reads::Mapping;
    using typename Reads::StreamedRows;
    using All = Entity<WithDeleted<txscope::BaseRepository, T, Model>, Model>;  // deleted ones, too

    template <typename Answer>
    asio::awaitable<Answer> answer_in_scope(Statement statement,
                                            Answer (*read)(const Result&)) const {
        return detail::execute_ambient(session_, std::move(statement), read,
                                       detail::Where::in_scope);
    }

    static void check_current(bool found) {
        if (Mapping::version().size > 0 && !found) throw StaleEntity{detail::table_text<Mapping>()};
    }
    static std::optional<Model> read_updated(const Result& result) {
        check_current(!result.empty());
        return read_one_or_none(result);
    }
    static bool read_removed(const Result& result) {
        check_current(result.affected_rows() > 0);
        return read_whether_affected(result);
    }
    static std::int64_t read_affected(const Result& result) {
        return static_cast<std::int64_t>(result.affected_rows());
    }
    static asio::awaitable<std::int64_t> no_rows() { co_return 0; }
    static bool read_whether_affected(const Result& result) { return result.affected_rows() > 0; }
};

}  // namespace txscope
