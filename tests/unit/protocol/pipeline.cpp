#include "support/catch.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/numbers.hpp>
#include <txscope/protocol/pipeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace txscope::protocol;
using Outcome = Response::Outcome;
namespace server = support::server_message;

namespace {

const std::string selected = server::parse_complete() + server::bind_complete() +
                             server::row_description({"one"}) + server::row({"1"}) +
                             server::complete("SELECT 1");
const std::string executed = server::parse_complete() + server::bind_complete() +
                             server::no_data() + server::complete("INSERT 0 1");

std::string done(std::string_view tag) {
    return server::parse_complete() + server::bind_complete() + server::no_data() +
           server::complete(tag);
}

struct Fixture {
    explicit Fixture(std::size_t max_result = 1'000) : pipeline{{.max_result = max_result}} {}

    void execute(Response& response, std::string_view sql = "SELECT 1",
                 std::string_view name = {}) {
        const bool sets = sql.starts_with("SET");
        pipeline.execute(response, {.sql = sql, .name = name, .changes_session = sets});
    }
    void send() { pipeline.sent(pipeline.output().size()); }
    void hear(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto space = pipeline.space();
            const std::size_t size = std::min(space.size(), bytes.size());
            std::memcpy(space.data(), bytes.data(), size);
            pipeline.received(size);
            bytes.remove_prefix(size);
        }
        for (Event event = pipeline.next(); event.kind != Event::Kind::none;
             event = pipeline.next()) {
            if (event.kind == Event::Kind::answered) answered.push_back(event.response);
            if (event.kind == Event::Kind::lost) ++losses;
        }
    }

    std::vector<Response*> answered;
    int losses = 0;
    Response a;
    Response b;
    Response c;
    Pipeline pipeline;
};
struct LongResults : Fixture {
    LongResults() : Fixture{1'000'000} {}
};

}  // namespace

TEST_CASE_METHOD(Fixture, "nobody is answered before the Sync is", "[protocol]") {
    execute(a);
    execute(b);
    pipeline.sync();
    hear(selected);
    CHECK(answered.empty());
    CHECK(pipeline.running(a));  // that it is over does not show yet
    hear(selected + server::ready('T'));
    CHECK(answered == std::vector<Response*>{&a, &b});
    CHECK(a.outcome() == Outcome::succeeded);
    CHECK(a.result()[0][0] == "1");
    CHECK(pipeline.transaction_status() == TransactionStatus::open);
    CHECK_FALSE(pipeline.running(a));
    CHECK(pipeline.idle());
    CHECK(pipeline.batches() == 1);
}

TEST_CASE_METHOD(Fixture, "what the server may work on is the batch that it answers",
                 "[protocol]") {
    execute(a);
    pipeline.sync();
    execute(b);
    pipeline.sync();
    CHECK(pipeline.running(a));
    CHECK_FALSE(pipeline.running(b));
    hear(selected + server::ready());
    CHECK(pipeline.running(b));
}

TEST_CASE_METHOD(Fixture, "of several statements the last that is kept is the result",
                 "[protocol]") {
    execute(a, "SELECT 2");
    pipeline.execute(a, {.sql = "INSERT", .keep_result = false});
    pipeline.sync();
    hear(selected + executed + server::ready());
    CHECK(a.result().tag() == "SELECT 1");
    const ResultBlock result = a.take_result();
    CHECK(result.size() == 1);
    CHECK(a.result().empty());
}

TEST_CASE_METHOD(Fixture, "all results are kept of whoever wants them all", "[protocol]") {
    a.keep_all();
    execute(a, "SELECT 2");
    execute(a, "INSERT");
    execute(b);
    pipeline.sync();
    hear(selected + executed + selected + server::ready());
    CHECK(a.result().empty());
    const auto results = a.take_all();
    REQUIRE(results.size() == 2);
    CHECK(results[0].size() == 1);
    CHECK(results[1].tag() == "INSERT 0 1");
    CHECK(b.result().size() == 1);
}

