#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/server_messages.hpp"
#include <txscope/postgres/detail/statement_pipeline.hpp>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using support::is;
using support::text_of;
using txscope::ConnectionLost;
using txscope::Statement;
using txscope::detail::Request;
using txscope::detail::Response;
using txscope::detail::Staleness;
using txscope::detail::StatementNaming;
using txscope::detail::StatementPipeline;
namespace server = support::server_message;

namespace {

// What answers a statement that was prepared before; and one that was not, which is described, too.
std::string executed(std::string_view tag = "INSERT 0 1") {
    return server::bind_complete() + server::complete(tag);
}
std::string unnamed(std::string_view tag = "INSERT 0 1") {
    return server::parse_complete() + server::bind_complete() + server::no_data() +
           server::complete(tag);
}
std::string prepared(std::initializer_list<std::uint32_t> types = {}) {
    return server::parse_complete() + server::parameter_description(types) + server::no_data();
}

struct Fixture {
    explicit Fixture(std::size_t most = 16) : naming{most}, pipeline{naming} {}

    using Shared = std::shared_ptr<Response>;

    // A batch of statements, each for a response of its own.
    std::vector<Shared> send(std::vector<Statement> statements) {
        std::vector<Shared> responses;
        std::vector<Request> batch;
        for (Statement& statement : statements) {
            responses.push_back(std::make_shared<Response>());
            batch.push_back({std::move(statement), responses.back()});
        }
        pipeline.submit(std::move(batch));
        return responses;
    }
    Shared send(const std::string& sql) { return send({Statement{sql}}).front(); }

    // The messages that were written since, a letter each; the last name that Parse gave is kept.
    std::string written() {
        std::string types;
        std::string_view bytes = pipeline.output();
        while (!bytes.empty()) {
            const std::size_t size = 1 + txscope::protocol::load32(bytes.data() + 1);
            types += bytes.front();
            if (bytes.front() == 'P') name = std::string{bytes.data() + 5};
            bytes.remove_prefix(size);
        }
        pipeline.sent(pipeline.output().size());
        return types;
    }
    void hear(std::string_view bytes) {
        while (!bytes.empty() && !pipeline.broken()) {
            const auto space = pipeline.space();
            const std::size_t size = std::min(space.size(), bytes.size());
            std::memcpy(space.data(), bytes.data(), size);
            pipeline.received(size);
            bytes.remove_prefix(size);
        }
    }
    // As a statement that is prepared by now.
    void prepare(const std::string& sql) {
        send(sql);
        written();
        hear(prepared() + executed() + server::ready());
    }

