#include "support/catch.hpp"
#include "support/wire_connection.hpp"
#include <txscope/core/decimal.hpp>
#include <txscope/core/interval.hpp>
#include <txscope/core/range.hpp>
#include <txscope/core/value.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/values/decimal_float.hpp>
#include <txscope/values/hstore.hpp>
#include <txscope/values/inet.hpp>
#include <txscope/values/json.hpp>
#include <txscope/values/uuid.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// Values of every type, as the server takes them and gives them back: random ones, and those that are
/// special.

namespace values {

using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
namespace ip = boost::asio::ip;
using boost::multiprecision::cpp_dec_float_50;
using Hstore = std::map<std::string, std::optional<std::string>>;
using txscope::Decimal;
using txscope::Multirange;
using txscope::Range;
using txscope::SqlValue;
using txscope::ValueError;

struct Point {
    std::int32_t x{};
    std::optional<double> y{};
    bool operator==(const Point&) const = default;
};
BOOST_DESCRIBE_STRUCT(Point, (), (x, y))

struct Place {
    std::optional<std::string> name{};
    Point at{};
    std::vector<Point> around{};
    std::vector<std::vector<std::optional<std::string>>> table{};
    bool operator==(const Place&) const = default;
};
BOOST_DESCRIBE_STRUCT(Place, (), (name, at, around, table))

struct ProjectId {
    std::int64_t value{};
    bool operator==(const ProjectId&) const = default;
};

struct Title {
    std::string text{};
    bool operator==(const Title&) const = default;
};

enum class Mood {
    happy,
    sad,
    so_so
};
BOOST_DESCRIBE_ENUM(Mood, happy, sad, so_so)

enum class Level : std::int16_t {
};

}  // namespace values

template <>
struct txscope::SqlValue<values::ProjectId> : txscope::WrappedValue<&values::ProjectId::value> {};
template <>
struct txscope::SqlValue<values::Title> : txscope::WrappedValue<&values::Title::text> {};
template <>
struct txscope::SqlValue<values::Level> : txscope::UnderlyingValue<values::Level> {};

namespace values {

constexpr auto schema = R"(
    CREATE TYPE mood AS ENUM ('sad', 'so_so', 'happy', 'angry');
    CREATE TYPE point2 AS (x int, y float8);
    CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
    CREATE TYPE place AS (name text, at point2, around point2[], "table" text[]);
)";

/// What `Make<T>` makes is any `T`, from the whole range of the type.
template <typename T>
struct Make;

class Random {
public:
    template <typename T>
    T value() {
        return Make<T>::from(*this);
    }
    std::uint64_t bits() { return engine_(); }
    /// From 0 to `limit`, without it.
    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(bits() % limit); }
    /// One in so many.
    bool once_in(std::size_t count) { return below(count) == 0; }
    template <typename T>
    std::vector<T> several(std::size_t count) {
        std::vector<T> made;
        for (std::size_t i = 0; i < count; ++i) made.push_back(value<T>());
        return made;
    }

private:
    std::mt19937_64 engine_{20240229};
};

template <std::integral T>
struct Make<T> {
    static T from(Random& random) {
        // Small and large ones alike.
        return static_cast<T>(random.bits() >> random.below(64));
    }
};

template <std::floating_point T>
struct Make<T> {
    static T from(Random& random) {
        using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
        const T number = std::bit_cast<T>(static_cast<Bits>(random.bits()));
        return number == number ? number : T{};  // NaN is not equal to itself
    }
};

template <>
struct Make<long double> {
    static long double from(Random& random) {
        return random.value<double>() / 3.0L;  // of more digits than a double has
    }
};

template <>
struct Make<Mood> {
    static Mood from(Random& random) { return static_cast<Mood>(random.below(3)); }
};

template <>
struct Make<Level> {
    static Level from(Random& random) { return static_cast<Level>(random.value<std::int16_t>()); }
};

