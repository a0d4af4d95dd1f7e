#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>
#include <pqxx/except>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace repository_policies {

namespace asio = boost::asio;
using txscope::after;
using txscope::ascending;
using txscope::Changes;
using txscope::columns;
using txscope::Constraint;
using txscope::field;
using txscope::for_update;
using txscope::Page;

using Time = std::chrono::sys_time<std::chrono::microseconds>;
const Time long_ago{std::chrono::sys_days{std::chrono::year{2001} / 2 / 3}};

const std::string schema = R"(
    CREATE TABLE notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        title text NOT NULL CONSTRAINT one_note_a_title UNIQUE,
        stars integer NOT NULL DEFAULT 0,
        revision integer NOT NULL DEFAULT 1,
        "createdAt" timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        "deletedAt" timestamptz);
    CREATE TABLE drafts (
        title text NOT NULL, "deletedAt" timestamptz, id bigint GENERATED ALWAYS AS IDENTITY);
    CREATE UNIQUE INDEX ON drafts (title) WHERE "deletedAt" IS NULL)";

struct Note {
    std::int64_t id{};
    std::string title{};
    int stars{};
    int version{1};
    Time created_at{};
    Time updated_at{};
    std::optional<Time> deleted_at{};
    bool operator==(const Note&) const = default;
};
BOOST_DESCRIBE_STRUCT(Note, (), (id, title, stars, version, created_at, updated_at, deleted_at))

class Notes : public txscope::BaseRepository<Notes, Note> {
public:
    static constexpr std::string_view table = "notes";
    static constexpr auto generated = columns<&Note::id>;
    static constexpr auto version = columns<&Note::version>;
    static constexpr auto created_at = columns<&Note::created_at>;
    static constexpr auto updated_at = columns<&Note::updated_at>;
    static constexpr auto deleted_at = columns<&Note::deleted_at>;
    static constexpr std::string_view column(std::string_view member) {
        if (member == "version") return "revision";
        if (member == "created_at") return "createdAt";
        return member == "deleted_at" ? "deletedAt" : member;
    }
    using BaseRepository::BaseRepository;
};

/// Whose deleted rows leave their places to others.
struct Draft {
    std::int64_t id{};
    std::string title{};
    std::optional<Time> deleted_at{};
};
BOOST_DESCRIBE_STRUCT(Draft, (), (id, title, deleted_at))

class Drafts : public txscope::BaseRepository<Drafts, Draft> {
public:
    static constexpr std::string_view table = "drafts";
    static constexpr auto generated = columns<&Draft::id>;
    static constexpr auto deleted_at = columns<&Draft::deleted_at>;
    static constexpr std::string_view column(std::string_view member) {
        return member == "deleted_at" ? "deletedAt" : member;
    }
    using BaseRepository::BaseRepository;
};

Note note(std::string title, int stars = 0) {
    Note made;
    made.title = std::move(title);
    made.stars = stars;
    made.created_at = made.updated_at = long_ago;
    made.deleted_at = long_ago;
    return made;
}

constexpr auto title = field<&Note::title>;
constexpr auto stars = field<&Note::stars>;

struct Fixture {
    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }
    Time now() {
        return run(sessions.execute("SELECT clock_timestamp()")).one().template get<Time>(0);
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, database.dsn(), support::observed()};
    Notes notes{sessions};
    Drafts drafts{sessions};
    txscope::TransactionScope scope{sessions};
};

/// Two rows, the second of which was deleted.
struct OneDeleted : Fixture {
    OneDeleted() {
        run(notes.create(note("kept", 1)));
        run(notes.create(note("gone", 5)));
        REQUIRE(run(notes.remove(2)));
    }
};

TEST_CASE("what is inserted has the server's time, whatever is in the model", "[repository]") {
    Fixture f;
    const Time begun = f.now();
    std::vector<Note> created;
    created.push_back(f.run(f.notes.create(note("one"))));
    created.push_back(f.run(f.notes.create(title = "two")));
    Changes<Note> changes;
    created.push_back(f.run(f.notes.create(changes.set(title = "three"))));
    created.push_back(f.run(f.notes.save(note("four"), columns<&Note::title>)));
    created.push_back(f.run(f.notes.create_unless_exists(note("five"))).value());
    created.push_back(f.run(f.notes.create_all(std::vector{note("six")})).at(0));
    const auto behind = [&]() -> asio::awaitable<void> {
        f.notes.add(note("seven"));
        f.notes.add(title = "eight");
        f.notes.add_all(std::vector{note("nine")});
        co_return;
    };
    f.run(f.scope(behind));
    for (const Note& one : f.run(f.notes.find_all(field<&Note::id> > 6))) created.push_back(one);
    const Time ended = f.now();
    CHECK(created.size() == 9);
    for (const Note& one : created) {
        INFO(one.title);
        CHECK((one.created_at >= begun && one.created_at <= ended));
        CHECK(one.updated_at == one.created_at);
        CHECK_FALSE(one.deleted_at);
    }
}

