#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/columns.hpp>

#include <string>

using namespace txscope::protocol;
namespace server = support::server_message;

TEST_CASE("columns are what RowDescription says", "[protocol]") {
    const std::string body = server::number16(2) + server::string("id") + server::number32(16384) +
                             server::number16(3) + server::number32(23) + server::number16(4) +
                             server::number32(0xffffffff) + server::number16(0) +
                             server::string("") + server::number32(0) + server::number16(0) +
                             server::number32(1043) + server::number16(0xffff) +
                             server::number32(14) + server::number16(1);
    const auto columns = Columns::parse(body);
    REQUIRE(columns != nullptr);
    REQUIRE(columns->size() == 2);
    const Column& id = (*columns)[0];
    CHECK(id.name == "id");
    CHECK(id.table == 16384);
    CHECK(id.number == 3);
    CHECK(id.type == 23);
    CHECK(id.type_size == 4);
    CHECK(id.type_modifier == -1);
    CHECK(id.format == Format::text);
    const Column& nameless = (*columns)[1];
    CHECK(nameless.name.empty());
    CHECK(nameless.type_size == -1);
    CHECK(nameless.type_modifier == 14);
    CHECK(nameless.format == Format::binary);

    for (std::size_t size = 0; size < body.size(); ++size)
        CHECK(Columns::parse(body.substr(0, size)) == nullptr);
    CHECK(Columns::parse(body + '\0') == nullptr);
}

TEST_CASE("a result may have no columns, and none that are not there", "[protocol]") {
    REQUIRE(Columns::parse(server::number16(0)) != nullptr);
    CHECK(Columns::parse(server::number16(0))->size() == 0);
    CHECK(Columns::parse(server::number16(0xffff)) == nullptr);
    std::string unknown_format = server::row_description({"id"}).substr(5);
    unknown_format.back() = 2;
    CHECK(Columns::parse(unknown_format) == nullptr);
}
