#include "support/catch.hpp"
#include <txscope/session/detail/transaction_machine.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using txscope::detail::Answer;
using txscope::detail::CommitAnswer;
using txscope::detail::ScopeNode;
using Machine = txscope::detail::TransactionMachine;
using Action = Machine::Action;
using Cause = Machine::Cause;
using Failure = Machine::Failure;
using Kind = Action::Kind;
using Outcome = ScopeNode::Outcome;
using Phase = Machine::Phase;
using Proof = Machine::Proof;
using Savepoint = ScopeNode::Savepoint;
using Why = Machine::Refusal::Why;

std::string word(Kind kind) {
    constexpr std::array words{"send queued", "commit",       "look up", "roll back",
                               "await",       "roll back to", "release", "finish"};
    return words.at(static_cast<std::size_t>(kind));
}
std::string word(Outcome outcome) {
    constexpr std::array words{"as wanted", "threw",      "cancelled", "unfinished",
                               "swallowed", "timed out",  "failed",    "server rolled back",
                               "in doubt",  "scope ended"};
    return words.at(static_cast<std::size_t>(outcome));
}
std::string word(const Action& action) {
    return word(action.kind) + (action.kind == Kind::finish ? ": " + word(action.outcome) : "");
}
std::string word(Phase phase) {
    constexpr std::array words{"no transaction", "unopened",   "beginning",    "open",
                               "failed",         "committing", "rolling back", "in doubt",
                               "committed",      "rolled back"};
    return words.at(static_cast<std::size_t>(phase));
}
std::string word(Savepoint savepoint) {
    constexpr std::array words{"unset", "being set", "set", "failed", "released", "rolled back"};
    return words.at(static_cast<std::size_t>(savepoint));
}
std::string word(Why why) {
    constexpr std::array words{"allowed", "scope ended", "scope failed", "statement failed"};
    return words.at(static_cast<std::size_t>(why));
}

/// Errors are numbers here, from 1.
const std::vector<std::exception_ptr> errors = [] {
    std::vector<std::exception_ptr> made{nullptr};
    for (int number = 1; number < 20; ++number) made.push_back(std::make_exception_ptr(number));
    return made;
}();
std::exception_ptr error(int number) { return errors.at(static_cast<std::size_t>(number)); }
int number_of(const std::exception_ptr& error) {
    return static_cast<int>(std::ranges::find(errors, error) - errors.begin());
}

// ---- Tables: what follows from one event. ----

/// A transaction with its scope.
struct Bench {
    explicit Bench(Phase phase) : machine{phase != Phase::no_transaction} {
        if (phase == Phase::no_transaction || phase == Phase::unopened) return;
        machine.opens(scope);
        if (phase == Phase::beginning) return;
        machine.answered(Answer::executed, nullptr);
        if (phase == Phase::failed) machine.answered(Answer::failed, error(1));
        if (phase == Phase::open || phase == Phase::failed) return;
        machine.body_ended(scope, phase == Phase::rolling_back, false, false);
        machine.end(scope, {});
        if (phase == Phase::in_doubt)
            machine.commit_answered(scope, CommitAnswer::lost, error(2), true, true);
        if (phase == Phase::committed)
            machine.commit_answered(scope, CommitAnswer::committed, nullptr, true, true);
        if (phase == Phase::rolled_back)
            machine.commit_answered(scope, CommitAnswer::failed, error(2), true, true);
    }

    std::string body_ends(bool threw, bool cancelled, bool busy,
                          const Machine::Circumstances& now = {}) {
        machine.body_ended(scope, threw, cancelled, busy);
        return word(machine.end(scope, now));
    }
    std::string returns(const Machine::Circumstances& now = {}) {
        return body_ends(false, false, false, now);
    }
    std::string answer(Answer answer) {
        return machine.answered(answer, error(3)) ? "for another one" : "for itself";
    }
    std::string queued(Answer answer, const Machine::Circumstances& now = {}) {
        machine.body_ended(scope, false, false, false);
        return word(machine.queued_answered(scope, answer, error(3), now));
    }
    std::string commit(CommitAnswer answer, bool may_have_written = true, bool can_look_up = true) {
        return word(
            machine.commit_answered(scope, answer, error(3), may_have_written, can_look_up));
    }

    Machine machine;
    ScopeNode scope{nullptr, std::source_location::current()};
};

struct Row {
    Phase phase;
    std::string event;
    std::function<std::string(Bench&)> happens;
    std::string action;
    Phase after;
};

/// A scope nested in one that is open.
struct NestedBench {
    explicit NestedBench(Savepoint savepoint) {
        if (savepoint == Savepoint::unset) return;
        machine.opens(scope);
        machine.answered(Answer::executed, nullptr);
        if (savepoint == Savepoint::being_set) return;
        machine.body_ended(scope, savepoint != Savepoint::released, false, false);
        machine.end(scope, {});
        if (savepoint == Savepoint::released) return;
        machine.savepoint_answered(
            scope, savepoint == Savepoint::failed ? Answer::lost : Answer::executed, error(1));
        if (savepoint == Savepoint::rolled_back)
            machine.rolled_back_to_savepoint(scope, Answer::executed, nullptr);
    }
    std::string body_ends(bool threw, bool cancelled, bool busy, bool queued = false) {
        machine.body_ended(scope, threw, cancelled, busy);
        return word(machine.end(scope, {.queued = queued}));
    }

    Bench bench{Phase::open};
    Machine& machine = bench.machine;
    ScopeNode scope{&bench.scope, std::source_location::current()};
};

struct NestedRow {
    Savepoint savepoint;
    std::string event;
    std::function<std::string(NestedBench&)> happens;
    std::string action;
    Savepoint after;
    Phase phase_after = Phase::open;
};

}  // namespace

