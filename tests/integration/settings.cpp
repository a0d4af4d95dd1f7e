#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/environment_variable.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/pgbouncer.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/testing/fault_sweep.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace settings {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::Database;
using txscope::AsyncSessionFactory;
using txscope::Session;

using Setting = std::pair<std::string, std::string>;

// Every setting that changes how some value or SQL text is written or read.
const std::vector<Setting> unusual{
    {"client_encoding", "LATIN1"},
    {"client_encoding", "SQL_ASCII"},
    {"standard_conforming_strings", "off"},
    {"DateStyle", "German"},
    {"DateStyle", "SQL, DMY"},
    {"DateStyle", "Postgres, MDY"},
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "sql_standard"},
    {"IntervalStyle", "iso_8601"},
    {"extra_float_digits", "0"},
    {"extra_float_digits", "-15"},
    {"extra_float_digits", "3"},
    {"bytea_output", "escape"},
    {"array_nulls", "off"},
    {"backslash_quote", "off"},
    {"transform_null_equals", "on"},
    {"xmlbinary", "hex"},
    {"xmloption", "document"},
    {"TimeZone", "America/St_Johns"},
    {"TimeZone", "Europe/Amsterdam"},  // a century ago 19 minutes and 32 seconds from Greenwich
};

// One of each name, as a line of postgresql.conf and as an option of a connection string has them.
std::vector<Setting> one_of_each() {
    std::vector<Setting> chosen;
    for (const Setting& setting : unusual)
        if (chosen.empty() || chosen.back().first != setting.first) chosen.push_back(setting);
    return chosen;
}

// Whether PgBouncer of any version has the server set it for whoever gets a connection.
bool kept_by_poolers(const Setting& setting) {
    for (const char* name : {"client_encoding", "standard_conforming_strings", "DateStyle"})
        if (setting.first == name) return true;
    return false;
}

enum class Colour {
    red,
    blue
};
BOOST_DESCRIBE_ENUM(Colour, red, blue)

using Time = std::chrono::sys_time<std::chrono::microseconds>;

// A member of every type that is read, apart from those that are read alike.
struct Sample {
    std::int64_t id{};
    bool truth{};
    std::int64_t whole{};
    float single_float{};
    double double_float{};
    std::string text{};
    Time time{};
    Time old_time{};
    std::chrono::year_month_day date{};
    std::vector<std::byte> bytes{};
    Colour colour{};
    std::vector<double> numbers{};
    std::vector<std::optional<std::string>> texts{};
    std::vector<Time> times{};
    std::string span{};
    std::string fragment{};

    bool operator==(const Sample&) const = default;
};
BOOST_DESCRIBE_STRUCT(Sample, (),
                      (id, truth, whole, single_float, double_float, text, time, old_time, date,
                       bytes, colour, numbers, texts, times, span, fragment))

class Samples : public txscope::BaseRepository<Samples, Sample> {
public:
    static constexpr std::string_view table = "samples";
    using BaseRepository::BaseRepository;
};

constexpr const char* schema =
    "CREATE TYPE colour AS ENUM ('red', 'blue');"
    "CREATE TABLE samples (id bigint PRIMARY KEY, truth bool, whole bigint, single_float real, "
    "double_float double precision, text text, time timestamptz, old_time timestamptz, date date, "
    "bytes bytea, colour colour, numbers double precision[], texts text[], times timestamptz[], "
    "span interval, fragment xml)";

Sample sample() {
    using namespace std::chrono;
    const Time time = sys_days{2024y / March / 4} + 13h + 5min + 7s + 123456us;
    const Time old_time = sys_days{1899y / January / 2} + 3h;
    return {.id = 1,
            .truth = true,
            .whole = std::numeric_limits<std::int64_t>::min(),
            .single_float = 0.1F + 1e-8F,
            .double_float = 0.1 + 0.2,
            .text = "it's \\'\" \t \xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91",
            .time = time,
            .old_time = old_time,
            .date = -43y / March / 4,
            .bytes = {std::byte{0}, std::byte{'\\'}, std::byte{'\''}, std::byte{255}},
            .colour = Colour::blue,
            .numbers = {0.1 + 0.2, 1e300, std::numeric_limits<double>::denorm_min()},
            .texts = {"NULL", std::nullopt, "null", "a,\"b\\", "\xc3\xa4"},
            .times = {time, old_time},
            .span = "1 year 2 mons -3 days +04:05:06.789",
            .fragment = "two<a/><b/>"};
}

