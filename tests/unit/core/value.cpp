#include "support/catch.hpp"
#include <txscope/core/value.hpp>

#include <boost/describe/enum.hpp>
#include <pqxx/strconv>
#include <pqxx/version>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using txscope::SqlValue;
using txscope::ValueError;

namespace {

enum class Mood {
    sad,
    ok,
    happy
};
BOOST_DESCRIBE_ENUM(Mood, sad, ok, happy)

/// A type of a program's own, taught to txscope.
struct Colour {
    int rgb = 0;
};

/// Another, whose arrays are divided by semicolons.
struct Shade {
    int percent = 0;
    bool operator==(const Shade&) const = default;
};

/// A type of a program's own, taught to libpqxx.
struct Celsius {
    int degrees = 0;
};

/// What another program might have taught libpqxx: a value that stands for NULL.
struct Reading {
    int value = -1;
};

template <typename T>
std::string text_of(const T& value) {
    return SqlValue<T>::to_text(value);
}

template <typename T>
void check_round_trip(const T& value, const std::string& text) {
    CHECK(text_of(value) == text);
    CHECK(SqlValue<T>::from_text(text) == value);
}

template <typename T>
void check_refused(std::string_view text) {
    INFO("text: " << text);
    CHECK_THROWS_AS(SqlValue<T>::from_text(text), ValueError);
}

}  // namespace

template <>
struct txscope::SqlValue<Colour> {
    static std::string to_text(const Colour& colour) { return '#' + std::to_string(colour.rgb); }
    static Colour from_text(std::string_view text) {
        return Colour{SqlValue<int>::from_text(text.substr(1))};
    }
};

template <>
struct txscope::SqlValue<Shade> {
    static constexpr char delimiter = ';';
    static std::string to_text(const Shade& shade) { return std::to_string(shade.percent); }
    static Shade from_text(std::string_view text) { return {SqlValue<int>::from_text(text)}; }
};

#if PQXX_VERSION_MAJOR == 6
template <>
struct pqxx::string_traits<Celsius> {
    static constexpr const char* name() noexcept { return "Celsius"; }
    static constexpr bool has_null() noexcept { return false; }
    static bool is_null(const Celsius&) { return false; }
    static std::string to_string(const Celsius& value) { return pqxx::to_string(value.degrees); }
    static void from_string(const char text[], Celsius& value) {
        pqxx::from_string(text, value.degrees);
    }
};
template <>
struct pqxx::string_traits<Reading> {
    static constexpr const char* name() noexcept { return "Reading"; }
    static constexpr bool has_null() noexcept { return true; }
    static bool is_null(const Reading& value) { return value.value < 0; }
    static std::string to_string(const Reading& value) { return pqxx::to_string(value.value); }
};
#else
/// The conversions of libpqxx 7, which libpqxx 8 takes too.
template <typename T, int T::* number>
struct NumberTraits {
    static constexpr bool converts_to_string = true;
    static constexpr bool converts_from_string = true;
    static std::size_t size_buffer(const T&) noexcept { return 16; }
    static char* into_buf(char* begin, char* end, const T& value) {
        char* const stop = std::to_chars(begin, end - 1, value.*number).ptr;
        *stop = '\0';
        return stop + 1;
    }
    static pqxx::zview to_buf(char* begin, char* end, const T& value) {
        return {begin, into_buf(begin, end, value) - begin - 1};
    }
    static T from_string(std::string_view text) {
        T value;
        value.*number = pqxx::from_string<int>(text);
        return value;
    }
};
template <>
struct pqxx::nullness<Celsius> : pqxx::no_null<Celsius> {};
template <>
struct pqxx::string_traits<Celsius> : NumberTraits<Celsius, &Celsius::degrees> {};
template <>
struct pqxx::nullness<Reading> {
    [[maybe_unused]] static constexpr bool has_null = true;
    [[maybe_unused]] static constexpr bool always_null = false;
    static bool is_null(const Reading& value) noexcept { return value.value < 0; }
    static Reading null() { return {}; }
};
template <>
struct pqxx::string_traits<Reading> : NumberTraits<Reading, &Reading::value> {};
#endif