TEST_CASE("what is updated has the server's time; when it was created stays", "[repository]") {
    Fixture f;
    const Note created = f.run(f.notes.create(note("one")));
    Note last = created;
    const auto check = [&](const std::optional<Note>& now) {
        REQUIRE(now);
        CHECK(now->updated_at > last.updated_at);
        CHECK(now->created_at == created.created_at);
        CHECK_FALSE(now->deleted_at);
        last = *now;
    };
    Note edited = note("one", 1);
    edited.id = created.id;
    check(f.run(f.notes.update(edited)));
    check(f.run(f.notes.update(1, stars = 2)));
    Changes<Note> changes;
    check(f.run(f.notes.update(1, changes.set(stars = 3))));
    edited = last;
    edited.stars = 4;
    edited.created_at = edited.updated_at = long_ago;
    edited.deleted_at = long_ago;
    check(f.run(f.notes.update(last, edited)));
    check(f.run(f.notes.save(note("one", 5), columns<&Note::title>)));
    check(f.run(f.notes.save(note("one", 6), Constraint{"one_note_a_title"})));
    CHECK(f.run(f.notes.update(stars == 6, stars = 7)) == 1);
    check(f.run(f.notes.find(1)));
    CHECK(f.run(f.notes.update(stars == 7, changes)) == 1);
    check(f.run(f.notes.find(1)));
    CHECK(last.version == 9);
}

TEST_CASE("a time that is assigned is written as it is", "[repository]") {
    Fixture f;
    const Note imported = f.run(f.notes.create(title = "one", field<&Note::created_at> = long_ago));
    CHECK(imported.created_at == long_ago);
    CHECK(imported.updated_at > long_ago);
    Changes<Note> changes;
    changes.set(field<&Note::updated_at> = long_ago);
    CHECK(f.run(f.notes.update(1, changes)).value().updated_at == long_ago);
}

TEST_CASE("so is a version", "[repository]") {
    Fixture f;
    f.run(f.notes.create(title = "one"));
    CHECK(f.run(f.notes.update(1, field<&Note::version> = 7)).value().version == 7);
    Changes<Note> changes;
    changes.set(field<&Note::version> = 9);
    CHECK(f.run(f.notes.update(title == "one", changes)) == 1);
    CHECK(f.run(f.notes.find(1)).value().version == 9);
}

TEST_CASE("a deleted row is kept, and says since when it counts as deleted", "[repository]") {
    Fixture f;
    const Time begun = f.now();
    const Note created = f.run(f.notes.create(note("one")));
    CHECK(f.run(f.notes.remove(created)));
    const auto kept = f.run(f.notes.with_deleted().find(1));
    REQUIRE(kept);
    CHECK(kept->deleted_at.value() > begun);
    CHECK(kept->updated_at == *kept->deleted_at);
    CHECK(kept->version == 2);
    CHECK_FALSE(f.run(f.notes.remove(1)));
    CHECK_THROWS_AS(f.run(f.notes.remove(*kept)), txscope::StaleEntity);
    CHECK(f.run(f.notes.remove(title == "one")) == 0);
}

