#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>
#include <txscope/values/uuid.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>
#include <boost/uuid/uuid.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// Rows whose columns are known come in binary where that is exact and cheaper.
namespace binary_results {

namespace asio = boost::asio;
using namespace std::chrono;
using support::failure_of;
using txscope::ascending;
using txscope::field;
using txscope::Session;

/// A text in a bytea, which says how it was read.
struct Told {
    std::string text{};
    bool in_binary = false;
};

/// A strong type around a time.
struct Moment {
    sys_time<milliseconds> time{};
    bool operator==(const Moment&) const = default;
};

}  // namespace binary_results

template <>
struct txscope::SqlValue<binary_results::Told> {
    static std::string to_text(const binary_results::Told& told) { return told.text; }
    static binary_results::Told from_text(std::string_view) { return {.text = "hex"}; }
    static constexpr std::uint32_t binary_type = 17;
    static binary_results::Told from_binary(std::string_view bytes) {
        return {.text = std::string{bytes}, .in_binary = true};
    }
};
template <>
struct txscope::SqlValue<binary_results::Moment>
    : txscope::WrappedValue<&binary_results::Moment::time> {};

namespace binary_results {

using Bytes = std::vector<std::byte>;

struct Sample {
    std::int64_t id{};
    sys_time<microseconds> at{};
    std::optional<local_time<microseconds>> local{};
    sys_time<nanoseconds> fine{};
    Moment moment{};
    std::optional<double> number{};
    float small{};
    std::optional<Bytes> bytes{};
    boost::uuids::uuid key{};
    std::string text{};
    sys_days day{};
    std::optional<local_days> local_day{};
    year_month_day date{};
    sys_time<weeks> week{};
    bool operator==(const Sample&) const = default;
};
BOOST_DESCRIBE_STRUCT(Sample, (),
                      (id, at, local, fine, moment, number, small, bytes, key, text, day, local_day,
                       date, week))

class Samples : public txscope::BaseRepository<Samples, Sample> {
public:
    static constexpr std::string_view table = "samples";
    using BaseRepository::BaseRepository;
};

struct Report {
    std::int64_t id{};
    Told told{};
};
BOOST_DESCRIBE_STRUCT(Report, (), (id, told))

class Reports : public txscope::BaseRepository<Reports, Report> {
public:
    static constexpr std::string_view table = "reports";
    using BaseRepository::BaseRepository;
};

const char* const schema =
    "CREATE TABLE samples (id bigint PRIMARY KEY, at timestamptz NOT NULL, local timestamp,"
    " fine timestamptz NOT NULL, moment timestamptz NOT NULL, number double precision,"
    " small real NOT NULL, bytes bytea, key uuid NOT NULL, text text NOT NULL, day date NOT NULL,"
    " local_day date, date date NOT NULL, week date NOT NULL);"
    "CREATE TABLE reports (id bigint PRIMARY KEY, told bytea)";

struct Fixture {
    explicit Fixture(txscope::PoolOptions options = {})
        : sessions{io, database.dsn(), support::observed(std::move(options))} {}

    template <typename T>
    T run(asio::awaitable<T> work) {
        return support::run(io, std::move(work));
    }

    const support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions;
    Samples samples{sessions};
    Reports reports{sessions};
};

constexpr auto id = field<&Sample::id>;

/// Of anything, and now and then of what is special.
class Random {
public:
    std::uint64_t bits() { return engine_(); }
    bool once_in(std::uint64_t times) { return bits() % times == 0; }

    template <typename Time>
    Time time() {
        using Duration = typename Time::duration;
        if (once_in(8)) return Time::max();
        if (once_in(8)) return Time::min();
        // From 4713 BC on, PostgreSQL's first year; nanoseconds have less room.
        constexpr auto years = std::is_same_v<Duration, nanoseconds> ? 200 : 6600;
        const auto range = duration_cast<microseconds>(days{365} * years).count();
        const auto offset =
            static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(2 * range));
        return Time{floor<Duration>(microseconds{offset - range})};
    }
    /// From PostgreSQL's first day to the last of `year_month_day`.
    year_month_day date() {
        constexpr sys_days first = year{-4712} / 11 / 24, last = year::max() / 12 / 31;
        if (once_in(8)) return first;
        if (once_in(8)) return last;
        return first + days{bits() % static_cast<std::uint64_t>((last - first).count())};
    }
    template <typename Float, typename Bits>
    Float number() {
        const Float any = std::bit_cast<Float>(static_cast<Bits>(bits()));
        if (std::isnan(any)) return -Float{};
        if (once_in(8)) return -std::numeric_limits<Float>::infinity();
        return once_in(8) ? std::numeric_limits<Float>::denorm_min() : any;
    }
    Bytes bytes() {
        Bytes bytes(bits() % 300);
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(bits());
        return bytes;
    }

private:
    std::mt19937_64 engine_{7};
};

