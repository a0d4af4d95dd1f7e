#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/answers.hpp>

#include <cstring>
#include <map>
#include <string>
#include <string_view>

using namespace txscope::protocol;
namespace server = support::server_message;

namespace {

// One of every type, and well-formed.
std::map<char, std::string> every_message() {
    return {
        {'1', server::parse_complete()},
        {'2', server::bind_complete()},
        {'3', server::close_complete()},
        {'A', server::message('A', server::number32(1) + server::string("a") + server::string(""))},
        {'C', server::complete("SELECT 1")},
        {'D', server::row({"1"})},
        {'E', server::error("22012")},
        {'G', server::copy_response('G')},
        {'H', server::copy_response('H')},
        {'I', server::message('I')},
        {'K', server::message('K', server::number32(1) + "key")},
        {'N', server::message('N', server::error_body("00000", "a notice"))},
        {'R', server::message('R', server::number32(0))},
        {'S', server::message('S', server::string("name") + server::string("value"))},
        {'T', server::row_description({"one"})},
        {'V', server::message('V', server::number32(0))},
        {'W', server::copy_response('W')},
        {'Z', server::ready()},
        {'c', server::message('c')},
        {'d', server::message('d', "data")},
        {'n', server::no_data()},
        {'s', server::message('s')},
        {'t', server::parameter_description({23})},
        {'v', server::message('v', server::number32(0) + server::number32(0))},
    };
}

struct Asked {
    explicit Asked(Copy copy = Copy::none) {
        if (copy == Copy::both) {
            requests.query(response, "START_REPLICATION", copy, false);
        } else {
            requests.execute(response, {.sql = "SELECT 1", .name = "one", .copy = copy});
            if (copy != Copy::in) requests.sync();
        }
        requests.sent(requests.output().size());
    }

    // Whether nothing in `bytes` is against the protocol.
    bool takes(std::string_view bytes) {
        const auto space = answers.space();
        std::memcpy(space.data(), bytes.data(), bytes.size());
        answers.received(bytes.size());
        for (bool all = false; !all && !answers.failed();) {
            all = answers.next().kind == Event::Kind::none && answers.answered().empty();
            if (answers.answered().take() != nullptr) CHECK(response.done());
        }
        return !answers.failed();
    }

    Response response;
    Requests requests{16};
    Answers answers{requests, 0x40000000, 1'000'000};
};

const std::string prepared = server::parse_complete() + server::parameter_description({});
const std::string described = prepared + server::row_description({"one"});
const std::string bound = described + server::bind_complete();
const std::string bound_without_rows = prepared + server::no_data() + server::bind_complete();
const std::string completed = bound + server::row({"1"}) + server::complete("SELECT 1");

}  // namespace

TEST_CASE("in each state only what may come next is taken", "[protocol]") {
    struct Case {
        const char* awaited;
        std::string before;
        std::string_view taken;  // beside what may come at any time
        Copy copy = Copy::none;
    };
    const Case cases[] = {
        {"ParseComplete", "", "1E"},
        {"ParameterDescription", server::parse_complete(), "tE"},
        {"a statement's columns", prepared, "TnE"},
        {"BindComplete", described, "2E"},
        {"rows", bound, "DCIsE"},
        {"more rows", bound + server::row({"1"}), "DCIsE"},
        {"a completion without rows", bound_without_rows, "CIsE"},
        {"ReadyForQuery", completed, "ZE"},
        {"ReadyForQuery behind an error", bound + server::error("22012"), "Z"},
        {"ReadyForQuery behind an error at the Sync", completed + server::error("23505"), "Z"},
        {"nothing", completed + server::ready(), ""},
        {"the beginning of COPY", bound_without_rows, "CIsEH", Copy::out},
        {"data", bound_without_rows + server::copy_response('H'), "dcE", Copy::out},
        {"the end of COPY", bound_without_rows + server::copy_response('H') + server::message('c'),
         "CE", Copy::out},
        {"consent to COPY", bound_without_rows, "CIsEG", Copy::in},
        {"our data", bound_without_rows + server::copy_response('G'), "E", Copy::in},
        {"anything of a Query", "", "TCIEWZ", Copy::both},
        {"rows of a Query", server::row_description({"one"}), "TDCIEWZ", Copy::both},
        {"data of both", server::copy_response('W'), "dcE", Copy::both},
        {"our data only", server::copy_response('W') + server::message('c'), "E", Copy::both},
    };
    for (const Case& one : cases) {
        for (const auto& [type, message] : every_message()) {
            CAPTURE(one.awaited, type);
            Asked asked{one.copy};
            REQUIRE(asked.takes(one.before));
            const bool any_time = std::string_view{"ANSK"}.find(type) != std::string_view::npos;
            const bool taken = one.taken.find(type) != std::string_view::npos;
            CHECK(asked.takes(message) == (taken || any_time));
        }
    }
}