TEST_CASE("no call of a repository finds a deleted row", "[repository]") {
    OneDeleted f;
    const auto count = [](const std::vector<Note>& found) { return found.size(); };
    const auto gone = title == "gone";
    const std::vector<int> keys{1, 2};
    CHECK_FALSE(f.run(f.notes.find(2)));
    CHECK_THROWS_AS(f.run(f.notes.get(2)), txscope::NotFound);
    CHECK_FALSE(f.run(f.notes.find(gone)));
    CHECK(count(f.run(f.notes.find_all())) == 1);
    CHECK(count(f.run(f.notes.find_all(gone || title == "kept"))) == 1);
    CHECK(count(f.run(f.notes.find_all(txscope::Criteria<Note>{}))) == 1);
    CHECK(count(f.run(f.notes.find_all(keys))) == 1);
    CHECK(f.run(f.notes.find_by(stars, std::vector{1, 5})).at(5).empty());
    CHECK(count(f.run(f.notes.find_page(ascending(title), Page{.limit = 5})).rows) == 1);
    CHECK(count(f.run(f.notes.find_all(ascending(stars), after(note("", 0))))) == 1);
    CHECK(count(f.run(f.notes.select<Note>())) == 1);
    CHECK(f.run(f.notes.stream([](const Note&) {})) == 1);
    CHECK(f.run(f.notes.with_deleted().stream(gone, [](const Note&) {})) == 1);
    CHECK(f.run(f.notes.count()) == 1);
    CHECK(f.run(f.notes.count(stars >= 1)) == 1);
    CHECK(f.run(f.notes.sum(stars)) == 1);
    CHECK(f.run(f.notes.average(stars)) == 1.0);
    CHECK(f.run(f.notes.min(title)) == "kept");
    CHECK(f.run(f.notes.max(stars, stars > 0)) == 1);
    CHECK(f.run(f.notes.count_by(stars)).size() == 1);
    CHECK_FALSE(f.run(f.notes.exists(2)));
    CHECK_FALSE(f.run(f.notes.exists(gone)));

    const auto locks = [&]() -> asio::awaitable<void> {
        const auto one = co_await f.notes.find(2, for_update);
        CHECK_FALSE(one);
        const auto all = co_await f.notes.find_all(keys, for_update);
        CHECK(all.size() == 1);
    };
    f.run(f.scope(locks));

    const Note row = f.run(f.notes.with_deleted().get(2));
    Note edited = row;
    edited.title = "again";
    Changes<Note> changes;
    CHECK_FALSE(f.run(f.notes.update(2, changes)));
    changes.set(stars = 9);
    CHECK_FALSE(f.run(f.notes.update(2, stars = 9)));
    CHECK_FALSE(f.run(f.notes.update(2, changes)));
    CHECK_THROWS_AS(f.run(f.notes.update(edited)), txscope::StaleEntity);
    CHECK_THROWS_AS(f.run(f.notes.update(row, edited)), txscope::StaleEntity);
    CHECK(f.run(f.notes.update(stars >= 1, changes)) == 1);
    CHECK(f.run(f.notes.update(stars >= 1, stars = 9)) == 1);
    CHECK(f.run(f.notes.remove(stars >= 1)) == 1);
    CHECK(f.run(f.notes.with_deleted().get(2)) == row);
}

TEST_CASE("deleted rows are seen and deleted for good where that is asked for", "[repository]") {
    OneDeleted f;
    const auto all = f.notes.with_deleted();
    CHECK(f.run(all.count()) == 2);
    CHECK(f.run(all.find_all(field<&Note::deleted_at>.is_not_null())).at(0).title == "gone");
    CHECK(f.run(all.update(2, stars = 6)).value().stars == 6);
    CHECK_FALSE(f.run(f.notes.exists(2)));
    CHECK(f.run(all.remove(2)));
    CHECK(f.run(all.count()) == 1);
    // What was deleted elsewhere can be taken over as it is.
    CHECK(f.run(all.create(note("old"))).deleted_at == long_ago);
}

TEST_CASE("a deleted row is restored", "[repository]") {
    OneDeleted f;
    const auto row = f.run(f.notes.restore(2));
    REQUIRE(row);
    CHECK_FALSE(row->deleted_at);
    CHECK(row->version == 3);
    CHECK(f.run(f.notes.get(2)) == *row);
    CHECK_FALSE(f.run(f.notes.restore(2)));
    CHECK_FALSE(f.run(f.notes.restore(7)));
    f.run(f.notes.remove(stars > 0));
    CHECK(f.run(f.notes.restore(title == "kept")) == 1);
    CHECK(f.run(f.notes.count()) == 1);
}

TEST_CASE("save brings back the deleted row that it meets", "[repository]") {
    OneDeleted f;
    const Note back = f.run(f.notes.save(note("gone", 7), columns<&Note::title>));
    CHECK(back.id == 2);
    CHECK(back.stars == 7);
    CHECK_FALSE(back.deleted_at);
    CHECK(f.run(f.notes.exists(2)));

    f.run(f.notes.remove(2));
    CHECK_FALSE(f.run(f.notes.create_unless_exists(note("gone"))));
    CHECK_FALSE(f.run(f.notes.create_unless_exists(note("gone"), columns<&Note::title>)));
    CHECK_THROWS_AS(f.run(f.notes.create(note("gone"))), pqxx::unique_violation);
}

TEST_CASE("an index without deleted rows leaves their places to others", "[repository]") {
    Fixture f;
    const Draft first = f.run(f.drafts.create(Draft{0, "one", {}}));
    f.run(f.drafts.remove(first));
    const Draft second = f.run(f.drafts.save(Draft{0, "one", {}}, columns<&Draft::title>));
    CHECK(second.id > first.id);
    CHECK_FALSE(f.run(f.drafts.create_unless_exists(Draft{0, "one", {}}, columns<&Draft::title>)));
    CHECK(f.run(f.drafts.with_deleted().count()) == 2);
}

}  // namespace repository_policies
