#include "support/catch.hpp"
#include <txscope/repository/detail/sql_writer.hpp>

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

using namespace std::string_view_literals;
using txscope::detail::composed_sql;
using txscope::detail::fixed_sql;
using txscope::detail::SqlWriter;

namespace {

constexpr SqlWriter::ColumnName identity = +[](std::string_view name) { return name; };

struct Table {
    static constexpr std::string_view column_name(std::string_view member) {
        return member == "kind" ? "class" : member;
    }
};

/// Writes the column `kind` and as many placeholders as it is told.
struct Builder {
    static constexpr void write(SqlWriter& out) { write(out, nullptr); }
    static constexpr void write(SqlWriter& out, const int* count) {
        out.column("kind");
        for (int i = 0; i < (count != nullptr ? *count : 2); ++i) (out << " ").placeholder();
    }
};

std::string written(void (*write)(SqlWriter&)) {
    std::array<char, 256> text{};
    SqlWriter writer{identity, text.data()};
    write(writer);
    return {text.data(), writer.size()};
}

TEST_CASE("a name that PostgreSQL cannot have is refused", "[sql_writer]") {
    SqlWriter writer{identity};
    CHECK_THROWS_AS(writer.identifier(""), std::invalid_argument);
    CHECK_THROWS_AS(writer.identifier("a\0b"sv), std::invalid_argument);
}

TEST_CASE("an identifier is quoted, and so are the quotes in it", "[sql_writer]") {
    CHECK(written([](SqlWriter& out) { out.identifier("Order"); }) == R"("Order")");
    CHECK(written([](SqlWriter& out) { out.identifier(R"(a"b"")"); }) == R"("a""b""""")");
}

TEST_CASE("a text stays one whatever it holds", "[sql_writer]") {
    CHECK(written([](SqlWriter& out) { out.literal(R"(it's a \ "text")"); }) ==
          R"(E'it''s a \\ "text"')");
}

TEST_CASE("placeholders count on, whatever stands between them", "[sql_writer]") {
    CHECK(written([](SqlWriter& out) {
              for (int i = 0; i < 12; ++i) out.placeholder() << (i % 5 == 4 ? "\n" : " ");
          }) == "$1 $2 $3 $4 $5\n$6 $7 $8 $9 $10\n$11 $12 ");
}

TEST_CASE("without a buffer a writer measures", "[sql_writer]") {
    SqlWriter writer{identity};
    (writer << "x = ").placeholder();
    CHECK(writer.size() == 6);
}

TEST_CASE("a column is called as its table calls it", "[sql_writer]") {
    STATIC_REQUIRE(fixed_sql<Table, Builder> == R"("class" $1 $2)"sv);
}

TEST_CASE("what depends on values is written once they are known", "[sql_writer]") {
    CHECK(composed_sql<Table, Builder>(0) == R"("class")");
    CHECK(composed_sql<Table, Builder>(3) == R"("class" $1 $2 $3)");
}

}  // namespace