TEMPLATE_TEST_CASE("every integer type keeps its whole range", "[value]", std::int8_t, std::uint8_t,
                   std::int16_t, std::uint16_t, std::int32_t, std::uint32_t, std::int64_t,
                   std::uint64_t, long, long long, unsigned long long) {
    using Limits = std::numeric_limits<TestType>;
    check_round_trip<TestType>(Limits::min(), std::to_string(Limits::min()));
    check_round_trip<TestType>(Limits::max(), std::to_string(Limits::max()));
    check_round_trip<TestType>(7, "7");
}

TEST_CASE("a text that is no integer, or too large for its type, is refused", "[value]") {
    for (const char* text : {"", " 1", "1 ", "+1", "12x", "1.0", "0x10", "1e3", "NaN", "-"}) {
        check_refused<int>(text);
    }
    check_refused<std::int8_t>("128");
    check_refused<std::int32_t>("2147483648");
    check_refused<std::uint32_t>("-1");
    check_refused<std::int64_t>("9223372036854775808");
}

TEST_CASE("a refused text says what was wanted and never what it was", "[value]") {
    CHECK_THROWS_WITH(SqlValue<std::int64_t>::from_text("secret"),
                      "the text is not a 64-bit integer");
    CHECK_THROWS_WITH(SqlValue<std::uint8_t>::from_text("300"),
                      "the number is out of the range of an unsigned 8-bit integer");
    CHECK_THROWS_WITH(SqlValue<std::int8_t>::from_text("300"),
                      "the number is out of the range of an 8-bit integer");
    CHECK_THROWS_WITH(SqlValue<bool>::from_text("secret"), "the text is not a bool");
    CHECK_THROWS_WITH(SqlValue<Mood>::from_text("secret"), "the text is no enumerator of Mood");
    CHECK_THROWS_WITH(SqlValue<Celsius>::from_text("secret"), "the text is not Celsius");
}

TEST_CASE("a bool is written out in full and read as PostgreSQL abbreviates it", "[value]") {
    check_round_trip(true, "true");
    check_round_trip(false, "false");
    CHECK(SqlValue<bool>::from_text("t"));
    CHECK_FALSE(SqlValue<bool>::from_text("f"));
    for (const char* text : {"", "x", "tru", "TRUE", "2"}) check_refused<bool>(text);
}

TEMPLATE_TEST_CASE("floating-point numbers come back exactly", "[value]", float, double,
                   long double) {
    using Limits = std::numeric_limits<TestType>;
    std::vector<TestType> numbers{0,
                                  TestType(0.1L),
                                  TestType(1) / 3,
                                  -TestType(2) / 3,
                                  Limits::min(),
                                  Limits::max(),
                                  Limits::lowest(),
                                  Limits::epsilon(),
                                  1 + Limits::epsilon()};
    if constexpr (!std::is_same_v<TestType, long double>) {
        numbers.push_back(Limits::denorm_min());  // std::from_chars refuses the long double one
    }
    std::mt19937_64 random{20240229};
    for (int i = 0; i < 1000; ++i) {
        const auto mantissa = static_cast<TestType>(random()) / static_cast<TestType>(~0ULL);
        numbers.push_back(std::ldexp(mantissa, static_cast<int>(random() % 200) - 100));
    }
    for (TestType number : numbers) {
        const std::string text = text_of(number);
        INFO("text: " << text);
        CHECK(SqlValue<TestType>::from_text(text) == number);
    }
}

TEST_CASE("NaN and the infinities are spelt as PostgreSQL spells them", "[value]") {
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK(text_of(std::nan("")) == "NaN");
    CHECK(std::isnan(SqlValue<double>::from_text("NaN")));
    check_round_trip(infinity, "Infinity");
    check_round_trip(-infinity, "-Infinity");
    check_round_trip(0.5, "0.5");
    CHECK(std::signbit(SqlValue<double>::from_text("-0")));
    for (const char* text : {"", "12x", "1,5", " 1"}) check_refused<double>(text);
    check_refused<float>("1e300");
}