// Whether values and SQL over a connection of `sessions` are what they always are.
asio::awaitable<void> check_values(AsyncSessionFactory sessions, std::int64_t id = 1) {
    const Samples samples{sessions};
    Sample written = sample();
    written.id = id;
    co_await samples.create(written);
    const std::optional<Sample> read = co_await samples.find(id);
    CHECK(read == std::optional{written});
    const auto answer = co_await sessions.execute(
        "SELECT 'a\\b', E'it\\'s', '04/03/2024'::date, NULL = NULL, '-1 2:03:04'::interval, "
        "0.1::float8 + 0.2::float8, '{NULL}'::text[], xmlelement(name a, '\\x00'::bytea)::text, "
        "length($1)",
        written.text);
    const txscope::Row row = answer.one();
    CHECK(row.get<std::string>(0) == "a\\b");
    CHECK(row.get<std::string>(1) == "it's");
    CHECK(row.get<std::string>(2) == "2024-04-03");
    CHECK(row.get<std::optional<bool>>(3) == std::nullopt);
    CHECK(row.get<std::string>(4) == "-1 days +02:03:04");
    CHECK(row.get<double>(5) == 0.1 + 0.2);
    CHECK(row.get<std::string>(6) == "{NULL}");
    CHECK(row.get<std::string>(7) == "<a>AA==</a>");
    CHECK(row.get<int>(8) == 14);  // the server, too, sees characters and not bytes
    co_await samples.remove(id);
}

void check_values(const std::string& dsn) {
    asio::io_context io;
    const AsyncSessionFactory sessions{io, dsn, support::observed()};
    support::run(io, check_values(sessions));
}

// Makes that the setting of a database, for whoever connects from then on.
void set(const Database& database, const Setting& setting) {
    const auto& [name, value] = setting;
    database.query("ALTER DATABASE " + database.name() + " SET " + name + " = " +
                   txscope::detail::quote_setting(value));
}

TEST_CASE("values are what they are without any setting", "[settings]") {
    check_values(Database{schema}.dsn());
}

TEST_CASE("no setting of a database changes a value", "[settings]") {
    const Database database{schema};
    for (const Setting& setting : unusual) {
        CAPTURE(setting);
        set(database, setting);
        CHECK_NOTHROW(check_values(database.dsn()));
        database.query("ALTER DATABASE " + database.name() + " RESET ALL");
        database.query("TRUNCATE samples");
    }
}

TEST_CASE("no setting of a role changes a value", "[settings]") {
    const Database database{schema};
    const std::string role = "role_of_" + database.name();
    database.query("CREATE ROLE " + role + " SUPERUSER LOGIN");
    for (const auto& [name, value] : one_of_each())
        database.query("ALTER ROLE " + role + " IN DATABASE " + database.name() + " SET " + name +
                       " = " + txscope::detail::quote_setting(value));
    check_values(database.dsn() + " user=" + role);
    database.query("DROP ROLE " + role);
}

TEST_CASE("no setting of a server changes a value", "[settings]") {
    txscope::TemporaryPostgresOptions options;
    for (const auto& [name, value] : one_of_each())
        options.settings.push_back(name + " = " + txscope::detail::quote_setting(value));
    const txscope::TemporaryPostgres server{options};
    support::query(server.dsn(), schema);
    check_values(server.dsn());
}

// An environment variable that is set for as long as this lives.
TEST_CASE("no setting of a connection string or of the environment changes a value", "[settings]") {
    const Database database{schema};
    std::string options;
    for (auto [name, value] : one_of_each()) {
        std::erase(value, ' ');
        options += " -c " + name + '=' + value;
    }
    SECTION("options") { check_values(database.dsn() + " options='" + options + "'"); }
    SECTION("client_encoding") { check_values(database.dsn() + " client_encoding=LATIN1"); }
    SECTION("the environment") {
        const support::EnvironmentVariable pgoptions{"PGOPTIONS", options};
        const support::EnvironmentVariable date_style{"PGDATESTYLE", "SQL, DMY"};
        const support::EnvironmentVariable encoding{"PGCLIENTENCODING", "LATIN1"};
        check_values(database.dsn());
    }
}

TEST_CASE("what a session sets is in force there, and gone for the next, in no round trip more",
          "[settings]") {
    const Database database{schema};
    for (const Setting& setting : one_of_each()) set(database, setting);
    asio::io_context io;
    const AsyncSessionFactory sessions{io, database.dsn(), support::observed({.max_size = 1})};
    const auto change = [](Session& session) -> asio::awaitable<void> {
        co_await session.execute("SET DateStyle = German");
        const auto today = co_await session.execute("SELECT '2024-03-04'::date");
        CHECK(today.one().get<std::string>(0) == "04.03.2024");
    };
    support::run(io, sessions.session_scope(change));
    support::run(io, check_values(sessions));
    CHECK(sessions.statistics().opened == 1);
    CHECK(sessions.statistics().discarded == 0);
    // Two statements and the reset; then what check_values does.
    CHECK(sessions.statistics().round_trips == 3 + 4);
}