TEST_CASE_METHOD(Fixture, "a portal that is closed answers whoever closes nothing else",
                 "[protocol]") {
    pipeline.close_portal(a, "p");
    execute(b);
    pipeline.sync();
    hear(server::close_complete() + selected + server::ready());
    CHECK(answered == std::vector{&a, &b});
    CHECK(a.outcome() == Outcome::succeeded);
    CHECK(b.result().size() == 1);
}

TEST_CASE_METHOD(Fixture, "an error is its statement's; what follows is skipped", "[protocol]") {
    execute(a);
    execute(b);
    execute(b);
    execute(c);
    pipeline.sync();
    hear(selected + selected + server::error("22012") + server::ready('E'));
    CHECK(a.outcome() == Outcome::succeeded);
    CHECK(b.outcome() == Outcome::failed);
    CHECK(b.failed_statement() == 1);
    CHECK(b.result().empty());
    CHECK(c.outcome() == Outcome::skipped);
    CHECK(c.failed_statement() == Response::none);
    CHECK(c.error() == b.error());  // the same, not a copy
    CHECK(c.error()->sqlstate() == "22012");
}

TEST_CASE_METHOD(Fixture, "an error at the Sync is everybody's", "[protocol]") {
    execute(a);
    execute(b);
    pipeline.sync();
    execute(c);
    pipeline.sync();
    hear(executed + executed + server::error("23505") + server::ready());
    CHECK(a.outcome() == Outcome::failed);
    CHECK(a.failed_statement() == Response::none);
    CHECK(b.outcome() == Outcome::failed);
    CHECK_FALSE(c.done());
}

TEST_CASE_METHOD(Fixture, "what a COMMIT has made safe is not undone by an error behind it",
                 "[protocol]") {
    execute(a, "INSERT");
    execute(a, "COMMIT");
    execute(b, "INSERT");
    execute(c, "INSERT");
    pipeline.sync();
    SECTION("of a statement") {
        hear(executed + done("COMMIT") + executed + server::error("23505") + server::ready());
        CHECK(b.outcome() == Outcome::rolled_back);
        CHECK(c.outcome() == Outcome::failed);
    }
    SECTION("at the Sync") {
        hear(executed + done("COMMIT") + executed + executed + server::error("23505") +
             server::ready());
        CHECK(b.outcome() == Outcome::failed);
        CHECK(c.outcome() == Outcome::failed);
    }
    CHECK(a.outcome() == Outcome::succeeded);
}

TEST_CASE_METHOD(Fixture, "the server's last words are kept, asked for or not", "[protocol]") {
    SECTION("while nothing is asked") {}
    SECTION("while something is asked") {
        execute(a);
        pipeline.sync();
        send();
    }
    SECTION("behind another error") {
        execute(b);
        pipeline.sync();
        send();
        hear(server::error("22012"));
    }
    hear(server::fatal("57P01", "terminating connection"));
    CHECK(pipeline.failed());
    CHECK(losses == 1);
    CHECK(pipeline.failure().reason == Failure::Reason::server_ended);
    CHECK(pipeline.failure().text == "terminating connection");
    REQUIRE(pipeline.failure().said != nullptr);
    CHECK(pipeline.failure().said->sqlstate() == "57P01");
    if (!answered.empty() && answered.front() == &a) {
        CHECK(a.outcome() == Outcome::lost);
        CHECK(a.error() == pipeline.failure().said);
    }
    if (!answered.empty() && answered.front() == &b) {
        CHECK(b.outcome() == Outcome::failed);
        CHECK(b.error()->sqlstate() == "22012");
    }
    hear("what comes behind is not looked at");
    CHECK(losses == 1);
}