TEST_CASE("a message that is cut short or too long is malformed in any state", "[protocol]") {
    const std::map<char, std::string> before{
        {'1', ""},        {'t', server::parse_complete()},
        {'T', prepared},  {'n', prepared},
        {'2', described}, {'D', bound},
        {'C', bound},     {'I', bound},
        {'s', bound},     {'Z', completed},
        {'E', bound},     {'N', ""},
        {'A', ""},        {'S', ""},
        {'K', ""},
    };
    for (const auto& [type, setup] : before) {
        const std::string body = every_message().at(type).substr(5);
        CAPTURE(type);
        for (std::size_t size = 0; size < body.size(); ++size) {
            if (type == 'K' && size >= 4) continue;  // a key is of any length
            Asked asked;
            REQUIRE(asked.takes(setup));
            CHECK_FALSE(asked.takes(server::message(type, body.substr(0, size))));
        }
        if (type == 'K') continue;
        Asked asked;
        REQUIRE(asked.takes(setup));
        CHECK_FALSE(asked.takes(server::message(type, body + "x")));
        CHECK(asked.answers.failure().text ==
              "the server sent a malformed " + words_for(MessageType{type}));
    }
    for (const char status : {'\0', 'i', 'X'}) {
        Asked asked;
        REQUIRE(asked.takes(completed));
        CHECK_FALSE(asked.takes(server::ready(status)));
    }
    Asked asked;
    REQUIRE(asked.takes(bound));
    CHECK_FALSE(asked.takes(server::row({"1", "2"})));  // a field without a column
}

TEST_CASE("what was not asked for is named", "[protocol]") {
    const auto text = [](const std::string& bytes) {
        Asked asked;
        CHECK_FALSE(asked.takes(bytes));
        CHECK(asked.answers.failure().reason == Failure::Reason::protocol_violation);
        return asked.answers.failure().text;
    };
    CHECK(text(server::bind_complete()) == "the server sent BindComplete in answer to Parse");
    CHECK(text(prepared + server::row({"1"})) == "the server sent DataRow in answer to Describe");
    CHECK(text(bound + server::ready()) == "the server sent ReadyForQuery in answer to Execute");
    CHECK(text(completed + server::complete("")) ==
          "the server sent CommandComplete in answer to Sync");
    CHECK(text(completed + server::ready() + server::ready()) ==
          "the server sent ReadyForQuery, and nothing was asked");
    CHECK(text(completed + server::ready() + server::error("22012")) ==
          "the server sent ErrorResponse, and nothing was asked");
    CHECK(text(server::error("22012") + server::error("22012")) ==
          "the server sent ErrorResponse behind an error, where only ReadyForQuery may come");
    CHECK(text(server::message('v', server::number32(0) + server::number32(0))) ==
          "the server sent NegotiateProtocolVersion in answer to Parse");
    CHECK(text("?") == "the server sent a message of the unknown type 0x3f");
}

TEST_CASE("COPY that was not asked for is a failure of its own", "[protocol]") {
    for (const char type : {'G', 'H', 'W'}) {
        Asked asked;
        CHECK_FALSE(asked.takes(bound + server::copy_response(type)));
        CHECK(asked.answers.failure().reason == Failure::Reason::copy_not_asked);
    }
}

TEST_CASE("copying both ways ends whichever side is first", "[protocol]") {
    const std::string end = server::complete("COPY 0") + server::ready();
    SECTION("we") {
        Asked asked{Copy::both};
        REQUIRE(asked.takes(server::copy_response('W') + server::message('d', "x")));
        asked.requests.copy_data("y");
        asked.requests.copy_done();
        CHECK(asked.takes(server::message('d', "z") + server::message('c') + end));
        CHECK(asked.response.done());
    }
    SECTION("the server") {
        Asked asked{Copy::both};
        REQUIRE(asked.takes(server::copy_response('W') + server::message('c')));
        CHECK(asked.requests.copying_in());
        asked.requests.copy_done();
        CHECK(asked.takes(end));
        CHECK(asked.response.done());
    }
    SECTION("by an error") {
        Asked asked{Copy::both};
        REQUIRE(asked.takes(server::copy_response('W') + server::error("57014")));
        CHECK_FALSE(asked.requests.copying_in());
        CHECK(asked.takes(server::ready()));
        CHECK(asked.response.outcome() == Response::Outcome::failed);
    }
}

TEST_CASE("a prepared statement knows what the server inferred", "[protocol]") {
    Asked asked;
    REQUIRE(asked.takes(server::parse_complete() + server::parameter_description({23, 25}) +
                        server::row_description({"one"})));
    const PreparedStatement* const statement = asked.requests.statements().find("one");
    REQUIRE(statement != nullptr);
    CHECK(statement->state == PreparedStatement::State::prepared);
    CHECK(statement->parameter_types == std::vector<std::uint32_t>{23, 25});
    REQUIRE(statement->columns != nullptr);
    REQUIRE(asked.takes(server::bind_complete() + server::row({"1"}) +
                        server::complete("SELECT 1") + server::ready()));
    CHECK(asked.response.result().columns() == statement->columns.get());  // shared
}
