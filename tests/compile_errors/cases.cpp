// What must not compile, one case behind each `//---`, and the only error that each gives behind `//!`.

//--- a value of another kind in a comparison
//! this value is not of the column's kind
auto condition() { return field<&Project::id> == "seven"; }

//--- NULL in a comparison that knows no NULL
//! this value is not of the column's kind
auto condition(std::optional<std::string> note) { return field<&Project::note> < note; }

//--- NULL for a member that is no optional
//! this value is not of the column's kind
auto condition() { return field<&Project::name> == std::nullopt; }

//--- a value of another kind, ahead of the column
//! this value is not of the column's kind
auto condition() { return "seven" == field<&Project::id>; }

//--- columns of two kinds in a comparison
//! these two are not of one kind
auto condition() { return field<&Project::id> == field<&Project::name>; }

//--- a value of another kind in an assignment
//! this value is not of the member's kind
auto change() { return field<&Project::name> = 7; }

//--- what is computed, of another kind
//! this value is not of the member's kind
auto change() { return field<&Project::name> = field<&Project::id> + 1; }

//--- a text that is calculated with
//! a number is calculated with, and with one of its kind
auto expression() { return field<&Project::name> + "a"; }

//--- a fraction, calculated with an integer
//! a number is calculated with, and with one of its kind
auto expression() { return field<&Project::id> * 1.5; }

//--- a quotient
//! columns are calculated with by +, - and *
auto expression() { return field<&Project::id> / 2; }

//--- a column taken from a value
//! columns are calculated with by +, - and *
auto expression() { return 5 - field<&Project::id>; }

//--- a negative column
//! columns are calculated with by +, - and *
auto expression() { return -field<&Project::id>; }

//--- another model's column, calculated with
//! this column is another model's
auto call(ProjectRepository projects) {
    return projects.update(7, field<&Project::id> = field<&Workflow::id> + 1);
}

//--- an insert of what is computed of the row
//! what is inserted is no row yet that a value could be computed of
auto call(ProjectRepository projects) {
    return projects.create(field<&Project::id> = field<&Project::id> + 1);
}

//--- a value of another kind in a list
//! not all of these are values of the column's kind
auto condition() { return field<&Project::id>.in(1, "two"); }

//--- values in braces
//! in(x, y) takes values, or a range of them, and both without braces
auto condition() { return field<&Project::id>.in({1, 2}); }

//--- a list of nothing
//! in() takes values
auto condition() { return field<&Project::id>.in(); }

//--- an array among arrays
//! PostgreSQL has no arrays of arrays
auto condition(const std::vector<std::vector<std::string>>& wanted) {
    return field<&Project::tags>.in(wanted);
}

//--- a pattern for a number
//! a text is matched, and with a text
auto condition() { return field<&Project::id>.like("7%"); }

//--- elements of what is no array
//! this column is no array
auto condition() { return field<&Project::name>.contains("a"); }

//--- elements of another kind than the array's
//! not all of these are values of the column's kind
auto condition() { return field<&Project::tags>.overlaps("a", 7); }

//--- an element of another kind than the array's
//! this value is not of the kind of the array's elements
auto condition() { return field<&Project::tags>.any(7); }

//--- a document in a number
//! this column holds no JSON
auto condition() { return json_text(field<&Project::id>, "a") == "b"; }

//--- a step into a document that is neither key nor position
//! a path of keys and positions
auto condition() { return json_text(field<&Project::name>, 1.5) == "b"; }

//--- a document without a step
//! a path of keys and positions
auto condition() { return json_text(field<&Project::name>) == "b"; }

//--- a value of another kind in a row
//! a value of this row is not of the kind of its column
auto condition() { return row(field<&Project::id>, field<&Project::name>) > row(7, 8); }

//--- a row of fewer values than columns
//! a row of columns is compared with a row of as many values
auto condition() { return row(field<&Project::id>, field<&Project::name>) > row(7); }

//--- pages by a time that is cut off
//! a time that is cut off tells no rows apart
auto call(ProjectRepository projects, Project last) {
    return projects.find_all(ascending(field<&Project::seen>), after(last));
}

//--- pages by what may be NULL
//! what comes behind NULL is not known
auto call(ProjectRepository projects, Project last) {
    return projects.find_all(ascending(field<&Project::note>), after(last));
}

//--- pages by what is computed
//! what comes behind NULL is not known
auto call(ProjectRepository projects, Project last) {
    return projects.find_all(ascending(sql<int>("length(name)")), after(last));
}

