#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/fault_sweep.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// SQL of the library's own runs with the program's rights, in a database where others may create
/// functions, operators and types: it means PostgreSQL's.

namespace names_in_sql {

namespace asio = boost::asio;
using support::is;
using txscope::field;
using txscope::Session;
using txscope::TransactionScope;
using namespace std::chrono_literals;

using Time = std::chrono::sys_time<std::chrono::microseconds>;

struct Thing {
    std::int64_t id{};
    std::string name{};
    std::int16_t rank{};
    double price{};
    std::optional<float> share{};
    bool open{};
    Time seen{};
    std::chrono::year_month_day due{std::chrono::year{2024} / 2 / 29};
    std::vector<std::byte> raw{};
};
BOOST_DESCRIBE_STRUCT(Thing, (), (id, name, rank, price, share, open, seen, due, raw))

class Things : public txscope::BaseRepository<Things, Thing> {
public:
    static constexpr std::string_view table = "things";
    static constexpr auto generated = txscope::columns<&Thing::id>;
    using BaseRepository::BaseRepository;
};

/// The same rows as others see them, with all that a repository can say.
struct Mark {
    std::int64_t id{};
    std::int16_t rank{};
    int version{};
    Time seen{};
    std::optional<Time> gone{};
    std::vector<std::int32_t> parts{};
};
BOOST_DESCRIBE_STRUCT(Mark, (), (id, rank, version, seen, gone, parts))

class Marks : public txscope::BaseRepository<Marks, Mark> {
public:
    static constexpr std::string_view table = "things";
    static constexpr auto generated = txscope::columns<&Mark::id>;
    static constexpr auto key = txscope::columns<&Mark::id, &Mark::rank>;
    static constexpr auto version = txscope::columns<&Mark::version>;
    static constexpr auto updated_at = txscope::columns<&Mark::seen>;
    static constexpr auto deleted_at = txscope::columns<&Mark::gone>;
    static constexpr std::string_view column(std::string_view member) {
        return member == "version" ? "changes" : member;
    }
    using BaseRepository::BaseRepository;
};

/// A table, and in `public` a twin of everything that PostgreSQL has: each function that can be
/// written in PL/pgSQL, each operator of the types that are no text, and some types. Whoever comes to
/// one gets an error.
constexpr const char* hostile_schema = R"(
    SET search_path = pg_catalog;
    CREATE TABLE public.things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
        rank smallint DEFAULT 0, price double precision DEFAULT 0, share real,
        open boolean DEFAULT false, seen timestamptz DEFAULT '2024-02-29',
        due date DEFAULT '2024-02-29', raw bytea DEFAULT '', gone timestamptz,
        UNIQUE (id, rank), changes integer, parts integer[],
        CONSTRAINT rank_of_parts UNIQUE (rank, parts));
    DO $do$
    DECLARE
        twin record;
        body CONSTANT text := $$ LANGUAGE plpgsql AS 'BEGIN RAISE ''a twin was called''; END' $$;
        plain CONSTANT regtype[] := '{bool, int2, int4, int8, float4, float8, numeric, date,
                                      timestamp, timestamptz, bytea, oid, xid, xid8, pg_lsn}';
    BEGIN
        FOR twin IN SELECT format('CREATE FUNCTION public.%I(%s) RETURNS %s %s', proname,
                                  oidvectortypes(proargtypes), format_type(prorettype, NULL), body)
                    AS definition FROM pg_proc
                    WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
                    AND NOT proretset
        LOOP
            BEGIN
                EXECUTE twin.definition;
            EXCEPTION WHEN invalid_function_definition OR feature_not_supported THEN
                NULL;  -- of types that PL/pgSQL does not take
            END;
        END LOOP;
        FOR twin IN SELECT format('CREATE OPERATOR public.%s (FUNCTION = public.%I, '
                                  'LEFTARG = %s, RIGHTARG = %s)', oprname, proname,
                                  oprleft::regtype, oprright::regtype) AS definition
                    FROM pg_operator JOIN pg_proc ON pg_proc.oid = oprcode
                    WHERE oprleft = ANY (plain) AND oprright = ANY (plain)
                    AND oprresult = 'bool'::regtype
        LOOP
            EXECUTE twin.definition;
        END LOOP;
        EXECUTE 'CREATE AGGREGATE public.count(*) (SFUNC = public.int8inc, STYPE = int8)';
        FOR twin IN SELECT format('CREATE DOMAIN public.%I AS %I CHECK (VALUE IS NULL)', name, name)
                    AS definition FROM unnest('{text, int8, xid8, regclass, timestamptz}'::name[])
                    AS name
        LOOP
            EXECUTE twin.definition;
        END LOOP;
    END $do$)";