TEST_CASE("whatever happens in a phase of a transaction has its consequence",
          "[transaction_machine]") {
    using enum Phase;
    std::vector<Row> rows;
    const auto row = [&](Phase phase, const char* event, auto happens, const char* action,
                         Phase after) {
        rows.push_back({phase, event, std::move(happens), action, after});
    };
    const auto given = [](Bench& b) { return word(b.machine.refusal(b.scope).why); };
    for (const Phase phase : {no_transaction, unopened, beginning, open}) {
        row(phase, "a statement is given", given, "allowed", phase);
        row(
            phase, "a statement is given, and a joined scope has failed",
            [=](Bench& b) {
                b.machine.scope_failed(b.scope, error(3));
                return given(b);
            },
            "scope failed", phase);
        row(
            phase, "a statement is given, and the scope has ended",
            [=](Bench& b) {
                b.scope.end();
                return given(b);
            },
            "scope ended", phase);
    }
    row(failed, "a statement is given", given, "statement failed", failed);
    for (const Phase phase : {committing, rolling_back, in_doubt, committed, rolled_back})
        row(phase, "a statement is given", given, "scope ended", phase);

    row(
        no_transaction, "its first statement goes out",
        [](Bench& b) {
            b.machine.opens(b.scope);
            return "";
        },
        "", no_transaction);
    row(
        no_transaction, "a statement could not be sent",
        [](Bench& b) {
            b.machine.failed(Failure::of_statement, error(3));
            return word(b.machine.refusal(b.scope).why);
        },
        "allowed", no_transaction);
    row(
        unopened, "its first statement goes out",
        [](Bench& b) {
            b.machine.opens(b.scope);
            return "";
        },
        "", beginning);
    row(
        unopened, "a statement could not be sent",
        [=](Bench& b) {
            b.machine.failed(Failure::of_statement, error(3));
            return given(b);
        },
        "statement failed", failed);
    for (const Phase phase : {beginning, open}) {
        row(
            phase, "executed", [](Bench& b) { return b.answer(Answer::executed); }, "for itself",
            open);
        row(
            phase, "failed", [](Bench& b) { return b.answer(Answer::failed); }, "for itself",
            failed);
        row(
            phase, "skipped", [](Bench& b) { return b.answer(Answer::skipped); }, "for another one",
            failed);
        row(phase, "lost", [](Bench& b) { return b.answer(Answer::lost); }, "for itself", failed);
        row(
            phase, "unsent", [](Bench& b) { return b.answer(Answer::unsent); }, "for itself",
            failed);
    }
    row(
        failed, "executed", [](Bench& b) { return b.answer(Answer::executed); }, "for itself",
        failed);
    for (const Answer answer : {Answer::failed, Answer::skipped, Answer::lost, Answer::unsent})
        row(
            failed, "not executed", [=](Bench& b) { return b.answer(answer); }, "for another one",
            failed);

    for (const Phase phase : {unopened, beginning, open, failed}) {
        row(
            phase, "the body throws", [](Bench& b) { return b.body_ends(true, false, false); },
            "roll back", rolling_back);
        row(
            phase, "the body is cancelled",
            [](Bench& b) { return b.body_ends(false, true, false); }, "roll back", rolling_back);
        row(
            phase, "the body throws, cancelled",
            [](Bench& b) { return b.body_ends(true, true, true); }, "roll back", rolling_back);
        row(
            phase, "the body leaves work behind",
            [](Bench& b) { return b.body_ends(false, false, true); }, "roll back", rolling_back);
        row(
            phase, "the body returns, and a joined scope has failed",
            [](Bench& b) {
                b.machine.scope_failed(b.scope, error(3));
                return b.returns();
            },
            "roll back", rolling_back);
        row(
            phase, "the body returns, and a rollback is wanted",
            [](Bench& b) {
                b.scope.set_rollback_only();
                return b.returns();
            },
            "roll back", rolling_back);
        row(
            phase, "the body returns after its time, with something to send",
            [](Bench& b) { return b.returns({.queued = true, .time_is_over = true}); }, "roll back",
            rolling_back);
    }
    row(
        failed, "the body returns", [](Bench& b) { return b.returns(); }, "roll back",
        rolling_back);
    row(
        unopened, "the body returns", [](Bench& b) { return b.returns(); }, "finish: as wanted",
        committed);
    row(
        unopened, "the body returns after its time",
        [](Bench& b) { return b.returns({.time_is_over = true}); }, "roll back", rolling_back);
    row(
        unopened, "the body returns, with something to send",
        [](Bench& b) { return b.returns({.queued = true}); }, "commit", committing);
    row(
        unopened, "the body returns, with something to send that is to be verified",
        [](Bench& b) { return b.returns({.queued = true, .verifies = true}); }, "send queued",
        unopened);
    for (const Phase phase : {beginning, open})
        for (const bool queued : {false, true})
            for (const bool verifies : {false, true})
                row(
                    phase, "the body returns",
                    [=](Bench& b) { return b.returns({.queued = queued, .verifies = verifies}); },
                    "commit", committing);
    row(
        beginning, "what was queued is executed",
        [](Bench& b) { return b.queued(Answer::executed); }, "commit", committing);
    row(
        beginning, "what was queued is executed after the time",
        [](Bench& b) { return b.queued(Answer::executed, {.time_is_over = true}); }, "roll back",
        rolling_back);
    for (const Answer answer : {Answer::failed, Answer::skipped, Answer::lost, Answer::unsent})
        row(
            beginning, "what was queued is not executed",
            [=](Bench& b) { return b.queued(answer); }, "roll back", rolling_back);

    const auto commit = [](CommitAnswer answer, bool may_have_written, bool can_look_up) {
        return [=](Bench& b) { return b.commit(answer, may_have_written, can_look_up); };
    };
    for (const bool wrote : {false, true})
        for (const bool can : {false, true}) {
            row(committing, "committed", commit(CommitAnswer::committed, wrote, can),
                "finish: as wanted", committed);
            row(committing, "answered with ROLLBACK", commit(CommitAnswer::rolled_back, wrote, can),
                "finish: server rolled back", rolled_back);
            row(committing, "COMMIT fails", commit(CommitAnswer::failed, wrote, can),
                "finish: failed", rolled_back);
            row(committing, "what was queued fails", commit(CommitAnswer::not_executed, wrote, can),
                "roll back", rolling_back);
            row(committing, "not sent", commit(CommitAnswer::unsent, wrote, can), "finish: failed",
                rolled_back);
            row(committing, "lost", commit(CommitAnswer::lost, wrote, can),
                !wrote ? "finish: failed"
                : can  ? "look up"
                       : "finish: in doubt",
                wrote ? in_doubt : rolled_back);
        }
    const auto look_up = [](Proof proof) {
        return [=](Bench& b) { return word(b.machine.looked_up(b.scope, proof, error(3))); };
    };
    row(in_doubt, "proven committed", look_up(Proof::committed), "finish: as wanted", committed);
    row(in_doubt, "proven aborted", look_up(Proof::aborted), "finish: failed", rolled_back);
    row(in_doubt, "not proven", look_up(Proof::none), "finish: in doubt", in_doubt);
    row(
        rolling_back, "rolled back", [](Bench& b) { return word(b.machine.rolled_back(b.scope)); },
        "finish: threw", rolled_back);
    for (const Phase phase : {no_transaction, unopened, beginning, open, committing, rolling_back})
        row(
            phase, "its end could not be brought about",
            [](Bench& b) {
                b.machine.gave_up(b.scope, error(3), false);
                return "";
            },
            "", phase == no_transaction ? no_transaction : rolled_back);
    for (const Phase phase : {no_transaction, rolling_back, committing, in_doubt})
        row(
            phase, "its end could not be brought about, with COMMIT under way",
            [](Bench& b) {
                b.machine.gave_up(b.scope, error(3), true);
                return "";
            },
            "",
            phase == no_transaction ? no_transaction
            : phase == rolling_back ? rolled_back
                                    : in_doubt);

    for (const Row& each : rows) {
        CAPTURE(word(each.phase), each.event);
        Bench bench{each.phase};
        REQUIRE(bench.machine.phase() == each.phase);
        CHECK(each.happens(bench) == each.action);
        CHECK(word(bench.machine.phase()) == word(each.after));
    }
}

