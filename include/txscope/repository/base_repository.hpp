#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/ambient_execution.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/row_lock.hpp>
#include <txscope/session/async_session_factory.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace asio = boost::asio;

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
/// Without one it is a transaction of its own, in one round trip.
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
class BaseRepository {
public:
    explicit BaseRepository(AsyncSessionFactory sessions) : sessions_{std::move(sessions)} {
        static_assert(std::is_base_of_v<BaseRepository, T>,
                      "a repository derives from BaseRepository<itself, its model>");
    }

    /// Inserts every column that the database does not generate; the row as it was stored.
    asio::awaitable<Model> create(const Model& model) const {
        return answer(detail::compose_insert<Mapping, true>(model), &read_stored);
    }

    /// Inserts just these columns, the others get the table's defaults; the row as it was stored.
    template <typename... Assignments>
    asio::awaitable<Model> create(const Assignments&... assignments) const
        requires detail::AssignmentsOf<Model, Assignments...>
    {
        return answer(compose<detail::Insert<Mapping, true>>(assignments...), &read_stored);
    }

    /// The same with assignments that were put together before (`changes.hpp`).
    template <std::same_as<Changes<Model>> Assignments>
    asio::awaitable<Model> create(const Assignments& assignments) const {
        return answer(compose<detail::Insert<Mapping, true>>(assignments), &read_stored);
    }

    /// Inserts all models of a range by one statement, in one round trip, however many they are (up to
    /// 1 GB); the rows as they were stored, in the same order. Every column that the database does not
    /// generate is taken from them. Without any, nothing is sent.
    template <detail::ModelsOf<Model> Models>
    asio::awaitable<std::vector<Model>> create_all(Models&& models) const {
        auto statement = detail::compose_insert_all<Mapping, true>(models);
        return statement ? answer(*std::move(statement), &read_all) : no_models();
    }

    /// Inserts every column that the database does not generate, or updates the row that has the same
    /// key; the row as it is now. Compiles where the key is not generated.
    asio::awaitable<Model> save(const Model& model) const { return save(model, Mapping::key()); }
    /// The same with the row that is the same in the columns of another unique constraint,
    /// `save(project, columns<&Project::name>)`, or by the constraint's name, which is not known at
    /// compile time: `save(project, Constraint{"one_project_a_name"})`.
    template <detail::ConflictTargetOn<Model> Target>
    asio::awaitable<Model> save(const Model& model, const Target& target) const {
        return answer(detail::compose_upsert<Mapping, detail::Save<Mapping>>(model, target),
                      &read_stored);
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
        detail::enqueue_ambient(sessions_, detail::compose_insert<Mapping, false>(model));
    }
    template <typename... Assignments>
    void add(const Assignments&... assignments) const
        requires detail::AssignmentsOf<Model, Assignments...>
    {
        detail::enqueue_ambient(sessions_, compose<detail::Insert<Mapping, false>>(assignments...));
    }

    /// The same with all models of a range, by one statement.
    template <detail::ModelsOf<Model> Models>
    void add_all(Models&& models) const {
        auto statement = detail::compose_insert_all<Mapping, false>(models);
        if (statement) detail::enqueue_ambient(sessions_, *std::move(statement));
    }

    /// The row.
    /// @throws NotFound when there is none, `pqxx::unexpected_rows` when there are several.
    template <typename... Selector>
    asio::awaitable<Model> get(const Selector&... selector) const
        requires detail::SelectorOf<Model, Selector...>
    {
        return answer(detail::compose_select_one<Mapping>(selector...), &read_one);
    }

    /// The row, if there is one.
    /// @throws pqxx::unexpected_rows when there are several.
    template <typename... Selector>
    asio::awaitable<std::optional<Model>> find(const Selector&... selector) const
        requires detail::SelectorOf<Model, Selector...>
    {
        return answer(detail::compose_select_one<Mapping>(selector...), &read_one_or_none);
    }

    /// The rows for which all conditions hold (without conditions, every row), in the order of the
    /// orderings, the first of which weighs most; and of these, a page.
    template <typename... Clauses>
    asio::awaitable<std::vector<Model>> find_all(const Clauses&... clauses) const
        requires detail::ClausesOf<Model, Clauses...>
    {
        return answer(detail::compose_select<Mapping, detail::Select<Mapping>>(clauses...),
                      &read_all);
    }