TEST_CASE("text is kept byte for byte", "[value]") {
    for (const char* text :
         {"", "plain", "O'Reilly \"quoted\" \\ $1 -- ; \n\t", "Ünïcode 漢字 😀"}) {
        check_round_trip<std::string>(text, text);
    }
}

TEST_CASE("a type taught to txscope is written and read its own way", "[value]") {
    CHECK(text_of(Colour{255}) == "#255");
    CHECK(SqlValue<Colour>::from_text("#16").rgb == 16);
}

TEST_CASE("a type taught to libpqxx is written and read as libpqxx does it", "[value]") {
    CHECK(text_of(Celsius{-40}) == "-40");
    CHECK(SqlValue<Celsius>::from_text("21").degrees == 21);
    check_refused<Celsius>("warm");
}

TEST_CASE("what libpqxx takes for NULL is a NULL parameter", "[value]") {
    std::string text;
    CHECK_FALSE(txscope::detail::append_parameter(text, Reading{-1}));
    CHECK(text.empty());
    CHECK(txscope::detail::append_parameter(text, Reading{5}));
    CHECK(text == "5");
}

TEST_CASE("a described enumeration goes by its enumerators' names", "[value]") {
    check_round_trip(Mood::sad, "sad");
    check_round_trip(Mood::happy, "happy");
    check_refused<Mood>("angry");
    check_refused<Mood>("");
    CHECK_THROWS_AS(text_of(static_cast<Mood>(17)), ValueError);
}

TEST_CASE("bytes are written in hexadecimal", "[value]") {
    using Bytes = std::vector<std::byte>;
    check_round_trip(Bytes{}, "\\x");
    const Bytes three{std::byte{0}, std::byte{0x7f}, std::byte{0xff}};
    check_round_trip(three, "\\x007fff");
    CHECK(text_of(std::span{three}) == "\\x007fff");
    CHECK(text_of(std::span<const std::byte, 2>{three.data(), 2}) == "\\x007f");
    for (const char* text : {"", "00", "\\x0", "\\xzz", "\\000"}) check_refused<Bytes>(text);
}

TEST_CASE("dates go by the proleptic calendar, before Christ too", "[value]") {
    using namespace std::chrono;
    check_round_trip(2024y / February / 29d, "2024-02-29");
    check_round_trip(1y / January / 1d, "0001-01-01");
    check_round_trip(0y / December / 31d, "0001-12-31 BC");
    check_round_trip(-43y / March / 15d, "0044-03-15 BC");
    check_round_trip(12345y / June / 7d, "12345-06-07");
    check_round_trip(sys_days{1969y / December / 31d}, "1969-12-31");
    for (const char* text : {"", "2023-02-29", "2024-13-01", "24-01-01", "2024-01-01 ", "infinity",
                             "2024-01-01 00:00:00", "5874897-12-31"}) {
        check_refused<year_month_day>(text);
    }
    CHECK_THROWS_AS(text_of(2023y / February / 29d), ValueError);
}

TEST_CASE("what a calendar or a clock has no room for is refused, not another time", "[value]") {
    using namespace std::chrono;
    const sys_days earliest{year::min() / January / 1d};
    const sys_days latest{year::max() / December / 31d};
    check_round_trip(latest, "32767-12-31");
    CHECK(text_of(earliest) == "32768-01-01 BC");
    for (const sys_days day : {earliest - days{1}, latest + days{1}}) {
        CHECK_THROWS_AS(text_of(day), ValueError);
        CHECK_THROWS_AS(text_of(sys_seconds{day}), ValueError);
    }

    using ShortSeconds = sys_time<duration<std::int32_t>>;
    check_round_trip(ShortSeconds::max(), "2038-01-19 03:14:07.000000+00");
    check_refused<ShortSeconds>("2038-01-19 03:14:08+00");
    check_refused<ShortSeconds>("1901-12-13 20:45:51+00");
    check_refused<sys_time<duration<std::int16_t, days::period>>>("2100-01-01");
}