TEST_CASE_METHOD(Fixture, "what the socket has not taken is unsent when the connection is lost",
                 "[protocol]") {
    execute(a);
    pipeline.sync();
    send();
    execute(b);
    pipeline.sync();
    pipeline.sent(1);
    execute(c);
    pipeline.sync();
    pipeline.fail({.reason = Failure::Reason::closed, .text = "gone"});
    Response d;
    execute(d);
    pipeline.sync();
    hear("");
    CHECK(answered == std::vector<Response*>{&a, &b, &c, &d});
    CHECK(losses == 1);
    CHECK(a.outcome() == Outcome::lost);
    CHECK(b.outcome() == Outcome::lost);  // a part of it is on its way
    CHECK(c.outcome() == Outcome::unsent);
    CHECK(d.outcome() == Outcome::unsent);
    CHECK(pipeline.output().empty());
    CHECK(pipeline.failure().text == "gone");
    pipeline.fail({.reason = Failure::Reason::closed, .text = "once more"});
    CHECK(pipeline.failure().text == "gone");
}

TEST_CASE_METHOD(Fixture, "who was answered is not touched when the connection is lost later",
                 "[protocol]") {
    auto gone = std::make_unique<Response>();
    execute(*gone, "SELECT 1", "one");
    pipeline.sync();
    for (int i = 0; i < 10; ++i) execute(a, "SELECT 1", "other");
    pipeline.sync();
    hear(server::parse_complete() + server::parameter_description({}) +
         server::row_description({"one"}) + server::bind_complete() + server::row({"1"}) +
         server::complete("SELECT 1") + server::ready());
    REQUIRE(answered == std::vector<Response*>{gone.get()});
    gone.reset();  // AddressSanitizer knows if it is
    pipeline.abandon(b);
    hear(server::ready());
    CHECK(a.done());
    CHECK(losses == 1);
}

TEST_CASE_METHOD(Fixture, "a response may go before it is answered", "[protocol]") {
    execute(a);
    {
        Response gone;
        execute(gone);
        pipeline.sync();
        hear(selected.substr(0, selected.size() - 5));
        pipeline.abandon(gone);
    }
    {
        Response gone;
        execute(gone);
        pipeline.sync();
        hear(selected.substr(selected.size() - 5) + selected + server::ready());
        pipeline.abandon(gone);
    }
    CHECK(a.result().size() == 1);
    hear(server::error("22012") + server::ready());
    CHECK(answered == std::vector<Response*>{&a});
    CHECK(pipeline.idle());
}

TEST_CASE_METHOD(Fixture, "a result that is longer than the limit loses the connection",
                 "[protocol]") {
    execute(a);
    pipeline.sync();
    send();
    hear(server::parse_complete() + server::bind_complete() + server::row_description({"one"}));
    const std::string row = server::row({std::string(400, 'x')});
    hear(row + row);
    CHECK_FALSE(pipeline.failed());
    hear(row);
    CHECK(pipeline.failure().text == "the server sent a result that is longer than the limit");
    CHECK(a.outcome() == Outcome::lost);
}

TEST_CASE_METHOD(LongResults, "a long result may be collected while it arrives", "[protocol]") {
    static std::size_t rows;  // that were
    rows = 0;
    static constexpr Collector collector{
        .add = [](std::unique_ptr<Collected>&, const ResultBlock& part) { rows += part.size(); },
        .reads_binary = [](const Column&) { return false; }};
    const auto collected = [&](Response& response) {
        response.collect_by(&collector);
        execute(response);
        pipeline.sync();
        send();
        hear(server::parse_complete() + server::bind_complete() + server::row_description({"one"}));
    };
    const std::string row = server::row({std::string(400, 'x')});
    const auto hear_rows = [&] {
        for (int i = 0; i < 100; ++i) hear(row);
    };
    SECTION("to its end") {
        collected(b);
        CHECK(rows == 0);
        hear_rows();
        CHECK(rows >= 80);
        CHECK(b.result().empty());
        hear(server::complete("SELECT 100") + server::ready());
        REQUIRE(b.outcome() == Outcome::succeeded);
        CHECK(rows + b.result().size() == 100);
        CHECK(b.result().tag() == "SELECT 100");
    }
    SECTION("until it fails") {
        collected(b);
        hear_rows();
        hear(server::error("22012") + server::ready());
        CHECK(b.outcome() == Outcome::failed);
        execute(a);
        pipeline.sync();
        send();
        hear(selected + server::ready());
        CHECK(a.result().size() == 1);
    }
    SECTION("until nobody waits for it") {
        collected(b);
        hear_rows();
        pipeline.abandon(b);
        const std::size_t before = rows;
        hear_rows();
        hear(server::complete("SELECT 200") + server::ready());
        CHECK(rows == before);
        CHECK(pipeline.idle());
    }
}

