#include "support/catch.hpp"
#include <txscope/pool/detail/pool_machine.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using txscope::detail::ConnectionNode;
using txscope::detail::Holder;
using txscope::detail::PoolMachine;
using txscope::detail::Requester;
using txscope::detail::Waiter;
using Clock = txscope::detail::Clock;
using Condition = PoolMachine::Condition;
using Failure = Waiter::Failure;
using Kind = PoolMachine::Action::Kind;
using Reason = PoolMachine::Reason;
using State = Waiter::State;
using Words = std::vector<std::string>;

const char* name_of(Failure failure) {
    switch (failure) {
        case Failure::closed:
            return "closed";
        case Failure::exhausted:
            return "exhausted";
        case Failure::overloaded:
            return "overloaded";
        case Failure::deadlock:
            return "deadlock";
        case Failure::not_opened:
            return "not opened";
    }
    return "?";
}

// ---- Tables: what follows from one event. ----

/// A machine with named waiters and connections, which tells its actions in words.
struct Bench {
    explicit Bench(std::size_t max_size, std::size_t max_waiters = 100, std::size_t max_opening = 4)
        : Bench{{.connections = max_size, .waiters = max_waiters, .openings = max_opening}} {}
    explicit Bench(const PoolMachine::Limits& limits) : machine{limits} {}

    struct Asker {
        explicit Asker(std::vector<Holder*> within)
            : waiter{Requester{holder, std::move(within)}} {}
        Holder holder{std::source_location::current()};
        Waiter waiter;
    };
    Waiter& waiter(char name) { return askers.at(name)->waiter; }

    Words ask(char name, const std::string& within = "") {
        std::vector<Holder*> outer;
        for (const char each : within) outer.push_back(&askers.at(each)->holder);
        askers[name] = std::make_unique<Asker>(std::move(outer));
        machine.asked(waiter(name), now);
        return actions();
    }
    /// Connections are called 1, 2, … in the order of opening.
    Words opened() {
        ConnectionNode& connection = connections.emplace_back();
        connection.generation = generation;
        connection.may_be_half_open = true;
        connection.heard = now;
        machine.opened(connections.back());
        return actions();
    }
    Words returned(std::size_t number, Condition condition = Condition::clean) {
        connections.at(number - 1).heard = now;
        machine.returned(connections.at(number - 1), condition);
        return actions();
    }
    Words cleaned(std::size_t number, Condition condition = Condition::clean) {
        machine.cleaned(connections.at(number - 1), condition);
        return actions();
    }
    Words pinged(std::size_t number, Condition condition) {
        if (condition != Condition::broken) connections.at(number - 1).heard = now;
        machine.pinged(connections.at(number - 1), condition);
        return actions();
    }
    Words lend_idle() {
        const auto* const lent = machine.lend_idle(nullptr, now);
        Words words = actions();
        if (lent != nullptr) words.insert(words.begin(), "lent " + number_of(lent));
        return words;
    }
    Words time_passes(std::chrono::milliseconds time) {
        now += time;
        machine.time_passed(now);
        return actions();
    }
    template <typename Event>
    Words after(Event event) {
        event();
        return actions();
    }

    Words actions() {
        Words words;
        for (auto next = machine.next_action(); next.kind != Kind::none;
             next = machine.next_action())
            words.push_back(word(next));
        return words;
    }
    std::string number_of(const ConnectionNode* connection) {
        const auto found = std::ranges::find_if(
            connections, [&](const auto& each) { return &each == connection; });
        return std::to_string(found - connections.begin() + 1);
    }
    std::string word(const PoolMachine::Action& action) {
        const auto number = [&] { return number_of(action.connection); };
        switch (action.kind) {
            case Kind::open:
                generation = action.generation;
                return "open";
            case Kind::ping:
                return "ping " + number();
            case Kind::clean:
                return "clean " + number();
            case Kind::close:
                return "close " + number();
            case Kind::drained:
                return "drained";
            default:
                break;
        }
        const auto asker = std::ranges::find_if(
            askers, [&](const auto& each) { return &each.second->waiter == action.waiter; });
        const std::string name{asker->first};
        if (action.waiter->state() == State::failed)
            return name + ": " + name_of(action.waiter->failure());
        return name + ": granted";
    }

    Words opening_failed(Reason reason = Reason::transient, double chance = 1) {
        machine.opening_failed(reason, now, chance);
        return actions();
    }
    Words wanted(std::size_t count) {
        machine.wanted(count, now);
        return actions();
    }
    /// How long until the machine wants to be told the time; it is told.
    std::chrono::milliseconds wait() {
        REQUIRE(machine.wake_at() != Clock::time_point::max());
        const auto time = machine.wake_at() - now;
        now += time;
        machine.time_passed(now);
        return std::chrono::duration_cast<std::chrono::milliseconds>(time);
    }

    PoolMachine machine;
    std::unordered_map<char, std::unique_ptr<Asker>> askers{};
    std::deque<ConnectionNode> connections{};
    std::uint64_t generation = 0;
    Clock::time_point now{std::chrono::hours{1}};
};

/// With as many connections as are allowed, idle.
std::unique_ptr<Bench> warm(const PoolMachine::Limits& limits) {
    auto bench = std::make_unique<Bench>(limits);
    for (std::size_t i = 1; i <= limits.connections; ++i) {
        REQUIRE(bench->wanted(i) == Words{"open"});
        REQUIRE(bench->opened().empty());
    }
    return bench;
}
std::unique_ptr<Bench> warm(std::size_t connections) {
    return warm({.connections = connections, .waiters = 100});
}

}  // namespace

TEST_CASE("a connection that is closed says why", "[pool_machine]") {
    using Retirement = PoolMachine::Retirement;
    const auto bench = warm({.connections = 3,
                             .waiters = 100,
                             .idle_timeout = std::chrono::minutes{1},
                             .ping_after_idle = std::chrono::seconds{1}});
    const auto why = [&](std::size_t number) { return bench->connections[number - 1].retirement; };
    CHECK(why(1) == Retirement::none);

    SECTION("its time is over, or its idleness, before that of others") {
        bench->connections[2].expires = bench->now + std::chrono::minutes{1};
        bench->time_passes(std::chrono::minutes{1});
        CHECK(why(1) == Retirement::idle);
        CHECK(why(3) == Retirement::lifetime);
    }
    SECTION("it is lost while it is idle, or on loan") {
        CHECK(bench->lend_idle() == Words{"lent 3"});
        bench->machine.lost(bench->connections[0]);
        bench->returned(3, Condition::broken);
        CHECK(why(1) == Retirement::lost);
        CHECK(why(3) == Retirement::lost);
    }
    SECTION("it has expired on loan") {
        bench->lend_idle();
        bench->connections[2].expires = bench->now;
        bench->returned(3);
        CHECK(why(3) == Retirement::lifetime);
    }
    SECTION("it could not be cleaned") {
        bench->lend_idle();
        CHECK(bench->returned(3, Condition::dirty) == Words{"clean 3"});
        bench->cleaned(3, Condition::broken);
        CHECK(why(3) == Retirement::not_cleaned);
    }
    SECTION("it does not answer a ping, nor would those that were idle for longer") {
        bench->time_passes(std::chrono::seconds{2});
        CHECK(bench->ask('a') == Words{"ping 3"});
        bench->pinged(3, Condition::broken);
        CHECK(why(1) == Retirement::no_answer);
        CHECK(why(3) == Retirement::no_answer);
    }
    SECTION("it is refused, which says nothing of the others") {
        bench->time_passes(std::chrono::seconds{2});
        CHECK(bench->ask('a') == Words{"ping 3"});
        CHECK(bench->pinged(3, Condition::refused) == Words{"close 3", "ping 2"});
        CHECK(why(3) == Retirement::refused);
        CHECK(bench->pinged(2, Condition::clean) == Words{"a: granted"});
        CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
        CHECK(bench->cleaned(2, Condition::refused) == Words{"close 2"});
        CHECK(why(2) == Retirement::refused);
        CHECK(why(1) == Retirement::none);
    }
    SECTION("its server has another role, and nobody knows whose server the others' is") {
        bench->lend_idle();
        bench->lend_idle();
        bench->returned(3, Condition::wrong_role);
        bench->returned(2);
        CHECK(why(1) == Retirement::replaced);
        CHECK(why(2) == Retirement::replaced);
        CHECK(why(3) == Retirement::wrong_role);
    }
    SECTION("all are replaced") {
        bench->lend_idle();
        bench->machine.recycled();
        bench->returned(3);
        CHECK(why(1) == Retirement::replaced);
        CHECK(why(3) == Retirement::replaced);
    }
    SECTION("there are too many") {
        bench->lend_idle();
        bench->lend_idle();
        bench->machine.reconfigured({.connections = 1, .waiters = 100});
        bench->returned(3);
        CHECK(why(1) == Retirement::too_many);
        CHECK(why(3) == Retirement::too_many);
    }
    SECTION("the pool is closed") {
        bench->lend_idle();
        bench->machine.closed();
        bench->returned(3);
        CHECK(why(1) == Retirement::closed);
        CHECK(why(3) == Retirement::closed);
    }
}

