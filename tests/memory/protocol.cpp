#include "support/catch.hpp"
#include "support/failing_allocation.hpp"
#include "support/server_messages.hpp"
#include <txscope/protocol/pipeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

using namespace txscope::protocol;
namespace server = support::server_message;

namespace {

// Calls `call` with its `count`th allocation failing, and again if it threw. Whether there was one;
// `count` is what is left then for the next call, and 0 for none to fail any more.
template <typename Call>
bool fail_once(std::size_t& count, Call call) {
    const bool to_fail = count > 0;
    support::until_failure = count;
    try {
        call();
    } catch (const std::bad_alloc&) {
        count = 0;
        call();
        return true;
    }
    count = support::until_failure;
    support::until_failure = 0;
    return to_fail && count == 0;
}

const std::string answers = server::close_complete() + server::parse_complete() +
                            server::parameter_description({}) + server::row_description({"one"}) +
                            server::bind_complete() + server::row({"1"}) + server::row({"2"}) +
                            server::complete("SELECT 2") + server::parse_complete() +
                            server::bind_complete() + server::row_description({"other"}) +
                            server::row({"3"}) + server::complete("SELECT 1") + server::ready();

}  // namespace

TEST_CASE(
    "a request that gets no memory has changed nothing, an answer that gets none loses the "
    "connection",
    "[protocol]") {
    bool failed = true;
    for (std::size_t nth = 1; failed; ++nth) {
        CAPTURE(nth);
        std::size_t count = nth;
        failed = false;
        Pipeline pipeline{{.max_prepared_statements = 1}};
        Response old;
        Response named;
        Response unnamed;
        pipeline.execute(old, {.sql = "SELECT 0", .name = "zero"});
        pipeline.sync();
        pipeline.sent(pipeline.output().size());
        const auto hear = [&](std::string_view bytes) {
            const auto space = pipeline.space();
            std::memcpy(space.data(), bytes.data(), bytes.size());
            pipeline.received(bytes.size());
        };
        hear(server::parse_complete() + server::parameter_description({}) + server::no_data() +
             server::bind_complete() + server::complete("SELECT 0") + server::ready());
        while (pipeline.next().kind != Event::Kind::none) continue;
        pipeline.retire_all();

        const std::string sql(20'000, ' ');  // for which there is no room yet
        failed |= fail_once(count, [&] { pipeline.execute(named, {.sql = sql, .name = "one"}); });
        failed |= fail_once(count, [&] { pipeline.execute(unnamed, {.sql = sql}); });
        failed |= fail_once(count, [&] { pipeline.sync(); });
        std::string types;
        for (std::string_view rest = pipeline.output(); !rest.empty();
             rest.remove_prefix(1 + load32(rest.data() + 1)))
            types += rest.front();
        CHECK(types == "CPDBEPBDES");

        hear(answers);
        bool answered = false;
        const bool lost = fail_once(count, [&] {
            while (pipeline.next().kind != Event::Kind::none) answered = true;
        });
        CHECK(answered);
        failed |= lost;
        CHECK(pipeline.failed() == lost);
        CHECK(named.done());
        CHECK(unnamed.done());
        if (lost) {
            CHECK(pipeline.failure().reason == Failure::Reason::out_of_memory);
            CHECK(named.outcome() != Response::Outcome::succeeded);
        } else {
            CHECK(named.result()[1][0] == "2");
            CHECK(unnamed.result()[0][0] == "3");
        }
    }
}