TEST_CASE_METHOD(Fixture, "who collects the rows of known columns gets some of these in binary",
                 "[protocol]") {
    static constexpr Collector collector{
        .add = [](std::unique_ptr<Collected>&, const ResultBlock&) {},
        .reads_binary = [](const Column& column) { return column.name == "two"; }};
    const std::string formats = server::number16(2) + server::number16(0) + server::number16(1);
    const auto bound = [&](Response& response) {
        response.collect_by(&collector);
        execute(response, "SELECT 1, 2", "s");
        pipeline.sync();
        const bool in_binary = pipeline.output().find(formats) != std::string::npos;
        send();
        return in_binary;
    };
    const std::string rows = server::bind_complete() + server::row({"1", "2"}) +
                             server::complete("SELECT 1") + server::ready();
    CHECK_FALSE(bound(a));  // the columns are not known
    hear(server::parse_complete() + server::parameter_description({}) +
         server::row_description({"one", "two"}) + rows);
    CHECK((*a.result().columns())[1].format == Format::text);
    CHECK(bound(b));
    execute(c, "SELECT 1, 2", "s");  // without a collector, while the other is on its way
    pipeline.sync();
    CHECK(pipeline.output().find(formats) == std::string::npos);
    send();
    hear(rows + rows);
    CHECK((*b.result().columns())[0].format == Format::text);
    CHECK((*b.result().columns())[1].format == Format::binary);
    CHECK((*c.result().columns())[1].format == Format::text);
}

TEST_CASE_METHOD(Fixture, "rows that nobody wants are no result, however many", "[protocol]") {
    pipeline.execute(a, {.sql = "SELECT 1", .keep_result = false});
    pipeline.sync();
    const std::string row = server::row({std::string(400, 'x')});
    hear(server::parse_complete() + server::bind_complete() + server::row_description({"one"}) +
         row + row + row + row + server::complete("SELECT 4") + server::ready());
    CHECK(a.outcome() == Outcome::succeeded);
    CHECK(a.result().columns() == nullptr);
}

TEST_CASE_METHOD(Fixture, "what a statement leaves in the session is remembered", "[protocol]") {
    execute(a);
    pipeline.sync();
    hear(selected + server::ready());
    CHECK_FALSE(pipeline.session_changed());
    SECTION("when it succeeds") {
        execute(b, "SET a = 1");
        pipeline.sync();
        hear(done("SET") + server::ready());
        CHECK(pipeline.session_changed());
        execute(c, "DISCARD ALL");
        pipeline.sync();
        hear(done("DISCARD ALL") + server::ready());
        CHECK(pipeline.session_changed());  // it may have been opened with other settings
        pipeline.session_restored();
        CHECK_FALSE(pipeline.session_changed());
    }
    SECTION("when it fails, too") {
        execute(b, "SET a = 1");
        pipeline.sync();
        hear(server::parse_complete() + server::error("22023") + server::ready());
        CHECK(pipeline.session_changed());
    }
    SECTION("not when it is skipped") {
        execute(b);
        execute(b, "SET a = 1");
        pipeline.sync();
        hear(server::error("22012") + server::ready());
        CHECK_FALSE(pipeline.session_changed());
    }
}