TEST_CASE("whatever happens to a savepoint has its consequence", "[transaction_machine]") {
    using enum Savepoint;
    std::vector<NestedRow> rows;
    const auto row = [&](Savepoint savepoint, const char* event, auto happens, const char* action,
                         Savepoint after, Phase phase_after = Phase::open) {
        rows.push_back({savepoint, event, std::move(happens), action, after, phase_after});
    };
    const auto returns = [](NestedBench& b) { return b.body_ends(false, false, false); };
    const auto throws = [](NestedBench& b) { return b.body_ends(true, false, false); };
    row(unset, "the body returns", returns, "finish: as wanted", released);
    row(being_set, "the body returns", returns, "release", released);
    row(unset, "the body throws", throws, "finish: threw", rolled_back);
    row(being_set, "the body throws", throws, "await", being_set);
    for (const auto& [savepoint, action, after] :
         {std::tuple{unset, "finish: ", rolled_back}, std::tuple{being_set, "await", being_set}}) {
        const std::string name = savepoint == unset ? action : "";
        const auto ends = [&](const char* event, auto happens, const char* outcome) {
            const auto wanted = savepoint == unset ? name + outcome : std::string{action};
            row(savepoint, event, happens, wanted.c_str(), after);
        };
        ends(
            "the body is cancelled", [](NestedBench& b) { return b.body_ends(false, true, false); },
            "cancelled");
        ends(
            "the body leaves work behind",
            [](NestedBench& b) { return b.body_ends(false, false, true); }, "unfinished");
        ends(
            "the body returns, and a scope that had joined it has failed",
            [=](NestedBench& b) {
                b.machine.scope_failed(b.scope, error(3));
                return returns(b);
            },
            "swallowed");
        ends(
            "the body returns, and a rollback is wanted",
            [=](NestedBench& b) {
                b.scope.set_rollback_only();
                return returns(b);
            },
            "as wanted");
        row(
            savepoint, "the body returns with something to send",
            [](NestedBench& b) { return b.body_ends(false, false, false, true); }, "send queued",
            savepoint);
        row(
            savepoint, "the body returns, and the scope around has ended",
            [=](NestedBench& b) {
                b.bench.scope.end();
                return returns(b);
            },
            "finish: scope ended", savepoint);
        row(
            savepoint, "the body throws, and the scope around has ended",
            [=](NestedBench& b) {
                b.bench.scope.end();
                return throws(b);
            },
            "finish: threw", savepoint);
    }
    row(
        being_set, "the body returns, and a statement has failed",
        [=](NestedBench& b) {
            b.machine.answered(Answer::failed, error(3));
            return returns(b);
        },
        "await", being_set, Phase::failed);
    row(
        unset, "the body returns, and a statement has failed",
        [=](NestedBench& b) {
            b.machine.answered(Answer::failed, error(3));
            return returns(b);
        },
        "finish: swallowed", rolled_back, Phase::failed);

    const auto queued = [](Answer answer, bool around_has_ended = false) {
        return [=](NestedBench& b) {
            b.body_ends(false, false, false, true);
            if (around_has_ended) b.bench.scope.end();
            return word(b.machine.queued_answered(b.scope, answer, error(3), {}));
        };
    };
    row(being_set, "what was queued is executed", queued(Answer::executed), "release", released);
    row(being_set, "what was queued is executed, and the scope around has ended",
        queued(Answer::executed, true), "finish: scope ended", being_set);
    const auto awaited = [=](Answer answer, bool around_has_ended = false) {
        return [=](NestedBench& b) {
            throws(b);
            if (around_has_ended) b.bench.scope.end();
            return word(b.machine.savepoint_answered(b.scope, answer, error(3)));
        };
    };
    row(being_set, "it is there", awaited(Answer::executed), "roll back to", set);
    row(being_set, "it is there, and the scope around has ended", awaited(Answer::executed, true),
        "finish: threw", being_set);
    const auto gone_back = [=](Answer answer, bool around_has_ended = false) {
        return [=](NestedBench& b) {
            if (around_has_ended) b.bench.scope.end();
            return word(b.machine.rolled_back_to_savepoint(b.scope, answer, error(3)));
        };
    };
    row(set, "gone back to", gone_back(Answer::executed), "release", rolled_back);
    row(
        being_set, "gone back to after a failure",
        [=](NestedBench& b) {
            b.machine.answered(Answer::failed, error(3));
            b.body_ends(true, false, false);
            b.machine.savepoint_answered(b.scope, Answer::executed, nullptr);
            const auto action = gone_back(Answer::executed)(b);
            return b.machine.cause() ? "the failure stays" : action;
        },
        "release", rolled_back);
    row(set, "gone back to, and the scope around has ended", gone_back(Answer::executed, true),
        "finish: threw", set);
    for (const Answer answer : {Answer::failed, Answer::skipped, Answer::lost, Answer::unsent}) {
        row(being_set, "what was queued is not executed", queued(answer), "await", being_set,
            Phase::failed);
        row(being_set, "it is not there", awaited(answer), "finish: threw", failed, Phase::failed);
        row(set, "it cannot be gone back to", gone_back(answer), "finish: threw", failed,
            Phase::failed);
    }
    for (const Savepoint savepoint : {released, rolled_back})
        row(
            savepoint, "its release goes with what is sent next",
            [](NestedBench& b) { return word(b.machine.released(b.scope)); },
            savepoint == released ? "finish: as wanted" : "finish: threw", savepoint);
    const auto gives_up = [](NestedBench& b) {
        b.machine.gave_up(b.scope, error(3), false);
        return "";
    };
    row(unset, "its end could not be brought about", gives_up, "", unset);
    row(being_set, "its end could not be brought about", gives_up, "", failed, Phase::failed);
    row(set, "its end could not be brought about", gives_up, "", failed, Phase::failed);
    row(
        being_set, "its end could not be brought about, and the scope around has ended",
        [=](NestedBench& b) {
            b.bench.scope.end();
            return gives_up(b);
        },
        "", being_set);

    for (const NestedRow& each : rows) {
        CAPTURE(word(each.savepoint), each.event);
        NestedBench bench{each.savepoint};
        REQUIRE(bench.scope.savepoint() == each.savepoint);
        CHECK(each.happens(bench) == each.action);
        CHECK(word(bench.scope.savepoint()) == word(each.after));
        CHECK(word(bench.machine.phase()) == word(each.phase_after));
    }
}

