#include "support/catch.hpp"
#include "support/made_result.hpp"
#include <txscope/transaction/detail/commit_verification.hpp>

#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace commit_verification_unit {

using txscope::detail::CommitOutcome;
using txscope::detail::ServerHistory;
using txscope::detail::TransactionIdentity;
using Text = std::optional<std::string>;

std::ostream& operator<<(std::ostream& out, CommitOutcome outcome) {
    constexpr std::string_view names[] = {"committed", "aborted", "unknown", "undecided"};
    return out << names[static_cast<int>(outcome)];
}

/// A server as it answers.
struct Server {
    Text started = "100.5";
    Text counting_since = "50.25";
    Text system = "7001";
    Text log_file = "000000010000000000000003";
    Text replayed{};
    Text shut_down{};
    Text streamed = "f";

    ServerHistory history() const {
        const auto answer = made_result(
            {"started", "counting", "system", "file", "replayed", "down", "streamed"},
            {{started, counting_since, system, log_file, replayed, shut_down, streamed}});
        return ServerHistory{answer.one()};
    }
};

/// Of that server, with its first record ending at 0/300.
TransactionIdentity transaction_of(const Server& server) {
    const auto answer = made_result({"started", "counting", "id", "logged"},
                                    {{server.started, server.counting_since, "7", "0/300"}});
    return TransactionIdentity{answer.one()};
}

TEST_CASE("what another server says of a commit is believed where its history proves it",
          "[commit_verification]") {
    using enum CommitOutcome;
    struct Case {
        std::string_view what;
        Server now;
        CommitOutcome of_committed, of_aborted, of_running;
    };
    const Case cases[] = {
        {"the same run, counters reset", {.counting_since = "60"}, committed, aborted, undecided},
        {"the same run, before any counter was started",
         {.counting_since = {}},
         committed,
         aborted,
         undecided},
        {"restarted", {.started = "200", .shut_down = "0/300"}, committed, aborted, aborted},
        {"put back from before the record",
         {.started = "200", .shut_down = "0/2FF"},
         aborted,
         aborted,
         aborted},
        {"restarted, with a checkpoint since", {.started = "200"}, unknown, aborted, aborted},
        {"crashed, and restarted",
         {.started = "200", .counting_since = "150", .shut_down = "1/0"},
         unknown,
         aborted,
         aborted},
        {"crashed behind the record",
         {.started = "200", .counting_since = "200", .replayed = "0/300"},
         unknown,
         aborted,
         aborted},
        {"crashed before it",
         {.started = "200", .counting_since = "200", .replayed = "0/2FF"},
         aborted,
         aborted,
         aborted},
        {"crashed under the same main process",
         {.counting_since = "60", .replayed = "1/0"},
         unknown,
         aborted,
         aborted},
        {"promoted behind the record",
         {.started = "90",
          .counting_since = "90",
          .log_file = "000000020000000000000003",
          .replayed = "0/300",
          .streamed = "t"},
         committed,
         aborted,
         aborted},
        {"promoted before it",
         {.started = "90",
          .counting_since = "90",
          .log_file = "000000020000000000000003",
          .replayed = "0/2FF",
          .streamed = "t"},
         aborted,
         aborted,
         aborted},
        {"promoted for the second time",
         {.started = "90",
          .counting_since = "90",
          .log_file = "000000030000000000000003",
          .replayed = "0/300",
          .streamed = "t"},
         unknown,
         aborted,
         aborted},
        {"promoted, or restored, and crashed",
         {.started = "200",
          .counting_since = "200",
          .log_file = "000000020000000000000003",
          .replayed = "0/300"},
         unknown,
         aborted,
         aborted},
        {"another cluster",
         {.started = "200", .system = "7002", .replayed = "1/0"},
         unknown,
         unknown,
         unknown},
    };
    const Server then;
    for (const Case& each : cases) {
        CAPTURE(each.what);
        const auto outcome = [&](std::string_view status) {
            return outcome_by_history(transaction_of(then), then.history(), each.now.history(),
                                      status);
        };
        CHECK(outcome("committed") == each.of_committed);
        CHECK(outcome("aborted") == each.of_aborted);
        CHECK(outcome("in progress") == each.of_running);
        CHECK(outcome("unknown") == unknown);  // so long ago that nothing is kept of it
    }
}

TEST_CASE("what was known of another run than the transaction's proves nothing",
          "[commit_verification]") {
    const Server then;
    const Server restarted{.started = "200", .shut_down = "1/0"};
    CHECK(outcome_by_history(transaction_of(restarted), then.history(), restarted.history(),
                             "aborted") == CommitOutcome::unknown);
}

TEST_CASE("a position in the log is read from both its halves", "[commit_verification]") {
    CHECK(txscope::detail::log_position("0/0") == 0);
    CHECK(txscope::detail::log_position("16/B374D848") == 0x16'B374'D848);
    CHECK(txscope::detail::log_position("FFFFFFFF/FFFFFFFF") == 0xFFFF'FFFF'FFFF'FFFF);
}

}  // namespace commit_verification_unit