void append_utf8(std::string& out, std::uint32_t code) {
    const auto add = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    const auto rest = [&](std::uint32_t shift) { add(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) {
        add(code);
    } else if (code < 0x800) {
        add(0xc0 | code >> 6);
        rest(0);
    } else if (code < 0x10000) {
        add(0xe0 | code >> 12);
        rest(6);
        rest(0);
    } else {
        add(0xf0 | code >> 18);
        rest(12);
        rest(6);
        rest(0);
    }
}

bool is_surrogate(std::uint32_t code) { return code >= 0xd800 && code < 0xe000; }

template <>
struct Make<std::string> {
    static std::string from(Random& random) {
        constexpr std::string_view special = "\"'\\{}()[],;:=> \t\n$%NULL";
        std::string text;
        for (std::size_t left = random.below(12); left > 0; --left) {
            const auto code = static_cast<std::uint32_t>(1 + random.below(0x10ffff));
            if (random.once_in(2))
                text += special[random.below(special.size())];
            else if (!is_surrogate(code))
                append_utf8(text, code);
        }
        return text;
    }
};

template <>
struct Make<std::vector<std::byte>> {
    static std::vector<std::byte> from(Random& random) {
        std::vector<std::byte> bytes(random.below(40));
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.bits());
        return bytes;
    }
};

template <typename T>
struct Make<std::optional<T>> {
    static std::optional<T> from(Random& random) {
        if (random.once_in(4)) return std::nullopt;
        return random.value<T>();
    }
};

template <>
struct Make<Point> {
    static Point from(Random& random) {
        return {.x = random.value<std::int32_t>(), .y = random.value<std::optional<double>>()};
    }
};

template <>
struct Make<Place> {
    static Place from(Random& random) {
        Place place;
        place.name = random.value<std::optional<std::string>>();
        place.at = random.value<Point>();
        place.around = random.several<Point>(random.below(4));
        const std::size_t columns = 1 + random.below(3);
        place.table.resize(random.below(3));
        for (auto& row : place.table) row = random.several<std::optional<std::string>>(columns);
        return place;
    }
};

template <>
struct Make<ProjectId> {
    static ProjectId from(Random& random) { return {random.value<std::int64_t>()}; }
};

template <>
struct Make<Title> {
    static Title from(Random& random) { return {random.value<std::string>()}; }
};

template <typename Clock, typename Duration>
struct Make<std::chrono::time_point<Clock, Duration>> {
    using Time = std::chrono::time_point<Clock, Duration>;
    /// Of what PostgreSQL and the type both have, and no finer than a microsecond.
    static Time from(Random& random) {
        using namespace std::chrono;
        constexpr auto first = sys_days{-4712y / January / 1d}.time_since_epoch();
        constexpr auto last = sys_days{year::max() / December / 31d}.time_since_epoch();
        constexpr auto count = static_cast<std::size_t>(microseconds{last - first}.count());
        for (;;) {
            const microseconds made = first + microseconds{random.below(count)};
            if (txscope::detail::has_time<sys_time<Duration>>(sys_time<microseconds>{made}))
                return Time{floor<Duration>(made)};
        }
    }
};

template <>
struct Make<std::chrono::year_month_day> {
    static std::chrono::year_month_day from(Random& random) {
        return random.value<std::chrono::sys_days>();
    }
};

template <>
struct Make<txscope::Interval> {
    static txscope::Interval from(Random& random) {
        return {.months = random.value<std::int32_t>(),
                .days = random.value<std::int32_t>(),
                .microseconds = random.value<std::int64_t>() / 2000};  // PostgreSQL 14 has no more
    }
};

template <typename Rep, typename Period>
struct Make<std::chrono::duration<Rep, Period>> {
    using Duration = std::chrono::duration<Rep, Period>;
    static Duration from(Random& random) {
        using std::chrono::microseconds;
        const microseconds made{random.value<std::int64_t>() / 2000};
        return std::chrono::floor<Duration>(made);
    }
};

template <>
struct Make<txscope::Decimal> {
    static txscope::Decimal from(Random& random) {
        std::string text = random.once_in(2) ? "-" : "";
        const auto digits = [&](std::size_t count) {
            while (count-- > 0) text += static_cast<char>('0' + random.below(10));
        };
        text += static_cast<char>('1' + random.below(9));
        digits(random.below(60));
        text += '.';
        digits(1 + random.below(60));
        return txscope::Decimal{text};
    }
};

template <typename T>
bool is_less(const T& left, const T& right) {
    return left < right;
}
bool is_less(const Decimal& left, const Decimal& right) {
    return SqlValue<long double>::from_text(left.text()) <
           SqlValue<long double>::from_text(right.text());
}