TEST_CASE("the first failure counts, unless the connection is lost", "[transaction_machine]") {
    Bench bench{Phase::open};
    Machine& machine = bench.machine;
    const auto cause = [&] { return number_of(machine.cause()); };
    CHECK(machine.answered(Answer::skipped, error(1)));
    CHECK(machine.failure() == Failure::of_another);
    CHECK_FALSE(machine.answered(Answer::failed, error(1)));  // that was the one
    CHECK(machine.failure() == Failure::of_statement);
    CHECK(machine.answered(Answer::failed, error(2)));
    CHECK(cause() == 1);
    CHECK(number_of(machine.refusal(bench.scope).cause) == 1);
    CHECK(machine.answered(Answer::lost, error(3)));
    CHECK(cause() == 3);
    CHECK_FALSE(machine.answered(Answer::unsent, error(3)));
    CHECK(machine.answered(Answer::failed, error(4)));
    CHECK(cause() == 3);
}

TEST_CASE("a scope is refused statements for the failure of one around", "[transaction_machine]") {
    NestedBench bench{Savepoint::being_set};
    bench.machine.scope_failed(bench.bench.scope, error(1));
    bench.machine.scope_failed(bench.bench.scope, error(2));
    const auto refusal = bench.machine.refusal(bench.scope);
    CHECK(refusal.why == Why::scope_failed);
    CHECK(refusal.scope == &bench.bench.scope);
    CHECK(number_of(refusal.cause) == 1);
    CHECK(bench.machine.keeps(bench.scope));  // what is nested may be released all the same
    CHECK_FALSE(bench.machine.keeps(bench.bench.scope));
}

TEST_CASE("only what is known to have left nothing behind may run once more",
          "[transaction_machine]") {
    using enum Phase;
    for (const Phase phase : {unopened, open, failed, rolling_back, rolled_back}) {
        CAPTURE(word(phase));
        CHECK(Bench{phase}.machine.may_try_again(Cause::passing));
        CHECK_FALSE(Bench{phase}.machine.may_try_again(Cause::lasting));
    }
    CHECK(Bench{failed}.machine.may_try_again(Cause::connection_lost));
    CHECK_FALSE(Bench{open}.machine.may_try_again(Cause::connection_lost));
    for (const Phase phase : {in_doubt, committed})
        for (const Cause cause : {Cause::passing, Cause::lasting, Cause::connection_lost})
            CHECK_FALSE(Bench{phase}.machine.may_try_again(cause));
}

TEST_CASE("a body that is cut short by its time is told from one that ends before",
          "[transaction_machine]") {
    Bench interrupted{Phase::open};
    interrupted.body_ends(true, true, false);
    CHECK(interrupted.machine.was_cut_short(interrupted.scope, false));
    Bench threw{Phase::open};
    threw.body_ends(true, false, false);
    CHECK_FALSE(threw.machine.was_cut_short(threw.scope, false));
    CHECK(threw.machine.was_cut_short(threw.scope, true));  // what it threw was a cancellation
    Bench in_doubt{Phase::in_doubt};
    CHECK_FALSE(in_doubt.machine.was_cut_short(in_doubt.scope, true));
}

// ---- Every fault at every point of small transactions. ----