TEST_CASE_METHOD(Fixture, "prepared statements are forgotten or closed as errors demand",
                 "[protocol]") {
    const std::string prepares = server::parse_complete() + server::parameter_description({}) +
                                 server::row_description({"one"});
    const std::string runs =
        server::bind_complete() + server::row({"1"}) + server::complete("SELECT 1");
    const auto state = [&] {
        const auto* const statement = pipeline.prepared("one");
        return statement == nullptr                                     ? "none"
               : statement->state == PreparedStatement::State::prepared ? "prepared"
               : statement->state == PreparedStatement::State::retired  ? "retired"
                                                                        : "other";
    };
    execute(a, "SELECT 1", "one");
    pipeline.sync();
    SECTION("prepared") {
        hear(prepares + runs + server::ready());
        CHECK(state() == std::string{"prepared"});
        execute(b, "SELECT 1", "one");
        pipeline.sync();
        SECTION("its plan is stale") {
            hear(server::error("0A000") + server::ready());
            CHECK(state() == std::string{"retired"});
        }
        SECTION("somebody deallocated it") {
            hear(server::error("26000") + server::ready());
            CHECK(state() == std::string{"none"});
        }
        SECTION("a function of its failed") {
            hear(server::bind_complete() +
                 server::message('E', "C26000" + std::string(1, '\0') +
                                          server::string("Wfunction f()") + '\0') +
                 server::ready());
            CHECK(state() == std::string{"prepared"});
        }
        SECTION("all are dropped") {
            execute(c, "DEALLOCATE ALL");
            pipeline.sync();
            hear(runs + server::ready() + done("DEALLOCATE ALL") + server::ready());
            CHECK(state() == std::string{"none"});
        }
    }
    SECTION("Parse failed") {
        hear(server::error("42601") + server::ready());
        CHECK(state() == std::string{"none"});
    }
    SECTION("Parse was skipped") {
        Fixture other;
        other.execute(other.a);
        other.execute(other.b, "SELECT 1", "one");
        other.pipeline.sync();
        other.hear(server::error("42601") + server::ready());
        CHECK(other.pipeline.prepared("one") == nullptr);
    }
    SECTION("Describe failed") {
        hear(server::parse_complete() + server::error("57014") + server::ready());
        CHECK(state() == std::string{"retired"});
    }
}

TEST_CASE_METHOD(Fixture, "an error at Close is nobody's own, and it is closed once more",
                 "[protocol]") {
    execute(a, "SELECT 1", "one");
    pipeline.sync();
    hear(server::parse_complete() + server::parameter_description({}) + server::no_data() +
         server::bind_complete() + server::complete("SELECT 1") + server::ready());
    pipeline.retire_all();
    execute(b);
    pipeline.sync();
    hear(server::error("57014") + server::ready());
    CHECK(b.outcome() == Outcome::skipped);
    send();
    execute(c);
    CHECK(pipeline.output().substr(0, 1) == "C");
}

TEST_CASE_METHOD(Fixture, "a COPY that fails before the server's consent ends its batch",
                 "[protocol]") {
    pipeline.execute(a, {.sql = "COPY t FROM STDIN", .copy = Copy::in});
    send();
    hear(server::error("42P01"));
    CHECK(pipeline.output() == server::message('S'));
    CHECK_FALSE(pipeline.copying_in());
    hear(server::ready());
    CHECK(a.outcome() == Outcome::failed);
    CHECK(pipeline.idle());
}

TEST_CASE_METHOD(Fixture, "an error of an earlier batch does not end a COPY", "[protocol]") {
    execute(a);
    pipeline.sync();
    pipeline.execute(b, {.sql = "COPY t FROM STDIN", .copy = Copy::in});
    send();
    hear(server::error("22012") + server::ready());
    CHECK(a.done());
    CHECK(pipeline.copying_in());
    hear(server::parse_complete() + server::bind_complete() + server::no_data() +
         server::copy_response('G'));
    pipeline.copy_data("1\n");
    pipeline.copy_done();
    hear(server::complete("COPY 1") + server::ready());
    CHECK(b.result().tag() == "COPY 1");
}

// Without pipelining.