/// In the form in which PostgreSQL gives it back.
template <typename T>
struct Make<txscope::Range<T>> {
    static txscope::Range<T> from(Random& random) {
        if (random.once_in(8)) return {.empty = true};
        txscope::Range<T> range;
        range.lower = random.value<std::optional<T>>();
        range.upper = random.value<std::optional<T>>();
        if (!range.lower || !range.upper) return range;
        if (*range.lower == *range.upper) return {.empty = true};
        if (is_less(*range.upper, *range.lower)) std::swap(range.lower, range.upper);
        return range;
    }
};

template <typename T>
struct Make<txscope::Multirange<T>> {
    static txscope::Multirange<T> from(Random& random) {
        std::set<T> bounds;
        while (bounds.size() < 6) bounds.insert(random.value<T>());
        txscope::Multirange<T> made;
        for (auto bound = bounds.begin(); bound != bounds.end(); ++bound) {
            made.ranges.push_back({.lower = *bound++, .upper = *bound});
        }
        if (random.once_in(2)) made.ranges.front().lower.reset();
        if (random.once_in(2)) made.ranges.back().upper.reset();
        if (random.once_in(4)) made.ranges.clear();
        return made;
    }
};

template <>
struct Make<boost::uuids::uuid> {
    static boost::uuids::uuid from(Random& random) {
        boost::uuids::uuid uuid;
        for (std::uint8_t& byte : uuid) byte = random.value<std::uint8_t>();
        return uuid;
    }
};

template <>
struct Make<ip::address_v4> {
    static ip::address_v4 from(Random& random) {
        return ip::address_v4{random.value<std::uint32_t>()};
    }
};

template <>
struct Make<ip::address_v6> {
    static ip::address_v6 from(Random& random) {
        ip::address_v6::bytes_type bytes;
        const std::size_t zeros = random.below(16);  // which may be left out of the text
        for (std::size_t i = 0; i < 16; ++i)
            bytes[i] = i < zeros ? std::uint8_t{} : random.value<std::uint8_t>();
        return ip::address_v6{bytes};
    }
};

template <>
struct Make<ip::address> {
    static ip::address from(Random& random) {
        if (random.once_in(2)) return random.value<ip::address_v4>();
        return random.value<ip::address_v6>();
    }
};

template <>
struct Make<ip::network_v4> {
    static ip::network_v4 from(Random& random) {
        const auto length = static_cast<unsigned short>(random.below(33));
        return ip::network_v4{random.value<ip::address_v4>(), length}.canonical();
    }
};

template <>
struct Make<ip::network_v6> {
    static ip::network_v6 from(Random& random) {
        const auto length = static_cast<unsigned short>(random.below(129));
        return ip::network_v6{random.value<ip::address_v6>(), length}.canonical();
    }
};

template <>
struct Make<Hstore> {
    static Hstore from(Random& random) {
        Hstore made;
        for (std::size_t left = random.below(5); left > 0; --left)
            made.emplace(random.value<std::string>(), random.value<std::optional<std::string>>());
        return made;
    }
};

template <>
struct Make<boost::json::value> {
    static boost::json::value from(Random& random) {
        switch (random.below(8)) {
            case 0:
                return nullptr;
            case 1:
                return random.once_in(2);
            case 2:
                return random.value<std::int64_t>();
            case 3:
                return random.value<std::uint64_t>();
            case 4:
                return random.value<std::int16_t>() + 0.25;
            case 5: {
                boost::json::array array;
                for (std::size_t left = random.below(4); left > 0; --left)
                    array.push_back(from(random));
                return array;
            }
            case 6: {
                boost::json::object object;
                for (std::size_t left = random.below(4); left > 0; --left)
                    object[random.value<std::string>()] = from(random);
                return object;
            }
            default:
                return boost::json::string{random.value<std::string>()};
        }
    }
};

template <>
struct Make<cpp_dec_float_50> {
    /// With guard digits, too.
    static cpp_dec_float_50 from(Random& random) {
        return cpp_dec_float_50{random.value<Decimal>().text().substr(0, 50)} / 7;
    }
};

class Server {
public:
    template <typename T>
    T echoed(const T& value, const std::string& type) {
        return wire_.ask("SELECT $1::" + type, value).one().template get<T>(0);
    }