namespace {

/// A transaction, at most two scopes nested in it, and a naive server, which says what is right.
///
/// Any disagreement is thrown.
class World {
public:
    struct Kinds {
        bool verifies;
        bool read_only;
        int acts;  // how often bodies execute or enqueue something, or a joined scope fails
    };
    enum class Happening {
        executed,       // a statement of the scope, and what it had queued
        failed,         // so it does
        queue_failed,   // what the scope or one around had queued ahead of it does
        branches_fail,  // of two statements sent together the first fails,
        reversed,       // and the second one's caller hears of it first
        lost,           // with the connection, on its way or on the way back
        dropped,        // the connection, and nobody has noticed
        queued,
        entered,
        joined_failed,
        rollback_only,
        returned,
        returned_late,
        threw,
        cancelled,
        gave_up,  // the shell has no memory
        // To what the machine wants done, besides `executed`, `failed`, `queue_failed` and `lost`:
        lost_behind,  // the server did it, its answer was lost
        rolled_back,  // COMMIT was answered with that
        unknown       // nothing is proven
    };
    struct Event {
        Happening what;
        std::size_t scope = 0;
    };
    static std::string word(const Event& event) {
        constexpr std::array words{
            "executed",      "failed",      "queue failed",  "branches fail", "reversed",
            "lost",          "dropped",     "queued",        "entered",       "joined failed",
            "rollback only", "returned",    "returned late", "threw",         "cancelled",
            "gave up",       "lost behind", "rolled back",   "unknown"};
        return std::string{", "} + words.at(static_cast<std::size_t>(event.what)) + " " +
               std::to_string(event.scope);
    }

    explicit World(Kinds kinds) : kinds_{kinds} { scopes_.push_back(std::make_unique<Scope>()); }

    bool over() const { return over_; }
    /// All that can happen next.
    std::vector<Event> possible() const;
    /// @param checks not where it has been checked before: repeating is quick
    void happens(const Event& event, bool checks);
    /// The coroutines are, whenever it is.
    void destroyed() {
        for (const auto& each : scopes_) each->node.end();
        for (const auto& each : scopes_)
            require(machine_.refusal(each->node).why == Why::scope_ended,
                    "a destroyed scope accepts statements");
    }
    /// All that decides what comes next, whatever led there.
    std::string key() const;

private:
    enum class Is {
        running,
        ending,
        ended
    };
    enum class Transaction {
        none,
        open,
        failed,
        committed,
        undone
    };
    struct Scope {
        explicit Scope(Scope* outer = nullptr)
            : around{outer},
              node{outer != nullptr ? &outer->node : nullptr, std::source_location{}} {}

        Scope* around;
        ScopeNode node;
        Is is = Is::running;
        Action next{Kind::finish};
        bool queued = false;
        int executed = 0;  // statements that are not undone, as the server knows
        int undone = 0;
        bool sent = false;     // its first statement was,
        bool arrived = false;  // and the server has got it
        Answer savepoint = Answer::executed;
        bool rollback_only = false;
        bool failed = false;  // one that had joined it
        bool heard = false;   // that something in it has failed that nothing has undone
        bool late = false;
        Outcome ends_with = Outcome::as_wanted;
    };
    static void require(bool right, const char* what) {
        if (!right) throw std::logic_error{what};
    }

    bool has_open_child(const Scope& scope) const {
        return std::ranges::any_of(scopes_, [&](const auto& each) {
            return each->around == &scope && each->is != Is::ended;
        });
    }
    /// What a scope within has sent is answered first.
    bool waits_within(const Scope& scope) const {
        return std::ranges::any_of(scopes_, [&](const auto& each) {
            return each.get() != &scope && is_within(*each, scope) && each->is == Is::ending &&
                   (each->next.kind == Kind::send_queued ||
                    each->next.kind == Kind::roll_back_to_savepoint);
        });
    }
    static bool is_within(const Scope& scope, const Scope& outer) {
        for (const Scope* each = &scope; each != nullptr; each = each->around)
            if (each == &outer) return true;
        return false;
    }
    static bool is_open(const Scope& scope) {
        for (const Scope* each = &scope; each != nullptr; each = each->around)
            if (each->is != Is::running) return false;
        return true;
    }
    bool is_refused(const Scope& scope) const {
        for (const Scope* each = &scope; each != nullptr; each = each->around)
            if (each->failed) return true;
        return !is_open(scope) || expected_ != 0;
    }
    Scope& root() const { return *scopes_.front(); }
    int number(const Scope& scope) const {
        int found = 0;
        while (scopes_[static_cast<std::size_t>(found)].get() != &scope) ++found;
        return found;
    }
    bool queued_anywhere(const Scope& scope) const {
        for (const Scope* each = &scope; each != nullptr;
             each = each->sent ? nullptr : each->around)
            if (each->queued) return true;
        return false;
    }

    // What the server does.
    void take_openings(Scope& scope, bool queue_fails);
    void lose() {
        lost_ = true;
        if (transaction_ != Transaction::committed) undo_all();
    }
    void undo_all() {
        transaction_ = Transaction::undone;
        for (const auto& each : scopes_) undo(*each);
    }
    static void undo(Scope& scope) { scope.undone += std::exchange(scope.executed, 0); }
    void commit();
    // What the client sends and hears.
    void send_openings(Scope& scope);
    void hear(Scope& scope, Answer answer, int error, bool follows_another);
    void expect(int error) {
        if (expected_ == 0 || error == lost_error) expected_ = error;
    }

    void give(Scope& scope, Happening what);
    void answer(Scope& scope, Happening what);
    void answer_commit(Scope& scope, Happening what);
    void look_up(Scope& scope, Happening what);
    void follow(Scope& scope, const Action& next);
    void check_end(const Scope& scope);
    void check() const;

    static constexpr int lost_error = 1;