//--- children grouped by what cannot be sorted
//! find_by sorts its groups
auto call(ProjectRepository projects) {
    return projects.find_by(field<&Project::owner>, std::vector{OwnerId{7}});
}

//--- a condition joined with a bool
//! a condition is joined with conditions
auto condition(bool wanted) { return wanted && field<&Project::id> == 7; }

//--- an assignment for an equality, behind a condition
//! a condition is joined with conditions
auto condition() { return field<&Project::id> == 1 && field<&Project::name> = "x"; }

//--- NOT of a column, for a comparison
//! a column alone says nothing: compare it
auto condition() { return !field<&Project::id> == 1; }

//--- a condition joined with a column
//! a condition is joined with conditions
auto condition() { return field<&Project::id> == 7 || field<&Project::note>; }

//--- the negation of a column
//! a column alone says nothing
auto condition() { return !field<&Project::note>; }

//--- SQL of one's own that is put together at run time
//! the text of sql() is a constant of the program
auto condition(const std::string& name) { return sql("name = '" + name + "'"); }

//--- a value in SQL of one's own that nobody has taught to be SQL
//! no SQL text for this type
struct Colour {
    int red{};
};
auto call(ProjectRepository projects) { return projects.find_all(sql("colour = $", Colour{})); }

//--- a range of values of another kind
//! this value is not of the column's kind
auto condition() { return field<&Project::id>.between("a", "b"); }

//--- a beginning that is no text
//! a text is matched, and with a text
auto condition() { return field<&Project::name>.starts_with(7); }

//--- an order by what is no field
//! rows are sorted by a field<&Model::member>
auto call(ProjectRepository projects) { return projects.find_all(ascending(&Project::name)); }

//--- an order by a name
//! rows are sorted by a field<&Model::member>
auto call(ProjectRepository projects) { return projects.find_all(descending("name")); }

//--- a column in the place of a criterion
//! a column alone says nothing
void narrow(Criteria<Project>& criteria) { criteria &= field<&Project::name>; }

//--- a bool in the place of a criterion
//! here are only conditions
void narrow(Criteria<Project>& criteria) { criteria &= true; }

//--- a column in the place of a condition
//! a column alone says nothing
auto call(ProjectRepository projects) { return projects.find_all(field<&Project::name>); }

//--- a key in the place of conditions
//! a row by its key is for find and get
auto call(ProjectRepository projects) { return projects.find_all(7); }

//--- another model's column in criteria
//! this column is another model's
void narrow(Criteria<Project>& criteria) { criteria &= field<&Workflow::id> == 7; }

//--- another model's column in changes
//! this column is another model's
void change(Changes<Project>& changes) { changes.set(field<&Workflow::id> = 7); }

//--- another model's column in a call
//! this column is another model's
asio::awaitable<void> call(ProjectRepository projects) {
    const auto found = co_await projects.find_all(field<&Workflow::project_id> == 7);
    for (const Project& project : found) co_await projects.remove(project.id);
}

//--- another model's column as an order
//! this column is another model's
auto call(ProjectRepository projects) { return projects.find_all(ascending(field<&Workflow::id>)); }

//--- another model's column in an update
//! this column is another model's
auto call(ProjectRepository projects) { return projects.update(7, field<&Workflow::id> = 8); }

//--- = for == in find
//! = assigns, and here is nothing to assign: compare with ==
asio::awaitable<std::string> call(ProjectRepository projects) {
    const auto project = co_await projects.find(field<&Project::name> = "txscope");
    co_return project ? project->name : "";
}

//--- = for == in find_all
//! = assigns, and here is nothing to assign: compare with ==
auto call(ProjectRepository projects) {
    return projects.find_all(field<&Project::name> = "a", ascending(field<&Project::id>));
}

//--- = for == in count
//! = assigns, and here is nothing to assign: compare with ==
auto call(ProjectRepository projects) { return projects.count(field<&Project::name> = "a"); }

//--- = for == in remove
//! = assigns, and here is nothing to assign: compare with ==
auto call(ProjectRepository projects) { return projects.remove(field<&Project::name> = "a"); }

//--- = for == in criteria
//! = assigns, and here is nothing to assign: compare with ==
void narrow(Criteria<Project>& criteria) { criteria &= field<&Project::name> = "a"; }

//--- == for = in create
//! a row is inserted by a model, or by assignments
auto call(ProjectRepository projects) { return projects.create(field<&Project::name> == "a"); }

//--- == for = in changes
//! == compares: what a column gets is said with =
void change(Changes<Project>& changes) { changes.set(field<&Project::name> == "a"); }