    /// Random values, and these; alone, as optionals, and in arrays of one and two dimensions.
    template <typename T>
    void check_all_come_back(const std::string& type, std::vector<T> values) {
        INFO("type " << type);
        const std::vector<T> made = random_.several<T>(60);
        values.insert(values.end(), made.begin(), made.end());
        for (const T& value : values) {
            INFO("value " << SqlValue<T>::to_text(value));
            CHECK(echoed(value, type) == value);
            CHECK(echoed(std::optional{value}, type) == value);
        }
        CHECK(echoed(std::optional<T>{}, type) == std::nullopt);

        const std::string array = type + "[]";
        CHECK(echoed(values, array) == values);
        CHECK(echoed(std::vector<T>{}, array).empty());
        CHECK(echoed(std::optional<std::vector<T>>{}, array) == std::nullopt);
        std::vector<std::vector<std::optional<T>>> table(2);
        for (const T& value : values) {
            table[0].push_back(value);
            table[1].push_back(random_.once_in(3) ? std::nullopt : std::optional{value});
        }
        table[0].front() = std::nullopt;
        CHECK(echoed(table, array) == table);
    }

    template <typename T>
    void check_refused(const T& value) {
        CHECK_THROWS_MATCHES(
            wire_.ask("SELECT $1", value), ValueError,
            Catch::Matchers::Message("a text with a NUL character cannot be sent to PostgreSQL"));
    }

    template <typename... Args>
    txscope::Result ask(const std::string& sql, const Args&... args) {
        return wire_.ask(sql, args...);
    }

private:
    Random random_;
    support::WireConnection wire_{schema};
};

template <typename T>
std::vector<T> extremes() {
    using Limits = std::numeric_limits<T>;
    return {Limits::lowest(), Limits::min(), Limits::max(), T{}, T{1}};
}

TEST_CASE("numbers come back as they were sent", "[values]") {
    Server server;
    server.check_all_come_back<bool>("boolean", {});
    server.check_all_come_back("smallint", extremes<std::int8_t>());
    server.check_all_come_back("smallint", extremes<std::uint8_t>());
    server.check_all_come_back("smallint", extremes<std::int16_t>());
    server.check_all_come_back("integer", extremes<std::uint16_t>());
    server.check_all_come_back("integer", extremes<std::int32_t>());
    server.check_all_come_back("bigint", extremes<std::uint32_t>());
    server.check_all_come_back("bigint", extremes<std::int64_t>());
    server.check_all_come_back("numeric", extremes<std::uint64_t>());
    for (const char* type : {"real", "double precision"}) {
        auto floats = extremes<float>();
        floats.insert(floats.end(), {std::numeric_limits<float>::infinity(),
                                     -std::numeric_limits<float>::infinity()});
        server.check_all_come_back(type, floats);
    }
    auto doubles = extremes<double>();
    doubles.insert(doubles.end(), {std::numeric_limits<double>::infinity(),
                                   -std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::denorm_min()});
    server.check_all_come_back("double precision", doubles);
    auto longest = extremes<long double>();
    longest.push_back(1 / 3.0L);
    server.check_all_come_back("numeric", longest);
    CHECK_THROWS_AS(server.echoed(std::numeric_limits<long double>::max(), "double precision"),
                    pqxx::data_exception);
}

/// Of which equality says nothing.
template <typename T>
void check_nan_and_zeros(Server& server, const std::string& type) {
    INFO("type " << type);
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> sent{nan, -T{}, T{}, -nan};
    CHECK(std::isnan(server.echoed(nan, type)));
    CHECK(std::isnan(server.echoed(std::optional{nan}, type).value()));
    CHECK(std::signbit(server.echoed(-T{}, type)));
    CHECK_FALSE(std::signbit(server.echoed(T{}, type)));
    const auto back = server.echoed(sent, type + "[]");
    REQUIRE(back.size() == 4);
    CHECK(std::isnan(back[0]));
    CHECK(std::signbit(back[1]));
    CHECK_FALSE(std::signbit(back[2]));
    CHECK(std::isnan(back[3]));
    CHECK(server.ask("SELECT $1::" + type + " = 'NaN'", nan).one().template get<bool>(0));
}

TEST_CASE("NaN comes back, and the sign of zero", "[values]") {
    Server server;
    check_nan_and_zeros<float>(server, "real");
    check_nan_and_zeros<double>(server, "double precision");
    check_nan_and_zeros<long double>(server, "double precision");
    CHECK(std::isnan(server.echoed(Point{1, std::nan("")}, "point2").y.value()));
}