    StatementNaming naming;
    StatementPipeline pipeline;
    std::string name;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a statement is prepared when it comes, and sent by its name after that",
                 "[statement_pipeline]") {
    const auto first = send("INSERT INTO notes VALUES (1)");
    CHECK(written() == "PDBES");
    CHECK_FALSE(name.empty());
    hear(prepared() + executed() + server::ready());
    CHECK(first->done);
    CHECK_FALSE(first->error);
    CHECK(first->result.command_tag() == "INSERT 0 1");

    const auto second = send("INSERT INTO notes VALUES (1)");
    CHECK(written() == "BES");
    hear(executed() + server::ready());
    CHECK(second->done);
    CHECK(pipeline.idle());
    CHECK(pipeline.batches() == 2);
}

TEST_CASE_METHOD(Fixture, "transaction control is neither prepared nor described",
                 "[statement_pipeline]") {
    send("BEGIN");
    CHECK(written() == "PBES");
    CHECK(name.empty());
}

TEST_CASE("without names nothing is prepared", "[statement_pipeline]") {
    Fixture fixture{0};
    for (int i = 0; i < 2; ++i) {
        fixture.send("INSERT INTO notes VALUES (1)");
        CHECK(fixture.written() == "PBDES");
        CHECK(fixture.name.empty());
        fixture.hear(unnamed() + server::ready());
    }
}

TEST_CASE("more statements than may be kept take turns, and are closed", "[statement_pipeline]") {
    Fixture fixture{1};
    for (int i = 0; i < 6; ++i) {
        const std::string sql = "SELECT " + std::to_string(i);
        fixture.send(sql);
        CHECK(fixture.written() == (i < 2 ? "PDBES" : "CPDBES"));
        fixture.hear((i < 2 ? "" : server::close_complete()) + prepared() + executed() +
                     server::ready());
    }
}

TEST_CASE_METHOD(Fixture, "the failed statement's error is everybody's whom it concerns",
                 "[statement_pipeline]") {
    const auto sent = send({Statement{"BEGIN"}, Statement{"INSERT INTO notes VALUES (1)"},
                            Statement{"INSERT INTO notes VALUES (2)"}});
    hear(server::parse_complete() + server::bind_complete() + server::complete("BEGIN") +
         prepared() + server::bind_complete() + server::error("23505", "it is there already") +
         server::ready('E'));
    CHECK_FALSE(sent[0]->error);
    CHECK(is<pqxx::unique_violation>(sent[1]->error));
    CHECK(sent[1]->outcome() != Response::Outcome::skipped);
    CHECK_THAT(text_of(sent[1]->error), ContainsSubstring("INSERT INTO notes VALUES (1)"));
    CHECK(sent[2]->error == sent[1]->error);
    CHECK(sent[2]->outcome() == Response::Outcome::skipped);
    CHECK(pipeline.transaction_status() == txscope::protocol::TransactionStatus::failed);
}

TEST_CASE_METHOD(Fixture, "what failed at the Sync is told without a statement's text",
                 "[statement_pipeline]") {
    const auto orphan = send("INSERT INTO notes VALUES (1)");
    hear(prepared() + executed() + server::error("23503", "a parent is missing") + server::ready());
    CHECK(is<pqxx::foreign_key_violation>(orphan->error));
    CHECK_THAT(text_of(orphan->error), !ContainsSubstring("INSERT"));
}

TEST_CASE_METHOD(Fixture, "COPY that nobody has asked for gives the connection up, by its text",
                 "[statement_pipeline]") {
    const auto copy = send("COPY notes TO STDOUT");
    const auto behind = send("SELECT 1");
    written();
    hear(prepared() + server::bind_complete() + server::copy_response('H'));
    CHECK(pipeline.broken());
    CHECK(is<pqxx::usage_error>(copy->error));
    CHECK_THAT(text_of(copy->error), ContainsSubstring("COPY notes TO STDOUT"));
    CHECK(behind->done);
    CHECK(behind->error);
}

TEST_CASE_METHOD(Fixture, "the server's last words are why everything outstanding is lost",
                 "[statement_pipeline]") {
    const auto running = send("SELECT 1");
    written();
    const auto unsent = send("SELECT 2");
    hear(server::fatal("57P01", "terminating connection"));
    CHECK(is<ConnectionLost>(running->error));
    CHECK_THAT(text_of(running->error), ContainsSubstring("terminating connection"));
    CHECK(running->outcome() == Response::Outcome::lost);
    CHECK(unsent->outcome() == Response::Outcome::unsent);
    CHECK(pipeline.broken());

    const auto late = send("SELECT 3");
    CHECK(late->done);
    CHECK(late->outcome() == Response::Outcome::unsent);
    CHECK(is<ConnectionLost>(late->error));
}

TEST_CASE_METHOD(Fixture, "so they are where nothing is outstanding", "[statement_pipeline]") {
    hear(server::fatal("57P05", "terminating connection due to idle-session timeout"));
    CHECK_THAT(text_of(pipeline.failure()), ContainsSubstring("idle-session"));
}

TEST_CASE_METHOD(Fixture, "bytes that are no protocol lose the connection, and say so",
                 "[statement_pipeline]") {
    const auto running = send("SELECT 1");
    hear("HTTP/1.1 400 Bad Request");
    CHECK(is<ConnectionLost>(running->error));
    CHECK_THAT(text_of(running->error), ContainsSubstring("the server sent"));
}

TEST_CASE_METHOD(Fixture, "a name that the server does not know ends all, with advice",
                 "[statement_pipeline]") {
    prepare("INSERT INTO notes VALUES (1)");
    const std::string before = name;
    const auto failed = send("INSERT INTO notes VALUES (1)");
    hear(server::error("26000", "prepared statement \"" + before + "\" does not exist") +
         server::ready());
    CHECK_THAT(text_of(failed->error), ContainsSubstring("statement_cache_size"));
    REQUIRE(pipeline.failed() != nullptr);
    CHECK(pipeline.failed()->staleness == Staleness::unknown);
    CHECK(pipeline.failed()->alone == failed);
    written();
    send("INSERT INTO notes VALUES (1)");
    CHECK(written() == "PDBES");
    CHECK(name != before);
}

TEST_CASE_METHOD(Fixture, "an error that only looks like it comes of a name of the program's own",
                 "[statement_pipeline]") {
    prepare("INSERT INTO notes VALUES (1)");
    const auto failed = send("EXECUTE mine");
    hear(server::error("26000", "prepared statement \"mine\" does not exist") + server::ready());
    CHECK_THAT(text_of(failed->error), !ContainsSubstring("statement_cache_size"));
    CHECK(pipeline.failed() == nullptr);
}

TEST_CASE_METHOD(Fixture, "a statement that is not stale when it is prepared anew stays in use",
                 "[statement_pipeline]") {
    prepare("INSERT INTO notes VALUES (1)");
    const auto generation = naming.generation();
    send("INSERT INTO notes VALUES (1)");
    written();
    hear(server::bind_complete() + server::error("22003", "out of range") + server::ready());
    auto failed = pipeline.take_failed();
    REQUIRE(failed);
    CHECK(failed->staleness == Staleness::possible);
    REQUIRE(failed->description);

    const std::uint32_t type = GENERATE(0u, 23u);
    const auto anew = pipeline.prepare_anew(*failed);
    CHECK(written() == "CPDS");
    hear(server::close_complete() + (type == 0 ? prepared() : prepared({type})) + server::ready());
    CHECK(anew->done);
    CHECK_FALSE(anew->error);
    CHECK((pipeline.description_of(failed->statement) == failed->description) == (type == 0));
    CHECK(naming.generation() == generation);
    send("INSERT INTO notes VALUES (1)");
    CHECK(written() == "BES");
}

TEST_CASE_METHOD(Fixture, "\"cached plan must not change result type\" ends a generation",
                 "[statement_pipeline]") {
    prepare("SELECT * FROM notes");
    const auto generation = naming.generation();
    const auto failed = send("SELECT * FROM notes");
    std::string said = server::error_body("0A000", "cached plan must not change result type");
    said.insert(said.size() - 1, "R" + server::string("RevalidateCachedQuery"));
    hear(server::bind_complete() + server::message('E', said) + server::ready());
    CHECK(failed->error);
    CHECK(naming.generation() == generation + 1);
    written();
    send("SELECT * FROM notes");
    CHECK(written().ends_with("PDBES"));
}

TEST_CASE_METHOD(Fixture, "where names may mean other tables, nothing is sent by name",
                 "[statement_pipeline]") {
    prepare("INSERT INTO notes VALUES (1)");
    const auto sent = send({Statement{"BEGIN"}, Statement{"SET LOCAL search_path = other"},
                            Statement{"INSERT INTO notes VALUES (1)"}});
    name = "none yet";
    CHECK(written() == "PBEPBDEPBDES");
    CHECK(name.empty());
}

TEST_CASE_METHOD(Fixture, "what the server reports of its settings is known",
                 "[statement_pipeline]") {
    CHECK(pipeline.parameter("application_name") == nullptr);
    hear(server::message('S', server::string("application_name") + server::string("psql")));
    REQUIRE(pipeline.parameter("application_name") != nullptr);
    CHECK(*pipeline.parameter("application_name") == "psql");
}

TEST_CASE_METHOD(Fixture, "an answered batch's memory is for the next one, unless it is large",
                 "[statement_pipeline]") {
    const std::size_t size = GENERATE(std::size_t{10}, std::size_t{1000});
    send(std::vector<Statement>(size, Statement{"BEGIN"}));
    CHECK(pipeline.take_spare_batch().capacity() ==
          0);  // until it is answered, its texts are needed
    for (std::size_t i = 0; i < size; ++i)
        hear(server::parse_complete() + server::bind_complete() + server::complete("BEGIN"));
    hear(server::ready());
    const auto spare = pipeline.take_spare_batch();
    CHECK(spare.empty());
    CHECK((spare.capacity() >= size) == (size < 100));
}

TEST_CASE_METHOD(Fixture,
                 "a notice is told with the statement it belongs to, and without its values",
                 "[statement_pipeline]") {
    const auto notice = [](const std::string& text) {
        return server::message('N', server::error_body("00000", text));
    };
    hear(notice("nobody is told"));
    std::vector<std::string> told;
    pipeline.unasked().notice = [&](const std::exception_ptr& one) {
        told.push_back(text_of(one));
    };
    const auto responses = send({Statement{"SELECT 1"}, Statement{"SELECT f($1)", "secret"}});
    hear(notice("ahead") + prepared() + executed("SELECT 1") + server::parse_complete() +
         notice("it is secret"));
    hear(server::parameter_description({25}) + server::no_data() + executed("SELECT 1") +
         server::ready() + notice("behind"));
    REQUIRE(told.size() == 3);
    CHECK_THAT(told[0], ContainsSubstring("ahead") && ContainsSubstring("SELECT 1"));
    CHECK_THAT(told[1], ContainsSubstring("it is") && ContainsSubstring("SELECT f($1)"));
    CHECK_THAT(told[1], !ContainsSubstring("secret"));
    CHECK_THAT(told[2], ContainsSubstring("behind") && !ContainsSubstring("SELECT"));
    for (const Shared& response : responses) CHECK(!response->error);
}

TEST_CASE_METHOD(Fixture, "a notification is told, and answers nobody", "[statement_pipeline]") {
    const auto notification = server::message(
        'A', server::number32(42) + server::string("jobs") + server::string("payload"));
    hear(notification);  // nobody is told
    std::vector<std::string> told;
    pipeline.unasked().notification = [&](const txscope::protocol::Event& event) {
        told.push_back(std::to_string(event.process) + ' ' + std::string{event.name} + ' ' +
                       std::string{event.value});
    };
    hear(notification);
    const auto response = send("SELECT 1");
    hear(prepared() + notification);
    CHECK_FALSE(response->done);
    CHECK(told == std::vector<std::string>{"42 jobs payload", "42 jobs payload"});
}

TEST_CASE_METHOD(Fixture,
                 "without pipelining all that waits is lost with the connection, awaited or not",
                 "[statement_pipeline]") {
    pipeline.stop_pipelining();
    const auto together = send({Statement{"INSERT 1"}, Statement{"INSERT 2"}});  // BEGIN is sent
    const auto waiting = send("SELECT 1");
    send("SELECT 2");
    pipeline.fail(std::make_exception_ptr(ConnectionLost{"gone"}));
    for (const Shared& response : {together[0], together[1], waiting}) {
        CHECK(response->done);
        CHECK(is<ConnectionLost>(response->error));
    }
    CHECK(pipeline.idle());
}