//--- what is no assignment in changes
//! a change is an assignment
void change(Changes<Project>& changes) { changes.set(7); }

//--- a row of nothing
//! a row is inserted by a model, or by assignments
auto call(ProjectRepository projects) { return projects.create(); }

//--- rows by two models
//! rows are inserted by one range of models
auto call(ProjectRepository projects, const Project& a) { return projects.create_all(a, a); }

//--- rows of another model
//! rows are inserted by one range of models
void call(ProjectRepository projects, const std::vector<Workflow>& flows) {
    projects.add_all(flows);
}

//--- another model's row to be saved
//! a row is saved by a model
auto call(ProjectRepository projects, const Workflow& flow) { return projects.save(flow); }

//--- a constraint's name that says no more than that
//! columns<&Model::member> of a unique constraint, or a Constraint
auto call(ProjectRepository projects, const Project& project) {
    return projects.save(project, "one_project_a_name");
}

//--- a column in the place of a constraint
//! a column alone says nothing
auto call(ProjectRepository projects, const Project& project) {
    return projects.create_unless_exists(project, field<&Project::name>);
}

//--- a save by a key that the database generates
//! the database generates this key
auto call(ProjectRepository projects, const Project& project) { return projects.save(project); }

//--- a key of another type, and changes
//! a key is one value for each of its columns
auto call(ProjectRepository projects, const Changes<Project>& changes) {
    return projects.update("seven", changes);
}

//--- deleted rows where none are deleted softly
//! nothing is deleted softly here
auto call(ProjectRepository projects) { return projects.with_deleted().find_all(); }

//--- the end of a deletion where nothing is deleted softly
//! nothing is deleted softly here
auto call(ProjectRepository projects) { return projects.restore(7); }

//--- an update without a key
//! an update says which rows
asio::awaitable<void> call(ProjectRepository projects) {
    co_await projects.update(field<&Project::name> = "everything");
}

//--- an update without a key, of which is asked how many
//! an update says which rows
asio::awaitable<bool> call(ProjectRepository projects) {
    const auto changed = co_await projects.update(field<&Project::name> = "everything");
    co_return changed > 0;
}

//--- an update by changes alone
//! an update says which rows
asio::awaitable<bool> call(ProjectRepository projects, Changes<Project> changes) {
    const auto changed = co_await projects.update(changes);
    co_return changed > 0;
}

//--- another model's changes
//! this column is another model's
asio::awaitable<std::string> call(ProjectRepository projects, Changes<Workflow> changes) {
    const auto changed = co_await projects.update(7, changes);
    co_return changed->name;
}

//--- a key of another type
//! a key is one value for each of its columns
asio::awaitable<std::string> call(ProjectRepository projects) {
    const auto project = co_await projects.find("seven");
    co_return project ? project->name : "";
}

//--- a key of too many values
//! a key is one value for each of its columns
auto call(ProjectRepository projects) { return projects.update(7, 8, field<&Project::name> = "a"); }

//--- a sum of another model's column
//! this column is another model's
auto call(ProjectRepository projects) { return projects.sum(field<&Workflow::id>); }

//--- a sum of a member that is no field
//! of which column is said by the first argument
auto call(ProjectRepository projects) { return projects.sum(&Project::id); }

//--- a sum of texts
//! numbers and intervals are added up
auto call(ProjectRepository projects) { return projects.sum(field<&Project::name>); }

//--- a mean of times
//! the average is one of numbers
auto call(ProjectRepository projects) { return projects.average(field<&Project::seen>); }

//--- a mean of intervals
//! the average is one of numbers
struct Run {
    std::int64_t id{};
    std::chrono::seconds took{};
};
BOOST_DESCRIBE_STRUCT(Run, (), (id, took))
class Runs : public BaseRepository<Runs, Run> {
public:
    static constexpr std::string_view table = "runs";
    using BaseRepository::BaseRepository;
};
auto call(Runs runs) { return runs.average(field<&Run::took>); }

//--- = for == in a mean
//! = assigns, and here is nothing to assign: compare with ==
auto call(ProjectRepository projects) {
    return projects.average(field<&Project::id>, field<&Project::name> = "a");
}

//--- another model's condition in a minimum
//! this column is another model's
auto call(ProjectRepository projects) {
    return projects.min(field<&Project::id>, field<&Workflow::id> == 7);
}

//--- = for == in a maximum of texts
//! = assigns, and here is nothing to assign: compare with ==
asio::awaitable<std::string> call(ProjectRepository projects) {
    const auto last = co_await projects.max(field<&Project::name>, field<&Project::id> = 7);
    co_return last.value_or("none");
}