TEST_CASE("enumerations come back by name or by number", "[values]") {
    Server server;
    for (const char* type : {"mood", "text"})
        server.check_all_come_back<Mood>(type, {Mood::happy, Mood::sad, Mood::so_so});
    CHECK(server.ask("SELECT $1 > 'sad'::mood", Mood::happy).one().get<bool>(0));
    CHECK_THROWS_WITH(server.ask("SELECT 'angry'::mood AS now").one().get<Mood>(0),
                      ContainsSubstring("column \"now\"") && !ContainsSubstring("angry"));
    server.check_all_come_back<Level>("smallint", {Level{}, Level{-1}, Level{32767}});
}

TEST_CASE("texts and bytes come back as they were sent", "[values]") {
    Server server;
    server.check_all_come_back<std::string>(
        "text", {"", "NULL", "null", "\"", "\\", "'", "{}", "()", "[1,2)", " a ", "\t\r\n"});
    std::vector<std::byte> every(256);
    for (std::size_t i = 0; i < 256; ++i) every[i] = static_cast<std::byte>(i);
    server.check_all_come_back<std::vector<std::byte>>("bytea", {{}, every});

    // Of parameters alone.
    for (const std::string text : {"", "NULL", "'", "\\", "\"{}\n"}) {
        CHECK(server.ask("SELECT $1::text", std::string_view{text}).one().get<std::string>(0) ==
              text);
        CHECK(server.ask("SELECT $1::text", text.c_str()).one().get<std::string>(0) == text);
    }
    CHECK(server.ask("SELECT $1::text", "a 'literal'").one().get<std::string>(0) == "a 'literal'");
    using Bytes = std::vector<std::byte>;
    CHECK(server.ask("SELECT $1::bytea", std::span<const std::byte>{every}).one().get<Bytes>(0) ==
          every);
    CHECK(server.ask("SELECT $1::bytea", std::span<const std::byte>{}).one().get<Bytes>(0).empty());
    const char* const none = nullptr;
    CHECK(server.ask("SELECT $1::text IS NULL", nullptr).one().get<bool>(0));
    CHECK(server.ask("SELECT $1::text IS NULL", std::nullopt).one().get<bool>(0));
    CHECK(server.ask("SELECT $1::text IS NULL", none).one().get<bool>(0));
}

TEST_CASE("arrays have as many dimensions as PostgreSQL knows, and no more", "[values]") {
    Server server;
    using Three = std::vector<std::vector<std::vector<std::optional<std::string>>>>;
    const Three three{{{"a", std::nullopt}, {"", "NULL"}}, {{"{}", "\""}, {",", "\\"}}};
    CHECK((server.echoed(three, "text[]") == three));
    using Six = std::vector<std::vector<std::vector<Three>>>;
    const Six six(2, {3, {2, three}});
    CHECK((server.echoed(six, "text[]") == six));
    CHECK_THROWS_AS(server.echoed(std::vector<Six>{six}, "text[]"), txscope::SqlError);
    CHECK(server.ask("SELECT '[2:3]={7,8}'::int[]").one().get<std::vector<int>>(0) ==
          std::vector{7, 8});
}

TEST_CASE("every character of Unicode comes back, alone and in whatever holds texts", "[values]") {
    Server server;
    std::vector<std::string> texts(1);
    for (std::uint32_t code = 1; code <= 0x10ffff; ++code) {
        if (is_surrogate(code)) continue;
        if (code % 0x1000 == 0) texts.emplace_back();
        append_utf8(texts.back(), code);
    }
    std::size_t wrong = 0;
    for (const std::string& text : texts) wrong += server.echoed(text, "text") != text;
    CHECK(wrong == 0);
    CHECK((server.echoed(texts, "text[]") == texts));
    Place place;
    for (const std::string& text : texts) place.table.push_back({text});
    CHECK((server.echoed(place, "place") == place));
}