TEST_CASE("a connection is opened for each who asks, as far as there is room", "[pool_machine]") {
    Bench bench{2};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.ask('c').empty());
    CHECK(bench.machine.size() == 2);
    CHECK(bench.machine.openings() == 2);
    CHECK(bench.machine.waiting() == 1);  // for the others one is being opened
    CHECK(bench.opened() == Words{"a: granted"});
    CHECK(bench.opened() == Words{"b: granted"});
    CHECK(bench.returned(2) == Words{"c: granted"});
}

TEST_CASE("who waits for an opening gets what comes first, and the opening serves the next one",
          "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.returned(1) == Words{"b: granted"});
    CHECK(bench.ask('c').empty());  // the opening under way is enough
    CHECK(bench.opened() == Words{"c: granted"});
}

TEST_CASE("an opening that nobody needs any more is idle in the end", "[pool_machine]") {
    Bench bench{1};
    bench.ask('a');
    bench.machine.withdrawn(bench.waiter('a'));
    CHECK(bench.actions().empty());
    CHECK(bench.machine.openings() == 1);
    CHECK(bench.opened().empty());
    CHECK(bench.machine.idle().size() == 1);
    CHECK(bench.ask('b') == Words{"b: granted"});
}

TEST_CASE("the last connection back is the first lent", "[pool_machine]") {
    const auto bench = warm(2);
    CHECK(bench->lend_idle() == Words{"lent 2"});
    CHECK(bench->lend_idle() == Words{"lent 1"});
    CHECK(bench->lend_idle().empty());
    CHECK(bench->returned(1).empty());
    CHECK(bench->lend_idle() == Words{"lent 1"});
}

TEST_CASE("one more than may wait is turned away, unless one is opened for somebody",
          "[pool_machine]") {
    Bench bench{1, 1};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.ask('b').empty());
    CHECK(bench.ask('c') == Words{"c: exhausted"});
    CHECK(bench.machine.waiting() == 1);
    CHECK(bench.opened() == Words{"a: granted"});
    CHECK(bench.ask('d') == Words{"d: exhausted"});
    CHECK(bench.returned(1) == Words{"b: granted"});
    CHECK(bench.ask('e').empty());
}

TEST_CASE("who would have to wait for too long is refused, by the pace of those ahead",
          "[pool_machine]") {
    const auto bench = warm({.connections = 2, .waiters = 100, .queue_target = seconds{1}});
    CHECK(bench->lend_idle() == Words{"lent 2"});
    CHECK(bench->lend_idle() == Words{"lent 1"});
    // Nobody knows yet how long it takes.
    for (const char name : std::string{"abcdefghijkl"}) CHECK(bench->ask(name).empty());
    CHECK(bench->time_passes(seconds{1}).empty());
    CHECK(bench->ask('m') == Words{"m: overloaded"});
    CHECK(bench->waiter('m').expected_wait() == seconds{6});  // 12 at two a second
    CHECK(bench->returned(1) == Words{"a: granted"});
    CHECK(bench->returned(2) == Words{"b: granted"});
    for (int i = 0; i < 4; ++i) {
        CHECK(bench->time_passes(milliseconds{100}).empty());
        CHECK(bench->returned(1).size() == 1);
        CHECK(bench->returned(2).size() == 1);
    }
    // The two that are left have waited 1.4 s, behind 10: another one is served soon.
    CHECK(bench->ask('n').empty());
    CHECK(bench->waiter('n').expected_wait() < seconds{1});
    // Who comes when nobody waits has to expect nothing.
    for (int i = 0; i < 3; ++i) CHECK(bench->returned(1).size() == 1);
    CHECK(bench->ask('o').empty());
    CHECK(bench->time_passes(seconds{9}).empty());
    CHECK(bench->ask('p') == Words{"p: overloaded"});
}

TEST_CASE("who gets what is being opened is not refused for how long others wait",
          "[pool_machine]") {
    Bench bench{{.connections = 2, .waiters = 100, .queue_target = seconds{1}}};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.time_passes(seconds{9}).empty());
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.ask('c') == Words{"c: overloaded"});
}