    /// The same, by a page whose `limit` says how many, with whether there are more behind.
    template <typename... Clauses>
    asio::awaitable<PageOf<Model>> find_page(const Clauses&... clauses) const
        requires detail::ClausesOf<Model, Clauses...> && (detail::pages_among<Clauses...> == 1)
    {
        const auto limit = detail::limit_of(clauses...);
        return page_of(find_all(detail::with_limit(limit + 1, clauses)...), limit);
    }

    /// The same as `find_all`, of those columns alone whose members `Row` describes, too.
    template <typename Row, typename... Clauses>
    asio::awaitable<std::vector<Row>> select(const Clauses&... clauses) const
        requires detail::ClausesOf<Model, Clauses...>
    {
        static_assert(detail::is_part_of<Row, Model>,
                      "txscope: each member of the rows is called like one of the model");
        return answer(
            detail::compose_select<Mapping, detail::Select<Mapping, Row>>(clauses...),
            +[](const Result& result) { return result.as<Row>(); });
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
        return answer_in_scope(detail::compose_select<Mapping, detail::Select<Mapping>>(clauses...),
                               &read_all);
    }

    /// How many rows there are for which all conditions hold.
    template <detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::int64_t> count(const Conditions&... conditions) const {
        return answer(compose<detail::Count<Mapping>>(conditions...), &read_value<std::int64_t>);
    }

    /// The sum of a column over all rows for which the conditions hold; nothing where there is none, or
    /// NULL only. Integers are added up in 64 bits.
    /// @throws ColumnError for a sum that has no room there
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::SumOf<Member>>> sum(
        Field<Member>, const Conditions&... conditions) const {
        return aggregate<detail::Sum, Member, detail::SumOf<Member>>(conditions...);
    }
    /// The arithmetic mean, likewise.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<double>> average(Field<Member>,
                                                   const Conditions&... conditions) const {
        return aggregate<detail::Average, Member, double>(conditions...);
    }
    /// The smallest value of a column, likewise.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::column_type<Member>>> min(
        Field<Member>, const Conditions&... conditions) const {
        return aggregate<detail::Minimum, Member, detail::column_type<Member>>(conditions...);
    }
    /// The largest.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::column_type<Member>>> max(
        Field<Member>, const Conditions&... conditions) const {
        return aggregate<detail::Maximum, Member, detail::column_type<Member>>(conditions...);
    }
    /// How many rows there are for each value of a column, in the values' order.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::vector<std::pair<detail::member_type<Member>, std::int64_t>>> count_by(
        Field<Member>, const Conditions&... conditions) const {
        return answer(compose<detail::CountBy<Mapping, Member>>(conditions...),
                      &read_pairs<detail::member_type<Member>>);
    }

    /// Whether there is such a row.
    template <typename... Selector>
    asio::awaitable<bool> exists(const Selector&... selector) const
        requires detail::SelectorOf<Model, Selector...>
    {
        return answer(compose_for<detail::Exists<Mapping>>(selector...), &read_value<bool>);
    }

    /// Changes columns of the row with this key: `update(id, field<&Project::name> = "txscope")`.
    /// The row as it is now, or nothing when there is none.
    template <typename... Arguments>
    asio::awaitable<std::optional<Model>> update(const Arguments&... arguments) const
        requires detail::KeyAndAssignmentsOf<Model, Arguments...>
    {
        return answer(compose_for<detail::Update<Mapping, true>>(arguments...), &read_one_or_none);
    }

    /// The same with changes that were put together before (`changes.hpp`). Without any, the row is
    /// read.
    template <typename... Arguments>
    asio::awaitable<std::optional<Model>> update(const Arguments&... arguments) const
        requires detail::KeyAndChangesOf<Model, Arguments...>
    {
        return answer(detail::any_change(arguments...)
                          ? compose_for<detail::Update<Mapping, true>>(arguments...)
                          : compose_for<detail::Select<Mapping>>(arguments...),
                      &read_one_or_none);
    }

    /// Writes the columns in which `after` differs from `before` to the row with their key; those that
    /// others have changed meanwhile stay. As above.
    /// @throws StaleEntity where the entity has a `version`, and the row another one than `before`
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
        return answer(compose<detail::Update<Mapping, false>>(arguments...), &read_affected);
    }

    /// The same with changes that were put together before. Without any, nothing is sent.
    template <typename... Arguments>
    asio::awaitable<std::int64_t> update(const Arguments&... arguments) const
        requires detail::ConditionsAndChangesOf<Model, Arguments...>
    {
        if (!detail::any_change(arguments...)) return no_rows();
        return answer(compose<detail::Update<Mapping, false>>(arguments...), &read_affected);
    }

    /// Deletes the row with this key; whether there was one.
    template <typename... Key>
    asio::awaitable<bool> remove(const Key&... key) const
        requires detail::KeyOf<Model, Key...>
    {
        return answer(compose_for<detail::Delete<Mapping>>(key...), &read_whether_affected);
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
        return answer(compose<detail::Delete<Mapping>>(conditions...), &read_affected);
    }

