#include "support/catch.hpp"
#include <txscope/core/value.hpp>

#include <boost/describe/class.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using txscope::SqlValue;
using txscope::ValueError;

namespace {

struct Point {
    int x{};
    std::optional<int> y{};
    bool operator==(const Point&) const = default;
};
BOOST_DESCRIBE_STRUCT(Point, (), (x, y))

struct Place : Point {
    std::string name{};
    std::vector<Point> around{};
    bool operator==(const Place&) const = default;
};
BOOST_DESCRIBE_STRUCT(Place, (Point), (name, around))

struct ProjectId {
    std::int64_t value{};
    bool operator==(const ProjectId&) const = default;
};

class Email {
public:
    explicit Email(std::string text) : text_(std::move(text)) {}
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    bool operator==(const Email&) const = default;

private:
    std::string text_;
};

enum class Level : std::int16_t {
    low = -1,
    high = 300
};

template <typename T>
void check_round_trip(const T& value, const std::string& text) {
    CHECK(SqlValue<T>::to_text(value) == text);
    CHECK(SqlValue<T>::from_text(text) == value);
}

}  // namespace

template <>
struct txscope::SqlValue<ProjectId> : txscope::WrappedValue<&ProjectId::value> {};
template <>
struct txscope::SqlValue<Email> : txscope::WrappedValue<&Email::text> {};
template <>
struct txscope::SqlValue<Level> : txscope::UnderlyingValue<Level> {};

TEST_CASE("a described struct is a composite of its members, those of bases first",
          "[described_values]") {
    check_round_trip(Point{.x = 1, .y = -2}, R"(("1","-2"))");
    check_round_trip(Point{.x = 1}, R"(("1",))");
    check_round_trip(Place{{.x = 1}, "a\"\\,(b", {{.x = 2}}},
                     R"x(("1",,"a\"\\,(b","{\"(\\\"2\\\",)\"}"))x");
    check_round_trip(Place{{.x = 1, .y = 2}, "", {}}, R"(("1","2","","{}"))");
}

TEST_CASE("a composite is read as PostgreSQL writes it", "[described_values]") {
    const auto read = &SqlValue<Place>::from_text;
    CHECK(read(R"((1,2,"a ""b"" \\",{}))") == Place{{.x = 1, .y = 2}, "a \"b\" \\", {}});
    CHECK(read(R"x((1,,"","{""(3,4)"",""(5,)""}"))x") ==
          Place{{.x = 1}, "", {{.x = 3, .y = 4}, {.x = 5}}});
}

TEST_CASE("a text that is no composite of that shape is refused", "[described_values]") {
    for (const char* text : {"", "1,2", "(1)", "(1,2,3)", "(1,2", "(1,2)x", "(a,2)", "(1,\"2)",
                             "(1,2\"x\")", "(1,\"2\"x)", "(1,2\\"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<Point>::from_text(text), ValueError);
    }
    CHECK_THROWS_WITH(SqlValue<Point>::from_text("(1)"), "the text is not a composite like Point");
    CHECK_THROWS_WITH(SqlValue<Point>::from_text("(,2)"),
                      "a field of the composite is NULL; ask for a std::optional to allow it");
}

TEST_CASE("a strong type is in SQL what it wraps", "[described_values]") {
    check_round_trip(ProjectId{-7}, "-7");
    check_round_trip(Email{"a@b"}, "a@b");
    check_round_trip(Level::high, "300");
    check_round_trip(static_cast<Level>(5), "5");
    check_round_trip(std::vector{ProjectId{1}, ProjectId{2}}, R"({"1","2"})");
    CHECK_THROWS_AS(SqlValue<ProjectId>::from_text("x"), ValueError);
    CHECK_THROWS_AS(SqlValue<Level>::from_text("40000"), ValueError);

    using namespace std::string_literals;
    std::string text;
    CHECK_THROWS_AS(txscope::detail::append_parameter(text, Email{"a\0b"s}), ValueError);
    CHECK_FALSE(txscope::detail::append_parameter(text, std::optional<ProjectId>{}));
}