//--- = for == where rows are grouped by texts
//! = assigns, and here is nothing to assign: compare with ==
asio::awaitable<std::string> call(ProjectRepository projects, std::vector<std::string> names) {
    const auto groups =
        co_await projects.find_by(field<&Project::name>, names, field<&Project::id> = 7);
    co_return groups.at("a").at(0).name;
}

//--- = for == in the end of a deletion
//! = assigns, and here is nothing to assign: compare with ==
asio::awaitable<std::string> call(ProjectRepository projects) {
    const auto row = co_await projects.restore(field<&Project::id> = 7);
    co_return row->name;
}

//--- an order in a maximum
//! what follows it are conditions
auto call(ProjectRepository projects) {
    return projects.max(field<&Project::id>, ascending(field<&Project::id>));
}

//--- a count by no column
//! of which column is said by the first argument
auto call(ProjectRepository projects) { return projects.count_by(field<&Project::id> == 7); }

//--- rows by the values of a column, and one value
//! find_by takes a field<&Model::member>, a range of values of its kind
auto call(WorkflowRepository flows) { return flows.find_by(field<&Workflow::project_id>, 7); }

//--- rows by values of another kind than the column's
//! find_by takes a field<&Model::member>, a range of values of its kind
auto call(WorkflowRepository flows, const std::vector<Project>& projects) {
    return flows.find_by(field<&Workflow::project_id>, projects);
}

//--- rows by the values of another model's column
//! this column is another model's
auto call(ProjectRepository projects, const std::vector<std::int64_t>& ids) {
    return projects.find_by(field<&Workflow::project_id>, ids);
}

//--- rows by values in braces
//! std::vector{1, 2} in the place of {1, 2}
asio::awaitable<std::size_t> call(WorkflowRepository flows) {
    const auto found = co_await flows.find_by(field<&Workflow::project_id>, {1, 2});
    co_return found.size();
}

//--- a range of keys of another type
//! find_all takes a range of keys
auto call(ProjectRepository projects, const std::vector<std::string>& ids) {
    return projects.find_all(ids);
}

//--- keys in braces
//! std::vector{1, 2} in the place of {1, 2}
asio::awaitable<std::size_t> call(ProjectRepository projects) {
    const auto found = co_await projects.find_all({1, 2}, for_update);
    co_return found.size();
}

//--- a range of models in the place of keys, and a lock
//! find_all takes a range of keys
auto call(ProjectRepository projects, const std::vector<Project>& those) {
    return projects.find_all(those, for_update);
}

//--- a range of one value each for a key of two columns
//! find_all takes a range of keys
class Links : public BaseRepository<Links, Workflow> {
public:
    static constexpr std::string_view table = "links";
    static constexpr auto key = columns<&Workflow::id, &Workflow::project_id>;
    using BaseRepository::BaseRepository;
};
auto call(Links links, const std::vector<std::int64_t>& ids) { return links.find_all(ids); }

//--- what comes behind NULL
//! what comes behind NULL is not known
auto call(ProjectRepository projects, const Project& last) {
    return projects.find_page(ascending(field<&Project::note>), Page{.limit = 9}, after(last));
}

//--- what comes behind another model's row
//! this column is another model's
auto call(ProjectRepository projects, const Workflow& last) {
    return projects.find_page(ascending(field<&Project::id>), Page{.limit = 9}, after(last));
}

//--- a page without an order
//! in an order, after(row)
auto call(ProjectRepository projects, const Project& last) {
    return projects.find_page(Page{.limit = 9}, after(last));
}

//--- a selection that does not say of which rows
//! select<Row>(…) says which struct its rows are
auto call(ProjectRepository projects) { return projects.select(field<&Project::id> == 7); }

//--- a selection into a struct that is not described
//! select<Row>(…) says which struct its rows are
struct Summary {
    std::string name{};
};
auto call(ProjectRepository projects) { return projects.select<Summary>(); }

//--- a stream that nothing is called with
//! the last argument of a stream is called with each row
auto call(ProjectRepository projects) { return projects.stream(field<&Project::id> == 7); }

//--- a stream of another model's rows
//! the last argument of a stream is called with each row
auto call(ProjectRepository projects) {
    return projects.stream([](const Workflow&) {});
}

//--- a stream of rows that are to be changed
//! the last argument of a stream is called with each row
auto call(ProjectRepository projects) {
    return projects.stream([](Project&) {});
}

//--- a stream that is to say whether to go on
//! returns void or asio::awaitable<void>
auto call(ProjectRepository projects) {
    return projects.stream([](const Project&) { return true; });
}