TEST_CASE("points in time are sent in UTC and read in any zone", "[value]") {
    using namespace std::chrono;
    using Micros = sys_time<microseconds>;
    const Micros noon = sys_days{2024y / February / 29d} + 12h;
    check_round_trip(noon, "2024-02-29 12:00:00.000000+00");
    check_round_trip<Micros>(noon + 1us, "2024-02-29 12:00:00.000001+00");
    check_round_trip<Micros>(sys_days{1970y / January / 1d} - 1us, "1969-12-31 23:59:59.999999+00");
    check_round_trip<Micros>(sys_days{0y / May / 4d} + 1s, "0001-05-04 00:00:01.000000+00 BC");

    const auto read = [](std::string_view text) { return SqlValue<Micros>::from_text(text); };
    CHECK(read("2024-02-29 12:00:00") == noon);
    CHECK(read("2024-02-29 14:00:00+02") == noon);
    CHECK(read("2024-02-29 08:30:00-03:30") == noon);
    CHECK(read("2024-02-29 12:19:32.5+00:19:32") == noon + 500ms);
    CHECK(read("2024-02-29 12:00:00.25+00") == noon + 250ms);
    for (const char* text : {"", "2024-02-29", "2024-02-29T12:00:00", "2024-02-29 12:00",
                             "2024-02-29 12:00:00 CET", "infinit", "2024-02-29 12:00:00.+00"}) {
        check_refused<Micros>(text);
    }
}

TEST_CASE("the infinities are the outermost times of 64 bits", "[value]") {
    using namespace std::chrono;
    const auto check = []<typename Time>(std::type_identity<Time>) {
        check_round_trip(Time::max(), "infinity");
        check_round_trip(Time::min(), "-infinity");
    };
    check(std::type_identity<sys_time<nanoseconds>>{});
    check(std::type_identity<sys_time<microseconds>>{});
    check(std::type_identity<sys_seconds>{});
    check(std::type_identity<sys_days>{});
    check(std::type_identity<local_time<milliseconds>>{});
    check_refused<sys_time<duration<std::int32_t>>>("infinity");
    check_refused<year_month_day>("-infinity");
}

TEST_CASE("a local time has no zone", "[value]") {
    using namespace std::chrono;
    using Local = local_time<milliseconds>;
    check_round_trip(Local{local_days{2024y / February / 29d} + 12h + 5ms},
                     "2024-02-29 12:00:00.005000");
    check_round_trip(local_days{0y / May / 4d}, "0001-05-04 BC");
    check_refused<Local>("2024-02-29 12:00:00+00");
    CHECK_THROWS_AS(
        text_of(local_days{sys_days{year::max() / 12 / 31}.time_since_epoch()} + days{1}),
        ValueError);
}

TEST_CASE("a clock's own time points come back but for what is finer than a microsecond",
          "[value]") {
    using namespace std::chrono;
    using Nanos = sys_time<nanoseconds>;
    const Nanos time = sys_days{2024y / February / 29d} + 123456789ns;
    CHECK(text_of(time) == "2024-02-29 00:00:00.123456+00");
    CHECK(SqlValue<Nanos>::from_text("2024-02-29 00:00:00.123456+00") == time - 789ns);
    check_round_trip(sys_time<seconds>{sys_days{9999y / December / 31d}},
                     "9999-12-31 00:00:00.000000+00");

    // 64 bits of nanoseconds end in the years 1677 and 2262; beyond is not wrapped round.
    check_refused<Nanos>("2263-01-01 00:00:00+00");
    check_refused<Nanos>("1677-01-01 00:00:00+00");
}