/// Clients that find the twins first, and a proxy that sees what they send.
struct Fixture {
    support::Database database{hostile_schema};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{
        io, proxy.dsn(database.name()) + " options='-c search_path=public,pg_catalog'"};
    Things things{sessions};

    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }
};

asio::awaitable<void> call_everything(const Things& things) {
    Thing thing;
    thing.name = "a";
    thing.share = 0.5f;
    thing.raw = {std::byte{1}};
    const auto name = field<&Thing::name>;
    const auto raw = field<&Thing::raw>;
    const auto found = field<&Thing::id> >= 1 && field<&Thing::rank> == 0 &&
                       field<&Thing::price> <= 0.0 && field<&Thing::share> < 1.0 &&
                       field<&Thing::open> != true && field<&Thing::seen> == Time{} &&
                       field<&Thing::due> > std::chrono::year{1999} / 1 / 1 && raw == thing.raw;
    const auto listed = field<&Thing::id>.in(1, 2) && field<&Thing::price>.in(0.0) &&
                        name.in("a", "b") && name.like("_") && raw.in(thing.raw);
    const Thing created = co_await things.create(thing);
    co_await things.create(name = "b");
    co_await things.get(created.id);
    co_await things.update(created);
    co_await things.update(created.id, name = "a");
    const auto by_condition = co_await things.find(found);
    CHECK(by_condition.has_value());
    const auto ordered =
        co_await things.find_all(listed, txscope::descending(name), txscope::Page{.limit = 5});
    CHECK(ordered.size() == 1);
    const auto count = co_await things.count(found || listed);
    CHECK(count == 1);
    const auto exists = co_await things.exists(created.id);
    CHECK(exists);
    const auto updated = co_await things.update(found, name = "c");
    CHECK(updated == 1);
    const auto removed = co_await things.remove(created.id);
    CHECK(removed);
    co_await things.remove(name == "b");
}

asio::awaitable<void> mark_everything(const Marks& marks) {
    const auto rank = field<&Mark::rank>;
    std::vector<Mark> two(2);
    two[0].parts = {1};
    two[1].parts = {2};
    const auto made = co_await marks.create_all(two);
    std::vector<std::pair<std::int64_t, int>> keys;
    for (const Mark& mark : made) keys.emplace_back(mark.id, 0);
    const auto found = co_await marks.find_all(keys);
    CHECK(found.size() == 2);
    const std::vector<int> ranks(1, 0);
    const auto groups = co_await marks.find_by(rank, ranks);
    CHECK(groups.at(0).size() == 2);
    const auto behind =
        co_await marks.find_page(txscope::ascending(rank), txscope::descending(field<&Mark::id>),
                                 txscope::after(made[1]), txscope::Page{.limit = 1});
    CHECK(behind.rows.size() == 1);
    const auto sum = co_await marks.sum(rank);
    CHECK(sum == 0);
    const auto average = co_await marks.average(rank);
    CHECK(average == 0.0);
    const auto most = co_await marks.max(rank);
    CHECK(most == 0);
    const auto counts = co_await marks.count_by(rank);
    CHECK(counts.size() == 1);
    const auto saved = co_await marks.save_all(found, txscope::Constraint{"rank_of_parts"});
    CHECK(saved.size() == 2);
    const auto parts = field<&Mark::parts>;
    const auto none = co_await marks.create_unless_exists(saved[0]);
    CHECK_FALSE(none.has_value());
    const auto composed =
        co_await marks.count(parts.any(1) || parts.contains(1) || parts.overlaps(2),
                             txscope::row(rank, field<&Mark::id>) >= txscope::row(0, saved[0].id));
    CHECK(composed == 2);
    const auto updated = co_await marks.update(made[0].id, 0, rank = rank + 1);
    CHECK(updated.has_value());
    const auto removed = co_await marks.remove(rank >= 0);
    CHECK(removed == 2);
    const auto restored = co_await marks.restore(made[1].id, 0);
    CHECK(restored.has_value());
    co_await marks.with_deleted().remove(rank >= 0);
}