std::vector<Sample> random_samples() {
    Random random;
    std::vector<Sample> samples;
    for (std::int64_t number = 1; number <= 2'000; ++number) {
        Sample sample{.id = number};
        sample.at = random.time<sys_time<microseconds>>();
        if (!random.once_in(4)) sample.local = random.time<local_time<microseconds>>();
        sample.fine = random.time<sys_time<nanoseconds>>();
        sample.moment.time = random.time<sys_time<milliseconds>>();
        if (!random.once_in(4)) sample.number = random.number<double, std::uint64_t>();
        sample.small = random.number<float, std::uint32_t>();
        if (!random.once_in(4)) sample.bytes = random.bytes();
        for (auto& byte : sample.key) byte = static_cast<std::uint8_t>(random.bits());
        sample.text = std::to_string(random.bits());
        sample.day = random.time<sys_days>();
        if (!random.once_in(4)) sample.local_day = random.time<local_days>();
        sample.date = random.date();
        sample.week = random.time<sys_time<weeks>>();
        samples.push_back(std::move(sample));
    }
    return samples;
}

bool same(const std::vector<Sample>& one, const std::vector<Sample>& other) {
    return std::ranges::equal(one, other, [](const Sample& a, const Sample& b) {
        return a == b && std::signbit(a.small) == std::signbit(b.small);
    });
}

TEST_CASE("values are the same in binary as they are as texts", "[binary_results]") {
    const bool pipelining = GENERATE(true, false);
    Fixture f{{.max_size = 1, .pipelining = pipelining}};
    const auto samples = random_samples();
    // The first time the columns are not known yet.
    CHECK(same(f.run(f.samples.create_all(samples)), samples));
    for (int i = 0; i < 3; ++i) CHECK(same(f.run(f.samples.find_all(ascending(id))), samples));
    const auto by_text = f.run(f.sessions.execute("SELECT * FROM samples ORDER BY id"));
    CHECK(same(by_text.as<Sample>(), samples));
    f.database.query("TRUNCATE samples");
    CHECK(same(f.run(f.samples.create_all(samples)), samples));
}

TEST_CASE("NaN is the same in binary, and so is the sign of zero", "[binary_results]") {
    Fixture f{{.max_size = 1}};
    std::vector<Sample> samples(3);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        samples[i].id = static_cast<std::int64_t>(i);
        samples[i].date = year{2000} / 1 / 1;
    }
    samples[0].number = std::numeric_limits<double>::quiet_NaN();
    samples[0].small = std::numeric_limits<float>::quiet_NaN();
    samples[1].number = -0.0;
    samples[1].small = -0.0f;
    samples[2].number = 0.0;
    f.run(f.samples.create_all(samples));
    for (int i = 0; i < 3; ++i) {
        const auto read = f.run(f.samples.find_all(ascending(id)));
        REQUIRE(read.size() == 3);
        CHECK(std::isnan(read[0].number.value()));
        CHECK(std::isnan(read[0].small));
        CHECK(std::signbit(read[1].number.value()));
        CHECK(std::signbit(read[1].small));
        CHECK_FALSE(std::signbit(read[2].number.value()));
        CHECK_FALSE(std::signbit(read[2].small));
    }
}

TEST_CASE("what is known to be cheaper comes in binary once the columns are known",
          "[binary_results]") {
    Fixture f{{.max_size = 1}};
    f.database.query("INSERT INTO reports VALUES (1, 'abc'), (2, NULL)");
    const auto read = [&] {
        return f.run(f.reports.find_all(field<&Report::id> == 1)).front().told;
    };
    CHECK_FALSE(read().in_binary);
    const Told told = read();
    CHECK(told.in_binary);
    CHECK(told.text == "abc");
    // A type that is read from one type in binary is read from others as text.
    f.database.query("ALTER TABLE reports ALTER told TYPE text USING 'abc'");
    for (int i = 0; i < 3; ++i) CHECK_FALSE(read().in_binary);
}