protected:
    /// SQL of the derived class's own; in the ambient transaction, like everything else.
    ///
    /// ```cpp
    /// asio::awaitable<Result> rename_all(std::string_view prefix) {
    ///     return query("UPDATE projects SET name = $1 || name", prefix);
    /// }
    /// ```
    template <typename... Values>
    asio::awaitable<Result> query(std::string_view sql, const Values&... values) const {
        return query(Statement{sql, values...});
    }
    asio::awaitable<Result> query(Statement statement) const {
        return answer(std::move(statement), &read_result);
    }

    const AsyncSessionFactory& sessions() const { return sessions_; }

private:
    // T is incomplete while this class is; so whatever looks into T stands in a function body.
    using Mapping = Entity<T, Model>;

    template <typename Builder, typename... Parts>
    static Statement compose(const Parts&... parts) {
        return detail::compose<Mapping, Builder>(parts...);
    }
    template <typename Builder, typename... Arguments>
    static Statement compose_for(const Arguments&... arguments) {
        return detail::compose_for<Mapping, Builder>(arguments...);
    }

    template <typename Answer>
    asio::awaitable<Answer> answer(Statement statement, Answer (*read)(const Result&)) const {
        return detail::execute_ambient(sessions_, std::move(statement), read);
    }
    template <typename Answer>
    asio::awaitable<Answer> answer_in_scope(Statement statement,
                                            Answer (*read)(const Result&)) const {
        return detail::execute_ambient(sessions_, std::move(statement), read,
                                       detail::Where::in_scope);
    }

    template <typename Function, auto Member, typename Value, typename... Conditions>
    asio::awaitable<std::optional<Value>> aggregate(const Conditions&... conditions) const {
        return answer(compose<detail::Aggregate<Mapping, Function, Member>>(conditions...),
                      &read_value<std::optional<Value>>);
    }
    static asio::awaitable<PageOf<Model>> page_of(asio::awaitable<std::vector<Model>> found,
                                                  std::int64_t limit) {
        PageOf<Model> page;
        page.rows = co_await std::move(found);
        page.more = std::cmp_greater(page.rows.size(), limit);
        if (page.more) page.rows.pop_back();
        co_return page;
    }
    template <typename Value>
    static std::vector<std::pair<Value, std::int64_t>> read_pairs(const Result& result) {
        std::vector<std::pair<Value, std::int64_t>> pairs;
        for (const auto& [value, count] : result.rows<Value, std::int64_t>())
            pairs.emplace_back(value, count);
        return pairs;
    }

    static Result read_result(const Result& result) { return result; }
    static Model read_stored(const Result& result) { return result.one().as<Model>(); }
    static Model read_one(const Result& result) {
        if (result.empty()) throw NotFound{detail::table_text<Mapping>()};
        return read_stored(result);
    }
    static std::optional<Model> read_one_or_none(const Result& result) {
        const std::optional<Row> row = result.one_or_none();
        return row ? std::optional<Model>{row->as<Model>()} : std::nullopt;
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
    static std::vector<Model> read_all(const Result& result) { return result.as<Model>(); }
    template <typename Value>
    static Value read_value(const Result& result) {
        return result.one().get<Value>(0);
    }
    static std::int64_t read_affected(const Result& result) {
        return static_cast<std::int64_t>(result.affected_rows());
    }
    static asio::awaitable<std::int64_t> no_rows() { co_return 0; }
    static asio::awaitable<std::vector<Model>> no_models() { co_return std::vector<Model>{}; }
    static bool read_whether_affected(const Result& result) { return result.affected_rows() > 0; }

    AsyncSessionFactory sessions_;
};

}  // namespace txscope