TEST_CASE("what a session resets is fixed again for the next", "[settings]") {
    const Database database{schema};
    for (const Setting& setting : one_of_each()) set(database, setting);
    asio::io_context io;
    const AsyncSessionFactory sessions{io, database.dsn(), support::observed({.max_size = 1})};
    for (const std::string sql :
         {"DISCARD ALL", "RESET ALL", "SET SESSION AUTHORIZATION DEFAULT"}) {
        CAPTURE(sql);
        support::run(io, sessions.session_scope([&](Session& session) -> asio::awaitable<void> {
            co_await session.execute(sql);
        }));
        support::run(io, check_values(sessions));
        database.query("TRUNCATE samples");
    }
    CHECK(sessions.statistics().opened == 1);
}

TEST_CASE("a fault sweep does not take what is fixed for something left behind", "[settings]") {
    const Database database{schema};
    for (const Setting& setting : one_of_each()) set(database, setting);
    txscope::FaultSweep sweep{
        database.dsn(), {.reset = "TRUNCATE samples", .state = "SELECT id, numbers FROM samples"}};
    const auto body = [](AsyncSessionFactory sessions) -> asio::awaitable<void> {
        const Samples samples{sessions};
        const Sample written = sample();
        co_await samples.create(written);
    };
    CHECK_NOTHROW(sweep.run(txscope::Fault::cancel, body));
}

TEST_CASE("a connection that is lost during the look is opened anew, once", "[settings]") {
    const Database database{schema};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    const AsyncSessionFactory sessions{io, proxy.dsn(database.name()), support::observed()};
    proxy.cut(support::before_answer("current_setting"));
    support::run(io, sessions.execute("SELECT 1"));
    proxy.await_fault();
    CHECK(proxy.connections() == 2);
    CHECK(sessions.statistics().opened == 1);
}

TEST_CASE("opening a connection costs one look at its settings, whatever they are", "[settings]") {
    const Database database{schema};
    const support::FaultProxy proxy{support::server()};
    asio::io_context io;
    const auto open = [&] {
        const AsyncSessionFactory sessions{io, proxy.dsn(database.name()), support::observed()};
        support::run(io, sessions.execute("SELECT 1"));
        CHECK(sessions.statistics().round_trips == 1);
    };
    open();
    CHECK(proxy.round_trips() == 2);
    set(database, {"DateStyle", "German"});
    open();
    CHECK(proxy.round_trips() == 4);
}

TEST_CASE("what a pooler keeps for its clients is fixed for us alone", "[settings]") {
    const std::string mode = GENERATE("session", "transaction");
    CAPTURE(mode);
    const Database database{schema};
    for (const Setting& setting : one_of_each())
        if (kept_by_poolers(setting)) set(database, setting);
    const support::PgBouncer bouncer{database, {.pool_mode = mode, .pool_size = 4}};
    asio::io_context io;
    const AsyncSessionFactory sessions{
        io, bouncer.dsn(), {.max_size = 3, .statement_cache_size = 0}};
    support::Client stranger{bouncer.dsn()};
    const auto work = [&](int number) -> asio::awaitable<void> {
        for (int time = 0; time < 10; ++time) co_await check_values(sessions, number);
    };
    support::run(io, [&]() -> asio::awaitable<void> {
        using namespace asio::experimental::awaitable_operators;
        co_await (work(1) && work(2) && work(3) && work(4));
    });
    CHECK(stranger.query("SELECT '2024-03-04'::date").value() == "04.03.2024");
    CHECK(stranger.query("SHOW client_encoding").value() == "LATIN1");
}

TEST_CASE("what a pooler does not keep is refused by name, and left alone", "[settings]") {
    const std::string mode = GENERATE("session", "transaction");
    const Database database{schema};
    const support::PgBouncer bouncer{database, {.pool_mode = mode, .pool_size = 1}};
    for (const Setting& setting : one_of_each()) {
        if (kept_by_poolers(setting) || setting.first == "TimeZone") continue;
        CAPTURE(mode, setting);
        set(database, setting);
        bouncer.console()->query("RECONNECT");
        asio::io_context io;
        const AsyncSessionFactory sessions{io, bouncer.dsn(), support::observed()};
        const auto failure = support::run(io, support::failure_of(sessions.execute("SELECT 1")));
        CHECK(support::is<txscope::ConnectionFailed>(failure));
        CHECK_THAT(support::text_of(failure),
                   ContainsSubstring("the setting " + setting.first + " is \"" + setting.second +
                                     "\", and behind a pooler"));
        CHECK(support::query(bouncer.dsn(), "SHOW " + setting.first).value() == setting.second);
        database.query("ALTER DATABASE " + database.name() + " RESET ALL");
    }
}

}  // namespace settings