/// Scopes with every option, one after the other, nested, rolled back, and a session to be reset.
asio::awaitable<void> open_every_scope(txscope::AsyncSessionFactory sessions) {
    const auto insert = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO \"things\" (name) VALUES ('x')");
    };
    const TransactionScope nested{sessions, {.propagation = txscope::Propagation::nested}};
    const TransactionScope outer{sessions,
                                 {.isolation = txscope::IsolationLevel::serializable,
                                  .access = txscope::AccessMode::read_write,
                                  .statement_timeout = 1min,
                                  .lock_timeout = 1min,
                                  .timeout = 5min,
                                  .verify_commit = true,
                                  .verify_timeout = support::patience,
                                  .label = "names"}};
    co_await outer([&](Session& session) -> asio::awaitable<void> {
        co_await nested(insert);
        const auto failed =
            co_await support::failure_of(nested([&](Session& inner) -> asio::awaitable<void> {
                co_await insert(inner);
                throw support::Refusal{"the inner scope only"};
            }));
        CHECK(is<support::Refusal>(failed));
        co_await session.execute("SET statement_timeout = '1min'");
    });
    const TransactionScope reading{sessions,
                                   {.isolation = txscope::IsolationLevel::serializable,
                                    .access = txscope::AccessMode::read_only,
                                    .deferrable = true}};
    co_await reading(
        [](Session& session) -> asio::awaitable<void> { co_await session.execute("SELECT"); });
}

TEST_CASE("nothing of the caller's is called by a repository's SQL", "[names_in_sql]") {
    Fixture fixture;
    fixture.run(call_everything(fixture.things));
    fixture.run(mark_everything(Marks{fixture.sessions}));
    CHECK(fixture.database.count("things") == 0);
}

TEST_CASE("nothing of the caller's is called by the SQL of scopes", "[names_in_sql]") {
    Fixture fixture;
    fixture.run(open_every_scope(fixture.sessions));
    CHECK(fixture.database.count("things") == 1);
}

TEST_CASE("nothing of the caller's is called to verify a commit", "[names_in_sql]") {
    Fixture fixture;
    const TransactionScope scope{fixture.sessions,
                                 {.verify_commit = true, .verify_timeout = support::patience}};
    fixture.proxy.cut(support::before_answer("COMMIT"));
    fixture.run(scope([](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO \"things\" (name) VALUES ('x')");
    }));
    fixture.proxy.await_fault();
    CHECK(fixture.database.count("things") == 1);
}

