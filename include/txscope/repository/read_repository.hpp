#pragma once

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/collected_rows.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/ambient_execution.hpp>
#include <txscope/repository/detail/arguments.hpp>
#include <txscope/repository/detail/compose.hpp>
#include <txscope/repository/detail/keys.hpp>
#include <txscope/repository/detail/refusals.hpp>
#include <txscope/repository/detail/taken_rows.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/with_deleted.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/session.hpp>
#include <txscope/transaction/stream.hpp>

#include <boost/asio/awaitable.hpp>
#include <pqxx/except>

#include <cstdint>
#include <exception>
#include <optional>
#include <ranges>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace asio = boost::asio;

template <typename T, typename Model>
class BaseRepository;

namespace detail {

/// What a repository that reads has in the place of a function that writes.
template <typename Model>
struct RefusedWrite {
    struct Answer : boost::asio::awaitable<Model> {};
    template <typename... Ts>
    Answer operator()(const Ts&...) const {
        static_assert(
            never<Ts...>,
            "txscope: a ReadRepository, as a ReadScope hands out, only reads: what writes is "
            "a BaseRepository, in a TransactionScope");
        return {};
    }
};
template <typename Model>
struct RefusedWrites {
    static constexpr RefusedWrite<Model> create{}, create_all{}, save{}, save_all{},
        create_unless_exists{}, add{}, add_all{}, update{}, remove{}, restore{};
};

}  // namespace detail

/// The half of `BaseRepository` that reads: all of it for who derives from this.
///
/// ```cpp
/// class ProjectReader : public txscope::ReadRepository<ProjectReader, Project> {
/// public:
///     static constexpr std::string_view table = "projects";
///     using ReadRepository::ReadRepository;
///
///     auto with_status(std::string_view status) const {
///         return find_all(field<&Project::status> == status);
///     }
/// };
/// ```
template <typename T, typename Model>
class ReadRepository : public detail::RefusedWrites<Model>, detail::RefusedReads<Model> {
    using Refused = detail::RefusedReads<Model>;

public:
    using Refused::average;
    using Refused::count;
    using Refused::count_by;
    using Refused::exists;
    using Refused::find;
    using Refused::find_all;
    using Refused::find_by;
    using Refused::find_page;
    using Refused::get;
    using Refused::max;
    using Refused::min;
    using Refused::select;
    using Refused::sum;

    explicit ReadRepository(AsyncSessionFactory sessions)
        : ReadRepository{detail::RepositorySession{std::move(sessions)}} {
        detail::check_repository<ReadRepository, T, Model>();
    }

    /// For calls that are always made in this session, whatever is ambient. It ends with its scope, as
    /// the session does: `ScopeEnded`.
    explicit ReadRepository(const Session& session)
        : ReadRepository{detail::RepositorySession{session}} {
        detail::check_repository<ReadRepository, T, Model>();
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
        return answer_all(detail::compose_select<Mapping, detail::Select<Mapping>>(clauses...));
    }

    /// The same rows one after another, in constant memory over any number of them, and at the pace of
    /// the last argument, which is called with each: see `Session::stream`. How many there were.
    ///
    /// ```cpp
    /// co_await projects.stream(field<&Project::status> == "draft", ascending(field<&Project::id>),
    ///                          [&](Project project) -> asio::awaitable<void> { ... });
    /// ```
    ///
    /// Without an ambient transaction it has one of its own, which is also that of what is called.
    template <typename... Args>
    asio::awaitable<std::uint64_t> stream(Args&&... clauses_and_on_row) const {
        detail::check_on_row<StreamedRows, Args...>();
        if constexpr (detail::StreamedOf<Model, Args...>)
            return stream_rows(std::forward<Args>(clauses_and_on_row)...);
        else if constexpr (detail::end_with_on_row<StreamedRows, Args...>)
            detail::refuse<detail::Purpose::select_rows, Model, std::remove_cvref_t<Args>...>();
        return {};
    }