TEST_CASE_METHOD(Fixture, "without pipelining a statement goes out when the one ahead is answered",
                 "[protocol]") {
    pipeline.stop_pipelining();
    const auto types = [&] {
        std::string letters;
        for (std::string_view bytes = pipeline.output(); !bytes.empty();
             bytes.remove_prefix(1 + load32(bytes.data() + 1)))
            letters += bytes.front();
        send();
        return letters;
    };
    execute(a);
    execute(a);
    execute(b, "SELECT 1", "name");
    execute(b, "SELECT 1", "name");
    pipeline.sync();
    execute(c);
    pipeline.sync();
    CHECK(types() == "PBDES");
    CHECK(types().empty());
    hear(selected + server::ready('T'));
    CHECK(types() == "PBDES");
    CHECK(pipeline.transaction_status() == TransactionStatus::open);
    hear(selected + server::ready('T'));
    CHECK(answered.empty());
    CHECK(types() == "PDBES");
    hear(server::parse_complete() + server::parameter_description({}) +
         server::row_description({"one"}) + server::bind_complete() + server::row({"1"}) +
         server::complete("SELECT 1") + server::ready('T'));
    CHECK(types() == "BES");
    CHECK(pipeline.running(b));
    hear(server::bind_complete() + server::row({"2"}) + server::complete("SELECT 1") +
         server::ready('T'));
    CHECK(answered == std::vector<Response*>{&a, &b});
    CHECK(b.result()[0][0] == "2");
    CHECK(types() == "PBDES");
    hear(selected + server::ready());
    CHECK(c.outcome() == Outcome::succeeded);
    CHECK(types().empty());
    CHECK(pipeline.idle());
    CHECK(pipeline.batches() == 5);
}

TEST_CASE_METHOD(Fixture, "without pipelining what follows a failed statement is not sent",
                 "[protocol]") {
    pipeline.stop_pipelining();
    execute(a);
    execute(b, "SELECT 1", "name");
    execute(c, "COMMIT");
    pipeline.sync();
    Response rollback;
    execute(rollback, "ROLLBACK");
    pipeline.sync();
    send();
    hear(server::error("22012") + server::ready('E'));
    CHECK(a.outcome() == Outcome::failed);
    CHECK(b.outcome() == Outcome::skipped);
    CHECK(c.outcome() == Outcome::skipped);
    CHECK(pipeline.prepared("name") == nullptr);
    CHECK(pipeline.output().find("COMMIT") == std::string_view::npos);
    CHECK(pipeline.output().find("ROLLBACK") != std::string_view::npos);
    send();
    hear(done("ROLLBACK") + server::ready());
    CHECK(rollback.outcome() == Outcome::succeeded);
    CHECK(pipeline.batches() == 2);
}

TEST_CASE_METHOD(Fixture, "without pipelining what a Sync has committed is not rolled back",
                 "[protocol]") {
    pipeline.stop_pipelining();
    execute(a);
    execute(b);
    execute(c);
    pipeline.sync();
    send();
    hear(executed + server::ready());
    SECTION("by a statement") {
        send();
        hear(server::error("22012") + server::ready());
    }
    SECTION("by the next Sync") {
        send();
        hear(executed + server::error("23503") + server::ready());
    }
    CHECK(a.outcome() == Outcome::succeeded);
    CHECK(b.outcome() == Outcome::failed);
    CHECK(c.outcome() == Outcome::skipped);
}

TEST_CASE_METHOD(Fixture,
                 "without pipelining what was held back when the connection is lost is unsent",
                 "[protocol]") {
    pipeline.stop_pipelining();
    execute(a);
    execute(b);
    pipeline.sync();
    send();
    pipeline.fail({.reason = Failure::Reason::closed});
    hear({});
    CHECK(a.outcome() == Outcome::lost);
    CHECK(b.outcome() == Outcome::unsent);
}

TEST_CASE_METHOD(Fixture, "without pipelining an answer to a Sync that was not sent is no protocol",
                 "[protocol]") {
    pipeline.stop_pipelining();
    execute(a);
    execute(b);
    pipeline.sync();
    pipeline.sent(5);
    hear(executed + server::ready());
    CHECK(pipeline.failure().reason == Failure::Reason::protocol_violation);
    CHECK(a.outcome() == Outcome::lost);
}