    const Kinds kinds_;
    Machine machine_{true};
    std::vector<std::unique_ptr<Scope>> scopes_;
    Transaction transaction_ = Transaction::none;  // on the server
    bool lost_ = false;                            // the connection
    std::array<const Scope*, 3> savepoints_{};     // on the server, by depth
    bool commit_sent_ = false;
    bool acknowledged_ = false;  // or proven
    int acts_ = 0;
    int errors_ = lost_error;
    int expected_ = 0;  // the error that counts
    bool over_ = false;
};

std::vector<World::Event> World::possible() const {
    using enum Happening;
    std::vector<Event> events;
    if (over_) return events;
    if (!lost_ && transaction_ != Transaction::none) events.push_back({dropped});
    for (std::size_t i = 0; i < scopes_.size(); ++i) {
        const Scope& scope = *scopes_[i];
        const auto all = [&](std::initializer_list<Happening> whats) {
            for (const auto what : whats) events.push_back({what, i});
        };
        if (scope.is == Is::running) {
            if (!has_open_child(scope)) {
                if (acts_ < kinds_.acts && !is_refused(scope)) {
                    all({lost});
                    if (!lost_) all({executed, failed, branches_fail, reversed});
                    if (!lost_ && queued_anywhere(scope)) all({queue_failed});
                }
                if (!scope.queued && acts_ < kinds_.acts && !is_refused(scope)) all({queued});
                if (scopes_.size() < 3 && !is_refused(scope)) all({entered});
            }
            if (acts_ < kinds_.acts && !scope.failed && !scope.rollback_only)
                all({joined_failed, rollback_only});
            all({returned, threw});
            if (scope.around == nullptr) all({returned_late, cancelled});
        }
        if (scope.is != Is::ending || waits_within(scope)) continue;
        switch (scope.next.kind) {
            case Kind::send_queued:
                all({lost, gave_up});
                if (!lost_) all({executed, failed});
                break;
            case Kind::commit:
                all({lost, gave_up});
                if (!lost_) all({executed, failed, lost_behind, rolled_back});
                if (!lost_ && scope.queued) all({queue_failed});
                break;
            case Kind::look_up:
                all({executed, unknown});
                break;
            case Kind::roll_back_to_savepoint:
                all({lost, gave_up});
                if (!lost_) all({executed, failed, lost_behind});
                break;
            default:
                all({executed, gave_up});
        }
    }
    return events;
}

void World::happens(const Event& event, bool checks) {
    using enum Happening;
    Scope& scope = *scopes_[event.scope];
    if (scope.is == Is::ending && event.what != dropped) {
        answer(scope, event.what);
        return checks ? check() : void();
    }
    switch (event.what) {
        case dropped:
            lose();
            break;
        case queued:
            ++acts_;
            scope.queued = true;
            break;
        case entered:
            scopes_.push_back(std::make_unique<Scope>(&scope));
            break;
        case joined_failed:
            ++acts_;
            scope.failed = true;
            machine_.scope_failed(scope.node, error(++errors_));
            break;
        case rollback_only:
            ++acts_;
            scope.rollback_only = true;
            scope.node.set_rollback_only();
            break;
        case returned:
        case returned_late:
        case threw:
        case cancelled: {
            scope.late = event.what == returned_late;
            const auto said = machine_.body_ended(scope.node, event.what == threw,
                                                  event.what == cancelled, has_open_child(scope));
            scope.is = Is::ending;
            scope.ends_with = said;
            follow(scope, machine_.end(scope.node, {.queued = scope.queued,
                                                    .verifies = kinds_.verifies,
                                                    .time_is_over = scope.late}));
            break;
        }
        default:
            give(scope, event.what);
    }
    if (checks) check();
}

void World::send_openings(Scope& scope) {
    if (scope.around != nullptr && !scope.sent) send_openings(*scope.around);
    if (!std::exchange(scope.sent, true)) machine_.opens(scope.node);
}

/// BEGIN, savepoints, and what is queued arrives ahead of a statement, or what it does fails.
void World::take_openings(Scope& scope, bool queue_fails) {
    const bool first = !std::exchange(scope.arrived, true);
    if (scope.around != nullptr && first) take_openings(*scope.around, queue_fails);
    const bool refuses = lost_ || transaction_ == Transaction::failed;
    if (first && scope.around == nullptr && !lost_) transaction_ = Transaction::open;
    if (first && scope.around != nullptr) {
        scope.savepoint = lost_ ? Answer::lost : refuses ? Answer::skipped : Answer::executed;
        if (!refuses) savepoints_.at(scope.node.depth()) = &scope;
    }
    if (!std::exchange(scope.queued, false) || transaction_ != Transaction::open) return;
    if (queue_fails)
        transaction_ = Transaction::failed;
    else
        ++scope.executed;
}

void World::give(Scope& scope, Happening what) {
    using enum Happening;
    ++acts_;
    send_openings(scope);
    if (what == lost && lost_) {  // noticed before it was sent
        take_openings(scope, false);
        return hear(scope, Answer::unsent, lost_error, false);
    }
    if (what == lost) lose();
    take_openings(scope, what == queue_failed);
    if (what == lost) return hear(scope, Answer::lost, lost_error, false);
    if (what == queue_failed) return hear(scope, Answer::failed, ++errors_, false);
    require(transaction_ == Transaction::open, "a statement was sent in a failed transaction");
    if (what == executed) {
        ++scope.executed;
        require(!machine_.answered(Answer::executed, nullptr), "it was executed");
        return;
    }
    transaction_ = Transaction::failed;
    const int error = ++errors_;
    if (what == reversed) hear(scope, Answer::skipped, error, true);
    hear(scope, Answer::failed, error, false);
    if (what == branches_fail) hear(scope, Answer::skipped, error, true);
}

void World::hear(Scope& scope, Answer answer, int number, bool follows_another) {
    scope.heard = true;
    expect(number);
    require(machine_.answered(answer, error(number)) == follows_another,
            "the wrong error was told to a caller");
}

void World::answer(Scope& scope, Happening what) {
    using enum Happening;
    Machine& m = machine_;
    if (what == gave_up) {
        const bool harms =
            scope.around != nullptr && scope.sent && scope.around->node.ended() == nullptr;
        const int error_number = ++errors_;
        // What was put out goes out with what is sent next.
        if (scope.next.kind == Kind::send_queued) take_openings(scope, false);
        m.gave_up(scope.node, error(error_number), false);
        if (harms) expect(error_number), scope.around->heard = true;
        if (scope.around == nullptr) undo_all();
        scope.is = Is::ended;
        if (scope.ends_with == Outcome::as_wanted) scope.ends_with = Outcome::failed;
        over_ = scope.around == nullptr;
        return;
    }
    const bool around_ended = scope.around != nullptr && scope.around->node.ended() != nullptr;
    switch (scope.next.kind) {
        case Kind::send_queued: {
            require(scope.queued, "there is nothing to send");
            const bool was_lost = lost_;
            if (what == lost) lose();
            take_openings(scope, what == failed);
            const Answer answer = what == executed ? Answer::executed
                                  : what == failed ? Answer::failed
                                  : was_lost       ? Answer::unsent
                                                   : Answer::lost;
            const int number = what == failed ? ++errors_ : lost_error;
            if (what != executed && !around_ended) expect(number), scope.heard = true;
            return follow(scope, m.queued_answered(scope.node, answer, error(number),
                                                   {.time_is_over = scope.late}));
        }
        case Kind::commit:
            return answer_commit(scope, what);
        case Kind::look_up:
            return look_up(scope, what);
        case Kind::roll_back:
            require(!commit_sent_ || transaction_ != Transaction::committed,
                    "what was committed is to be rolled back");
            undo_all();
            return follow(scope, m.rolled_back(scope.node));
        case Kind::await_savepoint:
            if (scope.savepoint != Answer::executed && !around_ended) {
                expect(scope.savepoint == Answer::lost ? lost_error : ++errors_);
                scope.around->heard = true;
            }
            return follow(scope,
                          m.savepoint_answered(
                              scope.node, scope.savepoint,
                              error(scope.savepoint == Answer::lost ? lost_error : expected_)));
        case Kind::roll_back_to_savepoint: {
            if (what == lost || what == lost_behind) lose();
            if (what == executed) {
                require(savepoints_.at(scope.node.depth()) == &scope,
                        "another scope's savepoint was gone back to");
                transaction_ = Transaction::open;
                if (!around_ended) expected_ = 0;
                for (const auto& each : scopes_)
                    if (is_within(*each, scope)) undo(*each), each->heard = false;
                return follow(scope, m.rolled_back_to_savepoint(scope.node, Answer::executed, {}));
            }
            if (what == failed) transaction_ = Transaction::failed;
            const int number = what == failed ? ++errors_ : lost_error;
            if (!around_ended) expect(number), scope.around->heard = true;
            return follow(scope, m.rolled_back_to_savepoint(
                                     scope.node, what == failed ? Answer::failed : Answer::lost,
                                     error(number)));
        }
        case Kind::release:  // goes with what is sent next, and is done at once
        case Kind::finish:
            return;
    }
}

void World::commit() {
    transaction_ = Transaction::committed;
    for (const auto& each : scopes_) {
        const bool kept = each->ends_with == Outcome::as_wanted && !each->rollback_only;
        require(kept || each->executed == 0, "what a scope did was committed that was not kept");
        for (const Scope* around = each.get(); around != nullptr; around = around->around)
            require(each->executed == 0 || (around->is != Is::running && !around->rollback_only),
                    "what was not over yet was committed");
        require(!kept || each->undone == 0 || each->executed == 0, "a part was committed");
    }
}

void World::answer_commit(Scope& scope, Happening what) {
    using enum Happening;
    require(scope.around == nullptr, "a nested scope commits");
    require(!std::exchange(commit_sent_, true), "COMMIT was sent twice");
    require(expected_ == 0 && !scope.heard && !scope.failed, "COMMIT was sent after a failure");
    require(transaction_ != Transaction::failed, "COMMIT was sent after a failure on the server");
    require(scope.sent || scope.queued, "COMMIT was sent without BEGIN");
    const auto tell = [&](CommitAnswer answer, int number) {
        const bool may_have_written = !kinds_.read_only;
        follow(scope, machine_.commit_answered(scope.node, answer, error(number), may_have_written,
                                               kinds_.verifies));
    };
    const bool was_lost = lost_;
    if (what == lost) lose();
    take_openings(scope, what == queue_failed);
    switch (what) {
        case executed:
            commit();
            acknowledged_ = true;
            return tell(CommitAnswer::committed, 0);
        case lost_behind:
            commit();
            lose();
            if (kinds_.read_only) expect(lost_error);
            return tell(CommitAnswer::lost, lost_error);
        case lost:
            if (was_lost || kinds_.read_only) expect(lost_error);
            return tell(was_lost ? CommitAnswer::unsent : CommitAnswer::lost, lost_error);
        case queue_failed:
            expect(++errors_);
            return tell(CommitAnswer::not_executed, errors_);
        default:
            undo_all();
            expect(++errors_);
            return tell(what == failed ? CommitAnswer::failed : CommitAnswer::rolled_back, errors_);
    }
}

void World::look_up(Scope& scope, Happening what) {
    require(kinds_.verifies && !kinds_.read_only, "nobody wants to know");
    Proof proof = Proof::none;
    if (what == Happening::executed)
        proof = transaction_ == Transaction::committed ? Proof::committed : Proof::aborted;
    acknowledged_ = proof == Proof::committed;
    if (proof == Proof::aborted) expect(lost_error);
    follow(scope, machine_.looked_up(scope.node, proof, error(lost_error)));
}

void World::follow(Scope& scope, const Action& next) {
    require(scope.is == Is::ending, "there is something to do for a scope that has ended");
    scope.next = next;
    if (next.kind == Kind::release) {
        require(scope.sent, "a savepoint was released that was not set");
        return follow(scope, machine_.released(scope.node));
    }
    if (next.kind == Kind::send_queued || next.kind == Kind::commit) send_openings(scope);
    if (next.kind == Kind::roll_back)
        require(scope.around == nullptr && transaction_ != Transaction::committed,
                "ROLLBACK out of place");
    if (next.kind != Kind::finish) return;
    scope.is = Is::ended;
    if (scope.ends_with == Outcome::as_wanted) scope.ends_with = next.outcome;
    require(scope.ends_with == next.outcome, "the body's own error was forgotten");
    check_end(scope);
    over_ = scope.around == nullptr;
}

void World::check_end(const Scope& scope) {
    const bool as_wanted = scope.ends_with == Outcome::as_wanted;
    if (as_wanted && !scope.rollback_only) {
        require(!scope.heard && !scope.failed, "a failure was swallowed");
        require(!scope.queued, "what was queued was never sent");
        require(scope.around != nullptr || scope.undone == 0,
                "what was done is lost, and nobody was told");
    }
    if (scope.around != nullptr) {
        const bool kept = as_wanted && !scope.rollback_only;
        const bool around_goes_on = scope.around->node.ended() == nullptr;
        if (!kept && around_goes_on)
            require(scope.executed == 0 || expected_ != 0,
                    "a nested scope has failed, and nothing was undone");
        return;
    }
    require(lost_ || (transaction_ != Transaction::open && transaction_ != Transaction::failed),
            "a transaction stays open on the server");
    const bool wrote = transaction_ != Transaction::none;
    const bool in_doubt = machine_.phase() == Phase::in_doubt;
    if (as_wanted && !scope.rollback_only)
        require(acknowledged_ || !wrote, "a scope returned that was not committed");
    if (transaction_ == Transaction::committed && !kinds_.read_only)
        require((as_wanted && acknowledged_) || in_doubt, "a commit was denied");
    require((machine_.phase() == Phase::committed) ==
                (acknowledged_ || (as_wanted && !wrote && !scope.rollback_only)),
            "committed is what was acknowledged or proven, or nothing at all");
    require(in_doubt == (scope.ends_with == Outcome::in_doubt), "doubt was not told");
    require(!in_doubt || (commit_sent_ && lost_ && !kinds_.read_only), "doubt without a reason");
    require(
        in_doubt || machine_.phase() == Phase::committed || machine_.phase() == Phase::rolled_back,
        "it has ended in between");
    for (const Cause cause : {Cause::passing, Cause::connection_lost})
        require(!machine_.may_try_again(cause) || transaction_ != Transaction::committed ||
                    kinds_.read_only,
                "what was committed would be done once more");
    if (expected_ == lost_error && !acknowledged_)
        require(machine_.may_try_again(Cause::connection_lost), "a lost connection is hidden");
}

void World::check() const {
    for (const auto& each : scopes_) {
        const auto refusal = machine_.refusal(each->node);
        require((refusal.why != Why::none) == is_refused(*each),
                "a statement is refused for no reason, or accepted that cannot be kept");
        require((refusal.why == Why::scope_ended) == !is_open(*each) &&
                    (number_of(refusal.cause) != 0) == (is_refused(*each) && is_open(*each)),
                "the wrong reason is told for a refusal");
    }
    require(number_of(machine_.cause()) == expected_, "not the error that counts");
    require((machine_.failure() == Failure::of_connection) == (expected_ == lost_error),
            "whether the connection was lost is not known");
    const bool ended = root().is != Is::running;
    if (!ended)
        require((machine_.phase() == Phase::failed) == (expected_ != 0),
                "a failed transaction goes on");
    if (!ended && expected_ == 0)
        require((machine_.phase() == Phase::unopened) == !root().sent, "BEGIN was forgotten");
}

std::string World::key() const {
    std::string key;
    if (over_) return key;
    const auto add = [&](auto value) { key += static_cast<char>('0' + static_cast<int>(value)); };
    for (const auto& each : scopes_) {
        key += '|';
        add(each->around != nullptr ? number(*each->around) : 9);
        add(each->is);
        if (each->is == Is::ended) {
            add(each->ends_with == Outcome::as_wanted && !each->rollback_only);
            add(each->executed > 0);
            continue;
        }
        if (each->is == Is::ending) add(each->next.kind);
        for (const bool flag :
             {each->queued, each->sent, each->arrived, each->rollback_only, each->failed,
              each->heard, each->late, each->node.ended() != nullptr})
            add(flag);
        add(each->executed > 0);
        add(each->undone > 0);
        add(each->savepoint);
        add(each->ends_with);
        add(each->node.savepoint());
    }
    key += '|';
    for (const auto* savepoint : savepoints_) add(savepoint != nullptr ? number(*savepoint) : 9);
    add(transaction_);
    add(machine_.phase());
    add(machine_.failure());
    add(expected_ == 0 ? 0 : expected_ == lost_error ? 1 : 2);
    add(acts_);
    for (const bool flag : {lost_, commit_sent_, acknowledged_, over_}) add(flag);
    return key;
}

/// Explores all that can happen; returns how many different states there are.
std::size_t explore(World::Kinds kinds) {
    std::unordered_set<std::string> seen;
    std::vector<std::vector<World::Event>> paths{{}};
    while (!paths.empty()) {
        const auto path = std::move(paths.back());
        paths.pop_back();
        World world{kinds};
        try {
            for (const auto& event : path) world.happens(event, &event == &path.back());
            if (!seen.insert(world.key()).second) continue;
            const auto events = world.possible();
            if (events.empty() != world.over()) throw std::logic_error{"it does not end"};
            for (const auto& event : events) {
                paths.push_back(path);
                paths.back().push_back(event);
            }
            world.destroyed();
        } catch (const std::logic_error& wrong) {
            std::string words;
            for (const auto& event : path) words += World::word(event);
            FAIL(wrong.what() << words);
        }
    }
    return seen.size();
}

}  // namespace

TEST_CASE(
    "of two nested scopes, with every fault at every point, is committed what COMMIT was "
    "acknowledged or proven for, and nobody is told otherwise",
    "[transaction_machine]") {
    // How COMMIT is answered needs fewer statements than what savepoints do to one another.
    CHECK(explore({.verifies = false, .read_only = false, .acts = 3}) > 50'000);
    CHECK(explore({.verifies = true, .read_only = false, .acts = 2}) > 5'000);
    CHECK(explore({.verifies = false, .read_only = true, .acts = 2}) > 5'000);
    CHECK(explore({.verifies = true, .read_only = true, .acts = 1}) > 500);
}