    /// Of the rows with these keys, which are any range, those for which all conditions hold; by one
    /// statement, whose text does not depend on their number. Without a key, nothing is sent.
    ///
    /// ```cpp
    /// auto found = co_await projects.find_all(ids, ascending(field<&Project::name>));
    /// auto settings_of = co_await settings.find_all(std::vector{std::tuple{owner, "colour"}});
    /// ```
    ///
    /// Each row comes once, however often its key is given, and a key without a row is passed over.
    /// The order is that of the orderings, not that of the keys. A key of several columns is a tuple or
    /// a pair.
    template <std::ranges::input_range Keys, typename... Clauses>
    asio::awaitable<std::vector<Model>> find_all(Keys&& keys, const Clauses&... clauses) const
        requires detail::ClausesOf<Model, Clauses...>
    {
        detail::check_keys<Keys>(Mapping::key());
        if constexpr (detail::are_keys<Keys, decltype(Mapping::key())>)
            return answer_any(detail::compose_select_keys<Mapping>(keys, clauses...));
        return {};
    }

    /// The rows that have one of these values in a column, grouped by it, in one round trip: the
    /// children of any number of parents. Each value has a group, which may be empty, so that `at`
    /// finds that; in a group the rows are in the order of the orderings. Without a value, nothing is
    /// sent. A row is in the group of the value that it has: of `citext` and `char(n)`, PostgreSQL also
    /// finds what is another value here.
    ///
    /// ```cpp
    /// auto found = co_await projects.find_all(field<&Project::status> == "active");
    /// auto flows = co_await workflows.find_by(field<&Workflow::project_id>,
    ///                                         found | std::views::transform(&Project::id));
    /// for (const Project& project : found) show(project, flows.at(project.id));
    /// ```
    template <auto Member, detail::OperandsFor<Member> Values, typename... Clauses>
    asio::awaitable<detail::Groups<Member, Model>> find_by(Field<Member>, Values&& values,
                                                           const Clauses&... clauses) const
        requires detail::ColumnOf<Model, Member> && detail::UnpagedClausesOf<Model, Clauses...>
    {
        constexpr bool sorted = detail::HasOrder<detail::column_type<Member>>;
        static_assert(sorted,
                      "txscope: find_by sorts its groups, and values of this member's type have no "
                      "operator <");
        if constexpr (sorted) {
            detail::Groups<Member, Model> groups;
            for (auto&& value : values) groups[detail::keep_operand<Member>(value)];
            auto statement =
                detail::compose_select_among<Mapping, Member>(std::views::keys(groups), clauses...);
            return answer_taken(std::move(statement),
                                detail::TakeGroups<Member, Model>{std::move(groups)});
        } else {
            return {};
        }
    }

    /// The same as `find_all`, by a page whose `limit` says how many, with whether there are more behind.
    template <typename... Clauses>
    asio::awaitable<PageOf<Model>> find_page(const Clauses&... clauses) const
        requires detail::ClausesOf<Model, Clauses...> && (detail::pages_among<Clauses...> == 1)
    {
        const auto limit = detail::limit_of(clauses...);
        return answer_taken(detail::compose_select<Mapping, detail::Select<Mapping>>(
                                detail::with_limit(limit + 1, clauses)...),
                            detail::TakePage<Model>{limit});
    }

    /// The same as `find_all`, of those columns alone whose members `Row` describes, too.
    template <typename Row, typename... Clauses>
    asio::awaitable<std::vector<Row>> select(const Clauses&... clauses) const
        requires detail::is_part_of<Row, Model> && detail::ClausesOf<Model, Clauses...>
    {
        static_cast<void>(&detail::named_projection<Mapping, Row>);
        return answer_all<Row>(
            detail::compose_select<Mapping, detail::Select<Mapping, Row>>(clauses...));
    }

    /// How many rows there are for which all conditions hold.
    template <detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::int64_t> count(const Conditions&... conditions) const {
        return answer(detail::compose<Mapping, detail::Count<Mapping>>(conditions...),
                      &read_value<std::int64_t>);
    }