//--- = for == in a stream
//! = assigns, and here is nothing to assign: compare with ==
auto call(ProjectRepository projects) {
    return projects.stream(field<&Project::name> = "a", [](const Project&) {});
}

//--- a key in the place of a stream's conditions
//! a row by its key is for find and get
auto call(ProjectRepository projects) {
    return projects.stream(7, [](const Project&) {});
}

//--- a locking stream of what only reads
//! these are no conditions, orderings
auto call(const ReadRepository<ProjectRepository, Project>& projects) {
    return projects.stream(for_update, [](const Project&) {});
}

//--- a stream of a session's that nothing is called with
//! the last argument of a stream is called with each row
auto call(Session& session) { return session.stream("SELECT name FROM projects"); }

//--- a stream of columns that are called with others
//! the last argument of a stream is called with each row
auto call(Session& session) {
    return session.stream<int>("SELECT id FROM projects", [](const std::string&) {});
}

//--- a stream by itself that nothing is called with
//! the last argument of a stream is called with each row
auto call(AsyncSessionFactory sessions) { return stream(sessions, "SELECT $1::integer", 7); }

//--- a lock of what only reads
//! a row is selected by the values of its key or by conditions, and locked by the last argument
auto call(const ReadRepository<ProjectRepository, Project>& projects) {
    return projects.find(7, for_update);
}

//--- a write in a ReadScope
//! as a ReadScope hands out, only reads
asio::awaitable<std::int64_t> call(AsyncSessionFactory sessions) {
    ReadScope<ProjectRepository> reading{sessions};
    const auto body = [](const auto& projects) -> asio::awaitable<std::int64_t> {
        const Project project = co_await projects.create(Project{.name = "a"});
        co_return project.id;
    };
    co_return co_await reading(body);
}

//--- the body of a ReadScope that would write
//! the body of a ReadScope is a coroutine
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    ReadScope<ProjectRepository> reading{sessions};
    const auto body = [](ProjectRepository&) -> asio::awaitable<void> { co_return; };
    co_await reading(body);
}

//--- the body of a ReadScope that is no coroutine
//! the body of a ReadScope is a coroutine
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    ReadScope<ProjectRepository> reading{sessions};
    const auto body = [](const auto&) {};
    co_await reading(body);
}

//--- the body of a ReadScope that is no coroutine, and gives a text
//! the body of a ReadScope is a coroutine
asio::awaitable<std::size_t> call(AsyncSessionFactory sessions) {
    ReadScope<ProjectRepository> reading{sessions};
    const auto body = [](const auto&) { return std::string{"a"}; };
    const auto name = co_await reading(body);
    co_return name.size();
}

//--- the body of a scope that is no coroutine
//! the body of a scope is a coroutine
asio::awaitable<void> call(AsyncSessionFactory sessions, ProjectRepository projects) {
    TransactionScope scope{sessions};
    co_await scope([&] { projects.add(Project{}); });
}

//--- the body of a scope that is no coroutine, and gives a value
//! the body of a scope is a coroutine
asio::awaitable<std::size_t> call(AsyncSessionFactory sessions, ProjectRepository projects) {
    TransactionScope scope{sessions};
    const auto name = co_await scope([&](Transaction&) {
        projects.add(Project{});
        return std::string{"a"};
    });
    co_return name.size();
}

//--- the body of a scope that takes what it is not handed
//! the body of a scope takes nothing, or what it is handed
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    TransactionScope scope{sessions};
    co_await scope([](ProjectRepository&) -> asio::awaitable<void> { co_return; });
}

//--- the body of a scope whose result may throw as it is moved
//! once a transaction is committed nothing may throw
struct Thrower {
    Thrower();
    Thrower(const Thrower&);
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    TransactionScope scope{sessions};
    co_await scope([]() -> asio::awaitable<Thrower> { co_return Thrower{}; });
}

//--- the body of a session that is no coroutine
//! the body of a scope is a coroutine
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    co_await sessions.session_scope([](Session& session) { session.enqueue("SELECT 1"); });
}

//--- the body of a session that is no coroutine, and gives a value
//! the body of a scope is a coroutine
asio::awaitable<int> call(AsyncSessionFactory sessions) {
    const int one = co_await sessions.session_scope([](Session&) { return 1; });
    co_return one;
}

//--- the body of a service that is no coroutine
//! the body of `transact` is a coroutine
struct Service : ServiceCoordinator<ProjectRepository> {
    using ServiceCoordinator::ServiceCoordinator;
    asio::awaitable<void> work() {
        co_await transact([](ProjectRepository& projects) { projects.add(Project{}); });
    }
};

