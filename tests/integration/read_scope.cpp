#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/scope_fixture.hpp"
#include "support/standby.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/repository/read_scope.hpp>
#include <txscope/testing/temporary_postgres.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>
#include <pqxx/except>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace read_scope {

namespace asio = boost::asio;
using support::failure_of;
using txscope::AccessMode;
using txscope::field;
using txscope::ReadScope;

struct Entry {
    std::int64_t id{};
    std::string name{};
};
BOOST_DESCRIBE_STRUCT(Entry, (), (id, name))

class Entries : public txscope::BaseRepository<Entries, Entry> {
public:
    static constexpr std::string_view table = "entries";
    static constexpr auto generated = txscope::columns<&Entry::id>;
    using BaseRepository::BaseRepository;
};

class EntryReader : public txscope::ReadRepository<EntryReader, Entry> {
public:
    static constexpr std::string_view table = "entries";
    using ReadRepository::ReadRepository;

    auto named(std::string_view name) const { return find_all(field<&Entry::name> == name); }
    asio::awaitable<txscope::Result> ask(std::string_view sql) const { return query(sql); }
};

// What a body may do; what it must not do does not compile (compile_errors).
template <typename Repository>
concept Reads = requires(const Repository& entries) {
    entries.get(1);
    entries.find(1);
    entries.find_all();
    entries.count();
    entries.exists(1);
};
static_assert(Reads<Entries> && Reads<EntryReader>);
static_assert(Reads<txscope::detail::ReadingPart<Entries>>);

inline constexpr auto takes_entries = [](Entries&) -> asio::awaitable<void> { co_return; };
inline constexpr auto takes_reader = [](const EntryReader&) -> asio::awaitable<void> { co_return; };
template <typename Body, typename... Repositories>
concept IsBody = txscope::detail::ReadBody<Body, Repositories...>;
static_assert(!IsBody<decltype(takes_entries), Entries>, "it would write");
static_assert(IsBody<decltype(takes_reader), EntryReader>);

struct Fixture : support::ScopeFixture {
    Fixture() {
        for (const char* name : {"one", "two", "three"})
            run(entries.create(field<&Entry::name> = name));
    }
    const Entries entries{sessions};
};

TEST_CASE("a ReadScope hands out what reads, all of it in one transaction", "[read_scope]") {
    Fixture fixture;
    const ReadScope<Entries, EntryReader> reading{fixture.sessions};
    const auto body = [&](const txscope::ReadRepository<Entries, Entry>& entries,
                          const EntryReader& reader) -> asio::awaitable<std::int64_t> {
        const auto snapshot = "SELECT pg_current_snapshot()::text || now()::text";
        const auto first = co_await reader.ask(snapshot);
        CHECK((co_await reader.ask("SHOW transaction_read_only")).one().get<std::string>(0) ==
              "on");
        CHECK((co_await reader.named("two")).size() == 1);
        CHECK((co_await entries.get(field<&Entry::name> == "one")).name == "one");
        CHECK(co_await entries.exists(field<&Entry::name> == "three"));
        CHECK_FALSE((co_await entries.find(field<&Entry::name> == "four")).has_value());
        const auto last = co_await reader.ask(snapshot);
        CHECK(first.one().get<std::string>(0) == last.one().get<std::string>(0));
        co_return co_await entries.count();
    };
    CHECK(fixture.run(reading(body)) == 3);
    CHECK(fixture.run(reading(body)) == 3);
}

TEST_CASE("what is written in a ReadScope all the same is refused by the server", "[read_scope]") {
    Fixture fixture;
    const ReadScope<> reading{fixture.sessions};
    const auto body = [&]() -> asio::awaitable<void> {
        co_await fixture.entries.create(field<&Entry::name> = "four");
    };
    const auto failure = fixture.run(failure_of(reading(body)));
    CHECK(support::is<txscope::SqlError>(failure));
    CHECK(support::text_of(failure).find("25006") != std::string::npos);
    CHECK(fixture.names().size() == 3);
}

TEST_CASE("a ReadScope joins the transaction around it", "[read_scope]") {
    Fixture fixture;
    const ReadScope<Entries> reading{fixture.sessions};
    const auto count = [](const auto& entries) -> asio::awaitable<std::int64_t> {
        co_return co_await entries.count();
    };
    const auto body = [&]() -> asio::awaitable<std::int64_t> {
        fixture.entries.add(field<&Entry::name> = "four");
        co_return co_await reading(count);
    };
    CHECK(fixture.run(fixture.scope(body)) == 4);
}

TEST_CASE("a ReadScope cannot be asked to write", "[read_scope]") {
    Fixture fixture;
    CHECK_THROWS_AS((ReadScope<Entries>{fixture.sessions, {.access = AccessMode::read_write}}),
                    pqxx::argument_error);
}

TEST_CASE("a ReadScope reads from a replica", "[read_scope]") {
    const txscope::TemporaryPostgres primary;
    support::Standby standby{primary};
    asio::io_context io;
    const txscope::AsyncSessionFactory sessions{
        io, {.primary = primary.dsn(), .replicas = {standby.server().dsn()}}, support::observed()};
    support::run(io, sessions.warm_up(1));
    const ReadScope<EntryReader> reading{sessions};
    const auto body = [](const EntryReader& reader) -> asio::awaitable<bool> {
        const auto found = co_await reader.ask("SELECT pg_is_in_recovery()");
        co_return found.one().get<bool>(0);
    };
    CHECK(support::run(io, reading(body)));
}

}  // namespace read_scope