TEST_CASE("times of every resolution come back, and the infinities", "[values]") {
    using namespace std::chrono;
    Server server;
    const auto check = [&]<typename Time>(const std::string& type, std::type_identity<Time>) {
        server.check_all_come_back<Time>(type, {Time{}, Time::max(), Time::min()});
    };
    for (const char* zone : {"UTC", "America/St_Johns"}) {
        server.ask("SELECT set_config('TimeZone', '"s + zone + "', false)");
        check("timestamptz", std::type_identity<sys_time<nanoseconds>>{});
        check("timestamptz", std::type_identity<sys_time<microseconds>>{});
        check("timestamptz", std::type_identity<sys_time<milliseconds>>{});
        check("timestamptz", std::type_identity<sys_time<seconds>>{});
        check("timestamptz", std::type_identity<sys_time<minutes>>{});
        check("timestamptz", std::type_identity<sys_time<hours>>{});
        check("timestamp", std::type_identity<sys_time<microseconds>>{});
        check("timestamp", std::type_identity<local_time<microseconds>>{});
        check("timestamp", std::type_identity<local_time<seconds>>{});
        check("date", std::type_identity<sys_days>{});
        check("date", std::type_identity<local_days>{});
        server.check_all_come_back<year_month_day>("date", {2000y / February / 29d, 0y / May / 4d});
        server.check_all_come_back<sys_time<duration<std::int32_t>>>("timestamptz", {});
    }
    CHECK(server.ask("SELECT $1::timestamptz = 'infinity'", sys_seconds::max()).one().get<bool>(0));
    CHECK_THROWS_AS(server.ask("SELECT now()").one().get<local_seconds>(0), txscope::ColumnError);
}

TEST_CASE("intervals come back part by part, and durations to the microsecond", "[values]") {
    using namespace std::chrono;
    using txscope::Interval;
    Server server;
    const int version = server.ask("SHOW server_version_num").one().get<int>(0);
    std::vector<Interval> special{{}, {.months = -1, .days = 1, .microseconds = -1}};
    if (version >= 150000) {  // before, what it writes it cannot read
        auto largest = Interval::infinity();
        auto smallest = Interval::minus_infinity();
        largest.days = smallest.days = 0;
        special.insert(special.end(), {largest, smallest});
    }
    if (version >= 170000)
        special.insert(special.end(), {Interval::infinity(), Interval::minus_infinity()});
    server.check_all_come_back("interval", special);

    server.check_all_come_back<microseconds>("interval", {0us, -1us});
    server.check_all_come_back<milliseconds>("interval", {});
    server.check_all_come_back<seconds>("interval", {});
    server.check_all_come_back<minutes>("interval", {});
    server.check_all_come_back<hours>("interval", {});
    server.check_all_come_back<days>("interval", {});
    CHECK(server.ask("SELECT $1::interval = '36 hours'", 36h).one().get<bool>(0));
    CHECK(server.ask("SELECT interval '2 days 3 hours'").one().get<hours>(0) == 51h);
}

TEST_CASE("decimals come back digit for digit", "[values]") {
    Server server;
    server.check_all_come_back<Decimal>(
        "numeric",
        {Decimal{0}, Decimal{"1.00"}, Decimal{"NaN"}, Decimal{"Infinity"}, Decimal{"-Infinity"},
         Decimal{"0." + std::string(16383, '7')}, Decimal{std::string(131072, '9')}});
    CHECK_THROWS_AS(server.echoed(Decimal{std::string(131073, '9')}, "numeric"),
                    pqxx::data_exception);
    CHECK(server.ask("SELECT $1::numeric(10, 2)", Decimal{"1.5"}).one().get<Decimal>(0).text() ==
          "1.50");
}

TEST_CASE("ranges and multiranges come back, whatever their bounds", "[values]") {
    using namespace std::chrono;
    Server server;
    using Int = std::int32_t;
    using Text = std::string;
    server.check_all_come_back<Range<Int>>("int4range", {{}, {.lower = 1, .upper = 2}});
    server.check_all_come_back<Range<std::int64_t>>("int8range", {});
    server.check_all_come_back<Range<sys_days>>("daterange", {{.lower = sys_days::min()}});
    server.check_all_come_back<Range<sys_time<microseconds>>>(
        "tstzrange", {{.upper = sys_time<microseconds>::max(), .includes_upper = true}});
    server.check_all_come_back<Range<local_seconds>>("tsrange", {});
    server.check_all_come_back<Range<Decimal>>(
        "numrange",
        {{.lower = 1, .upper = 1, .includes_upper = true}, {.lower = Decimal{"-Infinity"}}});
    server.check_all_come_back<Range<Text>>("textrange", {{.lower = "", .includes_lower = false}});
    CHECK(server.echoed(Range<Int>{.lower = 1, .upper = 4, .includes_upper = true}, "int4range") ==
          Range<Int>{.lower = 1, .upper = 5});

    server.check_all_come_back<Multirange<Int>>("int4multirange", {{}});
    server.check_all_come_back<Multirange<sys_days>>("datemultirange", {});
    server.check_all_come_back<Multirange<Text>>("textmultirange", {{{{}}}});
    server.check_all_come_back<Multirange<std::int64_t>>("int8multirange", {});
    server.check_all_come_back<Multirange<sys_time<microseconds>>>("tstzmultirange", {});
    server.check_all_come_back<Multirange<local_seconds>>("tsmultirange", {});
    CHECK(server.echoed(Multirange<Int>{{{.lower = 5}, {.upper = 5}}}, "int4multirange") ==
          Multirange<Int>{{{}}});
}