//--- the body of a service that is no coroutine, and gives a text
//! the body of `transact` is a coroutine
struct Service : ServiceCoordinator<ProjectRepository> {
    using ServiceCoordinator::ServiceCoordinator;
    asio::awaitable<std::size_t> work() {
        const auto name = co_await transact([](ProjectRepository& projects) {
            projects.add(Project{});
            return std::string{"a"};
        });
        co_return name.size();
    }
};

//--- a model that is not described
//! a model is a struct that is described
struct Person {
    std::int64_t id{};
    std::string name{};
};
class People : public BaseRepository<People, Person> {
public:
    static constexpr std::string_view table = "people";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    People people{sessions};
    const Person created = co_await people.create(Person{.name = "Ada"});
    const auto found = co_await people.find(created.id);
    const auto all = co_await people.find_all();
    co_await people.update(created.id, field<&Person::name> = "Grace");
    co_await people.remove(created.id);
}

//--- rows of a struct that is not described
//! rows are read into a struct that is described
struct Person {
    std::int64_t id{};
};
std::vector<Person> read(const Result& result) { return result.as<Person>(); }

//--- a repository without a table
//! a repository says which table is its own
class Repository : public BaseRepository<Repository, Project> {
public:
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Repository projects{sessions};
    const Project created = co_await projects.create(Project{.name = "a"});
    const auto found = co_await projects.find(created.id);
    co_await projects.remove(created.id);
}

//--- a repository that derives from another's base
//! a repository derives from BaseRepository<itself, its model>
class Tasks : public BaseRepository<ProjectRepository, Workflow> {
public:
    static constexpr std::string_view table = "tasks";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Tasks tasks{sessions};
    const auto found = co_await tasks.find(7);
    co_await tasks.create(Workflow{.project_id = found->id});
}

//--- a table whose name has too many parts
//! table is "name" or "schema.name"
class Tasks : public BaseRepository<Tasks, Workflow> {
public:
    static constexpr std::string_view table = "app.my.tasks";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Tasks tasks{sessions};
    const auto found = co_await tasks.find(7);
    co_await tasks.create(Workflow{.project_id = found->id});
}

//--- a table whose name PostgreSQL would cut
//! PostgreSQL cuts names at 63 bytes
class Tasks : public BaseRepository<Tasks, Workflow> {
public:
    static constexpr std::string_view table =
        "app.a23456789_123456789_123456789_123456789_123456789_123456789_1234";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Tasks tasks{sessions};
    const auto found = co_await tasks.find(7);
    co_await tasks.create(Workflow{.project_id = found->id});
}

//--- a column whose name PostgreSQL would cut
//! PostgreSQL cuts names at 63 bytes
class Tasks : public BaseRepository<Tasks, Workflow> {
public:
    static constexpr std::string_view table = "tasks";
    static constexpr std::string_view column(std::string_view member) {
        return member == "id"
                   ? member
                   : "a23456789_123456789_123456789_123456789_123456789_123456789_1234";
    }
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Tasks tasks{sessions};
    const auto found = co_await tasks.find(7);
    co_await tasks.create(Workflow{.project_id = found->id});
}

//--- a key of members that the model lacks
//! `key`, `generated`, `version` and the like name members that the model describes
class Tasks : public BaseRepository<Tasks, Workflow> {
public:
    static constexpr std::string_view table = "tasks";
    static constexpr auto generated = columns<&Project::id>;
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Tasks tasks{sessions};
    const auto found = co_await tasks.find(7);
    co_await tasks.create(Workflow{.project_id = found->id});
}

//--- a row by a key that nobody has named
//! without a member `id`, the repository says
auto call(Tags tags) { return tags.find("red"); }

//--- rows by keys that nobody has named
//! without a member `id`, the repository says
auto call(Tags tags, const std::vector<std::string>& names) {
    return tags.find_all(names);
}

//--- an update by a key that nobody has named
//! without a member `id`, the repository says
auto call(Tags tags, const Tag& tag) { return tags.update(tag); }

//--- an update by two models without a key
//! without a member `id`, the repository says
auto call(Tags tags, const Tag& tag) { return tags.update(tag, tag); }

//--- a removal by a model without a key
//! without a member `id`, the repository says
auto call(Tags tags, const Tag& tag) { return tags.remove(tag); }

//--- a save by a key that nobody has named
//! without a member `id`, the repository says
auto call(Tags tags, const Tag& tag) { return tags.save(tag); }