TEST_CASE("dates are known to be cheaper in binary", "[binary_results]") {
    constexpr std::uint32_t date = 1082;
    CHECK(txscope::detail::binary_type<sys_days> == date);
    CHECK(txscope::detail::binary_type<local_days> == date);
    CHECK(txscope::detail::binary_type<year_month_day> == date);
    using std::string_view_literals::operator""sv;
    CHECK(txscope::SqlValue<year_month_day>::from_binary("\0\0\0\1"sv) == year{2000} / January / 2);
}

TEST_CASE("NULL, and what does not fit, is told in binary, too", "[binary_results]") {
    Fixture f{{.max_size = 1}};
    f.database.query("INSERT INTO reports VALUES (1, NULL)");
    for (int i = 0; i < 3; ++i) {
        const auto failure = f.run(failure_of(f.reports.find_all()));
        CHECK(support::text_of(failure).find("column \"told\" (index 1) is NULL") !=
              std::string::npos);
    }
    const auto samples = random_samples();
    f.run(f.samples.create_all(std::vector{samples.front()}));
    for (const char* wrong : {"294276-12-31", "32768-01-01"}) {
        f.database.query("UPDATE samples SET at = '" + std::string{wrong} + "'");
        const auto as_text = f.run(failure_of(f.samples.find(1)));
        for (int i = 0; i < 3; ++i) {
            const auto failure = f.run(failure_of(f.samples.find_all()));
            CHECK(support::is<txscope::ColumnError>(failure));
            CHECK(support::text_of(failure) == support::text_of(as_text));
        }
    }
    f.database.query("UPDATE samples SET at = '32767-12-31 23:59:59.999999+00'");
    for (int i = 0; i < 3; ++i)
        CHECK(f.run(f.samples.find_all()).front().at ==
              sys_days{year{32767} / 12 / 31} + 24h - 1us);
    f.database.query("UPDATE samples SET at = '2000-01-01'");
    for (const char* wrong : {"day = '32768-01-01'", "local_day = '5874897-12-31'",
                              "date = 'infinity'", "date = '-infinity'", "date = '32768-01-01'"}) {
        f.database.query(
            "UPDATE samples SET day = '2000-01-01', local_day = NULL, date = "
            "'2000-01-01'");
        f.database.query("UPDATE samples SET " + std::string{wrong});
        const auto as_text = f.run(failure_of(f.samples.find(1)));
        for (int i = 0; i < 3; ++i) {
            const auto failure = f.run(failure_of(f.samples.find_all()));
            CHECK(support::is<txscope::ColumnError>(failure));
            CHECK(support::text_of(failure) == support::text_of(as_text));
        }
    }
    f.database.query("UPDATE samples SET date = '32767-12-31', day = '4713-11-24 BC'");
    for (int i = 0; i < 3; ++i) {
        const Sample read = f.run(f.samples.find_all()).front();
        CHECK(read.date == year::max() / 12 / 31);
        CHECK(read.day == sys_days{year{-4712} / 11 / 24});
    }
    f.database.query("UPDATE samples SET fine = '2500-01-01'");
    for (int i = 0; i < 3; ++i)
        CHECK(support::is<txscope::ColumnError>(f.run(failure_of(f.samples.find_all()))));
}

TEST_CASE("who reads the rows of such a statement by themselves gets texts", "[binary_results]") {
    Fixture f{{.max_size = 1}};
    f.database.query("INSERT INTO reports VALUES (1, 'abc')");
    const Bytes abc{std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        for (int i = 0; i < 3; ++i) {
            const auto reports = co_await f.reports.find_all();
            CHECK(reports.front().told.in_binary == (i > 0));
            const auto result = co_await session.execute(R"(SELECT "id", "told" FROM "reports")");
            const auto row = result.one();
            CHECK(row.text(1) == "\\x616263");
            CHECK(row.get<Bytes>(1) == abc);
        }
    };
    f.run(txscope::TransactionScope{f.sessions}(body));
}

}  // namespace binary_results
