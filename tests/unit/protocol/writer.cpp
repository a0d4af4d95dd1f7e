#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/writer.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

using namespace txscope::protocol;
using namespace std::string_literals;
using support::server_message::message;
using support::server_message::number16;
using support::server_message::number32;
using support::server_message::row_description;
using support::server_message::string;

TEST_CASE("requests are written as the manual says", "[protocol]") {
    std::string parameters;
    append_parameter(parameters, "value");
    append_null(parameters);
    const std::array<std::uint32_t, 2> types{23, 0};
    const auto columns = Columns::parse(row_description({"a", "b", "c"}).substr(5))
                             ->in_binary([](const Column& column) { return column.name == "b"; });

    struct Case {
        const char* what;
        std::function<void(Writer&)> write;
        std::string expected;
    };
    const Case cases[] = {
        {"Parse", [](Writer& w) { w.parse("s", "SELECT 1"); },
         message('P', string("s") + string("SELECT 1") + number16(0))},
        {"Parse with types", [&](Writer& w) { w.parse("", "SELECT $1", types); },
         message('P', string("") + string("SELECT $1") + number16(2) + number32(23) + number32(0))},
        {"Bind without parameters", [](Writer& w) { w.bind("", "s", {}); },
         message('B', string("") + string("s") + number16(0) + number16(0) + number16(0))},
        {"Bind", [&](Writer& w) { w.bind("p", "s", {.count = 2, .bytes = parameters}); },
         message('B', string("p") + string("s") + number16(0) + number16(2) + number32(5) +
                          "value" + number32(0xffffffff) + number16(0))},
        {"Bind, all binary",
         [&](Writer& w) {
             w.bind("", "", {.count = 2, .bytes = parameters, .format = Format::binary},
                    Format::binary);
         },
         message('B', string("") + string("") + number16(1) + number16(1) + number16(2) +
                          number32(5) + "value" + number32(0xffffffff) + number16(1) +
                          number16(1))},
        {"Bind for rows of some formats",
         [&](Writer& w) {
             w.bind("", "t", {});
             const std::size_t place = w.size();
             w.bind("p", "s", {.count = 2, .bytes = parameters});
             w.set_result_formats(place, *columns);
         },
         message('B', string("") + string("t") + number16(0) + number16(0) + number16(0)) +
             message('B', string("p") + string("s") + number16(0) + number16(2) + number32(5) +
                              "value" + number32(0xffffffff) + number16(3) + number16(0) +
                              number16(1) + number16(0))},
        {"Describe a statement", [](Writer& w) { w.describe_statement("s"); },
         message('D', "S" + string("s"))},
        {"Describe a portal", [](Writer& w) { w.describe_portal(""); }, message('D', "P\0"s)},
        {"Execute", [](Writer& w) { w.execute("p", 70'000); },
         message('E', string("p") + number32(70'000))},
        {"Close a statement", [](Writer& w) { w.close_statement("s"); },
         message('C', "S" + string("s"))},
        {"Close a portal", [](Writer& w) { w.close_portal("p"); }, message('C', "P" + string("p"))},
        {"Sync", [](Writer& w) { w.sync(); }, message('S')},
        {"Flush", [](Writer& w) { w.flush(); }, message('H')},
        {"Query", [](Writer& w) { w.query("SELECT 1; SELECT 2"); },
         message('Q', string("SELECT 1; SELECT 2"))},
        {"CopyData", [](Writer& w) { w.copy_data("1\t\0\n"s); }, message('d', "1\t\0\n"s)},
        {"empty CopyData", [](Writer& w) { w.copy_data(""); }, message('d')},
        {"CopyDone", [](Writer& w) { w.copy_done(); }, message('c')},
        {"CopyFail", [](Writer& w) { w.copy_fail("why"); }, message('f', string("why"))},
        {"Terminate", [](Writer& w) { w.terminate(); }, message('X')},
    };
    Writer all;
    std::string expected;
    for (const Case& one : cases) {
        CAPTURE(one.what);
        Writer writer;
        one.write(writer);
        CHECK(writer.bytes() == one.expected);
        one.write(all);
        expected += one.expected;
    }
    CHECK(all.bytes() == expected);
    all.sent(10);
    CHECK(all.bytes() == std::string_view{expected}.substr(10));
}

TEST_CASE("what the server would not take, or take for something else, is not written",
          "[protocol]") {
    const auto block = std::make_unique_for_overwrite<char[]>(Writer::max_message);
    const std::string_view huge{block.get(), Writer::max_message};  // and four bytes of its length
    const std::string long_name(64, 'n');
    const std::string with_nul = "SELECT 1\0"s;
    const auto writes = [](auto write) {
        Writer writer;
        writer.sync();
        try {
            write(writer);
        } catch (const std::length_error&) {
            CHECK(writer.bytes() == message('S'));
            return "too long"s;
        } catch (const std::invalid_argument&) {
            CHECK(writer.bytes() == message('S'));
            return "invalid"s;
        }
        return "written"s;
    };
    CHECK(writes([&](Writer& w) { w.parse("", huge); }) == "too long");
    CHECK(writes([&](Writer& w) { w.query(huge); }) == "too long");
    CHECK(writes([&](Writer& w) { w.copy_data(huge); }) == "too long");
    CHECK(writes([&](Writer& w) { w.bind("", "", {.count = 1, .bytes = huge}); }) == "too long");
    CHECK(writes([&](Writer& w) { w.bind("", "", {.count = 65'536}); }) == "too long");
    CHECK(writes([&](Writer& w) { w.execute("", 0x80000000); }) == "too long");
    CHECK(writes([&](Writer& w) { w.copy_fail(std::string(10'000, 'x')); }) == "too long");
    CHECK(writes([&](Writer& w) { w.parse("", with_nul); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.query(with_nul); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.parse("a\0b"s, "SELECT 1"); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.parse(long_name, "SELECT 1"); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.bind(long_name, "", {}); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.close_statement(long_name); }) == "invalid");
    CHECK(writes([&](Writer& w) { w.parse(long_name.substr(1), "SELECT 1"); }) == "written");
}

TEST_CASE("what was written last can be taken back", "[protocol]") {
    Writer writer;
    writer.sync();
    const std::size_t size = writer.size();
    writer.query("SELECT 1");
    writer.truncate(size);
    CHECK(writer.bytes() == message('S'));
}