TEST_CASE("nothing of the caller's is called by a fault sweep", "[names_in_sql]") {
    const support::Database database{hostile_schema};
    txscope::FaultSweep sweep{
        database.dsn() + " options='-c search_path=public,pg_catalog'",
        {.reset = "DELETE FROM public.things", .state = "SELECT name FROM public.things"}};
    const auto fault = GENERATE(txscope::Fault::cancel, txscope::Fault::terminate);
    CAPTURE(to_string(fault));
    const txscope::FaultSweepCounts met =
        sweep.run(fault, [](txscope::AsyncSessionFactory sessions) -> asio::awaitable<void> {
            co_await sessions.execute("INSERT INTO public.things (name) VALUES ('x')");
        });
    CHECK(met.points > 0);
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_sign(char c) { return std::string_view{"<>=!~@&"}.find(c) != std::string_view::npos; }

/// The words, quoted names, constants and signs of an SQL text, without comments.
std::vector<std::string> tokens_of(std::string_view sql) {
    std::vector<std::string> tokens;
    for (std::size_t at = 0; at < sql.size();) {
        std::size_t end = at + 1;
        if (sql.substr(at, 2) == "/*") {
            at = sql.find("*/", at) + 2;
            continue;
        }
        if (sql[at] == '\'' || sql[at] == '"')
            end = sql.find(sql[at], at + 1) + 1;
        else if (is_word(sql[at]))
            while (end < sql.size() && is_word(sql[end])) ++end;
        else if (sql.substr(at, 2) == "::")
            ++end;
        else if (is_sign(sql[at]))
            while (end < sql.size() && is_sign(sql[end])) ++end;
        if (sql[at] != ' ' && sql[at] != '\n') tokens.emplace_back(sql.substr(at, end - at));
        at = end;
    }
    return tokens;
}

/// The function, operator, type or relation in an SQL text that is found by the `search_path`; empty
/// when there is none. An operator of a column of the caller's, which is quoted, belongs to its type; a quoted type is the
/// caller's table.
std::string unqualified_name_in(std::string_view sql) {
    constexpr std::array syntax{"ALL",  "AND",    "ANY",      "AS",   "CASE", "COALESCE",
                                "ELSE", "EXISTS", "EXTRACT",  "FROM", "IN",   "INTERVAL",
                                "NOT",  "NULLIF", "OPERATOR", "OR",   "ROW",  "SELECT",
                                "THEN", "VALUES", "WHEN",     "WHERE"};
    const auto tokens = tokens_of(sql);
    const auto at = [&](std::size_t i) { return i < tokens.size() ? tokens[i] : std::string{}; };
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::string& token = tokens[i];
        std::string upper;
        for (const char c : token)
            upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        const bool qualified = i >= 2 && tokens[i - 1] == "." && tokens[i - 2] == "pg_catalog";
        const bool alias = i >= 1 && tokens[i - 1] == "AS";
        const bool keyword = std::ranges::find(syntax, upper) != syntax.end();
        const bool call = is_word(token[0]) && at(i + 1) == "(";
        if (call && !qualified && !alias && !keyword) return token;
        if (token == "::" && at(i + 1) != "pg_catalog" && at(i + 1)[0] != '"') return at(i + 1);
        if ((upper == "FROM" || upper == "JOIN") && is_word(at(i + 1)[0]) &&
            at(i + 1) != "pg_catalog")
            return at(i + 1);
        if (token == "OPERATOR" && at(i + 2) != "pg_catalog") return at(i + 2);
        if (is_sign(token[0]) && !qualified && at(0) != "SET" && at(i - 1)[0] != '"') return token;
    }
    return {};
}

TEST_CASE("every name in every SQL text of the library's is qualified", "[names_in_sql]") {
    CHECK(unqualified_name_in("SELECT now()") == "now");
    CHECK(unqualified_name_in("SELECT 'now()', \"now\" (pg_catalog.now()) /* now() */").empty());
    CHECK(unqualified_name_in("SELECT $1::text") == "text");
    CHECK(unqualified_name_in("SELECT name FROM pg_settings") == "pg_settings");
    CHECK(unqualified_name_in("SELECT count(*)") == "count");
    CHECK(unqualified_name_in("SELECT 1 = $1") == "=");
    CHECK(unqualified_name_in("SELECT $1 OPERATOR(public.<=) 1") == "public");
    CHECK(unqualified_name_in("SELECT $1 OPERATOR(pg_catalog.<=) \"a\" AND \"a\" = 1").empty());
    CHECK(unqualified_name_in("SET LOCAL lock_timeout = 1").empty());

    Fixture fixture;
    fixture.run(call_everything(fixture.things));
    fixture.run(mark_everything(Marks{fixture.sessions}));
    fixture.run(open_every_scope(fixture.sessions));
    const TransactionScope scope{fixture.sessions,
                                 {.verify_commit = true, .verify_timeout = support::patience}};
    fixture.proxy.cut(support::before_answer("COMMIT"));
    fixture.run(scope([](Session& session) -> asio::awaitable<void> {
        co_await session.execute("INSERT INTO \"things\" (name) VALUES ('x')");
    }));
    for (const std::string& sql : fixture.proxy.statements()) {
        CAPTURE(sql);
        CHECK(unqualified_name_in(sql).empty());
    }
}

}  // namespace names_in_sql