TEST_CASE("what other libraries have types for comes back as theirs", "[values]") {
    Server server;
    server.check_all_come_back<boost::uuids::uuid>("uuid", {{}});
    server.check_all_come_back<ip::address>("inet", {ip::make_address("::ffff:1.2.3.4")});
    server.check_all_come_back<ip::address_v4>("inet", {{}});
    server.check_all_come_back<ip::address_v6>("cidr", {{}});
    server.check_all_come_back<ip::network_v4>("cidr", {ip::make_network_v4("0.0.0.0/0")});
    server.check_all_come_back<ip::network_v4>("inet", {ip::make_network_v4("10.0.0.1/8")});
    server.check_all_come_back<ip::network_v6>("cidr", {ip::make_network_v6("::/0")});
    for (const char* type : {"json", "jsonb"})
        server.check_all_come_back<boost::json::value>(type, {{}, "", boost::json::object{}});
    using Limits = std::numeric_limits<cpp_dec_float_50>;
    server.check_all_come_back<cpp_dec_float_50>(
        "numeric", {0, cpp_dec_float_50{"1e1000"}, cpp_dec_float_50{"-1e-1000"}, Limits::infinity(),
                    -Limits::infinity()});
    CHECK(isnan(server.echoed(Limits::quiet_NaN(), "numeric")));
}

TEST_CASE("an hstore comes back as it was sent", "[values]") {
    Server server;
    if (server.ask("SELECT FROM pg_available_extensions WHERE name = 'hstore'").empty()) {
        WARN("the extension hstore is not installed");
        return;
    }
    server.ask("CREATE EXTENSION hstore");
    server.check_all_come_back<Hstore>("hstore", {{}, {{"", std::nullopt}}, {{"a", "NULL"}}});
    server.check_refused(Hstore{{"a", "b\0c"s}});
    server.check_refused(Hstore{{"a\0b"s, std::nullopt}});
}

TEST_CASE("composites come back as they were sent, within one another and in arrays", "[values]") {
    Server server;
    server.check_all_come_back<Point>("point2", {{}, {.x = 1, .y = 0.5}});
    Place empty;
    empty.name = "";
    server.check_all_come_back<Place>("place", {{}, empty});
    CHECK(server.ask("SELECT p FROM (VALUES (1, 2.5::float8)) AS p (x, y)").one().get<Point>(0) ==
          Point{.x = 1, .y = 2.5});
    CHECK_THROWS_WITH(server.ask("SELECT ROW(1, 2, 3) AS r").one().get<Point>(0),
                      ContainsSubstring("column \"r\"") && ContainsSubstring("Point"));
}

TEST_CASE("a strong type comes back as it was sent", "[values]") {
    Server server;
    server.check_all_come_back<ProjectId>("bigint", {{0}, {-1}});
    server.check_all_come_back<Title>("text", {{""}, {"NULL"}, {"{\"a\"}"}});
}

TEST_CASE("a NUL character is refused in whatever holds it, and nothing is sent", "[values]") {
    Server server;
    const std::string text = "a\0b"s;
    server.check_refused(text);
    server.check_refused(std::string_view{text});
    server.check_refused(std::optional{text});
    server.check_refused(std::vector{text});
    server.check_refused(std::vector<std::vector<std::optional<std::string>>>{{"a"}, {text}});
    Place place;
    place.table = {{text}};
    server.check_refused(place);
    server.check_refused(Range<std::string>{.lower = text});
    server.check_refused(Range<std::string>{.upper = text});
    server.check_refused(Multirange<std::string>{{{.lower = text}}});
    server.check_refused(Title{text});
    server.check_refused(std::vector{std::optional{Title{text}}});
    CHECK_THROWS_AS(server.echoed(boost::json::value(text), "jsonb"), pqxx::data_exception);
    CHECK(server.echoed(boost::json::value(text), "json").as_string() ==
          text);  // as JSON escapes it
    CHECK(server.echoed(1, "int") == 1);
}

}  // namespace values