TEST_CASE("arrays keep their elements, whatever is in them", "[value]") {
    using Texts = std::vector<std::string>;
    using Holes = std::vector<std::optional<std::string>>;
    CHECK(text_of(std::vector<int>{1, -2}) == R"({"1","-2"})");
    for (const Texts& texts :
         {Texts{}, Texts{""}, Texts{"a", "b"}, Texts{"NULL", "null"},
          Texts{"comma, brace } { quote \" backslash \\ blank"}, Texts{"ü", "\n"}}) {
        CHECK(SqlValue<Texts>::from_text(text_of(texts)) == texts);
    }
    const Holes holes{std::nullopt, "NULL", "", std::nullopt};
    CHECK(SqlValue<Holes>::from_text(text_of(holes)) == holes);
    const std::vector<bool> bits{true, false};
    CHECK(SqlValue<std::vector<bool>>::from_text(text_of(bits)) == bits);
}

TEST_CASE("arrays are read as PostgreSQL writes them", "[value]") {
    using Numbers = std::vector<int>;
    using Texts = std::vector<std::string>;
    CHECK(SqlValue<Numbers>::from_text("{}") == Numbers{});
    CHECK(SqlValue<Numbers>::from_text("{1,2,3}") == Numbers{1, 2, 3});
    CHECK(SqlValue<Numbers>::from_text("[0:1]={4,5}") == Numbers{4, 5});
    CHECK(SqlValue<Texts>::from_text(R"({a,"b c","d\"e\\f",""})") ==
          Texts{"a", "b c", "d\"e\\f", ""});
    for (const char* text : {"", "{", "}", "1,2", "{1,2", "{{1},{2}}", "{1,,2}", "{1,}", "{1}x",
                             "[", "[0:1]", "{NULL}"}) {
        check_refused<Numbers>(text);
    }
    for (const char* text : {R"({"a})", R"({"a"b})", R"({"a\)", R"({a"b"})"}) {
        check_refused<Texts>(text);
    }
}

TEST_CASE("vectors of vectors are arrays of as many dimensions", "[value]") {
    using Table = std::vector<std::vector<std::optional<int>>>;
    using Cube = std::vector<std::vector<std::vector<std::string>>>;
    check_round_trip(Table{{1, std::nullopt}, {-2, 3}}, R"({{"1",NULL},{"-2","3"}})");
    check_round_trip(Table{}, "{}");
    check_round_trip(Cube{{{"a"}, {"{}\""}}, {{""}, {"NULL"}}},
                     R"({{{"a"},{"{}\""}},{{""},{"NULL"}}})");
    CHECK(SqlValue<Table>::from_text("[0:0][2:3]={{1,NULL}}") == Table{{1, std::nullopt}});
    CHECK(SqlValue<Table>::from_text("{}").empty());
    for (const char* text : {"{1}", "{{1}", "{{{1}}}", "{{1},2}", "{NULL}", "{{1}{2}}"}) {
        check_refused<Table>(text);
    }
    CHECK_THROWS_WITH(SqlValue<Table>::from_text("{1}"),
                      "the text is not an array of 2 dimensions");
}

TEST_CASE("rows of an array that PostgreSQL would refuse, or lose, are refused", "[value]") {
    using Table = std::vector<std::vector<int>>;
    for (const Table& table : {Table{{1}, {2, 3}}, Table{{1}, {}}, Table{{}}, Table{{}, {}}})
        CHECK_THROWS_WITH(text_of(table), "the rows of an array differ in length, or have none");
    using Cube = std::vector<Table>;
    CHECK_THROWS_AS(text_of(Cube{{{1}, {2}}, {{3}}}), ValueError);
    CHECK_THROWS_AS(text_of(Cube{{{1}}, {{3, 4}}}), ValueError);
}

TEST_CASE("an array is divided by what the type of its elements says", "[value]") {
    using Shades = std::vector<Shade>;
    const Shades two{{1}, {2}};
    CHECK(text_of(two) == R"({"1";"2"})");
    CHECK(SqlValue<Shades>::from_text("{1;2}") == two);
    CHECK(SqlValue<std::vector<std::optional<Shade>>>::from_text("{NULL;2}").size() == 2);
    check_refused<Shades>("{1,2}");
}