    /// The sum of a column over all rows for which the conditions hold; nothing where there is none, or
    /// NULL only. Integers are added up in 64 bits.
    /// @throws ColumnError for a sum that has no room there
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::SumOf<Member>>> sum(Field<Member>,
                                                              const Conditions&... conditions) const
        requires detail::ColumnOf<Model, Member>
    {
        static_assert(detail::may_hold_numbers<detail::column_type<Member>>,
                      "txscope: numbers and intervals are added up, and this column has none");
        return aggregate<detail::Sum, Member, detail::SumOf<Member>>(conditions...);
    }
    /// The arithmetic mean of numbers, likewise.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<double>> average(Field<Member>,
                                                   const Conditions&... conditions) const
        requires detail::ColumnOf<Model, Member>
    {
        static_assert(
            detail::has_mean<detail::column_type<Member>>,
            "txscope: the average is one of numbers: of others it is said by query(), with "
            "avg() in its SQL");
        return aggregate<detail::Average, Member, double>(conditions...);
    }
    /// The smallest value of a column, likewise.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::column_type<Member>>> min(
        Field<Member>, const Conditions&... conditions) const
        requires detail::ColumnOf<Model, Member>
    {
        return aggregate<detail::Minimum, Member, detail::column_type<Member>>(conditions...);
    }
    /// The largest.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::optional<detail::column_type<Member>>> max(
        Field<Member>, const Conditions&... conditions) const
        requires detail::ColumnOf<Model, Member>
    {
        return aggregate<detail::Maximum, Member, detail::column_type<Member>>(conditions...);
    }
    /// How many rows there are for each value of a column, in the values' order.
    template <auto Member, detail::ConditionOn<Model>... Conditions>
    asio::awaitable<std::vector<std::pair<detail::member_type<Member>, std::int64_t>>> count_by(
        Field<Member>, const Conditions&... conditions) const
        requires detail::ColumnOf<Model, Member>
    {
        return answer(detail::compose<Mapping, detail::CountBy<Mapping, Member>>(conditions...),
                      &read_pairs<detail::member_type<Member>>);
    }

    /// Whether there is such a row.
    template <typename... Selector>
    asio::awaitable<bool> exists(const Selector&... selector) const
        requires detail::SelectorOf<Model, Selector...>
    {
        return answer(detail::compose_for<Mapping, detail::Exists<Mapping>>(selector...),
                      &read_value<bool>);
    }

    /// The same table with the rows that count as deleted, where the repository has `deleted_at`.
    auto with_deleted() const {
        detail::check_deletes_softly<Mapping>();
        return WithDeleted<txscope::ReadRepository, T, Model>{session_};
    }

    /// For the layers above.
    const detail::RepositorySession& session() const { return session_; }

protected:
    /// For what else is of the same session as a repository.
    explicit ReadRepository(detail::RepositorySession session) : session_{std::move(session)} {}

    /// SQL of the derived class's own; in the ambient transaction, like everything else.
    ///
    /// ```cpp
    /// asio::awaitable<Result> by_status(std::string_view prefix) const {
    ///     return query("SELECT status, count(*) FROM projects WHERE name ^@ $1 GROUP BY 1", prefix);
    /// }
    /// ```
    template <typename... Values>
    asio::awaitable<Result> query(std::string_view sql, const Values&... values) const {
        return query(Statement{sql, values...});
    }
    asio::awaitable<Result> query(Statement statement) const {
        return answer(std::move(statement), &read_result);
    }
    template <detail::NoSql Other, typename... Values>
    asio::awaitable<Result> query(const Other&, const Values&...) const {
        detail::refuse_sql<Other>();
        return {};
    }

    const AsyncSessionFactory& sessions() const { return session_.sessions; }