TEST_CASE("under twice as many as can be served, who is not refused waits about as long as may be",
          "[pool_machine]") {
    const auto bench = warm({.connections = 4, .waiters = 100'000, .queue_target = seconds{1}});
    std::deque<Bench::Asker> askers;
    auto longest = Clock::duration{};
    std::size_t refused = 0;
    for (int i = 0; i < 4; ++i) CHECK(bench->lend_idle().size() == 1);
    std::unordered_map<const Waiter*, Clock::time_point> asked;
    for (int turn = 0; turn < 10'000; ++turn) {  // each of 10 ms: eight come, four are served
        bench->now += milliseconds{10};
        for (int i = 0; i < 8; ++i) {
            Waiter& waiter = askers.emplace_back(std::vector<Holder*>{}).waiter;
            asked[&waiter] = bench->now;
            bench->machine.asked(waiter, bench->now);
            if (waiter.state() == State::failed) ++refused;
        }
        for (auto& connection : bench->connections)
            bench->machine.returned(connection, Condition::clean);
        for (auto next = bench->machine.next_action(); next.kind != Kind::none;
             next = bench->machine.next_action())
            if (next.waiter->state() == State::granted)
                longest = std::max(longest, bench->now - asked.at(next.waiter));
    }
    CHECK(longest > milliseconds{500});
    CHECK(longest < milliseconds{1500});
    CHECK(refused > 39'000);
    CHECK(refused < 40'000);  // nobody in vain
}

TEST_CASE("the wait to expect comes from how long loans last, not from how many end at once",
          "[pool_machine]") {
    const auto bench = warm({.connections = 2, .waiters = 100, .queue_target = milliseconds{20}});
    const auto lend = [&] {
        CHECK(bench->lend_idle().size() == 1);
        bench->connections[bench->machine.idle().empty() ? 0 : 1].lent_at = bench->now;
    };
    lend();
    lend();
    bench->time_passes(milliseconds{50});
    for (const std::size_t number : {1u, 2u}) {
        bench->machine.loan_ended(milliseconds{50});
        CHECK(bench->returned(number).empty());
    }
    bench->connections[1].lent_at = bench->connections[0].lent_at = bench->now;
    CHECK(bench->lend_idle().size() == 1);
    CHECK(bench->lend_idle().size() == 1);
    CHECK(bench->ask('a') == Words{"a: overloaded"});
    CHECK(bench->waiter('a').expected_wait() == milliseconds{50});
    bench->time_passes(milliseconds{30});
    CHECK(bench->ask('b').empty());  // both are back in 20 ms
    CHECK(bench->ask('c').empty());
    CHECK(bench->ask('d') == Words{"d: overloaded"});
    CHECK(bench->waiter('d').expected_wait() == milliseconds{70});
}

TEST_CASE("who is let in while loans end in bursts does not wait much longer than may be",
          "[pool_machine]") {
    constexpr std::size_t size = 4;
    constexpr milliseconds loan{50};
    constexpr milliseconds target{20};
    const auto bench = warm({.connections = size, .waiters = 100'000, .queue_target = target});
    struct Client {
        std::unique_ptr<Bench::Asker> asker{};
        Clock::time_point asks_at{};
    };
    std::vector<Client> clients(40);
    std::map<ConnectionNode*, std::unique_ptr<Bench::Asker>> holders;
    std::size_t served = 0;
    auto longest = Clock::duration{};
    const auto ask = [&](Client& client) {
        client.asks_at += milliseconds{10};  // unless it gets one
        if (ConnectionNode* const idle = bench->machine.lend_idle(nullptr, bench->now)) {
            idle->lent_at = bench->now;
            return;
        }
        client.asker = std::make_unique<Bench::Asker>(std::vector<Holder*>{});
        bench->machine.asked(client.asker->waiter, bench->now);
        while (bench->machine.has_actions()) bench->machine.next_action();
        if (client.asker->waiter.state() == State::failed) client.asker.reset();
    };
    for (int turn = 0; turn < 2'000; ++turn) {  // each of a millisecond
        bench->now += milliseconds{1};
        for (ConnectionNode& connection : bench->connections) {
            if (connection.state != ConnectionNode::State::lent) continue;
            if (bench->now - connection.lent_at < loan) continue;
            ++served;
            bench->machine.loan_ended(bench->now - connection.lent_at);
            bench->machine.returned(connection, Condition::clean);
            while (bench->machine.has_actions()) bench->machine.next_action();
            holders.erase(&connection);
        }
        for (Client& client : clients) {
            if (client.asker && client.asker->waiter.state() == State::granted) {
                ConnectionNode& lent = bench->machine.taken(client.asker->waiter);
                lent.lent_at = bench->now;
                if (turn > 500)  // before the first loan ends, nobody knows
                    longest = std::max(longest, bench->now - (client.asks_at - milliseconds{10}));
                holders[&lent] = std::move(client.asker);
            }
            if (!client.asker && client.asks_at <= bench->now) {
                client.asks_at = bench->now;
                ask(client);
            }
        }
    }
    CHECK(longest > Clock::duration{});
    CHECK(longest <= target);
    CHECK(served >= 2'000 / 50 * size * 9 / 10);
}

TEST_CASE("a few connections are opened at a time, and the next ones when these are there",
          "[pool_machine]") {
    Bench bench{5, 100, 2};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.ask('c').empty());
    CHECK(bench.ask('d').empty());
    CHECK(bench.machine.waiting() == 2);
    CHECK(bench.opened() == Words{"a: granted", "open"});
    CHECK(bench.opened() == Words{"b: granted", "open"});
    CHECK(bench.wanted(5).empty());
    CHECK(bench.opened() == Words{"c: granted"});
    CHECK(bench.wanted(5) == Words{"open"});
    CHECK(bench.wanted(5).empty());
}

TEST_CASE("what may pass fails nobody: after a pause one is opened for all who wait",
          "[pool_machine]") {
    using std::chrono::milliseconds;
    Bench bench{4};
    bench.ask('a');
    bench.ask('b');
    CHECK(bench.opening_failed().empty());
    CHECK(bench.opening_failed().empty());  // for the same reason: the pause is not longer
    CHECK(bench.machine.size() == 0);
    CHECK(bench.machine.waiting() == 2);
    CHECK(bench.ask('c').empty());
    SECTION("a longer one each time, up to a second") {
        for (const int pause : {100, 200, 400, 800, 1000, 1000}) {
            CHECK(bench.wait() == milliseconds{pause});
            CHECK(bench.actions() == Words{"open"});
            CHECK(bench.ask('d').empty());  // a server that refuses is asked by one at a time
            bench.machine.withdrawn(bench.waiter('d'));
            CHECK(bench.opening_failed().empty());
        }
    }
    SECTION("which is cut by chance, by half of it at most") {
        bench.wait();
        CHECK(bench.actions() == Words{"open"});
        CHECK(bench.opening_failed(Reason::transient, 0).empty());
        CHECK(bench.wait() == milliseconds{100});
    }
    SECTION("and when one is there, the others are opened at once") {
        bench.wait();
        CHECK(bench.actions() == Words{"open"});
        CHECK(bench.opened() == Words{"a: granted", "open", "open"});
        CHECK(bench.opening_failed().empty());
        CHECK(bench.wait() == milliseconds{100});  // counted anew
    }
    SECTION("not when it comes back meanwhile") {
        bench.wait();
        bench.actions();
        bench.opened();
        bench.opening_failed();
        bench.opening_failed();
        CHECK(bench.returned(1) == Words{"b: granted"});
        CHECK(bench.returned(1) == Words{"c: granted"});
        CHECK(bench.machine.wake_at() == Clock::time_point::max());
        CHECK(bench.machine.may_open_at() > bench.now);
    }
    SECTION("and who asks when it is over does not wait for the machine to be told") {
        bench.now = bench.machine.wake_at();
        CHECK(bench.ask('d') == Words{"open"});
    }
    SECTION("also where a connection is only wanted") {
        CHECK(bench.wanted(3).empty());
        bench.now = bench.machine.may_open_at();
        CHECK(bench.wanted(3) == Words{"open"});
    }
}

TEST_CASE("a pause that nobody waits for need not be told when it ends", "[pool_machine]") {
    Bench bench{1};
    bench.ask('a');
    bench.opening_failed();
    bench.machine.withdrawn(bench.waiter('a'));
    CHECK(bench.machine.wake_at() == Clock::time_point::max());
    bench.ask('b');
    CHECK(bench.machine.wake_at() == bench.machine.may_open_at());
}

TEST_CASE("an opening that fails for good fails all who wait", "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.ask('b');
    bench.ask('c');
    CHECK(bench.opening_failed(Reason::lasting) ==
          Words{"a: not opened", "b: not opened", "c: not opened"});
    CHECK(bench.opening_failed(Reason::lasting).empty());
    CHECK(bench.machine.size() == 0);
    CHECK(bench.ask('d').empty());  // not to fail as often as somebody asks
    bench.wait();
    CHECK(bench.actions() == Words{"open"});
    CHECK(bench.opening_failed(Reason::lasting) == Words{"d: not opened"});
}

TEST_CASE("an opening that fails for good fails nobody whom a returned connection can serve",
          "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    bench.ask('b');
    CHECK(bench.opening_failed(Reason::lasting).empty());
    bench.wait();
    CHECK(bench.actions() == Words{"open"});
    SECTION("nor one whom a connection can serve that is being cleaned") {
        CHECK(bench.returned(1, Condition::dirty) == Words{"clean 1"});
        CHECK(bench.opening_failed(Reason::lasting).empty());
        CHECK(bench.cleaned(1) == Words{"b: granted"});
    }
    SECTION("but when that one is lost, nothing else is left to wait for") {
        CHECK(bench.returned(1, Condition::broken) == Words{"close 1"});
        CHECK(bench.opening_failed(Reason::lasting) == Words{"b: not opened"});
    }
    SECTION("but when it is held by somebody within whom another one waits, it does not return") {
        CHECK(bench.ask('c', "a").empty());  // the opening is still under way
        CHECK(bench.opening_failed(Reason::lasting) == Words{"c: not opened"});
        CHECK(bench.returned(1) == Words{"b: granted"});  // then it does
    }
}

TEST_CASE("who waits while one is being opened gets what is idle, if its server answers sooner",
          "[pool_machine]") {
    using namespace std::chrono_literals;
    const auto bench = warm({.connections = 2, .waiters = 9, .ping_after_idle = 1s});
    bench->machine.lost(bench->connections[0]);
    bench->actions();
    bench->time_passes(1s);
    CHECK(bench->wanted(2) == Words{"open"});
    CHECK(bench->ask('a') == Words{"ping 2"});
    SECTION("which it does") {
        CHECK(bench->pinged(2, Condition::clean) == Words{"a: granted"});
        CHECK(bench->opened().empty());
    }
    SECTION("which it does not") {
        CHECK(bench->opened() == Words{"a: granted"});
        CHECK(bench->pinged(2, Condition::clean).empty());
    }
    SECTION("which the opening never does") {
        CHECK(bench->opening_failed(Reason::lasting).empty());
        CHECK(bench->pinged(2, Condition::clean) == Words{"a: granted"});
    }
}

TEST_CASE("while one may still be opened, nobody waits in a deadlock", "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    CHECK(bench.ask('b', "a") == Words{"open"});
    CHECK(bench.opening_failed().empty());
    CHECK(bench.ask('c', "a").empty());
    bench.wait();
    CHECK(bench.actions() == Words{"open"});
    CHECK(bench.opened() == Words{"b: granted"});
}

TEST_CASE("a dirty connection is cleaned before it is lent again, a broken one is replaced",
          "[pool_machine]") {
    const auto bench = warm(1);
    bench->ask('a');
    bench->ask('b');
    CHECK(bench->returned(1, Condition::dirty) == Words{"clean 1"});
    CHECK(bench->machine.size() == 1);
    SECTION("cleaned") { CHECK(bench->cleaned(1) == Words{"b: granted"}); }
    SECTION("not to be cleaned") {
        CHECK(bench->cleaned(1, Condition::broken) == Words{"close 1", "open"});
        CHECK(bench->opened() == Words{"b: granted"});
    }
}

TEST_CASE("an idle connection that is lost makes room for another", "[pool_machine]") {
    const auto bench = warm(1);
    CHECK(bench->after([&] { bench->machine.lost(bench->connections[0]); }) == Words{"close 1"});
    CHECK(bench->machine.size() == 0);
    CHECK(bench->ask('a') == Words{"open"});
}

TEST_CASE("who is withdrawn gives back what it was granted meanwhile", "[pool_machine]") {
    const auto bench = warm(1);
    bench->ask('a');
    bench->ask('b');
    bench->ask('c');
    CHECK(bench->returned(1) == Words{"b: granted"});
    CHECK(bench->after([&] { bench->machine.withdrawn(bench->waiter('b')); }) ==
          Words{"c: granted"});
    CHECK(&bench->machine.taken(bench->waiter('c')) == &bench->connections[0]);
    CHECK(bench->after([&] { bench->machine.withdrawn(bench->waiter('c')); }).empty());
    CHECK(bench->machine.lent().size() == 1);  // it has its connection
}

TEST_CASE("of those whose waits keep all connections, the newest is refused", "[pool_machine]") {
    const auto bench = warm(2);
    bench->ask('b');
    bench->ask('a');  // has connection 1
    CHECK(bench->ask('x').empty());
    CHECK(bench->ask('c', "a").empty());
    CHECK(bench->ask('y').empty());
    SECTION("when it asks") {
        CHECK(bench->ask('d', "b") == Words{"d: deadlock"});
        CHECK(bench->returned(2) == Words{"x: granted"});
        CHECK(bench->returned(1) == Words{"c: granted"});
    }
    SECTION("when somebody gets a connection within whom it waits") {
        CHECK(bench->ask('d', "x").empty());
        CHECK(bench->returned(2) == Words{"x: granted", "d: deadlock"});
    }
    SECTION("a wait within all who hold one keeps them all") {
        bench->machine.withdrawn(bench->waiter('c'));
        CHECK(bench->ask('d', "ab") == Words{"d: deadlock"});
    }
    SECTION("not while one is cleaned, and not when that is lost") {
        CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
        CHECK(bench->cleaned(2, Condition::broken) == Words{"close 2", "open"});
        CHECK(bench->opened() == Words{"x: granted"});
        CHECK(bench->ask('e', "x") == Words{"e: deadlock"});
    }
}

TEST_CASE("a closed pool refuses everybody, and says when all connections are back",
          "[pool_machine]") {
    const auto bench = warm(2);
    bench->ask('a');
    bench->ask('b');
    bench->ask('c');
    bench->returned(1);
    bench->machine.withdrawn(bench->waiter('c'));
    bench->ask('d');
    const auto close = [&] { bench->machine.closed(); };
    SECTION("those on loan are closed when they come back") {
        bench->ask('e');
        CHECK(bench->after(close) == Words{"e: closed"});
        CHECK(bench->ask('f') == Words{"f: closed"});
        CHECK(bench->lend_idle().empty());
        CHECK(bench->wanted(2).empty());
        CHECK(bench->returned(1) == Words{"close 1"});
        CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
        CHECK(bench->cleaned(2) == Words{"close 2", "drained"});
    }
    SECTION("idle ones at once") {
        bench->returned(1);
        bench->returned(2);
        CHECK(bench->after(close) == Words{"close 1", "close 2", "drained"});
        CHECK(bench->machine.size() == 0);
    }
    SECTION("what is being opened is closed, too") {
        bench->returned(1, Condition::broken);
        CHECK(bench->ask('e') == Words{"open"});
        bench->returned(2, Condition::broken);
        CHECK(bench->after(close) == Words{"e: closed"});
        CHECK(bench->opened() == Words{"close 3", "drained"});
    }
}

TEST_CASE("what has been idle for long is closed", "[pool_machine]") {
    using namespace std::chrono_literals;
    const auto bench = warm({.connections = 3, .waiters = 0, .idle = 1, .idle_timeout = 10min});
    CHECK(bench->lend_idle() == Words{"lent 3"});
    CHECK(bench->time_passes(5min).empty());
    CHECK(bench->returned(3).empty());
    CHECK(bench->machine.wake_at() == bench->now + 5min);
    SECTION("but for those that are to be idle") {
        CHECK(bench->time_passes(5min) == Words{"close 1", "close 2"});
        CHECK(bench->machine.wake_at() == Clock::time_point::max());
        CHECK(bench->time_passes(24h).empty());
    }
    SECTION("not what was used meanwhile") {
        CHECK(bench->lend_idle() == Words{"lent 3"});
        CHECK(bench->lend_idle() == Words{"lent 2"});
        CHECK(bench->time_passes(4min).empty());
        CHECK(bench->returned(2).empty());
        CHECK(bench->returned(3).empty());
        CHECK(bench->time_passes(1min) == Words{"close 1"});
        CHECK(bench->machine.size() == 2);
    }
}

TEST_CASE("what has expired is closed as soon as nobody has it", "[pool_machine]") {
    using namespace std::chrono_literals;
    const auto bench = warm(2);
    bench->connections[0].expires = bench->now + 30min;
    bench->connections[1].expires = bench->now + 31min;
    CHECK(bench->lend_idle() == Words{"lent 2"});
    CHECK(bench->machine.wake_at() == bench->now + 30min);
    CHECK(bench->time_passes(30min) == Words{"close 1"});
    CHECK(bench->machine.wake_at() == Clock::time_point::max());
    CHECK(bench->time_passes(30min).empty());
    bench->ask('a');
    CHECK(bench->opened() == Words{"a: granted"});
    bench->ask('b');
    CHECK(bench->returned(2) == Words{"close 2", "open"});
    CHECK(bench->opened() == Words{"b: granted"});
}

TEST_CASE("when all are replaced, those on loan are closed as they come back", "[pool_machine]") {
    const auto bench = warm(3);
    CHECK(bench->lend_idle() == Words{"lent 3"});
    CHECK(bench->lend_idle() == Words{"lent 2"});
    CHECK(bench->after([&] { bench->machine.recycled(); }) == Words{"close 1"});
    CHECK(bench->ask('a') == Words{"open"});
    CHECK(bench->opened() == Words{"a: granted"});
    CHECK(bench->returned(3) == Words{"close 3"});
    CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
    CHECK(bench->cleaned(2) == Words{"close 2"});
    CHECK(bench->returned(4).empty());
    CHECK(bench->machine.idle().size() == 1);
}

TEST_CASE("what was being opened when all were replaced is closed, too", "[pool_machine]") {
    Bench bench{1};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.after([&] { bench.machine.recycled(); }).empty());
    CHECK(bench.opened() == Words{"close 1", "open"});
    CHECK(bench.opened() == Words{"a: granted"});
}

TEST_CASE("when a server has another role than was wanted all are replaced, at most once a second",
          "[pool_machine]") {
    using namespace std::chrono_literals;
    const auto bench = warm({.connections = 3, .waiters = 9, .ping_after_idle = 1s});
    CHECK(bench->lend_idle() == Words{"lent 3"});
    CHECK(bench->lend_idle() == Words{"lent 2"});
    SECTION("a connection comes back") {
        CHECK(bench->returned(3, Condition::wrong_role) == Words{"close 1", "close 3"});
    }
    SECTION("one comes back that is to be cleaned first") {
        CHECK(bench->returned(3, Condition::dirty) == Words{"clean 3"});
        CHECK(bench->cleaned(3, Condition::wrong_role) == Words{"close 1", "close 3"});
    }
    SECTION("a server says so when it is pinged") {
        CHECK(bench->returned(3).empty());
        bench->time_passes(1s);
        CHECK(bench->ask('a') == Words{"ping 3"});
        CHECK(bench->pinged(3, Condition::wrong_role) == Words{"close 1", "close 3", "open"});
        CHECK(bench->opened() == Words{"a: granted"});
    }
    CHECK(bench->returned(2, Condition::wrong_role) == Words{"close 2"});
    CHECK(bench->ask('b') == Words{"open"});
    CHECK(bench->opened() == Words{"b: granted"});
    const auto newest = bench->connections.size();
    bench->time_passes(999ms);
    CHECK(bench->returned(newest, Condition::wrong_role).empty());
    CHECK(bench->lend_idle().size() == 1);
    bench->time_passes(1ms);
    CHECK(bench->returned(newest, Condition::wrong_role) ==
          Words{"close " + std::to_string(newest)});
}

TEST_CASE("what is too many by new limits is closed when nobody has it", "[pool_machine]") {
    const auto bench = warm(4);
    CHECK(bench->lend_idle() == Words{"lent 4"});
    CHECK(bench->lend_idle() == Words{"lent 3"});
    const auto limit = [&](std::size_t connections) {
        return bench->after(
            [&] { bench->machine.reconfigured({.connections = connections, .waiters = 100}); });
    };
    CHECK(limit(3) == Words{"close 1"});
    CHECK(limit(1) == Words{"close 2"});
    CHECK(bench->ask('a').empty());
    CHECK(bench->returned(4) == Words{"close 4"});
    CHECK(bench->returned(3) == Words{"a: granted"});
    CHECK(bench->ask('b').empty());
    CHECK(bench->ask('c').empty());
    CHECK(limit(2) == Words{"open"});
    CHECK(bench->opened() == Words{"b: granted"});
    CHECK(bench->machine.size() == 2);
}

TEST_CASE("as many as are to be idle are opened before somebody asks", "[pool_machine]") {
    using namespace std::chrono_literals;
    Bench bench{{.connections = 4, .waiters = 0, .idle = 2}};
    CHECK(bench.machine.wake_at() < bench.now);
    CHECK(bench.time_passes(0ms) == Words{"open", "open"});
    CHECK(bench.opened().empty());
    SECTION("and when one is lent, another") {
        CHECK(bench.opened().empty());
        CHECK(bench.lend_idle() == Words{"lent 2", "open"});
        CHECK(bench.lend_idle() == Words{"lent 1", "open"});
        CHECK(bench.opened().empty());
        CHECK(bench.lend_idle() == Words{"lent 3"});  // there is no more room
        CHECK(bench.machine.size() == 4);
    }
    SECTION("and when one is lost, another") {
        CHECK(bench.opened().empty());
        CHECK(bench.after([&] { bench.machine.lost(bench.connections[0]); }) ==
              Words{"close 1", "open"});
    }
    SECTION("after the pause where that fails") {
        CHECK(bench.opening_failed().empty());
        CHECK(bench.wait() == 100ms);
        CHECK(bench.actions() == Words{"open"});
    }
    SECTION("not when the pool is closed") {
        CHECK(bench.after([&] { bench.machine.closed(); }) == Words{"close 1"});
        CHECK(bench.machine.wake_at() == Clock::time_point::max());
        CHECK(bench.opening_failed() == Words{"drained"});
    }
}

TEST_CASE("what has been idle for a while is pinged before it is lent", "[pool_machine]") {
    using namespace std::chrono_literals;
    const auto bench = warm({.connections = 3, .waiters = 9, .ping_after_idle = 1s});
    bench->connections[2].may_be_half_open = false;
    CHECK(bench->time_passes(1s).empty());
    CHECK(bench->lend_idle() == Words{"lent 3"});  // its socket would tell
    CHECK(bench->lend_idle().empty());
    CHECK(bench->ask('a') == Words{"ping 2"});
    CHECK(bench->machine.waiting() == 0);
    CHECK(bench->machine.size() == 3);
    SECTION("and lent to the first who waits") {
        CHECK(bench->ask('b') == Words{"ping 1"});
        CHECK(bench->pinged(1, Condition::clean) == Words{"a: granted"});
        CHECK(bench->pinged(2, Condition::clean) == Words{"b: granted"});
        CHECK(bench->returned(1).empty());
        CHECK(bench->lend_idle() == Words{"lent 1"});  // just heard
    }
    SECTION("or idle again, when another one has served him") {
        CHECK(bench->returned(3) == Words{"a: granted"});
        CHECK(bench->pinged(2, Condition::clean).empty());
        CHECK(bench->lend_idle() == Words{"lent 2"});
    }
    SECTION("if it does not answer, those that have been idle longer are closed with it") {
        CHECK(bench->pinged(2, Condition::broken) == Words{"close 1", "close 2", "open"});
        CHECK(bench->opened() == Words{"a: granted"});
    }
    SECTION("not those that were heard since") {
        CHECK(bench->returned(3) == Words{"a: granted"});
        CHECK(bench->lend_idle().empty());
        CHECK(bench->ask('b') == Words{});  // the ping under way is enough
        CHECK(bench->returned(3) == Words{"b: granted"});
        CHECK(bench->returned(3).empty());
        CHECK(bench->pinged(2, Condition::broken) == Words{"close 1", "close 2"});
        CHECK(bench->lend_idle() == Words{"lent 3"});
    }
    SECTION("nor does somebody overtake him for whom one is pinged") {
        CHECK(bench->machine.idle().size() == 1);
        bench->connections[0].may_be_half_open = false;
        CHECK(bench->lend_idle().empty());
        CHECK(bench->pinged(2, Condition::clean) == Words{"a: granted"});
        CHECK(bench->lend_idle() == Words{"lent 1"});
    }
    SECTION("one that is to be replaced is closed all the same") {
        CHECK(bench->after([&] { bench->machine.recycled(); }) == Words{"close 1"});
        CHECK(bench->pinged(2, Condition::clean) == Words{"close 2", "open"});
    }
}

// ---- Every order of events in small pools. ----

namespace {

/// Who asks within whom: for each asker those whose connections its wait keeps.
using Nesting = std::vector<std::vector<std::size_t>>;

/// A machine, and beside it what a naive pool knows, which says what is right.
///
/// Any disagreement is thrown.
class World {
public:
    enum class Happening {
        asked,
        withdrawn,  // cancelled, timed out or destroyed: the same to a pool
        taken,
        returned,
        left_dirty,
        broken,
        cleaned,
        not_cleaned,
        idle_lost,
        aged,  // what is idle, so that it is to be pinged
        pinged,
        not_pinged,
        opened,
        opening_failed,
        failed_for_good,
        pause_over,
        warming_up,
        waited,  // a second, where the queue is not to take that long
        closed
    };
    struct Event {
        Happening what;
        std::size_t whom = 0;  // an asker or a connection
    };

    static std::string word(const Event& event) {
        constexpr std::array words{"asked",      "withdrawn",      "taken",           "returned",
                                   "left dirty", "broken",         "cleaned",         "not cleaned",
                                   "idle lost",  "aged",           "pinged",          "not pinged",
                                   "opened",     "opening failed", "failed for good", "pause over",
                                   "warming up", "waited",         "closed"};
        return std::string{", "} + words.at(static_cast<std::size_t>(event.what)) + " " +
               std::to_string(event.whom);
    }

    World(const PoolMachine::Limits& limits, const Nesting& nesting)
        : limits_{limits}, nodes_(limits.connections), machine_{limits} {
        for (const auto& within : nesting) askers_.emplace_back(within);
        askers_are_alike_ = std::ranges::all_of(nesting, &std::vector<std::size_t>::empty);
    }

    /// All that can happen next.
    std::vector<Event> possible() const {
        using enum Happening;
        std::vector<Event> events;
        for (std::size_t i = 0; i < askers_.size(); ++i) switch (askers_[i].is) {
                case Is::outside:
                    events.push_back({asked, i});
                    break;
                case Is::waiting:
                    events.push_back({withdrawn, i});
                    break;
                case Is::granted:
                    events.push_back({withdrawn, i});
                    events.push_back({taken, i});
                    break;
                case Is::holding:
                    for (const auto how : {returned, left_dirty, broken})
                        events.push_back({how, i});
                    break;
            }
        for (std::size_t c = 0; c < nodes_.size(); ++c) {
            if (cleaning_[c]) events.push_back({cleaned, c}), events.push_back({not_cleaned, c});
            if (pinging_[c]) events.push_back({pinged, c}), events.push_back({not_pinged, c});
            if (idle_[c]) events.push_back({idle_lost, c});
        }
        // What has become idle since a ping was begun is younger than what that is for.
        if (std::ranges::count(idle_, true) > count_old() &&
            std::ranges::count(pinging_, true) == 0)
            events.push_back({aged});
        if (openings_ > 0)
            for (const auto how : {opened, opening_failed, failed_for_good})
                events.push_back({how});
        if (pausing_) events.push_back({pause_over});
        events.push_back({warming_up});
        if (!queue_.empty() && !has_waited(queue_.front()) && has_queue_target() && !pausing_)
            events.push_back({waited});
        if (!closed_) events.push_back({closed});
        return events;
    }

    /// @param checks not where it has been checked before: repeating is quick
    void happens(const Event& event, bool checks = true);

    /// All that decides what comes next, whatever led there.
    std::string key() const {
        std::string key;
        for (const Asker& asker : askers_)
            key += static_cast<char>('0' + static_cast<int>(asker.is));
        if (askers_are_alike_)
            std::ranges::sort(key);
        else
            for (const std::size_t each : queue_) key += static_cast<char>('a' + each);
        key += '|';
        // So are connections: how many there are of each kind is enough.
        key += static_cast<char>('0' + std::ranges::count(idle_, true));
        key += static_cast<char>('0' + count_old());
        key += static_cast<char>('0' + std::ranges::count(cleaning_, true));
        key += static_cast<char>('0' + std::ranges::count(pinging_, true));
        key += static_cast<char>('0' + openings_);
        key += pausing_ ? 'p' : failing_ ? 'f' : ' ';
        key += closed_ ? 'c' : ' ';
        if (has_queue_target() && !queue_.empty()) {
            const auto old =
                std::ranges::count_if(queue_, [&](std::size_t each) { return has_waited(each); });
            key += static_cast<char>('0' + old);
            key += static_cast<char>('0' + askers_[queue_.front()].ahead);
        }
        return key;
    }

    /// Everybody is answered even if nothing can be opened any more, and nobody loses patience, as
    /// long as connections come back from those within whom nobody waits.
    void check_that_all_are_answered();

private:
    enum class Is {
        outside,
        waiting,
        granted,
        holding
    };
    struct Asker {
        explicit Asker(const std::vector<std::size_t>& outer) : within{outer} {}
        std::vector<std::size_t> within;
        Is is = Is::outside;
        std::size_t connection = 0;
        std::size_t ahead = 0;       // how many waited
        Clock::time_point asked{};   // when it came
        Clock::duration expected{};  // and how long it was to wait then
        std::unique_ptr<Holder> holder = std::make_unique<Holder>(std::source_location{});
        std::unique_ptr<Waiter> waiter{};
    };

    static void require(bool right, const char* what) {
        if (!right) throw std::logic_error{what};
    }

    bool has(const Asker& asker) const {
        return asker.is == Is::granted || asker.is == Is::holding;
    }
    bool has_queue_target() const {
        return limits_.queue_target != std::chrono::milliseconds::max();
    }
    bool has_waited(std::size_t asker) const {
        return now_ - askers_[asker].asked >= std::chrono::seconds{1};
    }
    /// At the pace of those who were ahead of the first, who may come back together.
    Clock::duration expected_wait() const {
        if (queue_.empty()) return {};
        const Asker& first = askers_[queue_.front()];
        const auto pace =
            (now_ - first.asked) / static_cast<Clock::rep>(first.ahead + limits_.connections);
        return pace * static_cast<Clock::rep>(queue_.size());
    }
    bool somebody_waits_within(std::size_t holder) const {
        return std::ranges::any_of(queue_, [&](std::size_t each) {
            return std::ranges::count(askers_[each].within, holder) > 0;
        });
    }
    std::size_t lent() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(askers_, [&](const Asker& each) { return has(each); }));
    }
    /// On loan, to somebody within whom nobody waits, or being cleaned or pinged.
    bool one_can_come_back() const {
        if (std::ranges::count(cleaning_, true) + std::ranges::count(pinging_, true) > 0)
            return true;
        for (std::size_t i = 0; i < askers_.size(); ++i)
            if (has(askers_[i]) && !somebody_waits_within(i)) return true;
        return false;
    }
    std::size_t size() const {
        return lent() + openings_ + static_cast<std::size_t>(std::ranges::count(idle_, true)) +
               static_cast<std::size_t>(std::ranges::count(cleaning_, true)) + pings();
    }
    std::size_t pings() const {
        return static_cast<std::size_t>(std::ranges::count(pinging_, true));
    }
    std::ptrdiff_t count_old() const { return std::ranges::count(old_, true); }
    /// Every connection is held by somebody within whom another one waits.
    bool deadlocked() const { return limits_.connections == lent() && !one_can_come_back(); }
    std::size_t waiting() const {
        const auto under_way = openings_ + pings();
        return queue_.size() > under_way ? queue_.size() - under_way : 0;
    }
    bool may_open() const {
        return !closed_ && !pausing_ && size() < limits_.connections &&
               openings_ < (failing_ ? 1 : limits_.openings);
    }
    std::optional<std::size_t> newest_that_keeps_one() const {
        for (std::size_t i = queue_.size(); i-- > 0;)
            for (const std::size_t outer : askers_[queue_[i]].within)
                if (has(askers_[outer])) return queue_[i];
        return std::nullopt;
    }

    std::size_t unused_node() const {
        for (std::size_t c = 0; c < nodes_.size(); ++c)
            if (!idle_[c] && !cleaning_[c] && !pinging_[c] &&
                std::ranges::none_of(
                    askers_, [&](const Asker& each) { return has(each) && each.connection == c; }))
                return c;
        throw std::logic_error{"more connections than allowed"};
    }
    std::size_t index_of(const ConnectionNode* node) const {
        return static_cast<std::size_t>(node - nodes_.data());
    }
    void follow(const Event& event, std::optional<std::size_t> free);
    void check(const Event& event) const;
    void answer(Waiter& waiter, const Event& event, std::optional<std::size_t>& free);

    const PoolMachine::Limits limits_;
    std::vector<Asker> askers_;
    bool askers_are_alike_ = false;
    std::vector<ConnectionNode> nodes_;
    std::array<bool, 3> idle_{};
    std::array<bool, 3> old_{};  // of those that are idle
    std::array<bool, 3> cleaning_{};
    std::array<bool, 3> pinging_{};
    std::vector<std::size_t> queue_;
    std::size_t openings_ = 0;
    bool failing_ = false;  // the last one that has ended failed
    bool pausing_ = false;  // after that
    bool closed_ = false;
    bool drained_ = false;
    Clock::time_point now_{std::chrono::hours{1}};
    PoolMachine machine_;
};

void World::happens(const Event& event, bool checks) {
    using enum Happening;
    now_ += std::chrono::nanoseconds{1};  // no two connections were heard at the same time
    std::optional<std::size_t> free;      // the connection that is about to be given to somebody
    switch (event.what) {
        case asked: {
            Asker& asker = askers_[event.whom];
            std::vector<Holder*> within;
            for (const std::size_t outer : asker.within)
                within.push_back(askers_[outer].holder.get());
            asker.waiter = std::make_unique<Waiter>(Requester{*asker.holder, std::move(within)});
            if (ConnectionNode* node = machine_.lend_idle(asker.holder.get(), now_)) {
                asker.is = Is::holding;
                asker.connection = index_of(node);
                require(queue_.empty(), "somebody overtook those who wait");
                require(std::exchange(idle_[asker.connection], false),
                        "what was lent was not idle");
                require(!old_[asker.connection], "what was lent was not pinged");
            } else {
                require(std::ranges::count(idle_, true) == count_old() || !queue_.empty(),
                        "an idle connection was not lent");
                asker.is = Is::waiting;
                asker.expected = expected_wait();
                asker.asked = now_;
                asker.ahead = queue_.size();
                queue_.push_back(event.whom);
                machine_.asked(*asker.waiter, now_);
            }
            break;
        }
        case withdrawn: {
            Asker& asker = askers_[event.whom];
            if (asker.is == Is::granted) {
                free = asker.connection;
                nodes_[*free].heard = now_;
            }
            std::erase(queue_, event.whom);
            asker.is = Is::outside;
            machine_.withdrawn(*asker.waiter);
            break;
        }
        case taken: {
            Asker& asker = askers_[event.whom];
            asker.is = Is::holding;
            require(&machine_.taken(*asker.waiter) == &nodes_[asker.connection],
                    "another connection was taken than granted");
            break;
        }
        case returned:
        case left_dirty:
        case broken: {
            Asker& asker = askers_[event.whom];
            asker.is = Is::outside;
            if (event.what == returned) free = asker.connection;
            if (event.what == left_dirty) cleaning_[asker.connection] = true;
            nodes_[asker.connection].heard = now_;
            machine_.returned(nodes_[asker.connection], event.what == returned ? Condition::clean
                                                        : event.what == broken ? Condition::broken
                                                                               : Condition::dirty);
            break;
        }
        case cleaned:
        case not_cleaned:
            cleaning_[event.whom] = false;
            if (event.what == cleaned) free = event.whom;
            nodes_[event.whom].heard = now_;
            machine_.cleaned(nodes_[event.whom],
                             event.what == cleaned ? Condition::clean : Condition::broken);
            break;
        case aged:
            now_ += std::chrono::seconds{1};
            old_ = idle_;
            break;
        case pinged:
        case not_pinged:
            pinging_[event.whom] = false;
            if (event.what == pinged) {
                free = event.whom;
                nodes_[event.whom].heard = now_;
            }
            machine_.pinged(nodes_[event.whom],
                            event.what == pinged ? Condition::clean : Condition::broken);
            break;
        case idle_lost:
            idle_[event.whom] = old_[event.whom] = false;
            machine_.lost(nodes_[event.whom]);
            break;
        case opened:
            free = unused_node();
            nodes_[*free].may_be_half_open = true;
            nodes_[*free].heard = now_;
            --openings_;
            failing_ = pausing_ = false;
            machine_.opened(nodes_[*free]);
            break;
        case opening_failed:
        case failed_for_good:
            --openings_;
            failing_ = pausing_ = true;
            machine_.opening_failed(
                event.what == opening_failed ? Reason::transient : Reason::lasting, now_, 0.5);
            break;
        case pause_over:
            pausing_ = false;
            now_ = machine_.may_open_at();
            machine_.time_passed(now_);
            break;
        case warming_up:
            machine_.wanted(limits_.connections, now_);
            break;
        case waited:
            now_ += std::chrono::seconds{1};
            machine_.time_passed(now_);
            break;
        case closed:
            closed_ = true;
            machine_.closed();
            break;
    }
    follow(event, free);
    if (checks) check(event);
}

/// Carries out what the machine says, and compares.
void World::follow(const Event& event, std::optional<std::size_t> free) {
    using enum Happening;
    for (auto next = machine_.next_action(); next.kind != Kind::none; next = machine_.next_action())
        switch (next.kind) {
            case Kind::answer:
                answer(*next.waiter, event, free);
                break;
            case Kind::open:
                require(may_open(), "an opening that may not be");
                require(queue_.size() > openings_ + pings() || event.what == warming_up,
                        "an opening that nobody needs");
                ++openings_;
                break;
            case Kind::ping: {
                const std::size_t which = index_of(next.connection);
                require(std::exchange(old_[which], false) && std::exchange(idle_[which], false),
                        "what is not old was pinged");
                require(queue_.size() > pings(), "a ping that nobody needs");
                pinging_[which] = true;
                break;
            }
            case Kind::clean:
                require(event.what == left_dirty && cleaning_[index_of(next.connection)],
                        "only what is dirty is cleaned");
                break;
            case Kind::close: {
                const std::size_t which = index_of(next.connection);
                if (free == which)
                    free.reset();
                else if (event.what == closed || old_[which])
                    require(std::exchange(idle_[which], false), "what was closed was not idle");
                else
                    require(event.what == broken || event.what == not_cleaned ||
                                event.what == not_pinged || event.what == idle_lost,
                            "a good connection was closed");
                require(closed_ || event.what == not_pinged || !std::exchange(old_[which], false),
                        "an idle connection was closed");
                old_[which] = false;
                require(closed_ || event.what != returned, "a clean connection was closed");
                break;
            }
            case Kind::drained:
                require(closed_ && size() == 0 && !free, "drained too early");
                require(!std::exchange(drained_, true), "drained twice");
                break;
            case Kind::none:
                break;
        }
    require(event.what != failed_for_good || queue_.empty() || one_can_come_back(),
            "an opening failed for good, and somebody was not told");
    if (free) {
        require(!closed_, "a closed pool keeps none");
        require(queue_.empty(), "a connection was kept while somebody waits");
        idle_[*free] = true;
    }
}

void World::check(const Event& event) const {
    using enum Happening;
    require(drained_ == (closed_ && size() == 0), "drained when all are back, and only then");
    require(size() <= limits_.connections, "more connections than allowed");
    require(openings_ <= limits_.openings, "more openings at a time than allowed");
    require(machine_.size() == size(), "size");
    require(machine_.openings() == openings_, "openings");
    require(machine_.waiting() == waiting(), "waiting");
    require(machine_.anybody_waits() == !queue_.empty(), "anybody waits");
    require(machine_.lent().size() == lent(), "lent");
    require(machine_.idle().size() == static_cast<std::size_t>(std::ranges::count(idle_, true)),
            "idle");
    require(waiting() <= limits_.waiters || event.what != asked || queue_.back() != event.whom,
            "more wait than may");
    require(
        event.what != asked || askers_[event.whom].is != Is::waiting || waiting() == 0 ||
            std::chrono::ceil<milliseconds>(askers_[event.whom].expected) <= limits_.queue_target,
        "who would wait for too long was not refused");
    require(std::ranges::count(idle_, true) == 0 || queue_.size() <= pings(),
            "idle while somebody waits");
    require(event.what != not_pinged || count_old() == 0, "what has been idle longer was kept");
    require(queue_.empty() || !closed_, "somebody waits for a closed pool");
    require(!deadlocked(), "a deadlock was not broken");
    require(waiting() == 0 || !may_open(), "room that is not used");
    require(machine_.wake_at() ==
                (pausing_ && waiting() > 0 ? machine_.may_open_at() : Clock::time_point::max()),
            "the time to be woken at");
    require(event.what != warming_up || !may_open(), "less was opened than was wanted");
    for (std::size_t i = 0; i < askers_.size(); ++i) {
        const Asker& asker = askers_[i];
        require((asker.is == Is::waiting) == (std::ranges::count(queue_, i) == 1), "the queue");
        if (asker.waiter && asker.is == Is::waiting)
            require(asker.waiter->state() == State::waiting, "somebody was answered, and not told");
    }
}

void World::answer(Waiter& waiter, const Event& event, std::optional<std::size_t>& free) {
    using enum Happening;
    const auto found = std::ranges::find_if(
        askers_, [&](const Asker& each) { return each.waiter.get() == &waiter; });
    const auto who = static_cast<std::size_t>(found - askers_.begin());
    require(askers_[who].is == Is::waiting, "somebody was answered who does not wait");
    if (waiter.state() == State::granted) {
        require(!closed_, "a closed pool lends none");
        require(free.has_value(), "a connection was granted that was not there");
        require(queue_.front() == who, "not the first in the queue was served");
        require(nodes_[*free].holder == askers_[who].holder.get(), "the holder");
        askers_[who].is = Is::granted;
        askers_[who].connection = *std::exchange(free, std::nullopt);
        std::erase(queue_, who);
        return;
    }
    switch (waiter.failure()) {
        case Failure::closed:
            require(closed_, "a pool that is open refuses nobody");
            break;
        case Failure::exhausted:
            require(event.what == asked && event.whom == who && waiting() > limits_.waiters,
                    "exhausted without being so");
            break;
        case Failure::overloaded:
            require(
                event.what == asked && event.whom == who && waiting() > 0 &&
                    std::chrono::ceil<milliseconds>(askers_[who].expected) > limits_.queue_target,
                "overloaded without being so");
            break;
        case Failure::not_opened:
            require(event.what == failed_for_good, "what may pass failed somebody");
            require(!one_can_come_back(), "somebody failed whom another one can serve");
            require(lent() == 0 ? queue_.front() == who : newest_that_keeps_one() == who,
                    "failed before one whom another one can serve then");
            break;
        case Failure::deadlock:
            require(deadlocked(), "a deadlock that is none");
            require(newest_that_keeps_one() == who, "not the newest was refused");
            break;
    }
    askers_[who].is = Is::outside;
    std::erase(queue_, who);
}

void World::check_that_all_are_answered() {
    using enum Happening;
    while (!queue_.empty()) {
        std::optional<Event> next;
        for (std::size_t i = 0; i < askers_.size() && !next; ++i) {
            if (!has(askers_[i]) || somebody_waits_within(i)) continue;
            next = Event{askers_[i].is == Is::granted ? withdrawn : broken, i};
        }
        for (std::size_t c = 0; c < nodes_.size() && !next; ++c)
            if (cleaning_[c] || pinging_[c])
                next = Event{cleaning_[c] ? not_cleaned : not_pinged, c};
        if (!next && openings_ > 0) next = Event{failed_for_good};
        if (!next && pausing_) next = Event{pause_over};
        require(next.has_value(), "somebody waits for nothing");
        happens(*next);
    }
}

struct Exploration {
    std::size_t states = 0;
    std::string fault{};
};

/// Every state that any order of events leads to. A machine cannot be copied, so a state is reached
/// by repeating what led there.
Exploration explore(const PoolMachine::Limits& limits, const Nesting& nesting) {
    struct Reached {
        std::size_t from;
        World::Event by;
    };
    Exploration exploration;
    std::unordered_map<std::string, std::size_t> known;
    std::vector<Reached> reached;
    const auto path_to = [&](std::size_t state) {
        std::vector<World::Event> path;
        for (; state != 0; state = reached[state].from) path.push_back(reached[state].by);
        std::ranges::reverse(path);
        return path;
    };
    const auto at = [&](const std::vector<World::Event>& path) {
        auto world = std::make_unique<World>(limits, nesting);
        for (const auto& event : path) world->happens(event, false);
        return world;
    };
    known.emplace(at({})->key(), 0);
    reached.push_back({});
    std::vector<World::Event> path;
    try {
        for (std::size_t state = 0; state < reached.size(); ++state) {
            path = path_to(state);
            for (const auto& event : at(path)->possible()) {
                const auto world = at(path);
                path.push_back(event);
                world->happens(event);
                path.pop_back();
                if (!known.emplace(world->key(), reached.size()).second) continue;
                reached.push_back({state, event});
                world->check_that_all_are_answered();
            }
        }
    } catch (const std::logic_error& error) {
        exploration.fault = error.what();
        for (const auto& event : path) exploration.fault += World::word(event);
    }
    exploration.states = reached.size();
    return exploration;
}

}  // namespace

TEST_CASE("in every order of events a small pool keeps its word", "[pool_machine]") {
    const Nesting apart{{}, {}, {}, {}};
    const Nesting pairs{{}, {}, {0}, {1}};
    const Nesting chain{{}, {0}, {0, 1}, {0, 1, 2}};
    const Nesting branches{{}, {0}, {0}, {}};
    std::size_t states = 0;
    const auto check = [&](const PoolMachine::Limits& limits, const Nesting& nesting) {
        const auto explored = explore(limits, nesting);
        CAPTURE(limits.connections, limits.waiters, limits.openings, explored.states);
        CHECK(explored.fault == "");
        states += explored.states;
    };
    for (std::size_t connections = 1; connections <= 3; ++connections) {
        const PoolMachine::Limits limits{.connections = connections,
                                         .waiters = 4,
                                         .openings = 2,
                                         .ping_after_idle = std::chrono::seconds{1}};
        for (const Nesting& nesting : {apart, pairs, chain}) check(limits, nesting);
        auto hurried = limits;
        hurried.queue_target = std::chrono::milliseconds{700};
        check(hurried, apart);
        if (connections == 3) continue;  // the same, but for time
        check(limits, branches);
        for (const std::size_t max_waiters : {0u, 1u})
            check({.connections = connections,
                   .waiters = max_waiters,
                   .openings = 1,
                   .ping_after_idle = std::chrono::seconds{1}},
                  apart);
    }
    CHECK(states > 1000);
}
