#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/result_block.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace txscope::protocol;
using namespace std::string_literals;
namespace server = support::server_message;

TEST_CASE("a row's fields are found by index and one after another", "[protocol]") {
    const std::string body = server::row_body({"1", std::nullopt, "", "a longer text"});
    const RowView row{body.data() + 2, 4};
    CHECK(row.size() == 4);
    CHECK(row[0] == "1");
    CHECK(row[1] == std::nullopt);
    CHECK(row[2] == "");
    CHECK(row[3] == "a longer text");
    std::vector<std::optional<std::string>> fields;
    row.for_each([&](std::optional<std::string_view> field) { fields.emplace_back(field); });
    CHECK(fields ==
          std::vector<std::optional<std::string>>{"1", std::nullopt, "", "a longer text"});
}

TEST_CASE("a DataRow is one only if its fields are all there, and nothing else", "[protocol]") {
    const std::string body = server::row_body({"1", std::nullopt, "text"});
    CHECK(is_row(body, 3));
    CHECK(is_row(server::row_body({}), 0));
    CHECK_FALSE(is_row(body, 2));
    CHECK_FALSE(is_row(body, 4));
    CHECK_FALSE(is_row(body + 'x', 3));
    for (std::size_t size = 0; size < body.size(); ++size)
        CHECK_FALSE(is_row(body.substr(0, size), 3));
    CHECK_FALSE(is_row("\0\1\xff\xff\xff\xfe"s, 1));  // a length of -2
    CHECK_FALSE(is_row("\0\1\x7f\xff\xff\xff"s, 1));
}

TEST_CASE("a result that never was has no rows, columns or tag", "[protocol]") {
    const ResultBlock result;
    CHECK(result.empty());
    CHECK(result.columns() == nullptr);
    CHECK(result.tag().empty());
    CHECK_FALSE(result.suspended());
    const ResultBlock copy = result;
    CHECK(copy.empty());
}
