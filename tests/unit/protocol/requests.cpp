#include "support/catch.hpp"
#include "support/growth.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/requests.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

using namespace txscope::protocol;

namespace {

struct Fixture {
    // The types of the messages that were written since, a letter each.
    std::string written() {
        std::string types;
        std::string_view bytes = requests.output();
        while (!bytes.empty()) {
            types += bytes.front();
            bytes.remove_prefix(1 + load32(bytes.data() + 1));
        }
        requests.sent(requests.output().size());
        return types;
    }
    void execute(std::string_view name = {}) {
        requests.execute(response, {.sql = "SELECT 1", .name = name});
    }
    // The server has answered everything.
    void answer() {
        while (!requests.queue().idle()) {
            const Request& request = requests.queue().head();
            if (request.prepares) requests.statements().confirm(*request.statement);
            if (request.awaits == Request::Awaits::close_complete)
                requests.statements().forget(*request.statement);
            if (request.awaits == Request::Awaits::ready)
                requests.pop_batch();
            else
                requests.queue().pop();
        }
    }

    Requests requests{2};
    Response response;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a statement without a name is parsed, described and executed",
                 "[protocol]") {
    execute();
    requests.execute(response, {.sql = "BEGIN", .returns_rows = false});
    requests.sync();
    CHECK(written() == "PBDEPBES");
    CHECK(requests.batches() == 1);
}

TEST_CASE_METHOD(Fixture, "a statement with a name is prepared and described once", "[protocol]") {
    execute("a");
    execute("a");
    requests.sync();
    CHECK(written() == "PDBEBES");
    answer();
    execute("a");
    requests.sync();
    CHECK(written() == "BES");
}

TEST_CASE_METHOD(Fixture, "what an earlier batch may fail to prepare is not relied on",
                 "[protocol]") {
    execute("a");
    requests.sync();
    execute("a");
    requests.sync();
    CHECK(written() == "PDBESPBDES");
    answer();
    execute("a");
    CHECK(written() == "BE");
}

TEST_CASE_METHOD(Fixture, "retired statements are closed first of all in the next batch",
                 "[protocol]") {
    for (const char* const name : {"a", "b", "c", "a"}) execute(name);
    requests.sync();
    CHECK(written() == "PDBEPDBEPDBEPBDES");  // in the same batch it is not prepared anew
    answer();
    execute("a");
    execute("c");
    requests.sync();
    CHECK(written() == "CPDBEBES");
    answer();
    requests.sync();  // for nothing but its own
    CHECK(written() == "S");
}

TEST_CASE("without room for prepared statements all are parsed just for now", "[protocol]") {
    Fixture without;
    Requests requests{0};
    requests.execute(without.response, {.sql = "SELECT 1", .name = "a"});
    CHECK(requests.output().substr(0, 1) == "P");
    CHECK(requests.statements().size() == 0);
}

TEST_CASE_METHOD(Fixture, "a portal goes on with what it is described as", "[protocol]") {
    requests.execute(response, {.sql = "SELECT 1", .portal = "p", .max_rows = 1});
    requests.fetch(response, "p", 10);
    requests.close_portal(response, "p");
    requests.sync();
    CHECK(written() == "PBDEDECS");
}

TEST_CASE_METHOD(Fixture, "a COPY FROM STDIN holds its batch open until its end", "[protocol]") {
    requests.execute(response, {.sql = "COPY t FROM STDIN", .copy = Copy::in});
    CHECK(written() == "PBDEH");
    CHECK(requests.copying_in());
    requests.copy_data("too early");
    CHECK(written().empty());
    requests.begin_copy_in();
    requests.copy_data("1\n");
    requests.copy_data("2\n");
    requests.copy_done();
    CHECK(written() == "ddcS");
    CHECK_FALSE(requests.copying_in());
    requests.copy_data("too late");
    requests.copy_done();
    requests.copy_fail("too late");
    CHECK(written().empty());
}

TEST_CASE_METHOD(Fixture, "a request that is refused has changed nothing", "[protocol]") {
    execute("a");
    requests.sync();
    answer();
    requests.statements().retire_all();
    written();
    const std::string long_name(64, 'n');
    for (int i = 0; i < 3; ++i) {
        CHECK_THROWS_AS(execute(long_name), std::invalid_argument);
        CHECK_THROWS_AS(requests.execute(response, {.sql = std::string_view{"a\0b", 3}}),
                        std::invalid_argument);
        CHECK_THROWS_AS(
            requests.execute(response, {.sql = "b", .name = "b", .parameters = {.count = 70'000}}),
            std::length_error);
        CHECK_THROWS_AS(requests.fetch(response, long_name, 0), std::invalid_argument);
        CHECK_THROWS_AS(requests.close_portal(response, long_name), std::invalid_argument);
        CHECK_THROWS_AS(requests.query(response, std::string_view{"a\0b", 3}, Copy::none, false),
                        std::invalid_argument);
    }
    CHECK(written().empty());
    CHECK(requests.queue().idle());
    CHECK_FALSE(requests.in_batch());
    CHECK(requests.statements().find("b") == nullptr);
    execute("b");
    CHECK(written() == "CPDBE");
    CHECK_THROWS_AS(execute(long_name), std::invalid_argument);
    CHECK(requests.in_batch());
    requests.sync();
    CHECK(written() == "S");
}

TEST_CASE_METHOD(Fixture, "it is the execution that changes the session, not the preparation",
                 "[protocol]") {
    requests.execute(response, {.sql = "SET a = 1", .name = "set", .changes_session = true});
    CHECK_FALSE(requests.queue().head().changes_session);
    CHECK(requests.queue().outstanding().back().changes_session);
    execute();
    CHECK_FALSE(requests.queue().outstanding().back().changes_session);
}

TEST_CASE_METHOD(Fixture, "what is only prepared is not executed", "[protocol]") {
    requests.prepare(response, "a", "SELECT 1");
    requests.sync();
    CHECK(written() == "PDS");
    REQUIRE(requests.statements().find("a") != nullptr);
    CHECK(requests.queue().head().prepares);
}

TEST_CASE("many statements take linear time to be asked for", "[protocol]") {
    const std::string sql(100, ' ');
    const auto ask = [&](std::size_t count) {
        for (int round = 0; round < 5; ++round) {
            Response response;
            Requests requests{2};
            for (std::size_t i = 0; i < count; ++i) requests.execute(response, {.sql = sql});
        }
    };
    CHECK(support::growth(20'000, ask) < 24);  // not with the square
}
