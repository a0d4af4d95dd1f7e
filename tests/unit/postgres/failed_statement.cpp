#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/postgres/detail/failed_statement.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using txscope::detail::Description;
using txscope::detail::Staleness;
using txscope::detail::staleness_told_by;
using txscope::protocol::Columns;
using txscope::protocol::ErrorResponse;
using txscope::protocol::PreparedStatement;
namespace server = support::server_message;

namespace {

Staleness staleness(std::string_view code, std::string_view routine = {}) {
    std::string body = server::error_body(code, "it failed");
    body.insert(body.size() - 1, "R" + server::string(routine));
    return staleness_told_by(*ErrorResponse::parse(body));
}

Description description(std::vector<std::uint32_t> types,
                        const std::vector<std::string_view>& columns) {
    PreparedStatement prepared;
    prepared.parameter_types = std::move(types);
    if (!columns.empty())
        prepared.columns = Columns::parse(server::row_description(columns).substr(5));
    return Description{prepared};
}

}  // namespace

TEST_CASE("an error says how likely it is that its statement was stale", "[failed_statement]") {
    CHECK(staleness("0A000", "RevalidateCachedQuery") == Staleness::certain);
    CHECK(staleness("0A000", "ExecuteAnything") == Staleness::none);
    CHECK(staleness("23505") == Staleness::unlikely);
    for (const char* code : {"22003", "22P02", "42703", "42P01", "XX000"}) {
        CAPTURE(code);
        CHECK(staleness(code) == Staleness::possible);
    }
    for (const char* code : {"40001", "40P01", "57014", "25006", "P0001"}) {
        CAPTURE(code);
        CHECK(staleness(code) == Staleness::none);
    }
}

TEST_CASE("a statement is described alike while its parameters and columns are",
          "[failed_statement]") {
    const Description as_prepared = description({20, 25}, {"id", "name"});
    CHECK(as_prepared == description({20, 25}, {"id", "name"}));
    CHECK_FALSE(as_prepared == description({23, 25}, {"id", "name"}));
    CHECK_FALSE(as_prepared == description({20}, {"id", "name"}));
    CHECK_FALSE(as_prepared == description({20, 25}, {"id", "title"}));
    CHECK_FALSE(as_prepared == description({20, 25}, {"id"}));
    CHECK_FALSE(as_prepared == description({20, 25}, {}));
    CHECK(description({}, {}) == description({}, {}));
}