private:
    friend BaseRepository<T, Model>;

    // T is incomplete while this class is; so whatever looks into T stands in a function body.
    using Mapping = Entity<T, Model>;

    template <typename Answer>
    asio::awaitable<Answer> answer(Statement statement, Answer (*read)(const Result&)) const {
        return detail::execute_ambient(session_, std::move(statement), read);
    }

    /// The rows that a statement finds, which are read while they arrive.
    template <typename Row = Model>
    asio::awaitable<std::vector<Row>> answer_all(
        Statement statement, detail::Where where = detail::Where::anywhere) const {
        if constexpr (Mapping::is_complete() && Described<Row>) {
            using Rows = detail::CollectedRows<Row>;
            Rows::collect(statement);
            return detail::execute_ambient(session_, std::move(statement), &Rows::take, where);
        } else {
            return no_rows<Row>();
        }
    }
    /// The same; none without a statement.
    asio::awaitable<std::vector<Model>> answer_any(
        std::optional<Statement> statement, detail::Where where = detail::Where::anywhere) const {
        return statement ? answer_all(*std::move(statement), where) : no_rows<Model>();
    }
    template <typename Row>
    static asio::awaitable<std::vector<Row>> no_rows() {
        co_return std::vector<Row>{};
    }

    template <typename Function, auto Member, typename Value, typename... Conditions>
    asio::awaitable<std::optional<Value>> aggregate(const Conditions&... conditions) const {
        return answer(
            detail::compose<Mapping, detail::Aggregate<Mapping, Function, Member>>(conditions...),
            &read_value<std::optional<Value>>);
    }

    /// The same as `answer_any`, as `Take` has the rows in the end.
    template <typename Take>
    asio::awaitable<typename Take::Answer> answer_taken(std::optional<Statement> statement,
                                                        Take take) const {
        if constexpr (Mapping::is_complete())
            if (statement) {
                detail::CollectedRows<Model>::collect(*statement);
                return detail::execute_ambient(session_, *std::move(statement), std::move(take));
            }
        return take_nothing(std::move(take));
    }
    template <typename Take>
    static asio::awaitable<typename Take::Answer> take_nothing(Take take) {
        co_return take.answer({});
    }
    template <typename Value>
    static std::vector<std::pair<Value, std::int64_t>> read_pairs(const Result& result) {
        std::vector<std::pair<Value, std::int64_t>> pairs;
        for (const auto& [value, count] : result.rows<Value, std::int64_t>())
            pairs.emplace_back(value, count);
        return pairs;
    }

    using StreamedRows = typename detail::RowsOf<Model>::Type;
    template <typename... Args>
    asio::awaitable<std::uint64_t> stream_rows(Args&&... clauses_and_on_row) const {
        if constexpr (detail::end_with_on_row<StreamedRows, Args...>)
            return detail::split_on_row(
                [&](auto on_row, const auto&... clauses) {
                    return stream_rows_in(
                        session_,
                        detail::compose_select<Mapping, detail::Select<Mapping>>(clauses...),
                        std::move(on_row));
                },
                std::forward<Args>(clauses_and_on_row)...);
        return {};
    }
    template <typename OnRow>
    static asio::awaitable<std::uint64_t> stream_rows_in(detail::RepositorySession in,
                                                         Statement statement, OnRow on_row) {
        if (in.bound)
            co_return co_await in.bound->template stream<Model>(std::move(statement),
                                                                std::move(on_row));
        co_return co_await detail::stream_ambient<Model>(std::move(in.sessions),
                                                         std::move(statement), std::move(on_row));
    }

    static Result read_result(const Result& result) { return result; }
    static Model read_stored(const Result& result) { return read_row(result.one()); }
    static Model read_one(const Result& result) {
        if (result.empty()) throw NotFound{detail::table_text<Mapping>()};
        return *read_one_or_none(result);
    }
    static std::optional<Model> read_one_or_none(const Result& result) {
        if (result.size() > 1)  // how many there are is not known: a SELECT gives two at most
            throw pqxx::unexpected_rows{"one row was asked for, and there are several in " +
                                        detail::table_text<Mapping>()};
        return result.empty() ? std::nullopt : std::optional<Model>{read_stored(result)};
    }
    static Model read_row([[maybe_unused]] const Row& row) {
        if constexpr (Mapping::is_complete())
            return row.as<Model>();
        else
            std::terminate();  // check_repository says why this does not compile
    }
    template <typename Value>
    static Value read_value(const Result& result) {
        return result.one().get<Value>(0);
    }

    detail::RepositorySession session_;
};

}  // namespace txscope