//--- many rows saved by a key that the database generates
//! the database generates this key
auto call(ProjectRepository projects, std::vector<Project> all) { return projects.save_all(all); }

//--- many rows saved, by no columns
//! a row is saved by a model, or rows by a range of them
auto call(ProjectRepository projects, std::vector<Project> all) { return projects.save_all(all, 7); }

//--- a column in the place of an ordering
//! a column alone says nothing
void sort(Orderings<Project>& order) { order.add(field<&Project::name>); }

//--- another model's ordering
//! this column is another model's
void sort(Orderings<Project>& order) { order.add(ascending(field<&Workflow::id>)); }

//--- a page in the place of an ordering
//! an ordering is ascending
void sort(Orderings<Project>& order) { order.add(Page{.limit = 7}); }

//--- a page behind a row in an order that is not known
//! nor in an order that is put together at run time
auto call(ProjectRepository projects, Orderings<Project> order, Project last) {
    return projects.find_all(order, after(last));
}

//--- a parameter of a type that nobody has taught to be SQL
//! no SQL text for this type
struct Colour {
    int red{};
};
asio::awaitable<void> call(Session& session) {
    co_await session.execute("UPDATE projects SET colour = $1", Colour{});
}

//--- a parameter that may be a number or a text
//! a character may be a number or a text
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    co_await sessions.execute("SELECT $1", 'a');
}

//--- what is executed and no SQL
//! what is executed is a text of SQL
auto call(Session& session) { return session.execute(7); }

//--- what is executed by itself and no SQL
//! what is executed is a text of SQL
auto call(AsyncSessionFactory sessions) {
    return sessions.execute(std::chrono::seconds{1}, "SELECT 1");
}

//--- what is enqueued and no SQL
//! what is executed is a text of SQL
void call(Session& session) { session.enqueue(7, "SELECT 1"); }

//--- what a repository executes and is no SQL
//! what is executed is a text of SQL
class Own : public BaseRepository<Own, Project> {
public:
    static constexpr std::string_view table = "projects";
    using BaseRepository::BaseRepository;
    auto all() const { return query(7); }
};

//--- a projection with a column that the model lacks
//! whose members are called like some of the model
struct Summary {
    std::string name{};
    int priority{};
};
BOOST_DESCRIBE_STRUCT(Summary, (), (name, priority))
asio::awaitable<void> call(ProjectRepository projects) {
    const auto summaries = co_await projects.select<Summary>(field<&Project::id> == 7);
    for (const Summary& summary : summaries) co_await projects.remove(summary.priority);
}

//--- an array of a type that nobody has taught to be SQL
//! no SQL text for this type
struct Colour {
    int red{};
};
auto call(Session& session, const std::vector<Colour>& colours) {
    return session.execute("SELECT $1", colours);
}

//--- a column as a type that nobody has taught to be SQL
//! no way to read this type
struct Colour {
    int red{};
};
auto read(const Row& row) { return row.get<std::optional<Colour>>("colour"); }

//--- columns as types of which one is none of SQL's
//! no way to read this type
struct Colour {
    int red{};
};
auto read(const Result& result) { return result.rows<int, Colour>()[0]; }

//--- a column as a text that is somewhere else
//! the value would point into a result that may be gone
auto read(const Row& row) { return row.get<std::string_view>(0); }

//--- a stream of a struct that is not described
//! no way to read this type
struct Person {
    std::int64_t id{};
};
auto call(Session& session) {
    return session.stream<Person>("SELECT id FROM people", [](const Person&) {});
}

//--- a member of a type that nobody has taught to be SQL
//! the type of a member is no SQL value
enum class Colour {
    red
};
struct Flag {
    std::int64_t id{};
    Colour colour{};
};
BOOST_DESCRIBE_STRUCT(Flag, (), (id, colour))
class Flags : public BaseRepository<Flags, Flag> {
public:
    static constexpr std::string_view table = "flags";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions, const std::vector<Flag>& more) {
    Flags flags{sessions};
    const Flag created = co_await flags.create(Flag{.id = 7});
    const auto found = co_await flags.find_all();
    co_await flags.update(created);
    co_await flags.create_all(more);
}

//--- a table that is no constant
//! a repository says which table is its own
class Repository : public BaseRepository<Repository, Project> {
public:
    std::string_view table = "projects";
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Repository projects{sessions};
    const auto found = co_await projects.find(7);
}

//--- a version of two columns
//! `version` and times are one column each
class Repository : public BaseRepository<Repository, Workflow> {
public:
    static constexpr std::string_view table = "workflows";
    static constexpr auto version = columns<&Workflow::id, &Workflow::project_id>;
    using BaseRepository::BaseRepository;
};
asio::awaitable<void> call(AsyncSessionFactory sessions) {
    Repository flows{sessions};
    co_await flows.update(Workflow{.id = 7});
}

//--- a version that cannot be counted
//! `version` is an integer
class Versioned : public BaseRepository<Versioned, Project> {
public:
    static constexpr std::string_view table = "projects";
    static constexpr auto version = columns<&Project::name>;
    using BaseRepository::BaseRepository;
};
auto call(AsyncSessionFactory sessions, const Project& project) {
    return Versioned{sessions}.update(project);
}

//--- a time of deletion that there always is
//! `deleted_at` a std::optional
class Kept : public BaseRepository<Kept, Project> {
public:
    static constexpr std::string_view table = "projects";
    static constexpr auto deleted_at = columns<&Project::seen>;
    using BaseRepository::BaseRepository;
};
auto call(AsyncSessionFactory sessions) { return Kept{sessions}.remove(7); }

//--- a version that nobody hears of
//! what a repository says is public
class Hidden : public BaseRepository<Hidden, Project> {
    static constexpr auto version = columns<&Project::id>;

public:
    static constexpr std::string_view table = "projects";
    using BaseRepository::BaseRepository;
};
auto call(AsyncSessionFactory sessions, const Project& project) {
    return Hidden{sessions}.update(project);
}

//--- a model with a member that cannot be assigned
//! none of them is const
struct Fixed {
    std::int64_t id{};
    const std::string name{};
};
BOOST_DESCRIBE_STRUCT(Fixed, (), (id, name))
class FixedRepository : public BaseRepository<FixedRepository, Fixed> {
public:
    static constexpr std::string_view table = "fixed";
    using BaseRepository::BaseRepository;
};
auto call(AsyncSessionFactory sessions) { return FixedRepository{sessions}.find(7); }

//--- a model that is made with arguments
//! a model is made without arguments
struct Made {
    explicit Made(std::int64_t number) : id{number} {}
    std::int64_t id;
};
BOOST_DESCRIBE_STRUCT(Made, (), (id))
class MadeRepository : public BaseRepository<MadeRepository, Made> {
public:
    static constexpr std::string_view table = "made";
    using BaseRepository::BaseRepository;
};
auto call(AsyncSessionFactory sessions) { return MadeRepository{sessions}.find(7); }

//--- a body of a service whose result may throw as it is moved
//! whose result is moved without throwing
struct Thrower {
    Thrower();
    Thrower(const Thrower&);
};
struct Service : ServiceCoordinator<ProjectRepository> {
    using ServiceCoordinator::ServiceCoordinator;
    asio::awaitable<void> work() {
        co_await transact(
            [](ProjectRepository&) -> asio::awaitable<Thrower> { co_return Thrower{}; });
    }
};

//--- a hook that is to be told something
//! a hook takes nothing
void call(Transaction& transaction) {
    transaction.before_commit([](Session&) {});
}

//--- a hook that cannot be copied
//! a hook takes nothing
void call(Transaction& transaction, std::unique_ptr<int> owned) {
    transaction.after_commit([owned = std::move(owned)] {});
}

//--- who listens and is not told of what
//! who listens a `const Notification&`
auto call(AsyncSessionFactory sessions) {
    return sessions.listen("jobs", [] {});
}

//--- texts in the place of statements
//! execute_all takes a std::vector<Statement>
auto call(Session& session, std::vector<std::string> texts) { return session.execute_all(texts); }

//--- one branch in the place of a range
//! all takes a range of asio::awaitable<T>
auto call(ProjectRepository projects) { return all(projects.find(7)); }

//--- branches that nothing can be moved from
//! all takes a range of asio::awaitable<T>
auto call(const std::vector<asio::awaitable<void>>& branches) { return all(branches); }

//--- checked SQL with fewer values than places
//! a value for each $1, $2, … of its text
auto call() { return sql<"UPDATE projects SET name = $1, note = '$3' WHERE id = $2">("a"); }

//--- checked SQL with a value without a place
//! a value for each $1, $2, … of its text
auto call() { return sql<"SELECT name FROM projects -- of $1">(7); }

//--- rows of checked SQL that are no struct
//! the rows of sql<…> are a described struct or a tuple
auto call() { return sql<"SELECT 1", int>(); }

//--- a model in the place of a repository that is checked
//! what is checked are repositories
#include <txscope/testing/check.hpp>
auto call() { return testing::check<Project>("postgresql:///app"); }
